"""The status of BGPPeers and BGPAdvertisements, and the Events of sessions that come and go."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cloudprovider.announcers import Announcer, applies, select
from cloudprovider.model import BGP, NORMAL, WARNING, Say
from roost.kube.wire import Condition, VirtualIP
from roost.kube.wire_bgp import (
    BGPAdvertisement,
    BGPAdvertisementStatus,
    BGPPeer,
    BGPPeerStatus,
    PeerException,
    PeerSessions,
)
from roost.words import Reason

LISTED = 16  # exceptions that a BGPPeer lists (the schema's maxItems)
NAMED = 5  # nodes that an Event names
LONGEST_MESSAGE = 512  # characters of an exception's message
NOTE = 1024  # characters of an Event's note (events.k8s.io/v1)


@dataclass(frozen=True, slots=True)
class Link:
    """Whether one node has the session with one router that it should have, and if not, why."""

    node: str
    trouble: PeerException | None = None

    @property
    def established(self) -> bool:
        return self.trouble is None


def links(peer: BGPPeer, announcers: Iterable[Announcer]) -> tuple[Link, ...]:
    """The nodes that should have a session with *peer*, by name. One about to go counts while it has one."""
    found: list[Link] = []
    for one in sorted(select(peer.spec.node_selector, announcers), key=lambda one: one.name):
        trouble = _trouble(peer.metadata.name, one)
        if trouble is None or not one.leaving:
            found.append(Link(one.name, trouble))
    return tuple(found)


def _trouble(peer: str, announcer: Announcer) -> PeerException | None:
    names = frozenset({peer})
    session = next(iter(announcer.sessions(names)), None)
    if session and announcer.is_established(session):
        return None
    if session and announcer.up:
        return _exception(announcer, Reason.PEER_DOWN, session.last_error, session.state, session.since)
    if not announcer.up:
        return _exception(announcer, Reason.NODE_DOWN, "the node or its agent is down")
    if problem := announcer.problem(names):
        return _exception(announcer, problem.reason, problem.message)
    told = "its agent has not begun a session yet" if announcer.bgp else "its agent speaks no BGP"
    return _exception(announcer, Reason.NO_SESSION, told)


def _exception(
    announcer: Announcer, reason: str, message: str, state: str = "", since: str | None = None
) -> PeerException:
    return PeerException(
        node=announcer.name, reason=reason, state=state, message=message[:LONGEST_MESSAGE], since=since
    )


def peer_status(peer: BGPPeer, found: tuple[Link, ...], now: datetime) -> BGPPeerStatus:
    """BGPPeer.status as it should be; equal to what is there if nothing is to be written."""
    established, remote = sum(link.established for link in found), peer.spec.remote
    troubles = tuple(link.trouble for link in found if link.trouble)
    return BGPPeerStatus(
        observed_generation=peer.metadata.generation,
        remote=remote.address or remote.interface,
        established=f"{established}/{len(found)}",
        sessions=PeerSessions(desired=len(found), established=established),
        exceptions=troubles[:LISTED],
        conditions=_with(peer.status.conditions, _ready(peer, found, troubles), now),
    )


def _ready(peer: BGPPeer, found: tuple[Link, ...], troubles: tuple[PeerException, ...]) -> Condition:
    if not found:
        return _condition(peer.metadata.generation, Reason.NO_NODE, "no node with an agent is selected")
    told = f"{len(found) - len(troubles)} of {len(found)}"
    if not troubles:
        return _condition(peer.metadata.generation, Reason.ALL_ESTABLISHED, told, status="True")
    secret = next((one for one in troubles if one.reason == Reason.SECRET_MISSING), None)
    first = secret or troubles[0]
    why = " ".join(part for part in (first.state or first.reason, first.message) if part)
    reason = Reason.SECRET_MISSING if secret else Reason.SOME_DOWN
    return _condition(peer.metadata.generation, reason, f"{told}; {first.node}: {why}")


def session_events(before: Mapping[str, bool], found: tuple[Link, ...]) -> tuple[Say, ...]:
    """The Events of a router's sessions that came and went since *before* (by node); none of those seen first now.

    All that go in one moment make one Event, as a router that restarts takes every session along.
    """
    changed = [link for link in found if before.get(link.node, link.established) != link.established]
    down = [f"{link.node}: {_why(link.trouble)}" for link in changed if link.trouble]
    up = [link.node for link in changed if link.established]
    out: list[Say] = []
    if down:
        out.append(Say(WARNING, "BGPSessionDown", f"no session with {_listed(down, '; ')}"[:NOTE]))
    if up:
        out.append(Say(NORMAL, "BGPSessionUp", f"session with {_listed(up, ', ')}"[:NOTE]))
    return tuple(out)


def _why(trouble: PeerException) -> str:
    return " ".join(part for part in (trouble.state or trouble.reason, trouble.message) if part)


def _listed(items: list[str], between: str) -> str:
    more = f"{between}and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return between.join(items[:NAMED]) + more


# -- advertisements ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Around:
    """What BGPAdvertisements speak of: VIPs, and the names of the pools and the peers that there are."""

    vips: tuple[VirtualIP, ...]
    pools: frozenset[str]
    peers: frozenset[str]
    announcers: tuple[Announcer, ...]


def advertisement_status(advertisement: BGPAdvertisement, around: Around, now: datetime) -> BGPAdvertisementStatus:
    """BGPAdvertisement.status as it should be; equal to what is there if nothing is to be written."""
    spec, meta = advertisement.spec, advertisement.metadata
    peers = around.peers.intersection(spec.peer_names) if spec.peer_names else around.peers
    return BGPAdvertisementStatus(
        observed_generation=meta.generation,
        matched_vips=sum(_matches(advertisement, vip) for vip in around.vips),
        matched_peers=len(peers),
        matched_nodes=len(select(spec.node_selector, around.announcers)),
        conditions=_with(advertisement.status.conditions, _known(advertisement, around), now),
    )


def _matches(advertisement: BGPAdvertisement, vip: VirtualIP) -> bool:
    spec = vip.spec
    return (
        BGP in spec.announce.protocols
        and any(claim.uid for claim in spec.claims)
        and applies(advertisement, spec.pool_name, spec.announce.advertisements)
    )


def _known(advertisement: BGPAdvertisement, around: Around) -> Condition:
    """Condition Ready: whether all that it names is there, and every node does what it says."""
    spec, generation = advertisement.spec, advertisement.metadata.generation
    for reason, kind, missing in (
        (Reason.UNKNOWN_PEER, "BGPPeer", sorted(set(spec.peer_names) - around.peers)),
        (Reason.UNKNOWN_POOL, "AddressPool", sorted(set(spec.pool_names) - around.pools)),
    ):
        if missing:
            return _condition(generation, reason, f"there is no {kind} {_listed(missing, ', ')}")
    for one in sorted(around.announcers, key=lambda one: one.name):
        if problem := one.not_done(advertisement.metadata.name):
            return _condition(generation, problem.reason, f"{one.name}: {problem.message}")
    return _condition(generation, Reason.AS_EXPECTED, "all that it names is there, and done", status="True")


# -- conditions --------------------------------------------------------------------------------------------------------


def _condition(generation: int, reason: str, message: str, *, status: str = "False") -> Condition:
    return Condition(
        type="Ready",
        status=status,
        reason=reason,
        message=message,
        last_transition_time="",
        observed_generation=generation,
    )


def _with(have: tuple[Condition, ...], want: Condition, now: datetime) -> tuple[Condition, ...]:
    """*want* among the conditions; while the status stays, so does its time."""
    before = next((item for item in have if item.type == want.type), None)
    since = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if before and before.status == want.status:
        since = before.last_transition_time
    said = Condition(
        type=want.type,
        status=want.status,
        reason=want.reason,
        message=want.message,
        last_transition_time=since,
        observed_generation=want.observed_generation,
    )
    return (*(item for item in have if item.type != want.type), said)
