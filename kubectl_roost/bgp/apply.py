"""Reads what nodes say, routers and VIPs, kind by kind, so that one that is forbidden hides no other."""

from kubectl_roost.bgp.plan import Snapshot
from kubectl_roost.reading import Reading
from roost.kube.client import Kube
from roost.kube.wire import NODEAGENTS, VIRTUALIPS
from roost.kube.wire_bgp import BGPPEERS


async def read(kube: Kube) -> Snapshot:
    """Everything that the page needs. Raises Unreachable when the API server does not answer."""
    reading = Reading(kube)
    return Snapshot(
        agents=await reading.of(NODEAGENTS),
        peers=await reading.of(BGPPEERS),
        vips=await reading.of(VIRTUALIPS),
        unread=reading.unread,
    )
