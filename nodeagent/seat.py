"""This node's seat at work: what it learns goes through the pure step, and what comes out is done, in order.

One task decides. Watches and answers only put what they saw into the inbox; requests go out in tasks of their own, so
that a renewal never waits behind anything else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import NoReturn

from nodeagent.claims import Claims
from nodeagent.segment import events as ev
from nodeagent.segment.apply import SegmentApi
from nodeagent.segment.plan import step
from nodeagent.segment.state import State
from roost import metrics
from roost.kube import wire
from roost.logs import decision
from roost.process import Clock, Unreachable
from roost.words import Reason

log = logging.getLogger(__name__)

RETRY = 0.5  # seconds until a question that got no answer is asked again
EARLY = 0.001  # seconds; a loop may wake up that much too soon
SHOWN = 8  # groups that one line of the log names


class Seat:
    """A node's seat on one segment. *look* says what the cluster wants if that has changed, else None."""

    def __init__(
        self,
        state: State,
        api: SegmentApi,
        claims: Claims,
        leases: Mapping[str, wire.Lease],
        look: Callable[[], ev.Wish | None],
        clock: Clock,
    ) -> None:
        self.state, self.left = state, asyncio.Event()
        self._former = state.table  # as it was before the step that is being done
        self._api, self._claims, self._leases, self._look, self._clock = api, claims, leases, look, clock
        self._inbox: deque[ev.Input] = deque()
        self._news = asyncio.Event()
        self._renewals, self._writes, self._questions = (asyncio.Queue[ev.Output]() for _ in range(3))
        self._asked: set[ev.Output] = set()
        self._refusal = ""
        self._alive: dict[str, float] = {}  # when each node's Lease was last seen to be renewed

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
                self._step(self._inbox.popleft())
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

    def _step(self, happened: ev.Input) -> None:
        if isinstance(happened, ev.LeaseSeen) and happened.lease is not None and not happened.lease.ended:
            self._alive[happened.node] = self._clock.now()
        self._former = self.state.table
        self.state, outputs = step(self.state, self._clock.now(), happened)
        for output in outputs:
            self._do(output)

    def _do(self, output: ev.Output) -> None:
        match output:
            case ev.Hold(groups):
                self._hold(groups)
            case ev.Feed(deadline):
                self._claims.feed(deadline)
                metrics.SEAT_LEASE_AGE.set(max(0.0, self.state.settings.lease - (deadline - self._clock.now())))
            case ev.Revoke():
                self._claims.revoke()
            case ev.PutLease():
                self._renewals.put_nowait(output)
            case ev.PutTable():
                self._writes.put_nowait(output)
            case ev.AskLease() | ev.AskTable() | ev.MarkLease():
                if output not in self._asked:
                    self._asked.add(output)
                    self._questions.put_nowait(output)
            case ev.Say():
                self._say(output)
            case ev.Left():
                self.left.set()

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
        if table is None or self._former is None:
            return
        gone = {seat.tenure: seat.node for seat in self._former.live()} if gained else {}
        for group in (group for group in self._former.groups if group.name in gained):
            node = gone.get(group.tenure, "")
            seat = table.seat(node)
            if seat is not None and not seat.live and node in self._alive and any(self._claims.vips_of(group.name)):
                metrics.FAILOVER_SECONDS.labels(Reason.TAKEN.value).observe(now - self._alive[node])

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
            self._asked.discard(wanted)
            if answer is not None:
                self.tell(answer)

    async def _answer(self, wanted: ev.Output) -> ev.Input | None:
        match wanted:
            case ev.AskTable():
                return ev.TableSeen(await self._api.read())
            case ev.AskLease(node):
                return ev.LeaseSeen(node, await self._api.read_lease(node), fresh=True)
            case ev.MarkLease(node, tenure, version):
                lease = self._leases.get(f"{self._api.lease_namespace}/{node}")
                if lease is None or lease.metadata.resource_version != version:
                    return ev.MarkPut(node, ev.Answer.CONFLICT)
                return await self._api.mark(lease, tenure)
        return None

    def ask_table(self) -> None:
        """Look at the table itself: the watch says that it is gone, or nothing was seen yet."""
        self._do(ev.AskTable())

    def ask_own_lease(self) -> None:
        self._do(ev.AskLease(self.state.me.node))
