"""Reads the cluster's objects, kind by kind, and remembers what may not be read."""

from typing import TypeVar

from roost.kube.client import Denied, Kube
from roost.kube.resource import Resource
from roost.kube.wire import Stored

T = TypeVar("T", bound=Stored)


class Reading:
    """One look at the cluster. *unread*: of each kind that could not be read, why."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.unread: dict[str, str] = {}

    async def of(self, resource: Resource[T]) -> tuple[T, ...]:
        """All objects of a kind; none if that is forbidden. Raises Unreachable."""
        try:
            return tuple((await self._kube.list(resource)).items)
        except Denied as denied:
            self.unread[resource.kind] = str(denied)
            return ()
