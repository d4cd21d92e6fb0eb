"""What a seat learns and what it must do: the inputs and outputs of the step in ``plan``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nodeagent.model import News, Orders, Profile
from nodeagent.segment.table import Candidates, Table
from roost.words import Reason

DEFAULT = Profile()


class Answer(StrEnum):
    """How a write ended. After ``UNKNOWN`` it may have happened, or may still happen."""

    OK = "ok"
    CONFLICT = "conflict"  # 409: somebody else wrote
    MISSING = "missing"  # 404
    REFUSED = "refused"  # any other 4xx
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LeaseView:
    """What counts of a node's Lease: its version, the tenure it feeds, and the tenure that a mark ended."""

    resource_version: str
    tenure: int = 0
    ended: int = 0
    uid: str = ""

    @property
    def version(self) -> int:
        """Versions of one cluster are comparable (k8s.io/apimachinery/pkg/util/resourceversion)."""
        return int(self.resource_version)


# -- what goes in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableSeen:
    """The table as the watch shows it, or as a consistent read found it (*fresh*)."""

    table: Table
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A Lease as the watch shows it, or as a consistent read found it (*fresh*). None: it is not there."""

    node: str
    lease: LeaseView | None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class LeasesListed:
    """Every Lease there is has been seen once."""


@dataclass(frozen=True, slots=True)
class LeasesRead:
    """All Leases by nodes, as one consistent read found them that began after the table was seen at *version*."""

    version: int
    leases: Mapping[str, LeaseView]


@dataclass(frozen=True, slots=True)
class LeasePut:
    """The outcome of a renewal that was sent at *sent_at*."""

    answer: Answer
    sent_at: float
    tenure: int
    lease: LeaseView | None = None


@dataclass(frozen=True, slots=True)
class MarkPut:
    node: str
    answer: Answer
    lease: LeaseView | None = None


@dataclass(frozen=True, slots=True)
class TablePut:
    answer: Answer
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the cluster wants of this segment, and how fit this node is.

    *candidates* names, for each group, the nodes that may hold it (selectors, labels, endpoints), seated or not.
    *profile* and *hold* are the Segment's (``profile``, ``whenCutOff: Hold``); *racks* says where nodes stand, as far
    as labels tell. Nodes of *last* get a group only where no other candidate is.
    """

    eligible: bool
    mac: str
    addresses: tuple[str, ...]
    candidates: Candidates
    profile: Profile = DEFAULT
    hold: bool = True
    racks: Mapping[str, str] = field(default_factory=dict)
    last: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The API server did not answer a question."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """Whether an anchor answers on the segment; True also where there is none to ask. *asked_at*: since when."""

    answers: bool
    asked_at: float


@dataclass(frozen=True, slots=True)
class Probed:
    """Nobody's answer, or a seat's (its node), to the question who has the VIPs of *group*, asked at *asked_at*.

    *asked_by*: another asked the same just then, a seat (its node) or a stranger (its MAC), and would be cleared too.
    """

    group: str
    epoch: int
    asked_at: float
    answered_by: str = ""
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Alone:
    """The outcome of a look round while this node is cut off: an anchor answers, and no other claims what we hold."""

    undisturbed: bool
    asked_at: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The program ends. *rest*: it is to come back within ``Settings.rest`` seconds, and nothing moves meanwhile;

    else everything is given away.
    """

    rest: bool = False


Input = (
    TableSeen
    | LeaseSeen
    | LeasesListed
    | LeasesRead
    | LeasePut
    | MarkPut
    | TablePut
    | Wish
    | NoAnswer
    | Anchored
    | Probed
    | Alone
    | Tick
    | Stop
    | News
)


# -- what comes out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hold:
    """The groups whose VIPs the kernel may claim from now on, if a permit stands; no others."""

    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Order:
    """Orders for the pulse; the newest are the only ones that count."""

    orders: Orders


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask on the segment who has the VIPs of *group*, thrice, so many seconds *apart*: :class:`Probed`."""

    group: str
    epoch: int
    apart: float = 0.04


@dataclass(frozen=True, slots=True)
class AskAnchor:
    """Ask whether an anchor answers: :class:`Anchored`."""


@dataclass(frozen=True, slots=True)
class LookRound:
    """Ask an anchor, and who else has VIPs that this node holds: :class:`Alone`."""


@dataclass(frozen=True, slots=True)
class AnnounceAgain:
    """A tenure that is over was still heard: its node may have claimed until now."""


@dataclass(frozen=True, slots=True)
class PutLease:
    """Write the own Lease with this tenure, as it was last seen (*over*); None: make it."""

    tenure: int
    over: LeaseView | None


@dataclass(frozen=True, slots=True)
class AskLease:
    """Read a Lease consistently."""

    node: str


@dataclass(frozen=True, slots=True)
class AskLeases:
    """Read all Leases consistently, for the sake of a table at *version*: :class:`LeasesRead`."""

    version: int


@dataclass(frozen=True, slots=True)
class MarkLease:
    """Put the mark that ends *tenure* on another node's Lease, as it was at *resource_version*."""

    node: str
    tenure: int
    resource_version: str


@dataclass(frozen=True, slots=True)
class PutTable:
    table: Table


@dataclass(frozen=True, slots=True)
class AskTable:
    """Read the table consistently; create the Segment if it is missing."""


@dataclass(frozen=True, slots=True)
class Left:
    """The seat is given up: the program may end."""


@dataclass(frozen=True, slots=True)
class Say:
    """One decision, for the log: why, and about what."""

    cause: Reason
    message: str
    groups: frozenset[str] = frozenset()


Output = (
    Hold
    | Order
    | Probe
    | AskAnchor
    | LookRound
    | AnnounceAgain
    | PutLease
    | AskLease
    | AskLeases
    | MarkLease
    | PutTable
    | AskTable
    | Left
    | Say
)
