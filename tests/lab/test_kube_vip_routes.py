"""kube-vip's tests with its routing table (testing/e2e/e2e_rt_test.go) that are about Services.

Those of the control plane's own VIP are not here, nor those that need one address for several Services.
"""

from collections.abc import Collection
from functools import partial

import pytest

from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.kube_vip import (
    FAMILIES,
    FORCED,
    POLICIES,
    THREE_FAMILIES,
    group,
    lease,
)
from tests.lab.shop import FOUR, SIX, Shop, Wanted
from tests.lab.table_routes import ALL, ELECTIONS, HOLDER, open_shop, routed, serve, wait_routed, withdraw


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.mark.parametrize("annotations", ELECTIONS)
@pytest.mark.parametrize("traffic", POLICIES)
@pytest.mark.parametrize("families", FAMILIES)
def test_e2e_configures_routes_for_services(
    shop: Shop, families: tuple[str, ...], traffic: str, annotations: dict[str, str]
) -> None:
    """configures … routes for services: on the right nodes, and nothing of it once the Service is deleted."""
    addresses = serve(shop, Wanted("whoami", families, traffic, annotations))
    for address in addresses:
        assert shop.carriers(address) == set(), "the VIP itself is on no link"
    withdraw(shop, ["whoami"], addresses)


@pytest.mark.parametrize("traffic", POLICIES)
@pytest.mark.parametrize("families", FAMILIES)
def test_e2e_mixed_election(shop: Shop, families: tuple[str, ...], traffic: str) -> None:
    """mixed election: one normal and one forced Service; the forced one has a group of its own, and one route."""
    usual = serve(shop, Wanted("usual", families, traffic))
    forced = serve(shop, Wanted("forced", families, traffic, FORCED))
    assert {group(shop, address)[:2] for address in forced} == {"s-"}
    withdraw(shop, ["usual"], usual)
    for address in forced:
        wait_routed(shop, address, [shop.holder(address)])
    withdraw(shop, ["forced"], forced)


@pytest.mark.parametrize("families", THREE_FAMILIES)
def test_e2e_only_removes_a_route_with_its_own_service_while_using_common_lease(
    shop: Shop, families: tuple[str, ...]
) -> None:
    """… while using common lease: two Services of one lease have one announcer, and each its own route."""
    common = {**lease("common"), **HOLDER}
    first = serve(shop, Wanted("first", families, annotations=common))
    second = serve(shop, Wanted("second", families, annotations=common))
    assert len({shop.holder(address) for address in (*first, *second)}) == 1
    withdraw(shop, ["first"], first)
    for address in second:
        wait_routed(shop, address, [shop.holder(address)])
    withdraw(shop, ["second"], second)


@pytest.mark.parametrize("annotations", ELECTIONS)
@pytest.mark.parametrize("traffic", POLICIES)
def test_e2e_removes_route_if_all_endpoints_were_deleted_and_re_adds_it_when_endpoints_are_created(
    shop: Shop, traffic: str, annotations: dict[str, str]
) -> None:
    shop.lab.add_backend("lone-n1", "n1")
    shop.make(Wanted("lone", (FOUR, SIX), traffic, annotations, app="lone"))
    addresses = shop.wait_addresses("lone", 2)

    def one_or_all(near: str, address: str) -> Collection[str]:
        if traffic == "Local":
            return (near,)
        return (shop.wait_held(address, ALL),) if annotations else ALL

    for address in addresses:
        wait_routed(shop, address, one_or_all("n1", address))
    shop.lab.remove_backend("lone-n1")
    for address in addresses:
        wait_routed(shop, address, ())
    shop.lab.add_backend("lone-n3", "n3")
    for address in addresses:
        wait_routed(shop, address, one_or_all("n3", address))
    withdraw(shop, ["lone"], addresses)
    shop.lab.remove_backend("lone-n3")


def test_a_router_behind_it_sends_connections_to_all_nodes_with_a_route(shop: Shop) -> None:
    """BIRD on every node, as an administrator runs it there, tells a router beyond."""
    router = shop.lab.add_router("frr")
    for node in ALL:
        shop.lab.start_redistributor(node, "bird", router, asn=65001)
    (address,) = serve(shop, Wanted("spread", (FOUR,)))
    legs = [str(shop.lab.nodes[node].leg("data").address4) for node in ALL]
    router.wait_next_hops(f"{address}/32", *legs)
    found = wait_for("all is answered", partial(_answered, shop, router.client, address))
    assert set(found) == set(ALL)
    withdraw(shop, ["spread"], [address])
    router.wait_next_hops(f"{address}/32")


def _answered(shop: Shop, client: str, address: str) -> dict[str, int]:
    """At which nodes connections came in; nothing if one failed, for kube-proxy may be late."""
    spread = shop.lab.spread(client, address, count=60)
    return {} if spread.failures else dict(spread.nodes)


def test_a_killed_agent_leaves_its_routes_and_finds_them_again(shop: Shop) -> None:
    addresses = serve(shop, Wanted("whoami", (FOUR, SIX)))
    agent = shop.lab.agents["n1"]
    agent.sigkill()
    for address in addresses:
        assert routed(shop.lab, address) == set(ALL)
    shop.lab.start_agent("n1", "--linger=0.5")
    withdraw(shop, ["whoami"], addresses)
