"""A gate without a kernel, for tests of what stands above it; it keeps the contract of the real one."""

import errno
from collections.abc import Callable, Iterable

from nodeagent.gate import plan
from nodeagent.gate.plan import Address, Have, KernelRefused


class FakeGate:
    """`apply.Gate` in memory, on a clock (seconds) that the test moves."""

    def __init__(self, device: str, clock: Callable[[], float]) -> None:
        self.device, self.clock = device, clock
        self.vips: frozenset[Address] | None = None  # None: no table stands
        self.held = frozenset[Address]()
        self.permitted_until: float | None = None

    def passes(self, address: Address) -> bool:
        """Whether a claim for *address* would leave the device now."""
        return address not in (self.vips or ()) or (address in self.held and self._left() is not None)

    def close(self) -> None:
        pass

    def install(self) -> Have:
        if self.vips is None:
            self.vips = frozenset()
        return self.read()

    def standing(self) -> bool:
        return self.vips is not None

    def read(self) -> Have:
        return Have(self._table(), self.held, self._left())

    def guard(self, vips: Iterable[Address]) -> None:
        self._table()
        self.vips = frozenset(vips)

    def hold(self, addresses: Iterable[Address]) -> None:
        self._table()
        self.held = frozenset(addresses)

    def permit_create(self, milliseconds: int) -> None:
        self._table()
        if self._left() is not None:
            raise KernelRefused(errno.EEXIST, "permit")
        self._permit(milliseconds)

    def permit_refresh(self, milliseconds: int) -> bool:
        if self._left() is None:
            return False
        self._permit(milliseconds)
        return True

    def permit_revoke(self) -> None:
        self.permitted_until = None

    def feed(self, deadline: float, clock: Callable[[], float]) -> bool:
        return plan.feed(self, deadline, clock)

    def remove(self) -> None:
        self.vips, self.held, self.permitted_until = None, frozenset(), None

    def _table(self) -> frozenset[Address]:
        if self.vips is None:
            raise KernelRefused(errno.ENOENT, "no table")
        return self.vips

    def _left(self) -> int | None:
        if self.permitted_until is None or self.clock() >= self.permitted_until:
            return None
        return int((self.permitted_until - self.clock()) * 1000)

    def _permit(self, milliseconds: int) -> None:
        if milliseconds < plan.SHORTEST_MS:
            raise ValueError(f"a permit for {milliseconds} ms could be one for ever")
        self.permitted_until = self.clock() + milliseconds / 1000
