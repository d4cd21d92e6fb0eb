"""What it costs when nothing happens: 100 Services on ten nodes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lab.bench import load, stage
from lab.bench.figures import Budget, Figure
from lab.bench.stage import NAMESPACE
from lab.cluster import Lab
from lab.probes import Request
from lab.programs import AGENT, CONTROLLER
from lab.run import Process

Say = Callable[[str], None]

NODES, FEW = 10, 3
SERVICES = 100
MEGABYTE = 1e6
SHOWN = 4  # kinds of requests that a note names
USERS = {"agents": AGENT, "controller": CONTROLLER}


@contextmanager
def place(*, small: bool) -> Iterator[Lab]:
    """Ten nodes (*small*: three) with Roost, and a hundred Services that all are announced."""
    with stage.bare(FEW if small else NODES, "10.60.0.120-10.60.0.249") as lab:
        stage.start(lab)
        services = [load.service(f"idle-{number}") for number in range(SERVICES)]
        load.create(lab, NAMESPACE, services)
        stage.wait_announced(lab, SERVICES, 60)
        yield lab


def requests(lab: Lab, window: float, say: Say) -> Iterator[Figure]:
    """Of Roost's programs, by the API server's own book."""
    stage.wait_calm(lab, 40, say)
    meter = lab.api_requests()
    time.sleep(window)
    counted, seconds = meter.count(), time.monotonic() - meter.started
    parts = {name: _of(counted, user) for name, user in USERS.items()}
    total = sum(part.total() for part in parts.values()) / seconds
    note = f"{len(lab.nodes)} nodes, {SERVICES} Services, over {seconds:.0f} s"
    yield Figure("all of Roost", "1/s", (total,), Budget(5.0), note)
    for name, part in parts.items():
        yield Figure(name, "1/s", (part.total() / seconds,), None, _split(part, seconds))
    rest = (counted.total() - sum(part.total() for part in parts.values())) / seconds
    yield Figure("the bare cluster", "1/s", (rest,))


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
    programs: list[Process] = [*agents, controller]
    before, began = [process.cpu() for process in programs], time.monotonic()
    time.sleep(window)
    seconds = time.monotonic() - began
    used = [1000 * (process.cpu() - then) / seconds for process, then in zip(programs, before, strict=True)]
    note = f"{len(lab.nodes)} nodes, {SERVICES} Services, over {seconds:.0f} s"
    yield Figure("agent, CPU", "mcore", tuple(used[:-1]), Budget(4.0), note)
    yield Figure("agent, PSS", "MB", _megabytes(agents, Process.memory), Budget(80.0))
    alone = "what a node with one agent and nothing else in Python has in memory, at most"
    yield Figure("agent, RSS", "MB", _megabytes(agents, stage.resident), None, alone)
    yield Figure("controller, CPU", "mcore", tuple(used[-1:]))
    yield Figure("controller, PSS", "MB", _megabytes([controller], Process.memory))


def _megabytes(processes: Sequence[Process], measure: Callable[[Process], int]) -> tuple[float, ...]:
    return tuple(measure(process) / MEGABYTE for process in processes)
