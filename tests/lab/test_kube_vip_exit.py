"""kube-vip's tests of a DaemonSet that is deleted (testing/e2e/e2e_ds_test.go): nothing of it stays on a node.

Those with the control plane enabled are about its own VIP. The switch is turned to Exclude first, as an uninstall does:
an agent that is merely restarted keeps what it holds for its successor.
"""

import pytest

from lab.cluster import Lab
from tests.lab.kube_vip import ELECTIONS, THREE_FAMILIES, serve, start_again, stop_for_good
from tests.lab.shop import Shop, Wanted, open_shop


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.mark.parametrize("annotations", ELECTIONS)
@pytest.mark.parametrize("families", THREE_FAMILIES)
def test_ds_deletes_all_addresses_on_exit_when_only_services_are_enabled(
    shop: Shop, families: tuple[str, ...], annotations: dict[str, str]
) -> None:
    """deletes all (IPv4/IPv6) addresses on exit when only services / … with per-service leaderelection are enabled."""
    addresses = serve(shop, Wanted("whoami", families, annotations=annotations))
    stop_for_good(shop.lab)
    for address in addresses:
        assert shop.carriers(address) == set()
    shop.wait_gone(*addresses)
    start_again(shop.lab, "--linger=0.5")
    for address in addresses:
        shop.wait_answer(address)
    shop.delete("whoami")
    shop.wait_gone(*addresses)
