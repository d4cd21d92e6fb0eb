"""Who may announce on layer 3, and to which routers: what both the VIPs and the routers are looked at with. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cloudprovider.model import HOLDER_ONLY
from roost import nodes
from roost.kube.wire import (
    AgentBGP,
    AgentProblem,
    AgentSession,
    Node,
    NodeAgent,
    Selector,
    VIPException,
    VirtualIPSpec,
)
from roost.kube.wire_bgp import BGPAdvertisement, BGPPeer
from roost.selectors import selects
from roost.words import Reason

ESTABLISHED = "Established"  # RFC 4271, section 8.2.2


@dataclass(frozen=True, slots=True)
class Announcer:
    """A node with an agent. *up*: as far as is known, it lives. *bgp* None: its agent speaks no BGP."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    excluded: bool = False
    leaving: bool = False
    up: bool = True
    bgp: AgentBGP | None = None
    exceptions: Mapping[str, VIPException] = field(default_factory=dict)  # by address

    def sessions(self, peers: frozenset[str] | None = None) -> tuple[AgentSession, ...]:
        """Its sessions with these *peers*, by default all; a node that is down has none that counts."""
        known = self.bgp.sessions if self.bgp else ()
        return tuple(session for session in known if peers is None or session.peer in peers)

    def is_established(self, session: AgentSession) -> bool:
        return self.up and session.state == ESTABLISHED

    def problem(self, peers: frozenset[str] | None = None) -> AgentProblem | None:
        """Why it has no session with these *peers*, or with nobody."""
        known = [one for one in self.bgp.problems if not one.advertisement] if self.bgp else []
        about = [one for one in known if one.peer and (peers is None or one.peer in peers)]
        return next(iter(about or [one for one in known if not one.peer]), None)

    def not_done(self, advertisement: str) -> AgentProblem | None:
        """What it does not do of what a BGPAdvertisement says."""
        known = self.bgp.problems if self.bgp else ()
        return next((one for one in known if one.advertisement == advertisement), None)

    def same_but_for_vips(self, other: "Announcer | None") -> bool:
        """Whether nothing differs that concerns more than the VIPs that it makes exceptions of."""
        return other is not None and self._face() == other._face()

    def _face(self) -> tuple[object, ...]:
        bgp = self.bgp
        sessions = (
            tuple((one.peer, one.remote, one.state == ESTABLISHED, one.last_error) for one in bgp.sessions)
            if bgp
            else None
        )
        return (self.labels, self.excluded, self.leaving, self.up, sessions, bgp.problems if bgp else ())


def announcer(node: Node | None, agent: NodeAgent | None, *, seated: bool | None) -> Announcer | None:
    """A node as it announces on layer 3; None without Node or agent.

    *seated*: whether it has a live seat at a table (None: it never had one). Where it never sat its kubelet tells
    whether it lives, half a minute later.
    """
    if node is None or agent is None:
        return None
    return Announcer(
        name=node.metadata.name,
        labels=node.metadata.labels,
        excluded=nodes.excluded(node.metadata.labels),
        leaving=agent.spec.maintenance != "None" or bool(nodes.leaving(node)),
        up=not nodes.lost(node) if seated is None else seated,
        bgp=agent.status.bgp,
        exceptions={item.vip: item for item in agent.status.vips.exceptions} if agent.status.vips else {},
    )


def select(selector: Selector | None, among: Iterable[Announcer]) -> tuple[Announcer, ...]:
    return tuple(one for one in among if selects(selector, one.labels))


def failure(announcer: Announcer, session: AgentSession) -> tuple[Reason, str]:
    """Why a session that should be established is not; no times in it, so that it stays the same while it lasts."""
    if not announcer.up:
        return Reason.NODE_DOWN, "the node or its agent is down"
    told = f"no session with {session.peer}"
    return Reason.PEER_DOWN, f"{told}: {session.last_error}" if session.last_error else told


# -- which VIPs go to which routers ------------------------------------------------------------------------------------


def covers(advertisement: BGPAdvertisement, pool: str) -> bool:
    """Whether it speaks of VIPs of this pool, if perhaps only of those of some Services."""
    names = advertisement.spec.pool_names
    return not names or pool in names


def by_labels(advertisement: BGPAdvertisement | None, labels: Mapping[str, str]) -> bool:
    """Whether it selects Services, and one with these *labels*."""
    selector = advertisement.spec.service_selector if advertisement else None
    return selector is not None and selects(selector, labels)


def applies(advertisement: BGPAdvertisement, pool: str, selected: Iterable[str]) -> bool:
    """Whether it speaks of a VIP of *pool* that the advertisements *selected* select by the labels of a Service."""
    everything = advertisement.spec.service_selector is None
    return covers(advertisement, pool) and (everything or advertisement.metadata.name in selected)


@dataclass(frozen=True, slots=True)
class Rules:
    """What people say of routers."""

    peers: tuple[BGPPeer, ...] = ()
    advertisements: tuple[BGPAdvertisement, ...] = ()

    def routers(self, vip: VirtualIPSpec, announcer: Announcer, *, held: bool) -> frozenset[str] | None:
        """The BGPPeers that a node announces *vip* to, holding it or not; None: all.

        A pool that no BGPAdvertisement speaks of goes to all of them, as with kube-vip.
        """
        selected, for_all = vip.announce.advertisements, vip.announce.announcers != HOLDER_ONLY
        speaking = [one for one in self.advertisements if covers(one, vip.pool_name)]
        if not speaking:
            return None
        chosen = [
            one
            for one in speaking
            if applies(one, vip.pool_name, selected)
            and selects(one.spec.node_selector, announcer.labels)
            and (held or (for_all and one.spec.announcers != HOLDER_ONLY))
        ]
        if any(not one.spec.peer_names for one in chosen):
            return None
        return frozenset(name for one in chosen for name in one.spec.peer_names)

    def holder_only(self, pool: str, selected: Iterable[str]) -> bool:
        """Whether all that speak of a VIP of *pool*, and somebody does, want it from its holder alone."""
        said = {one.spec.announcers for one in self.advertisements if applies(one, pool, selected)}
        return said == {HOLDER_ONLY}

    def leaves_out(self, announcer: Announcer, routers: frozenset[str] | None) -> bool:
        """Whether nobody wants a session of this node with any of *routers*. Where there is no BGPPeer at all, other
        settings ask for the sessions, and whether they do is not known here."""
        if routers is not None and not routers:
            return True
        if not self.peers or announcer.sessions(routers) or announcer.problem(routers):
            return False
        asked = [one for one in self.peers if routers is None or one.metadata.name in routers]
        return not any(selects(one.spec.node_selector, announcer.labels) for one in asked)
