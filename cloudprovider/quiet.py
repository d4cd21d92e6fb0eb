"""What can wait, waits: mirrors, counts and good news are written when no Service waits for an address."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from cloudprovider.grants import Says
from cloudprovider.model import WARNING, EventType
from roost.kube.wire import ObjectReference
from roost.process import Clock

LOOK_AGAIN = 0.2  # seconds
TRICKLE = 0.1  # seconds between two writes of one kind while it is never quiet
KEPT = 20_000  # good news that wait; more are dropped, oldest first
PACE = 0.01  # seconds between two of them: behind comes a queue that holds 1,000


@dataclass(slots=True)
class Quiet:
    """Tells when nothing urgent is under way; but nothing that waits is starved, it only trickles."""

    clock: Clock
    busy: Callable[[], bool]
    _since: float | None = None  # when it was quiet last

    async def wait(self, longest: float) -> None:
        """Until nothing urgent is under way. Once that took *longest* seconds it goes on, slowly."""
        while self.busy():
            if self._since is None:
                self._since = self.clock.now()
            if self.clock.now() - self._since > longest:
                await self.clock.sleep(TRICKLE)
                return
            await self.clock.sleep(LOOK_AGAIN)
        self._since = None


@dataclass(slots=True)
class Calm:
    """Tells when others have stopped changing what is seen, so that what all of them change is written once.

    *quiet*: seconds without a change that count as calm; *longest*: seconds after which it is not waited for any more.
    """

    clock: Clock
    quiet: float
    longest: float
    _first: float = float("-inf")
    _last: float = float("-inf")

    def stir(self) -> None:
        """Something changed just now."""
        now = self.clock.now()
        if self.remaining() <= 0:
            self._first = now
        self._last = now

    def remaining(self) -> float:
        """Seconds until it is calm, or too late to wait; 0 or less: it is now."""
        return min(self._last + self.quiet, self._first + self.longest) - self.clock.now()


@dataclass(slots=True)
class Voice:
    """Warnings are said at once, good news when it is quiet."""

    events: Says
    quiet: Quiet
    longest: float = 60.0  # seconds that good news wait
    _news: deque[tuple[ObjectReference, EventType, str, str, str]] = field(default_factory=lambda: deque(maxlen=KEPT))
    _some: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, regarding: ObjectReference, type_: EventType, reason: str, message: str, action: str) -> None:
        if type_ == WARNING:
            self.events.say(regarding, type_, reason, message, action)
        else:
            self.later(regarding, type_, reason, message, action)

    def later(self, regarding: ObjectReference, type_: EventType, reason: str, message: str, action: str) -> None:
        """When it is quiet, after all that was said later before."""
        self._news.append((regarding, type_, reason, message, action))
        self._some.set()

    async def run(self) -> NoReturn:
        while True:
            if not self._news:
                self._some.clear()
                await self._some.wait()
            await self.quiet.wait(self.longest)
            self.events.say(*self._news.popleft())
            await self.quiet.clock.sleep(PACE)
