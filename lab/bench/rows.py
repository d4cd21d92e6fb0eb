"""The rows of the benchmark: what each measures, on which lab, against which budget of the design's section 7."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lab.bench import crowd, faults, giving
from lab.bench.faults import Fault, Scene, Seen
from lab.bench.figures import Budget, Figure
from lab.bench.peers import PEERS
from lab.run import LabError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How thorough a run is."""

    runs: int = 3  # of each fault
    full: bool = False  # 1,000 paced Services, and a minute of idling
    small: bool = False  # three nodes instead of ten

    def __str__(self) -> str:
        size = ", ".join(name for name, chosen in (("full", self.full), ("small", self.small)) if chosen)
        return f"runs of each fault: {self.runs}{size and ', '}{size}"

    @property
    def window(self) -> float:
        """Seconds of idling that are measured."""
        return 60.0 if self.full else 30.0


@dataclass(frozen=True, slots=True)
class Row:
    """*place* is the lab, which rows that follow each other share; *measure* yields what it finds, bit by bit."""

    name: str
    title: str
    place: str
    measure: Callable[[Any, Options, Say], Iterator[Figure]]
    limit: float  # seconds that it may take, its lab included
    per_run: float = 0.0  # and for each run of a fault

    @property
    def peers(self) -> str:
        return PEERS.get(self.name, "")

    def seconds(self, options: Options) -> float:
        return self.limit + self.per_run * options.runs + (60 if options.full else 0)


PLACES: Mapping[str, Callable[[Options], AbstractContextManager[Any]]] = {
    "faults": lambda _: faults.scene(),
    "burst": lambda _: giving.burst_place(),
    "running": lambda _: giving.running_place(),
    "crowd": lambda options: crowd.place(small=options.small),
}


def _fault(fault: Fault, gap: Budget, moved: Budget | None) -> Callable[[Scene, Options, Say], Iterator[Figure]]:
    def measure(scene: Scene, options: Options, say: Say) -> Iterator[Figure]:
        runs: list[dict[str, Seen]] = []
        try:
            for seen in faults.measure(scene, fault, options.runs, say):
                runs.append(seen)  # noqa: PERF402  # those before a failure count
        except LabError:
            yield from faults.figures(scene, runs, gap, moved)
            raise
        yield from faults.figures(scene, runs, gap, moved)

    return measure


# In the order of the report. The limits are some three times what a row takes on two idle cores.
ROWS = (
    Row("yardstick", "Yardstick", "burst", lambda at, _, say: giving.yardstick(at, say), 150),
    Row("burst", "Burst of 1,000 Services", "burst", lambda at, _, say: giving.burst(at, say), 300),
    Row("memory", "Memory with 1,000 VIPs", "burst", lambda at, _, say: giving.memory(at, say), 300),
    Row(
        "first-reply",
        "Address in status → first ARP reply, 20 Services",
        "running",
        lambda at, _, say: giving.first_reply(at, say),
        150,
    ),
    Row(
        "paced",
        "Services created at 20 a second",
        "running",
        lambda at, options, say: giving.paced(at, say, full=options.full),
        150,
    ),
    Row("power-off", "Power-off of the holder", "faults", _fault(faults.POWER_OFF, Budget(8.0), None), 90, 60),
    Row("link-down", "Data link of the holder down", "faults", _fault(faults.LINK_DOWN, Budget(3.0), None), 90, 60),
    Row(
        "sigkill",
        "Agent of the holder SIGKILLed, not restarted",
        "faults",
        _fault(faults.SIGKILL, Budget(0.1), Budget(9.0)),
        90,
        60,
    ),
    Row(
        "requests",
        "Steady API requests, 100 Services",
        "crowd",
        lambda at, options, say: crowd.requests(at, options.window, say),
        240,
    ),
    Row(
        "cost",
        "CPU and memory, 100 Services",
        "crowd",
        lambda at, options, say: crowd.cost(at, options.window, say),
        240,
    ),
)
NAMES = tuple(row.name for row in ROWS)


def chosen(names: list[str]) -> list[Row]:
    """The rows of these names (none: all), in the order of the report; a burst needs its yardstick."""
    wanted = {*names} if names else {*NAMES}
    if "burst" in wanted:
        wanted.add("yardstick")
    return [row for row in ROWS if row.name in wanted]
