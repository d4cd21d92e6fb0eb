"""Reads the cluster's objects, kind by kind, so that one that is forbidden hides no other."""

from typing import TypeVar

from kubectl_roost.status.plan import Snapshot
from roost.kube.client import Denied, Kube
from roost.kube.resource import Resource
from roost.kube.wire import ADDRESSPOOLS, NODEAGENTS, SEGMENTS, SERVICES, VIRTUALIPS, Stored

T = TypeVar("T", bound=Stored)


async def read(kube: Kube) -> Snapshot:
    """Everything the report needs. Raises Unreachable when the API server does not answer."""
    unread: dict[str, str] = {}

    async def of(resource: Resource[T]) -> tuple[T, ...]:
        try:
            return tuple((await kube.list(resource)).items)
        except Denied as denied:
            unread[resource.kind] = str(denied)
            return ()

    return Snapshot(
        vips=await of(VIRTUALIPS),
        segments=await of(SEGMENTS),
        agents=await of(NODEAGENTS),
        pools=await of(ADDRESSPOOLS),
        services=await of(SERVICES),
        unread=unread,
    )
