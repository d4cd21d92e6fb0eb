"""BGPPeers, BGPAdvertisements and situations, each by the little that a test says of it."""

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any

from nodeagent.bgp.plan import Here, Offer, Plan, Situation, wanted
from nodeagent.bgp.values import Attributes, Session
from roost.kube.wire import Meta, Selector
from roost.kube.wire_bgp import BGPAdvertisement, BGPAdvertisementSpec, BGPPeer, BGPPeerSpec, LocalEnd, RemoteEnd

EDGE = Selector(match_labels={"edge": "yes"})


def node(**said: Any) -> Here:
    """A node with one interface of both families, and another of IPv4 only."""
    usual: dict[str, Any] = {
        "name": "n1",
        "labels": {"edge": "yes"},
        "addresses": (ip_address("10.0.0.1"),),
        "interfaces": {
            "eth0": on("10.0.0.1/24", "fe80::1/64", "fd00::1/64"),
            "eth1": on("10.1.0.1/24"),
        },
    }
    return Here(**usual | said)


def on(*addresses: str) -> tuple[IPv4Interface | IPv6Interface, ...]:
    return tuple(ip_interface(address) for address in addresses)


def peer(
    name: str = "tor", remote: str = "10.0.0.254", *, local: LocalEnd | None = None, asn: int = 65001, **spec: Any
) -> BGPPeer:
    end = RemoteEnd(interface=remote, asn=asn) if remote.startswith("eth") else RemoteEnd(address=remote, asn=asn)
    spec = {"local": local or LocalEnd(asn=65000), "remote": end} | spec
    return BGPPeer(metadata=Meta(name=name), spec=BGPPeerSpec(**spec))


def advertisement(name: str = "adv", **spec: Any) -> BGPAdvertisement:
    return BGPAdvertisement(metadata=Meta(name=name), spec=BGPAdvertisementSpec(**spec))


def offer(address: str = "192.0.2.1", pool: str = "prod", **said: Any) -> Offer:
    return Offer(ip_address(address), pool, **said)


def situation(*objects: BGPPeer | BGPAdvertisement | Offer, **said: Any) -> Situation:
    usual: dict[str, Any] = {
        "here": node(),
        "peers": {one.metadata.name: one for one in objects if isinstance(one, BGPPeer)},
        "advertisements": {one.metadata.name: one for one in objects if isinstance(one, BGPAdvertisement)},
        "offers": tuple(one for one in objects if isinstance(one, Offer)),
    }
    return Situation(**usual | said)


def plan(*objects: BGPPeer | BGPAdvertisement | Offer, **said: Any) -> Plan:
    return wanted(situation(*objects, **said))


def only(found: Plan) -> Session:
    """The one session that there is."""
    (session,) = found.want.sessions.values()
    return session


def told(found: Plan) -> dict[str, dict[str, Attributes]]:
    """What is announced, written as people write it."""
    return {str(prefix): dict(treatment) for prefix, treatment in found.want.paths.items()}


def to_whom(found: Plan) -> dict[str, list[str]]:
    """By prefix, the names of the sessions that are told of it."""
    names = {key: name for name, key in found.sessions_of.items()}
    return {prefix: sorted(names[key] for key in treatment) for prefix, treatment in told(found).items()}


def said(found: Plan) -> list[tuple[str, str, str]]:
    """The problems, without their messages."""
    return [(problem.kind, problem.name, problem.reason.value) for problem in found.problems]
