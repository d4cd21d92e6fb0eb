"""Faults as data: what goes wrong, when and for how long. A schedule of them can be printed, replayed and shrunk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

TRAP = 1.0  # seconds that a fault waits for the next step that does something


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong *at* so many seconds after the beginning."""

    at: float


@dataclass(frozen=True, slots=True)
class Lasting(Fault):
    """*seconds*: until it is mended, or until what died is started again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pause(Lasting):
    """SIGSTOP of the ``pulse``, the ``agent`` or of ``both``.

    *after*: not at once, but in the midst of the next step that does something, when so many things of it are done;
    where the thing is a permit, between staging, looking at the clock, and giving it.
    """

    node: str
    part: str = "both"
    after: int = -1


@dataclass(frozen=True, slots=True)
class Kill(Lasting):
    """SIGKILL of the ``pulse`` (its agent dies with it) or the ``agent``, which comes back after *seconds*."""

    node: str
    part: str = "pulse"
    after: int = -1


@dataclass(frozen=True, slots=True)
class Power(Lasting):
    """The machine loses power, and boots after *seconds*. *machine*: as another machine under the same name."""

    node: str
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Freeze(Lasting):
    """The whole virtual machine stands still, its clocks and the kernel's timers too."""

    node: str


@dataclass(frozen=True, slots=True)
class Blackout(Lasting):
    """All machines lose power at once, and boot after *seconds*, each in its own time."""


@dataclass(frozen=True, slots=True)
class Rest(Lasting):
    """SIGTERM to a program that is to come back after *seconds*."""

    node: str


@dataclass(frozen=True, slots=True)
class Leave(Lasting):
    """SIGTERM to a program that is to give everything away; it is started again after *seconds*."""

    node: str


@dataclass(frozen=True, slots=True)
class Cut(Lasting):
    """Nothing passes from *source* to *target* on the segment; nor back, unless *one_way*."""

    source: str
    target: str
    one_way: bool = False


@dataclass(frozen=True, slots=True)
class Isolate(Lasting):
    """The node's port of the switch is dead: no other node, and no anchor; the API server is still reached."""

    node: str


@dataclass(frozen=True, slots=True)
class Split(Lasting):
    """Two halves of the segment do not hear each other; the anchor is heard by those that are not *apart*."""

    apart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deaf(Lasting):
    """No hello passes between any two nodes (UDP is blocked); ARP does."""


@dataclass(frozen=True, slots=True)
class Loss(Lasting):
    """So large a share of the frames is lost, and as many arrive twice, and up to *late* seconds late."""

    share: float
    late: float = 0.0


@dataclass(frozen=True, slots=True)
class NoAnchor(Lasting):
    """No anchor answers that node."""

    node: str


@dataclass(frozen=True, slots=True)
class Unfit(Lasting):
    """The node's link is down: it is not eligible, and hears nobody on the segment."""

    node: str


@dataclass(frozen=True, slots=True)
class Refit(Lasting):
    """Only these nodes may hold the group."""

    group: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unwanted(Lasting):
    """The group has no VIPs."""

    group: str


@dataclass(frozen=True, slots=True)
class ApiDown(Lasting):
    """The API server answers nobody."""


@dataclass(frozen=True, slots=True)
class ApiCut(Lasting):
    """That node does not reach the API server."""

    node: str


@dataclass(frozen=True, slots=True)
class ApiSlow(Lasting):
    """A *share* of the legs of all requests take up to *most* seconds."""

    most: float
    share: float = 0.3


@dataclass(frozen=True, slots=True)
class LateWrites(Lasting):
    """No answer to a write of that node arrives; the write itself is done *late* seconds later, or half as late."""

    node: str
    late: float


@dataclass(frozen=True, slots=True)
class Lag(Lasting):
    """The node's watches show everything *late* seconds later."""

    node: str
    late: float


@dataclass(frozen=True, slots=True)
class Stall(Lasting):
    """The node's watches stand still; then they list again. *age*: from a cache that is so much older."""

    node: str
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class StaleStart(Lasting):
    """Whatever watch starts in this time lists from a cache that is *age* seconds old."""

    age: float


@dataclass(frozen=True, slots=True)
class LeaseDeleted(Fault):
    node: str


@dataclass(frozen=True, slots=True)
class TableDeleted(Fault):
    """The Segment is deleted; who misses it makes it anew, without a table."""


@dataclass(frozen=True, slots=True)
class TableCleared(Fault):
    """The Segment is replaced by one without status, as a restore from a backup does it."""


@dataclass(frozen=True, slots=True)
class TableRestored(Fault):
    """The Segment is replaced by one with the status it had *age* seconds ago."""

    age: float


@dataclass(frozen=True, slots=True)
class TableEdited(Fault):
    """Somebody gives the group to that node by hand, as the schema lets him, and asks nobody."""

    group: str
    node: str


@dataclass(frozen=True, slots=True)
class Stranger(Lasting):
    """A machine that is no seat answers for the group's VIPs."""

    group: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run: everything that is random in it comes from *seed*. *quiet*: seconds of peace after the last fault."""

    seed: int
    nodes: int = 3
    profile: str = "Default"
    faults: tuple[Fault, ...] = ()
    quiet: float = 20.0
    hold: bool = True
    groups: int = 3

    @property
    def last(self) -> float:
        """When the last fault is mended."""
        return max((fault.at + getattr(fault, "seconds", 0.0) + _wait(fault) for fault in self.faults), default=0.0)

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name != "seed" and getattr(self, field.name) != field.default
        ]
        return f"Schedule({', '.join([str(self.seed), *shown])})"


def _wait(fault: Fault) -> float:
    """How long it may take until what strikes in the midst of a step does so."""
    return TRAP if getattr(fault, "after", -1) >= 0 else 0.0


KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in [
        Pause, Kill, Power, Freeze, Blackout, Rest, Leave, Cut, Isolate, Split, Deaf, Loss, NoAnchor, Unfit,
        Refit, Unwanted, ApiDown, ApiCut, ApiSlow, LateWrites, Lag, Stall, StaleStart, LeaseDeleted, TableDeleted,
        TableCleared, TableRestored, TableEdited, Stranger, Schedule,
    ]
}  # fmt: skip


def read(text: str) -> Schedule:
    """The schedule that was printed as *text*. ValueError if it is none."""
    try:
        found = eval(text, {"__builtins__": {}}, dict(KINDS))
    except (NameError, TypeError, SyntaxError) as error:
        raise ValueError(f"no schedule: {error}") from error
    match found:
        case Schedule():
            return found
    raise ValueError(f"no schedule: {text}")


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool], tries: int = 200) -> Schedule:
    """A smaller schedule that still fails: without the faults, and without the seconds, that it does not need."""
    best, spent = schedule, 0
    again = True
    while again and spent < tries:
        again = False
        for smaller in _smaller(best):
            spent += 1
            if spent > tries:
                break
            if fails(smaller):
                best, again = smaller, True
                break
    return best


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    faults = schedule.faults
    half = len(faults) // 2
    if half > 1:
        yield replace(schedule, faults=faults[half:])
        yield replace(schedule, faults=faults[:half])
    for index in range(len(faults)):
        yield replace(schedule, faults=faults[:index] + faults[index + 1 :])
    for index, fault in enumerate(faults):
        if isinstance(fault, Lasting) and fault.seconds > 0.2:
            shorter = replace(fault, seconds=round(fault.seconds / 2, 2))
            yield replace(schedule, faults=(*faults[:index], shorter, *faults[index + 1 :]))
