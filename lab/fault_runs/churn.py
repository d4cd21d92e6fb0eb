"""Services that come and go by the dozen, and programs that are killed amid them."""

from collections.abc import Sequence
from functools import partial
from urllib.error import HTTPError

from lab.api import Json
from lab.cluster import Lab
from lab.fault_runs.leftovers import AGENT_PORT, upkeep
from lab.fault_runs.scene import NODEAGENTS, VIRTUALIPS, pool, seated, service, wait_for_lists
from lab.run import wait_for

SERVICES = "/api/v1/namespaces/default/services"
BATCH = 20  # Services that exist at a time
KINDS: tuple[Json, ...] = (  # of Services, in turn
    {"families": (4,)},
    {"families": (6,)},
    {"families": (4, 6)},
    {"families": (6, 4), "externalTrafficPolicy": "Local"},
    {"families": (4,), "externalTrafficPolicy": "Local"},
    {"families": (4, 6), "selector": {"app": "nobody"}},
)


def create(lab: Lab, names: Sequence[str]) -> None:
    """Make a Service for each of *names*, of all kinds in turn, and wait until each has its addresses."""
    for number, name in enumerate(names):
        lab.api("POST", SERVICES, service(name, **KINDS[number % len(KINDS)]))
    wait_for(f"{len(names)} Services have addresses", partial(_have_addresses, lab, names), 60, every=0.1)


def _have_addresses(lab: Lab, names: Sequence[str]) -> bool:
    found = {one["metadata"]["name"]: one for one in lab.admin.items(SERVICES)}
    return all(
        len(found[name]["status"].get("loadBalancer", {}).get("ingress", [])) == len(found[name]["spec"]["ipFamilies"])
        for name in names
    )


def announced(lab: Lab) -> bool:
    """Whether every VIP that has endpoints is said to be announced."""
    conditions = [
        {one["type"]: one for one in vip.get("status", {}).get("conditions", [])} for vip in lab.admin.items(VIRTUALIPS)
    ]
    return any(one.get("Ready", {}).get("status") == "True" for one in conditions)


def delete(lab: Lab, names: Sequence[str]) -> None:
    """Delete the Services *names*, and wait until they are gone."""
    request_deletion(lab, names)
    wait_until_gone(lab, names)


def request_deletion(lab: Lab, names: Sequence[str]) -> None:
    for name in names:
        lab.api("DELETE", f"{SERVICES}/{name}")


def wait_until_gone(lab: Lab, names: Sequence[str]) -> None:
    def gone() -> bool:
        return not {one["metadata"]["name"] for one in lab.admin.items(SERVICES)} & set(names)

    wait_for(f"{len(names)} Services are gone", gone, 60, every=0.1)


def cycle(lab: Lab, cycles: int) -> None:
    """Create and delete *cycles* Services, BATCH at a time; half of the names come again, half are new."""
    for first in range(0, cycles, BATCH):
        count = min(BATCH, cycles - first)
        names = [f"again-{n}" if n % 2 else f"new-{first + n}" for n in range(count)]
        create(lab, names)
        wait_for("VIPs are announced", lambda: announced(lab), every=0.1)
        delete(lab, names)


def start(lab: Lab, *, rest: float) -> None:
    """Start both programs with a pool but no Service, and wait until every node is seated and idle."""
    wait_for_lists(lab)
    lab.apply(pool("10.60.0.100-10.60.0.249", "fd60::1:0/112"))
    start_programs(lab, rest=rest)


def start_programs(lab: Lab, *, rest: float) -> None:
    lab.start_controller("a", f"--rest-seconds={rest:g}")
    for node in lab.nodes:
        lab.start_agent(node)
    alive = (*lab.agents.values(), *lab.controllers.values())
    wait_for("every node is seated", lambda: len(seated(lab)) == len(lab.nodes), alive=alive, every=0.1)
    lab.wait_for_mode()
    for node in lab.nodes:
        wait_for(f"the agent on {node} is ready", partial(_ready, lab, node, AGENT_PORT), alive=alive, every=0.1)
    wait_for("all say how many tasks they have", partial(_all_count, lab), alive=alive, every=0.5)
    wait_for("a controller is ready", lambda: _ready(lab, "control", lab.health_port()), alive=alive, every=0.1)


def exclude(lab: Lab) -> None:
    """What an uninstallation does first: an agent that is asked to stop then does not rest, but leaves."""
    for node in lab.nodes:
        lab.api("PATCH", f"{NODEAGENTS}/{node}", {"spec": {"maintenance": "Exclude"}})


def _ready(lab: Lab, where: str, port: int) -> bool:
    try:
        lab.fetch(where, f"http://127.0.0.1:{port}/readyz")
    except HTTPError as error:
        error.close()  # 503: not yet
        return False
    except OSError:
        return False
    return True


def _all_count(lab: Lab) -> bool:
    return all(one.tasks for one in upkeep(lab).values())


def kill_everything_amid_services(lab: Lab, *, rest: float) -> None:
    """SIGKILL all of Roost while it serves; its Services are deleted meanwhile; start all of it again."""
    names = [f"killed-{n}" for n in range(BATCH)]
    create(lab, names)
    wait_for("VIPs are announced", lambda: announced(lab), every=0.1)
    for process in (*lab.agents.values(), *lab.controllers.values()):
        process.sigkill()
    request_deletion(lab, names)
    start_programs(lab, rest=rest)
    wait_until_gone(lab, names)
