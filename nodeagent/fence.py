"""The gate of this node kept as it should be: on which devices, which addresses it fences, and that it stands."""

import logging
from collections.abc import Callable, Iterable
from typing import NoReturn

from nodeagent.addresses.plan import Link, own
from nodeagent.addresses.uplink import speaking
from nodeagent.gate.apply import Gates
from nodeagent.gate.plan import KernelRefused, NoGate, Range, without
from nodeagent.services.plan import Index
from roost.process import Clock
from roost.words import Address, Reason

log = logging.getLogger(__name__)

CHECK = 2.0  # seconds between two looks whether the gate still stands


class Fence:
    """Every VIP, and every address of a pool, fenced on every device it could be claimed on.

    *again* are called when the gate had to be put back: what was held is not any more.
    """

    def __init__(self, gates: Gates, index: Index, clock: Clock) -> None:
        self.gates = gates
        self.again: list[Callable[[], None]] = []
        self.ranges: tuple[Range, ...] = ()  # of the pools
        self._index, self._clock = index, clock
        self._own: frozenset[Address] = frozenset()
        self._guarded: tuple[frozenset[Address], tuple[Range, ...]] | None = None

    def links_are(self, links: Iterable[Link]) -> None:
        """Devices come and go."""
        several = tuple(links)
        self._own = frozenset().union(*(own(link) for link in several))
        devices = frozenset(speaking(several))
        if devices != self.gates.devices:
            self.in_kernel(lambda: self.gates.fence(devices))
        self.follow()

    def with_device(self, device: str) -> None:
        """Fence *device* as well, before anything is put on it."""
        if device not in self.gates.devices:
            self.in_kernel(lambda: self.gates.fence(self.gates.devices | {device}))

    def follow(self) -> None:
        """Fence what there is to fence, but never an address of this node's own."""
        want = frozenset(self._index.guarded - self._own), without(self.ranges, self._own)
        if want != self._guarded:
            self.in_kernel(lambda: self.gates.guard(*want))
            self._guarded = want

    def in_kernel(self, call: Callable[[], object]) -> None:
        """Do *call*; if somebody took the gate away, put it back first, with all that it must fence and let pass."""
        try:
            call()
        except KernelRefused as refused:
            log.warning("the gate: %s; putting it back", refused, extra={"reason": Reason.KERNEL_REFUSED})
            self.put_back()
            call()

    def put_back(self) -> None:
        self.gates.install()
        self.gates.guard(frozenset(self._index.guarded - self._own), without(self.ranges, self._own))
        for held in self.again:
            held()

    async def watch(self) -> NoReturn:
        """Put the gate back when somebody flushes the ruleset."""
        while True:
            await self._clock.sleep(CHECK)
            if not self.stands():
                log.warning("the gate was taken away; putting it back", extra={"reason": Reason.KERNEL_REFUSED})
                self.put_back()

    def stands(self) -> bool:
        try:
            return self.gates.standing()
        except NoGate:
            return False
