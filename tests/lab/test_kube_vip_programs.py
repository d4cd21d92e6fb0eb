"""kube-vip's service test program (testing/services), one test for each of its flags; -electionFaults is elsewhere.

-leaderActive runs the same fail-over as -leaderFailover there. The -egress flags are about egress.
"""

import pytest

from lab.cluster import Lab
from tests.lab.kube_vip import one_claimant, serve
from tests.lab.shop import FOUR, SIX, Shop, Wanted, open_shop


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


def test_services_simple(shop: Shop) -> None:
    """-simple: one deployment, one Service, HTTP OK."""
    shop.lab.add_backend("simple-0", "n1")
    (address,) = serve(shop, Wanted("kube-vip-simple", app="simple"))
    shop.wait_answer(address, by="simple-0")
    shop.delete("kube-vip-simple")
    shop.lab.remove_backend("simple-0")
    shop.wait_gone(address)


def test_services_deployments(shop: Shop) -> None:
    """-deployments: four Services, HTTP OK each."""
    shop.lab.add_backend("deploy-0", "n2")
    names = [f"kube-vip-deploy-{number}" for number in range(1, 5)]
    addresses = [*(serve(shop, Wanted(name, app="deploy"))[0] for name in names)]
    assert len(set(addresses)) == len(names)
    for address in addresses:
        shop.wait_answer(address, by="deploy-0")
    shop.delete(*names)
    shop.lab.remove_backend("deploy-0")
    shop.wait_gone(*addresses)


@pytest.mark.parametrize("families", [pytest.param((FOUR,), id="IPv4"), pytest.param((FOUR, SIX), id="DualStack")])
def test_services_leader_failover(shop: Shop, families: tuple[str, ...]) -> None:
    """-leaderFailover, -leaderActive: policy Local; the leader's pod is killed five times, the VIP follows the pods."""
    pods = {node: shop.lab.add_backend(f"leader-{node}", node).name for node in ("n1", "n2")}
    addresses = serve(shop, Wanted("kube-vip-deploy", families, "Local", app="leader"))
    with one_claimant(shop, *addresses) as watch:
        for number in range(5):
            (old,) = {shop.wait_held(address, pods) for address in addresses}
            shop.lab.remove_backend(pods.pop(old))
            (other,) = pods
            for address in addresses:
                assert shop.wait_held(address, {other}) == other
                shop.wait_answer(address, by=pods[other])
            watch.check()
            pods[old] = shop.lab.add_backend(f"leader{number}-{old}", old, {"app": "leader"}).name
    for address in addresses:
        shop.wait_carried(address)  # no address on two nodes
    shop.delete("kube-vip-deploy")
    for name in pods.values():
        shop.lab.remove_backend(name)


def test_services_local_deploy(shop: Shop) -> None:
    """-localDeploy: with policy Local the VIP is where the pod is, and the client's own address reaches it."""
    shop.lab.add_backend("local-0", "n3")
    (address,) = serve(shop, Wanted("kube-vip-deploy", traffic="Local", app="local"))
    assert shop.holder(address) == "n3"
    assert shop.wait_answer(address, by="local-0").split()[1] == "10.60.0.100"
    shop.delete("kube-vip-deploy")
    shop.lab.remove_backend("local-0")


@pytest.mark.parametrize("traffic", ["Cluster", "Local"])
def test_services_dual_stack(shop: Shop, traffic: str) -> None:
    """-dualStack: both families answer, from one node."""
    shop.lab.add_backend("dual-0", "n1")
    addresses = serve(shop, Wanted("kube-vip-dual", (FOUR, SIX), traffic, app="dual"))
    assert len({shop.holder(address) for address in addresses}) == 1
    for address in addresses:
        shop.wait_answer(address, by="dual-0")
    shop.delete("kube-vip-dual")
    shop.lab.remove_backend("dual-0")
