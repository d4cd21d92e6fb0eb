"""MetalLB's cases of sessions: passwords, what is wrong with a BGPPeer and on which node, BFD, unnumbered.

The cases by MetalLB's titles, and those that do not apply: ``docs/bgp-parity.md``.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from functools import partial

import pytest

from lab.api import Json
from lab.routers.frr import Frr
from lab.routers.router import Router
from tests.lab.fabric import ASN, BOTH, Fabric, hosts, labels, peer
from tests.lab.peering import (
    BIRD,
    FRR,
    FRR_ASN,
    LONG,
    NODES,
    PASSWORD,
    SECRET,
    SECRETS,
    WIRED,
    frr_peer,
    resets,
    wait_alone,
    wait_neighbours,
    waiting,
)
from tests.lab.shop import ROOST


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with waiting() as opened:
        yield opened


@pytest.fixture(autouse=True)
def alone(fabric: Fabric) -> Iterator[None]:
    """Each case begins without a session."""
    yield
    wait_alone(fabric)


# -- passwords ---------------------------------------------------------------------------------------------------------


def put_secret(fabric: Fabric, password: str, kind: str = "kubernetes.io/basic-auth") -> None:
    body = {"metadata": {"name": SECRET}, "type": kind, "data": {"password": b64encode(password.encode()).decode()}}
    if fabric.lab.admin.find(f"{SECRETS}/{SECRET}") is None:
        fabric.lab.api("POST", SECRETS, body)
    else:
        fabric.lab.api("PATCH", f"{SECRETS}/{SECRET}", {"data": body["data"]})


def test_with_secret_ref_set_missing_right_wrong_and_changed(fabric: Fabric) -> None:
    frr = fabric.lab.routers[FRR]
    locked = peer("locked", frr.address6, FRR_ASN, passwordSecret={"name": SECRET}, gracefulRestartSeconds=0)
    with fabric.having(frr_peer(fabric, "open", families=["IPv4"]), locked):
        fabric.wait_sessions(FRR, *NODES)
        fabric.wait_ready("bgppeer", "locked", "False", "SecretMissing")
        missing = {("locked", "SecretMissing")}
        fabric.until("every node says so", lambda: all(fabric.problems(node) == missing for node in NODES))
        put_secret(fabric, PASSWORD)
        _, address = fabric.addresses("web")
        fabric.wait_heard(FRR, address, *NODES)
        fabric.wait_ready("bgppeer", "locked", "True", "AllEstablished")
        assert not any(fabric.problems(node) for node in NODES)
        with frr.watch() as watch:
            put_secret(fabric, "wrong")
            fabric.wait_ready("bgppeer", "locked", "False", "SomeDown")
            put_secret(fabric, PASSWORD)
            fabric.wait_ready("bgppeer", "locked", "True", "AllEstablished")
            fabric.lab.api("DELETE", f"{SECRETS}/{SECRET}")
            fabric.wait_ready("bgppeer", "locked", "False", "SecretMissing")
        assert resets(watch) == {"fd60::11", "fd60::12", "fd60::13"}, "the other sessions of the router are left alone"
    everything = json.dumps([fabric.lab.admin.items(f"{ROOST}/{kind}") for kind in ("bgppeers", "nodeagents")])
    logs = "".join(process.log() for process in fabric.lab.agents.values())
    assert not [word for word in (f'"{PASSWORD}"', f"'{PASSWORD}'", "'wrong'") if word in everything + logs]


# -- what is wrong is said, per node -----------------------------------------------------------------------------------


def test_surfaces_an_error_when_node_relabeling_causes_a_peer_conflict_and_on_that_node_only(fabric: Fabric) -> None:
    with fabric.having(
        frr_peer(fabric, "a", nodeSelector=labels(side="a")), frr_peer(fabric, "b", nodeSelector=labels(side2="b"))
    ):
        with fabric.labelled("n1", side="a"), fabric.labelled("n2", "n3", side2="b"):
            fabric.wait_sessions(FRR, *NODES)
            assert not any(fabric.problems(node) for node in NODES), "two peers of one address on different nodes"
            fabric.label("n2", side="a")
            duplicate = {("b", "DuplicatePeer")}
            fabric.until("n2 says that it has two", lambda: fabric.problems("n2") == duplicate)
            assert fabric.problems("n1") == fabric.problems("n3") == set()
            fabric.until("n2 is the exception of b", lambda: exceptions(fabric, "b") == {("n2", "DuplicatePeer")})
            assert fabric.established(FRR) == set(NODES)
            fabric.label("n2", side=None)
            fabric.until("n2 has one again", lambda: fabric.problems("n2") == set())
        fabric.wait_ready("bgppeer", "a", "False", "NoNode")


def exceptions(fabric: Fabric, name: str) -> set[tuple[str, str]]:
    return {(one["node"], one["reason"]) for one in fabric.status("bgppeer", name).get("exceptions", [])}


def test_cycles_through_errors_as_invalid_peers_are_removed_one_by_one(fabric: Fabric) -> None:
    first, second = (
        frr_peer(fabric, "x-id", local={"routerID": "10.10.10.9"}, nodeSelector=hosts("n3")),
        peer(
            "y-nic",
            fabric.lab.routers[BIRD].address6,
            ASN,
            local={"interface": "nic9"},
            nodeSelector=hosts("n3"),
            families=["IPv6"],
        ),
    )
    base = peer("base", fabric.lab.routers[BIRD].address4, ASN, local={"routerID": "10.10.10.8"})
    with fabric.having(base):
        with fabric.having(second):
            with fabric.having(first):
                both = {("x-id", "RouterIDConflict"), ("y-nic", "NoSuchInterface")}
                fabric.until("n3 says both", lambda: fabric.problems("n3") == both)
            fabric.until("n3 says one", lambda: fabric.problems("n3") == {("y-nic", "NoSuchInterface")})
        fabric.until("n3 has nothing to say", lambda: fabric.problems("n3") == set())
        fabric.wait_ready("bgppeer", "base", "True", "AllEstablished")


def test_all_report_valid_with_a_valid_config_and_self_heal_after_deletion(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric)):
        fabric.wait_ready("bgppeer", FRR, "True", "AllEstablished")
        fabric.lab.api("DELETE", f"{ROOST}/nodeagents/n2")

        def told() -> bool:
            found = fabric.status("nodeagent", "n2").get("bgp", {})
            return bool(found.get("summary") == "1/1" and not found.get("problems"))

        fabric.until("n2 says all again", told)
        fabric.wait_ready("bgppeer", FRR, "True", "AllEstablished")


# -- BFD ---------------------------------------------------------------------------------------------------------------


def bfd_peers(fabric: Fabric) -> dict[str, Json]:
    """What FRR's bfdd says, by node."""
    daemon = fabric.lab.routers[FRR].daemon
    assert isinstance(daemon, Frr)
    found = json.loads(daemon.ask("show bfd peers json", "bfdd"))
    return {fabric.node_of(one["peer"]): one for one in found}


