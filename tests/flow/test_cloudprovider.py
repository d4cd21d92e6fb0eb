from collections.abc import AsyncIterator
from typing import Any

import pytest

from cloudprovider import grants
from cloudprovider.model import Grant, Refused, Wish
from cloudprovider.pools.book import Book
from cloudprovider.pools.plan import decide
from roost.kube.wire import SERVICES, VIRTUALIPS, Allocation, Selector, ServicePort
from roost.words import FINALIZER, VIP_FINALIZER
from tests.cloudprovider.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.stop()


async def test_a_service_gets_an_address_in_three_writes_and_then_all_is_quiet(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    service, vip = world.get("web"), world.vips()["192.0.2.1"]
    assert service is not None
    assert service.metadata.finalizers == (FINALIZER,)
    assert service.status.load_balancer.ingress[0].ip_mode == "VIP"
    assert [(port.port, port.protocol) for port in service.status.load_balancer.ingress[0].ports] == [(443, "TCP")]
    assert world.condition("web") == ("True", "Allocated", "192.0.2.1 from pool prod")
    assert vip.metadata.finalizers == (VIP_FINALIZER,)
    assert vip.spec.pool_name == "prod"
    assert vip.spec.group.startswith("b-")
    assert [(claim.uid, claim.ports[0].port) for claim in vip.spec.claims] == [(service.metadata.uid, 443)]
    await world.rest(5)
    assert world.said.reasons("shop/web")[:3] == ["EnsuringLoadBalancer", "AddressAllocated", "EnsuredLoadBalancer"]
    before = len([item for item in world.api.writes() if "/leases" not in item.path])
    await world.rest(120)
    assert len([item for item in world.api.writes() if "/leases" not in item.path]) == before


@pytest.mark.parametrize(
    ("families", "policy", "expected"),
    [
        pytest.param(("IPv4", "IPv6"), "PreferDualStack", ("192.0.2.1", "2001:db8::1"), id="IPv4 first"),
        pytest.param(("IPv6", "IPv4"), "PreferDualStack", ("2001:db8::1", "192.0.2.1"), id="IPv6 first"),
        pytest.param(("IPv4", "IPv6"), "RequireDualStack", ("192.0.2.1", "2001:db8::1"), id="both or nothing"),
        pytest.param(("IPv6",), "SingleStack", ("2001:db8::1",), id="IPv6 alone"),
        pytest.param(("IPv4", "IPv6"), "SingleStack", ("192.0.2.1",), id="single stack takes the first"),
    ],
)
async def test_families(world: World, families: tuple[str, ...], policy: str, expected: tuple[str, ...]) -> None:
    world.pool("prod", "192.0.2.0/29", "2001:db8::/112")
    await world.start()
    world.service("web", *families, ip_family_policy=policy)
    await world.until(lambda: world.shown("web") == expected)
    assert len({vip.spec.group for vip in world.vips().values()}) == 1


async def test_release_rests_and_the_same_name_gets_its_address_back(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    await world.delete("web")
    await world.until(lambda: world.get("web") is None)
    assert world.claims() == {"192.0.2.1": ["(shop/web)"]}
    world.service("api")
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    await world.until(lambda: world.shown("api") == ("192.0.2.2",))
    await world.delete("web")
    await world.rest(62)
    assert world.claims() == {"192.0.2.2": ["shop/api"]}


async def test_a_full_pool_refuses_and_whoever_waits_is_woken_when_an_address_frees(world: World) -> None:
    world.pool("prod", "192.0.2.1")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    world.service("api")
    await world.until(lambda: world.condition("api")[1] == "PoolExhausted")
    assert world.condition("api")[2] == "pool prod has no free IPv4 address (1 of 1 used)"
    assert world.said.notes("shop/api", "SyncLoadBalancerFailed") == [
        "PoolExhausted: pool prod has no free IPv4 address (1 of 1 used)"
    ]
    await world.rest(3)
    writes = len(world.api.writes(SERVICES))
    await world.rest(30)
    assert len(world.api.writes(SERVICES)) == writes
    await world.delete("web")
    await world.rest(61)
    await world.until(lambda: world.shown("api") == ("192.0.2.1",))
    assert world.condition("api")[1] == "Allocated"


async def test_a_refusal_is_said_again_before_its_event_expires(world: World) -> None:
    await world.start()
    world.service("web")
    await world.until(lambda: world.condition("web")[1] == "NoMatchingPool")
    await world.rest(1790)
    assert len(world.said.notes("shop/web", "SyncLoadBalancerFailed")) == 1
    await world.rest(20)
    assert len(world.said.notes("shop/web", "SyncLoadBalancerFailed")) == 2
    world.pool("late", "192.0.2.1")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))


