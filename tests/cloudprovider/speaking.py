"""Nodes that speak BGP, routers and advertisements, as the controller's tests want them."""

from ipaddress import ip_address

from cloudprovider.announcers import Announcer
from roost.kube.wire import (
    AgentBGP,
    AgentProblem,
    AgentSession,
    Claim,
    Meta,
    Selector,
    VIPException,
    VirtualIP,
    VirtualIPAnnounce,
    VirtualIPSpec,
)
from roost.kube.wire_bgp import BGPAdvertisement, BGPAdvertisementSpec, BGPPeer, BGPPeerSpec, LocalEnd, RemoteEnd
from roost.words import vip_name

RACK_A = Selector(match_labels={"rack": "a"})


def session(peer: str, state: str = "Established", error: str = "") -> AgentSession:
    return AgentSession(peer=peer, remote="10.0.0.1", state=state, last_error=error, since="2026-01-01T00:00:00Z")


def node(
    name: str,
    *sessions: AgentSession,
    rack: str = "a",
    problems: tuple[AgentProblem, ...] = (),
    exceptions: tuple[tuple[str, str], ...] = (),
    **more: bool,
) -> Announcer:
    """A node with these sessions; *exceptions* are pairs of address and reason."""
    return Announcer(
        name=name,
        labels={"rack": rack},
        bgp=AgentBGP(sessions=sessions, problems=problems) if sessions or problems else None,
        exceptions={vip: VIPException(vip=vip, reason=reason) for vip, reason in exceptions},
        **more,
    )


def vip(address: str = "192.0.2.7", *protocols: str, pool: str = "prod", **announce: object) -> VirtualIP:
    """A VIP of Service shop/web, by default announced by BGP."""
    block = VirtualIPAnnounce(protocols=protocols or ("BGP",), **announce)  # type: ignore[arg-type]  # a table of keyword arguments
    web = Claim(namespace="shop", name="web", uid="1")
    spec = VirtualIPSpec(address=address, pool_name=pool, group="b-1-7", claims=(web,), announce=block)
    return VirtualIP(metadata=Meta(name=vip_name(ip_address(address))), spec=spec)


def peer(name: str, selector: Selector | None = None) -> BGPPeer:
    ends = {"local": LocalEnd(asn=64512), "remote": RemoteEnd(address="10.0.0.1", asn=64513)}
    return BGPPeer(metadata=Meta(name=name, generation=1), spec=BGPPeerSpec(node_selector=selector, **ends))  # type: ignore[arg-type]  # as above


def advertisement(name: str, **spec: object) -> BGPAdvertisement:
    return BGPAdvertisement(metadata=Meta(name=name, generation=1), spec=BGPAdvertisementSpec(**spec))  # type: ignore[arg-type]  # as above
