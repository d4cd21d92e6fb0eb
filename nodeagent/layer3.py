"""What this node announces on layer 3: by BGP, through the GoBGP daemon beside it, and in its own routing table.

On layer 2 one node may claim a VIP; here every node may that can serve it, and routers spread the traffic. So there is
no seat and no fence: what is wanted follows from the objects alone, and daemon and kernel are read, not remembered.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nodeagent.addresses.plan import Link
from nodeagent.bgp import plan as bgp
from nodeagent.bgp.alive import Alive
from nodeagent.bgp.client import Connect
from nodeagent.bgp.situation import ADVERTISEMENT, Here, Offer, Plan, Problem, Situation
from nodeagent.bgp.steps import Refused
from nodeagent.bgp.values import Prefix, Session, SessionState, Want
from nodeagent.passwords import Passwords
from nodeagent.routes import plan as routes
from nodeagent.routes.apply import Routes, Table
from nodeagent.services.plan import Index
from nodeagent.services.routed import Choice, choose
from nodeagent.services.vips import BGP, ROUTES, Vip, concerns_layer3
from nodeagent.settings import Settings
from roost import metrics
from roost.kube import wire
from roost.kube.client import Kube
from roost.kube.reflector import Reflector
from roost.kube.wire_bgp import BGPADVERTISEMENTS, BGPPEERS
from roost.process import Clock
from roost.words import Address, Reason

if TYPE_CHECKING:
    from nodeagent.bgp.apply import Daemon

log = logging.getLogger(__name__)

UNDECIDED = 10.0  # seconds that seats have to take up what a former life held; until then nothing is withdrawn
LOOK = 3.0  # seconds between two looks at who else drains
GATHER = 0.02  # seconds from a change to what follows from it, so that many changes make one step
WITHDRAW = 5.0  # seconds for the last withdrawals to be made
UNSETTLED = 0.2  # seconds between two looks whether the passwords are known
ESTABLISHED = "Established"
LONGEST_ERROR = 256  # characters of lastError (the schema's maxLength)

Work = Callable[[], Awaitable[NoReturn]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What has become of it. *exceptions*: by VIP why this node does not announce it."""

    desired: int = 0
    announced: int = 0
    exceptions: Mapping[str, tuple[Reason, str]] = field(default_factory=dict)
    bgp: wire.AgentBGP | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """What the node's other parts know."""

    holds: Callable[[Vip], bool]  # whether this node holds the group of a VIP
    decided: Callable[[], bool]  # whether it is known yet which groups this node holds
    rests: Callable[[], bool]  # whether this program, told to stop, is to come back and find all as it was
    changed: Callable[[], None]  # there is something new to report


