"""Whether a VIP that is announced is reached, and whether a stranger claims it too: what the nodes say of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from roost.kube.wire import AgentVIPs, NodeAgent, VIPConflict, VIPException, VIPUnreachable
from roost.words import Reason


@dataclass(frozen=True, slots=True)
class Reach:
    """Of condition Reachable: True, False, Unknown; and why."""

    status: str
    reason: Reason
    message: str


NOT_ANNOUNCED = Reach("Unknown", Reason.NOT_PROBED, "nobody announces it")


def reach(address: str, holder: str, others: Iterable[str], agents: Mapping[str, NodeAgent]) -> Reach:
    """What the *others* that live on the holder's segment found.

    The node next in line asks for a VIP and reports only what does not answer, so silence of a node that probes is
    good news. A node that probes nothing says nothing.
    """
    probing = False
    for node in sorted(others):
        said = vips(agents.get(node))
        missed = next((row for row in said.unreachable if row.vip == address), None)
        if missed is not None:
            told = f"{address} is announced by {holder}, but {node} gets no answer"
            return Reach("False", Reason.NOT_REACHABLE, f"{told}: {missed.message}" if missed.message else told)
        probing = probing or said.probed > 0
    if probing:
        return Reach("True", Reason.PROBE_ANSWERED, f"{address} answers the node next in line")
    return Reach("Unknown", Reason.NOT_PROBED, f"no other node probes {address}")


def conflict(address: str, live: Iterable[str], agents: Mapping[str, NodeAgent]) -> str:
    """Which station that is no seat of ours claims *address* too, in a sentence; "" if none does."""
    for node in sorted(live):
        said = vips(agents.get(node))
        for row in said.conflicts:
            if row.vip == address:
                return f"{address} is also claimed by {row.mac}"
        for exception in said.exceptions:
            if exception.vip == address and exception.reason == Reason.ADDRESS_CONFLICT:
                return exception.message or f"{address} is also claimed by another station"
    return ""


def vips(agent: NodeAgent | None) -> AgentVIPs:
    """What a node says of VIPs."""
    return agent.status.vips or AgentVIPs() if agent else AgentVIPs()


def changed_vips(before: NodeAgent | None, after: NodeAgent | None) -> frozenset[str]:
    """The addresses about which a node says something else than before."""
    return frozenset(row.vip for row in _rows(before) ^ _rows(after))


def probing_changed(before: NodeAgent | None, after: NodeAgent | None) -> bool:
    """Whether a node began to probe, or ceased to: that concerns every VIP that others hold."""
    return bool(vips(before).probed) is not bool(vips(after).probed)


def _rows(agent: NodeAgent | None) -> set[VIPException | VIPConflict | VIPUnreachable]:
    said = vips(agent)
    return {*said.exceptions, *said.conflicts, *said.unreachable}
