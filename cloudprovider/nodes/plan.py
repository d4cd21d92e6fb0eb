"""Which node Leases belong to nobody: the node is gone, and the Lease is no longer renewed."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from roost.kube.wire import Lease

QUIET = 15.0  # seconds; a running agent renews every 2 s, and more seldom in large clusters (10 s at most)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A Lease without a node, as it was when it was first seen like this."""

    resource_version: str
    since: float


def suspects(
    leases: Iterable[Lease], nodes: Container[str], before: Mapping[str, Suspect], now: float
) -> dict[str, Suspect]:
    """The Leases without a node. One that was renewed since the last look is looked at anew."""
    found: dict[str, Suspect] = {}
    for lease in leases:
        meta = lease.metadata
        if meta.name in nodes or (lease.spec.holder_identity or "") in nodes:  # a further segment's: NODE.SEGMENT
            continue
        known = before.get(meta.name)
        unchanged = known is not None and known.resource_version == meta.resource_version
        found[meta.name] = known if known and unchanged else Suspect(meta.resource_version, now)
    return found


def dead(leases: Iterable[Lease], found: Mapping[str, Suspect], now: float) -> tuple[Lease, ...]:
    """The Leases to delete: without a node, and unchanged for long enough."""
    return tuple(
        lease
        for lease in leases
        if (suspect := found.get(lease.metadata.name)) is not None and now - suspect.since >= QUIET
    )
