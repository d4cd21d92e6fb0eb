"""kube-vip's tests of a DaemonSet with its routing table that is deleted (testing/e2e/e2e_rt_ds_test.go).

kube-vip never looks whether the routes go; here they must.
"""

import pytest

from lab.cluster import Lab
from tests.lab.kube_vip import FORCED, THREE_FAMILIES, start_again, stop_for_good
from tests.lab.shop import Shop, Wanted
from tests.lab.table_routes import HOLDER, announcers, open_shop, routed, serve, wait_routed, withdraw


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.mark.parametrize("families", THREE_FAMILIES)
def test_ds_exits_gracefully(shop: Shop, families: tuple[str, ...]) -> None:
    """exits gracefully when only services are enabled, without, with, and with per-service leader election."""
    elections: dict[str, dict[str, str]] = {"without": {}, "with": HOLDER, "each": FORCED}
    made = {name: serve(shop, Wanted(name, families, annotations=one)) for name, one in elections.items()}
    addresses = [address for several in made.values() for address in several]
    stop_for_good(shop.lab)
    assert {address: routed(shop.lab, address) for address in addresses} == {address: set() for address in addresses}
    start_again(shop.lab, "--linger=0.5")
    for name, several in made.items():
        for address in several:
            wait_routed(shop, address, announcers(shop, address, "Cluster", elections[name]))
    withdraw(shop, elections, addresses)
