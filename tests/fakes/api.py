"""An API server in memory: the real client speaks to it, and the test makes it fail as API servers do.

It keeps what Roost builds on: resourceVersions, conflicts, finalizers, the status subresource, four kinds of patch,
paged lists, watches with bookmarks and 410. ``tests/fakes/contract.py`` runs against it and against the real server.
"""

import asyncio
import copy
import json
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec

from roost.kube.client import Kube
from roost.kube.resource import Resource
from roost.kube.transport import Broken, Request, Response, Turned
from roost.kube.wire import Stored
from tests.fakes.server import EVERYTHING, Event, Json, Server, Target, now, selected

T = TypeVar("T", bound=Stored)


class Fault(Enum):
    """What happens to one request."""

    LOST = auto()  # it never arrives: unknown to the writer, and not written
    ANSWER_LOST = auto()  # it is written, and the answer is lost: unknown to the writer
    LATE = auto()  # unknown to the writer now; written by FakeApi.deliver()
    HANG = auto()  # no answer until somebody gives up; not written
    HELD = auto()  # no answer until FakeApi.deliver(), then done as if nothing had been


@dataclass(frozen=True, slots=True)
class Refuse:
    """The server answers with this status."""

    code: int
    reason: str = ""
    message: str = "refused by the test"
    retry_after: float = 0.0


@dataclass(slots=True)
class _Rule:
    what: Fault | Refuse
    method: str
    resource: Resource[Any] | None
    name: str
    times: int


