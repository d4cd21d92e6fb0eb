"""What the API server says, as values: objects, pages, lines of a watch, refusals with their remedy."""

import logging
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

from roost import metrics
from roost.kube.resource import Resource
from roost.kube.transport import Response
from roost.kube.wire import Stored
from roost.process import Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Stored)
V = TypeVar("V")


class Denied(Unreachable):
    """The server does not know us, forbids it, or has no such kind: somebody must act; the message says how."""


class Expired(Exception):
    """The resourceVersion or continue token is too old (410): list anew."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One event of a watch."""

    type: str  # ADDED, MODIFIED, DELETED, BOOKMARK
    resource_version: str
    value: T | None = None  # None for a bookmark


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    following: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, Generic[V], frozen=True):
    metadata: ListMeta
    items: list[V] | None = None


class Details(msgspec.Struct, frozen=True):
    name: str = ""


class Status(msgspec.Struct, frozen=True):
    """metav1.Status, as much as we read."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: Details | None = None


class _KeyMeta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Keyed(msgspec.Struct, frozen=True):
    metadata: _KeyMeta


class _Line(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def decoded(resource: Resource[T], body: bytes) -> T:
    """One object. Raises Unreachable if it cannot be read: a broken body, or not what the kind should look like."""
    try:
        value: T = _decoder(resource.type).decode(body)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"a {resource.kind} that cannot be read: {error}") from error
    return value


def page(resource: Resource[T], body: bytes, unreadable: set[str]) -> Page[T]:
    """One page of a list. An object that does not fit is left out, and its key goes into *unreadable*."""
    try:
        found: Page[T] = _decoder(Page[resource.type]).decode(body)  # type: ignore[name-defined]  # chosen at run time
    except msgspec.ValidationError:  # one of them does not fit: the others must not suffer
        raw = _decoder(Page[msgspec.Raw]).decode(body)
        values = [_one(resource, item, unreadable) for item in raw.items or ()]
        return Page(raw.metadata, [value for value in values if value is not None])
    except msgspec.DecodeError as error:
        raise Unreachable(f"a list of {resource.plural} that cannot be read: {error}") from error
    return found


def _one(resource: Resource[T], raw: msgspec.Raw, unreadable: set[str]) -> T | None:
    try:
        value: T = _decoder(resource.type).decode(raw)
    except msgspec.ValidationError as error:
        meta = _decoder(_Keyed).decode(raw).metadata
        key = f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
        unreadable.add(key)
        metrics.INTERNAL_ERRORS.labels("kube").inc()
        log.error("%s %s does not fit, and is left as it was known: %s", resource.kind, key, error)  # noqa: TRY400 - the text says all
        return None
    return value


def change(resource: Resource[T], line: bytes) -> Change[T] | None:
    """A line of a watch; None for an object that does not fit. Raises Expired, Unreachable."""
    try:
        event: _Line = _decoder(_Line).decode(line)
        if event.type == "ERROR":
            _fail(resource, _decoder(Status).decode(event.object))
        if event.type == "BOOKMARK":
            return Change("BOOKMARK", _decoder(_Keyed).decode(event.object).metadata.resource_version)
        value = _one(resource, event.object, set())
    except msgspec.MsgspecError as error:
        raise Unreachable(f"watch of {resource.plural}: a line that cannot be read: {error}") from error
    return None if value is None else Change(event.type, value.metadata.resource_version, value)


def _fail(resource: Resource[T], said: Status) -> NoReturn:
    if said.code == HTTPStatus.GONE or said.reason in {"Expired", "Gone"}:
        raise Expired(said.message)
    raise Unreachable(f"watch of {resource.plural}: {said.code} {said.message}")


def status(response: Response) -> Status:
    """The server's own words about a request; from anything else than a Status, the first 200 bytes."""
    try:
        said: Status = _decoder(Status).decode(response.body)
    except msgspec.MsgspecError:
        return Status(response.body[:200].decode(errors="replace").strip())
    return said


def absent(response: Response) -> bool:
    """Whether a 404 speaks of one object; else the server does not serve the kind at all."""
    details = status(response).details
    return response.status == HTTPStatus.NOT_FOUND and details is not None and bool(details.name)


def refusal(verb: str, resource: Resource[T], namespace: str, response: Response) -> Unreachable | Expired:
    """The exception that a refused read deserves."""
    match response.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN | HTTPStatus.NOT_FOUND:
            return Denied(remedy(verb, resource, namespace, response))
        case HTTPStatus.GONE:
            return Expired(status(response).message)
        case code:
            return Unreachable(f"{verb} {what(resource, namespace)}: {code} {status(response).message}")


def remedy(verb: str, resource: Resource[T], namespace: str, response: Response) -> str:
    """What was refused (401, 403, 404), and what to do about it."""
    said, subject = status(response).message, what(resource, namespace)
    match response.status:
        case HTTPStatus.UNAUTHORIZED:
            return f"{verb} {subject}: the API server does not know us (401 {said}): check the token or certificate"
        case HTTPStatus.FORBIDDEN:
            return f"{verb} {subject}: forbidden ({said}): apply the chart's roles"
        case _:
            return f"{verb} {subject}: the API server has no {resource.api_version} {resource.kind}: apply the CRDs"


def what(resource: Resource[T], namespace: str) -> str:
    """The kind and where, as kubectl writes it."""
    name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    return f"{name} in namespace {namespace}" if namespace else name