class Layer3:
    """One node's announcements to routers."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        settings: Settings,
        ground: Ground,
        *,
        connect: Connect | None = None,
        table: Table | None = None,
    ) -> None:
        self._kube, self._clock, self._settings = kube, clock, settings
        self._ground, self._connect = ground, connect
        self.node = settings.node.node_name
        self.index = Index(self.node, concerns_layer3)
        self.peers = Reflector[Any](kube, BGPPEERS, self._seen, clock)
        self.advertisements = Reflector[Any](kube, BGPADVERTISEMENTS, self._seen, clock)
        self.passwords = Passwords(kube, clock, self.wake)
        self._alive = Alive(Path(settings.gobgp.bgp_keeper), clock, ground.rests)
        self.routes = Routes(settings.routes, clock, self._told, table)
        self.listed = False  # everything that has a say was listed once
        self._silent = asyncio.Event()  # after leave(): nothing is announced any more
        self._daemon: Daemon | None = None
        self._links: tuple[Link, ...] = ()
        self._object: wire.Node | None = None
        self._leaving = False  # the program goes, and gives everything away
        self._draining_since: float | None = None
        self._absent: frozenset[str] | None = None  # nodes that drain by their switch; known only while this one drains
        self._drains = asyncio.Event()
        self._began: float | None = None  # when it was first decided
        self._complete = False  # what is wanted is all that is
        self._choice, self._plan = Choice(), Plan()
        self._aggregates: tuple[Prefix, ...] = ()  # of the paths those that cover several VIPs
        self._followed = -1  # changes of the index that were looked at
        self._wake, self._speaks = asyncio.Event(), asyncio.Event()
        self._logged: frozenset[object] = frozenset()

    def works(self) -> dict[str, Work]:
        known: dict[str, Work] = {"bgppeers": self.peers.run, "bgpadvertisements": self.advertisements.run}
        own: dict[str, Work] = {"layer3": self.decide, "routes": self.routes.run, "gobgp": self._speak}
        return (
            known
            | own
            | {"passwords": self.passwords.run, "gobgp-alive": self._stay_alive, "who-stays": self._look_who_stays}
        )

    # -- what is told

    def wake(self) -> None:
        """There may be something to decide."""
        self._wake.set()

    def follow(self) -> None:
        """Objects changed: most are none of ours, and then nobody is woken."""
        if self.index.changes != self._followed:
            self._wake.set()

    def _seen(self, _key: str, old: Any, new: Any) -> None:
        if old is None or new is None or old.spec != new.spec:  # what is told of it changes nothing here
            self.wake()

    def _told(self) -> None:
        """Daemon or kernel have news."""
        self._ground.changed()
        if self._leaving:
            self.wake()

    def links_are(self, links: tuple[Link, ...]) -> None:
        if links != self._links:
            self._links = links
            self.wake()

    def node_is(self, node: wire.Node | None) -> None:
        """Its labels, addresses and annotations count; kubelet writes it every few minutes for less."""
        before, self._object = self._object, node
        if _face(before) != _face(node):
            self.wake()

    def leave(self) -> None:
        """The program goes for good: drain, and withdraw."""
        self._leaving = True
        self.wake()

    async def left(self) -> None:
        """After :meth:`leave`: return when nothing is announced from here any more, or it takes too long."""
        if not self._ready() or not self._choice.vips:
            return
        try:
            async with asyncio.timeout(self._plan.drain + WITHDRAW):
                await self._silent.wait()
        except TimeoutError:
            why = "not all was withdrawn in time"
            log.warning("%s", why, extra={"reason": Reason.STOPPING, "object": f"nodeagent/{self.node}"})

    # -- deciding

    async def decide(self) -> NoReturn:
        while True:
            due = self._decide() if self._ready() else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(GATHER, due - self._clock.now())):
                    await self._wake.wait()
            await self._clock.sleep(GATHER)
            self._wake.clear()

    async def _look_who_stays(self) -> NoReturn:
        """While this node drains, find out who else does: the last one goes on. Raises Unreachable.

        Everybody's switch could be watched, but each report of each node would be told to all others then.
        """
        while True:
            await self._drains.wait()
            listing = await self._kube.list(wire.NODEAGENTS)
            absent = frozenset(a.metadata.name for a in listing.items if a.spec.maintenance != "None") - {self.node}
            if self._drains.is_set() and absent != self._absent:
                self._absent = absent
                self.wake()
            await self._clock.sleep(LOOK)

    def _ready(self) -> bool:
        return self.listed and self.peers.synced.is_set() and self.advertisements.synced.is_set()

    def _decide(self) -> float | None:
        """Have daemon and kernel follow what is known now; the time at which that changes by itself."""
        drains = self.index.own_fitness.leaving is not None and not self._leaving  # who goes does not stay as the last
        if drains:
            self._drains.set()
        else:
            self._drains.clear()
            self._absent = None
        if self._leaving or (drains and self._absent is not None):
            self._draining_since = self._clock.now() if self._draining_since is None else self._draining_since
        elif not drains:
            self._draining_since = None
        self._followed = self.index.changes
        self._choice = choose(self.index, self._ground.holds, leaving=drains, absent=self._absent)
        labels = self.index.labels.get(self.node, {})
        self.passwords.follow(bgp.secrets(self.peers.items, labels))
        if not self.passwords.settled and not self._leaving:
            return self._clock.now() + UNSETTLED
        self._plan = plan = bgp.wanted(self._situation())
        self._aggregates = tuple(path for path in plan.want.paths if path.num_addresses > 1)
        if self._daemon is None and (plan.want.speaker is not None or self._somebody_listens()):
            self._speaks.set()
        now = self._clock.now()
        self._began = now if self._began is None else self._began
        waits = not (self._leaving or self._ground.decided()) and now < self._began + UNDECIDED
        self._complete = not waits
        if self._daemon is not None:
            self._daemon.want(plan.want, complete=self._complete)
        self.routes.want(self._wanted_routes(), complete=self._complete)
        self._log_problems()
        self._ground.changed()
        if self._leaving and self._nothing_left():
            self._silent.set()
        return now + UNSETTLED if waits else plan.due

    def _situation(self) -> Situation:
        found = self._object
        here = Here(
            self.node,
            found.metadata.labels if found is not None else {},
            found.metadata.annotations if found is not None else {},
            self.index.addresses,
            {link.name: link.prefixes for link in self._links},
        )
        offers = tuple(
            Offer(
                vip.address,
                vip.pool,
                vip.advertisements,
                vip.holder_only,
                self._ground.holds(vip),
                vip.address in self._choice.alone,
            )
            for vip in self._choice.vips
            if BGP in vip.protocols
        )
        return Situation(
            here,
            self._settings.bgp,
            self.peers.items,
            self.advertisements.items,
            self.passwords.known(),
            offers,
            self._draining_since,
            self._clock.now(),
        )

    def _wanted_routes(self) -> frozenset[routes.Route]:
        """A node that drains takes its routes away at once: other daemons decide what becomes of the traffic."""
        vips = (vip for vip in self._choice.vips if ROUTES in vip.protocols)
        stays = [vip.address for vip in vips if self._draining_since is None or vip.address in self._choice.alone]
        return routes.wanted(stays, self._links, self._settings.routes, self._settings.node.interface)

    def _nothing_left(self) -> bool:
        drained = self._plan.due is None and not self._plan.want.paths
        silent = self._daemon is None or self._daemon.problem is not None or not self._daemon.announced()
        return drained and silent and self.routes.settled and not self.routes.present()

    # -- the daemon

    def _somebody_listens(self) -> bool:
        """Whether a daemon is there to be told that nothing is wanted of it any more."""
        socket = self._settings.gobgp.endpoint.socket
        return socket is not None and socket.exists()

    async def _speak(self) -> NoReturn:
        await self._speaks.wait()
        from nodeagent.bgp.apply import Daemon  # noqa: PLC0415 - what it needs is large, and most nodes need none of it

        where = self._settings.gobgp
        self._daemon = Daemon(where.endpoint, self._clock, self._told, connect=self._connect, alive=self._alive)
        self._daemon.want(self._plan.want, complete=self._complete)
        await self._daemon.run()

    async def _stay_alive(self) -> NoReturn:
        """Have the daemon's keeper know that somebody sees to it, and what to do with it when both must end."""
        await self._speaks.wait()
        await self._alive.run()

    # -- the report

    def seen(self) -> Seen:
        """What has become of it, for the NodeAgent's status."""
        daemon = self._daemon
        sessions = {state.key: state for state in daemon.sessions()} if daemon is not None else {}
        _count(sessions.values())
        exceptions = dict(self._choice.exceptions)
        announced = 0
        for vip in self._choice.vips:
            why = self._why_silent(vip, sessions)
            if why is None:
                announced += 1
            else:
                exceptions[str(vip.address)] = why
        desired = announced + len(exceptions)
        return Seen(desired, announced, exceptions, self._report(sessions))

    def _why_silent(self, vip: Vip, sessions: Mapping[str, SessionState]) -> tuple[Reason, str] | None:
        """Why a VIP that is to be announced is not; None: it is, in every way that it should be."""
        if ROUTES in vip.protocols and (why := self.routes.problems.get(vip.address)) is not None:
            return Reason.KERNEL_REFUSED, why
        if BGP not in vip.protocols or self._is_drained(vip):
            return None
        path = path_of(self._plan.want, self._aggregates, vip.address)
        if path is None:
            return Reason.NO_SESSION, "no BGPPeer, setting or annotation has a session that it would go to"
        daemon = self._daemon
        if daemon is None or daemon.problem is not None or path not in daemon.announced():
            problem = daemon.problem if daemon is not None else None
            return Reason.GOBGP_DOWN, problem or f"{path} is not in GoBGP's table yet"
        states = [sessions[key] for key in self._plan.want.paths[path] if key in sessions]
        if any(state.state == ESTABLISHED for state in states):
            return None
        told = ", ".join(state.name for state in states)  # not their states, which change with every try
        return Reason.PEER_DOWN, f"no session with {told}" if told else "no session is there yet"

    def _is_drained(self, vip: Vip) -> bool:
        return self._draining_since is not None and vip.address not in self._choice.alone

    def _report(self, sessions: Mapping[str, SessionState]) -> wire.AgentBGP | None:
        problems = [
            wire.AgentProblem(
                peer=one.name if one.kind != ADVERTISEMENT else "",
                advertisement=one.name if one.kind == ADVERTISEMENT else "",
                reason=one.reason,
                message=_of(one),
            )
            for one in self._plan.problems
        ]
        daemon = self._daemon
        if daemon is not None and self._plan.want.speaker is not None:
            if daemon.problem is not None:
                problems.append(wire.AgentProblem(reason=Reason.GOBGP_DOWN, message=daemon.problem))
            problems += [self._refusal(refused) for refused in daemon.refused()]
        wanted = self._plan.want.sessions
        if not wanted and not problems:
            return None
        rows = [_row(session, sessions.get(key)) for key, session in sorted(wanted.items())]
        up = sum(row.state == ESTABLISHED for row in rows)
        return wire.AgentBGP(summary=f"{up}/{len(rows)}", sessions=tuple(rows), problems=tuple(problems))

    def _refusal(self, refused: Refused) -> wire.AgentProblem:
        session = self._plan.want.sessions.get(refused.key)
        peer = session.name if session is not None else ""
        return wire.AgentProblem(peer=peer, reason=Reason.NOT_SUPPORTED, message=refused.reason)

    def _log_problems(self) -> None:
        """Each once, when it comes."""
        problems = frozenset(self._plan.problems)
        for one in self._plan.problems:
            if one not in self._logged:
                about = {"reason": one.reason, "object": f"{one.kind.lower()}/{one.name}"}
                log.warning("%s", _of(one), exc_info=one.bug, extra=about)
                if one.bug is not None:
                    metrics.INTERNAL_ERRORS.labels("bgp").inc()
        self._logged = problems


