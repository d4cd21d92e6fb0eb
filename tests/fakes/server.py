"""The API server's memory: objects, versions, conditions, finalizers, patches."""

import copy
import datetime
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from roost.kube import events, wire, wire_bgp
from roost.kube.resource import Resource
from roost.kube.transport import Request, Response
from tests.fakes import patches

Json = dict[str, Any]

KINDS = (*vars(wire).values(), *vars(wire_bgp).values(), events.EVENTS)
EVERYTHING: tuple[Resource[Any], ...] = tuple(value for value in KINDS if isinstance(value, Resource))
WITH_STATUS = {
    "services", "nodes", "addresspools", "virtualips", "segments", "nodeagents", "bgppeers", "bgpadvertisements"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's path means."""

    resource: Resource[Any]
    namespace: str
    name: str
    subresource: str

    @property
    def kind(self) -> str:
        return self.resource.plural

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Event:
    version: int
    kind: str
    old: Json | None
    new: Json | None


class _No(Exception):
    def __init__(self, code: int, reason: str, message: str, name: str = "") -> None:
        super().__init__(message)
        body = {"kind": "Status", "code": code, "reason": reason, "message": message}
        self.response = Response(code, json.dumps(body | ({"details": {"name": name}} if name else {})).encode())


class Server:
    """Answers requests from what it stores. :class:`tests.fakes.api.FakeApi` is its front."""

    def __init__(self, served: Iterable[Resource[Any]] = EVERYTHING) -> None:
        self.served = list(served)
        self.page = 0  # objects a page at most; 0: as the client asks
        self.refusals: list[Callable[[str, Target, Json | None, Json | None], str | None]] = []
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.history: list[Event] = []
        self.forgotten = 0  # events up to this version are gone
        self.version = 100
        self.listeners: list[Callable[[], None]] = []
        self._applied: dict[tuple[str, tuple[str, str, str]], Json] = {}

    def answer(self, request: Request, target: Target | None) -> Response:
        if target is None:
            return Response(404, b"404 page not found\n")
        verb = "LIST" if request.method == "GET" and not target.name else request.method
        verbs = {"GET": self._get, "LIST": self._list, "POST": self._create, "DELETE": self._delete}
        try:
            return verbs.get(verb, self._update)(request, target)
        except _No as no:
            return no.response

    def _get(self, request: Request, target: Target) -> Response:
        return _ok(self._find(target))

    def _list(self, request: Request, target: Target) -> Response:
        query = dict(request.query)
        found = [
            value
            for (kind, _, _), value in sorted(self.objects.items())
            if kind == target.kind and selected(value, target, query)
        ]
        limit = min(filter(None, (int(query.get("limit", 0)), self.page)), default=0)
        version, offset = (int(part) for part in query.get("continue", f"{self.version}:0").split(":"))
        if version < self.forgotten:
            raise _No(410, "Expired", "the provided continue parameter is too old")
        meta = {"resourceVersion": str(version)}
        if limit and offset + limit < len(found):
            meta["continue"] = f"{version}:{offset + limit}"
        return _ok({"metadata": meta, "items": found[offset : offset + limit] if limit else found})

    def _create(self, request: Request, target: Target) -> Response:
        body: Json = json.loads(request.body or b"{}")
        meta = body["metadata"]
        if target.namespace:
            meta["namespace"] = target.namespace
        target = Target(target.resource, target.namespace, meta["name"], "")
        if target.key in self.objects:
            raise _No(409, "AlreadyExists", f'{target.kind} "{target.name}" already exists', target.name)
        if target.kind in WITH_STATUS:
            body.pop("status", None)
        self._admit("POST", target, None, body)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        return _ok(self.store(target, None, body), 201)

    def _update(self, request: Request, target: Target) -> Response:
        old = self.objects.get(target.key)
        if old is None and not _makes(request, target):
            self._find(target)
        try:
            new = self._patched(request, target, old or {})
        except patches.Rejected as error:
            raise _No(422, "Invalid", "the server rejected our request due to an error in our request") from error
        if old is None:
            return self._create(Request("POST", "", body=json.dumps(new).encode()), target)
        self._check(request, old, new, target.name)
        self._admit(request.method, target, old, new)
        new["metadata"] |= {name: old["metadata"][name] for name in ("uid", "creationTimestamp")}
        if "deletionTimestamp" in old["metadata"]:
            new["metadata"]["deletionTimestamp"] = old["metadata"]["deletionTimestamp"]
            if not new["metadata"].get("finalizers"):
                return _ok(self.erase(target, new))
        return _ok(self.store(target, old, new))

    def _patched(self, request: Request, target: Target, old: Json) -> Json:
        body = json.loads(request.body or b"{}")
        new: Json
        match request.content_type:
            case "application/merge-patch+json":
                new = patches.merge(old, body)
            case "application/strategic-merge-patch+json":
                new = patches.strategic(old, body)
            case "application/json-patch+json":
                new = patches.json_patch(old, body)
            case "application/apply-patch+yaml":
                manager = (dict(request.query)["fieldManager"] + "/" + target.subresource, target.key)
                new = patches.apply(old, body, self._applied.get(manager, {}))
                self._applied[manager] = body
            case _:
                new = body
        new = copy.deepcopy(new)
        if target.kind in WITH_STATUS and old:
            if target.subresource:  # the status subresource takes nothing else, and the object itself no status
                version = new["metadata"].get("resourceVersion")
                new = old | {"metadata": dict(old["metadata"]), "status": new.get("status")}
                new["metadata"]["resourceVersion"] = version
            else:
                new["status"] = old.get("status")
            if new["status"] is None:
                del new["status"]
        return new

    def _check(self, request: Request, old: Json, new: Json, name: str) -> None:
        """The conditions of a write: resourceVersion and uid, where they are given; a PUT must give the first."""
        for part in ("resourceVersion", "uid"):
            given = new["metadata"].get(part)
            if part == "resourceVersion" and request.method == "PUT" and not given:
                raise _No(422, "Invalid", "metadata.resourceVersion: must be specified for an update", name)
            if given and given != old["metadata"][part]:
                raise _No(409, "Conflict", f'the object "{name}" has been modified ({part})', name)

    def _delete(self, request: Request, target: Target) -> Response:
        old = self._find(target)
        conditions = json.loads(request.body or b"{}").get("preconditions", {})
        if any(old["metadata"][part] != value for part, value in conditions.items()):
            raise _No(409, "Conflict", f'the precondition does not match "{target.name}"', target.name)
        self._admit("DELETE", target, old, None)
        if old["metadata"].get("finalizers"):
            if "deletionTimestamp" not in old["metadata"]:
                new = copy.deepcopy(old)
                new["metadata"]["deletionTimestamp"] = now()
                self.store(target, old, new)
            return _ok({"kind": "Status"})
        self.erase(target, old)
        return _ok({"kind": "Status"})

    def _admit(self, method: str, target: Target, old: Json | None, new: Json | None) -> None:
        for refusal in self.refusals:
            if message := refusal(method, target, old, new):
                raise _No(403, "Forbidden", message, target.name)

    # -- the store

    def _find(self, target: Target) -> Json:
        try:
            return self.objects[target.key]
        except KeyError:
            raise _No(404, "NotFound", f'{target.kind} "{target.name}" not found', target.name) from None

    def store(self, target: Target, old: Json | None, new: Json) -> Json:
        """What changes nothing gets no new resourceVersion, as in the real server."""
        meta = new["metadata"]
        if old is not None:
            meta["resourceVersion"] = old["metadata"]["resourceVersion"]
            if "generation" in old["metadata"]:
                meta["generation"] = old["metadata"]["generation"] + (old.get("spec") != new.get("spec"))
            if new == old:
                return old
        elif target.resource.group == "roost.dev":
            meta["generation"] = 1
        self.version += 1
        meta["resourceVersion"] = str(self.version)
        self.objects[target.key] = new
        self._note(target, old, new)
        return new

    def erase(self, target: Target, value: Json) -> Json:
        self.version += 1
        last = copy.deepcopy(value)
        last["metadata"]["resourceVersion"] = str(self.version)
        del self.objects[target.key]
        self._note(target, last, None)
        return last

    def _note(self, target: Target, old: Json | None, new: Json | None) -> None:
        self.history.append(Event(self.version, target.kind, old, new))
        for listener in self.listeners:
            listener()

    def target(self, path: str) -> Target | None:
        for resource in self.served:
            root = resource.path().rsplit("/", 1)[0]
            if not path.startswith(root + "/"):
                continue
            parts = path.removeprefix(root).split("/")[1:]
            namespace = parts[1] if resource.namespaced and parts[0] == "namespaces" and len(parts) > 2 else ""
            parts = parts[2:] if namespace else parts
            if parts[0] == resource.plural and (resource.namespaced or not namespace):
                name, subresource = (*parts[1:], "", "")[:2]
                if subresource not in {"", "status"}:
                    continue  # /api/v1/namespaces/x/secrets is no part of a Namespace
                return Target(resource, namespace, name, subresource)
        return None


def _makes(request: Request, target: Target) -> bool:
    """Whether a write may create what is not there: apply, and the PUT of a Lease (AllowCreateOnUpdate)."""
    if request.method == "PUT" and target.kind == "leases":
        if json.loads(request.body or b"{}")["metadata"].get("uid"):
            raise _No(409, "Conflict", "the UID in the precondition does not match", target.name)
        return True
    return request.content_type == "application/apply-patch+yaml"


def selected(value: Json, target: Target, query: dict[str, str]) -> bool:
    if target.namespace and value["metadata"].get("namespace") != target.namespace:
        return False
    labels = value["metadata"].get("labels", {})
    wanted = [part for part in query.get("labelSelector", "").split(",") if part]
    fields = [part.replace("==", "=").split("=") for part in query.get("fieldSelector", "").split(",") if part]
    return all(_label(labels, part) for part in wanted) and all(_field(value, path) == want for path, want in fields)


def _label(labels: dict[str, str], wanted: str) -> bool:
    if "!=" in wanted:
        key, value = wanted.split("!=")
        return labels.get(key) != value
    if "=" in wanted:
        key, value = wanted.replace("==", "=").split("=")
        return labels.get(key) == value
    return (wanted.lstrip("!") in labels) != wanted.startswith("!")


def _field(value: Any, path: str) -> str:
    for part in path.split("."):
        value = value.get(part, "")
    return str(value)


def _ok(body: Json, code: int = 200) -> Response:
    return Response(code, json.dumps(body).encode())


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