class FakeApi:
    """The server. ``api.kube()`` is a client of it; the other methods are the test's own hands."""

    def __init__(self, served: Iterable[Resource[Any]] = EVERYTHING, server: Server | None = None) -> None:
        self.server = server or Server(served)
        self.requests: list[Request] = []
        self.down: bool | Literal["hangs"] = False  # True: every request fails at once; "hangs": none is answered
        self.ends_watches = False  # every watch is ended as soon as it has said what there is
        self._rules: list[_Rule] = []
        self._held: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._breaks = 0
        self._bookmarks = 0
        self.server.listeners.append(self._wake)

    # -- the test's hands

    def kube(self) -> Kube:
        return Kube(self)

    def beside(self) -> "FakeApi":
        """The same server seen over another line: with faults and a record of requests of its own."""
        return FakeApi(server=self.server)

    def refuse(self, refusal: Callable[[str, Target, Json | None, Json | None], str | None]) -> None:
        """Admission: *refusal* of (method, target, old, new) gives the message of a 403, or None."""
        self.server.refusals.append(refusal)

    def pages(self, size: int) -> None:
        """Lists come in pages of at most *size* objects."""
        self.server.page = size

    def fail(
        self,
        what: Fault | Refuse,
        method: str = "",
        resource: Resource[Any] | None = None,
        *,
        name: str = "",
        times: int = 1,
    ) -> None:
        """The next *times* requests that match fail so. *method*: GET, WATCH, POST, PUT, PATCH, DELETE; "" is any."""
        self._rules.append(_Rule(what, method, resource, name, times))

    def deliver(self) -> None:
        """What was LATE or HELD arrives now."""
        held, self._held = self._held, []
        for arrive in held:
            arrive()

    def break_watches(self) -> None:
        """Every open watch is torn down in the middle."""
        self._breaks += 1
        self._wake()

    def bookmark(self) -> None:
        """Every open watch is told the present resourceVersion."""
        self._bookmarks += 1
        self._wake()

    def forget(self) -> None:
        """The history is compacted: watches from before and continue tokens get 410."""
        self.server.version += 1
        self.server.forgotten = self.server.version

    def put(self, resource: Resource[T], value: T) -> T:
        """Somebody else writes the whole object (status too), whatever is there."""
        body = json.loads(resource.encode(value))
        target = Target(resource, value.metadata.namespace, value.metadata.name, "")
        old = self.server.objects.get(target.key)
        for name in ("resourceVersion", "uid", "creationTimestamp"):
            body["metadata"].pop(name, None)
        if old is None:
            body["metadata"] |= {"uid": value.metadata.uid or str(uuid.uuid4()), "creationTimestamp": now()}
        else:
            body["metadata"] |= {name: old["metadata"][name] for name in ("uid", "creationTimestamp")}
        return _typed(resource, self.server.store(target, old, body))

    def remove(self, resource: Resource[T], name: str, *, namespace: str = "") -> None:
        """Somebody takes it away, finalizers or not."""
        target = Target(resource, namespace, name, "")
        self.server.erase(target, self.server.objects[target.key])

    def all(self, resource: Resource[T]) -> dict[str, T]:
        """What is stored, by key ("namespace/name" or "name")."""
        return {
            f"{namespace}/{name}" if namespace else name: _typed(resource, value)
            for (kind, namespace, name), value in sorted(self.server.objects.items())
            if kind == resource.plural
        }

    def one(self, resource: Resource[T], key: str) -> T:
        return self.all(resource)[key]

    def writes(self, resource: Resource[Any] | None = None) -> list[Request]:
        """The requests that were not reads, of one kind or of all."""
        return [
            request
            for request in self.requests
            if request.method != "GET" and (resource is None or f"/{resource.plural}" in request.path)
        ]

    # -- the transport

    async def close(self) -> None:
        pass

    async def request(self, request: Request, seconds: float) -> Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        target = self.server.target(request.path)
        match self._rule(request.method, target):
            case Fault.LOST:
                raise Broken("no answer within 5 s")
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.ANSWER_LOST:
                self.server.answer(request, target)
                raise Broken("no answer within 5 s")
            case Fault.LATE:
                self._held.append(partial(self._arrive, request, target))
                raise Broken("no answer within 5 s")
            case Fault.HELD:
                arrived = asyncio.Event()
                self._held.append(arrived.set)
                await arrived.wait()
            case Refuse() as refuse:
                return _refused(refuse)
        return self.server.answer(request, target)

    async def lines(self, request: Request, seconds: float, idle: float) -> AsyncGenerator[bytes, None]:
        self.requests.append(request)
        await asyncio.sleep(0)
        target = self.server.target(request.path)
        match self._rule("WATCH", target):
            case Fault.HANG | Fault.HELD:
                await asyncio.Event().wait()
            case Fault():
                raise Broken("no answer within 5 s")
            case Refuse() as refuse:
                raise Turned(_refused(refuse))
        if target is None:
            raise Turned(Response(404, b"404 page not found\n"))
        async for line in self._watch(target, dict(request.query)):
            yield line

    async def _watch(self, target: Target, query: dict[str, str]) -> AsyncGenerator[bytes, None]:
        at = int(query["resourceVersion"])
        if at < self.server.forgotten:
            yield _line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old: {at}"})
            return
        breaks, bookmarks = self._breaks, self._bookmarks
        while True:
            changed = self._changed
            for event in [event for event in self.server.history if event.version > at and event.kind == target.kind]:
                at = event.version
                if line := _seen(event, target, query):
                    yield line
            if bookmarks != self._bookmarks:
                bookmarks = self._bookmarks
                yield _line("BOOKMARK", {"metadata": {"resourceVersion": str(max(at, self._quiet(target, at)))}})
            if breaks != self._breaks or self.down:
                raise Broken("connection reset")
            if self.ends_watches:
                return
            await changed.wait()

    def _quiet(self, target: Target, at: int) -> int:
        """The version up to which there is nothing more to say to a watcher that knows *at*."""
        more = any(event.version > at and event.kind == target.kind for event in self.server.history)
        return at if more else self.server.version

    def _wake(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()

    def _arrive(self, request: Request, target: Target | None) -> None:
        self.server.answer(request, target)

    def _rule(self, method: str, target: Target | None) -> Fault | Refuse | None:
        if self.down:
            return Fault.HANG if self.down == "hangs" else Fault.LOST
        for rule in self._rules:
            if rule.times and _fits(rule, method, target):
                rule.times -= 1
                return rule.what
        return None


def _fits(rule: _Rule, method: str, target: Target | None) -> bool:
    if rule.method not in ("", method):
        return False
    if rule.resource is not None and (target is None or target.kind != rule.resource.plural):
        return False
    return not rule.name or (target is not None and target.name == rule.name)


def _seen(event: Event, target: Target, query: dict[str, str]) -> bytes | None:
    """An event as one watcher sees it: what leaves its selection is deleted to it."""
    before = event.old is not None and selected(event.old, target, query)
    after = event.new is not None and selected(event.new, target, query)
    if after:
        return _line("MODIFIED" if before else "ADDED", event.new)
    if before and event.old is not None:
        gone = copy.deepcopy(event.old)
        gone["metadata"]["resourceVersion"] = str(event.version)
        return _line("DELETED", gone)
    return None


def _typed(resource: Resource[T], value: Json) -> T:
    return msgspec.json.decode(json.dumps(value), type=resource.type)


def _line(type_: str, value: Json | None) -> bytes:
    return json.dumps({"type": type_, "object": value}).encode()


def _refused(refuse: Refuse) -> Response:
    body = {"kind": "Status", "code": refuse.code, "reason": refuse.reason, "message": refuse.message}
    return Response(refuse.code, json.dumps(body).encode(), refuse.retry_after)
