"""Queues of keys: each key is in them once, the latest state wins, and nobody works on one key twice at a time."""

import asyncio
import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

from roost.process import Clock

K = TypeVar("K", bound=Hashable)


class Keys(Generic[K]):
    """First come, first served. A key that is put while it is worked on comes again afterwards."""

    def __init__(self) -> None:
        self._waiting: dict[K, None] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    def __contains__(self, key: K) -> bool:
        return key in self._waiting or key in self._working

    def put(self, key: K) -> None:
        if key in self._working:
            self._again.add(key)
        else:
            self._waiting.setdefault(key)
            self._some.set()

    async def get(self) -> K:
        """The next key, which is the caller's until :meth:`done`."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.put(key)


class Alarms(Generic[K]):
    """Keys with a time: each rings once, at the earliest time asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._number = itertools.count()
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: K, seconds: float) -> None:
        """Ring for *key* in so many seconds, unless it rings before."""
        due = self._clock.now() + max(0.0, seconds)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._number), key))
            self._sooner.set()

    def drop(self, key: K) -> None:
        self._due.pop(key, None)

    async def next(self) -> K:
        """Wait for the next that rings. For one caller at a time."""
        while True:
            while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
                heapq.heappop(self._heap)  # dropped, or set to an earlier time
            wait = self._heap[0][0] - self._clock.now() if self._heap else None
            if wait is not None and wait <= 0:
                _, _, key = heapq.heappop(self._heap)
                del self._due[key]
                return key
            await self._asleep(wait)

    async def _asleep(self, seconds: float | None) -> None:
        self._sooner.clear()
        sooner = asyncio.ensure_future(self._sooner.wait())
        waits = [sooner] if seconds is None else [sooner, asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
