"""Sessions that no object asks for, by kube-vip's settings and node annotations; and a node that leaves its routers.

kube-vip's case "BGP configuration via node annotations, advertise IPv4 routes" (testing/e2e/e2e_bgp_test.go) is here.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from lab.cluster import Lab
from lab.routers.router import Router
from lab.routers.values import Neighbour, Path, Setup
from lab.run import wait_for
from tests.lab.shop import FOUR, SIX, Shop, Wanted

ROOST = "/apis/roost.dev/v1alpha1"
OF = {"apiVersion": "roost.dev/v1alpha1"}
SECRET = "gossip"
OUTSIDE, INSIDE = 65010, 65000  # our AS numbers, towards FRR and towards BIRD
VERSIONS = {"n1": 3, "n2": 4, "n3": 4}  # of GoBGP
QUICK = {"bgp_hold_time": "9", "bgp_keepalive_interval": "3", "ROOST_BGP_DRAIN": "4"}
GRACEFUL_SHUTDOWN = "graceful-shutdown"
OWN = {"n1": "10.60.0.11", "n2": "10.60.0.12", "n3": "10.60.0.13"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three nodes with sessions out to FRR, each asked for in another way, and by a BGPPeer in to BIRD."""
    with Lab(nodes=3) as lab:
        lab.install()
        frr = lab.add_router("frr", Setup(neighbours=(Neighbour("10.60.0.0/24", OUTSIDE, SECRET),)))
        bird = lab.add_router("bird", Setup(asn=INSIDE, neighbours=(Neighbour("10.60.0.0/24", INSIDE),)))
        out = f"{frr.address4}:{frr.asn}:{SECRET}:false:179:mpbgp_nexthop=auto_sourceif"
        lab.api("PATCH", "/api/v1/nodes/n2", {"metadata": {"annotations": annotations(frr)}})
        ways = {
            "n1": {"bgp_enable": "true", "bgp_as": str(OUTSIDE), "bgp_peers": out, "bgp_sourceif": "data"},
            "n2": {"annotation": "metal.equinix.com"},
            "n3": {"bgp_as": str(OUTSIDE), "bgp_peers": out},  # no source interface: misconfigured
        }
        lab.start_controller()
        for number, (node, environ) in enumerate(ways.items()):
            lab.start_speaker(node, VERSIONS[node])
            lab.start_agent(node, env=QUICK | environ)
            lab.add_backend(f"web-{number}", node)
        pool = {"addresses": ["10.99.0.0/28", "fd99::/124"], "announce": {"protocols": ["BGP"]}}
        timers = {"holdSeconds": 9, "keepaliveSeconds": 3, "connectRetrySeconds": 1}
        ends = {"local": {"asn": INSIDE}, "remote": {"address": str(bird.address4), "asnType": "Internal"}}
        spec = ends | {"timers": timers, "families": ["IPv4", "IPv6"], "drainSeconds": 2}
        lab.apply(OF | {"kind": "AddressPool", "metadata": {"name": "far"}, "spec": pool})
        lab.apply(OF | {"kind": "BGPPeer", "metadata": {"name": "inside"}, "spec": spec})
        yield lab


@pytest.fixture(scope="module")
def vips(lab: Lab) -> tuple[str, str]:
    shop = Shop(lab)
    shop.make(Wanted("web", (FOUR, SIX)))
    four, six = shop.wait_addresses("web", 2)
    return four, six


def annotations(router: Router) -> dict[str, str]:
    said = {
        "node-asn": str(OUTSIDE),
        "src-ip": OWN["n2"],
        "peer-asn": str(router.asn),
        "peer-ip": str(router.address4),
        "bgp-pass": base64.b64encode(SECRET.encode()).decode(),
    }
    return {f"metal.equinix.com/bgp-peers-0-{word}": value for word, value in said.items()}


def by_node(router: Router, vip: str) -> dict[str, Path]:
    nodes = {address: node for node, address in OWN.items()}
    return {nodes[path.neighbour]: path for path in router.routes(vip)}


def wait_told(router: Router, vip: str, *nodes: str) -> dict[str, Path]:
    wait_for(f"{router.name} hears of {vip} from {nodes}", lambda: set(by_node(router, vip)) == set(nodes), 40)
    return by_node(router, vip)


