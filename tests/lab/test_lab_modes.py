"""Other labs than the usual: kube-proxy in iptables mode, one node, no IPv6; and one that cannot start."""

from pathlib import Path

import pytest

from lab.cluster import Lab
from lab.nodes import ProxySettings
from lab.rack import PULSE_PORT
from lab.run import LabError, wait_for
from tests.lab.hearing import heard


def test_kube_proxy_in_iptables_mode_on_ipv4_alone() -> None:
    with Lab(nodes=1, ipv6=False, kube_proxy=ProxySettings("iptables", min_sync_period="100ms")) as lab:
        lab.add_backend("web-1", "n1")
        lab.kubectl("create", "service", "loadbalancer", "web", "--tcp=80:8080")
        address = lab.api("GET", "/api/v1/namespaces/default/services/web")["spec"]["clusterIP"]
        wait_for("it is in the rules", lambda: address in lab.run_in("n1", "iptables-save", "-t", "nat"))
        assert "inet6" not in lab.run_in("n1", "ip", "address", "show", "scope", "global")
        with lab.client(address) as client:
            lab.run_in("client", "ip", "route", "add", "10.96.0.0/16", "via", "10.60.0.11")
            client.wait_for_success(count=10)


def test_a_lab_that_cannot_start_says_why_and_leaves_nothing() -> None:
    lab = Lab(nodes=1, kube_proxy="no-such-mode")
    with pytest.raises(LabError, match=r"n1/kube-proxy ended \(1\)(.|\n)*no-such-mode"):
        lab.start()
    assert not list(Path("/run/netns").iterdir())
    assert not lab.work.exists()


@pytest.mark.parametrize("nodes", [0, 11])
def test_a_lab_has_one_to_ten_nodes(nodes: int) -> None:
    with pytest.raises(ValueError, match="1 to 10 nodes"):
        Lab(nodes)


def test_without_witnesses_their_port_alone_is_shut() -> None:
    with Lab(nodes=2, witnesses=False) as lab:
        assert lab.mode == "Leased"
        assert [heard(lab, "n1", "n2", port) for port in (PULSE_PORT, PULSE_PORT + 1)] == ["nothing", "hello"]
        lab.power_off("n2")
        lab.power_on("n2")
        assert heard(lab, "n1", "n2", PULSE_PORT) == "nothing"
