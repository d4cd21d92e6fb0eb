"""The controller on the real API server, with the rights and policies that are shipped: what it gives and refuses."""

from collections.abc import Iterator
from typing import Any

import pytest

from lab.api import ApiError
from lab.cluster import Lab
from lab.run import Process, wait_for

NAMESPACE = "/api/v1/namespaces/default"
VIPS = "/apis/roost.dev/v1alpha1/virtualips"
POOLS = "/apis/roost.dev/v1alpha1/addresspools"
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
REST = 3.0  # seconds


def pool(name: str, **spec: object) -> dict[str, object]:
    return {"apiVersion": "roost.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": name}, "spec": spec}


class Controlled:
    """A lab in which the controller runs, and what the tests ask of it."""

    def __init__(self, lab: Lab, process: Process) -> None:
        self.lab, self.process = lab, process

    def make(self, name: str, *families: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        policy = {"ipFamilyPolicy": "PreferDualStack"} if len(families) > 1 else {}
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        body = {
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": ports}
            | ({"ipFamilies": list(families)} if families else {})
            | policy
            | spec,
        }
        self.lab.api("POST", f"{NAMESPACE}/services", body)

    def patch(self, name: str, patch: object) -> None:
        self.lab.api("PATCH", f"{NAMESPACE}/services/{name}", patch)

    def delete(self, name: str) -> None:
        self.lab.api("DELETE", f"{NAMESPACE}/services/{name}")

    def get(self, name: str) -> dict[str, Any]:
        return self.lab.admin.find(f"{NAMESPACE}/services/{name}") or {}

    def shown(self, name: str) -> tuple[str, ...]:
        ingress = self.get(name).get("status", {}).get("loadBalancer", {}).get("ingress", [])
        return tuple(item["ip"] for item in ingress)

    def vip(self, name: str) -> dict[str, Any]:
        return self.lab.admin.find(f"{VIPS}/{name}") or {}

    def condition(self, name: str, kind: str = "roost.dev/Allocated") -> dict[str, str]:
        conditions = self.get(name).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == kind), {})

    def notes(self, name: str, reason: str) -> list[str]:
        events = self.lab.admin.items(f"/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=reason={reason}")
        return [event["note"] for event in events if event["regarding"]["name"] == name]

    def wait(self, what: str, true: Any, seconds: float = 15) -> None:
        wait_for(what, true, seconds, alive=[self.process], every=0.05)

    def wait_shown(self, name: str, *addresses: str) -> None:
        self.wait(f"{name} shows {addresses}", lambda: self.shown(name) == addresses)

    def wait_refused(self, name: str, reason: str) -> str:
        self.wait(f"{name} is refused: {reason}", lambda: self.condition(name).get("reason") == reason)
        return self.condition(name)["message"]

    def gone(self, *names: str) -> None:
        """Delete these Services and wait until neither they nor an address of theirs is left."""
        for name in names:
            self.delete(name)
        self.wait("the Services are gone", lambda: not any(self.get(name) for name in names))
        self.wait("nothing rests any more", lambda: not self.lab.admin.items(VIPS), REST + 15)


@pytest.fixture(scope="module")
def there(lab: Lab) -> Iterator[Controlled]:
    lab.apply(pool("prod", addresses=["10.60.0.192/28", "fd00:60::c0-fd00:60::cf"]))
    process = lab.start_controller("a", "--rest-seconds", str(REST))
    yield Controlled(lab, process)
    process.sigterm()
    process.wait(10)


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize(
    ("families", "expected"),
    [
        pytest.param(("IPv4",), ("10.60.0.193",), id="IPv4"),
        pytest.param(("IPv6",), ("fd00:60::c0",), id="IPv6"),
        pytest.param(("IPv4", "IPv6"), ("10.60.0.193", "fd00:60::c0"), id="dual stack, IPv4 first"),
        pytest.param(("IPv6", "IPv4"), ("fd00:60::c0", "10.60.0.193"), id="dual stack, IPv6 first"),
    ],
)
def test_addresses_come_and_go(
    there: Controlled, families: tuple[str, ...], expected: tuple[str, ...], policy: str
) -> None:
    there.make("web", *families, externalTrafficPolicy=policy)
    there.wait_shown("web", *expected)
    service = there.get("web")
    assert service["metadata"]["finalizers"] == [FINALIZER]
    assert {item["ipMode"] for item in service["status"]["loadBalancer"]["ingress"]} == {"VIP"}
    assert there.condition("web")["message"].endswith("from pool prod")
    vips = there.lab.admin.items(VIPS)
    assert {vip["spec"]["announce"]["trafficPolicy"] for vip in vips} == {policy}
    assert len({vip["spec"]["group"] for vip in vips}) == 1
    assert vips[0]["spec"]["group"].startswith("b-" if policy == "Cluster" else "s-")
    if policy == "Local":
        assert vips[0]["spec"]["announce"]["healthCheckNodePort"] == service["spec"]["healthCheckNodePort"]
    there.gone("web")


