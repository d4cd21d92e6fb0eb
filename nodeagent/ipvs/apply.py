"""Keeps the kernel's balancer as it is wanted, and the backends checked."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Set
from typing import NoReturn, Protocol

from nodeagent.ipvs import plan
from nodeagent.ipvs.checks import Ask, Checks
from nodeagent.ipvs.health import Health
from nodeagent.ipvs.kernel import Kernel, Unsupported
from nodeagent.ipvs.settings import Settings
from nodeagent.ipvs.values import Address, Failed, Have, Outcome, Place, Service, Step
from roost.process import Clock

log = logging.getLogger(__name__)

GATHER = 0.02  # seconds between two looks, so that many changes make few
BUSY = 1.0  # seconds after which the kernel is read again while a backend drains, or something failed
LOOK = 5.0  # seconds after which it is read again anyway: nobody tells when somebody takes a service away
CROWDED, CROWDED_LOOK = 500, 30.0  # with so many services of kube-proxy's a look is work: seconds between two
REMEMBERED = 120.0  # seconds for which it is said that a service was taken away; kube-proxy comes every 30 s


class Far(Protocol):
    """What it is done to: `kernel.Kernel`, or for tests one in memory, in ``fake``."""

    async def close(self) -> None: ...
    async def read(self) -> Have: ...
    async def do(self, steps: Iterable[Step], /) -> tuple[Outcome, ...]: ...


class Ipvs:
    """The balanced services of this node: what is there is read, not remembered.

    *changed* is called when ``present()``, ``problems``, ``settled`` or ``healths`` say something else than before.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        changed: Callable[[], None],
        far: Far | None = None,
        ask: Ask | None = None,
    ) -> None:
        self.settings, self._clock, self._changed = settings, clock, changed
        self.problems: Mapping[Address, str] = {}
        """By VIP what is wrong with its balancing, and what helps."""
        self.settled = False
        """Whether all that was possible was done since want() last said something new."""
        self._far = far
        self._checks = Checks(settings, clock, self._judged, ask)
        self._want = frozenset[Service]()
        self._complete = False
        self._have = Have()
        self._since: plan.Draining = {}
        self._taken = dict[Address, tuple[float, str]]()  # when, and what is said of it
        self._clearing = False
        self._wake = asyncio.Event()

    def want(self, services: Set[Service], *, complete: bool) -> None:
        """From now on have *services* (of plan.wanted()), and none but these once they are *complete*."""
        if (services, complete) == (self._want, self._complete):
            return
        self._want, self._complete = frozenset(services), complete
        self.settled = False
        self._wake.set()

    def present(self) -> frozenset[Service]:
        """The services of ours that were there at the last look, with backends that drain (weight 0)."""
        return frozenset(seen.service for seen in self._have.services.values() if seen.ours)

    @property
    def healths(self) -> Mapping[Place, Health]:
        """What the checks say, by backend."""
        return self._checks.healths

    async def run(self) -> NoReturn:
        """Follow what is wanted and what the checks say, and put back what somebody took away. Raises Unreachable."""
        far = self._far or Kernel()
        try:
            while True:
                self._wake.clear()
                self._checks.follow(one.place for each in self._want for one in each.backends)
                await self._look(far)
                await self._clock.sleep(GATHER)
                await self._wait()
        finally:
            await self._checks.stop()
            await far.close()

    async def clear(self) -> None:
        """Take everything of ours away, now; for the end of the program, when nobody runs any more."""
        self.want(frozenset(), complete=True)
        far = self._far or Kernel()
        try:
            await self._look(far)
        finally:
            await far.close()

    # -- one look

    def _judged(self) -> None:
        self._wake.set()
        self._changed()

    async def _wait(self) -> None:
        calm = CROWDED_LOOK if self._have.others >= CROWDED else LOOK
        seconds = BUSY if self._since or self.problems else calm
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _look(self, far: Far) -> None:
        want, complete = self._want, self._complete
        try:
            have = await far.read()
        except Unsupported as error:
            self._say(Have(), {one.place.address: str(error) for one in want}, settled=not want)
            return
        for address, words in plan.taken((one.place for one in self.present()), have, want).items():
            self._taken[address] = self._clock.now(), words
        based = await far.do(plan.ground(have, want))
        masquerade = plan.can_masquerade(have) and not any(isinstance(one, Failed) for one in based)
        good = want if masquerade else plan.without_masquerade(want)
        serving = plan.healthy(good, self.healths)
        overdue = plan.overdue(have, self._since, self._clock.now(), self.settings)
        outcomes = (*based, *await far.do(plan.steps(have, serving, complete=complete, overdue=overdue)))
        now = await far.read() if outcomes else have
        ended = await far.do(plan.lifted(now, want, complete=complete))
        now = await far.read() if ended else now
        self._since = plan.draining(now, serving, self._since, self._clock.now()) if complete else {}
        settled = (want, complete) == (self._want, self._complete)
        self._say(now, self._wrong(now, want, (*outcomes, *ended)), settled=settled)

    # -- what is said

    def _wrong(self, have: Have, want: Set[Service], outcomes: Iterable[Outcome]) -> Mapping[Address, str]:
        late = self._clock.now() - REMEMBERED
        self._taken = {address: (at, words) for address, (at, words) in self._taken.items() if at > late}
        told = {address: words for address, (_, words) in self._taken.items()}
        return plan.wrong(have, want, told, [one for one in outcomes if isinstance(one, Failed)])

    def _say(self, have: Have, problems: Mapping[Address, str], *, settled: bool) -> None:
        """Publish a look, and log what is new."""
        before = self.present(), self.problems, self.settled
        for address in problems.keys() | self.problems.keys():
            words = problems.get(address)
            if words is None:
                log.info("balancing of %s: all is well again", address)
            elif words != self.problems.get(address):
                log.warning("balancing of %s: %s", address, words)
        self._have, self.problems, self.settled = have, problems, settled
        now = self.present(), problems, settled
        if now[0] != before[0]:
            log.info("balanced: %s", plan.shown(now[0]))
        if now != before:
            self._changed()
