"""What it costs when nothing happens: 100 Services on ten nodes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lab.api import Json
from lab.bench import load, stage
from lab.bench.figures import Budget, Figure
from lab.bench.stage import NAMESPACE
from lab.cluster import Lab
from lab.probes import Request
from lab.programs import AGENT, CONTROLLER, SEGMENT
from lab.run import cpu_of, memory_of, wait_for

Say = Callable[[str], None]

NODES, FEW = 10, 3
SERVICES = 100
FAR = 100  # seats of nodes that are only simulated
MEGABYTE = 1e6
SAID, LOOK = 60.0, 4.0  # seconds until all is said, and of one look whether it is
SHOWN = 4  # kinds of requests that a note names
USERS = {"agents": AGENT, "controller": CONTROLLER}


@contextmanager
def place(*, small: bool, witnesses: bool = True) -> Iterator[Lab]:
    """Ten nodes (*small*: three) with Roost, and a hundred Services that all are announced."""
    with stage.bare(FEW if small else NODES, "10.60.0.120-10.60.0.249", witnesses=witnesses) as lab:
        stage.start(lab)
        services = [load.service(f"idle-{number}") for number in range(SERVICES)]
        load.create(lab, NAMESPACE, services)
        stage.wait_announced(lab, SERVICES, 60)
        yield lab


def requests(lab: Lab, window: float, say: Say) -> Iterator[Figure]:
    """Of Roost's programs, by the API server's own book."""
    note = f"{len(lab.nodes)} nodes, {SERVICES} Services"
    yield from _requests(lab, window, say, note)


def requests_with_far_sides(lab: Lab, window: float, say: Say) -> Iterator[Figure]:
    """The same, with a hundred seats more in the table than there are nodes."""
    seats = far_seats(lab, FAR)
    wait_for("all sit", lambda: len(lab.seats()) == len(lab.nodes) + FAR, 10, every=0.1)
    note = (
        f"{len(lab.nodes)} real agents and {seats} simulated ones, {SERVICES} Services: the simulated are seats in the"
        " table, live and witnessed by each other, whom the real ones see; they hold nothing and ask the API nothing"
    )
    yield from _requests(lab, window, say, note)


def far_seats(lab: Lab, count: int) -> int:
    """Seat *count* agents that do not exist, by one write of the table. Raises ApiError."""
    table = lab.api("GET", SEGMENT)
    status = table["status"]
    first = status["nextTenure"]
    for number in range(count):
        others = [f"far-{(number + step) % count:03d}" for step in (1, 2, 3)]
        status["seats"].append(far_seat(number, first + number, others))
    status["nextTenure"], status["revision"] = first + count, status["revision"] + 1
    lab.api("PUT", f"{SEGMENT}/status", table)
    return count


def far_seat(number: int, tenure: int, witnesses: Sequence[str]) -> Json:
    """A row of the table, as the agent of a large cluster's node *number* would have written it."""
    return {
        "node": f"far-{number:03d}",
        "tenure": tenure,
        "version": 1,
        "bootID": f"00000000-0000-4000-8000-{number:012d}",
        "machineID": f"{number:032x}",
        "mac": f"02:00:00:fa:00:{number:02x}",
        "addresses": [f"fd60::fa:{number:x}"],
        "eligible": False,
        "mode": "Witnessed",
        "state": "Live",
        "witnesses": list(witnesses),
    }


def _requests(lab: Lab, window: float, say: Say, note: str) -> Iterator[Figure]:
    stage.wait_calm(lab, 40, say)
    _wait_quiet(lab, say)
    meter = lab.api_requests()
    time.sleep(window)
    counted, seconds = meter.count(), time.monotonic() - meter.started
    parts = {name: _of(counted, user) for name, user in USERS.items()}
    lease = sum(times for what, times in parts["controller"].items() if what.endswith(" leases"))
    total = sum(part.total() for part in parts.values()) - (lease if lab.witnesses else 0)
    what = "all of Roost but the controller's own Lease" if lab.witnesses else "all of Roost"
    budget = Budget(0.0) if lab.witnesses else Budget(5.0)
    yield Figure(what, "1/s", (total / seconds,), budget, f"{note}, over {seconds:.0f} s")
    for name, part in parts.items():
        yield Figure(name, "1/s", (part.total() / seconds,), None, _split(part, seconds))
    rest = (counted.total() - sum(part.total() for part in parts.values())) / seconds
    yield Figure("the bare cluster", "1/s", (rest,))


def _wait_quiet(lab: Lab, say: Say) -> None:
    """Until what the last change made Roost say is said: Events go out at a leisurely pace."""
    deadline = time.monotonic() + SAID
    while time.monotonic() < deadline:
        meter = lab.api_requests()
        time.sleep(LOOK)
        counted = [_of(meter.count(), user) for user in USERS.values()]
        if not any(times for part in counted for what, times in part.items() if not what.endswith(" leases")):
            return
    say(f"Roost has not come to rest after {SAID:g} s")


def _of(counted: Counter[Request], user: str) -> Counter[str]:
    """The requests of one user, by verb and resource."""
    found: Counter[str] = Counter()
    for request, times in counted.items():
        if request.user.endswith(f":{user}"):
            found[f"{request.verb} {request.resource}"] += times
    return found


def _split(part: Counter[str], seconds: float) -> str:
    return ", ".join(f"{what} {times / seconds:.2f}" for what, times in part.most_common(SHOWN)) or "none"


def cost(lab: Lab, window: float, say: Say) -> Iterator[Figure]:
    """CPU and memory of the programs."""
    stage.wait_calm(lab, 40, say)
    agents, controller = list(lab.agents.values()), lab.controllers["a"]
    pids = {"pulse": [one.pulse for one in agents], "agent": [one.agent for one in agents], "all": [controller.pid]}
    before, began = {name: [cpu_of(pid) for pid in some] for name, some in pids.items()}, time.monotonic()
    time.sleep(window)
    seconds = time.monotonic() - began
    used = {
        name: [1000 * (cpu_of(pid) - then) / seconds for pid, then in zip(some, before[name], strict=True)]
        for name, some in pids.items()
    }
    memory = {name: [memory_of(pid) / MEGABYTE for pid in some] for name, some in pids.items()}
    note = f"{len(lab.nodes)} nodes, {SERVICES} Services, over {seconds:.0f} s"
    yield Figure("pulse and agent, CPU", "mcore", _sums(used["pulse"], used["agent"]), Budget(4.0), note)
    yield Figure("pulse, CPU", "mcore", tuple(used["pulse"]))
    yield Figure("agent, CPU", "mcore", tuple(used["agent"]))
    yield Figure("pulse and agent, PSS", "MB", _sums(memory["pulse"], memory["agent"]), Budget(80.0))
    yield Figure("pulse, PSS", "MB", tuple(memory["pulse"]))
    yield Figure("agent, PSS", "MB", tuple(memory["agent"]))
    alone = "what a node with one agent and nothing else in Python has in memory, at most"
    resident = tuple(stage.resident(one) / MEGABYTE for one in agents)
    yield Figure("pulse and agent, RSS", "MB", resident, None, alone)
    yield Figure("controller, CPU", "mcore", tuple(used["all"]))
    yield Figure("controller, PSS", "MB", tuple(memory["all"]))


def _sums(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    return tuple(one + other for one, other in zip(first, second, strict=True))
