"""Lost answers, late writes, SIGKILL at every single write: never two owners, no changed address, nothing left."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from roost.kube.resource import Resource
from roost.kube.wire import (
    NODEAGENTS,
    SEGMENTS,
    SERVICES,
    VIRTUALIPS,
    Applied,
    Claim,
    Meta,
    NodeAgent,
    NodeAgentStatus,
    Seat,
    Segment,
    SegmentStatus,
    Service,
    VirtualIP,
    VirtualIPSpec,
)
from roost.words import FINALIZER, VIP_FINALIZER
from tests.cloudprovider.world import Last, World
from tests.fakes.api import Fault, Refuse

WRITES = 30  # of the story below, and then some


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.stop()


async def nothing_is_left(world: World) -> None:
    """After everything is deleted and the rests are over there is no VirtualIP and no Service."""
    for key in list(world.api.all(SERVICES)):
        await world.delete(key.partition("/")[2])
    await world.until(lambda: not world.api.all(SERVICES), "a Service hangs on its finalizer")
    await world.rest(75)
    assert world.claims() == {}


async def grown_old(world: World) -> dict[str, tuple[str, ...]]:
    """What each Service shows; each address must be claimed, and by nobody else."""
    world.check()
    return {key: world.shown(key.partition("/")[2]) for key in world.api.all(SERVICES)}


@pytest.mark.parametrize("last", [pytest.param(last, id=f"the last write {last.name.lower()}") for last in Last])
@pytest.mark.parametrize("write", range(1, WRITES))
async def test_killed_at_each_write(write: int, last: Last) -> None:
    world = World()
    world.pool("prod", "192.0.2.0/28", "2001:db8::/112")
    await world.start(dies_at=write, last=last)
    world.service("web", "IPv4", "IPv6")
    world.service("api")
    await world.rest(3)
    before = await grown_old(world)
    await world.delete("api")
    world.service("web", type="ClusterIP")
    await world.rest(3)
    world.service("web", "IPv4", "IPv6")
    world.service("new", annotations={"roost.dev/addresses": "192.0.2.9"})
    await world.rest(3)
    shown = await grown_old(world)
    await world.kill()
    await world.start()
    await world.until(lambda: len(world.shown("web")) == 2 and world.shown("new") == ("192.0.2.9",))
    await world.rest(15)
    after = await grown_old(world)
    assert all(after[key] == addresses for key, addresses in shown.items() if addresses and key in after)
    if len(before["shop/web"]) == 2:
        assert after["shop/web"] == before["shop/web"]
    await nothing_is_left(world)
    await world.kill()


async def test_turned_away_between_the_first_write_and_the_second_it_hangs_on_nothing(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start(dies_at=1, last=Last.ARRIVES)
    world.service("web")
    await world.rest(1)
    await world.kill()
    service = world.service("web", type="ClusterIP")
    assert service.metadata.finalizers == (FINALIZER,)
    world.api.put(SERVICES, Service(metadata=Meta(name="theirs", namespace="shop", finalizers=(FINALIZER,))))
    await world.start()
    await world.rest(15)
    ours, theirs = world.get("web"), world.get("theirs")
    assert ours is not None
    assert theirs is not None
    assert ours.metadata.finalizers == ()
    assert theirs.metadata.finalizers == (FINALIZER,)


FAULTS = [Fault.LOST, Fault.ANSWER_LOST, Fault.LATE, Refuse(500, "InternalError"), Refuse(409, "Conflict")]


@pytest.mark.parametrize("fault", [pytest.param(fault, id=str(fault)) for fault in FAULTS])
@pytest.mark.parametrize(
    ("method", "resource"),
    [
        pytest.param("POST", VIRTUALIPS, id="creating the VirtualIP"),
        pytest.param("PUT", VIRTUALIPS, id="changing the VirtualIP"),
        pytest.param("PATCH", VIRTUALIPS, id="patching the VirtualIP"),
        pytest.param("DELETE", VIRTUALIPS, id="deleting the VirtualIP"),
        pytest.param("PATCH", SERVICES, id="patching the Service"),
    ],
)
async def test_a_write_that_goes_wrong(world: World, method: str, resource: Resource[VirtualIP], fault: Fault) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.api.fail(fault, method, resource, times=3)
    world.service("web")
    world.service("api")
    await world.until(lambda: world.shown("web") != () and world.shown("api") != ())
    world.api.deliver()
    shown = await grown_old(world)
    world.api.fail(fault, method, resource, times=2)
    await world.delete("api")
    await world.rest(20)
    world.api.deliver()
    await world.rest(60)
    assert await grown_old(world) == {"shop/web": shown["shop/web"]}
    await nothing_is_left(world)


async def test_a_creation_that_lands_after_its_service_is_gone_is_swept(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.api.fail(Fault.LATE, "POST", VIRTUALIPS, times=1)
    world.service("web")
    await world.rest(0.5)
    await world.delete("web")
    await world.until(lambda: world.get("web") is None)
    world.api.deliver()
    await world.rest(75)
    assert world.claims() == {}


async def test_of_two_claims_the_one_in_the_status_stays(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    service = world.get("web")
    assert service is not None
    claim = Claim(namespace="shop", name="web", uid=service.metadata.uid)
    late = VirtualIP(
        metadata=Meta(name="192.0.2.0", finalizers=(VIP_FINALIZER,)),
        spec=VirtualIPSpec(address="192.0.2.0", pool_name="prod", claims=(claim,)),
    )
    world.api.put(VIRTUALIPS, late)
    await world.rest(3)
    assert world.claims() == {"192.0.2.0": ["(shop/web)"], "192.0.2.1": ["shop/web"]}
    await world.rest(61)
    assert world.claims() == {"192.0.2.1": ["shop/web"]}
    assert world.shown("web") == ("192.0.2.1",)


async def test_with_status_wiped_the_claims_give_the_same_addresses(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    for name in ("a", "b", "c"):
        world.service(name)
    await world.until(lambda: all(world.shown(name) for name in ("a", "b", "c")))
    before = await grown_old(world)
    await world.kill()
    for key in world.api.all(SERVICES):
        namespace, _, name = key.partition("/")
        await world.api.kube().patch(SERVICES, name, {"status": None}, namespace=namespace, subresource="status")
    assert world.shown("a") == ()
    await world.start()
    await world.until(lambda: world.shown("a") != () and world.shown("b") != () and world.shown("c") != ())
    assert await grown_old(world) == before


async def test_services_restored_with_new_uids_get_their_addresses_back(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("filler")
    world.service("web")
    await world.until(lambda: world.shown("web") != () and world.shown("filler") != ())
    before = world.shown("web")
    await world.kill()
    world.api.remove(SERVICES, "web", namespace="shop")
    world.api.remove(SERVICES, "filler", namespace="shop")
    world.service("web")
    await world.start()
    await world.until(lambda: world.shown("web") == before)
    assert "ClaimRebound" in world.said.reasons("shop/web") or await _later(world, "ClaimRebound")
    await world.rest(75)
    assert list(world.claims()) == list(before)


async def _later(world: World, reason: str) -> bool:
    await world.rest(5)
    return reason in world.said.reasons("shop/web")


async def test_a_virtual_ip_deleted_by_hand_comes_back(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("first")
    world.service("web")
    await world.until(lambda: world.shown("web") != ())
    before, uid = world.shown("web"), world.vips()[world.shown("web")[0]].metadata.uid
    await world.api.kube().delete(VIRTUALIPS, before[0])
    await world.until(lambda: before[0] in world.vips() and world.vips()[before[0]].metadata.uid != uid)
    await world.rest(5)
    assert world.shown("web") == before
    assert world.claims()[before[0]] == ["shop/web"]


async def test_a_service_whose_finalizer_was_torn_off_leaves_nothing(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") != ())
    world.api.remove(SERVICES, "web", namespace="shop")
    await world.rest(75)
    assert world.claims() == {}


async def test_another_controller_that_writes_the_status_is_named_and_left_alone(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    for _ in range(10):
        patch = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
        await world.api.kube().patch(SERVICES, "web", patch, namespace="shop", subresource="status")
        await world.rest(1)
    assert world.shown("web") == ("203.0.113.1",)
    assert len(world.said.notes("shop/web", "SyncLoadBalancerFailed")) == 1
    assert "CompetingController" in world.said.notes("shop/web", "SyncLoadBalancerFailed")[0]
    world.service("web", annotations={"roost.dev/retry": "1"})
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))


# -- release and the announcers


def seats(world: World, *live: str) -> None:
    rows = tuple(
        Seat(node=node, tenure=number, version=1, boot_id="b", mode="Leased", state="Live", eligible=True)
        for number, node in enumerate(live, 1)
    )
    status = SegmentStatus(revision=1, next_tenure=9, seats=rows)
    world.api.put(SEGMENTS, Segment(metadata=Meta(name="10.60.0.0-24"), status=status))


def applied(world: World, node: str, version: str) -> None:
    status = NodeAgentStatus(applied=Applied(resource_version=version))
    world.api.put(NODEAGENTS, NodeAgent(metadata=Meta(name=node), status=status))


async def test_a_release_waits_for_live_announcers_and_for_no_others(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    seats(world, "n1", "n2")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") != ())
    await world.delete("web")
    await world.rest(3)
    service = world.get("web")
    assert service is not None
    assert service.metadata.finalizers == (FINALIZER,)
    rested = world.vips()["192.0.2.1"].metadata.resource_version
    applied(world, "n1", rested)
    await world.rest(1)
    assert world.get("web") is not None
    seats(world, "n1")  # n2 is gone
    await world.rest(1)
    assert world.get("web") is None


async def test_a_release_waits_ten_seconds_and_no_longer(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    seats(world, "n1")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") != ())
    await world.delete("web")
    await world.rest(9)
    assert world.get("web") is not None
    await world.rest(2)
    assert world.get("web") is None


async def test_a_missing_right_is_named_and_waited_for(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    denied = True

    def refuse(method: str, target: object, old: object, new: object) -> str | None:
        return "no right to create" if denied and method == "POST" and "virtualips" in str(target) else None

    world.api.refuse(refuse)
    await world.start()
    world.service("web")
    await world.rest(60)
    posts = [item for item in world.api.requests if item.method == "POST" and "virtualips" in item.path]
    assert len(posts) < 12
    assert any("no right to create" in note for note in world.said.notes("shop/web", "SyncLoadBalancerFailed"))
    denied = False
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))


names = st.sampled_from(["a", "b", "c", "d"])
acts = st.lists(
    st.one_of(
        st.tuples(st.just("create"), names),
        st.tuples(st.just("delete"), names),
        st.tuples(st.just("flip"), names),
        st.tuples(st.just("kill"), st.integers(1, 6)),
        st.tuples(st.just("pool"), st.sampled_from(["192.0.2.1-192.0.2.3", "192.0.2.2-192.0.2.5", "rubbish"])),
        st.tuples(st.just("fault"), st.sampled_from(FAULTS[:4])),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 2, 70])),
    ),
    max_size=14,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a story takes a second: shrinking would take minutes
)
@given(acts)
async def test_random_stories_end_well(story: list[tuple[str, object]]) -> None:
    world = World()
    world.pool("p", "192.0.2.1-192.0.2.3")
    await world.start()
    for what, about in story:
        match what, about:
            case "create", str(name):
                world.service(name)
            case "delete", str(name) if world.get(name):
                await world.delete(name)
            case "flip", str(name) if world.get(name):
                world.service(name, type="ClusterIP")
            case "kill", int(number):
                await world.kill()
                await world.start(dies_at=number, last=Last.ARRIVES if number % 2 else Last.LOST)
                await world.rest(12)
            case "pool", str(text):
                world.pool("p", text)
            case "fault", Fault() | Refuse() as fault:
                world.api.fail(fault, times=2)
            case "wait", float() | int() as seconds:
                world.api.deliver()
                await world.rest(seconds)
        world.check()
    world.api.deliver()
    await world.kill()
    world.pool("p", "192.0.2.1-192.0.2.9")
    await world.start()
    wanted = [key for key, item in world.api.all(SERVICES).items() if item.spec.type == "LoadBalancer"]
    await world.until(lambda: all(world.shown(key.partition("/")[2]) for key in wanted if world.get(key[5:])))
    await world.rest(15)
    world.check()
    await nothing_is_left(world)
    await world.kill()
