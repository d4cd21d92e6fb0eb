"""The node that has a thousand VIPs loses power: how long until the last of them answers elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

from lab.bench import stage
from lab.bench.figures import At, Budget, Figure
from lab.bench.giving import BURST, Burst, fill
from lab.cluster import Lab
from lab.fault_runs.holders import holders
from lab.probes import ClaimProbe
from lab.programs import AGENT, SEGMENT
from lab.run import wait_for

Say = Callable[[str], None]

DEAD = "n1"
GATHERED, MOVED = 60.0, 60.0  # seconds until one node has all, and until all are elsewhere
QUIET = 5.0  # seconds between the last move and the fault: announcements and reports come to rest
WRITES = ("create", "update", "patch", "delete")


def gather(lab: Lab, node: str) -> None:
    """Let *node* hold everything: the others are drained for a while, and holders stick. Raises LabError."""
    others = [name for name in lab.nodes if name != node]

    def all_there() -> bool:
        return set(holders(lab.api("GET", SEGMENT)).values()) == {node}

    for name in others:
        stage.maintenance(lab, name, "Drain")
    wait_for(f"{node} holds every group", all_there, GATHERED, every=0.2)
    for name in others:
        stage.maintenance(lab, name, "None")
    stage.wait_seated(lab)


def measure(scene: Burst, say: Say) -> Iterator[Figure]:
    """Cut the power of the node that holds all, and hear when each VIP is claimed by another."""
    lab = scene.lab
    if not scene.filled:
        fill(scene, say)
    stage.wait_announced(lab, BURST, 90)
    gather(lab, DEAD)
    say(f"{DEAD} holds every VIP")
    with lab.claims() as claims:
        stage.wait_calm(lab, 40, say)
        time.sleep(QUIET)
        meter, struck = lab.api_requests(), time.time()
        lab.power_off(DEAD)
        wait_for("every VIP is claimed elsewhere", lambda: len(_firsts(claims, struck)) >= BURST, MOVED, every=0.5)
        firsts = _firsts(claims, struck)
        two = claims.recording(struck - QUIET).seconds_with_two()
    last = max(firsts.values())
    written = [request.resource for moment, request in meter.log(AGENT) if _is_write(request.verb) and moment < last]
    lab.power_on(DEAD)
    lab.wait_for_proxies(DEAD)
    stage.wait_seated(lab)
    delays = tuple(moment - struck for moment in firsts.values())
    note = f"{len(firsts)} VIPs, each from the loss of power to its first claim by another node"
    yield Figure("VIP claimed elsewhere", "s", delays, Budget(1.0, At.P99), note)
    yield Figure("first VIP claimed elsewhere", "s", (min(delays),))
    yield Figure("last VIP claimed elsewhere", "s", (max(delays),), None, "announced at 2,000 a second")
    said = ", ".join(f"{times} {what}" for what, times in Counter(written).most_common()) or "none"
    yield Figure("API writes of agents before the last VIP answered", "", (float(len(written)),), Budget(5), said)
    yield Figure("two claimants", "s", (two,), Budget(0))


def _is_write(verb: str) -> bool:
    return verb in WRITES


def _firsts(claims: ClaimProbe, since: float) -> dict[str, float]:
    """When each VIP of the burst was first claimed by another than the dead node."""
    found: dict[str, float] = {}
    for claim in claims.recording(since).claims:
        if str(claim.vip).startswith("10.61.") and claim.port != f"{DEAD}-data":
            found.setdefault(str(claim.vip), claim.time)
    return found