def bgp(lab: Lab, node: str) -> dict[str, Any]:
    """What the node's agent says of its sessions."""
    return dict(lab.api("GET", f"{ROOST}/nodeagents/{node}").get("status", {}).get("bgp", {}))


def problems(lab: Lab, node: str) -> set[tuple[str, str]]:
    return {(one.get("peer", ""), one["reason"]) for one in bgp(lab, node).get("problems", ())}


def test_each_way_of_asking_makes_a_session_and_announces(lab: Lab, vips: tuple[str, str]) -> None:
    four, six = vips
    frr, bird = lab.routers["frr"], lab.routers["bird"]
    for node, path in wait_told(frr, four, *OWN).items():
        assert (path.next_hop, path.as_path) == (ip_address(OWN[node]), (OUTSIDE,))
    both = wait_told(frr, six, "n1")  # the only one whose settings say what the next hop is
    assert both["n1"].next_hop == ip_address("fd60::11")
    for vip in vips:
        assert {path.as_path for path in wait_told(bird, vip, *OWN).values()} == {()}
    out = str(frr.address4)
    said = {node: {one["peer"] for one in bgp(lab, node)["sessions"]} for node in OWN}
    assert said == {
        "n1": {"inside", f"setting/{out}"},
        "n2": {"inside", f"annotation/{out}"},
        "n3": {"inside", f"setting/{out}"},
    }
    assert problems(lab, "n1") == problems(lab, "n2") == set()
    assert problems(lab, "n3") == {(f"setting/{out}", "NextHopMissing")}


def test_annotations_are_followed(lab: Lab, vips: tuple[str, str]) -> None:
    frr, bird = lab.routers["frr"], lab.routers["bird"]
    wait_told(frr, vips[0], *OWN)
    name = "metal.equinix.com/bgp-peers-0-peer-ip"
    lab.api("PATCH", "/api/v1/nodes/n2", {"metadata": {"annotations": {name: None}}})
    wait_told(frr, vips[0], "n1", "n3")
    wait_for("it is said", lambda: ("metal.equinix.com", "AnnotationsMissing") in problems(lab, "n2"))
    assert set(by_node(bird, vips[0])) == set(OWN), "the BGPPeer's session goes on"
    lab.api("PATCH", "/api/v1/nodes/n2", {"metadata": {"annotations": {name: str(frr.address4)}}})
    wait_told(frr, vips[0], *OWN)


def test_a_password_is_in_no_log_and_no_status(lab: Lab, vips: tuple[str, str]) -> None:
    wait_told(lab.routers["frr"], vips[0], *OWN)
    for node in OWN:
        assert SECRET not in json.dumps(lab.api("GET", f"{ROOST}/nodeagents/{node}"))
        assert SECRET not in (lab.nodes[node].work / "nodeagent.log").read_text()


def test_a_node_that_drains_asks_routers_to_prefer_others_before_it_withdraws(lab: Lab, vips: tuple[str, str]) -> None:
    frr, bird = lab.routers["frr"], lab.routers["bird"]
    for router in (frr, bird):
        wait_told(router, vips[0], *OWN)
    with frr.watch() as of_frr, bird.watch() as of_bird, draining(lab, "n3"):
        for router in (frr, bird):
            left = wait_told(router, vips[0], "n1", "n2")
            assert all(GRACEFUL_SHUTDOWN not in path.communities for path in left.values())
        assert frr.sessions()[OWN["n3"]].up, "the session stays"
    for watch in (of_frr, of_bird):
        paths = [change.path for change in watch.of(f"{vips[0]}/32") if change.neighbour == OWN["n3"]]
        before = paths[: paths.index(None)]
        assert before, "asked first, withdrawn then"
        assert all(path is not None and GRACEFUL_SHUTDOWN in path.communities for path in before)
    for router in (frr, bird):
        back = wait_told(router, vips[0], *OWN)
        assert GRACEFUL_SHUTDOWN not in back["n3"].communities


@contextmanager
def draining(lab: Lab, *nodes: str) -> Iterator[None]:
    """*nodes* are to be left by everything, until the end of the block."""
    for node in nodes:
        lab.api("PATCH", f"{ROOST}/nodeagents/{node}", {"spec": {"maintenance": "Drain"}})
    try:
        yield
    finally:
        for node in nodes:
            lab.api("PATCH", f"{ROOST}/nodeagents/{node}", {"spec": {"maintenance": "None"}})
