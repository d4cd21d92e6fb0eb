"""Ranges of addresses: read from a pool's text, searched without ever listing them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network

from roost.ranges import span
from roost.words import Address

IPV4, IPV6 = 4, 6
LAST_USABLE_PREFIX = {IPV4: 30, IPV6: 126}  # a /31, /32, /127 or /128 has no ends to skip (RFC 3021, RFC 6164)


@dataclass(frozen=True, slots=True)
class Range:
    """All addresses from *first* to *last*, both included."""

    version: int
    first: int
    last: int

    @property
    def size(self) -> int:
        return max(0, self.last - self.first + 1)

    def __contains__(self, address: Address) -> bool:
        return address.version == self.version and self.first <= int(address) <= self.last

    def overlaps(self, other: "Range") -> bool:
        return self.version == other.version and self.first <= other.last and other.first <= self.last


def address(version: int, number: int) -> Address:
    return IPv4Address(number) if version == IPV4 else IPv6Address(number)


def read(text: str, *, skip_ends: bool) -> Range:
    """The range that *text* names: an address, a CIDR, or ``first-last``. ValueError says what is wrong with it.

    With *skip_ends* a CIDR loses the addresses that do not belong to a host: network and broadcast address in IPv4,
    the subnet-router anycast address in IPv6, which routers on the link answer for (RFC 4291 §2.6.1).
    """
    if "/" in text:
        return _network(text.strip(), skip_ends=skip_ends)
    begin, end = span(text)
    return Range(begin.version, int(begin), int(end))


def _network(text: str, *, skip_ends: bool) -> Range:
    network = ip_network(text)
    first, last = int(network.network_address), int(network.broadcast_address)
    if skip_ends and network.prefixlen <= LAST_USABLE_PREFIX[network.version]:
        first += 1
        last -= network.version == IPV4
    return Range(network.version, first, last)


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same addresses as disjoint ranges in ascending order, IPv4 before IPv6."""
    out: list[Range] = []
    for item in sorted(ranges, key=lambda range_: (range_.version, range_.first, range_.last)):
        before = out[-1] if out else None
        if before and before.version == item.version and item.first <= before.last + 1:
            out[-1] = Range(item.version, before.first, max(before.last, item.last))
        else:
            out.append(item)
    return tuple(out)


class Runs:
    """A set of numbers, kept as runs of neighbours: finding the next number that is not in it takes O(log runs)."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def add(self, number: int) -> None:
        if number in self:
            return
        at = bisect_left(self._firsts, number)
        joins_before = at > 0 and self._lasts[at - 1] == number - 1
        joins_after = at < len(self._firsts) and self._firsts[at] == number + 1
        match joins_before, joins_after:
            case True, True:
                self._lasts[at - 1] = self._lasts.pop(at)
                self._firsts.pop(at)
            case True, False:
                self._lasts[at - 1] = number
            case False, True:
                self._firsts[at] = number
            case _:
                self._firsts.insert(at, number)
                self._lasts.insert(at, number)

    def remove(self, number: int) -> None:
        """Take *number* out; nothing happens if it is not in."""
        if number not in self:
            return
        at = bisect_right(self._firsts, number) - 1
        first, last = self._firsts[at], self._lasts[at]
        if first == last:
            del self._firsts[at], self._lasts[at]
        elif number == first:
            self._firsts[at] += 1
        elif number == last:
            self._lasts[at] -= 1
        else:
            self._lasts[at] = number - 1
            self._firsts.insert(at + 1, number + 1)
            self._lasts.insert(at + 1, last)

    def lowest_free(self, first: int, last: int) -> int | None:
        """The lowest number in first..last that is not in the set."""
        at = bisect_right(self._firsts, first) - 1
        number = self._lasts[at] + 1 if at >= 0 and first <= self._lasts[at] else first
        return number if number <= last else None

    def highest_free(self, first: int, last: int) -> int | None:
        """The highest number in first..last that is not in the set."""
        at = bisect_right(self._firsts, last) - 1
        number = self._firsts[at] - 1 if at >= 0 and last <= self._lasts[at] else last
        return number if number >= first else None

    def count(self, first: int, last: int) -> int:
        """How many numbers of first..last are in the set."""
        at = max(0, bisect_right(self._firsts, first) - 1)
        total = 0
        for start, end in zip(self._firsts[at:], self._lasts[at:], strict=True):
            if start > last:
                break
            total += max(0, min(end, last) - max(start, first) + 1)
        return total
