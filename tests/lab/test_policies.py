"""Each refusal and each allowance of the admission policies and roles, called on the real API server."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest

from lab.cluster import Lab
from tests.lab.policy_calls import (
    ALLOWED,
    LEASES,
    SERVICE,
    TRUSTED,
    UNTRUSTED,
    Answer,
    Call,
    Callers,
    Case,
    Object,
    edited,
    enrol,
    eventually,
    fields,
    lease,
    named,
    refused,
    service,
    spec,
    table,
)
from tests.lab.policy_cases import (
    AGENTS,
    BGP,
    CALLS,
    FURTHER,
    LEASE,
    OTHERS_LEASE,
    PEERS,
    SEGMENTS,
    TABLE,
    TOR,
    VIP,
    VIPS,
    further,
)

SERVICES = SERVICE.removesuffix("/web")
IN_TRUSTED = SERVICES.replace(UNTRUSTED, TRUSTED)
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
NOT_OURS = refused("Roost touches only its own finalizer")
NOT_SPEC = refused("Roost never writes Service.spec")
NOT_TRUSTED = "label the namespace roost.dev/service-authors=trusted to allow them"
WHEN = "2026-01-01T00:00:00Z"
ALLOCATED = {
    "type": "roost.dev/Allocated",
    "status": "True",
    "reason": "Allocated",
    "message": "",
    "lastTransitionTime": WHEN,
}
NODE_WIDE = ["serviceInterface", "serviceVLAN", "macvlanName", "hwaddr", "rp_filter", "flush-conntrack", "egress"]
NODE_WIDE += ["forwardUPNP", "ignore-service-security", "leaseName"]


def by_sentence(cases: Iterable[Case | Call]) -> list[Any]:
    return [pytest.param(case, id=case.sentence) for case in cases]


def answered(answer: Answer, wanted: Answer) -> None:
    assert answer.fits(wanted), f"wanted {wanted.code} {wanted.says!r}, got {answer.code} {answer.says!r}"


@pytest.fixture(scope="module")
def callers(lab: Lab) -> Iterator[Callers]:
    """Everybody who calls."""
    with closing(Callers(lab.admin, lab.client_api)) as callers:
        enrol(callers)
        yield callers


@pytest.mark.parametrize("case", by_sentence(TABLE))
def test_table(callers: Callers, case: Case) -> None:
    callers.make(SEGMENTS, named("policies"))
    standing = edited(table(), case.given)
    if standing:
        stands = callers.read(f"{SEGMENTS}/policies")
        answered(callers.call("admin", "PUT", f"{SEGMENTS}/policies/status", stands | {"status": standing}), ALLOWED)
    stands = callers.read(f"{SEGMENTS}/policies")
    raised = fields(revision=standing.get("revision", 0) + 1)
    written = edited(standing, (raised, *case.change))
    body = {key: value for key, value in stands.items() if key != "status"} | ({"status": written} if written else {})
    answered(callers.call(case.who, "PUT", f"{SEGMENTS}/policies/status", body), case.wanted)


@pytest.mark.parametrize("case", by_sentence(LEASE))
def test_lease(callers: Callers, case: Case) -> None:
    standing = edited(lease("m2"), case.given)
    stands = callers.make(LEASES, standing)
    answered(callers.call(case.who, "PUT", f"{LEASES}/m2", edited(stands, case.change)), case.wanted)


@pytest.mark.parametrize("case", by_sentence(FURTHER))
def test_lease_for_a_further_segment(callers: Callers, case: Case) -> None:
    stands = callers.make(LEASES, edited(further("m1", "rack-1"), case.given))
    answered(callers.call(case.who, "PUT", f"{LEASES}/m1.rack-1", edited(stands, case.change)), case.wanted)


def test_a_lease_of_a_node_whose_name_reads_like_a_segments_is_that_nodes(callers: Callers) -> None:
    """A node may be called m1.rack-1."""
    mine = further("m1", "rack-1")
    answered(callers.call("m1", "PUT", f"{LEASES}/m1.rack-1", callers.make(LEASES, mine)), ALLOWED)
    stands = callers.make(LEASES, edited(mine, (spec(holderIdentity="m1.rack-1"),)))
    answered(
        callers.call("m1", "PUT", f"{LEASES}/m1.rack-1", edited(stands, (spec(holderIdentity="m1"),))), OTHERS_LEASE
    )


@pytest.mark.parametrize("call", by_sentence(CALLS + BGP))
def test_call(callers: Callers, call: Call) -> None:
    for path, there in (
        (AGENTS, named("m1")),
        (AGENTS, named("m2")),
        (SEGMENTS, named("policies-there")),
        (VIPS, VIP),
        (LEASES, lease("m2")),
        (PEERS, TOR),
    ):
        callers.ensure(path, there)
    name = (call.body or {}).get("metadata", {}).get("name")
    if call.wanted == ALLOWED and call.method == "POST" and name:
        callers.remove(f"{call.path}/{name}")
    answered(callers.call(call.who, call.method, call.path, call.body), call.wanted)


@pytest.mark.parametrize(
    ("subresource", "patch", "wanted"),
    [
        pytest.param("", {"metadata": {"finalizers": ["a.b/kept"]}}, ALLOWED, id="takes its own finalizer off"),
        pytest.param("", {"metadata": {"finalizers": [FINALIZER]}}, NOT_OURS, id="takes a foreign finalizer off"),
        pytest.param(
            "", {"metadata": {"finalizers": ["a.b/kept", "c.d/e"]}}, NOT_OURS, id="puts a foreign finalizer on"
        ),
        pytest.param("/status", {"metadata": {"finalizers": []}}, NOT_OURS, id="does so by way of status"),
        pytest.param("", {"spec": {"loadBalancerIP": "192.0.2.7"}}, NOT_SPEC, id="writes spec.loadBalancerIP"),
        pytest.param("", {"spec": {"ports": [{"port": 81}]}}, NOT_SPEC, id="writes spec.ports"),
        pytest.param("", {"spec": {"externalTrafficPolicy": "Local"}}, NOT_SPEC, id="writes the traffic policy"),
        pytest.param(
            "/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}, ALLOWED, id="gives an address"
        ),
        pytest.param("/status", {"status": {"conditions": [ALLOCATED]}}, ALLOWED, id="writes a condition"),
    ],
)
def test_the_controller_and_a_service(callers: Callers, subresource: str, patch: Object, wanted: Answer) -> None:
    web = service()
    web["metadata"]["finalizers"] = ["a.b/kept", FINALIZER]
    callers.make(SERVICES, web)
    answered(callers.call("controller", "PATCH", SERVICE + subresource, patch), wanted)


def test_the_controller_puts_its_finalizer_on(callers: Callers) -> None:
    callers.make(SERVICES, service())
    answered(callers.call("controller", "PATCH", SERVICE, {"metadata": {"finalizers": [FINALIZER]}}), ALLOWED)


@pytest.mark.parametrize("key", NODE_WIDE)
def test_an_annotation_that_changes_nodes_is_for_trusted_namespaces(callers: Callers, key: str) -> None:
    callers.remove(SERVICE)
    callers.remove(f"{IN_TRUSTED}/web")
    answered(
        callers.call("author", "POST", SERVICES, service(**{key: "x"})), refused(f"kube-vip.io/{key}; {NOT_TRUSTED}")
    )
    answered(callers.call("author", "POST", IN_TRUSTED, service(**{key: "x"})), ALLOWED)


def test_an_annotation_of_the_service_alone_is_for_everybody(callers: Callers) -> None:
    callers.remove(SERVICE)
    answered(callers.call("author", "POST", SERVICES, service(loadbalancerIPs="192.0.2.7")), ALLOWED)
    more = {"metadata": {"annotations": {"kube-vip.io/loadbalancerIPs": "192.0.2.8"}}}
    answered(callers.call("author", "PATCH", SERVICE, more), ALLOWED)


def test_such_an_annotation_cannot_be_added_later(callers: Callers) -> None:
    callers.make(SERVICES, service())
    later = {"metadata": {"annotations": {"kube-vip.io/hwaddr": "02:00:00:00:00:01"}}}
    answered(callers.call("author", "PATCH", SERVICE, later), refused(NOT_TRUSTED))


def test_such_an_annotation_cannot_come_in_on_a_cluster_ip(callers: Callers) -> None:
    web = service(hwaddr="02:00:00:00:00:01")
    web["spec"] = {"type": "ClusterIP", "ports": web["spec"]["ports"]}
    callers.make(SERVICES, web)
    answered(callers.call("author", "PATCH", SERVICE, {"spec": {"type": "LoadBalancer"}}), refused(NOT_TRUSTED))


def test_a_namespace_that_is_no_longer_trusted_keeps_what_it_has(callers: Callers) -> None:
    namespace = "/api/v1/namespaces/policies-once"
    label = {"roost.dev/service-authors": "trusted"}
    callers.ensure("/api/v1/namespaces", {"metadata": {"name": "policies-once", "labels": label}})
    callers.call("admin", "PATCH", namespace, {"metadata": {"labels": label}})
    services = f"{namespace}/services"
    callers.remove(f"{services}/web")
    kept = service(hwaddr="02:00:00:00:00:01")
    eventually("the namespace is trusted", lambda: callers.call("author", "POST", services, kept) == ALLOWED)
    callers.call("admin", "PATCH", namespace, {"metadata": {"labels": {"roost.dev/service-authors": None}}})
    other = {**kept, "metadata": {**kept["metadata"], "name": "other"}}
    eventually(
        "the namespace is not trusted",
        lambda: callers.call("author", "POST", f"{services}?dryRun=All", other).fits(refused(NOT_TRUSTED)),
    )
    answered(callers.call("author", "PATCH", f"{services}/web", {"spec": {"sessionAffinity": "ClientIP"}}), ALLOWED)
    changed = {"metadata": {"annotations": {"kube-vip.io/hwaddr": "02:00:00:00:00:02"}}}
    answered(callers.call("author", "PATCH", f"{services}/web", changed), refused(NOT_TRUSTED))
