"""A small cluster that speaks BGP: two nodes, two routers, VIPs."""

from ipaddress import ip_address

from kubectl_roost.bgp.plan import Snapshot
from roost.kube.wire import (
    AgentBGP,
    AgentProblem,
    AgentSession,
    AgentVIPs,
    Claim,
    Meta,
    NodeAgent,
    NodeAgentStatus,
    VIPException,
    VirtualIP,
    VirtualIPAnnounce,
    VirtualIPSpec,
    VirtualIPStatus,
)
from roost.kube.wire_bgp import BGPPeer, BGPPeerSpec, BGPPeerStatus, LocalEnd, PeerException, RemoteEnd
from roost.words import vip_name

THEN = "2026-01-01T00:00:00Z"


def session(peer: str, state: str = "Established", *, error: str = "", advertised: int = 0) -> AgentSession:
    return AgentSession(
        peer=peer, remote="10.0.0.1", state=state, asn=64513, advertised=advertised, since=THEN, last_error=error
    )


def agent(
    name: str, *sessions: AgentSession, problems: tuple[AgentProblem, ...] = (), exceptions: tuple[str, ...] = ()
) -> NodeAgent:
    """*exceptions*: reason and address, with a space between."""
    rows = [item.split() for item in exceptions]
    vips = AgentVIPs(exceptions=tuple(VIPException(vip=vip, reason=reason, message="so") for reason, vip in rows))
    status = NodeAgentStatus(bgp=AgentBGP(sessions=sessions, problems=problems), vips=vips)
    return NodeAgent(metadata=Meta(name=name), status=status)


def peer(name: str, *exceptions: PeerException, remote: RemoteEnd | None = None) -> BGPPeer:
    end = remote or RemoteEnd(address="10.0.0.1", asn=64513)
    spec = BGPPeerSpec(local=LocalEnd(asn=64512), remote=end)
    return BGPPeer(metadata=Meta(name=name), spec=spec, status=BGPPeerStatus(exceptions=exceptions))


def vip(address: str, *protocols: str, holder: str = "", announcers: str = "EveryEligibleNode") -> VirtualIP:
    announce = VirtualIPAnnounce(protocols=protocols or ("BGP",), announcers=announcers)
    web = Claim(namespace="shop", name="web", uid="1")
    return VirtualIP(
        metadata=Meta(name=vip_name(ip_address(address))),
        spec=VirtualIPSpec(address=address, claims=(web,), announce=announce),
        status=VirtualIPStatus(services="shop/web", holder=holder),
    )


def cluster() -> Snapshot:
    """n1 has both its sessions; n2 one that is idle and one without a password."""
    return Snapshot(
        agents=(
            agent(
                "n2",
                session("tor-a", "Idle", error="hold timer expired"),
                problems=(AgentProblem(reason="SecretMissing", peer="tor-b", message="no Secret tor-b"),),
                exceptions=("PeerDown 192.0.2.7", "NoLocalEndpoint 192.0.2.8"),
            ),
            agent("n1", session("tor-a", advertised=2), session("tor-b", advertised=2)),
        ),
        peers=(peer("tor-b", remote=RemoteEnd(interface="eth1", asn_type="External")), peer("tor-a")),
        vips=(vip("192.0.2.8"), vip("192.0.2.7"), vip("192.0.2.9", "Layer2")),
    )
