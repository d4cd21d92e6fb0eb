"""Calls to the API server under the identities that the policies tell apart, and the objects that calls start from."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lab.api import Api, ApiError

Object = dict[str, Any]
Edit = Callable[[Object], None]
ROOST = "/apis/roost.dev/v1alpha1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/roost-node-lease/leases"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
UNTRUSTED, TRUSTED = "policies-untrusted", "policies-trusted"
KINDS = {
    "nodeagents": "NodeAgent",
    "segments": "Segment",
    "virtualips": "VirtualIP",
    "addresspools": "AddressPool",
    "bgppeers": "BGPPeer",
    "bgpadvertisements": "BGPAdvertisement",
}
SERVICE = f"/api/v1/namespaces/{UNTRUSTED}/services/web"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to a call: 200 for every success, and else its code and message."""

    code: int
    says: str = ""

    def fits(self, wanted: "Answer") -> bool:
        return self.code == wanted.code and wanted.says in self.says


ALLOWED = Answer(200)


def refused(says: str) -> Answer:
    """403: by a policy or by RBAC."""
    return Answer(403, says)


def invalid(says: str) -> Answer:
    """422: by the schema's own rules."""
    return Answer(422, says)


def conflict(says: str) -> Answer:
    return Answer(409, says)


@dataclass(frozen=True, slots=True)
class Case:
    """What *who* changes in an object that stands there, *given* having been changed before; it is PUT."""

    sentence: str
    who: str
    wanted: Answer
    change: tuple[Edit, ...]
    given: tuple[Edit, ...]


def case(sentence: str, who: str, wanted: Answer, *change: Edit, given: tuple[Edit, ...] = ()) -> Case:
    return Case(sentence, who, wanted, change, given)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that needs nothing but what the fixtures made."""

    sentence: str
    who: str
    wanted: Answer
    method: str
    path: str
    body: Object | None


def call(sentence: str, who: str, wanted: Answer, method: str, path: str, body: Object | None = None) -> Call:
    return Call(sentence, who, wanted, method, path, body)


class Callers:
    """The API server, spoken to as anybody: by a token, or by the admin on behalf of somebody."""

    def __init__(self, admin: Api, with_token: Callable[[str], Api]) -> None:
        self._admin, self._with_token = admin, with_token
        self._clients: dict[str, tuple[Api, dict[str, str]]] = {"admin": (admin, {})}

    def call(self, who: str, method: str, path: str, body: Object | None = None) -> Answer:
        """What the server answers *who*; PATCH is a merge patch."""
        client, headers = self._clients[who]
        try:
            client.request(method, path, _typed(path, body), headers=headers)
        except ApiError as error:
            return Answer(error.status, error.message)
        return ALLOWED

    def close(self) -> None:
        for client, _ in self._clients.values():
            client.close()

    def read(self, path: str) -> Object:
        return self._admin.request("GET", path)

    def answers(self, path: str) -> bool:
        return self.call("admin", "GET", path) == ALLOWED

    def make(self, path: str, body: Object) -> Object:
        """As the admin: the object anew, also if it is there."""
        self.remove(f"{path}/{body['metadata']['name']}")
        return self._admin.request("POST", path, _typed(path, body))

    def remove(self, path: str) -> None:
        """As the admin: the object gone, finalizers or not."""
        self.call("admin", "PATCH", path, {"metadata": {"finalizers": None}})
        self.call("admin", "DELETE", path)

    def ensure(self, path: str, body: Object) -> Object:
        """As the admin: the object, made if it is not there."""
        there = self._admin.find(f"{path}/{body['metadata']['name']}")
        return there or self._admin.request("POST", path, _typed(path, body))

    def impersonate(self, who: str, user: str, group: str) -> None:
        self._clients[who] = (self._admin, {"Impersonate-User": user, "Impersonate-Group": group})

    def token(self, who: str, account: str, *, node: Object | None = None) -> None:
        """Let *who* be a service account of roost-system, its token bound to *node* as a Pod's on that node is."""
        wish: Object = {"expirationSeconds": 3600}
        if node is not None:
            known = {key: node["metadata"][key] for key in ("name", "uid")}
            wish["boundObjectRef"] = {"apiVersion": "v1", "kind": "Node", **known}
        path = f"/api/v1/namespaces/roost-system/serviceaccounts/{account}/token"
        made = self._admin.request("POST", path, {"spec": wish})
        self._clients[who] = (self._with_token(made["status"]["token"]), {})


