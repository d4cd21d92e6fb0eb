"""A Service that its owner changes while it runs: ports, policy, addresses, type, class."""

import pytest

from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.shop import FOUR, SIX, Shop, Wanted, open_shop


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


def test_new_ports_answer_at_the_same_address(shop: Shop) -> None:
    shop.make(Wanted("ports"))
    (address,) = shop.wait_addresses("ports")
    shop.wait_answer(address)
    more = [{"name": "a", "port": 8081, "targetPort": 8080}, {"name": "b", "port": 8082, "targetPort": 8080}]
    shop.change("ports", {"ports": more})
    shop.wait_answer(address, 8081)
    shop.wait_answer(address, 8082)
    wait_for("port 80 is closed", lambda: not shop.answer(address))

    def shown() -> bool:
        (entry,) = shop.service("ports")["status"]["loadBalancer"]["ingress"]
        return [port["port"] for port in entry["ports"]] == [8081, 8082]

    wait_for("the status shows the new ports", shown)
    assert shop.addresses("ports") == [address]
    shop.delete("ports")


def test_policy_cluster_and_local_and_back(shop: Shop) -> None:
    shop.lab.add_backend("turn-0", "n2")
    shop.make(Wanted("turn", (FOUR, SIX), app="turn"))
    addresses = shop.wait_addresses("turn", 2)
    for address in addresses:
        shop.wait_answer(address)
    for traffic, group, nodes in (
        ("Local", "s-", {"n2"}),
        ("Cluster", "b-", {"n1", "n2", "n3"}),
        ("Local", "s-", {"n2"}),
    ):
        shop.change("turn", {"externalTrafficPolicy": traffic})
        for address in addresses:
            shop.wait_held(address, nodes, group)
            shop.wait_answer(address)
            shop.wait_carried(address)
        assert shop.addresses("turn") == addresses
    shop.delete("turn")
    shop.lab.remove_backend("turn-0")


def test_other_addresses_are_taken_when_they_are_asked_for(shop: Shop) -> None:
    shop.make(Wanted("move", (FOUR, SIX)))
    before = shop.wait_addresses("move", 2)
    shop.wait_answer(before[0])
    after = ["10.60.0.231", "fd60::2aa"]
    shop.change("move", {}, {"roost.dev/addresses": ",".join(after)})
    wait_for("the new addresses are shown", lambda: shop.addresses("move") == after)
    for address in after:
        shop.wait_answer(address)
    shop.wait_gone(*before)
    shop.delete("move")


def test_a_service_that_becomes_cluster_ip_gives_its_address_back_and_may_ask_again(shop: Shop) -> None:
    shop.make(Wanted("type"))
    (address,) = shop.wait_addresses("type")
    shop.wait_answer(address)
    shop.change("type", {"type": "ClusterIP", "externalTrafficPolicy": None, "allocateLoadBalancerNodePorts": None})
    wait_for("no address is shown", lambda: not shop.addresses("type"))
    shop.wait_gone(address)
    wait_for("the finalizer is off", lambda: not shop.service("type")["metadata"].get("finalizers"))
    shop.change("type", {"type": "LoadBalancer"})
    (again,) = shop.wait_addresses("type")
    shop.wait_answer(again)
    shop.delete("type")


def test_a_class_of_another_is_not_ours_and_ours_is(shop: Shop) -> None:
    shop.make(Wanted("class", spec={"loadBalancerClass": "example.com/other"}))
    shop.make(Wanted("ours", spec={"loadBalancerClass": "roost.dev/load-balancer"}))
    (ours,) = shop.wait_addresses("ours")
    shop.wait_answer(ours)
    assert shop.addresses("class") == []
    assert "finalizers" not in shop.service("class")["metadata"]
    shop.change("class", {"type": "ClusterIP", "externalTrafficPolicy": None, "loadBalancerClass": None})
    shop.change("class", {"type": "LoadBalancer"})  # of no class: ours by default
    (address,) = shop.wait_addresses("class")
    shop.wait_answer(address)
    shop.change("class", {"type": "ClusterIP", "externalTrafficPolicy": None})
    shop.change("class", {"type": "LoadBalancer", "loadBalancerClass": "example.com/other"})
    wait_for("no address is shown", lambda: not shop.addresses("class"))
    shop.wait_gone(address)
    assert shop.answer(ours)
    shop.delete("class", "ours")
