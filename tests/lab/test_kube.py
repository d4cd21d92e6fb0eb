"""The Kubernetes client, the reflector and the election against a real API server, which hangs, dies and forgets."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from lab.cluster import Lab
from roost.kube.client import Conflict, Denied, Expired, Kube, Ok, Settings, Unknown
from roost.kube.election import Election, ElectionSettings
from roost.kube.events import EVENTS, Events
from roost.kube.reflector import Reflector
from roost.kube.resource import Resource
from roost.kube.wire import (
    LEASES,
    NAMESPACES,
    SERVICES,
    VIRTUALIPS,
    Lease,
    Meta,
    Namespace,
    ObjectReference,
    VirtualIP,
    VirtualIPSpec,
)
from roost.process import RealClock, Unreachable
from tests.fakes.contract import CASES, lease, ok

DEADLINE = 60.0  # seconds
numbers = itertools.count()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(nodes=1) as opened:
        opened.install()
        yield opened


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path, seconds: float = 5.0) -> AsyncIterator[Kube]:
    kube = await Kube.connect(Settings(str(kubeconfig), seconds), user_agent="roost-test/1")
    try:
        yield kube
    finally:
        await kube.close()


@contextlib.asynccontextmanager
async def fresh(lab: Lab, seconds: float = 5.0) -> AsyncIterator[tuple[Kube, str]]:
    """The administrator's client, and a namespace of its own."""
    async with asyncio.timeout(DEADLINE), connected(lab.kubeconfig, seconds) as kube:
        name = f"kube-{next(numbers)}"
        ok(await kube.create(NAMESPACES, Namespace(metadata=Meta(name=name))))
        yield kube, name


