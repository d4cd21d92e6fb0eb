"""What a seat learns and what it must do: the inputs and outputs of the step in ``plan``."""

from dataclasses import dataclass
from enum import StrEnum

from nodeagent.segment.table import Candidates, Table
from roost.words import Reason


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
    table: Table


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
    """

    eligible: bool
    mac: str
    addresses: tuple[str, ...]
    candidates: Candidates


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Give everything away and leave the table."""


Input = TableSeen | LeaseSeen | LeasesListed | LeasePut | MarkPut | TablePut | Wish | Tick | Stop


# -- what comes out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hold:
    """The groups whose VIPs the kernel may claim from now on, if a permit stands; no others."""

    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Revoke:
    """End the kernel's permit at once."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Let the kernel's permit stand until *deadline*."""

    deadline: float


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


Output = Hold | Revoke | Feed | PutLease | AskLease | MarkLease | PutTable | AskTable | Left | Say
