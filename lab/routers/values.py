"""How a router is set up, and what it says of itself: values that both makes share. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


class Kind(StrEnum):
    """Of which make a router is."""

    FRR = "frr"
    BIRD = "bird"


@dataclass(frozen=True, slots=True)
class Bfd:
    """Intervals in milliseconds, and how many may be missed (RFC 5880)."""

    receive: int = 300
    transmit: int = 300
    multiplier: int = 3


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Whom a router speaks BGP with."""

    remote: (
        str  # an address, a link-local one with its interface (fe80::1%to-n1); or a network: whoever calls from there
    )
    asn: int | None = None  # None: any other than the router's
    password: str = ""
    families: frozenset[int] = frozenset({4, 6})
    multihop: int = 0  # as TTL; 0: on the router's own link
    bfd: Bfd | None = None
    extended_next_hop: bool = False  # IPv4 by an IPv6 next hop (RFC 8950)
    passive: bool = True  # wait for the call; a network always does
    local: str = ""  # the router's own address for it, if not the one that the kernel takes

    @property
    def address(self) -> str:
        """Without the interface; empty: it is a network."""
        return "" if "/" in self.remote else self.remote.partition("%")[0]

    @property
    def interface(self) -> str:
        return self.remote.partition("%")[2]


DATA = (Neighbour("10.60.0.0/24"), Neighbour("fd60::/64"))


@dataclass(frozen=True, slots=True)
class Setup:
    """A router's configuration."""

    asn: int = 64512
    neighbours: Sequence[Neighbour] = DATA
    hold: int = 9  # seconds
    keepalive: int = 3  # seconds
    graceful_restart: int = (
        0  # seconds that neighbours keep its own paths while it restarts; it helps others in any case
    )
    announce: Sequence[str] = ()  # prefixes that it originates
    redistribute: int = 0  # the kernel table whose routes it passes on to its neighbours; 0: none
    router_id: str = ""  # of a router of the lab: its IPv4 address on the data segment
    extra: str = ""  # lines of the make's own, at the end


@dataclass(frozen=True, slots=True)
class Path:
    """One path of a router's table, as it came in."""

    prefix: Prefix
    neighbour: str  # the address, or where it has none of its own the interface, of who announced it
    next_hops: tuple[Address, ...] = ()  # the global one first, then the link-local one
    communities: frozenset[str] = frozenset()  # "65000:100"; well-known ones by name: "no-export", "graceful-shutdown"
    large_communities: frozenset[str] = frozenset()
    as_path: tuple[int, ...] = ()
    local_preference: int | None = None
    med: int | None = None
    used: bool = True  # best, or one of several that are as good
    stale: bool = False  # kept though the session is down (RFC 4724)

    @property
    def next_hop(self) -> Address:
        return self.next_hops[0]


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the router has it."""

    neighbour: str
    state: str  # Idle, Connect, Active, OpenSent, OpenConfirm, Established (RFC 4271)
    asn: int | None = None
    families: frozenset[int] = frozenset()  # that both sides speak
    hold: int = 0  # seconds, as negotiated
    keepalive: int = 0
    established: int = 0  # how often it was; only FRR counts
    bfd: str = ""  # Up, Down, Init; empty: none
    graceful_restart: int | None = None  # seconds that the neighbour asks for its paths to be kept; None: not

    @property
    def up(self) -> bool:
        return self.state == "Established"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that arrived at a router, at *time* (seconds since 1970)."""

    time: float
    neighbour: str
    prefix: Prefix | None  # None: the session itself came or went
    path: Path | None = None  # None: withdrawn
    up: bool = False  # the session came
