"""The gate in memory: for tests of all that stands on it, and true to the same contract as the one in the kernel."""

import errno
from collections.abc import Callable, Iterable, Mapping

from nodeagent.gate import plan
from nodeagent.gate.permits import DevicePermit
from nodeagent.gate.plan import Address, Have, KernelRefused, NoGate, Outcome, Range

ETHERNET, LOOPBACK = 1, 772  # ARPHRD_*


class FakePermits:
    """`permits.Permits` in memory, on a clock (seconds) that the test moves."""

    def __init__(self, clock: Callable[[], float], stands: Callable[[], bool] = lambda: True) -> None:
        """*stands*: whether there is a gate to have permits in."""
        self.clock, self.stands = clock, stands
        self.until: dict[str, float] = {}
        self.staged: dict[str, float] = {}

    def close(self) -> None:
        pass

    def create(self, device: str, milliseconds: int) -> None:
        plan.check(milliseconds)
        if self.left(device) is not None:
            raise KernelRefused(errno.EEXIST, "permit")
        self.until[device] = self.clock() + milliseconds / 1000

    def stage(self, device: str, milliseconds: int) -> None:
        plan.check(milliseconds)
        self._look()
        self.staged[device] = self.clock() + milliseconds / 1000

    def give(self, device: str, milliseconds: int, *, anew: bool = True) -> Outcome:
        plan.check(milliseconds)
        stands = self.left(device) is not None
        if self.staged.get(device, 0.0) <= self.clock():
            return Outcome.LATE
        if not stands and not anew:
            return Outcome.LAPSED
        del self.staged[device]
        self.until[device] = self.clock() + milliseconds / 1000
        return Outcome.GIVEN

    def revoke(self, device: str) -> None:
        self._look()
        self.until.pop(device, None)

    def clear(self) -> None:
        """The table goes, and all that is in it."""
        self.until.clear()
        self.staged.clear()

    def left(self, device: str) -> int | None:
        self._look()
        left = self.until.get(device, 0.0) - self.clock()
        return int(left * 1000) if left > 0 else None

    def feed(self, device: str, deadline: float, clock: Callable[[], float], *, anew: bool = True) -> bool:
        return plan.feed(self.of(device), deadline, clock, anew=anew)

    def of(self, device: str) -> DevicePermit:
        return DevicePermit(self, device)

    def _look(self) -> None:
        if not self.stands():
            raise NoGate


class FakeGates:
    """`apply.Gates` in memory; *hardware* has the ARPHRD_* types of the devices there are (None: all are Ethernet)."""

    def __init__(
        self,
        devices: Iterable[str],
        clock: Callable[[], float],
        *,
        hardware: Mapping[str, int] | None = None,
        weakness: str = "",
    ) -> None:
        self.devices, self.clock, self.hardware, self.weakness = frozenset(devices), clock, hardware, weakness
        self.vips: frozenset[Address] | None = None  # None: no table stands
        self.ranges: tuple[Range, ...] = ()
        self.held: dict[str, frozenset[Address]] = {}
        self.fenced = set[str]()
        self.refused: Mapping[str, str] = {}
        self.permits = FakePermits(clock, lambda: self.vips is not None)

    def passes(self, address: Address, device: str) -> bool:
        """Whether a claim for *address* would leave *device* now."""
        return self.vips is None or device not in self.fenced or self.may_claim(address, device)

    def close(self) -> None:
        pass

    def install(self) -> None:
        if self.vips is None:
            self.vips, self.ranges, self.held = frozenset(), (), {}
            self.fenced.clear()
            self.permits.clear()
        self.fence(self.devices)

    def fence(self, devices: Iterable[str]) -> Mapping[str, str]:
        self._table()
        self.devices = frozenset(devices)
        for device in self.fenced - self.devices:
            self.held.pop(device, None)
            self.permits.revoke(device)
        self.refused = {device: why for device in self.devices if (why := self._unfit(device))}
        self.fenced = (self.fenced & self.devices) | (self.devices - self.refused.keys())
        return self.refused

    def standing(self) -> bool:
        return self.vips is not None and all(self._unfit(device) for device in self.devices - self.fenced)

    def read(self, device: str) -> Have:
        return Have(self._table(), self.held.get(device, frozenset()), self.permits.left(device))

    def read_ranges(self) -> tuple[Range, ...]:
        self._table()
        return self.ranges

    def guard(self, vips: Iterable[Address], ranges: Iterable[Range] = ()) -> None:
        self._table()
        self.vips, self.ranges = frozenset(vips), plan.merged(ranges)

    def hold(self, device: str, addresses: Iterable[Address]) -> None:
        self._table()
        self.held[device] = frozenset(addresses)

    def permitted(self, device: str) -> bool:
        return self.vips is not None and self.permits.left(device) is not None

    def may_claim(self, address: Address, device: str) -> bool:
        if self.vips is None:
            return False
        fenced = address in self.vips or any(address in one for one in self.ranges)
        return not fenced or (address in self.held.get(device, ()) and self.permitted(device))

    def remove(self) -> None:
        self.vips, self.ranges, self.held = None, (), {}
        self.fenced.clear()
        self.permits.clear()

    def on(self, device: str) -> "FakeGate":
        return FakeGate(device, self.clock, self)

    def _unfit(self, device: str) -> str:
        return plan.unfit(device, ETHERNET if self.hardware is None else self.hardware.get(device))

    def _table(self) -> frozenset[Address]:
        if self.vips is None:
            raise NoGate
        return self.vips


