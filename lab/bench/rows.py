"""The rows of the benchmark: what each measures, on which lab, against which budget of the design's section 7."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lab import routed
from lab.bench import crowd, far, faults, giving, many, paths, writes
from lab.bench.faults import Fault, Scene, Seen
from lab.bench.figures import At, Budget, Figure
from lab.bench.peers import PEERS
from lab.run import LabError

Say = Callable[[str], None]


FEW_RUNS, MANY_RUNS = 3, 50  # of a fault; of the one that everything here is about


@dataclass(frozen=True, slots=True)
class Options:
    """How thorough a run is."""

    runs: int = 0  # of each fault; 0: as many as each row has by itself
    full: bool = False  # 1,000 paced Services, and a minute of idling
    small: bool = False  # three nodes instead of ten, and a tenth of the paths and VIPs of BGP

    def __str__(self) -> str:
        size = ", ".join(name for name, chosen in (("full", self.full), ("small", self.small)) if chosen)
        runs = f"{self.runs}" if self.runs else f"{FEW_RUNS}, of power-off {MANY_RUNS}"
        return f"runs of each fault: {runs}{size and ', '}{size}"

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
    runs: int = 0  # of its fault, unless it is said how many

    @property
    def peers(self) -> str:
        return PEERS.get(self.name, "")

    def times(self, options: Options) -> int:
        """How many runs of its fault there are."""
        return (options.runs or self.runs) if self.runs else 0

    def seconds(self, options: Options) -> float:
        return self.limit + self.per_run * self.times(options) + (60 if options.full else 0)


PLACES: Mapping[str, Callable[[Options], AbstractContextManager[Any]]] = {
    "faults": lambda _: faults.scene(),
    "faults-fast": lambda _: faults.scene(profile="Fast"),
    "faults-leased": lambda _: faults.scene(witnesses=False),
    "burst": lambda _: giving.burst_place(),
    "running": lambda _: giving.running_place(),
    "crowd": lambda options: crowd.place(small=options.small),
    "crowd-leased": lambda options: crowd.place(small=options.small, witnesses=False),
    "bgp-paths": lambda options: paths.place(small=options.small),
    "bgp": lambda _: far.lasting(),
    "bgp-hold": lambda _: far.held(),
    "bgp-bare": lambda _: far.bare(),
    "bgp-writes": lambda options: writes.place(small=options.small),
}


def _fault(name: str, title: str, place: str, fault: Fault, gap: Budget, *, runs: int = FEW_RUNS) -> Row:
    """A row of a fault; those before a failure count."""

    def measure(scene: Scene, options: Options, say: Say) -> Iterator[Figure]:
        found: list[dict[str, Seen]] = []
        try:
            for seen in faults.measure(scene, fault, options.runs or runs, say):
                found.append(seen)  # noqa: PERF402  # those before a failure count
        except LabError:
            yield from faults.figures(scene, found, gap)
            raise
        yield from faults.figures(scene, found, gap)

    return Row(name, title, place, measure, 90, 60, runs)


def _far_faults(name: str, title: str, place: str, kinds: Sequence[str]) -> Row:
    """A row of several faults between nodes and their router."""

    def measure(scene: routed.Scene, options: Options, say: Say) -> Iterator[Figure]:
        yield from far.faults(scene, kinds, options.runs or FEW_RUNS, say)

    return Row(name, title, place, measure, 150, 45.0 * len(kinds), FEW_RUNS)


def _death(name: str, title: str, place: str) -> Row:
    def measure(scene: routed.Scene, options: Options, say: Say) -> Iterator[Figure]:
        yield from far.death(scene, options.runs or FEW_RUNS, say)

    return Row(name, title, place, measure, 150, 90, FEW_RUNS)


POWER, LINK = "Power-off of the holder", "Data link of the holder down"

# In the order of the report. The limits are some three times what a row takes on two idle cores.
ROWS = (
    Row("yardstick", "Yardstick", "burst", lambda at, _, say: giving.yardstick(at, say), 150),
    Row("burst", "Burst of 1,000 Services", "burst", lambda at, _, say: giving.burst(at, say), 300),
    Row("memory", "Memory with 1,000 VIPs", "burst", lambda at, _, say: giving.memory(at, say), 300),
    Row("many", "Power-off of the node with 1,000 VIPs", "burst", lambda at, _, say: many.measure(at, say), 400),
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
    _fault("power-off", f"{POWER}, witnessed", "faults", faults.POWER_OFF, Budget(1.0, At.P99), runs=MANY_RUNS),
    _fault("hand-over", "Planned hand-over, witnessed", "faults", faults.HAND_OVER, Budget(0.1, At.P99), runs=10),
    _fault("link-down", f"{LINK}, witnessed", "faults", faults.LINK_DOWN, Budget(0.5)),
    _fault("sigkill", "Agent of the holder SIGKILLed", "faults", faults.SIGKILL, Budget(0.1)),
    _fault(
        "power-off-fast",
        f"{POWER}, witnessed, profile Fast",
        "faults-fast",
        faults.POWER_OFF,
        Budget(0.4),
        runs=MANY_RUNS,
    ),
    _fault("power-off-leased", f"{POWER}, leased", "faults-leased", faults.POWER_OFF, Budget(8.0), runs=MANY_RUNS),
    _fault("link-down-leased", f"{LINK}, leased", "faults-leased", faults.LINK_DOWN, Budget(3.0)),
    Row(
        "requests",
        "Steady API requests, 100 Services, witnessed",
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
    Row(
        "requests-far",
        "Steady API requests, 100 Services, witnessed, 100 simulated agents more",
        "crowd",
        lambda at, options, say: crowd.requests_with_far_sides(at, options.window, say),
        240,
    ),
    Row(
        "requests-leased",
        "Steady API requests, 100 Services, leased",
        "crowd-leased",
        lambda at, options, say: crowd.requests(at, options.window, say),
        240,
    ),
    Row(
        "bgp-paths",
        "BGP: 10,000 paths come and go",
        "bgp-paths",
        lambda at, _, say: paths.measure(at, say),
        240,
    ),
    Row(
        "bgp-announce",
        "BGP: Service created → in the router's table",
        "bgp-hold",
        lambda at, _, say: far.announce(at, say),
        240,
    ),
    _death("bgp-death-hold", "BGP: power-off of a node, hold timer 9 s", "bgp-hold"),
    _death("bgp-death-bfd", "BGP: power-off of a node, BFD three times 100 ms", "bgp"),
    _far_faults("bgp-faults", "BGP: what may break, graceful restart on", "bgp", far.OUR_FAULTS),
    _far_faults("bgp-faults-bare", "BGP: what may break, no graceful restart", "bgp-bare", far.BARE_FAULTS),
    Row(
        "bgp-writes",
        "BGP: API writes of 50 agents with 1,000 VIPs, simulated far sides",
        "bgp-writes",
        lambda at, _, say: writes.measure(at, say),
        600,
    ),
)
NAMES = tuple(row.name for row in ROWS)


def chosen(names: list[str]) -> list[Row]:
    """The rows of these names (none: all), in the order of the report; a burst needs its yardstick."""
    wanted = {*names} if names else {*NAMES}
    if "burst" in wanted:
        wanted.add("yardstick")
    return [row for row in ROWS if row.name in wanted]
