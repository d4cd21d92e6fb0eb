"""How fast addresses are given: in a burst, at a pace, and from the status to the first answer on the wire."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from lab.bench import load, stage
from lab.bench.figures import At, Budget, Figure, percentile
from lab.bench.stage import NAMESPACE
from lab.bench.table import REFERENCE_RATE
from lab.cluster import Lab
from lab.probes import AskProbe
from lab.run import LabError, Process, wait_for
from roost.words import ADDRESSES

Say = Callable[[str], None]

NODES = 3
BURST = 1000
ROUNDS, BARE = 3, 300  # the yardstick: how often it creates how many Services
REFERENCE_BURST = 45  # addresses per second, the budget where bare creation runs at REFERENCE_RATE
PATIENCE = 150.0  # seconds for all addresses of a burst
PACE, PACED, PACED_FULL = 20.0, 500, 1000  # Services per second, and how many
FIRST, COUNT = 200, 20  # the Services of the first answers: 10.60.0.200 and on
ASK_EVERY = 0.002  # seconds
MEGABYTE = 1e6


@dataclass(slots=True)
class Burst:
    """The lab of the burst and its yardstick."""

    lab: Lab
    rate: float = 0.0  # bare creation, Services per second; 0: not measured
    filled: bool = False  # there are 1,000 Services with addresses


@contextmanager
def burst_place() -> Iterator[Burst]:
    """Three nodes and room for 4,000 addresses; Roost's programs are not started yet."""
    with stage.bare(NODES, "10.61.0.0/20") as lab:
        yield Burst(lab)


@contextmanager
def running_place() -> Iterator[Lab]:
    """Three nodes with Roost running."""
    with stage.bare(NODES, f"10.60.0.{FIRST}-10.60.0.{FIRST + COUNT - 1}", "10.61.0.0/20") as lab:
        stage.start(lab)
        yield lab


def yardstick(scene: Burst, say: Say) -> Iterator[Figure]:
    """Creation alone: nobody gives addresses yet."""
    stage.wait_calm(scene.lab, 20, say)
    rates = tuple(_bare_rate(scene.lab) for _ in range(ROUNDS))
    scene.rate = percentile(rates, 50)
    stage.wait_calm(scene.lab, 40, say)
    note = f"{ROUNDS} times {BARE} Services without a selector, Roost not running"
    yield Figure("bare creation, 16 connections", "1/s", rates, None, note)


def _bare_rate(lab: Lab) -> float:
    services = [load.lone(f"bare-{number}") for number in range(BARE)]
    began = time.monotonic()
    load.create(lab, NAMESPACE, services)
    rate = BARE / (time.monotonic() - began)
    load.delete(lab, NAMESPACE, [service["metadata"]["name"] for service in services])
    return rate


def burst(scene: Burst, say: Say) -> Iterator[Figure]:
    """All at once, as fast as 16 connections create them."""
    lab = scene.lab
    if not lab.controllers:
        stage.start(lab)
    stage.wait_calm(lab, 20, say)
    services = [load.lone(f"burst-{number}") for number in range(BURST)]
    before = _cpu(lab)
    with load.StatusWatch(lab, NAMESPACE) as watch:
        asked = load.create(lab, NAMESPACE, services)
        say(f"created in {max(asked.values()) - min(asked.values()):.1f} s")
        scene.filled = watch.wait(BURST, PATIENCE)
        used = {name: seconds - before[name] for name, seconds in _cpu(lab).items()}
        seen, duplicates = dict(watch.seen), watch.duplicates()
    if not seen:
        raise LabError("no Service got an address")
    yield from _burst_figures(asked, seen, scene.rate)
    yield Figure("addresses given twice", "", (float(duplicates),), Budget(0))
    for name, seconds in used.items():
        yield Figure(f"CPU of {name} meanwhile, by Service", "ms", (1000 * seconds / len(seen),))
    if not scene.filled:
        raise LabError(f"{BURST - len(seen)} of {BURST} Services have no address after {PATIENCE:g} s")


