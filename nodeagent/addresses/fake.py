"""Links and addresses without a kernel, for tests of what stands above them, under the contract of the real ones."""

import asyncio
import errno
from collections.abc import Callable, Iterable
from typing import NoReturn

from nodeagent.addresses.plan import (
    MARK,
    Add,
    Address,
    Done,
    Failed,
    Link,
    Outcome,
    Placed,
    Present,
    Refresh,
    Remove,
    Settings,
    Step,
    named,
)


class FakeAddresses:
    """`apply.Addresses` in memory, on a clock (seconds) that the test moves; `set_links()` is what the kernel tells."""

    def __init__(self, settings: Settings, links: Iterable[Link], clock: Callable[[], float]) -> None:
        self.settings, self.clock = settings, clock
        self.now_linked = tuple(links)
        self.until = dict[tuple[Placed, int], float]()  # of ours, by prefix length
        self.others = frozenset[Present]()
        self.next_hops: dict[str, tuple[Address, ...]] = {}  # by device
        self.prompt = asyncio.Event()  # cleared: the kernel is busy, and who wants something done waits
        self.prompt.set()
        self._changed = asyncio.Event()

    def set_links(self, links: Iterable[Link]) -> None:
        self.now_linked = tuple(links)
        self._changed.set()

    async def close(self) -> None:
        pass

    async def links(self) -> tuple[Link, ...]:
        return self.now_linked

    async def present(self) -> frozenset[Present]:
        now = self.clock()
        ours = {
            Present(at, length, MARK, int(end - now))
            for (at, length), end in self.until.items()
            if end > now and named(self.now_linked, at.device)
        }
        return frozenset(ours | self.others)

    async def gateways(self, device: str) -> tuple[Address, ...]:
        return self.next_hops.get(device, ()) if named(self.now_linked, device) else ()

    async def do(self, steps: Iterable[Step]) -> tuple[Outcome, ...]:
        several = tuple(steps)
        if several:
            await self.prompt.wait()
        return tuple([await self._one(step) for step in several])

    async def watch(self, changed: Callable[[tuple[Link, ...]], None]) -> NoReturn:
        while True:
            self._changed.clear()
            changed(self.now_linked)
            await self._changed.wait()

    async def _one(self, step: Step) -> Outcome:
        there = {(present.at, present.prefix_length) for present in await self.present()}
        key = (step.at, step.prefix_length if isinstance(step, Remove) else step.at.address.max_prefixlen)
        match step:
            case Add() if key in there:
                return Failed(step, errno.EEXIST)
            case Add() | Refresh() if not named(self.now_linked, step.at.device):
                return Failed(step, errno.ENODEV)
            case Add() | Refresh():
                self.until[key] = self.clock() + self.settings.address_lifetime
            case Remove() if self.until.pop(key, None) is not None:
                self._changed.set()
        return Done(step)
