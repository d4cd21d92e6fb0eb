"""Labs that rows are measured on: Roost running, backends ready, everybody seated; and waiting until it is calm."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.api import Json
from lab.bench.load import make_namespace
from lab.cluster import Lab
from lab.programs import SEGMENT
from lab.run import Process, memory_of, wait_for

AGENTS = "/apis/roost.dev/v1alpha1/nodeagents"
NAMESPACE = "bench"
CALM = 0.25  # of a core: what control plane and kube-proxies use when nothing happens, and some more
BATCH = 4  # agents that start at a time: each costs a second of CPU


def pool(*addresses: str) -> dict[str, object]:
    return {
        "apiVersion": "roost.dev/v1alpha1",
        "kind": "AddressPool",
        "metadata": {"name": "bench"},
        "spec": {"addresses": list(addresses)},
    }


@contextmanager
def bare(nodes: int, *addresses: str, witnesses: bool = True) -> Iterator[Lab]:
    """A cluster with Roost's types and policies, a pool, a namespace and a backend, but none of Roost's programs."""
    with Lab(nodes=nodes, witnesses=witnesses) as lab:
        lab.install()
        lab.apply(pool(*addresses))
        make_namespace(lab, NAMESPACE)
        wait_for(
            "the namespace has its account",
            lambda: lab.admin.find(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"),
        )
        for number in range(1, min(nodes, 3) + 1):
            lab.add_backend(f"web-{number}", f"n{number}", namespace=NAMESPACE)
        yield lab


def start(lab: Lab) -> None:
    """Start controller and agents, and wait until every agent is seated."""
    lab.start_controller()
    names = list(lab.nodes)
    for first in range(0, len(names), BATCH):
        for name in names[first : first + BATCH]:
            lab.start_agent(name)
        wait_seated(lab, first + len(names[first : first + BATCH]))
    lab.wait_for_mode()


def wait_seated(lab: Lab, count: int = 0, seconds: float = 45) -> None:
    """Wait until *count* agents (all) have a live seat that may hold VIPs."""
    wanted = count or len(lab.nodes)
    programs = [*lab.agents.values(), *lab.controllers.values()]

    def seated() -> bool:
        table: Json = lab.admin.find(SEGMENT) or {}
        seats = table.get("status", {}).get("seats", [])
        live: int = sum(seat["state"] == "Live" and seat.get("eligible", False) for seat in seats)
        return live >= wanted

    wait_for(f"{wanted} agents are seated", seated, seconds, alive=programs, every=0.1)


def maintenance(lab: Lab, node: str, word: str) -> None:
    """Set the switch that an operator has: None, Drain or Exclude."""
    lab.api("PATCH", f"{AGENTS}/{node}", {"spec": {"maintenance": word}})


def announced(lab: Lab) -> int:
    """How many VIPs the agents say they announce."""
    return sum(int(agent.get("status", {}).get("vips", {}).get("announced", 0)) for agent in lab.admin.items(AGENTS))


def wait_announced(lab: Lab, count: int, seconds: float) -> None:
    wait_for(f"{count} VIPs are announced", lambda: announced(lab) >= count, seconds, every=0.5)


def wait_calm(lab: Lab, seconds: float, say: Callable[[str], None], *, programs: list[Process] | None = None) -> bool:
    """Wait until the cluster's own programs are idle; False (and a word about it) if they are not after *seconds*."""
    watched = programs if programs is not None else lab.processes()
    deadline = time.monotonic() + seconds
    used = 0.0
    while time.monotonic() < deadline:
        before, began = _cpu(watched), time.monotonic()
        time.sleep(1)
        used = (_cpu(watched) - before) / (time.monotonic() - began)
        if used < CALM + 0.02 * len(lab.nodes):
            return True
    say(f"not calm after {seconds:g} s: the cluster uses {used:.2f} cores")
    return False


def _cpu(processes: list[Process]) -> float:
    return sum(process.cpu() for process in processes if process.running)


def resident(process: Process) -> int:
    """Bytes of memory that it has with all below it, what they share with others included (RSS, proc(5))."""
    return sum(memory_of(pid, "Rss") for pid in process.pids())