class FakeGate:
    """`apply.Gate` in memory, of its own or one of *gates*."""

    def __init__(self, device: str, clock: Callable[[], float], gates: FakeGates | None = None) -> None:
        self.device, self.clock = device, clock
        self._shared = gates is not None
        self.gates = gates or FakeGates([device], clock)

    @property
    def vips(self) -> frozenset[Address] | None:
        return self.gates.vips

    @vips.setter
    def vips(self, vips: frozenset[Address] | None) -> None:
        self.gates.vips = vips

    @property
    def held(self) -> frozenset[Address]:
        return self.gates.held.get(self.device, frozenset())

    @held.setter
    def held(self, held: frozenset[Address]) -> None:
        self.gates.held[self.device] = held

    @property
    def permitted_until(self) -> float | None:
        return self.gates.permits.until.get(self.device)

    @permitted_until.setter
    def permitted_until(self, until: float | None) -> None:
        self.gates.permits.until.pop(self.device, None)
        if until is not None:
            self.gates.permits.until[self.device] = until

    def passes(self, address: Address) -> bool:
        return self.gates.passes(address, self.device)

    def close(self) -> None:
        pass

    def install(self) -> Have:
        self.gates.install()
        if self.device in self.gates.refused:
            raise KernelRefused(errno.ENODEV, f"no gate on {self.device}: {self.gates.refused[self.device]}")
        return self.read()

    def standing(self) -> bool:
        return self.gates.standing()

    def read(self) -> Have:
        return self.gates.read(self.device)

    def guard(self, vips: Iterable[Address], ranges: Iterable[Range] = ()) -> None:
        self.gates.guard(vips, ranges)

    def hold(self, addresses: Iterable[Address]) -> None:
        self.gates.hold(self.device, addresses)

    def permit_create(self, milliseconds: int) -> None:
        self.gates.permits.create(self.device, milliseconds)

    def permit_stage(self, milliseconds: int) -> None:
        self.gates.permits.stage(self.device, milliseconds)

    def permit_give(self, milliseconds: int, *, anew: bool) -> Outcome:
        return self.gates.permits.give(self.device, milliseconds, anew=anew)

    def permit_revoke(self) -> None:
        self.gates.permits.revoke(self.device)

    def feed(self, deadline: float, clock: Callable[[], float]) -> bool:
        return plan.feed(self, deadline, clock)

    def may_claim(self, address: Address) -> bool:
        return self.gates.may_claim(address, self.device)

    def remove(self) -> None:
        if self._shared:
            self.gates.fence(self.gates.devices - {self.device})
        else:
            self.gates.remove()
