"""Reads the cluster's objects, kind by kind, so that one that is forbidden hides no other."""

from kubectl_roost.reading import Reading
from kubectl_roost.status.plan import Snapshot
from roost.kube.client import Kube
from roost.kube.wire import ADDRESSPOOLS, NODEAGENTS, SEGMENTS, SERVICES, VIRTUALIPS
from roost.kube.wire_bgp import BGPPEERS


async def read(kube: Kube) -> Snapshot:
    """Everything the report needs. Raises Unreachable when the API server does not answer."""
    reading = Reading(kube)
    return Snapshot(
        vips=await reading.of(VIRTUALIPS),
        segments=await reading.of(SEGMENTS),
        agents=await reading.of(NODEAGENTS),
        pools=await reading.of(ADDRESSPOOLS),
        services=await reading.of(SERVICES),
        peers=await reading.of(BGPPEERS),
        unread=reading.unread,
    )
