"""VIPs by BGP: from the Service to the router's table, a node's death, and what else may break on the way."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from ipaddress import ip_network

from lab import routed
from lab.bench import load, stage
from lab.bench.figures import Budget, Figure
from lab.routed import FAULTS, Scene, Seen, Way
from lab.routers.mrt import State, Watch
from lab.run import LabError, wait_for

Say = Callable[[str], None]

NAMESPACE = "default"  # where the scene's endpoints are
SERVICES = 20
PATIENCE = 30.0  # seconds for one Service
NAMED = 3  # wrong paths that a note names
OUR_FAULTS = [name for name in FAULTS if name != "power-off"]
BARE_FAULTS = ["gobgpd-sigkill", "pod-restart", "router-restart"]  # those that graceful restart is for


def lasting() -> AbstractContextManager[Scene]:
    """GoBGP 4, graceful restart, BFD three times 100 ms."""
    return routed.scene(Way(version=4, restart=30, bfd=True))


def held() -> AbstractContextManager[Scene]:
    """GoBGP 4, graceful restart, a hold timer of 9 s and nothing faster."""
    return routed.scene(Way(version=4, restart=30, hold=9))


def bare() -> AbstractContextManager[Scene]:
    """GoBGP 3, neither graceful restart nor BFD."""
    return routed.scene(Way(version=3, restart=0))


# -- from the Service to the router ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moments:
    """When what became of one Service; seconds since 1970."""

    created: float
    address: float  # in the status
    first: float  # the router is told by one node
    last: float  # and by all
    deleted: float
    withdrawn: float  # by all


def told_by(states: Iterable[State], count: int, since: float) -> float | None:
    """When *count* neighbours announced it for the first time since then; None: they have not yet."""
    return next((state.time for state in states if state.time >= since and len(state.paths) >= count), None)


def silent_since(states: Sequence[State]) -> float | None:
    """When the last neighbour ceased to announce it, by a withdrawal or with its session; None: some still do."""
    if not states or states[-1].paths:
        return None
    spoken = max((at for at, state in enumerate(states) if state.paths), default=-1)
    return states[min(spoken + 1, len(states) - 1)].time


def announce(scene: Scene, say: Say, *, count: int = SERVICES) -> Iterator[Figure]:
    """One Service after the other."""
    lab = scene.lab
    stage.wait_calm(lab, 20, say)
    with load.StatusWatch(lab, NAMESPACE) as status, scene.router.watch() as watch:
        found = [_one_service(scene, f"near-{number}", status, watch) for number in range(count)]
    nodes = len(lab.nodes)
    note = f"{count} Services one after the other, {nodes} nodes; the moment at which the UPDATE reaches the router"
    yield Figure("created → first path at the router", "ms", _ms(m.first - m.created for m in found), None, note)
    yield Figure(f"created → paths of all {nodes} nodes", "ms", _ms(m.last - m.created for m in found))
    early = sum(m.first < m.address for m in found)
    seen = f"{early} were there before the watch showed the status, which count as 0" if early else ""
    yield Figure("address in status → first path", "ms", _ms(m.first - m.address for m in found), None, seen)
    yield Figure("address in status → paths of all", "ms", _ms(m.last - m.address for m in found))
    yield Figure("deleted → withdrawn by all", "ms", _ms(m.withdrawn - m.deleted for m in found))


def _ms(seconds: Iterable[float]) -> tuple[float, ...]:
    return tuple(1000 * max(0.0, one) for one in seconds)


def _one_service(scene: Scene, name: str, status: load.StatusWatch, watch: Watch) -> Moments:
    lab, nodes = scene.lab, len(scene.lab.nodes)
    created = time.time()
    lab.api("POST", load.path(NAMESPACE), load.service(name))
    wait_for(f"{name} has an address", lambda: name in status.seen, PATIENCE, every=0.005)
    prefix = ip_network(next(iter(status.addresses[name])))
    last = wait_for(f"{prefix} is announced by all", lambda: told_by(watch.states(prefix), nodes, created), PATIENCE)
    first = told_by(watch.states(prefix), 1, created)
    deleted = time.time()
    lab.api("DELETE", load.path(NAMESPACE, name))
    gone = wait_for(f"{prefix} is withdrawn by all", lambda: silent_since(watch.states(prefix)), PATIENCE)
    return Moments(created, status.seen[name], first or last, last, deleted, gone)


# -- faults ------------------------------------------------------------------------------------------------------------


def death(scene: Scene, runs: int, say: Say) -> Iterator[Figure]:
    """A node loses power."""
    struck: list[float] = []
    fault = FAULTS["power-off"]

    def strike(at: Scene, node: str) -> None:
        struck.append(time.time())
        fault.strike(at, node)

    found: list[Seen] = []
    noticed: list[float] = []
    try:
        for number in range(1, runs + 1):
            with scene.router.watch() as watch:
                found.append(routed.run_once(scene, replace(fault, strike=strike)))
            down = [one.time for one in watch.changes if one.prefix is None and not one.up and one.time > struck[-1]]
            noticed += [min(down) - struck[-1]] if down else []
            say(f"run {number} of {runs}: {_words(found[-1])}")
    except LabError:
        yield from _of_death(found, noticed)
        raise
    yield from _of_death(found, noticed)


def _of_death(found: Sequence[Seen], noticed: Sequence[float]) -> Iterator[Figure]:
    if noticed:
        yield Figure("power-off → the router ends the first of the node's sessions", "s", tuple(noticed))
    yield from figures("power-off", found)


def faults(scene: Scene, names: Sequence[str], runs: int, say: Say) -> Iterator[Figure]:
    """Each of these faults so often; what was seen before a failure counts."""
    for name in names:
        found: list[Seen] = []
        try:
            for number in range(1, runs + 1):
                found.append(routed.run_once(scene, FAULTS[name]))
                say(f"{name}, run {number} of {runs}: {_words(found[-1])}")
        except LabError as error:
            yield from figures(name, found)
            raise LabError(f"{name}: {error}") from error
        yield from figures(name, found)


def figures(name: str, found: Sequence[Seen]) -> Iterator[Figure]:
    """Of one fault; of one that was never seen to its end there are none."""
    if not found:
        return
    yield Figure(f"{name}: first to last connection that failed", "s", tuple(one.trouble for one in found))
    yield Figure(f"{name}: longest without a success", "s", tuple(one.gap for one in found))
    yield Figure(f"{name}: connections that failed", "", tuple(float(one.failed) for one in found))
    yield Figure(f"{name}: sessions that went down", "", tuple(float(one.resets) for one in found))
    wrong = sorted({path for one in found for path in one.wrong})
    counts = tuple(float(len(one.wrong)) for one in found)
    yield Figure(f"{name}: wrong paths at the router", "", counts, Budget(0), "; ".join(wrong[:NAMED]))


def _words(seen: Seen) -> str:
    wrong = f", {len(seen.wrong)} WRONG" if seen.wrong else ""
    return f"trouble {seen.trouble:.2f} s, {seen.failed} failed, gap {seen.gap:.2f} s, {seen.resets} resets{wrong}"
