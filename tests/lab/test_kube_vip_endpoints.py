"""kube-vip's tests of endpoints: without any a VIP is withdrawn, and with the first it is back (e2e and e2e_ds)."""

import pytest

from lab.cluster import Lab
from tests.lab.kube_vip import FAMILIES, FORCED, POLICIES, THREE_FAMILIES, serve
from tests.lab.shop import FOUR, SIX, Shop, Wanted, open_shop, path


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.mark.parametrize("traffic", POLICIES)
@pytest.mark.parametrize("families", FAMILIES)
def test_e2e_removes_vip_if_all_endpoints_were_deleted_and_re_adds_vip_on_endpoint_creation(
    shop: Shop, families: tuple[str, ...], traffic: str
) -> None:
    """removes VIP if all endpoints were deleted and re-adds VIP on endpoint creation (global election)."""
    goes_and_comes_back(shop, families, traffic, {})


@pytest.mark.parametrize("families", THREE_FAMILIES)
def test_ds_is_able_to_pick_up_leaderelection_when_all_endpoints_for_the_service_were_deleted(
    shop: Shop, families: tuple[str, ...]
) -> None:
    """is able to pick up leaderelection when all endpoints for the service were deleted (e2e_ds_test.go)."""
    goes_and_comes_back(shop, families, "Cluster", FORCED)


def goes_and_comes_back(shop: Shop, families: tuple[str, ...], traffic: str, annotations: dict[str, str]) -> None:
    for node in ("n1", "n2"):
        shop.lab.add_backend(f"lone-{node}", node)
    addresses = serve(shop, Wanted("lone", families, traffic, annotations, app="lone"))
    for node in ("n1", "n2"):
        shop.lab.remove_backend(f"lone-{node}")
    shop.wait_gone(*addresses)
    for address in addresses:
        assert not shop.answer(address)
    assert shop.addresses("lone") == addresses, "they stay its own"
    shop.lab.add_backend("lone-n3", "n3")
    for address in addresses:
        shop.wait_answer(address, by="lone-n3")
        shop.wait_carried(address)
    assert traffic == "Cluster" or {shop.holder(address) for address in addresses} == {"n3"}
    shop.delete("lone")
    shop.wait_gone(*addresses)
    shop.lab.remove_backend("lone-n3")


def test_allow_reconcile_without_endpoints(shop: Shop) -> None:
    """kube-vip.io/allow-reconcile-without-endpoints keeps a VIP with zero endpoints (Cluster only)."""
    anyway = {"kube-vip.io/allow-reconcile-without-endpoints": "true"}
    shop.make(Wanted("empty", (FOUR, SIX), annotations=anyway, app="none"))
    addresses = shop.wait_addresses("empty", 2)
    for address in addresses:
        shop.wait_carried(address)
    shop.wait_condition("empty", "Announced", "True", "Announced")
    shop.lab.api("PATCH", path("empty"), {"metadata": {"annotations": dict.fromkeys(anyway)}})
    shop.wait_condition("empty", "Announced", "False", "NoEndpoints")
    shop.wait_gone(*addresses)
    shop.delete("empty")
