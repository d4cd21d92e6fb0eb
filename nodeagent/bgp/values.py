"""What is wanted of a BGP speaker, and what one says of itself: values that the whole room shares. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Speaker:
    """The daemon as a whole. It listens nowhere: sessions begin here."""

    asn: int
    router_id: IPv4Address


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds (RFC 4271, section 10). *hold* 0: the session never times out by itself."""

    hold: int = 30
    keepalive: int = 10
    connect_retry: int = 10


@dataclass(frozen=True, slots=True)
class Bfd:
    """Bidirectional forwarding detection (RFC 5880): intervals in milliseconds, and how many may be missed."""

    receive: int = 300
    transmit: int = 300
    multiplier: int = 3


@dataclass(frozen=True, slots=True)
class NextHops:
    """What is written as next hop; None: the session's own address, as BGP has it."""

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session with one router, as it should be."""

    name: str  # of the BGPPeer, setting or annotation that asks for it; for people
    remote: Address | None  # None: unnumbered, whoever is the neighbour on *interface*
    asn: int | None  # of the router; None: any other than ours
    local_asn: int
    interface: str = ""  # unnumbered: where the router is
    port: int = 179
    source_address: Address | None = None
    source_interface: str = ""
    password: str = field(default="", repr=False)  # TCP MD5 (RFC 2385)
    multihop_ttl: int = 0  # 0: the router is on a link of ours
    timers: Timers = Timers()
    families: frozenset[int] = frozenset({4})  # 4, 6: which addresses are announced (RFC 4760)
    next_hops: NextHops = NextHops()
    bfd: Bfd | None = None
    graceful_restart: int = 0  # seconds that the router keeps our paths when the daemon restarts (RFC 4724); 0: not

    @property
    def key(self) -> str:
        """How the session is known to the daemon: by address, or where it has none by interface."""
        return str(self.remote) if self.remote is not None else self.interface


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a path says of itself towards one router."""

    communities: frozenset[str] = frozenset()  # "65000:100", "65000:1:2" (RFC 8092), "no-export", …
    local_preference: int | None = None  # only routers of our own AS see it
    med: int | None = None
    prepend: int = 0  # how often our AS stands in front once more


Treatment = Mapping[str, Attributes]
"""By session key what a path says there; it does not go to the others."""


@dataclass(frozen=True, slots=True)
class Want:
    """All that the daemon should do. *speaker* None: nothing at all, and no session."""

    speaker: Speaker | None = None
    sessions: Mapping[str, Session] = field(default_factory=dict)  # by key
    paths: Mapping[Prefix, Treatment] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session as the daemon has it."""

    key: str
    name: str
    state: str  # Idle, Connect, Active, OpenSent, OpenConfirm, Established (RFC 4271, section 8.2.2)
    since: float  # seconds on the agent's clock when it was first seen so
    last_error: str = ""
    advertised: int = 0  # paths that went out
