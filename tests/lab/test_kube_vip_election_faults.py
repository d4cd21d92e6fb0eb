"""kube-vip's service test program with -electionFaults: eight faults, after each of which everything is as before.

As before: one node holds the VIP, claims it and has its address; it answers; no agent ended or had a bug; and while
it was not to go to and fro no two claimed it. An election is a row of the Segment's table here, a lease is the Lease of
a node.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.kube_vip import FORCED, annotate, group, lease, one_claimant, serve, trust
from tests.lab.shop import FOUR, ROOST, SIX, Shop, Wanted, open_shop, seats

NODES = ("n1", "n2", "n3")
NODE_LEASES = "/apis/coordination.k8s.io/v1/namespaces/roost-node-lease/leases"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    shop = open_shop(lab)
    trust(lab)
    return shop


@pytest.fixture(scope="module")
def addresses(shop: Shop) -> list[str]:
    """Of the Service that all faults are injected into."""
    for node in ("n1", "n2"):
        shop.lab.add_backend(f"fault-{node}", node)
    return serve(shop, Wanted("fault", (FOUR, SIX), "Local", FORCED, app="fault"))


@contextmanager
def fault(shop: Shop, addresses: list[str]) -> Iterator[None]:
    """What is done within must leave everything as it was, in the end."""
    with one_claimant(shop, *addresses):
        yield
        settle(shop, addresses)
    wait_for("every agent sits", lambda: sorted(seats(shop.lab)) == list(NODES), alive=shop.lab.agents.values())
    assert len(rows(shop, group(shop, addresses[0]))) == 1
    for agent in shop.lab.agents.values():
        assert agent.running
        assert "Traceback" not in agent.log()


def settle(shop: Shop, addresses: list[str]) -> None:
    for address in addresses:
        shop.wait_held(address, NODES)
        shop.wait_answer(address)
        shop.wait_carried(address)


def rows(shop: Shop, name: str) -> list[str]:
    tables = [segment.get("status", {}) for segment in shop.lab.admin.items(f"{ROOST}/segments")]
    return [row["name"] for table in tables for row in table.get("groups", []) if row["name"] == name]


def test_election_fault_endpoint_churn(shop: Shop, addresses: list[str]) -> None:
    """endpoint churn (#1665): the last endpoints go and come, over and over, and the VIP goes to and fro with them."""
    pods = [shop.lab.pods.by_name[f"default/fault-{node}"] for node in ("n1", "n2")]
    for turn in range(10):
        for pod in pods:
            shop.lab.pods.report(pod, ready=turn % 2 == 1)
    settle(shop, addresses)
    with fault(shop, addresses):
        assert {shop.holder(address) for address in addresses} <= {"n1", "n2"}


def test_election_fault_endpointslice_deletion(shop: Shop, addresses: list[str]) -> None:
    """EndpointSlice deletion (#1663): the controller makes new ones."""

    def known() -> set[str]:
        found = shop.lab.admin.items(f"{SLICES}?labelSelector=kubernetes.io/service-name=fault")
        return {item["metadata"]["uid"] for item in found}

    with fault(shop, addresses):
        before = known()
        for item in shop.lab.admin.items(f"{SLICES}?labelSelector=kubernetes.io/service-name=fault"):
            shop.lab.api("DELETE", f"{SLICES}/{item['metadata']['name']}")
        wait_for("there are new slices", lambda: len(known() - before) == 2)


def test_election_fault_lease_deleted(shop: Shop, addresses: list[str]) -> None:
    """lease delete: the holder's own Lease, where its seat has one."""
    with fault(shop, addresses):
        path = f"{NODE_LEASES}/{shop.holder(addresses[0])}"
        if shop.lab.admin.find(path) is not None:
            shop.lab.api("DELETE", path)


def test_election_fault_holder_cleared(shop: Shop, addresses: list[str]) -> None:
    """lease delete / holder cleared: the whole table goes; who holds what is settled anew."""
    (segment,) = shop.lab.admin.items(f"{ROOST}/segments")
    path, uid = f"{ROOST}/segments/{segment['metadata']['name']}", segment["metadata"]["uid"]
    with fault(shop, addresses):
        shop.lab.api("DELETE", path)

        def anew() -> bool:
            found = shop.lab.admin.find(path)
            return found is not None and found["metadata"]["uid"] != uid and len(seats(shop.lab)) == len(NODES)

        wait_for("there is a new table with all seats", anew, 60)


@pytest.mark.parametrize(
    ("who", "seconds"),
    [pytest.param("leader", 20, id="leader for 20 s (#1650)"), pytest.param("follower", 25, id="follower for 25 s")],
)
def test_election_fault_api_partition(shop: Shop, addresses: list[str], who: str, seconds: int) -> None:
    """API partition of the leader, and of a follower: whoever cannot reach the API server is no danger to others."""
    holder = shop.holder(addresses[0])
    cut = holder if who == "leader" else next(node for node in NODES if node != holder)
    with fault(shop, addresses):
        began = time.monotonic()
        shop.lab.api_cut(cut)
        wait_for("the partition has lasted", lambda: time.monotonic() - began > seconds, seconds + 5, every=0.2)
        for address in addresses:
            shop.wait_answer(address)
        shop.lab.api_heal(cut)


def test_election_fault_policy_flip(shop: Shop, addresses: list[str]) -> None:
    """externalTrafficPolicy flip, to and fro."""
    with fault(shop, addresses):
        for traffic in ("Cluster", "Local") * 3:
            shop.change("fault", {"externalTrafficPolicy": traffic})


def test_election_fault_event_storm(shop: Shop, addresses: list[str]) -> None:
    """event storm: the Service changes two hundred times."""
    with fault(shop, addresses):
        for number in range(200):
            annotate(shop, "fault", storm=str(number))
    assert shop.addresses("fault") == addresses


def test_election_fault_common_lease_sibling_teardown(shop: Shop) -> None:
    """common-lease sibling teardown: one of two Services goes, the other does not notice."""
    first = serve(shop, Wanted("first", (FOUR, SIX), annotations=lease("common")))
    second = serve(shop, Wanted("second", (FOUR, SIX), annotations=lease("common")))
    with fault(shop, second):
        holder = shop.holder(second[0])
        shop.delete("first")
        shop.wait_gone(*first)
        assert {shop.holder(address) for address in second} == {holder}
    shop.delete("second")
