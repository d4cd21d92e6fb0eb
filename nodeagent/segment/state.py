"""What a seat remembers between two steps, and the times it lives by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodeagent.model import DRIFT, Here, Orders
from nodeagent.segment.events import Anchored, LeaseView, Wish
from nodeagent.segment.table import Seat, Table

NO_ORDERS = Orders()


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds. The defaults are those that the protocol's bounds are computed from; all nodes must agree on them."""

    lease: float = 6.0  # a permit ends this long after the sending of the last successful renewal
    renew: float = 2.0
    retry: float = 0.5  # after a renewal or a write that failed
    margin: float = 0.1
    drift: float = DRIFT
    rank: float = 0.2  # the next seat in order acts this much later, if the one before it did not
    turns: float = 2.0  # that those who sit have to end a seat, before another machine of its name follows it
    forget: float = 60.0  # rows of groups that nobody wants any more
    rest: float = 20.0  # a seat whose program is to come back keeps its permit this long
    lost: float = 9.5  # without a sign of life, where too few witnesses are left to ask
    settle: float = 0.3  # who echoes is looked at for so long before witnesses are chosen
    replace: float = 2.0  # a silent witness is replaced within this time, each seat at a moment of its own
    grace: float = 5.0  # an anchor lost by all is no reason to give anything away
    tidy: float = 30.0  # until an heir removes what it has outwaited from its groups' rows
    asking: float = 0.12  # how long it takes to ask who has a VIP

    @property
    def wait(self) -> float:
        """How long a Lease must be seen unchanged before it may be marked."""
        return self.drift * self.lease + self.margin

    @property
    def rested(self) -> float:
        """How long a seat must be seen at rest before it is over."""
        return self.drift * self.rest + self.margin


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
    deleted: bool = False  # it is missing, and was there or must have been
    try_at: float = 0.0  # no new try to mark or read it before


@dataclass(frozen=True, slots=True)
class Idle:
    """There was nothing to write for this table, this wish and all else that counts; until something comes due."""

    table: Table
    wish: Wish
    rest: tuple[object, ...]
    until: float


@dataclass(frozen=True, slots=True)
class Silence:
    """The votes against one version of a seat. *since*: how long they have not ceased."""

    votes: Mapping[str, float]  # by voter: when its newest came
    since: float
    enough_since: float | None = None  # since when there have been enough of them


@dataclass(frozen=True, slots=True)
class Gained:
    """A group that became ours in a *version* of the table (0: not known); *giver* had it before ('': not known)."""

    epoch: int
    version: int
    giver: str
    at: float
    fit: bool = False  # this node could hold it, for a moment at least: the giver may have it back


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A group that this node passed on because it could not hold it, when, and who could then."""

    at: float
    candidates: frozenset[str]


@dataclass(frozen=True, slots=True)
class Asking:
    """The question who has a group's VIPs: not again before *again*."""

    epoch: int
    again: float


@dataclass(frozen=True, slots=True)
class State:
    me: Me
    settings: Settings = Settings()
    wish: Wish | None = None
    table: Table | None = None
    table_since: float = 0.0
    aside: Table | None = None  # shown by a watch before the server was asked
    memory: Table | None = None  # the newest table that was one
    seen: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)  # node -> tenure, version, first seen
    ended_seen: Mapping[int, float] = field(default_factory=dict)  # ended tenure -> first seen
    watched: Mapping[str, Watched] = field(default_factory=dict)
    listed: bool = False
    read_by: int = 0  # the version of a lost table after which all Leases were read
    read_at: float = 0.0  # not again before
    # the own Lease
    lease: LeaseView | None = None
    lease_in_flight: bool = False
    lease_asked: bool = False
    renewed_for: int = 0  # the tenure that our last successful renewal named
    renew_at: float = 0.0
    fed_until: float = 0.0
    in_touch: bool = True
    in_touch_since: float = 0.0  # the first answer of the API after one that did not come
    touched_at: float = 0.0  # its last answer
    asked_at: float = 0.0  # when it was last asked for another's Lease
    # the own seat
    tenure: int = 0
    over: int = 0  # a tenure of ours that witnesses call over
    doubted: bool = False  # the table we know calls that one live: the server is asked before the next is chosen
    seated: bool = False
    adopting: int = 0  # the version of the table that the adopted seat was found in; a newer one fences the forerunner
    adoptable: bool = True  # a new process may adopt what its forerunner left; a process never adopts after it lost
    held: frozenset[str] | None = None  # None: whatever the kernel has
    giving: frozenset[str] = frozenset()
    gained: Mapping[str, Gained] = field(default_factory=dict)
    passed_on: Mapping[str, PassedOn] = field(default_factory=dict)
    cleared: Mapping[str, int] = field(default_factory=dict)  # group -> the epoch in which nobody else answers for it
    asking: Mapping[str, Asking] = field(default_factory=dict)
    # the pulse
    here: Here | None = None  # nothing is done before it is known what a forerunner left
    orders: Orders = NO_ORDERS
    obeyed: int = 0
    echoing: frozenset[str] = frozenset()
    echoing_since: float = 0.0  # when that last changed
    echoed: bool = False  # somebody has echoed the present tenure
    silences: Mapping[tuple[str, int, int], Silence] = field(default_factory=dict)  # node, tenure, version
    passed: Mapping[int, Mapping[str, float]] = field(default_factory=dict)  # ended tenure -> witness -> when
    told: Mapping[int, str] = field(default_factory=dict)  # version of the table -> who says that it wrote it
    wrote: int = 0
    wrote_ended: tuple[tuple[str, int], ...] = ()
    returned_at: float = 0.0
    # what feeds the own permit beside echoes
    rest_until: float = 0.0
    held_on_until: float = 0.0  # cut off, and undisturbed
    look_at: float = 0.0
    anchor: Anchored | None = None
    anchor_lost: float | None = None  # since when
    anchor_asked: float = 0.0
    others_fit: float | None = None  # since when another seat is eligible
    # the table's write
    put: Table | None = None
    put_after: int = 0  # the orders that must be in force before it is sent; 0: it was sent
    open_rows: tuple[Seat, ...] = ()  # the own seat as writes have it whose outcome is not known
    reread: bool = False  # nothing is written before a newer table was seen
    unsettled: bool = False  # a write ended unknown, and no newer table was seen yet
    write_at: float = 0.0
    idle: Idle | None = None
    ask_at: float = 0.0
    unwanted: Mapping[str, float] = field(default_factory=dict)  # groups with a row that nobody wants: since when
    stopping: bool = False
    resting: bool = False  # stopping, but to come back
    wake: float = 0.0
