"""A lab with all of Roost running in it, and what a tenant does there: make a Service, look at it, ask it something."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address

from lab.api import ApiError, Json
from lab.cluster import Lab
from lab.network import ip
from lab.probes import Answers
from lab.run import wait_for

ROOST = "/apis/roost.dev/v1alpha1"
FOUR, SIX = "IPv4", "IPv6"
CLIENT = {4: "10.60.0.100", 6: "fd60::100"}  # as a backend sees the lab's client, unless a node stands in for it
REST = "--rest-seconds=1.5"  # of a released address; a minute by default
POOL = {
    "apiVersion": "roost.dev/v1alpha1",
    "kind": "AddressPool",
    "metadata": {"name": "prod"},
    "spec": {"addresses": ["10.60.0.200-10.60.0.239", "fd60::200-fd60::2ff"]},
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A Service of type LoadBalancer as a tenant writes it."""

    name: str
    families: tuple[str, ...] = (FOUR,)
    traffic: str = "Cluster"
    annotations: Mapping[str, str] = field(default_factory=dict)
    app: str = "web"
    ports: Sequence[int] = (80,)
    spec: Mapping[str, object] = field(default_factory=dict)

    def object(self) -> Json:
        ports = [{"name": f"p{port}", "port": port, "targetPort": 8080} for port in self.ports]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": "default", "annotations": dict(self.annotations)},
            "spec": {
                "type": "LoadBalancer",
                "selector": {"app": self.app},
                "ports": ports,
                "ipFamilies": list(self.families),
                "ipFamilyPolicy": "SingleStack" if len(self.families) == 1 else "RequireDualStack",
                "externalTrafficPolicy": self.traffic,
                **self.spec,
            },
        }