def _burst_figures(asked: Mapping[str, float], seen: Mapping[str, float], bare: float) -> Iterator[Figure]:
    rate = len(seen) / (max(seen.values()) - min(asked.values()))
    at_least = REFERENCE_BURST * (bare or REFERENCE_RATE) / REFERENCE_RATE
    share = f"{rate / bare:.2f} of bare creation" if bare else "bare creation was not measured"
    yield Figure("addresses in status", "1/s", (rate,), Budget(at_least, at_least=True), share)
    yield Figure("created → address in status", "s", _delays(asked, seen), Budget(5.0, At.P99))


def _delays(asked: Mapping[str, float], seen: Mapping[str, float]) -> tuple[float, ...]:
    """From the sending of the creation to the sight of the address."""
    return tuple(moment - asked[name] for name, moment in seen.items())


def _cpu(lab: Lab) -> dict[str, float]:
    """Seconds of CPU so far."""
    parts: dict[str, list[Process]] = {
        "the controller": [lab.controllers["a"]],
        "an agent (mean)": [*lab.agents.values()],
        "the API server": [lab.control.processes["kube-apiserver"]],
    }
    return {name: sum(process.cpu() for process in found) / len(found) for name, found in parts.items()}


def fill(scene: Burst, say: Say) -> None:
    """Make the Services of a burst for their own sake: a row that needs them may be asked for by itself."""
    for _ in burst(scene, say):
        continue


def memory(scene: Burst, say: Say) -> Iterator[Figure]:
    """Of the programs when there are 1,000 VIPs, all of them announced."""
    lab = scene.lab
    if not scene.filled:
        fill(scene, say)
    stage.wait_announced(lab, BURST, 90)
    agents = tuple(process.memory() / MEGABYTE for process in lab.agents.values())
    yield Figure("agent, PSS", "MB", agents, Budget(100))
    yield Figure("agent, RSS", "MB", tuple(stage.resident(process) / MEGABYTE for process in lab.agents.values()))
    yield Figure("controller, PSS", "MB", (lab.controllers["a"].memory() / MEGABYTE,))


def first_reply(lab: Lab, say: Say, *, count: int = COUNT) -> Iterator[Figure]:
    """One Service after another; each asks for an address that an observer has been asking for already."""
    stage.wait_calm(lab, 20, say)
    found: list[float] = []
    names = [f"reply-{number}" for number in range(count)]
    with load.StatusWatch(lab, NAMESPACE) as watch:
        for number, name in enumerate(names):
            address = f"10.60.0.{FIRST + number}"
            with lab.ask(address, every=ASK_EVERY) as asks:
                asks.report(address)  # it asks
                lab.api("POST", load.path(NAMESPACE), load.service(name, {ADDRESSES: address}))
                if not watch.wait(number + 1, 20):
                    raise LabError(f"{name} has no address after 20 s")
                found.append(_first_answer(asks, address) - watch.seen[name])
    early, slowest = sum(seconds < 0 for seconds in found), found.index(max(found)) + 1
    note = f"asked every {1000 * ASK_EVERY:g} ms; the slowest was number {slowest}" + (
        f"; {early} answered before the watch showed the status, which count as 0" if early else ""
    )
    values = tuple(1000 * max(0.0, seconds) for seconds in found)
    yield Figure("address in status → first ARP reply", "ms", values, Budget(50), note)
    load.delete(lab, NAMESPACE, names)


def _first_answer(asks: AskProbe, address: str) -> float:
    answers = wait_for(f"{address} answers ARP", lambda: asks.report(address).answers, 20, every=0.05)
    return answers[0][0]


def paced(lab: Lab, say: Say, *, full: bool) -> Iterator[Figure]:
    """Twenty a second."""
    stage.wait_calm(lab, 20, say)
    count = PACED_FULL if full else PACED
    services = [load.lone(f"paced-{number}") for number in range(count)]
    with load.StatusWatch(lab, NAMESPACE) as watch:
        asked = load.create(lab, NAMESPACE, services, rate=PACE)
        complete = watch.wait(count, 20)
        seen, duplicates = dict(watch.seen), watch.duplicates()
    values = _delays(asked, {name: moment for name, moment in seen.items() if name in asked})
    yield Figure("created → address in status", "s", values, Budget(0.5, At.P99), f"{count} Services at {PACE:g}/s")
    yield Figure("addresses given twice", "", (float(duplicates),), Budget(0))
    if not complete:
        raise LabError(f"{count - len(seen)} of {count} Services have no address 20 s after the last was created")