def test_people_see_it_with_kubectl(there: Controlled) -> None:
    there.make("web")
    there.wait_shown("web", "10.60.0.193")
    assert "10.60.0.193" in there.lab.kubectl("get", "services", "web")
    there.wait(
        "kubectl get rvip names the Service", lambda: "default/web" in there.lab.kubectl("get", "rvip", "10.60.0.193")
    )
    there.wait("kubectl get apool counts it", lambda: " 1 " in there.lab.kubectl("get", "apool", "prod"))
    there.wait(
        "describe shows the Events",
        lambda: (
            {"EnsuredLoadBalancer", "AddressAllocated"} <= set(there.lab.kubectl("describe", "service", "web").split())
        ),
    )
    there.gone("web")


def test_two_services_have_two_addresses_and_a_name_gets_its_own_back(there: Controlled) -> None:
    there.make("one")
    there.wait_shown("one", "10.60.0.193")
    there.make("two")
    there.wait_shown("two", "10.60.0.194")
    there.delete("one")
    there.wait("one is gone", lambda: not there.get("one"))
    assert there.vip("10.60.0.193")["spec"]["retainUntil"]
    there.make("one")
    there.wait_shown("one", "10.60.0.193")
    there.gone("one", "two")


def test_a_service_that_changes_while_it_runs(there: Controlled) -> None:
    there.make("web")
    there.wait_shown("web", "10.60.0.193")
    there.patch("web", {"spec": {"ports": [{"name": "tls", "port": 443}]}})
    there.wait(
        "the new port is in claim and status",
        lambda: (
            [port["port"] for port in there.vip("10.60.0.193")["spec"]["claims"][0]["ports"]] == [443]
            and there.get("web")["status"]["loadBalancer"]["ingress"][0]["ports"][0]["port"] == 443
        ),
    )
    there.patch("web", {"spec": {"externalTrafficPolicy": "Local"}})
    there.wait("the policy is resolved", lambda: there.vip("10.60.0.193")["spec"]["group"].startswith("s-"))
    there.patch("web", {"metadata": {"annotations": {"roost.dev/addresses": "10.60.0.200"}}})
    there.wait_shown("web", "10.60.0.200")
    there.patch("web", {"metadata": {"annotations": {"roost.dev/addresses": None}}})
    there.patch("web", {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
    there.wait_shown("web", "10.60.0.200", "fd00:60::c0")
    there.patch("web", {"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": None}})
    there.wait_shown("web", "10.60.0.200")
    with pytest.raises(ApiError, match="may not change once set"):
        there.patch("web", {"spec": {"loadBalancerClass": "other.example/class"}})
    there.gone("web")


def test_another_class_is_not_touched_and_ours_is_served(there: Controlled) -> None:
    there.make("theirs", loadBalancerClass="other.example/class")
    there.make("ours", loadBalancerClass="kube-vip.io/kube-vip-class")
    there.wait_shown("ours", "10.60.0.193")
    theirs = there.get("theirs")
    assert theirs["status"] == {"loadBalancer": {}}
    assert "finalizers" not in theirs["metadata"]
    there.gone("theirs", "ours")


def test_a_hundred_flips_of_the_type_end_right(there: Controlled) -> None:
    there.make("web")
    there.wait_shown("web", "10.60.0.193")
    for turn in range(100):
        there.patch("web", {"spec": {"type": "ClusterIP" if turn % 2 == 0 else "LoadBalancer"}})
    there.wait_shown("web", "10.60.0.193")
    there.patch("web", {"spec": {"type": "ClusterIP"}})
    there.wait("it is let go", lambda: "finalizers" not in there.get("web")["metadata"])
    there.wait("no condition of ours stays", lambda: not there.get("web")["status"].get("conditions"))
    there.gone("web")


@pytest.mark.parametrize(
    ("annotations", "reason", "message"),
    [
        pytest.param({"roost.dev/addresses": "rub;bish"}, "InvalidRequest", "not a list of IP addresses", id="rubbish"),
        pytest.param({"roost.dev/addresses": "192.0.2.1"}, "AddressNotInPool", "192.0.2.1 is in no pool", id="no pool"),
        pytest.param(
            {"roost.dev/pool": "lost"}, "NoMatchingPool", "there is no pool lost", id="a pool that is not there"
        ),
    ],
)
def test_a_bad_wish_gets_one_event_and_one_condition(
    there: Controlled, annotations: dict[str, str], reason: str, message: str
) -> None:
    there.make("bad", annotations=annotations)
    assert message in there.wait_refused("bad", reason)
    there.wait("the Event is there", lambda: len(there.notes("bad", "SyncLoadBalancerFailed")) > 0)
    assert any(note.startswith(f"{reason}: ") for note in there.notes("bad", "SyncLoadBalancerFailed"))
    there.make("good")
    there.wait_shown("good", "10.60.0.193")
    there.gone("bad", "good")


def test_a_name_of_63_characters_and_300_ports(there: Controlled) -> None:
    name = "n" + "x" * 61 + "9"
    ports = [{"name": f"p{port}", "port": port} for port in range(1000, 1300)]
    there.make(name, ports=ports, allocateLoadBalancerNodePorts=False)
    there.wait_shown(name, "10.60.0.193")
    assert len(there.vip("10.60.0.193")["spec"]["claims"][0]["ports"]) == 300
    there.gone(name)


def test_pools_that_are_wrong(there: Controlled) -> None:
    with pytest.raises(ApiError, match="host bits are set"):
        there.lab.api("POST", POOLS, pool("bad", addresses=["10.60.0.5/28"]))
    ranges = ["10.60.0.250-10.60.0.240", "10.60.0.240", "10.96.0.0/30"]
    there.lab.api("POST", POOLS, pool("odd", addresses=ranges, allocation={"priority": 900}))

    def conditions() -> dict[str, dict[str, str]]:
        found = (there.lab.admin.find(f"{POOLS}/odd") or {}).get("status", {}).get("conditions", [])
        return {item["type"]: item for item in found}

    there.wait("the pool says what is wrong", lambda: conditions().get("Ready", {}).get("status") == "False")
    assert "10.60.0.250-10.60.0.240: first is after last" in conditions()["Ready"]["message"]
    assert conditions()["Overlapping"]["reason"] == "ClusterCIDR"
    there.make("web", annotations={"roost.dev/addresses": "10.60.0.240"})
    there.wait_shown("web", "10.60.0.240")
    there.lab.api("DELETE", f"{POOLS}/odd")
    there.patch("web", {"metadata": {"annotations": {"roost.dev/addresses": None}}})
    there.wait_shown("web", "10.60.0.193")  # its pool was taken away: it moves
    there.wait("the move is an Event", lambda: there.notes("web", "AddressChanged") != [])
    there.gone("web")


def test_a_finalizer_left_by_a_crash_is_known_by_who_wrote_it(there: Controlled) -> None:
    """Between the first write and the second the controller dies, and the Service turns away from LoadBalancer."""
    there.process.sigterm()
    there.process.wait(10)
    try:
        there.make("ours")
        there.make("theirs")
        as_controller = there.lab.client_api(there.lab.token("roost-cloudprovider"))
        patch = {"metadata": {"finalizers": [FINALIZER]}}
        headers = {"User-Agent": "roost-cloudprovider/0"}
        as_controller.request("PATCH", f"{NAMESPACE}/services/ours", patch, headers=headers)
        there.patch("theirs", patch)
        for name in ("ours", "theirs"):
            there.patch(name, {"spec": {"type": "ClusterIP"}})
    finally:
        there.process = there.lab.start_controller("b", "--rest-seconds", str(REST))
    there.wait("ours is let go", lambda: "finalizers" not in there.get("ours")["metadata"])
    assert there.get("theirs")["metadata"]["finalizers"] == [FINALIZER]
    there.patch("theirs", {"metadata": {"finalizers": None}})
    there.gone("ours", "theirs")


def test_sigterm_ends_the_controller_well_and_gives_the_lease_back(there: Controlled) -> None:
    there.process.sigterm()
    assert there.process.wait(10) == 0
    lease = there.lab.api("GET", "/apis/coordination.k8s.io/v1/namespaces/roost-system/leases/roost-cloud-controller")
    assert not lease["spec"].get("holderIdentity")
    there.process = there.lab.start_controller("c", "--rest-seconds", str(REST))
    there.make("web")
    there.wait_shown("web", "10.60.0.193")
    there.gone("web")
    bad = [line for line in there.process.log().splitlines() if '"error"' in line or "Traceback" in line]
    assert bad == []
