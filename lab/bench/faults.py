"""One fault, two systems: the node that holds Roost's VIP and keepalived's is struck, and one set of probes watches."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from lab.api import MERGE
from lab.bench import load, stage
from lab.bench.figures import Budget, Figure
from lab.bench.keepalived import ADVERTS, FAST, SLOW, Keepalived
from lab.cluster import Lab
from lab.probes import ClaimProbe, ClientProbe
from lab.run import wait_for

ROOST = "10.60.0.200"
SYSTEMS = {ROOST: "Roost", SLOW: "keepalived, adverts 1 s", FAST: "keepalived, adverts 0.1 s"}
NODES = 3
STEADY = 100  # connections that succeed before a fault: one second
MOVED = 20.0  # seconds that Roost has to move
STAYED = 8.0  # seconds that are watched where it should not
TAIL = 2.0  # seconds that are watched after Roost has moved
RIVALS = 10  # runs with keepalived: its figures hardly differ from one to the next
RETURN = 4.0  # seconds that are watched after a link came back
OTHERS = "lab.roost.dev/keepalived"  # the class of Services that Roost leaves alone


@dataclass(frozen=True, slots=True)
class Seen:
    """What one fault did to one system; all in seconds."""

    gap: float
    silence: float  # without any answer to ARP
    two: float  # with two claimants
    moved: float  # until another node claimed; 0: it never did


@dataclass(slots=True)
class Scene:
    """The lab of the faults."""

    lab: Lab
    rival: Keepalived
    late: float = 0.0  # the most that a client itself was late
    watched: list[float] = field(default_factory=list)  # seconds, per run


@dataclass(frozen=True, slots=True)
class Fault:
    """How to break *holder*, and how to mend it."""

    strike: Callable[[Scene, str], None]
    mend: Callable[[Scene, str], None]
    moves: bool = True  # Roost is to move its VIP
    returns: bool = False  # the mending itself is watched


@contextmanager
def scene(*, witnesses: bool = True, profile: str = "Default") -> Iterator[Scene]:
    """Three nodes, a Service of Roost's, and two whose addresses keepalived has."""
    with stage.bare(NODES, f"{ROOST}-10.60.0.209", witnesses=witnesses) as lab:
        lab.profile(profile)
        lab.api("POST", load.path(stage.NAMESPACE), load.service("roost"))
        for number, address in enumerate(ADVERTS):
            name = f"keepalived-{number}"
            lab.api("POST", load.path(stage.NAMESPACE), load.service(name, loadBalancerClass=OTHERS))
            status = {"status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}}
            lab.api("PATCH", load.path(stage.NAMESPACE, f"{name}/status"), status, kind=MERGE)
        stage.start(lab)
        stage.wait_announced(lab, 1, 20)
        yield Scene(lab, Keepalived(lab))


def _power_off(scene: Scene, node: str) -> None:
    scene.lab.power_off(node)
    scene.rival.running.pop(node, None)


def _power_on(scene: Scene, node: str) -> None:
    scene.lab.power_on(node)
    scene.lab.wait_for_proxies(node)


def _agent_sigkill(scene: Scene, node: str) -> None:
    """Of Roost the agent, as its pulse is made to outlive it; of keepalived both processes."""
    scene.lab.agents[node].agent_signal(signal.SIGKILL)
    scene.rival.sigkill(node)


def _hand_over(scene: Scene, node: str) -> None:
    """Roost's node is drained; keepalived, which knows no draining, is asked to stop (SIGTERM)."""
    stage.maintenance(scene.lab, node, "Drain")
    if node in scene.rival.running:
        scene.rival.running[node].sigterm()


def _nothing(_scene: Scene, _node: str) -> None:
    """Nothing is broken."""


POWER_OFF = Fault(_power_off, _power_on)
LINK_DOWN = Fault(lambda s, node: s.lab.link_down(node), lambda s, node: s.lab.link_up(node), returns=True)
SIGKILL = Fault(_agent_sigkill, _nothing, moves=False)
HAND_OVER = Fault(_hand_over, lambda s, node: stage.maintenance(s.lab, node, "None"))


def run_once(scene: Scene, fault: Fault, *, rival: bool = True) -> dict[str, Seen]:
    """Strike the holder once, watch, mend; what each system (by its VIP) did. *rival*: keepalived runs, too."""
    lab, systems = scene.lab, [*SYSTEMS] if rival else [ROOST]
    with ExitStack() as probes:
        claims = probes.enter_context(lab.claims(systems))
        asks = probes.enter_context(lab.ask(*systems))
        holder = claims.wait_for_holder(ROOST)
        if rival:
            scene.rival.start(holder, claims)
        clients = {address: probes.enter_context(lab.client(address)) for address in systems}
        for client in clients.values():
            client.wait_for_success(count=STEADY)
        struck = time.time()
        fault.strike(scene, holder)
        if fault.moves:
            claims.wait_for_holder(ROOST, other_than=holder, seconds=MOVED)
        else:
            time.sleep(STAYED)
        _wait_for_next_success(clients, time.time())
        time.sleep(TAIL)
        ended = time.time()
        reports = {address: client.report() for address, client in clients.items()}
        scene.late = max(scene.late, *(report.late for report in reports.values()))
        scene.watched.append(ended - struck)
        heard = claims.recording(struck, ended)
        moved = {
            str(claim.vip): claim.time - struck for claim in reversed(heard.claims) if claim.port != f"{holder}-data"
        }
        two = {address: heard.of_vip(address).seconds_with_two() for address in systems}
        silence = {address: asks.report(address).silence(struck, ended) for address in systems}
        fault.mend(scene, holder)
        if fault.returns:
            for address, seconds in _two_after_return(claims, systems, ended).items():
                two[address] += seconds
    scene.rival.stop()
    stage.wait_seated(lab)
    lab.wait_for_mode()
    return {
        address: Seen(reports[address].gap(struck, ended), silence[address], two[address], moved.get(address, 0.0))
        for address in systems
    }


def _wait_for_next_success(clients: dict[str, ClientProbe], after: float) -> None:
    """Wait until each client has connected again, or for good has not."""

    def all_again() -> bool:
        return all((report.successes or (0.0,))[-1] > after for report in (c.report() for c in clients.values()))

    wait_for("every client connects again", all_again, 15, every=0.1)


def _two_after_return(claims: ClaimProbe, systems: Sequence[str], since: float) -> dict[str, float]:
    time.sleep(RETURN)
    heard = claims.recording(since)
    return {address: heard.of_vip(address).seconds_with_two() for address in systems}


def figures(scene: Scene, runs: list[dict[str, Seen]], gap: Budget) -> tuple[Figure, ...]:
    """The figures of a fault: Roost's with their budgets, keepalived's beside them."""
    found = []
    for address, system in SYSTEMS.items():
        ours = address == ROOST
        seen = [run[address] for run in runs if address in run]
        if not seen:
            continue
        found.append(Figure(f"{system}: client's gap", "s", tuple(s.gap for s in seen), gap if ours else None))
        found.append(Figure(f"{system}: no answer to ARP", "s", tuple(s.silence for s in seen)))
        never = sum(s.moved == 0 for s in seen)
        found.append(
            Figure(
                f"{system}: until another claims",
                "s",
                tuple(s.moved for s in seen if s.moved),
                None,
                f"never in {never} of {len(seen)} runs, each watched for {min(scene.watched):.0f} s" if never else "",
            )
        )
        two = tuple(s.two for s in seen)
        watched = f"of the {min(scene.watched):.0f} to {max(scene.watched):.0f} s that were watched" if any(two) else ""
        found.append(Figure(f"{system}: two claimants", "s", two, Budget(0.0) if ours else None, watched))
    found.append(Figure("the client itself late", "s", (scene.late,), None, "a gap below that says nothing"))
    return tuple(found)


def measure(scene: Scene, fault: Fault, runs: int, say: Callable[[str], None]) -> Iterator[dict[str, Seen]]:
    """Run *fault* so often, keepalived beside it in the first runs; say each outcome."""
    scene.watched.clear()
    for number in range(1, runs + 1):
        seen = run_once(scene, fault, rival=number <= RIVALS)
        words = "; ".join(f"{SYSTEMS[vip]} gap {s.gap:.2f} two {s.two:.2f}" for vip, s in seen.items())
        say(f"run {number} of {runs}: {words}")
        yield seen
