"""Time that passes only when the test says so."""

import asyncio
import heapq
import itertools

TURNS = 50  # of the event loop; enough for a chain of tasks to come to rest


class FakeClock:
    """A :class:`roost.process.Clock`. ``await clock.advance(5)`` wakes every sleeper in the order of its time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.time = now
        self.naps: list[float] = []  # all that anybody asked for
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._number), wake))
        await wake

    async def advance(self, seconds: float) -> None:
        end = self.time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                wake.set_result(None)
            await settle()
        self.time = end
        await settle()


async def settle() -> None:
    """Let all tasks run until they wait for something."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
