"""Reads tables, VIPs and what nodes say, kind by kind, so that one that is forbidden hides no other."""

from kubectl_roost.reading import Reading
from kubectl_roost.segment.plan import Snapshot
from roost.kube.client import Kube
from roost.kube.wire import NODEAGENTS, SEGMENTS, VIRTUALIPS


async def read(kube: Kube) -> Snapshot:
    """Everything that the drawing needs. Raises Unreachable when the API server does not answer."""
    reading = Reading(kube)
    return Snapshot(
        segments=await reading.of(SEGMENTS),
        vips=await reading.of(VIRTUALIPS),
        agents=await reading.of(NODEAGENTS),
        unread=reading.unread,
    )
