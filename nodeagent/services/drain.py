"""Whether a node may take VIPs, and how gladly: by its Node object and its maintenance switch. No I/O."""

from dataclasses import dataclass

from roost import nodes
from roost.kube.wire import Node, NodeAgentSpec
from roost.words import EXCLUDE_LABEL, Reason


@dataclass(frozen=True, slots=True)
class Fitness:
    """How a node takes part, whatever group it is about.

    *leaving*: why it gives what it holds and gets nothing. *excluded*: the label keeps load balancers off it, unless
    the pool wants such nodes too. *last*: it keeps what it holds, and gets more only where no other node may have it.
    """

    leaving: tuple[Reason, str] | None = None
    excluded: bool = False
    last: bool = False

    @property
    def eligible(self) -> bool:
        """Whether the node may hold anything at all."""
        return self.leaving is None

    @property
    def why(self) -> tuple[Reason, str] | None:
        """What there is to report of it; None: it takes part like any other."""
        if self.leaving is None and self.excluded:
            return Reason.EXCLUDED, f"label {EXCLUDE_LABEL}"
        return self.leaving


def fitness(node: Node | None, agent: NodeAgentSpec | None = None) -> Fitness:
    """The fitness of a node by its Node object (None: there is none), and by its NodeAgent's spec where that is known.

    Cordoned (kubectl cordon) is not drained: it is about new Pods, and must not take a VIP away.
    """
    leaving = _maintenance(agent) or _leaving(node)
    if node is None:
        return Fitness(leaving)
    return Fitness(leaving, nodes.excluded(node.metadata.labels), node.spec.unschedulable)


def _maintenance(agent: NodeAgentSpec | None) -> tuple[Reason, str] | None:
    if agent is None or agent.maintenance == "None":
        return None
    reason = Reason.EXCLUDED if agent.maintenance == "Exclude" else Reason.DRAINING
    return reason, f"spec.maintenance is {agent.maintenance}" + (f": {agent.reason}" if agent.reason else "")


def _leaving(node: Node | None) -> tuple[Reason, str] | None:
    why = nodes.leaving(node)
    return (Reason.DRAINING, why) if why else None
