"""MetalLB's cases of BGPPeers: who speaks with whom, as which AS and router id, with which timers.

The cases by MetalLB's titles, and those that do not apply: ``docs/bgp-parity.md``.
"""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab.fabric import ASN, Fabric, Said, hosts, peer, prefix
from tests.lab.peering import (
    BIRD,
    FRR,
    NODES,
    ORIGINATED,
    bird_peer,
    frr_peer,
    neighbours,
    resets,
    wait_alone,
    wait_neighbours,
    waiting,
)
from tests.lab.shop import FOUR, SIX, Wanted


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with waiting() as opened:
        yield opened


@pytest.fixture(autouse=True)
def alone(fabric: Fabric) -> Iterator[None]:
    """Each case begins without a session."""
    yield
    wait_alone(fabric)


# -- who speaks with whom ----------------------------------------------------------------------------------------------


def test_configure_peers_one_by_one_and_validate_paired_with_nodes(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric)):
        fabric.wait_sessions(FRR, *NODES)
        with fabric.having(bird_peer(fabric)), fabric.lab.routers[FRR].watch() as watch:
            fabric.wait_sessions(BIRD, *NODES)
            for router in (FRR, BIRD):
                for address in fabric.addresses("web"):
                    fabric.wait_heard(router, address, *NODES)
            fabric.wait_ready("bgppeer", FRR, "True", "AllEstablished")
            fabric.wait_ready("bgppeer", BIRD, "True", "AllEstablished")
        fabric.wait_sessions(BIRD)
        assert resets(watch) == set()


def test_bgp_peer_parameters_and_timer_update_touch_that_session_alone(fabric: Fabric) -> None:
    only = hosts("n2", "n3")
    timers = {"holdSeconds": 6, "keepaliveSeconds": 2, "connectRetrySeconds": 1}
    with fabric.having(
        frr_peer(fabric, "other", nodeSelector=hosts("n1")),
        frr_peer(fabric, nodeSelector=only, timers=timers, local={"routerID": "10.10.10.1"}),
        bird_peer(fabric),
    ):
        fabric.wait_sessions(FRR, *NODES)
        fabric.wait_sessions(BIRD, *NODES)
        sessions = fabric.lab.routers[FRR].sessions()
        held = {fabric.node_of(key): one.hold for key, one in sessions.items() if one.up}
        assert held == {"n1": 9, "n2": 6, "n3": 6}
        with fabric.lab.routers[BIRD].watch() as bird, fabric.lab.routers[FRR].watch() as frr:
            fabric.edit("bgppeer", FRR, timers=timers | {"holdSeconds": 30, "keepaliveSeconds": 10})
            wait_neighbours(
                fabric,
                "the sessions of n2 and n3 have their new hold time",
                lambda told: (
                    {node: one.get("bgpTimerHoldTimeMsecs") for node, one in told.items()}
                    == {"n1": 9000, "n2": 30000, "n3": 30000}
                ),
            )
            fabric.wait_sessions(FRR, *NODES)
        assert resets(bird) == set(), "the other router's sessions are left alone"
        assert resets(frr) == {"10.60.0.12", "10.60.0.13"}


def test_configure_peers_with_routerid(fabric: Fabric) -> None:
    with fabric.having(
        frr_peer(fabric, local={"routerID": "10.10.10.1"}, nodeSelector=hosts("n1")),
        frr_peer(fabric, "second", nodeSelector=hosts("n2"), local={"routerID": "10.10.10.2"}),
        frr_peer(fabric, "third", nodeSelector=hosts("n3")),
    ):
        expected = {"n1": "10.10.10.1", "n2": "10.10.10.2", "n3": "10.60.0.13"}
        wait_neighbours(
            fabric,
            "every node has its router id",
            lambda told: {n: one["remoteRouterId"] for n, one in told.items()} == expected,
        )


def test_configure_peers_with_local_asn_and_validate_session_uses_the_local_as(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric, local={"asn": 65009}), bird_peer(fabric)):
        fabric.wait_sessions(BIRD, *NODES)
        fabric.wait_sessions(FRR, *NODES)
        assert {one["remoteAs"] for one in neighbours(fabric).values()} == {65009}
        (address, _) = fabric.addresses("web")
        fabric.wait_heard(FRR, address, *NODES, said=Said(as_path=(65009,)))  # our other AS does not show


