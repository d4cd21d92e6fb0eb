"""What all faults happen to: a lab with Roost running and one dual-stack Service behind a VIP of each family."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from lab.api import ApiError, Json
from lab.cluster import Lab
from lab.probes import AskProbe, ClaimProbe, ClientProbe
from lab.run import LabError, wait_for

VIPS = {4: "10.60.0.200", 6: "fd60::200"}
FAMILIES = {4: "IPv4", 6: "IPv6"}
SERVICE = "/api/v1/namespaces/default/services/web"
SEGMENTS = "/apis/roost.dev/v1alpha1/segments"
VIRTUALIPS = "/apis/roost.dev/v1alpha1/virtualips"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dweb"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/roost-node-lease/leases"
SETTLED = 90.0  # seconds until everything is well again after a fault; a node without power takes longest to return
QUESTIONS = 0.050  # seconds between two questions for an address: whoever would answer shows itself


def pool(*ranges: str) -> Json:
    return {
        "apiVersion": "roost.dev/v1alpha1",
        "kind": "AddressPool",
        "metadata": {"name": "lab"},
        "spec": {"addresses": list(ranges)},
    }


def service(name: str, families: tuple[int, ...] = (4, 6), **spec: object) -> Json:
    """A Service of type LoadBalancer for the pods web-1, web-2, …"""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080}],
            "ipFamilies": [FAMILIES[family] for family in families],
            "ipFamilyPolicy": "RequireDualStack" if len(families) > 1 else "SingleStack",
            **spec,
        },
    }


def wait_for_lists(lab: Lab) -> None:
    """Wait until Roost's new types can be listed; the API server refuses that for a moment (429)."""

    def answers() -> bool:
        try:
            for path in (VIRTUALIPS, SEGMENTS):
                lab.admin.items(path)
        except ApiError:
            return False
        return True

    wait_for("Roost's types can be listed", answers, 20, every=0.1)


def seated(lab: Lab) -> set[str]:
    """The nodes with a live, eligible seat in a table."""
    return {
        seat["node"]
        for segment in lab.admin.items(SEGMENTS)
        for seat in segment.get("status", {}).get("seats", [])
        if seat["state"] == "Live" and seat.get("eligible")
    }


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who looks on: a client per family, a listener for claims, and a station that asks who has the addresses."""

    clients: Mapping[int, ClientProbe]
    claims: ClaimProbe
    asks: AskProbe


class Scene:
    """A lab in which Roost runs on every node and serves the Service ``web`` on both families."""

    def __init__(self, lab: Lab) -> None:
        """*lab*: with Roost's manifests in effect (Lab.install) and none of its programs running."""
        self.lab = lab
        self._watchers: Watchers | None = None

    def start(self) -> Self:
        """Start both programs, make pool, Service and backends, and wait until all of it works."""
        wait_for_lists(self.lab)
        self.lab.apply(pool(f"{VIPS[4]}-10.60.0.249", f"{VIPS[6]}-fd60::249"))
        self.lab.start_controller()
        for node in self.lab.nodes:
            self.lab.start_agent(node)
            self.lab.add_backend(f"web-{node}", node)
        self.lab.apply(service("web"))
        return self

    # -- watching ------------------------------------------------------------------------------------------------------

    def watch(self) -> ExitStack:
        """Let the watchers look on until the returned stack is closed."""
        stack = ExitStack()
        clients = {family: stack.enter_context(self.lab.client(vip)) for family, vip in VIPS.items()}
        claims = stack.enter_context(self.lab.claims(VIPS.values()))
        asks = stack.enter_context(self.lab.ask(*VIPS.values(), every=QUESTIONS))
        self._watchers = Watchers(clients, claims, asks)
        return stack

    @property
    def watchers(self) -> Watchers:
        assert self._watchers is not None, "nobody watches yet"
        return self._watchers

    def claimants(self, since: float) -> list[str]:
        """The node that made the last claim of each VIP after *since* (seconds since 1970); none: it is left out."""
        recording = self.watchers.claims.recording(since)
        return [node for vip in VIPS.values() if (node := recording.holder(vip).removesuffix("-data"))]

    def connects(self, since: float) -> bool:
        """Whether clients of both families have connected after *since*."""
        return all(client.report().successes[-1:] > (since,) for client in self.watchers.clients.values())

    # -- what the cluster says -----------------------------------------------------------------------------------------

    def holder(self) -> str:
        """The node that holds the group of the VIPs, as the table says; empty: none, or two."""
        group = {vip["spec"]["group"] for vip in self.vips()}
        for segment in self.lab.admin.items(SEGMENTS):
            status = segment.get("status", {})
            live = {seat["tenure"]: seat["node"] for seat in status.get("seats", []) if seat["state"] == "Live"}
            holders = {live.get(row["tenure"], "") for row in status.get("groups", []) if row["name"] in group}
            if len(holders) == 1:
                return str(holders.pop())
        return ""

    def vips(self) -> list[Json]:
        return self.lab.admin.items(VIRTUALIPS)

    def given(self) -> dict[str, list[str]]:
        """What must not change: the Service's addresses, and which VirtualIPs there are."""
        ingress = self.lab.api("GET", SERVICE)["status"].get("loadBalancer", {}).get("ingress", [])
        return {
            "addresses": sorted(entry["ip"] for entry in ingress),
            "VirtualIPs": sorted(f"{vip['metadata']['name']} {vip['metadata']['uid']}" for vip in self.vips()),
        }

    def _ready_endpoints(self) -> int:
        return sum(
            endpoint.get("conditions", {}).get("ready", False)
            for one in self.lab.admin.items(SLICES)
            for endpoint in one.get("endpoints") or []
        )

    def _unsettled(self, since: float) -> str:
        """What is not as it should be before a fault; empty: all is well."""
        lab = self.lab
        if dead := [p.name for p in (*lab.agents.values(), *lab.controllers.values()) if not p.running]:
            return f"{', '.join(dead)} not running"
        if missing := sorted(lab.nodes.keys() - seated(lab)):
            return f"{', '.join(missing)} without an eligible live seat"
        if len(self.given()["addresses"]) != len(VIPS):
            return "the Service has not both addresses"
        if self._ready_endpoints() != len(VIPS) * len(lab.nodes):
            return "endpoints are missing"
        holder = self.holder()
        if not holder or self.claimants(since) != [holder] * len(VIPS):
            return f"the table says {holder or 'nobody'}, the wire {self.claimants(since)}"
        return "" if self.connects(since) else "a client cannot connect"

    def settle(self) -> str:
        """Wait until everything is well, and return the node that holds both VIPs. Raises LabError."""
        why = ""

        def well() -> bool:
            nonlocal why
            try:
                why = self._unsettled(time.time() - 1)
            except ApiError as error:  # it may just be starting
                why = str(error)
            return not why

        try:
            wait_for("everything is well", well, SETTLED, every=0.2)
        except LabError as error:
            raise LabError(f"{error}: {why}") from error
        return self.holder()
