"""The permits of a node's devices: set elements whose time-out the kernel enforces, fed by nfnetlink alone.

This module and what it imports need the standard library only, and little of it: a process that does nothing else than
feed permits stays small.
"""

import errno
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from nodeagent.gate import nfnetlink, plan
from nodeagent.gate.kernel import CHANGE, Refusal, Socket
from nodeagent.gate.nfnetlink import ARP, IPV6, NETDEV, Element, Place, Request
from nodeagent.gate.plan import PERMIT, STAGED, TABLE, KernelRefused, NoGate, Outcome

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
        self._open = set[str]()  # the devices that should have a permit, by our last call

    def close(self) -> None:
        """Close the socket; each permit runs out by itself."""
        self._socket.close()

    def create(self, device: str, milliseconds: int) -> None:
        """Give *device* a permit for so long from now; KernelRefused with EEXIST if it has one.

        Whoever has a deadline to keep uses feed().
        """
        plan.check(milliseconds)
        refused = self._attempt(_added, PERMIT, device, milliseconds)
        if refused is not None:
            raise KernelRefused(refused.errno, CHANGE)

    def stage(self, device: str, milliseconds: int) -> None:
        """Begin to feed the permit: a decision made after this is good for *milliseconds*, and one made before is not.

        The permit stays as it is.
        """
        plan.check(milliseconds)
        for replaced in (False, True, False):  # as a rule none is there: give() takes it away, and it ends by itself
            if self._attempt(_added, STAGED, device, milliseconds, replaced) is None:
                return
        raise KernelRefused(errno.EBUSY, CHANGE)  # somebody else puts it there and takes it away

    def give(self, device: str, milliseconds: int, *, anew: bool = True) -> Outcome:
        """Have the permit end *milliseconds* from now, if what was staged is good still; it is taken away.

        *anew*: also where none stands. Nothing is changed unless it is GIVEN.
        """
        plan.check(milliseconds)
        stands = device in self._open
        for replaced in (stands, not stands):
            if not (replaced or anew):
                continue
            refused = self._attempt(_given, device, milliseconds, replaced)
            if refused is None:
                self._open.add(device)
                return Outcome.GIVEN
            if refused.request < len(self._families):
                return Outcome.LATE
        self._open.discard(device)
        return Outcome.LATE if anew else Outcome.LAPSED

    def revoke(self, device: str) -> None:
        """End the permit now, if there is one."""
        self._open.discard(device)
        for family in self._look(PERMIT):
            gone = nfnetlink.delete(Place(family, TABLE, PERMIT), [Element(key(device))])
            self._socket.commit(gone, unless=errno.ENOENT)

    def left(self, device: str) -> int | None:
        """The milliseconds that are left of the permit; None if there is none."""
        found = list[int]()
        for family in self._look(PERMIT):
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

    def _attempt(self, requests: Callable[..., list[Request]], *given: object) -> Refusal | None:
        """Have *requests* in effect in every table at once; what was refused, for what is there or is not there.

        They are made of the families of the tables, and of what is *given*.
        """
        self._families = self._families or self._look(STAGED)
        refused = self._socket.attempt(requests(self._families, *given))
        if refused is not None and refused.errno == errno.ENOENT:
            former, self._families = self._families, self._look(STAGED)
            if former != self._families:
                refused = self._socket.attempt(requests(self._families, *given))
        if refused is not None and refused.errno not in (errno.ENOENT, errno.EEXIST):
            raise KernelRefused(refused.errno, CHANGE)
        return refused

    def _look(self, name: str) -> tuple[int, ...]:
        """Which tables stand, with a set of that *name* (one of a former version may lack it). Raises NoGate.

        The kernel says ENOENT for want of a table as for want of an element.
        """
        for families in _TABLES:
            if all(self._socket.has_set(Place(family, TABLE, name)) for family in families):
                return families
        raise NoGate


class ByDevice(Protocol):
    """The permits of several devices."""

    def stage(self, device: str, milliseconds: int) -> None: ...
    def give(self, device: str, milliseconds: int, *, anew: bool = True) -> Outcome: ...
    def revoke(self, device: str) -> None: ...


@dataclass(frozen=True, slots=True)
class DevicePermit:
    """The permit of one device: what plan.feed() feeds."""

    permits: ByDevice
    device: str

    def permit_stage(self, milliseconds: int) -> None:
        self.permits.stage(self.device, milliseconds)

    def permit_give(self, milliseconds: int, *, anew: bool) -> Outcome:
        return self.permits.give(self.device, milliseconds, anew=anew)

    def permit_revoke(self) -> None:
        self.permits.revoke(self.device)


def key(device: str) -> bytes:
    """A device's name as a key of the kernel's sets has it."""
    return device.encode().ljust(plan.NAME_LENGTH, b"\0")


@functools.lru_cache(maxsize=64)
def _words(family: int, name: str, device: str) -> tuple[Request, Request]:
    """What takes *device* from the set of that *name*, and what puts it there, for a time that is still to be said."""
    place = Place(family, TABLE, name)
    (gone,) = nfnetlink.delete(place, [Element(key(device))])
    (come,) = nfnetlink.add(place, [Element(key(device), 0)], exclusive=True)
    return gone, come


def _deleted(families: Iterable[int], name: str, device: str) -> list[Request]:
    return [_words(family, name, device)[0] for family in families]


def _added(families: Iterable[int], name: str, device: str, milliseconds: int, replaced: bool = False) -> list[Request]:
    """*device* comes into the set, in place of what is there (*replaced*), or where there is none."""
    gone = _deleted(families, name, device) if replaced else []
    return [*gone, *(nfnetlink.lasting(_words(family, name, device)[1], milliseconds) for family in families)]


def _given(families: Iterable[int], device: str, milliseconds: int, replaced: bool) -> list[Request]:
    """What was staged goes first: the first that are refused say that it was late."""
    return [*_deleted(families, STAGED, device), *_added(families, PERMIT, device, milliseconds, replaced)]
