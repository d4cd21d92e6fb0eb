"""The faults as data: what is done to whom and when, how it is mended, and what Roost promises meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lab.fault_runs.scene import LEASES, Scene
from lab.run import wait_for

GATE = ("netdev", "roost")  # the agent's table in nftables
STOPPED = 15.0  # seconds that a program which was asked to stop may take

Verb = Callable[[Scene, str], None]  # done to the lab, and to the node that held the VIPs when the fault began


class After(Enum):
    """Who may hold the VIPs after the fault."""

    SAME = "the same node"
    OTHER = "another node"
    ANY = "any one node"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Times in seconds; *gap* and *within* are the promises, None where none is made."""

    name: str
    title: str
    script: tuple[tuple[float, Verb], ...]  # (seconds after the beginning, what is done)
    after: After
    gap: float | None = None  # longest time without a connection, of a client that knows the MAC
    within: float | None = None  # until another holder claims
    watch: float = 3.0  # looked at for at least that long
    mend: Verb | None = None
    further: bool = False  # looked at beside the faults that the first promises are about
    note: str = ""  # what else the figures are made of


def power_off(scene: Scene, node: str) -> None:
    scene.lab.power_off(node)


def power_on(scene: Scene, node: str) -> None:
    scene.lab.power_on(node)
    scene.lab.wait_for_proxies(node)


def link_down(scene: Scene, node: str) -> None:
    scene.lab.link_down(node)


def link_down_at_the_node(scene: Scene, node: str) -> None:
    scene.lab.link_down(node, side="node")


def link_up(scene: Scene, node: str) -> None:
    scene.lab.link_up(node)


def link_up_at_the_node(scene: Scene, node: str) -> None:
    scene.lab.link_up(node, side="node")


def agent_sigkill(scene: Scene, node: str) -> None:
    scene.lab.agents[node].sigkill()


def agent_sigterm(scene: Scene, node: str) -> None:
    scene.lab.agents[node].sigterm()


def agent_sigstop(scene: Scene, node: str) -> None:
    scene.lab.agents[node].sigstop()


def agent_sigcont(scene: Scene, node: str) -> None:
    scene.lab.agents[node].sigcont()


def agent_start(scene: Scene, node: str) -> None:
    """Start the agent again, after its forerunner has ended."""
    wait_for("the former agent has ended", lambda: not scene.lab.agents[node].running, STOPPED)
    scene.lab.start_agent(node)


def api_cut(scene: Scene, node: str) -> None:
    scene.lab.api_cut(node)


def api_heal(scene: Scene, node: str) -> None:
    scene.lab.api_heal(node)


def api_hangs(scene: Scene, _node: str) -> None:
    scene.lab.api_outage()


def api_dies(scene: Scene, _node: str) -> None:
    scene.lab.api_outage(kill=True)


def api_back(scene: Scene, _node: str) -> None:
    scene.lab.api_back()


def controller_sigkill(scene: Scene, _node: str) -> None:
    scene.lab.controllers["a"].sigkill()


def controller_start(scene: Scene, _node: str) -> None:
    scene.lab.start_controller("a")


def lease_deleted(scene: Scene, node: str) -> None:
    scene.lab.api("DELETE", f"{LEASES}/{node}")


def gate_deleted(scene: Scene, node: str) -> None:
    scene.lab.run_in(node, "nft", "delete", "table", *GATE)


def everything_sigkill(scene: Scene, _node: str) -> None:
    for process in (*scene.lab.agents.values(), *scene.lab.controllers.values()):
        process.sigkill()


def everything_start(scene: Scene, _node: str) -> None:
    for node in scene.lab.nodes:
        scene.lab.start_agent(node)
    scene.lab.start_controller("a")


FAULTS = (
    Fault("power-off", "the holder loses power", ((0, power_off),), After.OTHER, gap=8, within=8, mend=power_on),
    Fault("link-down", "the holder's data link loses carrier", ((0, link_down),), After.OTHER, gap=3, mend=link_up),
    Fault(
        "agent-killed",
        "the holder's agent is killed (SIGKILL) and not restarted",
        ((0, agent_sigkill),),
        After.OTHER,
        gap=0.1,
        within=9,
        mend=agent_start,
    ),
    Fault(
        "agent-restarted",
        "the holder's agent is killed (SIGKILL) and restarted 2 s later",
        ((0, agent_sigkill), (2, agent_start)),
        After.SAME,
        gap=0.1,
        watch=11,
    ),
    Fault(
        "agent-stopped",
        "the holder's agent is asked to stop (SIGTERM)",
        ((0, agent_sigterm),),
        After.OTHER,
        gap=0.1,
        watch=7,
        mend=agent_start,
    ),
    Fault(
        "link-down-node",
        "the holder's data link is set down at the node",
        ((0, link_down_at_the_node),),
        After.OTHER,
        gap=3,
        mend=link_up_at_the_node,
        further=True,
    ),
    Fault(
        "agent-frozen",
        "the holder's agent is frozen (SIGSTOP) for 12 s and goes on (SIGCONT)",
        ((0, agent_sigstop), (12, agent_sigcont)),
        After.OTHER,
        gap=0.1,
        within=9,
        watch=15,
        further=True,
    ),
    Fault(
        "agent-frozen-short",
        "the holder's agent is frozen (SIGSTOP) for 3 s and goes on (SIGCONT)",
        ((0, agent_sigstop), (3, agent_sigcont)),
        After.SAME,
        gap=0.1,
        watch=11,
        further=True,
    ),
    Fault(
        "api-cut",
        "the holder cannot reach the API server for 15 s",
        ((0, api_cut), (15, api_heal)),
        After.OTHER,
        gap=0.1,
        within=9,
        watch=18,
        further=True,
    ),
    Fault(
        "api-outage",
        "the API server hangs for 20 s",
        ((0, api_hangs), (20, api_back)),
        After.SAME,
        gap=1.5,
        watch=28,
        further=True,
        note="After 10 s (Kubernetes: 50 s) the lab's controller-manager takes nodes for dead. Where it does so before "
        "they report again, there are no ready endpoints, and kube-proxy refuses until its next sync 1 s later.",
    ),
    Fault(
        "api-restart",
        "the API server is killed and started again",
        ((0, api_dies), (0.1, api_back)),
        After.SAME,
        gap=0.1,
        watch=12,
        further=True,
    ),
    Fault(
        "controller-killed",
        "the controller is killed (SIGKILL) and started again 2 s later",
        ((0, controller_sigkill), (2, controller_start)),
        After.SAME,
        gap=0.1,
        watch=6,
        further=True,
    ),
    Fault(
        "lease-deleted",
        "the holder's Lease is deleted",
        ((0, lease_deleted),),
        After.ANY,
        gap=0.1,
        watch=11,
        further=True,
    ),
    Fault(
        "gate-deleted",
        "the holder's table in nftables is deleted",
        ((0, gate_deleted),),
        After.SAME,
        gap=0.1,
        watch=8,
        further=True,
    ),
    Fault(
        "everything-killed",
        "all agents and the controller are killed (SIGKILL) at once and restarted 2 s later",
        ((0, everything_sigkill), (2, everything_start)),
        After.SAME,
        gap=0.1,
        watch=11,
        further=True,
    ),
)
