"""Whom an uninstall still waits for, as the cluster's objects have it."""

from collections.abc import Iterable

from roost.kube.wire import NodeAgent, Segment

SWITCH = "spec.maintenance is Exclude"  # how an agent says in condition Ready that it has seen the switch


def seated(segments: Iterable[Segment]) -> frozenset[str]:
    """Nodes with a live seat: their kernels may claim VIPs."""
    tables = (segment.status for segment in segments if segment.status is not None)
    return frozenset(seat.node for table in tables for seat in table.seats if seat.state == "Live")


def unaware(agents: Iterable[NodeAgent], segments: Iterable[Segment]) -> frozenset[str]:
    """Nodes with a live seat whose agents have not said yet that they know of their maintenance.

    An agent that is stopped before it knows rests, as in an upgrade, and its kernel claims on.
    """
    aware = {
        agent.metadata.name
        for agent in agents
        if any(said.type == "Ready" and SWITCH in said.message for said in agent.status.conditions)
    }
    return seated(segments) - aware