@pytest.mark.parametrize(
    ("bfd", "remote"),
    [
        pytest.param({}, (300, 300, 3), id="default"),
        pytest.param(
            {"receiveMilliseconds": 200, "transmitMilliseconds": 250, "detectMultiplier": 5},
            (200, 250, 5),
            id="full params",
        ),
    ],
)
def test_bfd_should_work_with_the_given_profile(
    fabric: Fabric, bfd: dict[str, int], remote: tuple[int, int, int]
) -> None:
    with fabric.having(frr_peer(fabric, bfd=bfd, nodeSelector=hosts("n2", "n3"), timers=LONG)):
        fabric.wait_sessions(FRR, "n2", "n3")

        def up() -> bool:
            found = {node: one for node, one in bfd_peers(fabric).items() if one["status"] == "up"}
            words = ("remote-receive-interval", "remote-transmit-interval", "remote-detect-multiplier")
            return {node: tuple(one[word] for word in words) for node, one in found.items()} == {
                "n2": remote,
                "n3": remote,
            }

        fabric.until("BFD is up, with these parameters", up)


def test_bfd_ends_a_session_whose_link_goes_silent_long_before_its_hold_time(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric, bfd={}, nodeSelector=hosts("n2", "n3"), timers=LONG, gracefulRestartSeconds=0)):
        (address, _) = fabric.addresses("web")
        fabric.wait_heard(FRR, address, "n2", "n3")
        fabric.until(
            "BFD is up", lambda: {s.bfd for s in fabric.lab.routers[FRR].sessions().values() if s.up} == {"Up"}
        )
        with fabric.lab.routers[FRR].watch() as watch:
            fabric.lab.lose("n2", "sent")
            fabric.wait_heard(FRR, address, "n3")
            fabric.lab.lose_nothing("n2")
            fabric.wait_heard(FRR, address, "n2", "n3")
        assert resets(watch) == {"10.60.0.12"}


def test_bfd_is_said_to_be_missing_where_gobgp_has_none_and_the_session_runs_without(fabric: Fabric) -> None:
    with fabric.having(frr_peer(fabric, bfd={})):
        fabric.wait_sessions(FRR, *NODES)
        fabric.until("n1 says so", lambda: fabric.problems("n1") == {(FRR, "NotSupported")})
        assert fabric.problems("n2") == fabric.problems("n3") == set()


# -- unnumbered --------------------------------------------------------------------------------------------------------


def arrives(fabric: Fabric, address: str, nodes: tuple[str, ...]) -> bool:
    spread = fabric.lab.spread("frr-client", address, count=20)
    return not spread.failures and set(spread.nodes) <= set(nodes)


def over_wires(router: Router, address: str, count: int) -> bool:
    return len([one for one in router.routes(address) if one.next_hop.is_link_local]) == count


@pytest.mark.parametrize("bfd", [False, True], ids=["without BFD", "with BFD"])
def test_unnumbered_session_is_established_and_route_is_advertised(fabric: Fabric, bfd: bool) -> None:
    nodes = WIRED[-1:] if bfd else WIRED
    spec: Json = {"nodeSelector": hosts(*nodes)} | ({"bfd": {}} if bfd else {})
    router = fabric.lab.routers[FRR]
    with fabric.having(peer("wire", "to-frr", "External", families=list(BOTH), timers=LONG, **spec)):
        wait_neighbours(
            fabric,
            f"{len(nodes)} sessions over link-local addresses",
            lambda told: (
                {key for key, one in told.items() if key.startswith("fe80")}
                == {str(router.wires[node]) for node in nodes}
            ),
        )
        if bfd:
            fabric.until("BFD is up", lambda: "Up" in {session.bfd for session in router.sessions().values()})
        for address in fabric.addresses("web"):
            fabric.until(f"{address} is there over the wires", partial(over_wires, router, address, len(nodes)))
        for address in fabric.addresses("web"):
            router.wait_next_hops(address, *(router.wires[node] for node in nodes))
            fabric.until(f"{address} is reached over the wires", partial(arrives, fabric, address, nodes))
        fabric.wait_ready("bgppeer", "wire", "True", "AllEstablished")
        assert fabric.status("bgppeer", "wire")["remote"] == "to-frr"
