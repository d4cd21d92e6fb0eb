"""The permits of a node's devices: set elements whose time-out the kernel enforces, fed by nfnetlink alone.

This module and what it imports need the standard library only, and little of it: a process that does nothing else than
feed permits stays small.
"""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from nodeagent.gate import nfnetlink, plan
from nodeagent.gate.kernel import Socket
from nodeagent.gate.nfnetlink import ARP, IPV6, NETDEV, Element, Place, Request
from nodeagent.gate.plan import PERMIT, TABLE, NoGate

_TABLES = ((NETDEV,), (ARP, IPV6))  # the families of the tables that a gate may have; the best first


class Permits:
    """The permits in the network namespace of the thread that makes this; any number of processes may have one.

    It knows no rules, and finds out by itself which tables stand. Every call is synchronous, takes some 30 µs, and
    raises KernelRefused; of these NoGate says that no gate stands (yet, or somebody took it away): then every claim
    leaves this node, and whoever keeps the gate has to put it back. Nothing was created or prolonged then.
    """

    def __init__(self) -> None:
        """Raises Unsupported where the kernel or our rights do not suffice."""
        self._socket = Socket()
        self._families: tuple[int, ...] = ()

    def close(self) -> None:
        """Close the socket; each permit runs out by itself."""
        self._socket.close()

    def create(self, device: str, milliseconds: int) -> None:
        """Give *device* a permit; KernelRefused with EEXIST if it has one."""
        permit = _permit(device, milliseconds)
        if not self._done(lambda place: nfnetlink.add(place, [permit], exclusive=True)):
            raise NoGate

    def refresh(self, device: str, milliseconds: int) -> bool:
        """Have the permit end *milliseconds* from now; False if it ended before, or was never given."""
        permit, old = _permit(device, milliseconds), Element(key(device))
        return self._done(lambda place: [*nfnetlink.delete(place, [old]), *nfnetlink.add(place, [permit])])

    def revoke(self, device: str) -> None:
        """End the permit now, if there is one."""
        for family in self._look():
            gone = nfnetlink.delete(Place(family, TABLE, PERMIT), [Element(key(device))])
            self._socket.commit(gone, unless=errno.ENOENT)

    def left(self, device: str) -> int | None:
        """The milliseconds that are left of the permit; None if there is none."""
        found = list[int]()
        for family in self._look():
            elements = self._socket.elements(Place(family, TABLE, PERMIT))
            of_device = [element.milliseconds for element in elements if element.key == key(device)]
            if not of_device:
                return None
            found.append(of_device[0] or 0)
        return min(found)

    def feed(self, device: str, deadline: float, clock: Callable[[], float], *, anew: bool = True) -> bool:
        """Have the permit end at *deadline*, in seconds on *clock*: plan.feed()."""
        return plan.feed(self.of(device), deadline, clock, anew=anew)

    def of(self, device: str) -> "DevicePermit":
        return DevicePermit(self, device)

    def _done(self, requests: Callable[[Place], Iterable[Request]]) -> bool:
        """Have *requests* in effect in every table at once; False where an element was not there."""
        families = self._families or self._look()
        if self._commit(families, requests):
            return True
        return self._look() != families and self._commit(self._families, requests)

    def _commit(self, families: tuple[int, ...], requests: Callable[[Place], Iterable[Request]]) -> bool:
        several = [request for family in families for request in requests(Place(family, TABLE, PERMIT))]
        return self._socket.commit(several, unless=errno.ENOENT)

    def _look(self) -> tuple[int, ...]:
        """Which tables stand: the kernel says ENOENT for want of a table as for want of an element. Raises NoGate."""
        for families in _TABLES:
            if all(self._socket.has_set(Place(family, TABLE, PERMIT)) for family in families):
                self._families = families
                return families
        self._families = ()
        raise NoGate


class ByDevice(Protocol):
    """The permits of several devices."""

    def create(self, device: str, milliseconds: int) -> None: ...
    def refresh(self, device: str, milliseconds: int) -> bool: ...
    def revoke(self, device: str) -> None: ...


@dataclass(frozen=True, slots=True)
class DevicePermit:
    """The permit of one device: what plan.feed() feeds."""

    permits: ByDevice
    device: str

    def permit_create(self, milliseconds: int) -> None:
        self.permits.create(self.device, milliseconds)

    def permit_refresh(self, milliseconds: int) -> bool:
        return self.permits.refresh(self.device, milliseconds)

    def permit_revoke(self) -> None:
        self.permits.revoke(self.device)


def key(device: str) -> bytes:
    """A device's name as a key of the kernel's sets has it."""
    return device.encode().ljust(plan.NAME_LENGTH, b"\0")


def _permit(device: str, milliseconds: int) -> Element:
    plan.check(milliseconds)
    return Element(key(device), milliseconds)
