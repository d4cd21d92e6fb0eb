"""Keeps the routes of this node's VIPs in the kernel as they are wanted."""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Mapping, Set
from typing import NoReturn, Protocol

from nodeagent.routes.kernel import Kernel
from nodeagent.routes.plan import (
    Add,
    Address,
    Delete,
    Event,
    Failed,
    Outcome,
    Route,
    Settings,
    Step,
    again,
    matters,
    owned,
    said,
    steps,
)
from roost.process import Clock

log = logging.getLogger(__name__)

GATHER = 0.02  # seconds between two looks, so that a flood of events makes few
RETRY = 5.0  # seconds after which a step that the kernel refused is tried again, though nothing was heard
LOOK = 30.0  # seconds after which the kernel is read again anyway
AGAIN = 1.0  # seconds after a route is back that a routing daemon has had to hear of the link that went


class Table(Protocol):
    """What it is done to: `kernel.Kernel`, or for tests one in memory, in ``fake``."""

    async def close(self) -> None: ...
    async def read(self) -> frozenset[Route]: ...
    async def do(self, steps: tuple[Step, ...], /) -> tuple[Outcome, ...]: ...
    async def watch(self, heard: Callable[[Event], None], /) -> NoReturn: ...


class Routes:
    """The routes of one table: what is there is read, not remembered.

    *changed* is called when ``present()``, ``problems`` or ``settled`` say something else than before.
    """

    def __init__(
        self, settings: Settings, clock: Clock, changed: Callable[[], None], table: Table | None = None
    ) -> None:
        self.settings, self._clock, self._changed = settings, clock, changed
        self.problems: Mapping[Address, str] = {}
        """By VIP why its route is not there."""
        self.settled = False
        """Whether the table was read, and all that was possible was done, since want() last said something new."""
        self._table = table
        self._want = frozenset[Route]()
        self._complete = False
        self._known = frozenset[Route]()  # all that were ever wanted
        self._have = frozenset[Route]()
        self._back = dict[Route, float]()  # those that were lost and are back: when they are to be made once more
        self._wake = asyncio.Event()

    def want(self, routes: Set[Route], *, complete: bool) -> None:
        """From now on have *routes*, and none but these once they are *complete*: all Services were listed."""
        if (routes, complete) == (self._want, self._complete):
            return
        self._want, self._complete = frozenset(routes), complete
        self._known |= self._want
        self.settled = False
        self._wake.set()

    def present(self) -> frozenset[Route]:
        """The routes of ours that were there at the last look, wanted or not."""
        return self._have

    async def run(self) -> NoReturn:
        """Follow what is wanted, and put back what somebody took away. Raises Unreachable."""
        table = self._table or Kernel(self.settings)
        watching: asyncio.Future[NoReturn] | None = None
        self._wake.set()
        try:
            while True:
                if self._want and watching is None:  # a node without such VIPs need not hear of every route
                    watching = asyncio.ensure_future(table.watch(self._heard))
                    watching.add_done_callback(lambda _: self._wake.set())
                await self._wait()
                if watching is not None and watching.done():
                    watching.result()  # it raises
                await self._look(table)
                await self._clock.sleep(GATHER)
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await table.close()

    async def clear(self) -> None:
        """Take away every route of ours, now; for the end of the program, when nobody runs any more."""
        self.want(frozenset(), complete=True)
        table = self._table or Kernel(self.settings)
        try:
            await self._look(table)
        finally:
            await table.close()

    # -- one look

    def _heard(self, event: Event) -> None:
        if matters(event, self._want, self.settings):
            self._wake.set()

    async def _wait(self) -> None:
        seconds = RETRY if self.problems else LOOK
        if self._back:
            seconds = max(0.0, min(self._back.values()) - self._clock.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _look(self, table: Table) -> None:
        want, complete = self._want, self._complete
        have = await table.read()
        todo = steps(have, want, complete=complete, settings=self.settings, known=self._known)
        outcomes = await table.do((*todo, *self._once_more(have & want)))
        self._note_lost(have, outcomes)
        now = frozenset(route for route in (await table.read() if outcomes else have) if owned(route, self.settings))
        problems = {
            outcome.step.route.prefix.network_address: said(outcome)
            for outcome in outcomes
            if isinstance(outcome, Failed) and not isinstance(outcome.step, Delete)
        }
        self._log(outcomes, problems)
        settled = (want, complete) == (self._want, self._complete)
        before = self._have, self.problems, self.settled
        self._have, self.problems, self.settled = now, problems, settled
        if before != (now, problems, settled):
            self._changed()

    def _once_more(self, there: Set[Route]) -> tuple[Step, ...]:
        now = self._clock.now()
        due = frozenset(route for route, at in self._back.items() if at <= now)
        self._back = {route: at for route, at in self._back.items() if route not in due}
        return again(due & there, self.settings)

    def _note_lost(self, have: Set[Route], outcomes: tuple[Outcome, ...]) -> None:
        """Remember what was there at the last look, was not at this one, and is back."""
        lost = self._have - have
        back = {outcome.step.route for outcome in outcomes if isinstance(outcome.step, Add)} & lost
        for route in back if again(back, self.settings) else ():
            self._back[route] = self._clock.now() + AGAIN

    def _log(self, outcomes: tuple[Outcome, ...], problems: Mapping[Address, str]) -> None:
        for outcome in outcomes:
            match outcome:
                case Failed(step, number):
                    level = logging.DEBUG if problems.items() <= self.problems.items() else logging.WARNING
                    why = said(outcome) if not isinstance(step, Delete) else errno.errorcode.get(number, str(number))
                    log.log(level, "route %s: %s", step.route.prefix, why)
                case _:
                    verb = type(outcome.step).__name__.lower()
                    log.info("route %s dev %s: %s", outcome.step.route.prefix, outcome.step.route.device, verb)