def test_should_establish_sessions_when_each_node_has_a_different_asn(fabric: Fabric) -> None:
    one_each = {"n1": 65101, "n2": 65102, "n3": 4200000003}
    peers = [frr_peer(fabric, f"to-{n}", local={"asn": asn}, nodeSelector=hosts(n)) for n, asn in one_each.items()]
    with fabric.having(*peers):
        fabric.wait_sessions(FRR, *NODES)
        (address, _) = fabric.addresses("web")
        heard = fabric.wait_heard(FRR, address, *NODES)
        assert {node: one.as_path for node, one in heard.items()} == {n: (asn,) for n, asn in one_each.items()}


@pytest.mark.parametrize("family", [SIX, FOUR], ids=["advertising ipv6 only", "advertising ipv4 only"])
def test_multiprotocol_dualstack_via_both(fabric: Fabric, family: str) -> None:
    bird = fabric.lab.routers[BIRD]
    with (
        fabric.having(peer("via-ipv4", bird.address4, ASN), peer("via-ipv6", bird.address6, ASN)),
        fabric.serving("open", Wanted(f"only-{family.lower()}", (family,))) as (address,),
    ):
        legs = [node.leg("data") for node in fabric.lab.nodes.values()]
        wanted = {str(hop) for leg in legs for hop in (leg.address4, leg.address6)}
        told = partial(bird.routes, prefix(address))
        fabric.until("every session tells of it", lambda: {one.neighbour for one in told()} == wanted)
        own = {leg.address4 if family == FOUR else leg.address6 for leg in legs}
        assert {one.next_hop for one in told()} == own, "next hops are of the address's own family"


def test_establishes_connections_with_dynamic_asn(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric, asn="External"), bird_peer(fabric, asn="Internal")):
        fabric.wait_sessions(FRR, *NODES)
        fabric.wait_sessions(BIRD, *NODES)


def test_does_not_establish_connections_with_wrong_dynamic_asn_mode(fabric: Fabric) -> None:
    """GoBGP takes any AS where another than ours is asked for, so the agent ends a session with a router of ours."""
    bird = fabric.lab.routers[BIRD]
    right = peer("right", bird.address4, ASN, nodeSelector=hosts("n2"))
    with (
        fabric.lab.routers[FRR].watch() as frr,
        fabric.having(frr_peer(fabric, asn="Internal"), bird_peer(fabric, asn="External"), right),
    ):
        told = {(BIRD, "NotSupported")}
        fabric.until("every node says what is wrong", lambda: all(fabric.problems(node) == told for node in NODES))
        fabric.until("the right session is the only one", lambda: bird.established() == {"10.60.0.12"})
        fabric.wait_ready("bgppeer", FRR, "False", "SomeDown")
        fabric.wait_ready("bgppeer", BIRD, "False", "SomeDown")
        fabric.wait_ready("bgppeer", "right", "True", "AllEstablished")
    assert not [change for change in frr.changes if change.up]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(("n1",), ("n2",), id="first to one, second to two"),
        pytest.param(("n1", "n2"), ("n2", "n3"), id="first to one and two, second to two and three"),
        pytest.param(("n1",), ("n1",), id="both to the same node"),
    ],
)
def test_peer_selector_should_work_with_a_limited_set_of_nodes(
    fabric: Fabric, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    with fabric.having(frr_peer(fabric, nodeSelector=hosts(*first)), bird_peer(fabric, nodeSelector=hosts(*second))):
        fabric.wait_sessions(FRR, *first)
        fabric.wait_sessions(BIRD, *second)
        for address in fabric.addresses("web"):
            fabric.wait_heard(FRR, address, *first)
            fabric.wait_heard(BIRD, address, *second)


def test_connect_time_reconnects_to_neighbor_after_bgp_reset(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric)):
        fabric.wait_sessions(FRR, *NODES)
        with fabric.lab.routers[FRR].watch() as watch:
            fabric.lab.routers[FRR].daemon.ask("clear bgp *")
            fabric.until(
                "every session comes again",
                lambda: (
                    {one.neighbour for one in watch.changes if one.up} == {"10.60.0.11", "10.60.0.12", "10.60.0.13"}
                ),
            )


def test_rejects_any_routes_advertised_by_any_neighbor(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric), bird_peer(fabric)), fabric.lab.routers[BIRD].watch() as bird:
        fabric.wait_sessions(FRR, *NODES)
        fabric.wait_sessions(BIRD, *NODES)
        fabric.wait_told("open", FRR, BIRD)
        for route in ORIGINATED:
            assert not [change for change in bird.changes if str(change.prefix) == route]
            for node in NODES:
                assert fabric.lab.run_in(node, "ip", "route", "show", route) == ""
