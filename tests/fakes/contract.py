"""What Roost relies on in an API server. The fake and the real one must both pass, by the same client."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from roost.kube.client import Change, Conflict, Form, Kube, Ok, Outcome
from roost.kube.events import EVENTS, Event
from roost.kube.reflector import Reflector
from roost.kube.wire import (
    LEASES,
    SERVICES,
    Condition,
    Ingress,
    Lease,
    LeaseSpec,
    LoadBalancer,
    Meta,
    ObjectReference,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from roost.process import RealClock

Case = Callable[[Kube, str], Awaitable[None]]
CASES: dict[str, Case] = {}
DEADLINE = 10.0  # seconds
T = TypeVar("T")


def case(function: Case) -> Case:
    CASES[function.__name__.replace("_", " ")] = function
    return function


def ok(outcome: Outcome[T]) -> T:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def no(outcome: Outcome[T]) -> tuple[int, str]:
    assert isinstance(outcome, Conflict), outcome
    return outcome.code, outcome.reason


def lease(namespace: str, name: str = "a", holder: str = "me", **meta: Any) -> Lease:
    return Lease(metadata=Meta(name=name, namespace=namespace, **meta), spec=LeaseSpec(holder_identity=holder))


def service(namespace: str) -> Service:
    spec = ServiceSpec(ports=(ServicePort(port=80),), type="LoadBalancer")
    return Service(metadata=Meta(name="web", namespace=namespace), spec=spec)


def held_by(value: Lease, holder: str) -> Lease:
    return msgspec.structs.replace(value, spec=msgspec.structs.replace(value.spec, holder_identity=holder))


@case
async def what_is_created_can_be_read(kube: Kube, namespace: str) -> None:
    made = ok(await kube.create(LEASES, lease(namespace, labels={"a": "b"})))
    assert made.metadata.uid
    assert made.metadata.resource_version
    assert await kube.get(LEASES, "a", namespace=namespace) == made
    assert await kube.get(LEASES, "b", namespace=namespace) is None
    assert no(await kube.create(LEASES, lease(namespace))) == (409, "AlreadyExists")


@case
async def a_put_needs_the_version_it_replaces(kube: Kube, namespace: str) -> None:
    first = ok(await kube.create(LEASES, lease(namespace)))
    second = ok(await kube.put(LEASES, held_by(first, "you")))
    assert second.metadata.resource_version != first.metadata.resource_version
    assert no(await kube.put(LEASES, held_by(first, "late"))) == (409, "Conflict")
    assert no(await kube.put(LEASES, lease(namespace))) == (422, "Invalid")


@case
async def a_put_of_a_deleted_lease_makes_it_anew_unless_it_names_the_uid(kube: Kube, namespace: str) -> None:
    """Leases may be created by PUT, whatever resourceVersion it names: a late write could bring one back."""
    made = ok(await kube.create(LEASES, lease(namespace)))
    ok(await kube.delete(LEASES, "a", namespace=namespace))
    assert no(await kube.put(LEASES, made)) == (409, "Conflict")
    without = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, uid=""))
    assert ok(await kube.put(LEASES, without)).metadata.uid != made.metadata.uid


@case
async def a_put_that_changes_nothing_gets_no_new_version(kube: Kube, namespace: str) -> None:
    made = ok(await kube.create(LEASES, lease(namespace)))
    assert ok(await kube.put(LEASES, made)).metadata.resource_version == made.metadata.resource_version


@case
async def a_merge_patch_may_carry_a_condition(kube: Kube, namespace: str) -> None:
    made = ok(await kube.create(LEASES, lease(namespace, annotations={"keep": "1", "go": "1"})))
    patch = {"metadata": {"annotations": {"go": None, "new": "1"}}}
    new = ok(await kube.patch(LEASES, "a", patch, namespace=namespace))
    assert new.metadata.annotations == {"keep": "1", "new": "1"}
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version, "annotations": {"late": "1"}}}
    assert no(await kube.patch(LEASES, "a", stale, namespace=namespace)) == (409, "Conflict")
    other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000", "annotations": {"late": "1"}}}
    assert no(await kube.patch(LEASES, "a", other, namespace=namespace))[0] in {409, 422}
    assert no(await kube.patch(LEASES, "b", patch, namespace=namespace)) == (404, "NotFound")


@case
async def a_json_patch_is_refused_when_its_test_fails(kube: Kube, namespace: str) -> None:
    ok(await kube.create(LEASES, lease(namespace)))
    swap = [
        {"op": "test", "path": "/spec/holderIdentity", "value": "me"},
        {"op": "replace", "path": "/spec/holderIdentity", "value": "you"},
        {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "1"}},
        {"op": "remove", "path": "/metadata/annotations/a~1b"},
    ]
    assert ok(await kube.patch(LEASES, "a", swap, namespace=namespace, form=Form.JSON)).spec.holder_identity == "you"
    assert no(await kube.patch(LEASES, "a", swap, namespace=namespace, form=Form.JSON))[0] == 422


@case
async def the_status_has_a_door_of_its_own(kube: Kube, namespace: str) -> None:
    made = ok(await kube.create(SERVICES, service(namespace)))
    patch = {
        "metadata": {"resourceVersion": made.metadata.resource_version},
        "spec": {"externalTrafficPolicy": "Local"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7", "ipMode": "VIP"}]}},
    }
    new = ok(await kube.patch(SERVICES, "web", patch, namespace=namespace, subresource="status"))
    assert new.status == ServiceStatus(load_balancer=LoadBalancer(ingress=(Ingress(ip="192.0.2.7", ip_mode="VIP"),)))
    assert new.spec.external_traffic_policy != "Local"
    assert no(await kube.patch(SERVICES, "web", patch, namespace=namespace, subresource="status")) == (409, "Conflict")
    through_the_front = {"metadata": {"labels": {"a": "b"}}, "status": {"loadBalancer": None}}
    kept = ok(await kube.patch(SERVICES, "web", through_the_front, namespace=namespace))
    assert kept.status == new.status
    assert kept.metadata.labels == {"a": "b"}


@case
async def conditions_can_be_applied_and_withdrawn(kube: Kube, namespace: str) -> None:
    ok(await kube.create(SERVICES, service(namespace)))

    async def apply(manager: str, *types: str) -> set[str]:
        then = "2026-01-01T00:00:00Z"
        conditions = [
            Condition(type=name, status="True", reason="R", message="", last_transition_time=then) for name in types
        ]
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": namespace},
            "status": {"conditions": [msgspec.to_builtins(condition) for condition in conditions]},
        }
        for condition in body["status"]["conditions"]:  # type: ignore[index]
            condition.setdefault("message", "")
        how = Form.apply(manager, force=True)
        new = ok(await kube.patch(SERVICES, "web", body, namespace=namespace, subresource="status", form=how))
        return {condition.type for condition in new.status.conditions}

    assert await apply("one", "roost.dev/A", "roost.dev/B") == {"roost.dev/A", "roost.dev/B"}
    assert await apply("two", "x.dev/C") == {"roost.dev/A", "roost.dev/B", "x.dev/C"}
    assert await apply("one", "roost.dev/B") == {"roost.dev/B", "x.dev/C"}


@case
async def a_finalizer_holds_the_object_until_it_goes(kube: Kube, namespace: str) -> None:
    ok(await kube.create(LEASES, lease(namespace, finalizers=("roost.dev/test",))))
    ok(await kube.delete(LEASES, "a", namespace=namespace))
    ending = await kube.get(LEASES, "a", namespace=namespace)
    assert ending is not None
    assert ending.metadata.deletion_timestamp
    ok(await kube.patch(LEASES, "a", {"metadata": {"finalizers": None}}, namespace=namespace))
    assert await kube.get(LEASES, "a", namespace=namespace) is None


@case
async def a_delete_may_name_what_it_means(kube: Kube, namespace: str) -> None:
    made = ok(await kube.create(LEASES, lease(namespace)))
    await kube.patch(LEASES, "a", {"metadata": {"labels": {"a": "b"}}}, namespace=namespace)
    old = made.metadata.resource_version
    assert no(await kube.delete(LEASES, "a", namespace=namespace, resource_version=old)) == (409, "Conflict")
    assert no(await kube.delete(LEASES, "a", namespace=namespace, uid="other")) == (409, "Conflict")
    ok(await kube.delete(LEASES, "a", namespace=namespace, uid=made.metadata.uid))
    assert no(await kube.delete(LEASES, "a", namespace=namespace)) == (404, "NotFound")


@case
async def lists_are_selected_by_label_and_field(kube: Kube, namespace: str) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {})):
        ok(await kube.create(LEASES, lease(namespace, name, labels=labels)))

    async def names(**how: str) -> str:
        listing = await kube.list(LEASES, namespace=namespace, **how)
        return "".join(value.metadata.name for value in listing.items)

    assert await names() == "abc"
    assert await names(labels="x=1") == "a"
    assert await names(labels="x!=1") == "bc"
    assert await names(labels="!x") == "c"
    assert await names(fields="metadata.name=b") == "b"
    assert {"a", "b", "c"} <= {item.metadata.name for item in (await kube.list(LEASES)).items}


@case
async def a_long_list_comes_in_pages_and_is_whole(kube: Kube, namespace: str) -> None:
    names = {f"l{number:03}" for number in range(520)}  # more than one page of 500
    made = await asyncio.gather(*(kube.create(LEASES, lease(namespace, name)) for name in names))
    assert all(isinstance(one, Ok) for one in made)
    listing = await kube.list(LEASES, namespace=namespace)
    assert {value.metadata.name for value in listing.items} == names


@case
async def a_watch_tells_every_change_in_order(kube: Kube, namespace: str) -> None:
    start = (await kube.list(LEASES, namespace=namespace)).resource_version
    made = ok(await kube.create(LEASES, lease(namespace, labels={"x": "1"})))
    ok(await kube.patch(LEASES, "a", {"spec": {"holderIdentity": "you"}}, namespace=namespace))
    ok(await kube.patch(LEASES, "a", {"metadata": {"labels": {"x": None}}}, namespace=namespace))
    ok(await kube.delete(LEASES, "a", namespace=namespace))

    async def told(count: int, **how: str) -> list[Change[Lease]]:
        found: list[Change[Lease]] = []
        async with (
            asyncio.timeout(DEADLINE),
            contextlib.aclosing(kube.watch(LEASES, start, namespace=namespace, **how)) as watch,
        ):
            async for change in watch:
                if change.type != "BOOKMARK":
                    found.append(change)
                if len(found) == count:
                    break
        return found

    all_of_it = await told(4)
    assert [change.type for change in all_of_it] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert all_of_it[0].value == made
    versions = [int(change.resource_version) for change in all_of_it]
    assert versions == sorted(versions)
    selected = await told(3, labels="x=1")
    assert [change.type for change in selected] == ["ADDED", "MODIFIED", "DELETED"]


@case
async def a_reflector_follows(kube: Kube, namespace: str) -> None:
    ok(await kube.create(LEASES, lease(namespace)))
    said: asyncio.Queue[tuple[str, bool, bool]] = asyncio.Queue()
    reflector = Reflector(
        kube,
        LEASES,
        lambda key, old, new: said.put_nowait((key, old is None, new is None)),
        RealClock(),
        namespace=namespace,
    )
    task = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(DEADLINE):
            await reflector.synced.wait()
            assert await said.get() == (f"{namespace}/a", True, False)
            await kube.patch(LEASES, "a", {"spec": {"holderIdentity": "you"}}, namespace=namespace)
            assert await said.get() == (f"{namespace}/a", False, False)
            assert reflector.items[f"{namespace}/a"].spec.holder_identity == "you"
            await kube.delete(LEASES, "a", namespace=namespace)
            assert await said.get() == (f"{namespace}/a", False, True)
            assert not reflector.items
    finally:
        task.cancel()
        await asyncio.wait([task])


@case
async def events_can_become_a_series(kube: Kube, namespace: str) -> None:
    event = Event(
        metadata=Meta(name="web.1", namespace=namespace),
        event_time="2026-01-01T00:00:00.000000Z",
        reporting_controller="roost.dev/test",
        reporting_instance="me",
        action="Testing",
        reason="Tested",
        regarding=ObjectReference(kind="Service", name="web", namespace=namespace),
        type="Normal",
        note="once",
    )
    ok(await kube.create(EVENTS, event))
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
    new = ok(await kube.patch(EVENTS, "web.1", series, namespace=namespace))
    assert new.series is not None
    assert new.series.count == 2
