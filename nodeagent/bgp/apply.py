"""Keeps a daemon doing what is wanted: reads what it does, does what is missing, and watches it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, Protocol

from nodeagent.bgp import steps as plan
from nodeagent.bgp.alive import Alive
from nodeagent.bgp.client import Client, Connect, Endpoint, NotAccepted, Status, Stopped
from nodeagent.bgp.links import Links
from nodeagent.bgp.orders import SOCKET
from nodeagent.bgp.steps import Have, Refused, Step
from nodeagent.bgp.values import Prefix, Session, SessionState, Want
from roost.process import Backoff, Clock, Unreachable, jitter

log = logging.getLogger(__name__)

REREAD = 30.0  # seconds after which what others changed by hand is found and repaired
RETRY = 1.0  # seconds until a session that the daemon did not take, or whose router was not found, is tried again
SETTLE = 0.5  # seconds between two looks at the sessions, however often they change
LOOK = 2.0  # seconds after which they are looked at, even if paths change all the time
LONGEST = 5.0  # seconds between two attempts with a daemon that says no
BACK = 0.15  # seconds between two attempts to reach a daemon that is away, give or take half
QUICK = (plan.Announce, plan.Withdraw, plan.SetRules)  # steps that end or begin no session
IDLE = "Idle"
NO_BFD = "BFD needs gobgpd 4.5 or newer: the session runs without it, so choose a short hold time"
OWN_AS = "the router is of our own AS, where one of another AS is asked for"
NO_ROUTER = (
    "no router, or more than one, is seen on the interface; unnumbered sessions need IPv6 and a link with one router"
)


class Routers(Protocol):
    """Finds the router at the other end of a link, for sessions that name an interface only."""

    async def find(self, interface: str) -> str | None:
        """Its link-local address with zone; None as long as there is none, or more than one."""
        ...


class Daemon:
    """A gobgpd, and what it should do. `run` never ends; all else may be called at any time from the same loop."""

    problem: str | None = None  # why the daemon cannot be used now, with the remedy

    def __init__(
        self,
        where: Endpoint,
        clock: Clock,
        changed: Callable[[], None],
        *,
        connect: Connect | None = None,
        routers: Routers | None = None,
        alive: Alive | None = None,
    ) -> None:
        """*changed* is called after what `sessions`, `announced`, `refused` or `problem` say became something else.

        *alive* speaks to the keeper of gobgpd; the default knows of no planned restarts.
        """
        self._where, self._clock, self._changed = where, clock, changed
        self._connect, self._routers = connect or _gobgpd, routers or Links()
        self._alive = alive or Alive(Path(SOCKET), clock, lambda: False)
        self._want, self._complete = Want(), False
        self._silenced = False  # the daemon was told to say nothing, and nothing is wanted
        self._wake = asyncio.Event()  # there is something to do
        self._moved = asyncio.Event()  # something happened to a session
        self._have: Have | None = None  # as read over this connection, and changed over it
        self._read = 0.0  # when all its paths were read
        self._seen = -LOOK  # when the sessions were looked at
        self._refusals = Backoff(BACK, LONGEST)  # of a daemon that says no to what cannot be left out
        self._states: dict[str, SessionState] = {}
        self._refused: dict[str, Refused] = {}
        self._kin: dict[str, tuple[Session, float]] = {}  # whose routers are of our own AS, and how long they rest

    # -- what it says -------------------------------------------------------------------------------------------------

    def sessions(self) -> tuple[SessionState, ...]:
        """The wanted sessions as they are."""
        return tuple(self._states[key] for key in sorted(self._states))

    def announced(self) -> frozenset[Prefix]:
        """What is in the daemon's table; nothing while it is away."""
        return frozenset(self._have.paths) if self._have is not None else frozenset()

    def refused(self) -> tuple[Refused, ...]:
        """What of the wanted sessions this daemon cannot do, and why."""
        return tuple(self._refused[key] for key in sorted(self._refused))

    # -- what it does -------------------------------------------------------------------------------------------------

    def want(self, want: Want, complete: bool) -> None:
        """This is wanted from now on. Unless it is *complete*, nothing is withdrawn or removed."""
        if (want, complete) != (self._want, self._complete):
            self._want, self._complete, self._silenced = want, complete, False
            self._wake.set()

    async def run(self) -> NoReturn:
        """Keep the daemon so. One that is away is waited for, and everything is back with it."""
        while True:
            if not self._needed():
                self._wake.clear()
                await self._wake.wait()
            pause = jitter(BACK, 0.5)
            try:
                self._look_for_it()
                async with self._connect(self._where) as client:
                    await self._serve(client)
            except* Unreachable as errors:
                self._away(str(next(_leaves(errors))))
            except* NotAccepted as errors:
                self._away(self._remedy(next(_leaves(errors))))
                pause = self._refusals.next()
            if self._needed():
                await self._clock.sleep(pause)

    async def keepalive(self) -> NoReturn:
        """Tell the keeper of gobgpd every second that this agent lives; without that gobgpd's sessions end."""
        await self._alive.run()

    def _remedy(self, error: BaseException) -> str:
        if not isinstance(error, Stopped):
            return f"{self._where}: gobgpd says: {error}"
        asked = self._alive.restart()
        remedy = "roost-gobgpd does that now" if asked else "please restart it"
        return f"{self._where}: gobgpd was stopped ({error}) and has to be started anew: {remedy}"

    def _needed(self) -> bool:
        """Whether to connect at all: where nothing is wanted and nobody listens, gRPC is never loaded."""
        if self._want.speaker is not None:
            return True
        socket = self._where.socket
        return self._complete and not self._silenced and socket is not None and socket.exists()

    def _look_for_it(self) -> None:
        socket = self._where.socket
        if socket is not None and not socket.exists():
            raise Unreachable(f"{self._where}: no gobgpd listens there; is roost-gobgpd running on this node?")

    async def _serve(self, client: Client) -> None:
        """As long as the connection lasts, or is needed."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(client))
            while self._needed():
                self._wake.clear()
                await self._pass(client)
                await self._look_on(client)
            watch.cancel()

    async def _watch(self, client: Client) -> None:
        async for _ in client.watch():
            self._moved.set()

    async def _pass(self, client: Client) -> None:
        """Read, compare, do; and say how it is now."""
        want, complete, before = self._want, self._complete, self._have
        if before is None or self._clock.now() - self._read >= REREAD:
            self._read = self._clock.now()
            have = await client.have()
        else:
            have = await client.have(before.paths)
        if want.speaker is not None and have.speaker is None:
            have = Have()  # it began anew, and what was read from the one before says nothing
        self._have = have
        addresses = await self._addresses(want, have)
        todo = list(plan.steps(want, have, addresses, complete=complete))
        self._refused = {
            key: Refused(key, OWN_AS if self._rests(session) else NO_ROUTER)
            for key, session in want.sessions.items()
            if key not in addresses
        }
        for step in todo:
            await self._do(client, step)
        self._silenced = complete and want.speaker is None
        if todo:
            log.info("gobgpd at %s: %s", self._where, ", ".join(plan.told(step) for step in todo))
        self._refusals.reset()
        # To count what went out costs the daemon a walk through its table: not for each VIP of many.
        if before is not None and todo and all(isinstance(step, QUICK) for step in todo) and self._lately():
            self._moved.set()
            self._changed()
        else:
            await self._see(client, news=before is None or bool(todo) or self.problem is not None)

    def _lately(self) -> bool:
        return self._clock.now() - self._seen < LOOK

    async def _do(self, client: Client, step: Step) -> None:
        """One step. What the daemon says no to concerns one session, or ends the connection."""
        have = self._have or Have()
        match step:
            case plan.Restart():
                await self._restart(client)
            case plan.Start(speaker):
                await client.start(speaker)
            case plan.SetRules(rules):
                await client.set_rules(rules)
            case plan.Announce(paths):
                await client.announce(paths)
                self._have = replace(have, paths={**have.paths, **dict(paths)})
            case plan.Withdraw(prefixes):
                await client.withdraw(prefixes)
                gone = frozenset(prefixes)
                self._have = replace(have, paths={p: tag for p, tag in have.paths.items() if p not in gone})
            case plan.AddPeer(session, address, restarting):
                await self._add(client, session, address, restarting=restarting)
            case plan.DeletePeer(address):
                await client.delete_peer(address)
            case plan.EnablePeer(address):
                await client.enable_peer(address)

    async def _add(self, client: Client, session: Session, address: str, *, restarting: bool) -> None:
        try:
            await client.add_peer(session, address, restarting=restarting)
        except NotAccepted as error:
            self._refused[session.key] = Refused(session.key, f"gobgpd does not take this session: {error}")

    async def _restart(self, client: Client) -> None:
        """Only GoBGP 3 can begin anew by itself."""
        self._have = None
        await client.stop()
        if not client.restartable:
            raise Stopped("another AS or router id")

    async def _addresses(self, want: Want, have: Have) -> dict[str, str]:
        """Of the routers. One that is known only by its link keeps the address that the daemon reaches it by."""
        found = {}
        for key, session in want.sessions.items():
            peer = have.peers.get(key)
            if self._rests(session):
                continue
            if session.remote is not None:
                found[key] = str(session.remote)
            elif peer is not None and peer.established:
                found[key] = peer.address
            elif router := await self._routers.find(session.interface):
                found[key] = router
        return found

    # -- watching -----------------------------------------------------------------------------------------------------

    async def _look_on(self, client: Client) -> None:
        """Watch sessions until something else is wanted, something failed is due again, or others may have meddled."""
        waits = any(refused.whole for refused in self._refused.values())
        until = self._clock.now() + (RETRY if waits else REREAD)
        while not self._wake.is_set() and (left := until - self._clock.now()) > 0:
            await self._pause(left, self._wake, self._moved)
            if self._moved.is_set():
                await self._pause(SETTLE, self._wake)
                if self._wake.is_set():
                    return
                self._moved.clear()
                if not await self._see(client, news=False):
                    self._read -= REREAD  # a session is missing: somebody meddles, so read everything again
                    return

    async def _pause(self, seconds: float, *events: asyncio.Event) -> None:
        """Wait for one of *events*, but not for longer than *seconds*."""
        waits = [asyncio.ensure_future(_any(event.wait())) for event in events]
        waits.append(asyncio.ensure_future(_any(self._clock.sleep(seconds))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _see(self, client: Client, *, news: bool) -> bool:
        """Look at the sessions, and say so if they (or something else: *news*) changed. False: some are missing."""
        self._seen = self._clock.now()
        statuses = {status.key: status for status in await client.statuses()}
        await self._part(client, statuses)
        want = self._want.sessions
        partly = {
            k: Refused(k, NO_BFD, whole=False) for k, s in statuses.items() if k in want and want[k].bfd and not s.bfd
        }
        refused = {key: one for key, one in self._refused.items() if one.whole and key in want} | partly
        states = {key: self._state(session, statuses.get(key), refused.get(key)) for key, session in want.items()}
        if news or (states, refused) != (self._states, self._refused):
            self._states, self._refused, self.problem = states, refused, None
            self._changed()
        return all(key in statuses or key in refused for key in want)

    async def _part(self, client: Client, statuses: dict[str, Status]) -> None:
        """End sessions with routers of our own AS where one of another was asked for: GoBGP itself takes either."""
        for key, session in self._want.sessions.items():
            status = statuses.get(key)
            if session.asn is None and status is not None and status.asn == session.local_asn:
                self._kin[key] = session, self._clock.now() + REREAD
                self._refused[key] = Refused(key, OWN_AS)
                await client.delete_peer(status.address)
                del statuses[key]

    def _rests(self, session: Session) -> bool:
        """Whether its router was of our own AS a moment ago, where one of another was asked for."""
        known, until = self._kin.get(session.key, (None, 0.0))
        return known == session and self._clock.now() < until

    def _state(self, session: Session, status: Status | None, refused: Refused | None) -> SessionState:
        before = self._states.get(session.key)
        state = IDLE if status is None else status.state
        since = before.since if before is not None and before.state == state else self._clock.now()
        error = "" if status is None else status.last_error
        if refused is not None and (refused.whole or not error):
            error = refused.reason
        advertised = 0 if status is None else status.advertised
        return SessionState(session.key, session.name, state, since, error, advertised)

    def _away(self, problem: str) -> None:
        """There is no daemon: it announces nothing, and no session is known to live."""
        if problem != self.problem or self._have is not None:
            log.warning("%s", problem)
            self._have, self.problem = None, problem
            self._states = {key: self._state(session, None, None) for key, session in self._want.sessions.items()}
            self._changed()


async def _any(wait: Awaitable[object]) -> None:
    await wait


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@asynccontextmanager
async def _gobgpd(where: Endpoint) -> AsyncIterator[Client]:
    from nodeagent.bgp.gobgp import connected  # noqa: PLC0415 - gRPC takes 10 MB, which a node without BGP spares

    async with connected(where) as client:
        yield client
