"""Reads what nodes say of their sessions and of VIPs, and says which node has which session, and tells what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from roost.kube.wire import AgentBGP, AgentSession, NodeAgent, VirtualIP
from roost.kube.wire_bgp import BGPPeer
from roost.words import Reason, order, vip_address

ESTABLISHED = "Established"  # RFC 4271, section 8.2.2
# A node that says so of a VIP is none that should announce it.
ASIDE = frozenset({Reason.NO_LOCAL_ENDPOINT, Reason.NOT_SELECTED, Reason.EXCLUDED, Reason.DRAINING})
BGP, HOLDER_ONLY = "BGP", "HolderOnly"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read; *unread* says of a kind that could not be, why."""

    agents: tuple[NodeAgent, ...] = ()
    peers: tuple[BGPPeer, ...] = ()
    vips: tuple[VirtualIP, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a node, or why there is none.

    *state* is BGP's own word, or a reason. *asn* 0: not known. *prefixes*: the paths that went out, when the node
    wrote last; None where there is no session. *since* is RFC 3339; "" if it is not known.
    """

    node: str
    peer: str
    remote: str
    asn: int
    state: str
    since: str
    prefixes: int | None
    error: str

    @property
    def established(self) -> bool:
        return self.state == ESTABLISHED


@dataclass(frozen=True, slots=True)
class Path:
    """A VIP that a node announces by BGP, or why it does not; *reason* empty: it does."""

    address: str
    services: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class View:
    """All sessions, or those of one node with what it announces. *well*: nothing needs attention."""

    sessions: tuple[Session, ...]
    paths: tuple[Path, ...] | None = None

    @property
    def well(self) -> bool:
        return all(session.established for session in self.sessions)


@dataclass(frozen=True, slots=True)
class NotThere:
    """Nothing to show, and why."""

    message: str


def find(now: Snapshot, node: str = "") -> View | NotThere:
    """All that is to be shown, in the order of names."""
    agents = sorted((one for one in now.agents if node in {"", one.metadata.name}), key=lambda one: one.metadata.name)
    if node and not agents:
        return NotThere(f"there is no NodeAgent {node}: no agent has run on such a node")
    peers = {peer.metadata.name: peer for peer in now.peers}
    sessions = tuple(row for agent in agents for row in _sessions(agent, peers))
    return View(sessions, _paths(agents[0], now.vips) if node else None)


def _sessions(agent: NodeAgent, peers: Mapping[str, BGPPeer]) -> Iterable[Session]:
    """The sessions of one node by router; those that there should be, and are not, among them."""
    node, said = agent.metadata.name, agent.status.bgp or AgentBGP()
    rows = [_row(node, one, peers.get(one.peer)) for one in said.sessions]
    told = {row.peer for row in rows}
    for problem in said.problems:
        if not problem.advertisement and (not problem.peer or problem.peer not in told):
            peer = peers.get(problem.peer)
            remote, asn = _remote(peer)
            rows.append(Session(node, problem.peer, remote, asn, problem.reason, "", None, problem.message))
            told.add(problem.peer)
    for name, peer in peers.items():
        missed = next((one for one in peer.status.exceptions if one.node == node), None)
        if missed and name not in told:
            remote, asn = _remote(peer)
            rows.append(Session(node, name, remote, asn, missed.reason, missed.since or "", None, missed.message))
    return sorted(rows, key=lambda row: (row.peer, row.remote))


def _row(node: str, session: AgentSession, peer: BGPPeer | None) -> Session:
    remote, asn = _remote(peer)
    state, error, prefixes = session.state, session.last_error, session.advertised
    lost = next((one for one in peer.status.exceptions if one.node == node), None) if peer else None
    if lost and lost.reason == Reason.NODE_DOWN:  # what it said last is old
        state, error = lost.reason, lost.message
    return Session(
        node=node,
        peer=session.peer,
        remote=session.remote or remote,
        asn=session.asn or asn,
        state=state,
        since=session.since or "",
        prefixes=prefixes if state == ESTABLISHED else None,
        error=error,
    )


def _remote(peer: BGPPeer | None) -> tuple[str, int]:
    if peer is None:
        return "", 0
    return peer.spec.remote.address or peer.spec.remote.interface, peer.spec.remote.asn or 0


def _paths(agent: NodeAgent, vips: Iterable[VirtualIP]) -> tuple[Path, ...]:
    """The VIPs that a node should announce by BGP: it speaks up only of those that it does not."""
    said = agent.status.vips
    exceptions = {one.vip: one for one in said.exceptions} if said else {}
    out: list[Path] = []
    for vip in sorted(vips, key=lambda vip: order(vip_address(vip.metadata.name))):
        announce, exception = vip.spec.announce, exceptions.get(vip.spec.address)
        if BGP not in announce.protocols or not any(claim.uid for claim in vip.spec.claims):
            continue
        if announce.announcers == HOLDER_ONLY and vip.status.holder != agent.metadata.name:
            continue
        if exception and exception.reason in ASIDE:
            continue
        reason, message = (exception.reason, exception.message) if exception else ("", "")
        out.append(Path(vip.spec.address, vip.status.services, reason, message))
    return tuple(out)