class Shop:
    """A tenant's hands and eyes in a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    # -- hands

    def make(self, wanted: Wanted) -> None:
        self.lab.api("POST", "/api/v1/namespaces/default/services", wanted.object())

    def change(self, name: str, spec: Json, annotations: Mapping[str, str | None] | None = None) -> None:
        """Merge *spec* and *annotations* into the Service's own; None takes one away."""
        self.lab.api("PATCH", path(name), {"spec": spec, "metadata": {"annotations": dict(annotations or {})}})

    def delete(self, *names: str) -> None:
        for name in names:
            self.lab.api("DELETE", path(name))
        for name in names:
            self.wait_deleted(name)

    # -- eyes

    def service(self, name: str) -> Json:
        return self.lab.api("GET", path(name))

    def addresses(self, name: str) -> list[str]:
        """In its status, in its order."""
        return [entry["ip"] for entry in self.service(name)["status"].get("loadBalancer", {}).get("ingress", [])]

    def condition(self, name: str, kind: str) -> Json:
        """``{}`` if it has none of that type."""
        found = self.service(name)["status"].get("conditions", [])
        return next((item for item in found if item["type"] == f"roost.dev/{kind}"), {})

    def events(self, about: str, kind: str = "Service", *, warnings: bool = True) -> list[Json]:
        """The Events about an object, by time."""
        found = self.lab.admin.items("/apis/events.k8s.io/v1/events")
        ours = [e for e in found if (e["regarding"].get("kind"), e["regarding"].get("name")) == (kind, about)]
        ours = [e for e in ours if e.get("type") == "Warning" or not warnings]
        return sorted(ours, key=lambda event: str(event.get("eventTime") or event["deprecatedFirstTimestamp"]))

    def vip(self, address: str) -> Json | None:
        return self.lab.admin.find(f"{ROOST}/virtualips/{ip_address(address).exploded.replace(':', '-')}")

    def holder(self, address: str) -> str:
        """The node that holds a VIP in the table of its segment; "" while none does."""
        vip = self.vip(address)
        if vip is None:
            return ""
        for segment in self.lab.admin.items(f"{ROOST}/segments"):
            table = segment.get("status", {})
            nodes = {seat["tenure"]: seat["node"] for seat in table.get("seats", [])}
            for group in table.get("groups", []):
                if group["name"] == vip["spec"]["group"] and group.get("tenure") in nodes:
                    return str(nodes[group["tenure"]])
        return ""

    def carriers(self, address: str) -> set[str]:
        """The nodes that have *address* on a link; kube-proxy's own place for it (kube-ipvs0) does not count."""
        found = set()
        for name, node in self.lab.nodes.items():
            if node.powered:
                links = json.loads(self.lab.run_in(name, "ip", "-j", "address"))
                if any(info.get("local") == address for link in links for info in link["addr_info"]):
                    found.add(name)
        return found

    def answer(self, address: str, port: int = 80) -> str:
        """What it answers to a client that does not know its MAC yet; "" if it does not."""
        ip([f"neighbour flush to {address}"], "client")
        host = f"[{address}]" if ":" in address else address
        try:
            return self.lab.fetch("client", f"http://{host}:{port}/", timeout=1)
        except OSError:
            return ""

    # -- waiting

    def wait_deleted(self, name: str) -> None:
        wait_for(f"Service {name} is gone", lambda: self.lab.admin.find(path(name)) is None)

    def wait_rest(self, address: str) -> None:
        wait_for(f"{address} rests", lambda: (self.vip(address) or {}).get("spec", {}).get("retainUntil"))

    def wait_free(self, address: str) -> None:
        wait_for(f"nothing speaks of {address}", lambda: self.vip(address) is None)

    def wait_held(self, address: str, nodes: Collection[str], group: str = "") -> str:
        """The holder, once it is one of *nodes* and the VIP in a group whose name begins with *group*."""

        def found() -> str:
            vip = self.vip(address)
            fits = vip is not None and vip["spec"]["group"].startswith(group)
            return holder if fits and (holder := self.holder(address)) in nodes else ""

        return wait_for(f"{address} is held by {' or '.join(nodes)}", found, every=0.05)

    def wait_carried(self, address: str) -> None:
        """Until the holder alone has the address on a link."""
        wait_for(f"one node carries {address}", lambda: self.carriers(address) == {self.holder(address)}, every=0.2)

    def wait_addresses(self, name: str, count: int = 1) -> list[str]:
        return wait_for(
            f"{name} has {count} addresses",
            lambda: found if len(found := self.addresses(name)) == count else None,
            15,
        )

    def wait_answer(self, address: str, port: int = 80, *, by: str = "") -> str:
        """An answer, and if it must be the backend *by*, from that one."""
        what = f"{address} port {port} answers {by}"
        return wait_for(what, lambda: text if (text := self.answer(address, port)).startswith(by) else "", every=0.05)

    def wait_condition(self, name: str, kind: str, status: str, reason: str) -> Json:
        def found() -> Json | None:
            item = self.condition(name, kind)
            return item if (item.get("status"), item.get("reason")) == (status, reason) else None

        return wait_for(f"condition {kind} of {name} is {status} ({reason})", found, every=0.05)

    def wait_gone(self, *addresses: str) -> None:
        """Until nobody answers when the segment is asked for *addresses*, and then no node has any of them."""
        with self.lab.ask(*addresses) as questions:
            for address in addresses:
                report = partial(questions.report, address)
                wait_for(f"silence about {address}", partial(_silent, report), every=0.1)
        for address in addresses:
            wait_for(f"no node carries {address}", partial(self._nowhere, address), every=0.1)

    def _nowhere(self, address: str) -> bool:
        return not self.carriers(address)


def _silent(report: Callable[[], Answers]) -> bool:
    """Whether the question has been put for half a second without an answer."""
    return _silence(report()) > 0.5


def _silence(report: Answers) -> float:
    """For how long the question has been put without an answer, in seconds."""
    return report.now - max([report.started, *(moment for moment, _ in report.answers)])


def path(name: str) -> str:
    return f"/api/v1/namespaces/default/services/{name}"


def open_shop(lab: Lab, agents: Iterable[str] = ("n1", "n2", "n3"), *flags: str) -> Shop:
    """Start the controller and agents, make the pool, and a backend web-N on each node."""
    lab.start_controller("a", REST)
    for node in agents:
        lab.start_agent(node, "--linger=0.5", *flags)
    lab.apply(POOL)
    for node in lab.nodes:
        lab.add_backend(f"web-{node}", node)
    seated = len(list(agents))
    wait_for("every agent has its seat", lambda: len(seats(lab)) == seated, alive=lab.agents.values())
    return Shop(lab)


def seats(lab: Lab) -> list[str]:
    """The nodes with a live seat in any segment's table."""
    try:
        found = lab.admin.items(f"{ROOST}/segments")
    except ApiError:
        return []
    return [
        seat["node"]
        for segment in found
        for seat in segment.get("status", {}).get("seats", [])
        if seat["state"] == "Live"
    ]
