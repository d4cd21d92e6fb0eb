"""A copy of all objects of one kind, kept fresh: list once, then watch."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

from roost.kube.client import Change, Denied, Expired, Kube, Listing
from roost.kube.resource import Resource
from roost.kube.wire import Stored
from roost.process import Backoff, Clock, Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Stored)

SHORT = 5.0  # seconds; a watch that ends sooner was cut off, not served
LONGEST_DELAY = 5.0  # seconds between two tries: whoever waits for the API server shall soon see that it is back


def key(value: Stored) -> str:
    """What an object is called among those of its kind: "namespace/name", or "name"."""
    meta = value.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


class Reflector(Generic[T]):
    """Lists and watches one kind, and says each difference once through *changed(key, old, new)*.

    While the API server is away the last known objects stay. After a gap (410, restart of the server) everything is
    listed anew, and only what differs from before is reported. *changed* is called in the task of :meth:`run`, after
    ``items`` has the change; what it raises ends the program.
    """

    def __init__(  # noqa: PLR0913 - the last four only narrow it down, and default
        self,
        kube: Kube,
        resource: Resource[T],
        changed: Callable[[str, T | None, T | None], None],
        clock: Clock,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.items: dict[str, T] = {}
        self.synced = asyncio.Event()  # set by the first full list, and never cleared
        self.resource_version = ""  # of the last list, event or bookmark
        self._kube, self._resource, self._changed, self._clock = kube, resource, changed, clock
        self._where = {"namespace": namespace, "labels": labels, "fields": fields}
        self._backoff = Backoff(first=0.5, longest=LONGEST_DELAY, chance=chance)
        self._stale = True  # what we have does not lead up to resource_version: list before watching
        self._lost = False

    async def run(self) -> NoReturn:
        """Raises Denied if somebody must grant a right or install the CRD; :func:`~roost.process.keep` waits for it."""
        while True:
            began = self._clock.now()
            try:
                if self._stale:
                    self._take(await self._kube.list(self._resource, **self._where))
                    began = self._clock.now()
                await self._follow()
                self._found()
            except Denied:
                self._stale = True
                raise
            except Expired as expired:
                log.info("%s: listing anew: %s", self._resource.plural, expired)
                self._stale = True
            except Unreachable as error:
                self._lose(error)
            if self._clock.now() - began >= SHORT:
                self._backoff.reset()
                if not self._lost:
                    continue
            # A server that ends every watch at once, with or without an event, is not asked more often than this.
            await self._clock.sleep(self._backoff.next())

    def _take(self, listing: Listing[T]) -> None:
        """Report what differs from before. What appeared or changed comes first, then what went."""
        now = {key(value): value for value in listing.items}
        gone = self.items.keys() - now.keys() - listing.unreadable
        for name, value in now.items():
            self._put(name, value)
        for name in sorted(gone):
            self._drop(name)
        self.resource_version = listing.resource_version
        self._stale = False
        self._found()
        self.synced.set()

    async def _follow(self) -> None:
        """One watch, until it ends."""
        watch = self._kube.watch(self._resource, self.resource_version, **self._where)
        async with contextlib.aclosing(watch) as changes:
            async for change in changes:
                self._found()
                self._apply(change)

    def _apply(self, change: Change[T]) -> None:
        match change:
            case Change(type="ADDED" | "MODIFIED", value=value) if value is not None:
                self._put(key(value), value)
            case Change(type="DELETED", value=value) if value is not None:
                self._drop(key(value))
        if not _older(change.resource_version, self.resource_version):
            self.resource_version = change.resource_version

    def _put(self, name: str, value: T) -> None:
        old = self.items.get(name)
        if old is not None and _version(old) == _version(value):
            return
        self.items[name] = value
        self._changed(name, old, value)

    def _drop(self, name: str) -> None:
        old = self.items.pop(name, None)
        if old is not None:
            self._changed(name, old, None)

    def _lose(self, error: Unreachable) -> None:
        if not self._lost:
            log.warning("%s: %s; what was known stays", self._resource.plural, error)
        self._lost = True

    def _found(self) -> None:
        if self._lost:
            log.info("%s: the API server answers again", self._resource.plural)
        self._lost = False


def _version(value: Stored) -> tuple[str, str]:
    return value.metadata.uid, value.metadata.resource_version


def _older(one: str, other: str) -> bool:
    """resourceVersions are opaque, but where both are numbers (Kubernetes' own store) they may be compared."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)
