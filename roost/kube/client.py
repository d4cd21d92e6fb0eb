"""Reads and writes of Kubernetes objects: a read answers or raises, a write has three outcomes."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from roost import metrics
from roost.kube.answers import Change, Denied, Expired, absent, change, decoded, page, refusal, remedy, status, what
from roost.kube.resource import Resource
from roost.kube.transport import Broken, Disconnected, Request, Response, Transport, Turned
from roost.kube.wire import Stored
from roost.process import Unreachable

__all__ = [
    "Change",
    "Conflict",
    "Denied",
    "Expired",
    "Form",
    "Kube",
    "Listing",
    "Ok",
    "Outcome",
    "Settings",
    "Unknown",
]

PAGE = 500  # objects a page of a list
FRESH_LISTS = 3  # how often a list whose continuation expired is begun anew before it is read in one piece
READ_TRIES = 3
LONGEST_PATIENCE = 5.0  # seconds that a read waits when the server asks for it
WATCH_SECONDS = 240, 300  # the server ends a watch after a time between these, so that not all come back at once
IDLE = 150.0  # seconds without a line before a watch counts as dead; bookmarks come about once a minute, mostly
BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

T = TypeVar("T", bound=Stored)
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach the API server."""

    kubeconfig: str = ""
    """File that says how to reach the API server. Empty: the Pod's ServiceAccount; outside of a Pod $KUBECONFIG,
    else ~/.kube/config."""

    timeout: float = 5.0
    """Seconds that one request to the API server may take."""


@dataclass(frozen=True, slots=True)
class Ok(Generic[V_co]):
    """It is written."""

    value: V_co


