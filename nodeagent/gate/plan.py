"""What the gate lets pass, how its sets are brought to what is wanted, and how a permit is fed. No I/O."""

import errno
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

Address = IPv4Address | IPv6Address

TABLE = "roost"
CHAIN = "out"
RULES = 6
VIPS = {4: "vips4", 6: "vips6"}
HELD = {4: "held4", 6: "held6"}
PERMIT = "permit"

OLDEST_KERNEL = (5, 16)  # the first whose netdev tables see what leaves (hook egress)
SHORTEST_MS = 20  # two ticks at HZ=100: older kernels round a shorter time-out down to none at all, which never ends
MOMENT_MS = 50  # what a permit gets before the clock is read again
ATTEMPTS = 3
LARGEST = 20_000  # elements a transaction; 900 kB


class KernelRefused(Exception):
    """The kernel did not do what it was asked; *errno* says why. Nothing of the transaction is in effect."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: {errno.errorcode.get(code, code)}")
        self.errno = code


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


class Permit(Protocol):
    """The set element that opens the gate of a device until its time-out, which the kernel enforces."""

    def permit_create(self, milliseconds: int) -> None: ...
    def permit_refresh(self, milliseconds: int) -> bool: ...
    def permit_revoke(self) -> None: ...


def supported(release: str) -> bool:
    """Whether a kernel of this release (as `uname -r` says it) can fence what leaves a device."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_KERNEL


def ruleset(device: str, vips: Set[Address] = frozenset()) -> str:
    """The gate of *device* as nft reads it, in place of any table of its name, in one transaction.

    An ARP packet claims its sender whatever its operation (RFC 826); an advertisement claims its target and a
    solicitation its source (RFC 4861), which lie 8 octets into their header. nft has no word for the one that its sets
    understand, so both are raw, and share a set. *vips* are fenced from the first moment on.
    """
    body = _BODY.format(table=TABLE, chain=CHAIN, device=device, fingerprint=fingerprint(device), **_elements(vips))
    return f"add table netdev {TABLE}\ndelete table netdev {TABLE}\n{body}"


def fingerprint(device: str) -> str:
    """The comment on a table of this shape: a table with another was made by another version, or for another device."""
    shape = _BODY.format(table=TABLE, chain=CHAIN, device=device, fingerprint="", vips4="", vips6="")
    return f"roost gate {hashlib.sha256(shape.encode()).hexdigest()[:16]}"


_BODY = """\
table netdev {table} {{
    comment "{fingerprint}"
    set vips4 {{
        typeof arp saddr ip
        {vips4}
    }}
    set vips6 {{
        typeof @th,64,128
        {vips6}
    }}
    set held4 {{
        typeof arp saddr ip . oifname
    }}
    set held6 {{
        typeof @th,64,128 . oifname
    }}
    set permit {{
        typeof oifname
        flags timeout
    }}
    chain {chain} {{
        type filter hook egress device "{device}" priority 0; policy accept;
        arp saddr ip @vips4 arp saddr ip . oifname != @held4 drop
        arp saddr ip @vips4 oifname != @permit drop
        icmpv6 type nd-neighbor-advert @th,64,128 @vips6 @th,64,128 . oifname != @held6 drop
        icmpv6 type nd-neighbor-advert @th,64,128 @vips6 oifname != @permit drop
        icmpv6 type nd-neighbor-solicit @nh,64,128 @vips6 @nh,64,128 . oifname != @held6 drop
        icmpv6 type nd-neighbor-solicit @nh,64,128 @vips6 oifname != @permit drop
    }}
}}
"""


def _elements(vips: Set[Address]) -> dict[str, str]:
    four = ", ".join(str(vip) for vip in ordered(vips) if isinstance(vip, IPv4Address))
    six = ", ".join(f"{int(vip):#034x}" for vip in ordered(vips) if isinstance(vip, IPv6Address))
    return {
        "vips4": f"elements = {{ {four} }}" if four else "",
        "vips6": f"elements = {{ {six} }}" if six else "",
    }


def changes(have: Set[Address], want: Set[Address]) -> Iterator[Change]:
    """The transactions from *have* to *want*; removals in the first ones, so that silence comes before speech."""
    remove, add = ordered(have - want), ordered(want - have)
    while remove or add:
        room = LARGEST - len(remove[:LARGEST])
        yield Change(tuple(remove[:LARGEST]), tuple(add[:room]))
        remove, add = remove[LARGEST:], add[room:]


def ordered(addresses: Iterable[Address]) -> list[Address]:
    return sorted(addresses, key=lambda address: (address.version, int(address)))


def feed(permit: Permit, deadline: float, clock: Callable[[], float]) -> bool:
    """Have *permit* end at *deadline* (seconds on *clock*), sooner or later than it does now; False if it ended.

    A time-out counts from when the kernel reads it, the clock was read before, and between the two the process may have
    been stopped for long. So the permit is first cut, or made anew, for a moment only, and gets the rest of its time
    after another look at the clock: if that comes too late, there is nothing left to refresh, and a process that wakes
    up late prolongs nothing by more than that moment.
    """
    for _ in range(ATTEMPTS):
        left = _milliseconds(deadline - clock())
        if left < SHORTEST_MS:
            break
        moment = min(left, MOMENT_MS)
        if not permit.permit_refresh(moment) and not _created(permit, moment):
            continue
        left = _milliseconds(deadline - clock())
        if left < SHORTEST_MS:
            break
        if permit.permit_refresh(left):
            return True
    else:
        return False
    permit.permit_revoke()
    return False


def _created(permit: Permit, milliseconds: int) -> bool:
    try:
        permit.permit_create(milliseconds)
    except KernelRefused as refused:
        if refused.errno != errno.EEXIST:
            raise
        return False
    return True


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
