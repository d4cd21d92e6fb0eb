"""What a fault is, and what Roost promises meanwhile; each mode has promises of its own. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from lab.fault_runs.mode import Mode
from lab.fault_runs.scene import Scene

Verb = Callable[[Scene, str], None]  # done to the lab, and to the node that held the VIPs when the fault began
Check = Callable[[Scene, str], list[str]]  # what is not as promised besides, in words

GAP = 0.1  # seconds: what a client may miss where nothing is to move


class After(Enum):
    """Who may hold the VIPs after the fault."""

    SAME = "the same node"
    OTHER = "another node"
    ANY = "any one node"


class Stage(Enum):
    """Where a fault is done: how many nodes, and how many dual-stack Services besides the one that is watched."""

    THREE = (3, 0)
    FIVE = (5, 50)

    @property
    def nodes(self) -> int:
        return self.value[0]

    @property
    def services(self) -> int:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Promise:
    """Times in seconds; *gap* and *within* are None where nothing is promised."""

    after: After
    gap: float | None = None  # longest time without a connection, of a client that knows the MAC
    within: float | None = None  # until another holder claims
    watch: float = 3.0  # looked at for at least that long


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to whom and when, and how it is mended."""

    name: str
    title: str
    script: tuple[tuple[float, Verb], ...]  # (seconds after the beginning, what is done)
    witnessed: Promise
    leased: Promise
    mend: Verb | None = None
    check: Check | None = None  # looked at before it is mended
    stage: Stage = Stage.THREE
    further: bool = False  # looked at beside the faults that the first promises are about
    note: str = field(default="")  # what else the figures are made of

    def promise(self, mode: Mode) -> Promise:
        return self.witnessed if mode is Mode.WITNESSED else self.leased

    def seconds(self, mode: Mode) -> float:
        """About how long a run takes: to share the work out."""
        script = max(when for when, _ in self.script)
        return 9 + max(script, self.promise(mode).watch) + (40 if self.stage is Stage.FIVE else 0)


def stays(*, watch: float = 3.0, gap: float | None = GAP) -> Promise:
    """Nothing moves."""
    return Promise(After.SAME, gap, None, watch)


def moves(within: float | None, *, gap: float | None = GAP, watch: float = 3.0) -> Promise:
    """Another node has it, in that time."""
    return Promise(After.OTHER, gap, within, watch)


def settles(*, gap: float | None = GAP, watch: float = 3.0) -> Promise:
    """One node holds in the end, whichever."""
    return Promise(After.ANY, gap, None, watch)
