"""Policy Local: kube-proxy's word at healthCheckNodePort, and endpoints that serve while they terminate."""

import pytest

from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.kube_vip import one_claimant, serve
from tests.lab.local_policy import (
    assert_kube_proxy_says_where_the_endpoints_are,
    assert_the_word_of_kube_proxy_counts,
    kube_proxy,
)
from tests.lab.shop import FOUR, SIX, Shop, Wanted, open_shop


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


def test_kube_proxy_says_where_the_endpoints_are(shop: Shop) -> None:
    """In mode nftables it listens on the node's own addresses only."""
    assert_kube_proxy_says_where_the_endpoints_are(shop)


def test_the_word_of_kube_proxy_counts(shop: Shop) -> None:
    assert_the_word_of_kube_proxy_counts(shop)


def test_a_kube_proxy_that_hangs_moves_nothing(shop: Shop) -> None:
    for node in ("n1", "n2"):
        shop.lab.add_backend(f"hang-{node}", node)
    addresses = serve(shop, Wanted("hang", (FOUR, SIX), "Local", app="hang"))
    holder = shop.holder(addresses[0])
    proxy = kube_proxy(shop.lab, holder)
    proxy.sigstop()
    with one_claimant(shop, *addresses), shop.lab.client(addresses[0]) as client:
        client.wait_for_success(count=300)
        assert {shop.holder(address) for address in addresses} == {holder}
    proxy.sigcont()
    shop.delete("hang")
    for node in ("n1", "n2"):
        shop.lab.remove_backend(f"hang-{node}")


@pytest.mark.parametrize("traffic", ["Cluster", "Local"])
def test_the_last_endpoint_serves_until_it_has_ended(shop: Shop, traffic: str) -> None:
    last = shop.lab.add_backend("last-0", "n1")
    addresses = serve(shop, Wanted("last", (FOUR, SIX), traffic, app="last"))
    with one_claimant(shop, *addresses):
        shop.lab.api("DELETE", f"{last.path}?gracePeriodSeconds=60")
        wait_for("the endpoint is terminating", lambda: states(shop, "last") == [(False, True, True)] * 2)
        for address in addresses:
            shop.wait_answer(address, by="last-0")
        assert traffic == "Cluster" or {shop.holder(address) for address in addresses} == {"n1"}
        shop.lab.add_backend("last-1", "n2")
        for address in addresses:
            shop.wait_answer(address, by="last-1")
            assert traffic == "Cluster" or shop.wait_held(address, {"n2"})
    shop.lab.remove_backend("last-0")
    shop.delete("last")
    shop.lab.remove_backend("last-1")


def states(shop: Shop, name: str) -> list[tuple[bool | None, ...]]:
    """Ready, serving, terminating: of each endpoint in each slice of a Service."""
    path = (
        f"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name={name}"
    )
    words = ("ready", "serving", "terminating")
    return [
        tuple(end["conditions"].get(word) for word in words)
        for piece in shop.lab.admin.items(path)
        for end in piece.get("endpoints") or ()
    ]
