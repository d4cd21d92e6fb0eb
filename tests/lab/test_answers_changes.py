"""A Service that its owner changes while it runs: ports, policy, addresses, type, class."""

import time

import pytest

from lab.api import Json
from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.shop import FOUR, POOL, SIX, Shop, Wanted, open_shop, seats


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


def test_no_two_claim_while_a_vip_changes_its_group_and_its_holder_is_frozen(shop: Shop) -> None:
    """The new group has another holder, which asks nobody; the old one's agent cannot hear that it has lost the VIP."""
    shop.make(Wanted("frozen"))
    (address,) = shop.wait_addresses("frozen")
    shop.wait_answer(address)
    old = shop.holder(address)
    (other, *_) = {"n1", "n2", "n3"} - {old}
    shop.lab.add_backend("elsewhere-0", other)
    began = time.time()
    with shop.lab.claims([address]) as claims, shop.lab.ask(address):
        wait_for("the old holder claims", lambda: claims.recording(since=began).of_vip(address).claims)
        shop.lab.agents[old].sigstop()
        try:
            shop.change("frozen", {"externalTrafficPolicy": "Local", "selector": {"app": "elsewhere"}})
            shop.wait_held(address, {other}, "s-")
            assert claims.wait_for_holder(address, other_than=old) == other
        finally:
            shop.lab.agents[old].sigcont()
        wait_for("the old holder sits again", lambda: old in seats(shop.lab))
        shop.wait_answer(address, by="elsewhere-0")
        assert claims.recording(since=began).seconds_with_two() == 0
    shop.delete("frozen")
    shop.lab.remove_backend("elsewhere-0")


def test_only_nodes_that_the_pool_selects_hold_its_addresses(shop: Shop) -> None:
    shop.lab.apply(picky("n3"))
    shop.make(Wanted("picky", annotations={"roost.dev/pool": "picky"}))
    (address,) = shop.wait_addresses("picky")
    shop.wait_answer(address)
    assert shop.holder(address) == "n3"
    shop.lab.apply(picky("n1"))
    shop.wait_held(address, {"n1"})
    shop.wait_answer(address)
    shop.wait_carried(address)
    shop.delete("picky")
    shop.wait_free(address)
    shop.lab.kubectl("delete", "addresspool", "picky")


def picky(node: str) -> Json:
    """A pool that is announced by one node only, and that nobody gets an address of without asking."""
    announce = {"interfaces": ["data"], "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}}}
    spec = {"addresses": ["10.60.0.245-10.60.0.249"], "allocation": {"auto": False}, "announce": announce}
    return {**POOL, "metadata": {"name": "picky"}, "spec": spec}
