"""A Service that says which nodes announce it: followed, moved and told, from the annotation to the VirtualIP."""

from collections.abc import AsyncIterator

import pytest

from tests.cloudprovider.world import World

LEASE = {"kube-vip.io/leaseName": "edge"}
IGNORED = (
    "192.0.2.1 from pool prod; not followed: kube-vip.io/leaseName; "
    "namespace shop is not labelled roost.dev/service-authors=trusted"
)
TRUSTED = {"roost.dev/service-authors": "trusted"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.pool("prod", "192.0.2.0/29", "2001:db8::/112")
    await world.start()
    yield world
    await world.stop()


def groups(world: World) -> set[str]:
    return {vip.spec.group for vip in world.vips().values()}


def kinds(world: World) -> set[str]:
    return {group[:2] for group in groups(world)}


async def test_services_of_one_lease_have_one_group_and_leave_it_alone_when_one_goes(world: World) -> None:
    world.namespace("shop", **TRUSTED)
    await world.rest(1)
    world.service("web", "IPv4", "IPv6", annotations=LEASE)
    world.service("api", annotations=LEASE, external_traffic_policy="Local")
    await world.until(lambda: len(world.vips()) == 3)
    assert len(groups(world)) == 1
    assert kinds(world) == {"l-"}
    (before,) = groups(world)
    await world.delete("api")
    await world.rest(90)
    assert groups(world) == {before}
    world.service("web", "IPv4", "IPv6")
    await world.until(lambda: kinds(world) == {"b-"})


async def test_what_the_namespace_may_not_say_is_told_and_followed_once_it_is_trusted(world: World) -> None:
    world.service("web", annotations=LEASE)
    await world.until(lambda: world.condition("web") == ("True", "Allocated", IGNORED))
    assert world.shown("web") == ("192.0.2.1",)
    assert kinds(world) == {"b-"}
    await world.rest(60)
    assert world.said.notes("shop/web", "AnnotationRefused") == [IGNORED.partition("; ")[2]]
    world.namespace("shop", **TRUSTED)
    await world.until(lambda: kinds(world) == {"l-"})
    await world.until(lambda: world.condition("web") == ("True", "Allocated", "192.0.2.1 from pool prod"))
    world.namespace("shop")
    await world.until(lambda: kinds(world) == {"b-"})
    await world.until(lambda: world.condition("web")[2] == IGNORED)


async def test_the_interface_that_a_service_names_is_in_its_vips(world: World) -> None:
    world.namespace("shop", **TRUSTED)
    await world.rest(1)
    world.service("web", "IPv4", "IPv6", annotations={"kube-vip.io/serviceInterface": "eth9"})
    await world.until(lambda: len(world.vips()) == 2)
    assert {vip.spec.announce.interfaces for vip in world.vips().values()} == {("eth9",)}
    world.service("web", "IPv4", "IPv6", annotations={"kube-vip.io/serviceInterface": "auto"})
    await world.until(lambda: {vip.spec.announce.interfaces for vip in world.vips().values()} == {()})
    world.service("web", "IPv4", "IPv6", annotations={"kube-vip.io/serviceInterface": "eth 9"})
    await world.until(lambda: world.condition("web")[:2] == ("False", "InvalidRequest"))
    assert len(world.shown("web")) == 2, "it keeps what it has"


async def test_an_election_of_its_own_is_a_group_of_its_own_for_anybody(world: World) -> None:
    world.service("web", annotations={"kube-vip.io/forcePerServiceElection": "true"})
    world.service("api")
    await world.until(lambda: len(world.vips()) == 2)
    assert kinds(world) == {"s-", "b-"}
