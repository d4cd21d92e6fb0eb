"""kube-vip's tests with ARP (testing/e2e/e2e_test.go), as far as they are about Services: addresses come and go.

Not here: "only removes VIP address if it was referenced by multiple services and all of them were deleted" needs
addresses that Services share; what is about endpoints and leases has files of its own.
"""

import pytest

from lab.cluster import Lab
from tests.lab.kube_vip import ELECTIONS, FAMILIES, FORCED, POLICIES, annotate, group, one_claimant, serve
from tests.lab.shop import Shop, Wanted, open_shop


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.mark.parametrize("annotations", ELECTIONS)
@pytest.mark.parametrize("traffic", POLICIES)
@pytest.mark.parametrize("families", FAMILIES)
def test_e2e_configures_a_vip_address_for_service(
    shop: Shop, families: tuple[str, ...], traffic: str, annotations: dict[str, str]
) -> None:
    """configures an IPv4/IPv6/DualStack VIP address for service: on the holder, answers, and is gone with it."""
    addresses = serve(shop, Wanted("whoami", families, traffic, annotations))
    (holder,) = {shop.holder(address) for address in addresses}
    for address in addresses:
        assert shop.carriers(address) == {holder}
    shop.delete("whoami")
    shop.wait_gone(*addresses)
    for address in addresses:
        assert not shop.answer(address)


@pytest.mark.parametrize("traffic", POLICIES)
@pytest.mark.parametrize("families", FAMILIES)
def test_e2e_configures_vips_when_per_service_election_on_demand_is_used(
    shop: Shop, families: tuple[str, ...], traffic: str
) -> None:
    """configures … when per-service election on demand is used: one Service as all, one with its own election."""
    usual = serve(shop, Wanted("usual", families, traffic))
    forced = serve(shop, Wanted("forced", families, traffic, FORCED))
    assert {group(shop, address)[:2] for address in usual} == {"b-" if traffic == "Cluster" else "s-"}
    assert {group(shop, address)[:2] for address in forced} == {"s-"}
    with one_claimant(shop, *forced):
        shop.delete("usual")
        shop.wait_gone(*usual)
        for address in forced:
            shop.wait_answer(address)
    shop.delete("forced")
    shop.wait_gone(*forced)


def test_e2e_propagates_dhcp_broadcast_annotation_to_service(shop: Shop) -> None:
    """propagates dhcp-broadcast annotation to service: what is not ours to read stays as it was written."""
    (address,) = serve(shop, Wanted("dhcp", annotations={"kube-vip.io/dhcp-broadcast": "true"}))
    annotate(shop, "dhcp", other="x")
    shop.wait_condition("dhcp", "Announced", "True", "Announced")
    assert shop.service("dhcp")["metadata"]["annotations"] == {"kube-vip.io/dhcp-broadcast": "true", "other": "x"}
    shop.delete("dhcp")
    shop.wait_gone(address)
