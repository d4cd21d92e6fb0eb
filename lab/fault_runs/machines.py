"""Verbs of faults: what is done to programs and to whole nodes."""

import signal
import time
from functools import partial
from urllib.error import HTTPError

from lab.fault_runs.leftovers import AGENT_PORT
from lab.fault_runs.scene import NODEAGENTS, Scene
from lab.run import LabError, wait_for

STOPPED = 20.0  # seconds that a program which was asked to stop may take
RESTART = 2.0  # seconds between the end of a container and the next, in a rollout
READY = 30.0  # seconds until it is ready, at most
GATE = ("netdev", "roost")  # the agent's table in nftables


def power_off(scene: Scene, node: str) -> None:
    scene.lab.power_off(node)


def power_on(scene: Scene, node: str) -> None:
    scene.lab.power_on(node)
    scene.lab.wait_for_proxies(node)


def power_on_as_another(scene: Scene, node: str) -> None:
    """Another machine comes up under the name."""
    scene.lab.another_machine(node)
    power_on(scene, node)


def all_power_off(scene: Scene, _node: str) -> None:
    for node in scene.lab.nodes:
        scene.lab.power_off(node)


def all_power_on(scene: Scene, _node: str) -> None:
    for node in scene.lab.nodes:
        scene.lab.power_on(node)
    scene.lab.wait_for_proxies()


def power_off_with_witnesses(count: int, scene: Scene, node: str) -> None:
    """*node* and *count* of its witnesses at once (leased: of the other nodes)."""
    seat = next(seat for seat in scene.lab.seats() if seat["node"] == node)
    others = [*seat.get("witnesses", []), *(name for name in scene.lab.nodes if name != node)]
    scene.also = list(dict.fromkeys(others))[:count]
    for name in (node, *scene.also):
        scene.lab.power_off(name)


def power_off_with_one(scene: Scene, node: str) -> None:
    power_off_with_witnesses(1, scene, node)


def power_off_with_two(scene: Scene, node: str) -> None:
    power_off_with_witnesses(2, scene, node)


def power_on_with_witnesses(scene: Scene, node: str) -> None:
    for name in (node, *scene.also):
        scene.lab.power_on(name)
    scene.lab.wait_for_proxies(node, *scene.also)


# -- the two processes of a node


def agent_sigkill(scene: Scene, node: str) -> None:
    scene.lab.agents[node].agent_signal(signal.SIGKILL)


def agent_sigstop(scene: Scene, node: str) -> None:
    scene.lab.agents[node].agent_signal(signal.SIGSTOP)


def agent_sigcont(scene: Scene, node: str) -> None:
    scene.lab.agents[node].agent_signal(signal.SIGCONT)


def pulse_sigkill(scene: Scene, node: str) -> None:
    scene.lab.agents[node].signal(signal.SIGKILL)


def pulse_sigstop(scene: Scene, node: str) -> None:
    scene.lab.agents[node].signal(signal.SIGSTOP)


def pulse_sigcont(scene: Scene, node: str) -> None:
    scene.lab.agents[node].signal(signal.SIGCONT)


def container_sigterm(scene: Scene, node: str) -> None:
    scene.lab.agents[node].sigterm()


def container_freeze(scene: Scene, node: str) -> None:
    scene.lab.agents[node].sigstop()


def container_thaw(scene: Scene, node: str) -> None:
    scene.lab.agents[node].sigcont()


def container_start(scene: Scene, node: str) -> None:
    """Start it again, after its forerunner has ended."""
    _wait_for_end(scene, node)
    scene.lab.start_agent(node)


def _wait_for_end(scene: Scene, node: str) -> None:
    wait_for(f"the agent on {node} has ended", lambda: not scene.lab.agents[node].running, STOPPED)


def second_agent(scene: Scene, node: str) -> None:
    """Start another agent on the node, and see that it refuses to run. Raises LabError if it does not."""
    second = scene.lab.second_agent(node)
    if second.wait(READY) == 0:
        raise LabError(f"a second agent on {node} ended as if all was well:\n{second.tail()}")


def rollout(scene: Scene, _node: str) -> None:
    """What a DaemonSet does with a new version: one node after the other, each ready before the next."""
    for node in scene.lab.nodes:
        container_sigterm(scene, node)
        _wait_for_end(scene, node)
        time.sleep(RESTART)
        agent = scene.lab.start_agent(node)
        wait_for(f"the agent on {node} is ready", partial(_ready, scene, node), READY, alive=[agent], every=0.2)


def _ready(scene: Scene, node: str) -> bool:
    try:
        scene.lab.fetch(node, f"http://127.0.0.1:{AGENT_PORT}/readyz")
    except HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
    return True


# -- what an operator asks for


def maintenance(word: str, scene: Scene, node: str) -> None:
    scene.lab.api("PATCH", f"{NODEAGENTS}/{node}", {"spec": {"maintenance": word}})


def drain(scene: Scene, node: str) -> None:
    maintenance("Drain", scene, node)


def undrain(scene: Scene, node: str) -> None:
    maintenance("None", scene, node)


def exclude_and_stop(scene: Scene, node: str) -> None:
    maintenance("Exclude", scene, node)
    container_sigterm(scene, node)


def include_and_start(scene: Scene, node: str) -> None:
    undrain(scene, node)
    container_start(scene, node)


def nothing_of_ours(scene: Scene, node: str) -> list[str]:
    """What an agent that was excluded and stopped has left on its node."""
    addresses = scene.lab.run_in(node, "ip", "address")
    found = [f"{vip} is still on {node}" for vip in scene.addresses if f" {vip}/" in addresses]
    if " ".join(("table", *GATE)) in scene.lab.run_in(node, "nft", "list", "tables"):
        found.append(f"the gate still stands on {node}")
    return found


def gate_deleted(scene: Scene, node: str) -> None:
    scene.lab.run_in(node, "nft", "delete", "table", *GATE)


# -- the controller, and everything


def controller_sigkill(scene: Scene, _node: str) -> None:
    scene.lab.controllers["a"].sigkill()


def controller_start(scene: Scene, _node: str) -> None:
    scene.lab.start_controller("a")


def everything_sigkill(scene: Scene, _node: str) -> None:
    for process in (*scene.lab.agents.values(), *scene.lab.controllers.values()):
        process.sigkill()


def everything_start(scene: Scene, _node: str) -> None:
    for node in scene.lab.nodes:
        scene.lab.start_agent(node)
    scene.lab.start_controller("a")
