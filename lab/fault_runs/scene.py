"""What all faults happen to: a lab with Roost running, and one dual-stack Service behind a VIP of each family."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from lab.api import ApiError, Json
from lab.claims import Address, Recording
from lab.cluster import Lab
from lab.fault_runs.holders import TableWatch, history, holders, intruders, returns, seconds_with_two
from lab.fault_runs.mode import Mode
from lab.probes import AskProbe, ClaimProbe, ClientProbe
from lab.programs import SEGMENT, SEGMENTS
from lab.run import LabError, wait_for
from roost.words import ADDRESSES

VIPS = {4: "10.60.0.200", 6: "fd60::200"}
FAMILIES = {4: "IPv4", 6: "IPv6"}
FOREIGN = ("10.60.0.240", "fd60::240")  # of the pool too; a stranger has them in one of the faults
POOL = ("10.60.0.150-10.60.0.249", "fd60::150-fd60::249")
SERVICES = "/api/v1/namespaces/default/services"
SERVICE = f"{SERVICES}/web"
NODEAGENTS = "/apis/roost.dev/v1alpha1/nodeagents"
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
    table: TableWatch


class Scene:
    """A lab in which Roost runs on every node and serves the Service ``web`` on both families."""

    def __init__(self, lab: Lab, services: int = 0) -> None:
        """*lab*: with Roost's manifests in effect (Lab.install) and none of its programs running.

        *services*: how many dual-stack Services there are besides.
        """
        self.lab, self.services = lab, services
        self.mode = Mode(lab.mode)
        self.groups: dict[str, str] = {}  # of each VIP there was when the scene was last settled
        self.also: list[str] = []  # nodes that a fault struck besides the holder
        self._watchers: Watchers | None = None

    def start(self) -> Self:
        """Start both programs, make pool, Services and backends."""
        wait_for_lists(self.lab)
        self.lab.apply(pool(*POOL))
        self.lab.start_controller()
        for node in self.lab.nodes:
            self.lab.start_agent(node)
            self.lab.add_backend(f"web-{node}", node)
        web = service("web")
        web["metadata"]["annotations"] = {ADDRESSES: ",".join(VIPS.values())}
        self.lab.apply([web, *(service(f"other-{number}") for number in range(self.services))])
        return self

    # -- watching ------------------------------------------------------------------------------------------------------

    def watch(self) -> ExitStack:
        """Let the watchers look on until the returned stack is closed."""
        stack = ExitStack()
        clients = {family: stack.enter_context(self.lab.client(vip)) for family, vip in VIPS.items()}
        claims = stack.enter_context(self.lab.claims([] if self.services else (*VIPS.values(), *FOREIGN)))
        asks = stack.enter_context(self.lab.ask(*VIPS.values(), every=QUESTIONS))
        table = stack.enter_context(TableWatch(self.lab))
        self._watchers = Watchers(clients, claims, asks, table)
        return stack

    @property
    def watchers(self) -> Watchers:
        assert self._watchers is not None, "nobody watches yet"
        return self._watchers

    @property
    def addresses(self) -> list[str]:
        """Every VIP there was when the scene was last settled."""
        return [*self.groups]

    def ours(self, since: float = 0) -> Recording:
        """What our nodes claimed after *since* (seconds since 1970) besides their own addresses."""
        ports = {f"{node}-data" for node in self.lab.nodes}
        wanted = {ip_address(vip) for vip in (*self.groups, *VIPS.values(), *FOREIGN)}
        heard = self.watchers.claims.recording(since).claims
        return Recording([claim for claim in heard if claim.port in ports and claim.vip in wanted])

    def strange(self, since: float) -> int:
        """How often somebody who is none of ours claimed a VIP after *since*."""
        ports = {f"{node}-data" for node in self.lab.nodes}
        heard = self.watchers.claims.recording(since).claims
        return sum(claim.port not in ports and str(claim.vip) in self.groups for claim in heard)

    def seconds_with_two(self, since: float) -> float:
        """The time in which two of our nodes claimed one VIP, added up; who got it back by the table is no second."""
        claims = self.ours(since)
        return sum(seconds_with_two(claims.of_vip(vip), self._cuts(vip)) for vip in claims.vips)

    def intruders(self, since: float) -> list[str]:
        """Each claim that made for a second claimant, in words."""
        claims = self.ours(since)
        return [line for vip in claims.vips for line in intruders(claims.of_vip(vip), self._cuts(vip), since)]

    def _cuts(self, vip: Address) -> list[float]:
        """When a node got *vip* back, as the table says."""
        return returns(history(list(self.watchers.table.seen), self.groups.get(str(vip), "")))

    def strays(self, since: float, homes: Mapping[str, str]) -> list[str]:
        """The VIPs that after *since* another node claimed than its home (VIP → node)."""
        claims = self.ours(since).claims
        return sorted({str(one.vip) for one in claims if one.port != f"{homes.get(str(one.vip))}-data"} & homes.keys())

    def claimants(self, since: float) -> list[str]:
        """The node that made the last claim of each VIP after *since* (seconds since 1970); none: it is left out."""
        recording = self.ours(since)
        return [node for vip in VIPS.values() if (node := recording.holder(vip).removesuffix("-data"))]

    def connects(self, since: float) -> bool:
        """Whether clients of both families have connected after *since*."""
        return all(client.report().successes[-1:] > (since,) for client in self.watchers.clients.values())

    # -- what the cluster says -----------------------------------------------------------------------------------------

    def homes(self) -> dict[str, str]:
        """The node that holds each VIP, as the table says; empty: none."""
        table = self.lab.admin.find(SEGMENT) or {}
        held = holders(table)
        return {vip: held.get(group, "") for vip, group in self.groups.items()}

    def holder(self) -> str:
        """The node that holds the VIPs that are looked at; empty: none, or two."""
        homes = self.homes()
        found = {homes.get(vip, "") for vip in VIPS.values()}
        return found.pop() if len(found) == 1 else ""

    def vips(self) -> list[Json]:
        """The VirtualIPs of the Services that are looked at; not those that rest."""
        return [vip for vip in self.lab.admin.items(VIRTUALIPS) if "retainUntil" not in vip["spec"]]

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
        return self._programs() or self._vips() or self._traffic(since)

    def _programs(self) -> str:
        lab = self.lab
        if dead := [p.name for p in (*lab.agents.values(), *lab.controllers.values()) if not p.running]:
            return f"{', '.join(dead)} not running"
        if missing := sorted(lab.nodes.keys() - seated(lab)):
            return f"{', '.join(missing)} without an eligible live seat"
        modes = {seat["node"]: seat["mode"] for seat in lab.seats()}
        return "" if lab.all_in_mode() else f"not all are {lab.mode}: {modes}"

    def _vips(self) -> str:
        self.groups = {vip["spec"]["address"]: vip["spec"].get("group", "") for vip in self.vips()}
        if len(self.groups) != len(VIPS) * (1 + self.services):
            return f"there are {len(self.groups)} VIPs"
        if free := [vip for vip, node in self.homes().items() if not node]:
            return f"nobody holds {', '.join(free[:3])}"
        return "" if len(self.given()["addresses"]) == len(VIPS) else "the Service has not both addresses"

    def _traffic(self, since: float) -> str:
        if self._ready_endpoints() != len(VIPS) * len(self.lab.nodes):
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