@dataclass(frozen=True, slots=True)
class Conflict:
    """The server said no (any 4xx): nothing was written."""

    code: int
    reason: str  # the server's word: Conflict, AlreadyExists, NotFound, Invalid, Forbidden, TooManyRequests …
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or one that leaves it open (5xx): it may have been written, or may still be."""

    why: str


Outcome = Ok[V_co] | Conflict | Unknown


@dataclass(frozen=True, slots=True)
class Form:
    """How the server reads a patch. https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply"""

    content_type: str
    query: tuple[tuple[str, str], ...] = ()

    MERGE: ClassVar["Form"]
    JSON: ClassVar["Form"]
    STRATEGIC: ClassVar["Form"]

    @staticmethod
    def apply(field_manager: str, *, force: bool = False) -> "Form":
        """Server-side apply; *force* takes fields over from other managers."""
        query = ("fieldManager", field_manager), ("force", "true" if force else "false")
        return Form("application/apply-patch+yaml", query)


Form.MERGE = Form("application/merge-patch+json")
Form.JSON = Form("application/json-patch+json")
Form.STRATEGIC = Form("application/strategic-merge-patch+json")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    items: tuple[T, ...]
    resource_version: str  # to watch from
    unreadable: frozenset[str] = frozenset()  # keys of objects that do not fit our Struct; they exist all the same


class Kube:
    """The API server, seen by one program."""

    def __init__(self, transport: Transport, timeout: float = 5.0) -> None:
        self._transport = transport
        self._timeout = timeout  # seconds a request

    @classmethod
    async def connect(cls, settings: Settings, *, user_agent: str) -> "Kube":
        """Read the configuration; nothing is sent yet. Raises Unreachable if there is none that can be used.

        *user_agent* is ``program/version``; the server takes the part before the slash as the field manager.
        """
        from roost.kube.http import Http  # noqa: PLC0415 - 0.35 s and 35 MB that tests and --help need not spend

        return cls(await Http.open(settings.kubeconfig, user_agent), settings.timeout)

    async def close(self) -> None:
        await self._transport.close()

    def within(self, seconds: float) -> "Kube":
        """The same server and connections, with another bound on each request."""
        return Kube(self._transport, seconds)

    # -- reads

    async def get(self, resource: Resource[T], name: str, *, namespace: str = "") -> T | None:
        """The object, or None if there is none of that name. Raises Unreachable, Denied."""
        request = Request("GET", resource.path(namespace=namespace, name=name))
        response = await self._read("get", resource, namespace, request)
        return None if response.status == HTTPStatus.NOT_FOUND else decoded(resource, response.body)

    async def list(
        self, resource: Resource[T], *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> Listing[T]:
        """All objects, as of one moment not before the call (a consistent read). Raises Unreachable, Denied."""
        query = _selectors(labels, fields)
        path = resource.path(namespace=namespace)
        for _ in range(FRESH_LISTS):
            with contextlib.suppress(Expired):
                return await self._pages(resource, namespace, Request("GET", path, (*query, ("limit", str(PAGE)))))
        try:
            return await self._pages(resource, namespace, Request("GET", path, query))
        except Expired as expired:
            raise Unreachable(f"list {what(resource, namespace)}: {expired}") from expired

    async def _pages(self, resource: Resource[T], namespace: str, request: Request) -> Listing[T]:
        items: list[T] = []
        unreadable: set[str] = set()
        following = ""
        while True:
            more = (("continue", following),) if following else ()
            response = await self._read("list", resource, namespace, Request("GET", request.path, request.query + more))
            part = page(resource, response.body, unreadable)
            items += part.items or ()
            following = part.metadata.following
            if not following:
                return Listing(tuple(items), part.metadata.resource_version, frozenset(unreadable))

    async def watch(
        self, resource: Resource[T], resource_version: str, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> AsyncGenerator[Change[T], None]:
        """Changes after *resource_version*, until the server ends the watch, which it does every few minutes.

        Raises Expired, Unreachable (also after 150 s without a sign of life), Denied.
        """
        query = (
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(random.randint(*WATCH_SECONDS))),
            *_selectors(labels, fields),
        )
        request = Request("GET", resource.path(namespace=namespace), query)
        code: int | str = "none"
        try:
            async with contextlib.aclosing(self._transport.lines(request, self._timeout, IDLE)) as lines:
                async for line in lines:
                    code = HTTPStatus.OK.value
                    if (event := change(resource, line)) is not None:
                        yield event
            code = HTTPStatus.OK.value
        except Turned as turned:
            code = turned.response.status
            raise refusal("watch", resource, namespace, turned.response) from turned
        except Broken as broken:
            raise Unreachable(f"watch {what(resource, namespace)}: {broken}") from broken
        finally:
            _count("watch", resource, code)

    async def _read(self, verb: str, resource: Resource[T], namespace: str, request: Request) -> Response:
        """The answer to a GET: 200, or the 404 of one object. A server that asks for patience gets some.

        Also tried again when a kept connection turns out to have been closed: a read does no harm twice.
        """
        for tries_left in reversed(range(READ_TRIES)):
            try:
                response = await self._transport.request(request, self._timeout)
            except Broken as broken:
                _count(verb, resource, "none")
                if tries_left and isinstance(broken, Disconnected):
                    continue
                raise Unreachable(f"{verb} {what(resource, namespace)}: {broken}") from broken
            _count(verb, resource, response.status)
            if response.status == HTTPStatus.OK or (verb == "get" and absent(response)):
                return response
            if not tries_left or response.status not in BUSY:
                raise refusal(verb, resource, namespace, response)
            await asyncio.sleep(min(response.retry_after or 1.0, LONGEST_PATIENCE))
        raise AssertionError("the last try returns or raises")

    # -- writes: they never raise

    async def create(self, resource: Resource[T], value: T, *, namespace: str = "") -> Outcome[T]:
        """*namespace* defaults to the value's own."""
        namespace = namespace or value.metadata.namespace
        request = Request("POST", resource.path(namespace=namespace), body=resource.encode(value))
        return await self._write("create", resource, namespace, request, lambda body: decoded(resource, body))

    async def put(self, resource: Resource[T], value: T, *, subresource: str = "") -> Outcome[T]:
        """Replace the whole object; its metadata names it, and its resourceVersion is the condition."""
        meta = value.metadata
        path = resource.path(namespace=meta.namespace, name=meta.name, subresource=subresource)
        request = Request("PUT", path, body=resource.encode(value))
        return await self._write("update", resource, meta.namespace, request, lambda body: decoded(resource, body))

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        patch: object,
        *,
        namespace: str = "",
        subresource: str = "",
        form: Form = Form.MERGE,
    ) -> Outcome[T]:
        """*patch* is what JSON can say: a dict, a list of operations, or (to apply) a Struct of the resource."""
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        body = resource.encode(patch) if isinstance(patch, resource.type) else msgspec.json.encode(patch)
        request = Request("PATCH", path, form.query, body, form.content_type)
        return await self._write("patch", resource, namespace, request, lambda body: decoded(resource, body))

    async def delete(
        self, resource: Resource[T], name: str, *, namespace: str = "", uid: str = "", resource_version: str = ""
    ) -> Outcome[None]:
        """*uid* and *resource_version* are conditions. Ok: deleted, or marked to be once its finalizers are gone."""
        conditions = {"uid": uid, "resourceVersion": resource_version}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if any(conditions.values()):
            options["preconditions"] = {key: value for key, value in conditions.items() if value}
        path = resource.path(namespace=namespace, name=name)
        request = Request("DELETE", path, body=msgspec.json.encode(options))
        return await self._write("delete", resource, namespace, request, lambda _: None)

    async def _write(
        self, verb: str, resource: Resource[T], namespace: str, request: Request, decode: Callable[[bytes], V]
    ) -> Outcome[V]:
        try:
            response = await self._transport.request(request, self._timeout)
        except Broken as broken:
            _count(verb, resource, "none")
            return Unknown(f"{verb} {what(resource, namespace)}: {broken}")
        _count(verb, resource, response.status)
        match response.status:
            case HTTPStatus.OK | HTTPStatus.CREATED | HTTPStatus.ACCEPTED:
                try:
                    return Ok(decode(response.body))
                except Unreachable as error:
                    return Unknown(f"{verb} {what(resource, namespace)}: done, but the answer is {error}")
            case code if 400 <= code < 500 and code != HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004 - 408: a proxy's guess
                return _conflict(verb, resource, namespace, response)
            case code:
                return Unknown(f"{verb} {what(resource, namespace)}: {code} {status(response).message}")


def _conflict(verb: str, resource: Resource[T], namespace: str, response: Response) -> Conflict:
    said = status(response)
    match response.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            message = remedy(verb, resource, namespace, response)
        case HTTPStatus.NOT_FOUND if not absent(response):
            message = remedy(verb, resource, namespace, response)
        case _:
            message = said.message
    return Conflict(response.status, said.reason or f"Status{response.status}", message)


def _selectors(labels: str, fields: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value)


def _count(verb: str, resource: Resource[T], code: int | str) -> None:
    metrics.API_REQUESTS.labels(verb, resource.plural, str(code)).inc()