def _typed(path: str, body: Object | None) -> Object | None:
    """With the kind that the server wants in every object of ours; of its own it knows it by the path."""
    if body is None or not path.startswith(f"{ROOST}/"):
        return body
    plural = path.removeprefix(f"{ROOST}/").partition("/")[0]
    return {"apiVersion": "roost.dev/v1alpha1", "kind": KINDS[plural], **body}


def named(name: str, **rest: Any) -> Object:
    return {"metadata": {"name": name}, **rest}


def binding(name: str, role: str, subject: Object) -> Object:
    role_ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return named(name, roleRef=role_ref, subjects=[subject])


def people(name: str) -> Object:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name}


def enrol(callers: Callers) -> None:
    """Make everybody who calls: three nodes, a trust zone's agent, a static Pod's certificate, controller, people."""
    for plural in KINDS:  # the first request after a kind is made may find its storage not ready (429)
        eventually(f"{plural} are served", partial(callers.answers, f"{ROOST}/{plural}"))
    for name, labels in ((UNTRUSTED, {}), (TRUSTED, {"roost.dev/service-authors": "trusted"})):
        callers.ensure("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    nodes = {name: callers.ensure("/api/v1/nodes", named(name)) for name in ("m1", "m2", "m3")}
    for name, node in nodes.items():
        callers.token(name, "roost-nodeagent", node=node)
    callers.token("unbound", "roost-nodeagent")
    callers.token("controller", "roost-cloudprovider")
    callers.ensure("/api/v1/namespaces/roost-system/serviceaccounts", named("roost-nodeagent-dmz"))
    zone = {"apiGroups": ["roost.dev"], "resources": ["segments"], "resourceNames": ["dmz"], "verbs": ["announce"]}
    services = {"apiGroups": [""], "resources": ["services"], "verbs": ["*"]}
    callers.ensure(f"{RBAC}/clusterroles", named("policies-announce-dmz", rules=[zone]))
    callers.ensure(f"{RBAC}/clusterroles", named("policies-author", rules=[services]))
    dmz = {"kind": "ServiceAccount", "name": "roost-nodeagent-dmz", "namespace": "roost-system"}
    for name, role, subject in (
        ("policies-announce-dmz", "policies-announce-dmz", dmz),
        ("policies-dmz", "roost-nodeagent", dmz),
        ("policies-static", "roost-nodeagent", people("roost:nodeagents")),
        ("policies-static-announce", "roost-announce-all", people("roost:nodeagents")),
        ("policies-author", "policies-author", people("authors")),
        ("policies-viewers", "roost-view", people("viewers")),
        ("policies-keepers", "roost-admin", people("keepers")),
        ("policies-builtin", "view", people("onlookers")),
    ):
        callers.ensure(f"{RBAC}/clusterrolebindings", binding(name, role, subject))
    callers.token("dmz@m1", "roost-nodeagent-dmz", node=nodes["m1"])
    callers.impersonate("static m1", "roost:nodeagent:m1", "roost:nodeagents")
    for who in ("author", "viewer", "keeper", "onlooker"):
        callers.impersonate(who, who, f"{who}s")


def eventually(what: str, true: Callable[[], bool], *, within: float = 20.0) -> None:
    """Wait until *true*; AssertionError after *within* seconds."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        time.sleep(0.1)


# -- the objects that calls start from -------------------------------------------------------------------------------


def seat(node: str, tenure: int, **more: Any) -> Object:
    address = f"10.60.0.{tenure}"
    known = {"mac": f"02:00:00:00:00:0{tenure}", "addresses": [address], "eligible": True, "witnesses": ["m9"]}
    born = {"node": node, "tenure": tenure, "version": 3, "bootID": f"boot-{node}", "machineID": f"machine-{node}"}
    return {**born, "mode": "Leased", "state": "Live", **known, **more}


def ended(tenure: int, node: str, **more: Any) -> Object:
    return {"tenure": tenure, "node": node, "mode": "Leased", "witnesses": ["m9"], **more}


def table() -> Object:
    """m1 and m2 live, m3 gone and waited for: b0 is m2's, b1 and b3 are m1's, b2 is vacant; b3 outwaits m3's tenure."""
    return {
        "revision": 7,
        "nextTenure": 5,
        "seats": [seat("m1", 1), seat("m2", 2), seat("m3", 3, state="Gone")],
        "ended": [ended(3, "m3")],
        "groups": [
            {"name": "b0", "tenure": 2, "epoch": 4},
            {"name": "b1", "tenure": 1, "epoch": 2},
            {"name": "b2", "tenure": 0, "epoch": 0},
            {"name": "b3", "tenure": 1, "epoch": 6, "after": [3]},
        ],
    }


def lease(node: str, tenure: str = "2") -> Object:
    spec = {"holderIdentity": node, "leaseDurationSeconds": 6, "renewTime": "2026-01-01T00:00:00.000000Z"}
    annotations = {"roost.dev/tenure": tenure, "example.org/kept": "yes"}
    return {"metadata": {"name": node, "annotations": annotations}, "spec": spec}


def service(**annotations: str) -> Object:
    """A load balancer of a class that nobody serves, with annotations kube-vip.io/*."""
    keys = {f"kube-vip.io/{key}": value for key, value in annotations.items()}
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    wish = {"type": "LoadBalancer", "loadBalancerClass": "example.org/nobody", "ports": ports}
    return {"metadata": {"name": "web", "annotations": keys}, "spec": wish}


def edited(value: Object, edits: tuple[Edit, ...]) -> Object:
    result = copy.deepcopy(value)
    for edit in edits:
        edit(result)
    return result


def of(kind: str, key: str, name: object, **changes: Any) -> Edit:
    """Change one row; a change to None takes the field away."""

    def edit(status: Object) -> None:
        row = next(row for row in status[kind] if row[key] == name)
        row |= changes
        for field in [field for field, value in changes.items() if value is None]:
            del row[field]

    return edit


def sits(node: str, **changes: Any) -> Edit:
    return of("seats", "node", node, **changes)


def holds(name: str, **changes: Any) -> Edit:
    return of("groups", "name", name, **changes)


def row(kind: str, value: Object) -> Edit:
    return lambda status: status.setdefault(kind, []).append(value)


def without(kind: str, key: str, name: object) -> Edit:
    def edit(status: Object) -> None:
        status[kind] = [row for row in status[kind] if row[key] != name]

    return edit


def fields(**changes: Any) -> Edit:
    return lambda status: status.update(changes)


def no_status(status: Object) -> None:
    status.clear()


def annotated(**changes: str | None) -> Edit:
    """Annotations roost.dev/*, or taken away with None."""

    def edit(value: Object) -> None:
        for key, text in changes.items():
            value["metadata"]["annotations"][f"roost.dev/{key}"] = text
            if text is None:
                del value["metadata"]["annotations"][f"roost.dev/{key}"]

    return edit


def meta(**changes: Any) -> Edit:
    return lambda value: value["metadata"].update(changes)


def spec(**changes: Any) -> Edit:
    return lambda value: value.setdefault("spec", {}).update(changes)
