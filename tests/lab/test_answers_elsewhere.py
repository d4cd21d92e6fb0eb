"""Other surroundings: kube-proxy in mode iptables, programs before their CRDs, other ways to the interface."""

from collections.abc import Iterator
from functools import partial

import pytest
import yaml

from lab import manifests
from lab.cluster import Lab
from lab.run import Process, wait_for
from tests.lab.kube_vip import maintain, serve, stop_for_good
from tests.lab.local_policy import assert_kube_proxy_says_where_the_endpoints_are, assert_the_word_of_kube_proxy_counts
from tests.lab.shop import FOUR, POOL, REST, ROOST, SIX, Shop, Wanted, seats

ACCOUNTS = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
NODES = ("n1", "n2")
NO_CRD = "the API server has no roost.dev/v1alpha1 VirtualIP: apply the CRDs"


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A lab in which nothing is installed yet but accounts and their rights."""
    with Lab(nodes=2, kube_proxy="iptables") as lab:
        documents = yaml.safe_load_all(manifests.render().read_text())
        lab.apply([document for document in documents if document and document["kind"] in ACCOUNTS])
        for node in NODES:
            lab.add_backend(f"web-{node}", node)
        yield Shop(lab)


def test_programs_that_start_before_their_crds_say_so_and_wait_for_them(shop: Shop) -> None:
    lab = shop.lab
    programs = [lab.start_controller("a", REST), *(lab.start_agent(node, "--linger=0.5") for node in NODES)]
    for program in programs:
        wait_for(f"{program.name} names the CRDs", partial(names_the_crds, program), alive=[program])
    lab.install()
    lab.apply(POOL)
    wait_for("both agents are seated", lambda: sorted(seats(lab)) == list(NODES), 45, alive=programs)
    assert_answers(shop)


def names_the_crds(program: Process) -> bool:
    return NO_CRD in program.log()


def assert_answers(shop: Shop) -> None:
    for traffic in ("Cluster", "Local"):
        name = traffic.lower()
        shop.make(Wanted(name, (FOUR, SIX), traffic))
        addresses = shop.wait_addresses(name, 2)
        for address in addresses:
            shop.wait_answer(address)
            shop.wait_carried(address)
        shop.delete(name)
        shop.wait_gone(*addresses)


def test_kube_proxy_says_where_the_endpoints_are(shop: Shop) -> None:
    """In mode iptables it listens on all addresses."""
    assert_kube_proxy_says_where_the_endpoints_are(shop)


def test_the_word_of_kube_proxy_counts(shop: Shop) -> None:
    assert_the_word_of_kube_proxy_counts(shop)


@pytest.mark.parametrize("traffic", ["Cluster", "Local"])
def test_no_endpoint_no_announcement(shop: Shop, traffic: str) -> None:
    shop.lab.add_backend("lone-0", "n1")
    addresses = serve(shop, Wanted("lone", (FOUR, SIX), traffic, app="lone"))
    shop.lab.remove_backend("lone-0")
    shop.wait_gone(*addresses)
    shop.lab.add_backend("lone-1", "n2")
    for address in addresses:
        shop.wait_answer(address, by="lone-1")
    shop.delete("lone")
    shop.lab.remove_backend("lone-1")


def test_the_interface_of_the_segment_that_selects_the_node(shop: Shop) -> None:
    """One is named after each agent started without a setting; the table is the Segment's, and all of them share it."""
    rack = {"apiVersion": "roost.dev/v1alpha1", "kind": "Segment", "metadata": {"name": "rack-1"}}
    selector = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(NODES)}]}
    shop.lab.apply(rack | {"spec": {"interfaces": ["data"], "nodeSelector": selector}})
    stop_for_good(shop.lab)
    start_agents(shop.lab)
    wait_for("all sit at that table", lambda: seated(shop.lab, "rack-1") == list(NODES))
    assert_answers(shop)
    stop_for_good(shop.lab)
    shop.lab.kubectl("delete", "segment", "rack-1")


def test_the_interface_with_a_vip_in_its_subnet(shop: Shop) -> None:
    lab = shop.lab
    wait_for("no VIP rests", lambda: not lab.admin.items(f"{ROOST}/virtualips"))
    start_agents(lab)
    wait_for("both agents are ready, with nothing to do", lambda: ready(lab) == list(NODES))
    assert [shop.events(node, "NodeAgent") for node in NODES] == [[], []]
    shop.make(Wanted("first"))
    (address,) = shop.wait_addresses("first")
    shop.wait_answer(address)
    wait_for("both sit at the table of the subnet", lambda: seated(lab, "10.60.0.0-24") == list(NODES))
    assert_answers(shop)
    shop.delete("first")


def ready(lab: Lab) -> list[str]:
    """The nodes whose agent says that all is well, and that there is no VIP."""
    return sorted(
        agent["metadata"]["name"]
        for agent in lab.admin.items(f"{ROOST}/nodeagents")
        for item in agent.get("status", {}).get("conditions", [])
        if item["status"] == "True" and "there is no VIP yet" in item["message"]
    )


def start_agents(lab: Lab) -> None:
    for node in NODES:
        maintain(lab, node, "None")
        lab.start_agent(node, "--linger=0.5", interface="")


def seated(lab: Lab, table: str) -> list[str]:
    """The nodes with a live seat in that table."""
    status = (lab.admin.find(f"{ROOST}/segments/{table}") or {}).get("status", {})
    return sorted(seat["node"] for seat in status.get("seats", []) if seat["state"] == "Live")
