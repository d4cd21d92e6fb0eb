"""MetalLB's cases of Services announced by BGP: reached through the routers, by which nodes, and what is said of it.

GoBGP 3 on n1 and n3, 4 on n2. FRR is another AS (eBGP, one session over IPv4 for both families), BIRD our own (iBGP,
over IPv6). The cases by MetalLB's titles, and those that do not apply: ``docs/bgp-parity.md``.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.cluster import Lab
from lab.probes import ClientProbe
from lab.routers.values import Neighbour, Setup
from tests.lab.fabric import ASN, Fabric, advertisement, open_fabric, peer, pool, prefix
from tests.lab.shop import FOUR, SIX, Wanted

VERSIONS = {"n1": 3, "n2": 4, "n3": 3}  # of GoBGP
NODES = tuple(VERSIONS)
FRR, BIRD = "frr", "bird"
ROUTERS = (FRR, BIRD)
DUAL = (FOUR, SIX)
COUNT = 30  # connections of a spread
AGENT_METRICS = "http://127.0.0.1:10261/metrics"


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    """Sessions of three nodes with both routers; backends web on all nodes, shop on two."""
    with Lab(nodes=3) as lab:
        lab.install()
        frr = lab.add_router(FRR)
        bird = lab.add_router(BIRD, Setup(asn=ASN, neighbours=(Neighbour("fd60::/64", ASN),)))
        fabric = open_fabric(lab, VERSIONS)
        for node in ("n1", "n2"):
            lab.add_backend(f"shop-{node}", node)
        lab.apply(
            [
                peer(FRR, frr.address4, frr.asn, drainSeconds=0),
                peer(BIRD, bird.address6, ASN, drainSeconds=0),
                pool("far", "10.90.0.0/24", "fd90::/120"),
            ]
        )
        for router in ROUTERS:
            fabric.wait_sessions(router, *NODES)
        yield fabric


def reached(fabric: Fabric, addresses: list[str], *nodes: str, port: int = 80) -> None:
    """Routers know exactly *nodes* for them, and clients behind each arrive there."""
    fabric.wait_served(*addresses, port=port)
    for router in ROUTERS:
        for address in addresses:
            fabric.wait_heard(router, address, *nodes)
            fabric.lab.routers[router].wait_next_hops(address, *hops(fabric, address, nodes))
            spread = fabric.lab.spread(f"{router}-client", address, port=port, count=COUNT)
            assert spread.failures == []
            assert set(spread.nodes) == set(nodes)


def hops(fabric: Fabric, address: str, nodes: tuple[str, ...]) -> list[str]:
    legs = [fabric.lab.nodes[node].leg("data") for node in nodes]
    return [str(leg.address6 if ":" in address else leg.address4) for leg in legs]


# -- Services ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("families", "asked"),
    [
        pytest.param((FOUR,), "", id="IPV4"),
        pytest.param((SIX,), "", id="IPV6"),
        pytest.param(DUAL, "", id="DUALSTACK"),
        pytest.param((FOUR,), "10.90.0.77", id="IPV4 - request IPv4 via custom annotation"),
        pytest.param(DUAL, "10.90.0.78,fd90::78", id="DUALSTACK - request Dual Stack via custom annotation"),
    ],
)
def test_a_service_of_protocol_load_balancer_should_work_with_etp_cluster(
    fabric: Fabric, families: tuple[str, ...], asked: str
) -> None:
    annotations = {"roost.dev/addresses": asked} if asked else {}
    with fabric.serving("far", Wanted("cluster", families, annotations=annotations)) as addresses:
        assert not asked or addresses == asked.split(",")
        reached(fabric, addresses, *NODES)


@pytest.mark.parametrize("families", [(FOUR,), (SIX,), DUAL], ids=["IPV4", "IPV6", "DUALSTACK"])
def test_a_service_of_protocol_load_balancer_should_work_with_etp_local(
    fabric: Fabric, families: tuple[str, ...]
) -> None:
    with fabric.serving("far", Wanted("local", families, traffic="Local", app="shop")) as addresses:
        reached(fabric, addresses, "n1", "n2")
        fabric.lab.remove_backend("shop-n2")
        for address in addresses:
            fabric.wait_heard(FRR, address, "n1")
        fabric.lab.add_backend("shop-n2", "n2")
        for address in addresses:
            fabric.wait_heard(FRR, address, "n1", "n2")


def test_should_not_be_announced_from_a_node_with_a_network_unavailable_condition(fabric: Fabric) -> None:
    with fabric.serving("far", Wanted("available", DUAL)) as addresses:
        reached(fabric, addresses, *NODES)
        set_network(fabric, "n2", unavailable=True)
        reached(fabric, addresses, "n1", "n3")
        set_network(fabric, "n2", unavailable=False)
        reached(fabric, addresses, *NODES)


def set_network(fabric: Fabric, node: str, *, unavailable: bool) -> None:
    condition = {
        "type": "NetworkUnavailable",
        "status": "True" if unavailable else "False",
        "reason": "NoRouteCreated",
        "message": "",
    }
    body = {"status": {"conditions": [condition]}}
    kind = "application/strategic-merge-patch+json"
    fabric.lab.api("PATCH", f"/api/v1/nodes/{node}/status", body, kind=kind)


def test_a_node_that_is_excluded_by_label_announces_nothing(fabric: Fabric) -> None:
    exclude = "node.kubernetes.io/exclude-from-external-load-balancers"
    with fabric.serving("far", Wanted("excluded", DUAL)) as addresses:
        with fabric.labelled("n1", **{exclude: ""}):
            reached(fabric, addresses, "n2", "n3")
        reached(fabric, addresses, *NODES)


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param(("10.93.0.10-10.93.0.11", "fd93::10-fd93::11"), id="AddressPool defined by address range"),
        pytest.param(("10.93.0.12/30", "fd93::20/124"), id="AddressPool defined by network prefix"),
    ],
)
def test_set_different_address_pools_ranges_modes(fabric: Fabric, ranges: tuple[str, ...]) -> None:
    with fabric.having(pool("ranges", *ranges)), fabric.serving("ranges", Wanted("ranged", DUAL)) as addresses:
        assert addresses[0].startswith("10.93.0.1")
        assert addresses[1].startswith("fd93::")
        for router in ROUTERS:
            for address in addresses:
                fabric.wait_heard(router, address, *NODES)


def test_a_service_of_protocol_load_balancer_should_work_with_two_protocols(fabric: Fabric) -> None:
    both = pool("near", "10.60.0.200-10.60.0.209", "fd60::200-fd60::209", protocols=("Layer2", "BGP"))
    with fabric.having(both), fabric.serving("near", Wanted("near", DUAL)) as addresses:
        for address in addresses:
            fabric.wait_answer(address)  # of the holder, on the segment
            fabric.wait_heard(FRR, address, *NODES)
            assert fabric.lab.spread("frr-client", address, count=COUNT).failures == []
        fabric.wait_condition("near", "Announced", "True", "Announced")


# -- what is said of it ------------------------------------------------------------------------------------------------


def test_service_bgp_status(fabric: Fabric) -> None:
    with (
        fabric.having(advertisement("some", poolNames=["far"], peerNames=[BIRD])),
        fabric.serving("far", Wanted("told", DUAL)) as addresses,
    ):
        for address in addresses:
            fabric.wait_heard(BIRD, address, *NODES)
        for address in addresses:
            fabric.until(f"{address} is said to be announced by all", lambda: spread_of(fabric, addresses) == {(3, 3)})
            status = (fabric.vip(address) or {})["status"]
            assert (status["announcedBy"], status["via"]) == ("3/3 nodes", "BGP 3/3 sessions")
        fabric.until(
            "the advertisement is counted",
            lambda: (
                [fabric.status("bgpadvertisement", "some").get(f"matched{what}") for what in ("VIPs", "Peers", "Nodes")]
                == [2, 1, 3]
            ),
        )
        fabric.wait_ready("bgpadvertisement", "some", "True", "AsExpected")
        fabric.edit("bgpadvertisement", "some", peerNames=[BIRD, "nobody"])
        fabric.wait_ready("bgpadvertisement", "some", "False", "UnknownPeer")
        fabric.edit("bgpadvertisement", "some", peerNames=["nobody"])
        fabric.wait_condition("told", "Announced", "False", "NoEligibleNode")


def spread_of(fabric: Fabric, addresses: list[str]) -> set[tuple[int, int]]:
    found = [(fabric.vip(address) or {}).get("status", {}).get("announcers", {}) for address in addresses]
    return {(one.get("desired", 0), one.get("ready", 0)) for one in found}


def test_bgp_metrics_of_agents_and_controller(fabric: Fabric) -> None:
    frr, bird = (fabric.lab.routers[name] for name in ROUTERS)
    with fabric.serving("far", Wanted("metered", DUAL)) as addresses:
        for address in addresses:
            fabric.wait_heard(FRR, address, *NODES)
        up = [
            f'roost_bgp_session_up{{peer="{FRR}",remote="{frr.address4}"}} 1.0',
            f'roost_bgp_session_up{{peer="{BIRD}",remote="{bird.address6}"}} 1.0',
            f'roost_bgp_advertised_paths{{peer="{FRR}",remote="{frr.address4}"}} 2.0',
        ]
        fabric.until(
            "every agent counts", lambda: all({*up} <= {*metrics(fabric, node, AGENT_METRICS)} for node in NODES)
        )
        here = f"http://127.0.0.1:{fabric.lab.health_port()}/metrics"
        counted = [f'roost_bgp_sessions{{peer="{FRR}",state="{state}"}} 3.0' for state in ("desired", "established")]
        pools = [f'roost_pool_addresses{{family="{family}",pool="far",state="used"}} 1.0' for family in DUAL]
        fabric.until("the controller counts", lambda: {*counted, *pools} <= set(metrics(fabric, "control", here)))


def metrics(fabric: Fabric, where: str, url: str) -> list[str]:
    return fabric.lab.fetch(where, url).splitlines()


def test_sessions_are_seen_with_roost_bgp_and_kubectl_and_told_by_events(fabric: Fabric) -> None:
    well = roost_bgp(fabric)
    assert well.returncode == 0, well.stdout + well.stderr
    assert "6 of 6 sessions established" in well.stdout
    with fabric.serving("far", Wanted("seen", DUAL)) as addresses:
        for address in addresses:
            fabric.wait_heard(FRR, address, *NODES)
        fabric.until(
            "roost bgp shows the VIPs of a node", lambda: all(a in roost_bgp(fabric, "n2").stdout for a in addresses)
        )
    fabric.lab.routers[FRR].stop()
    fabric.until("an Event tells of it", lambda: events(fabric, "BGPSessionDown"))
    fabric.until("BGPPeer says so", lambda: fabric.status("bgppeer", FRR)["established"] == "0/3")
    described = fabric.lab.kubectl("describe", "bgppeer", FRR)
    for words in ("SomeDown", "PeerDown", "BGPSessionDown", "Established:", "0/3"):
        assert words in described
    ill = roost_bgp(fabric)
    assert ill.returncode == 1
    assert "3 of 6 sessions established" in ill.stdout
    fabric.lab.routers[FRR].start()
    fabric.wait_ready("bgppeer", FRR, "True", "AllEstablished")
    fabric.until("an Event tells that it is back", lambda: events(fabric, "BGPSessionUp"))
    table = fabric.lab.kubectl("get", "rpeer", FRR, "--no-headers").split()
    assert table[:6] == [FRR, str(fabric.lab.routers[FRR].address4), "64512", str(ASN), "3/3", "True"]


def events(fabric: Fabric, reason: str) -> list[str]:
    return [e["note"] for e in fabric.events(FRR, "BGPPeer", warnings=False) if e["reason"] == reason]


def roost_bgp(fabric: Fabric, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubectl_roost", "bgp", *arguments, "--kubeconfig", str(fabric.lab.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# -- restarts ----------------------------------------------------------------------------------------------------------


def kill_speakers(fabric: Fabric) -> None:
    """Agent and GoBGP of every node die."""
    for node in NODES:
        fabric.lab.agents[node].sigkill()
        fabric.lab.speakers[node].sigkill()


def start_speakers(fabric: Fabric) -> None:
    for node, version in VERSIONS.items():
        fabric.lab.start_keeper(node, version)
        fabric.lab.start_agent(node)


def probes(addresses: list[str]) -> list[ClientProbe]:
    return [
        ClientProbe(one, 80, where=f"{router}-client", every=0.05, patience=1)
        for one in addresses
        for router in ROUTERS
    ]


def stale(fabric: Fabric, address: str) -> set[str]:
    """The nodes that FRR keeps a path of, though their session is down."""
    return {node for node, one in fabric.heard(FRR, prefix(address)).items() if one.stale}


def test_when_gr_enabled_dataplane_should_keep_working(fabric: Fabric) -> None:
    with fabric.serving("far", Wanted("graceful", DUAL)) as addresses:
        reached(fabric, addresses, *NODES)
        asked = {session.graceful_restart for session in fabric.lab.routers[FRR].sessions().values()}
        assert asked == {120}
        clients = probes(addresses)
        try:
            kill_speakers(fabric)
            fabric.until("FRR keeps what it heard", lambda: all(stale(fabric, one) == set(NODES) for one in addresses))
            for client in clients:
                client.wait_for_success(count=20)
            start_speakers(fabric)
            for router in ROUTERS:
                fabric.wait_sessions(router, *NODES)
                for address in addresses:
                    fabric.wait_heard(router, address, *NODES)
            fabric.until("nothing is stale any more", lambda: not any(stale(fabric, one) for one in addresses))
            for client in clients:
                client.wait_for_success(count=20)
                assert client.report().failures == ()
        finally:
            for client in clients:
                client.stop()


def test_when_gr_disabled_dataplane_should_have_a_downtime(fabric: Fabric) -> None:
    for router in ROUTERS:
        fabric.edit("bgppeer", router, gracefulRestartSeconds=0)
    with fabric.serving("far", Wanted("graceless", DUAL)) as addresses:
        fabric.until(
            "nobody asks for it",
            lambda: {s.graceful_restart for s in fabric.lab.routers[FRR].sessions().values() if s.up} == {None},
        )
        reached(fabric, addresses, *NODES)
        kill_speakers(fabric)
        for router in ROUTERS:
            for address in addresses:
                fabric.lab.routers[router].wait_next_hops(address)
                assert fabric.lab.spread(f"{router}-client", address, count=1).failures
        start_speakers(fabric)
        reached(fabric, addresses, *NODES)
