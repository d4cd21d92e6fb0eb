"""What the pulse and the agent of a node say to each other, and the times by which both live."""

from dataclasses import dataclass

DRIFT = 1.1  # clocks of two machines, and the clock of a kernel's timers, run at rates within ten percent of each other
LEAVES = 0.04  # seconds that a claim may take from the gate to the wire
MOST_WITNESSES = 3


@dataclass(frozen=True, slots=True)
class Profile:
    """How quickly a segment notices that a seat is gone. Seconds; ValueError where the proof would not hold."""

    hello: float = 0.1  # between two hellos
    silence: float = 0.3  # a witness that hears nothing for so long votes
    permit: float = 0.6  # a permit ends this long after the sending of the hello that fed it
    margin: float = 0.1  # what an heir waits longer than any permit lasts

    def __post_init__(self) -> None:
        ms = 1e-6  # decimal fractions are not exact in binary
        if self.margin + ms < (DRIFT - 1) * self.permit + LEAVES:
            raise ValueError(f"margin {self.margin} s is less than a tenth of the permit {self.permit} s + 40 ms")
        if self.silence + ms < 3 * self.hello:
            raise ValueError(f"silence {self.silence} s is less than three hellos of {self.hello} s")
        if self.permit + ms < 2 * self.silence:
            raise ValueError(f"permit {self.permit} s is less than twice the silence {self.silence} s")


PROFILES = {
    "Default": Profile(),
    "Fast": Profile(0.03, 0.09, 0.18, 0.06),
    "Relaxed": Profile(0.3, 0.9, 1.8, 0.3),
}


def feeders(witnesses: int) -> int:
    """Of so many witnesses, how many must have echoed a hello for it to feed the permit."""
    return (witnesses + 1) // 2


def enders(witnesses: int) -> int:
    """Of so many witnesses, how many end a permit: one of them at least is among any that feed it."""
    return witnesses - feeders(witnesses) + 1


# -- from the agent to the pulse -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Echoed:
    """The permit ends ``Profile.permit`` after the sending of the newest hello that enough of *witnesses* echoed."""

    witnesses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Until:
    """The permit ends at *deadline* (seconds on the machine's raw clock).

    *anew*: one that has lapsed may be made again. Not so while a seat only holds on: an heir's question to the segment
    proves something because a holder that is silent once stays silent.
    """

    deadline: float
    anew: bool = True


Rule = Echoed | Until


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node's live seat. *mine*: this node is one of its witnesses, and must speak up when it is silent."""

    node: str
    tenure: int
    version: int
    addresses: tuple[str, ...]
    mine: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Whether *tenure* of *node* is over, to be asked of its *witnesses* each hello."""

    node: str
    tenure: int
    witnesses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Orders:
    """All that the pulse of one segment must know; newer orders replace older ones whole.

    The permit ends when the first of *rules* says so; no rule, no permit. *tenure* 0: this node has no seat.
    *ready*: the table was read once, so it is known which tenures are over: below *next_tenure*, and not a peer's.
    *greeted*: whom hellos are sent to. *wrote*: the newest version of the table that this node wrote, told to all
    peers whenever it changes, with the tenures that this write ended.
    """

    serial: int = 0
    profile: Profile = Profile()
    tenure: int = 0
    rules: tuple[Rule, ...] = ()
    ready: bool = False
    next_tenure: int = 0
    peers: tuple[Peer, ...] = ()
    greeted: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    wrote: int = 0
    ended: tuple[tuple[str, int], ...] = ()


# -- from the pulse to the agent -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Here:
    """The first word to a new agent: the orders in force, and until when the kernel's permit stands (0: none does)."""

    serial: int
    tenure: int
    permitted_until: float
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The orders *serial* are in force in the kernel."""

    serial: int


@dataclass(frozen=True, slots=True)
class Echoing:
    """Who echoes our hellos now, of those who are greeted."""

    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Vote:
    """*voter* heard nothing of *node* in that version of its seat. *at*: when the vote came."""

    node: str
    tenure: int
    version: int
    voter: str
    at: float


@dataclass(frozen=True, slots=True)
class Passed:
    """*witness* will never echo that tenure again, and no permit that it ever fed stands after *at*."""

    node: str
    tenure: int
    witness: str
    at: float


@dataclass(frozen=True, slots=True)
class Over:
    """Our own tenure was ended by others; its permit is revoked."""

    tenure: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """*node*, a live seat, wrote that *version* (resourceVersion) of the table."""

    node: str
    version: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A tenure that is over was heard: its node does not know yet, and may have claimed until now."""

    node: str
    tenure: int


News = Here | Done | Echoing | Vote | Passed | Over | Wrote | Returned
