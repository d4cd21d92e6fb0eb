"""Who announces by BGP, and to whom, as people see it: real agents, gobgpd and FRR, and the roles of the chart."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lab.cluster import Lab
from lab.routers.values import Setup
from lab.run import wait_for
from tests.lab.shop import FOUR, Shop, Wanted

ROOST = "/apis/roost.dev/v1alpha1"
OF = {"apiVersion": "roost.dev/v1alpha1"}
TIMERS = {"holdSeconds": 3, "keepaliveSeconds": 1, "connectRetrySeconds": 1}
PATIENCE = 30.0  # seconds
NOBODY = "10.60.0.199"


def peer(name: str, address: str, **spec: object) -> dict[str, object]:
    ends = {"local": {"asn": 65000}, "remote": {"address": address, "asn": 64512}, "timers": TIMERS}
    return OF | {"kind": "BGPPeer", "metadata": {"name": name}, "spec": ends | spec}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three nodes that speak BGP with one router, and a Service whose VIP all of them announce."""
    with Lab(nodes=3) as lab:
        lab.install()
        router = lab.add_router("frr", Setup(hold=3, keepalive=1))
        lab.start_controller()
        for number, node in enumerate(lab.nodes):
            lab.start_speaker(node, 3)
            lab.start_agent(node)
            lab.add_backend(f"web-{number}", node)
        pool = {"addresses": ["10.99.0.0/28"], "announce": {"protocols": ["BGP"]}}
        lab.apply(OF | {"kind": "AddressPool", "metadata": {"name": "far"}, "spec": pool})
        lab.apply(peer("tor", str(router.address4)))
        Shop(lab).make(Wanted("web", (FOUR,)))
        yield lab


def condition(status: dict[str, Any], kind: str = "Ready") -> tuple[str, str]:
    found = next((one for one in status.get("conditions", ()) if one["type"] == kind), None)
    return (found["status"], found["reason"]) if found else ("", "")


def status(lab: Lab, path: str) -> dict[str, Any]:
    return dict(lab.api("GET", f"{ROOST}/{path}").get("status", {}))


def only_vip(lab: Lab) -> dict[str, Any]:
    vips = lab.admin.items(f"{ROOST}/virtualips")
    return dict(vips[0].get("status", {})) if vips else {}


def roost(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubectl_roost", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=lab.environment())


def events(lab: Lab, about: str) -> list[str]:
    """Reasons of the Events of a cluster-scoped object."""
    found = lab.admin.items("/apis/events.k8s.io/v1/namespaces/default/events")
    return [one["reason"] for one in found if one["regarding"]["name"] == about]


def test_all_nodes_announce_and_their_sessions_are_shown(lab: Lab) -> None:
    wait_for("three announce", lambda: only_vip(lab).get("announcedBy") == "3/3 nodes", PATIENCE)
    seen = only_vip(lab)
    assert seen["via"] == "BGP 3/3 sessions"
    assert condition(seen, "Announced") == ("True", "Announced")
    wait_for("the router knows", lambda: condition(status(lab, "bgppeers/tor")) == ("True", "AllEstablished"), PATIENCE)
    assert status(lab, "bgppeers/tor")["sessions"] == {"desired": 3, "established": 3}
    assert condition(status(lab, "addresspools/far"), "NoAdvertisement") == ("True", "DefaultUsed")
    done = roost(lab, "bgp", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert [one["state"] for one in json.loads(done.stdout)["sessions"]] == ["Established"] * 3
    shown = roost(lab, "bgp", "n1").stdout
    assert "1 of 1 sessions established" in shown
    assert "web" in shown


def test_an_advertisement_says_what_it_is_about(lab: Lab) -> None:
    of_web = {"matchLabels": {"tier": "gold"}}
    lab.apply(
        OF | {"kind": "BGPAdvertisement", "metadata": {"name": "gold"}, "spec": {"serviceSelector": of_web, "med": 7}}
    )
    lab.apply(OF | {"kind": "BGPAdvertisement", "metadata": {"name": "lost"}, "spec": {"peerNames": ["tor-9"]}})
    lab.apply(OF | {"kind": "BGPAdvertisement", "metadata": {"name": "all"}, "spec": {}})
    wait_for(
        "an unknown peer is named",
        lambda: condition(status(lab, "bgpadvertisements/lost")) == ("False", "UnknownPeer"),
        PATIENCE,
    )
    wait_for(
        "the pool is spoken of",
        lambda: condition(status(lab, "addresspools/far"), "NoAdvertisement") == ("", ""),
        PATIENCE,
    )
    web = next(one for one in lab.admin.items("/api/v1/services") if one["spec"]["type"] == "LoadBalancer")["metadata"]
    path = f"/api/v1/namespaces/{web['namespace']}/services/{web['name']}"
    lab.api("PATCH", path, {"metadata": {"labels": {"tier": "gold"}}})
    wait_for("it is matched", lambda: status(lab, "bgpadvertisements/gold").get("matchedVIPs") == 1, PATIENCE)
    (vip,) = lab.admin.items(f"{ROOST}/virtualips")
    assert vip["spec"]["announce"]["advertisements"] == ["gold"]
    assert status(lab, "bgpadvertisements/all")["matchedNodes"] == 3
    for name in ("gold", "lost"):
        lab.api("DELETE", f"{ROOST}/bgpadvertisements/{name}")


def test_a_password_that_agents_may_not_read(lab: Lab) -> None:
    lab.apply(peer("locked", NOBODY, passwordSecret={"name": "tor-password"}))
    wait_for("it is said", lambda: condition(status(lab, "bgppeers/locked"))[1] == "SecretMissing", PATIENCE)
    exceptions = status(lab, "bgppeers/locked")["exceptions"]
    assert {one["reason"] for one in exceptions} == {"SecretMissing"}
    assert len(exceptions) == 3
    lab.api("DELETE", f"{ROOST}/bgppeers/locked")


def test_a_node_that_drains_is_none_that_should_announce(lab: Lab) -> None:
    path = f"{ROOST}/nodeagents/n1"
    lab.api("PATCH", path, {"spec": {"maintenance": "Drain"}})
    wait_for("two announce", lambda: only_vip(lab).get("announcedBy") == "2/2 nodes", PATIENCE)
    lab.api("PATCH", path, {"spec": {"maintenance": "None"}})
    wait_for("three announce", lambda: only_vip(lab).get("announcedBy") == "3/3 nodes", PATIENCE)


def test_a_router_that_dies_is_told_of(lab: Lab) -> None:
    lab.routers["frr"].kill()
    wait_for("none announces", lambda: condition(only_vip(lab), "Announced") == ("False", "PeerDown"), PATIENCE)
    wait_for("no session is left", lambda: status(lab, "bgppeers/tor")["established"] == "0/3", PATIENCE)
    assert {one["state"] for one in status(lab, "bgppeers/tor")["exceptions"]} <= {"Idle", "Active", "Connect"}
    wait_for("it is said", lambda: "BGPSessionDown" in events(lab, "tor"), PATIENCE)
    assert roost(lab, "bgp").returncode == 1
    lab.routers["frr"].start()
    wait_for("three announce", lambda: only_vip(lab).get("announcedBy") == "3/3 nodes", PATIENCE)
    wait_for("it is said", lambda: "BGPSessionUp" in events(lab, "tor"), PATIENCE)
