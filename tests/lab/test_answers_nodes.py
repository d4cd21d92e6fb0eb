"""Which nodes announce: those that leave hand over, those that are cordoned come last, and selectors are kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab.api import STRATEGIC, Json
from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.kube_vip import FORCED, maintain, one_claimant, serve, trust
from tests.lab.shop import FOUR, POOL, ROOST, SIX, Shop, Wanted, open_shop, seats

NODES = {"n1", "n2", "n3"}
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab says so"}
GOING = READY | {"status": "False", "reason": "KubeletNotReady", "message": "node is shutting down"}


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.fixture(scope="module")
def addresses(shop: Shop) -> list[str]:
    return serve(shop, Wanted("stays", (FOUR, SIX)))


Turn = Callable[[Lab, str, bool], None]


def change(lab: Lab, node: str, patch: Json, part: str = "") -> None:
    lab.api("PATCH", f"/api/v1/nodes/{node}{part}", patch, kind=STRATEGIC)


def tainted(key: str) -> Turn:
    def turn(lab: Lab, node: str, on: bool) -> None:
        change(lab, node, {"spec": {"taints": [{"key": key, "effect": "NoSchedule"}] if on else None}})

    return turn


def labelled(lab: Lab, node: str, on: bool) -> None:
    change(lab, node, {"metadata": {"labels": {EXCLUDE: "" if on else None}}})


def shutting_down(lab: Lab, node: str, on: bool) -> None:
    change(lab, node, {"status": {"conditions": [GOING if on else READY]}}, "/status")


def in_maintenance(lab: Lab, node: str, on: bool) -> None:
    maintain(lab, node, "Drain" if on else "None")


def shut_out(lab: Lab, node: str, on: bool) -> None:
    maintain(lab, node, "Exclude" if on else "None")


def deleted(lab: Lab, node: str, on: bool) -> None:
    """Its object goes only when whoever waits for that has done its work, as Cluster API has it."""
    if on:
        change(lab, node, {"metadata": {"finalizers": ["example.com/waits"]}})
        lab.api("DELETE", f"/api/v1/nodes/{node}")
    else:
        change(lab, node, {"metadata": {"finalizers": None}})
        wait_for(f"{node} is gone", lambda: lab.admin.find(f"/api/v1/nodes/{node}") is None)
        lab.agents[node].sigkill()  # its token was bound to that object, as its Pod was
        lab.nodes[node].register(lab.admin)
        lab.start_agent(node, "--linger=0.5")
        wait_for("every agent has its seat", lambda: set(seats(lab)) == NODES, alive=lab.agents.values())


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(in_maintenance, id="NodeAgent.spec.maintenance is Drain"),
        pytest.param(shut_out, id="NodeAgent.spec.maintenance is Exclude"),
        pytest.param(tainted("ToBeDeletedByClusterAutoscaler"), id="the autoscaler takes it away"),
        pytest.param(tainted("karpenter.sh/disrupted"), id="Karpenter takes it away"),
        pytest.param(tainted("node.kubernetes.io/out-of-service"), id="it is out of service"),
        pytest.param(shutting_down, id="kubelet says that it shuts down"),
        pytest.param(labelled, id="a label excludes it from load balancers"),
        pytest.param(deleted, id="its Node object is being deleted"),
    ],
)
def test_a_holder_that_leaves_hands_over_and_takes_part_again_when_it_stays(
    shop: Shop, addresses: list[str], turn: Turn
) -> None:
    old = shop.wait_held(addresses[0], NODES)
    others = NODES - {old}
    with one_claimant(shop, *addresses) as watch:
        turn(shop.lab, old, True)
        for address in addresses:
            shop.wait_held(address, others)
            shop.wait_answer(address)
        watch.check()
        with leaving(shop.lab, others):
            turn(shop.lab, old, False)
            for address in addresses:
                shop.wait_held(address, {old})
                shop.wait_answer(address)


@contextmanager
def leaving(lab: Lab, nodes: set[str]) -> Iterator[None]:
    """*nodes* drain meanwhile; where no node is left, the holder goes on."""
    for node in sorted(nodes):
        maintain(lab, node, "Drain")
    yield
    for node in sorted(nodes):
        maintain(lab, node, "None")


def test_a_cordoned_node_keeps_what_it_holds_and_is_chosen_last(shop: Shop, addresses: list[str]) -> None:
    holder = shop.wait_held(addresses[0], NODES)
    (free, other) = sorted(NODES - {holder})
    for node in (holder, other):
        shop.lab.kubectl("cordon", node)
    names = [f"new-{number}" for number in range(4)]
    new = [serve(shop, Wanted(name, annotations=FORCED))[0] for name in names]
    assert {shop.holder(address) for address in new} == {free}
    assert {shop.holder(address) for address in addresses} == {holder}
    maintain(shop.lab, free, "Drain")
    for address in new:
        shop.wait_held(address, {holder, other})
        shop.wait_answer(address)
    maintain(shop.lab, free, "None")
    for node in (holder, other):
        shop.lab.kubectl("uncordon", node)
    shop.delete(*names)


def test_where_no_node_may_announce_the_service_says_why(shop: Shop) -> None:
    nowhere = {"interfaces": ["data"], "nodeSelector": {"matchLabels": {"rack": "none"}}}
    shop.lab.apply(pool("nowhere", "10.60.0.240", nowhere))
    shop.make(Wanted("nowhere", annotations={"roost.dev/pool": "nowhere"}))
    shop.wait_addresses("nowhere")
    condition = shop.wait_condition("nowhere", "Announced", "False", "NoEligibleNode")
    assert "3 not selected" in condition["message"]
    shop.lab.api("PATCH", f"{ROOST}/addresspools/nowhere", {"spec": {"announce": {"nodeSelector": None}}})
    shop.wait_answer("10.60.0.240")
    shop.delete("nowhere")
    shop.lab.kubectl("delete", "addresspool", "nowhere")


def pool(name: str, addresses: str, announce: Json) -> Json:
    """A pool that nobody gets an address of without asking."""
    spec = {"addresses": [addresses], "allocation": {"auto": False}, "announce": announce}
    return {**POOL, "metadata": {"name": name}, "spec": spec}


def test_an_interface_that_no_node_has_is_said_and_another_is_followed(shop: Shop) -> None:
    """kube-vip.io/serviceInterface."""
    trust(shop.lab)
    annotation = "kube-vip.io/serviceInterface"
    (address,) = serve(shop, Wanted("picky", annotations={annotation: "data"}))
    shop.change("picky", {}, {annotation: "eth9"})
    condition = shop.wait_condition("picky", "Announced", "False", "NoEligibleNode")
    assert "3 without that interface" in condition["message"]
    shop.wait_gone(address)
    shop.change("picky", {}, {annotation: "auto"})
    shop.wait_answer(address)
    shop.delete("picky")
