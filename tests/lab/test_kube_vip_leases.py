"""kube-vip's tests with a common lease (testing/e2e/e2e_test.go): Services that name one leaseName stay together.

There the Services share one address as well; here each has its own.
"""

import pytest

from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.kube_vip import FAMILIES, group, lease, maintain, one_claimant, serve, trust
from tests.lab.shop import FOUR, SIX, Shop, Wanted, open_shop

NODES = {"n1", "n2", "n3"}


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    shop = open_shop(lab)
    trust(lab)
    return shop


@pytest.mark.parametrize("families", FAMILIES)
def test_e2e_configures_vip_addresses_for_multiple_services_with_a_manual_lease_name(
    shop: Shop, families: tuple[str, ...]
) -> None:
    """configures a single … VIP address for multiple services (manual lease name): all on the lease's holder."""
    wanted = [Wanted(f"s{i}", families, annotations=lease("manual"), ports=(80 + i,)) for i in range(3)]
    addresses = [serve(shop, one) for one in wanted]
    every = [address for several in addresses for address in several]
    assert len({group(shop, address) for address in every}) == 1
    assert group(shop, every[0]).startswith("l-")
    (holder,) = {shop.holder(address) for address in every}
    for address in every:
        assert shop.carriers(address) == {holder}
    for number in range(3):
        shop.delete(f"s{number}")
        shop.wait_gone(*addresses[number])
        for left in range(number + 1, 3):
            for address in addresses[left]:
                assert shop.answer(address, 80 + left), "removed only with its own Service"


def test_services_of_one_lease_move_together(shop: Shop) -> None:
    """A holder that drains gives all of them to one other node, whatever namespace/name form they name it in."""
    first = serve(shop, Wanted("first", (FOUR, SIX), annotations=lease("pair")))
    second = serve(shop, Wanted("second", (FOUR,), annotations=lease("default/pair")))
    every = first + second
    (old,) = {shop.holder(address) for address in every}
    with one_claimant(shop, *every):
        maintain(shop.lab, old, "Drain")
        for address in every:
            shop.wait_held(address, NODES - {old}, "l-")
            shop.wait_answer(address)
        assert len({shop.holder(address) for address in every}) == 1
        maintain(shop.lab, old, "None")
    shop.delete("first", "second")


def test_a_lease_of_services_with_policy_local_is_held_where_all_have_an_endpoint(shop: Shop) -> None:
    """kube-vip refuses a leaseName with policy Local; here the endpoints decide together."""
    shop.lab.add_backend("near-0", "n1")
    shop.lab.add_backend("near-1", "n2")
    shop.lab.add_backend("far-0", "n2")
    shop.lab.add_backend("far-1", "n3")
    near = serve(shop, Wanted("near", (FOUR,), "Local", lease("both"), app="near"))
    far = serve(shop, Wanted("far", (FOUR,), "Local", lease("both"), app="far"))
    for address in near + far:
        shop.wait_held(address, {"n2"})
    shop.lab.remove_backend("near-1")
    shop.lab.add_backend("far-2", "n1")
    for address in near + far:
        shop.wait_held(address, {"n1"})
        shop.wait_answer(address)
    shop.delete("near", "far")
    for name in ("near-0", "far-0", "far-1", "far-2"):
        shop.lab.remove_backend(name)


def test_a_service_that_names_a_lease_or_none_any_more_moves_without_two_claimants(shop: Shop) -> None:
    """leaseName is one of the changes on which kube-vip rebuilds a Service."""
    (address,) = serve(shop, Wanted("turns"))
    with one_claimant(shop, address) as watch:
        shop.change("turns", {}, lease("other"))
        shop.wait_held(address, NODES, "l-")
        shop.wait_answer(address)
        watch.check()
        shop.change("turns", {}, {"kube-vip.io/leaseName": None})
        shop.wait_held(address, NODES, "b-")
        shop.wait_answer(address)
    assert shop.addresses("turns") == [address]
    shop.delete("turns")


def test_who_is_not_trusted_is_told_that_the_lease_is_not_followed(shop: Shop) -> None:
    """It may have been there before the admission policy: the Service is served as if it had not named one."""
    (address,) = serve(shop, Wanted("early", annotations=lease("early")))
    assert group(shop, address).startswith("l-")
    labels = {"metadata": {"labels": {"roost.dev/service-authors": None}}}
    shop.lab.api("PATCH", "/api/v1/namespaces/default", labels)
    shop.wait_held(address, NODES, "b-")
    shop.wait_answer(address)
    wait_for(
        "it is told", lambda: "not followed: kube-vip.io/leaseName" in shop.condition("early", "Allocated")["message"]
    )
    wait_for("it is an Event", lambda: any(e["reason"] == "AnnotationRefused" for e in shop.events("early")))
    shop.delete("early")
