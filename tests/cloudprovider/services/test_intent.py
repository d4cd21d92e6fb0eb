from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudprovider.model import Directions, Granted, Key, Wish
from cloudprovider.services.intent import announce_of, group_of, spec_of
from roost.kube.wire import Meta, PoolAnnounce, Requirement, Selector, Service, ServiceSpec, VirtualIPAnnounce

CLUSTER = Service(metadata=Meta(name="web", namespace="shop"))
LOCAL = Service(
    metadata=CLUSTER.metadata, spec=ServiceSpec(external_traffic_policy="Local", health_check_node_port=30_000)
)
LOCAL_GROUP = "s-97375646b1deb3d2"  # sha256 of shop/web
ANYWAY = Service(metadata=Meta(name="web", annotations={"kube-vip.io/allow-reconcile-without-endpoints": "true"}))


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        pytest.param(CLUSTER, VirtualIPAnnounce(), id="the defaults"),
        pytest.param(
            LOCAL, VirtualIPAnnounce(traffic_policy="Local", health_check_node_port=30_000), id="policy Local"
        ),
        pytest.param(ANYWAY, VirtualIPAnnounce(without_endpoints="Announce"), id="announced without endpoints"),
    ],
)
def test_the_announce_block_is_resolved(service: Service, expected: VirtualIPAnnounce) -> None:
    assert announce_of(PoolAnnounce(), service) == expected


def test_both_families_of_a_service_share_a_group() -> None:
    wish = Wish(Key("shop", "web"), "u", (4, 6))
    groups = {
        spec_of(Granted(ip(address), "prod", PoolAnnounce()), wish, CLUSTER).group for address in ("192.0.2.1", "::7")
    }
    assert len(groups) == 1


@pytest.mark.parametrize("service", [pytest.param(CLUSTER, id="Cluster"), pytest.param(LOCAL, id="Local")])
def test_services_that_name_one_lease_share_a_group(service: Service) -> None:
    groups = {
        spec_of(
            Granted(ip("192.0.2.1"), "prod", PoolAnnounce(interfaces=(interface,))),
            Wish(Key("shop", name), "u", (4,), directions=Directions(lease=lease)),
            service,
        ).group
        for name, lease, interface in (("web", "shop/edge", "eth0"), ("api", "shop/edge", "eth1"))
    }
    assert groups == {"l-3788f37ae5fba254"}  # sha256 of shop/edge
    assert group_of(VirtualIPAnnounce(), "shop/web", Directions(lease="shop/other")) not in groups


def test_a_service_with_an_election_of_its_own_has_a_group_of_its_own() -> None:
    assert group_of(VirtualIPAnnounce(), "shop/web", Directions(alone=True)) == LOCAL_GROUP


def test_the_interface_that_a_service_names_is_used_instead_of_the_pools() -> None:
    pool = PoolAnnounce(interfaces=("eth0", "eth1"))
    assert announce_of(pool, CLUSTER, Directions("eth9")).interfaces == ("eth9",)
    assert announce_of(pool, CLUSTER).interfaces == ("eth0", "eth1")


def test_groups_are_named_as_the_agents_expect_them() -> None:
    assert group_of(VirtualIPAnnounce(), "shop/web") == "b-cadfa98c-70"
    assert group_of(VirtualIPAnnounce(interfaces=("eth1",)), "shop/web").endswith("-70")
    assert group_of(VirtualIPAnnounce(interfaces=("eth1",)), "shop/web") != "b-cadfa98c-70"
    assert group_of(VirtualIPAnnounce(traffic_policy="Local"), "shop/web") == LOCAL_GROUP


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"), max_size=3)


@given(labels, st.permutations(["eth0", "eth1", "eth2"]))
def test_what_means_the_same_has_one_profile(wanted: dict[str, str], interfaces: list[str]) -> None:
    one = VirtualIPAnnounce(interfaces=tuple(interfaces), node_selector=Selector(match_labels=wanted))
    expressions = tuple(
        Requirement(key=key, operator="In", values=(wanted[key],)) for key in sorted(wanted, reverse=True)
    )
    other = VirtualIPAnnounce(
        interfaces=("eth2", "eth1", "eth0"), node_selector=Selector(match_expressions=expressions)
    )
    assert group_of(one, "shop/web") == group_of(other, "shop/web")


@given(st.text(min_size=1))
def test_a_bundle_is_one_of_128(name: str) -> None:
    assert 0 <= int(group_of(VirtualIPAnnounce(), name).rpartition("-")[2]) < 128


@pytest.mark.parametrize(
    ("pool", "said", "setting", "expected"),
    [
        pytest.param(PoolAnnounce(protocols=("BGP",)), "", "EveryEligibleNode", "EveryEligibleNode", id="by default"),
        pytest.param(PoolAnnounce(protocols=("BGP",)), "", "HolderOnly", "HolderOnly", id="the setting"),
        pytest.param(
            PoolAnnounce(protocols=("BGP",), announcers="EveryEligibleNode"),
            "",
            "HolderOnly",
            "EveryEligibleNode",
            id="the pool before the setting",
        ),
        pytest.param(
            PoolAnnounce(protocols=("RoutingTable",), announcers="EveryEligibleNode"),
            "HolderOnly",
            "EveryEligibleNode",
            "HolderOnly",
            id="the Service before the pool",
        ),
        pytest.param(
            PoolAnnounce(announcers="HolderOnly"), "HolderOnly", "HolderOnly", "EveryEligibleNode", id="layer 2 alone"
        ),
    ],
)
def test_who_announces_on_layer_3(pool: PoolAnnounce, said: str, setting: str, expected: str) -> None:
    assert announce_of(pool, CLUSTER, Directions(announcers=said), setting).announcers == expected


def test_the_keys_of_layer_3_change_no_group_that_exists() -> None:
    plain, every = VirtualIPAnnounce(), VirtualIPAnnounce(announcers="EveryEligibleNode", advertisements=("a", "b"))
    assert group_of(plain, "shop/web") == group_of(every, "shop/web") == "b-cadfa98c-70"
    assert group_of(VirtualIPAnnounce(announcers="HolderOnly"), "shop/web") != group_of(plain, "shop/web")


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [
        pytest.param(("BGP",), ("gold", "silver"), id="BGP"),
        pytest.param(("Layer2",), (), id="layer 2"),
        pytest.param(("RoutingTable",), (), id="routing table"),
    ],
)
def test_advertisements_are_for_bgp(protocols: tuple[str, ...], expected: tuple[str, ...]) -> None:
    wish = Wish(Key("shop", "web"), "u", (4,), advertisements=("gold", "silver"))
    granted = Granted(ip("192.0.2.1"), "prod", PoolAnnounce(protocols=protocols))
    assert spec_of(granted, wish, CLUSTER).announce.advertisements == expected
