"""What a seat remembers between two steps, and the times it lives by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodeagent.segment.events import LeaseView, Wish
from nodeagent.segment.table import Table


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds. The defaults are those that the protocol's bounds are computed from; all nodes must agree on them."""

    lease: float = 6.0  # a permit ends this long after the sending of the last successful renewal
    renew: float = 2.0
    retry: float = 0.5  # after a renewal or a write that failed
    margin: float = 0.1
    drift: float = 1.1  # clocks run at rates within ten percent of each other
    rank: float = 0.2  # the next seat in order acts this much later, if the one before it did not
    forget: float = 60.0  # rows of groups that nobody wants any more

    @property
    def wait(self) -> float:
        """How long a Lease must be seen unchanged before it may be marked."""
        return self.drift * self.lease + self.margin


@dataclass(frozen=True, slots=True)
class Me:
    node: str
    boot_id: str
    machine_id: str


@dataclass(frozen=True, slots=True)
class Watched:
    """Another node's Lease, and since when it has looked like this to us. None: it is missing."""

    lease: LeaseView | None
    since: float
    marked_since: float | None = None
    try_at: float = 0.0  # no new try to mark or read it before


@dataclass(frozen=True, slots=True)
class Idle:
    """There was nothing to write for this table, this wish and these seats that are over; until something comes due."""

    table: Table
    wish: Wish
    over: frozenset[str]
    until: float


@dataclass(frozen=True, slots=True)
class State:
    me: Me
    settings: Settings = Settings()
    wish: Wish | None = None
    table: Table | None = None
    table_since: float = 0.0
    seen: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)  # node -> tenure, version, first seen
    watched: Mapping[str, Watched] = field(default_factory=dict)
    listed: bool = False
    # the own Lease
    lease: LeaseView | None = None
    lease_in_flight: bool = False
    lease_asked: bool = False
    renewed_for: int = 0  # the tenure that our last successful renewal named
    renew_at: float = 0.0
    fed_until: float = 0.0
    in_touch: bool = True
    in_touch_since: float = 0.0  # the first renewal that succeeded after one that did not
    # the own seat
    tenure: int = 0
    seated: bool = False
    adopting: int = 0  # the version of the table that the adopted seat was found in; a newer one fences the forerunner
    adoptable: bool = True  # a new process may adopt what its forerunner left; a process never adopts after it lost
    held: frozenset[str] | None = None  # None: whatever the kernel has
    giving: frozenset[str] = frozenset()
    # the table's write
    put: Table | None = None
    reread: bool = False  # nothing is written before a newer table was seen
    unsettled: bool = False  # a write ended unknown, and no newer table was seen yet
    write_at: float = 0.0
    idle: Idle | None = None
    ask_at: float = 0.0
    unwanted: Mapping[str, float] = field(default_factory=dict)  # groups with a row that nobody wants: since when
    stopping: bool = False
    wake: float = 0.0