def _face(node: wire.Node | None) -> object:
    return None if node is None else (node.metadata.labels, node.metadata.annotations, node.status.addresses)


def path_of(want: Want, aggregates: Iterable[Prefix], vip: Address) -> Prefix | None:
    """The path that *vip* is announced by: its own, or the longest of *aggregates* that covers it; None: none."""
    own = ip_network(vip)
    if own in want.paths:
        return own
    return max((path for path in aggregates if vip in path), key=lambda path: path.prefixlen, default=None)


def _row(session: Session, state: SessionState | None) -> wire.AgentSession:
    return wire.AgentSession(
        peer=session.name,
        remote=session.key,
        state=state.state if state is not None else "Idle",
        asn=session.asn or 0,
        advertised=state.advertised if state is not None else 0,
        last_error=(state.last_error if state is not None else "")[:LONGEST_ERROR],
    )


def _of(problem: Problem) -> str:
    return f"{problem.kind} {problem.name}: {problem.message}"


def _count(sessions: Iterable[SessionState]) -> None:
    metrics.BGP_SESSION_UP.clear()
    metrics.BGP_ADVERTISED.clear()
    for state in sessions:
        metrics.BGP_SESSION_UP.labels(state.name, state.key).set(state.state == ESTABLISHED)
        metrics.BGP_ADVERTISED.labels(state.name, state.key).set(state.advertised)