async def test_a_namespace_label_wakes_its_services(world: World) -> None:
    world.pool("prod", "192.0.2.1", namespace_selector=Selector(match_labels={"team": "shop"}))
    await world.start()
    world.service("web")
    await world.until(lambda: world.condition("web")[1] == "NoMatchingPool")
    world.namespace("shop", team="shop")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))


async def test_another_class_is_never_touched(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("theirs", load_balancer_class="metallb.io/metallb")
    world.service("ignored", annotations={"kube-vip.io/ignore": "true"})
    world.service("kubevip", load_balancer_class="kube-vip.io/kube-vip-class")
    await world.until(lambda: world.shown("kubevip") != ())
    await world.rest(5)
    assert {request.path.rsplit("/services/")[1].split("/")[0] for request in world.api.writes(SERVICES)} == {"kubevip"}


async def test_type_flips_end_right_and_keep_the_address(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    for turn in range(100):
        world.service("web", type="ClusterIP" if turn % 2 == 0 else "LoadBalancer")
        if turn % 7 == 0:
            await world.clock.advance(0.1)
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    world.service("web", type="ClusterIP")
    await world.rest(5)
    service = world.get("web")
    assert service is not None
    assert service.metadata.finalizers == ()
    assert service.status.conditions == ()
    await world.rest(61)
    assert world.vips() == {}
    assert len(world.api.writes()) < 1_200


async def test_a_changed_request_moves_the_service_new_before_old(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    world.service("web", annotations={"roost.dev/addresses": "192.0.2.5"})
    await world.until(lambda: world.shown("web") == ("192.0.2.5",))
    world.check()
    assert world.condition("web")[:2] == ("True", "Moved")
    assert world.said.notes("shop/web", "AddressChanged") == ["192.0.2.1 → 192.0.2.5: as asked for"]
    world.service("web", annotations={"roost.dev/addresses": "203.0.113.9"})
    await world.until(lambda: world.condition("web")[1] == "AddressNotInPool")
    assert world.shown("web") == ("192.0.2.5",)
    assert world.condition("web")[2] == "203.0.113.9 is in no pool; keeps 192.0.2.5 meanwhile"


async def test_a_pool_that_loses_an_address_moves_its_service(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    world.pool("prod", "198.51.100.0/29")
    await world.until(lambda: world.shown("web") == ("198.51.100.1",))
    assert world.said.notes("shop/web", "AddressChanged") == [
        "192.0.2.1 → 198.51.100.1: pool prod no longer contains 192.0.2.1"
    ]


async def test_ports_and_policy_are_resolved_anew(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    bundle = world.vips()["192.0.2.1"].spec.group
    world.service("web", external_traffic_policy="Local", health_check_node_port=30000)
    await world.until(lambda: world.vips()["192.0.2.1"].spec.announce.traffic_policy == "Local")
    spec = world.vips()["192.0.2.1"].spec
    assert spec.announce.health_check_node_port == 30000
    assert spec.group.startswith("s-")
    world.service("web")
    await world.until(lambda: world.vips()["192.0.2.1"].spec.group == bundle)
    assert world.vips()["192.0.2.1"].spec.announce.health_check_node_port == 0
    assert world.shown("web") == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("annotations", "spec", "reason", "message"),
    [
        pytest.param(
            {"roost.dev/addresses": "rubbish"},
            {},
            "InvalidRequest",
            "annotation roost.dev/addresses: 'rubbish' is not a list of IP addresses",
            id="rubbish",
        ),
        pytest.param(
            {"kube-vip.io/loadbalancerIPs": "0.0.0.0"},
            {},
            "InvalidRequest",
            "annotation kube-vip.io/loadbalancerIPs: 0.0.0.0 asks for an address by DHCP",
            id="DHCP",
        ),
        pytest.param(
            {"roost.dev/addresses": "192.0.2.1", "kube-vip.io/loadbalancerIPs": "192.0.2.2"},
            {},
            "RequestsDisagree",
            "roost.dev/addresses=192.0.2.1 but kube-vip.io/loadbalancerIPs=192.0.2.2",
            id="annotations disagree",
        ),
        pytest.param(
            {"roost.dev/addresses": "192.0.2.1"},
            {"load_balancer_ip": "192.0.2.2"},
            "RequestsDisagree",
            "roost.dev/addresses=192.0.2.1 but spec.loadBalancerIP=192.0.2.2",
            id="annotation and spec disagree",
        ),
        pytest.param(
            {"roost.dev/addresses": "2001:db8::1"},
            {},
            "InvalidRequest",
            "annotation roost.dev/addresses: 2001:db8::1 is IPv6, the Service has IPv4 only",
            id="a family that the Service has not",
        ),
        pytest.param(
            {"roost.dev/addresses": "192.0.2.1,192.0.2.2"},
            {},
            "InvalidRequest",
            "annotation roost.dev/addresses: more than one IPv4 address",
            id="two of one family",
        ),
        pytest.param(
            {"roost.dev/sharing-key": "k"}, {}, "SharingRefused", "annotation roost.dev/sharing-key", id="sharing"
        ),
        pytest.param(
            {"roost.dev/pool": "lost"}, {}, "NoMatchingPool", "there is no pool lost", id="a pool that is not"
        ),
    ],
)
async def test_bad_wishes(
    world: World, annotations: dict[str, str], spec: dict[str, Any], reason: str, message: str
) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("bad", annotations=annotations, **spec)
    world.service("good")
    await world.until(lambda: world.shown("good") == ("192.0.2.1",))
    await world.until(lambda: world.condition("bad")[1] == reason)
    assert world.condition("bad")[2].startswith(message)
    assert world.shown("bad") == ()
    await world.rest(30)
    assert len(world.said.notes("shop/bad", "SyncLoadBalancerFailed")) == 1
    world.service("bad")
    await world.until(lambda: world.shown("bad") == ("192.0.2.2",))


async def test_requests_that_agree_are_met(world: World) -> None:
    world.pool("prod", "192.0.2.0/29", "2001:db8::/112")
    await world.start()
    asked = {"roost.dev/addresses": "2001:db8::7, 192.0.2.5", "kube-vip.io/loadbalancerIPs": "192.0.2.5"}
    world.service("web", "IPv4", "IPv6", annotations=asked, load_balancer_ip="192.0.2.5")
    await world.until(lambda: world.shown("web") == ("192.0.2.5", "2001:db8::7"))


async def test_a_malformed_pool_says_so_and_hurts_nobody(world: World) -> None:
    world.pool("bad", "192.0.2.9-192.0.2.1", "127.0.0.1", allocation=Allocation(priority=900))
    world.pool("good", "192.0.2.1")
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    await world.rest(3)
    assert world.said.reasons("bad") == ["InvalidPool"]
    assert (
        "192.0.2.9-192.0.2.1: first is after last; 127.0.0.1: reaches into" in world.said.notes("bad", "InvalidPool")[0]
    )


async def test_three_hundred_ports_and_a_name_of_63_characters(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    name = "n" * 63
    world.service(name, ports=tuple(ServicePort(port=port, name=f"p{port}") for port in range(1000, 1300)))
    await world.until(lambda: world.shown(name) == ("192.0.2.1",))
    assert len(world.vips()["192.0.2.1"].spec.claims[0].ports) == 300


async def test_a_missing_resource_type_is_named_and_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.api.server.served.remove(VIRTUALIPS)
    controller = await world.start()
    world.pool("prod", "192.0.2.0/29")
    world.service("web")
    await world.rest(20)
    assert not controller.ready()
    assert "the API server has no roost.dev/v1alpha1 VirtualIP: apply the CRDs" in caplog.text
    assert world.api.writes() == []
    world.api.server.served.append(VIRTUALIPS)
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    assert controller.ready()


async def test_a_bug_sets_one_service_aside_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(book: Book, wish: Wish) -> Grant | Refused:
        if wish.key.name == "bad":
            raise KeyError("bug")
        return decide(book, wish)

    monkeypatch.setattr(grants, "decide", broken)
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    world.service("bad")
    world.service("good")
    await world.until(lambda: world.shown("good") != ())
    await world.until(lambda: world.condition("bad")[1] == "InternalError")
    assert world.said.notes("shop/bad", "InternalError") == [
        "bug while planning shop/bad: KeyError('bug'); others unaffected"
    ]
    await world.rest(60)
    assert caplog.text.count("Traceback") == 1
    monkeypatch.undo()
    world.service("bad", annotations={"touched": "yes"})
    await world.until(lambda: world.shown("bad") != ())


async def test_a_standby_takes_over_where_the_leader_left(world: World) -> None:
    world.pool("prod", "192.0.2.0/29")
    await world.start()
    await world.start()
    world.service("web")
    await world.until(lambda: world.shown("web") == ("192.0.2.1",))
    await world.kill()
    await world.start()
    await world.start()
    world.service("api")
    await world.until(lambda: world.shown("api") == ("192.0.2.2",))
    assert world.shown("web") == ("192.0.2.1",)
