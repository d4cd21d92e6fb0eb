"""This node's seat at work: what it learns goes through the pure step, and what comes out is done, in order.

One task decides. Watches, the pulse and answers only put what they saw into the inbox; requests and questions go out in
tasks of their own, so that a renewal never waits behind anything else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from nodeagent.claims import Claims
from nodeagent.model import Orders, feeders
from nodeagent.neighbours.hearing import Others
from nodeagent.segment import events as ev
from nodeagent.segment.apply import SegmentApi
from nodeagent.segment.plan import step
from nodeagent.segment.state import State
from nodeagent.segment.table import Mode
from nodeagent.segment.table import Seat as Row
from roost import metrics
from roost.kube import wire
from roost.logs import decision
from roost.process import Clock, Unreachable
from roost.words import Address, Reason

log = logging.getLogger(__name__)

RETRY = 0.5  # seconds until a question that got no answer is asked again
EARLY = 0.001  # seconds; a loop may wake up that much too soon
SHOWN = 8  # groups that one line of the log names
FEW = 64  # VIPs that are asked for three times; of more, each once: a dead node's thousand must not take seconds


class Surroundings(Protocol):
    """The segment as this node hears it."""

    async def who_has(self, vips: Sequence[Address], *, times: int, every: float) -> Others:
        """Who else answers for *vips*, and who asks for them too; each is asked for *times*, *every* seconds apart.

        Raises Unreachable where nobody can be asked.
        """
        ...

    async def anchored(self) -> bool: ...
    async def alone(self) -> bool: ...
    def heard_back(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Far:
    """What a seat talks to: the API server, the pulse, and its neighbours."""

    api: SegmentApi
    order: Callable[[Orders], None]
    surroundings: Surroundings


class Seat:
    """A node's seat on one segment. *look* says what the cluster wants if that has changed, else None."""

    def __init__(
        self,
        state: State,
        far: Far,
        claims: Claims,
        leases: Mapping[str, wire.Lease],
        look: Callable[[], ev.Wish | None],
        clock: Clock,
    ) -> None:
        self.state, self.left = state, asyncio.Event()
        self._api, self._far, self._claims, self._leases = far.api, far, claims, leases
        self._look, self._clock = look, clock
        self._inbox: deque[ev.Input] = deque()
        self._news = asyncio.Event()
        self._renewals, self._writes, self._questions, self._looks = (asyncio.Queue[ev.Output]() for _ in range(4))
        self._probes = asyncio.Queue[ev.Probe]()
        self._asked: set[ev.Output] = set()
        self._refusal = ""

    def tell(self, *happened: ev.Input) -> None:
        """Note what happened; :meth:`decide` takes it in."""
        self._inbox.extend(happened)
        self._news.set()

    async def decide(self) -> NoReturn:
        """Take in what happened, look at the snapshot, and do what follows."""
        while True:
            wish = self._look()
            if wish is not None:
                self._step(wish)
            while self._inbox:
                self._step(*self._next())
            if self.state.wake <= self._clock.now():
                self._step(ev.Tick())
            self._news.clear()
            await self._until_news()

    async def _until_news(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self.state.wake - self._clock.now()) + EARLY):
                await self._news.wait()
        except TimeoutError:
            pass

    def _next(self) -> list[ev.Input]:
        """What is to be taken in now; answers that came together, together: a plan for each would take its time."""
        together = [self._inbox.popleft()]
        while isinstance(together[0], ev.Probed) and self._inbox and isinstance(self._inbox[0], ev.Probed):
            together.append(self._inbox.popleft())
        return together

    def _step(self, *happened: ev.Input) -> None:
        self.state, outputs = step(self.state, self._clock.now(), *happened)
        for output in outputs:
            self._do(output)

    def _do(self, output: ev.Output) -> None:  # noqa: C901 - a branch for each thing that a step can ask for
        match output:
            case ev.Hold(groups):
                self._hold(groups)
            case ev.Order(orders):
                self._far.order(orders)
                self._show_feeding()
            case ev.Probe():
                self._probes.put_nowait(output)
            case ev.AskAnchor() | ev.LookRound():
                self._looks.put_nowait(output)
            case ev.AnnounceAgain():
                self._far.surroundings.heard_back()
            case ev.PutLease():
                self._renewals.put_nowait(output)
            case ev.PutTable():
                self._writes.put_nowait(output)
            case ev.AskLease() | ev.AskLeases() | ev.AskTable() | ev.MarkLease():
                if output not in self._asked:
                    self._asked.add(output)
                    self._questions.put_nowait(output)
            case ev.Say():
                self._say(output)
            case ev.Left():
                self.left.set()

    def _show_feeding(self) -> None:
        """The figures of what feeds the permit."""
        state, row = self.state, self.row()
        metrics.SEAT_LEASE_AGE.set(max(0.0, state.settings.lease - (state.fed_until - self._clock.now())))
        metrics.WITNESSES.labels(self._api.segment).set(len(row.witnesses) if row is not None else 0)

    def row(self) -> Row | None:
        """The own row of the table, as far as it is known; None: this node has no seat."""
        state = self.state
        row = state.table.seat(state.me.node) if state.table is not None else None
        return row if row is not None and state.seated and row.tenure == state.tenure else None

    def permitted(self) -> bool:
        """Whether the permit is being fed, for the report: enough witnesses echo, or the Lease is fresh."""
        state, row = self.state, self.row()
        if row is None:
            return False
        if row.mode is Mode.WITNESSED and len(state.echoing & set(row.witnesses)) >= feeders(len(row.witnesses)):
            return True
        return max(state.fed_until, state.held_on_until, state.rest_until) > self._clock.now()

    def _hold(self, groups: frozenset[str]) -> None:
        before = self._claims.groups
        self._claims.hold(groups)
        self._measure(groups - before)
        epochs = {group.name: group.epoch for group in self.state.table.groups} if self.state.table is not None else {}
        for group in sorted(groups ^ before):
            vips = sorted(map(str, self._claims.vips_of(group)))
            if vips:
                reason = Reason.ANNOUNCED if group in groups else Reason.GIVEN
                words = "claims" if group in groups else "no longer claims"
                message = f"this node {words} {', '.join(vips[:SHOWN])}"
                decision(log, reason, f"group/{group}", epochs.get(group), message=message)

    def _measure(self, gained: frozenset[str]) -> None:
        """How long groups were without a living holder, by the last sign of life of the one before."""
        now, table = self._clock.now(), self.state.table
        for name in gained if table is not None else ():
            group = table.group(name) if table is not None else None
            signs = [self._last_sign(tenure) for tenure in (group.after if group is not None else ())]
            known = [sign for sign in signs if sign is not None]
            if known and any(self._claims.vips_of(name)):
                metrics.FAILOVER_SECONDS.labels(Reason.TAKEN.value).observe(now - max(known))

    def _last_sign(self, tenure: int) -> float | None:
        """When *tenure*, which is over, was last heard: its witnesses voted so much later."""
        state = self.state
        since = [silence.since for (_, other, _), silence in state.silences.items() if other == tenure]
        return min(since) - state.wish.profile.silence if since and state.wish is not None else None

    def _say(self, said: ev.Say) -> None:
        if said.cause in {Reason.TAKEN, Reason.GIVEN, Reason.VACANT, Reason.STOPPING}:
            metrics.HOLDER_CHANGES.labels(said.cause.value).inc(len(said.groups))
        message = f"{said.message}: {self._refusal}" if said.cause is Reason.WRITE_REFUSED else said.message
        groups = sorted(said.groups)[:SHOWN]
        revision = self.state.table.revision if self.state.table is not None else None
        decision(log, said.cause, f"segment/{self._api.segment}", message=message, groups=groups, revision=revision)

    # -- requests: each kind in a task of its own

    async def renew(self) -> NoReturn:
        while True:
            wanted = await self._renewals.get()
            if isinstance(wanted, ev.PutLease):
                done = await self._api.renew(wanted.tenure, wanted.over)
                if done.answer is ev.Answer.REFUSED:
                    log.error("the server refuses the Lease: %s", self._api.refusal, extra={"reason": "WriteRefused"})
                self.tell(done)

    async def write(self) -> NoReturn:
        while True:
            wanted = await self._writes.get()
            if isinstance(wanted, ev.PutTable):
                done = await self._api.put(wanted.table)
                self._refusal = self._api.refusal
                self.tell(done)

    async def ask(self) -> NoReturn:
        """Questions, and marks. What gets no answer is asked again, unless the step does so itself."""
        while True:
            wanted = await self._questions.get()
            try:
                answer = await self._answer(wanted)
            except Unreachable as error:
                log.warning("%s", error)
                answer = None
                if isinstance(wanted, ev.AskTable):
                    await self._clock.sleep(RETRY)
                    self._questions.put_nowait(wanted)
                    continue
                answer = ev.NoAnswer()
            self._asked.discard(wanted)
            if answer is not None:
                self.tell(answer)

    async def _answer(self, wanted: ev.Output) -> ev.Input | None:
        match wanted:
            case ev.AskTable():
                return ev.TableSeen(await self._api.read(), fresh=True)
            case ev.AskLease(node):
                return ev.LeaseSeen(node, await self._api.read_lease(node), fresh=True)
            case ev.AskLeases(version):
                return ev.LeasesRead(version, await self._api.read_leases())
            case ev.MarkLease(node, tenure, version):
                lease = self._leases.get(self._api.lease_key(node))
                if lease is None or lease.metadata.resource_version != version:
                    return ev.MarkPut(node, ev.Answer.CONFLICT)
                return await self._api.mark(lease, tenure)
        return None

    # -- questions to the segment

    async def probe(self) -> NoReturn:
        """Ask who has the VIPs of groups that are about to be claimed: all that wait, together."""
        while True:
            wanted = [await self._probes.get()]
            while not self._probes.empty():
                wanted.append(self._probes.get_nowait())
            asked_at = self._clock.now()
            vips = {probe.group: self._claims.vips_of(probe.group) for probe in wanted}
            apart = min(probe.apart for probe in wanted)
            others = await self._others([vip for several in vips.values() for vip in several], apart)
            if others is None:
                continue  # the step asks again
            nodes = {row.mac: row.node for row in self.state.table.seats} if self.state.table is not None else {}
            # A stranger that only asks contests nothing yet: it may find us there, and take another address.
            self._claims.contest({vip: mac for vip, mac in others.has.items() if str(mac) not in nodes})
            answers = list[ev.Input]()
            for probe in wanted:
                own = vips[probe.group]
                by = {nodes.get(str(others.has[vip]), "") for vip in own if vip in others.has} - {""}
                too = {nodes.get(str(mac), str(mac)) for vip in own for mac in others.asks.get(vip, ())}
                heard = min(by, default=""), min(too, default="")
                answers.append(ev.Probed(probe.group, probe.epoch, asked_at, *heard))
            self.tell(*answers)

    async def _others(self, vips: Sequence[Address], apart: float) -> Others | None:
        if not vips:
            return Others({}, {})
        try:
            return await self._far.surroundings.who_has(vips, times=3 if len(vips) <= FEW else 1, every=apart)
        except Unreachable as error:
            log.warning("nobody can be asked who has the VIPs: %s", error, extra={"reason": Reason.LINK_DOWN})
            return None

    async def look_round(self) -> NoReturn:
        """Ask anchors, and whether others claim what is held here."""
        while True:
            wanted = await self._looks.get()
            asked_at = self._clock.now()
            if isinstance(wanted, ev.LookRound):
                self.tell(ev.Alone(await self._far.surroundings.alone(), asked_at))
            else:
                self.tell(ev.Anchored(await self._far.surroundings.anchored(), asked_at))

    def ask_table(self) -> None:
        """Look at the table itself: the watch says that it is gone, or nothing was seen yet."""
        self._do(ev.AskTable())

    def ask_own_lease(self) -> None:
        self._do(ev.AskLease(self.state.me.node))