async def until(condition: Callable[[], bool]) -> None:
    """Within the DEADLINE of the test."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in another program
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(work: Callable[[], object]) -> AsyncIterator[asyncio.Task[NoReturn]]:
    task = asyncio.ensure_future(work())  # type: ignore[call-overload]
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def outage(lab: Lab, *, kill: bool = False) -> AsyncIterator[None]:
    lab.api_outage(kill=kill)
    try:
        yield
    finally:
        await asyncio.to_thread(lab.api_back)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("name", CASES)
async def test_contract(lab: Lab, name: str) -> None:
    async with fresh(lab) as (kube, namespace):
        await CASES[name](kube, namespace)


async def test_what_is_forbidden_or_missing_is_named_with_its_remedy(lab: Lab) -> None:
    unknown = Resource("roost.dev", "v1alpha1", "surprises", "Surprise", VirtualIP, namespaced=False)
    elsewhere = Resource("nowhere.dev", "v1", "surprises", "Surprise", VirtualIP, namespaced=False)
    stranger = lab.control.pki.kubeconfig("stranger", {"token": lab.token("default", namespace="default")})
    async with fresh(lab) as (kube, _), connected(stranger) as other:
        for resource in (unknown, elsewhere):
            with pytest.raises(Denied, match="apply the CRDs"):
                await kube.list(resource)
            with pytest.raises(Denied, match="apply the CRDs"):
                await kube.get(resource, "a")
            with pytest.raises(Denied, match="apply the CRDs"):
                await anext(kube.watch(resource, "1"))
            one = VirtualIP(metadata=Meta(name="192.0.2.1"), spec=VirtualIPSpec(address="192.0.2.1"))
            outcome = await kube.create(resource, one)
            assert isinstance(outcome, Conflict)
            assert "apply the CRDs" in outcome.message
        with pytest.raises(Denied, match=r"list services in namespace default: forbidden .* apply the chart's roles"):
            await other.list(SERVICES, namespace="default")
        refused = await other.delete(VIRTUALIPS, "192.0.2.1")
        assert isinstance(refused, Conflict)
        assert "apply the chart's roles" in refused.message


async def test_a_token_that_nobody_knows(lab: Lab) -> None:
    async with connected(lab.control.pki.kubeconfig("nobody", {"token": "rubbish"})) as kube:
        with pytest.raises(Denied, match="does not know us"):
            await kube.list(SERVICES)


async def test_the_schema_speaks_through_the_outcome(lab: Lab) -> None:
    async with fresh(lab) as (kube, _):
        wrong = VirtualIP(metadata=Meta(name="192.0.2.1"), spec=VirtualIPSpec(address="192.0.2.2"))
        outcome = await kube.create(VIRTUALIPS, wrong)
        assert isinstance(outcome, Conflict)
        assert outcome.code == 422
        assert outcome.message


async def test_a_reflector_survives_a_server_that_hangs_dies_and_forgets(lab: Lab) -> None:
    said: list[tuple[str, bool, bool]] = []
    async with fresh(lab) as (kube, namespace):
        for name in "ab":
            ok(await kube.create(LEASES, lease(namespace, name)))
        reflector: Reflector[Lease] = Reflector(
            kube,
            LEASES,
            lambda key, old, new: said.append((key, old is None, new is None)),
            RealClock(),
            namespace=namespace,
        )
        async with running(reflector.run):
            await until(reflector.synced.is_set)
            before = reflector.resource_version
            said.clear()
            async with outage(lab, kill=True):  # the watch cache of the next one begins anew
                pass
            ok(await kube.patch(LEASES, "a", {"spec": {"holderIdentity": "you"}}, namespace=namespace))
            ok(await kube.delete(LEASES, "b", namespace=namespace))
            ok(await kube.create(LEASES, lease(namespace, "c")))
            await until(lambda: len(said) >= 3)
            a, b, c = (f"{namespace}/{name}" for name in "abc")
            assert sorted(said) == [(a, False, False), (b, False, True), (c, True, False)]
            assert set(reflector.items) == {a, c}
            with pytest.raises(Expired):
                async for _ in kube.watch(LEASES, str(int(before) - 50), namespace=namespace):
                    pass


async def test_a_server_that_hangs_leaves_writes_open_and_is_waited_for(lab: Lab) -> None:
    async with fresh(lab, seconds=0.5) as (kube, namespace):
        made = ok(await kube.create(LEASES, lease(namespace)))
        async with outage(lab):
            assert isinstance(await kube.put(LEASES, made), Unknown)
            with pytest.raises(Unreachable):
                await kube.get(LEASES, "a", namespace=namespace)
        assert await kube.get(LEASES, "a", namespace=namespace)


async def test_two_candidates_and_a_server_that_hangs(lab: Lab) -> None:
    """Never two at once, and one again as soon as there is a server."""
    at_work: set[str] = set()
    most = 0

    def candidate(kube: Kube, namespace: str, name: str) -> Callable[[], object]:
        election = Election(kube, RealClock(), ElectionSettings(namespace, "leader", name, 3.0, 2.0, 0.25))

        async def work() -> NoReturn:
            nonlocal most
            at_work.add(name)
            most = max(most, len(at_work))
            try:
                await asyncio.Event().wait()
                raise AssertionError("unreachable")
            finally:
                at_work.discard(name)

        return lambda: election.lead(work)

    async with fresh(lab) as (kube, namespace), connected(lab.kubeconfig) as other:
        async with running(candidate(kube, namespace, "one")) as first:
            await until(lambda: at_work == {"one"})
            async with running(candidate(other, namespace, "two")):
                async with outage(lab):
                    await until(lambda: not at_work)
                await until(lambda: bool(at_work))
                leader = next(iter(at_work))
                if leader == "one":
                    first.cancel()
                    await until(lambda: at_work == {"two"})
                record = await kube.get(LEASES, "leader", namespace=namespace)
                assert record is not None
                assert record.spec.holder_identity == "two"
        record = await kube.get(LEASES, "leader", namespace=namespace)
        assert record is not None
        assert record.spec.holder_identity == ""
        assert record.spec.lease_transitions == 1
    assert most == 1


async def test_events_reach_those_who_look(lab: Lab) -> None:
    async with fresh(lab) as (kube, namespace):
        events = Events(kube, RealClock(), "roost.dev/test", "me")
        web = ObjectReference(kind="Service", name="web", api_version="v1", namespace=namespace)
        vip = ObjectReference(kind="VirtualIP", name="192.0.2.9", api_version="roost.dev/v1alpha1")
        async with running(events.run):
            for _ in range(3):
                events.say(web, "Warning", "SyncLoadBalancerFailed", "PoolExhausted: none left", "Allocating")
            events.say(vip, "Normal", "Announced", "by n1", "Announcing")
            found = ""
            while "3" not in found:
                found = await asyncio.to_thread(
                    lab.kubectl, "get", "events", "-n", namespace, "-o", "jsonpath={.items[*].series.count}"
                )
            notes: set[str] = set()
            while "by n1" not in notes:
                notes = {one.note for one in (await kube.list(EVENTS, namespace="default")).items}


async def test_nothing_is_left_open(lab: Lab) -> None:
    async with fresh(lab) as (kube, _):
        await kube.list(SERVICES)
    before = open_files()
    for _ in range(5):
        async with fresh(lab) as (kube, namespace):
            assert isinstance(await kube.create(LEASES, lease(namespace)), Ok)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1), contextlib.aclosing(kube.watch(LEASES, "")) as watch:
                    async for _ in watch:
                        pass
    assert open_files() <= before
