"""What the gate fences, how its sets are brought to what is wanted, and how a permit is fed. No I/O."""

import errno
import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol, Self

Address = IPv4Address | IPv6Address

TABLE = "roost"
VIPS = {4: "vips4", 6: "vips6"}
POOLS = {4: "pools4", 6: "pools6"}
HELD = {4: "held4", 6: "held6"}
PERMIT = "permit"
STAGED = "staged"
DEVICES = "fenced"

SHORTEST_MS = 20  # two ticks at HZ=100: older kernels round a shorter time-out down to none at all, which never ends
MOMENT_MS = 30  # how long a decision about a permit is good; with SHORTEST_MS of it left even at HZ=100
ATTEMPTS = 3
LARGEST = 20_000  # elements a transaction; 900 kB
NAME_LENGTH = 16  # octets of a device's name in a key, IFNAMSIZ

_ETHERNET = 1  # ARPHRD_ETHER, linux/if_arp.h
_LOOPBACK = 772  # ARPHRD_LOOPBACK


class KernelRefused(Exception):
    """The kernel did not do what it was asked; *errno* says why. Nothing of the transaction is in effect."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: {errno.errorcode.get(code, code)}")
        self.errno = code


class NoGate(KernelRefused):
    """No gate stands, so that every claim leaves this node: not yet, or somebody took it away. Its errno is ENOENT."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, "no gate stands")


class Unsupported(Exception):
    """No gate can stand on this machine; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Have:
    """What stands in the kernel: the fenced VIPs, those held on this device, and what is left of its permit."""

    vips: frozenset[Address]
    held: frozenset[Address]
    permit_ms: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """One transaction: the elements that go and those that come, in effect together."""

    remove: tuple[Address, ...]
    add: tuple[Address, ...]


class Outcome(Enum):
    """What became of a permit that was to be given."""

    GIVEN = auto()
    LATE = auto()  # the decision was no longer good, or another feeds this permit too; what stood stands as it was
    LAPSED = auto()  # it ended before, and was not to be made anew


class Permit(Protocol):
    """The set element that opens the gate of a device until its time-out, which the kernel enforces.

    *stage* puts an element beside it that lives for a moment; *give* takes that away in the transaction that sets the
    permit, and so is refused once the moment is over.
    """

    def permit_stage(self, milliseconds: int) -> None: ...
    def permit_give(self, milliseconds: int, *, anew: bool) -> Outcome: ...
    def permit_revoke(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Range:
    """The addresses from *first* to *last*, both included. Raises ValueError where that is none."""

    first: Address
    last: Address

    def __post_init__(self) -> None:
        if self.first.version != self.last.version or int(self.first) > int(self.last):
            raise ValueError(f"no range: {self.first}-{self.last}")

    def __contains__(self, address: Address) -> bool:
        return self.first.version == address.version and int(self.first) <= int(address) <= int(self.last)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @classmethod
    def of(cls, network: IPv4Network | IPv6Network) -> Self:
        """All addresses of *network*, its first and last included: a pool may give them out."""
        return cls(network.network_address, network.broadcast_address)

    @classmethod
    def parse(cls, text: str) -> Self:
        """As pools are written: ``10.0.0.0/24``, ``10.0.0.10-10.0.0.20`` or ``10.0.0.10``. Raises ValueError."""
        first, dash, last = text.partition("-")
        if dash:
            return cls(ip_address(first.strip()), ip_address(last.strip()))
        return cls.of(ip_network(text.strip(), strict=False))


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same addresses in as few ranges as can be, sorted; a set of intervals takes no two that overlap."""
    done = list[Range]()
    for one in sorted(ranges, key=lambda one: (one.first.version, int(one.first))):
        before = done[-1] if done else None
        if before and before.first.version == one.first.version and int(one.first) <= int(before.last) + 1:
            done[-1] = Range(before.first, max(before.last, one.last, key=int))
        else:
            done.append(one)
    return tuple(done)


def without(ranges: Iterable[Range], own: Iterable[Address]) -> tuple[Range, ...]:
    """*ranges* with the node's *own* addresses cut out: those must never be fenced."""
    rest = list(merged(ranges))
    for address in own:
        rest = [part for one in rest for part in (_cut(one, address) if address in one else (one,))]
    return tuple(rest)


def _cut(one: Range, address: Address) -> Iterator[Range]:
    if address != one.first:
        yield Range(one.first, address - 1)
    if address != one.last:
        yield Range(address + 1, one.last)


def unfit(device: str, hardware: int | None) -> str:
    """Why no gate can stand on *device*, whose ARPHRD_* type is *hardware* (None: there is none); "" if it can."""
    if hardware is None:
        return "there is no such device"
    if hardware == _LOOPBACK:
        return "it is the loopback device: nothing leaves by it"
    if hardware != _ETHERNET:
        return f"it is not Ethernet (its type is {hardware} of linux/if_arp.h): there are no claims on it"
    if not re.fullmatch(r'[^\s"*\\]+', device):
        return "nft has no way to write its name"
    return ""


def changes(have: Set[Address], want: Set[Address]) -> Iterator[Change]:
    """The transactions from *have* to *want*; removals in the first ones, so that silence comes before speech."""
    remove, add = ordered(have - want), ordered(want - have)
    while remove or add:
        room = LARGEST - len(remove[:LARGEST])
        yield Change(tuple(remove[:LARGEST]), tuple(add[:room]))
        remove, add = remove[LARGEST:], add[room:]


def ordered(addresses: Iterable[Address]) -> list[Address]:
    return sorted(addresses, key=lambda address: (address.version, int(address)))


def feed(permit: Permit, deadline: float, clock: Callable[[], float], *, anew: bool = True) -> bool:
    """Have *permit* end at *deadline* (seconds on *clock*), or up to MOMENT_MS before; False if it ended, or never was.

    A time-out counts from when the kernel reads it, the clock was read before, and between the two the process may have
    been stopped for long. So a decision is good for a moment only: it is staged in the kernel, then the clock is read,
    and whoever comes back later than a moment after that is refused, prolonging or making anew. That moment is taken
    off, so no permit ends after its deadline; and one that stands is not touched before the new one takes its place.
    Without *anew* a permit that has ended stays so.
    """
    for _ in range(ATTEMPTS):
        permit.permit_stage(MOMENT_MS)
        left = int((deadline - clock()) * 1000) - MOMENT_MS
        if left < SHORTEST_MS:
            break
        outcome = permit.permit_give(left, anew=anew)
        if outcome is not Outcome.LATE:
            return outcome is Outcome.GIVEN
    permit.permit_revoke()  # what stands may end later than it should
    return False


def check(milliseconds: int) -> None:
    """Raises ValueError for a permit so short that it might never end."""
    if milliseconds < SHORTEST_MS:
        raise ValueError(f"a permit for {milliseconds} ms could be one for ever")
