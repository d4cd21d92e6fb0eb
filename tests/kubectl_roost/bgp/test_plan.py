from dataclasses import replace

import pytest

from kubectl_roost.bgp.plan import NotThere, Path, Snapshot, View, find
from roost.kube.wire import AgentProblem
from roost.kube.wire_bgp import PeerException
from tests.kubectl_roost.bgp.routers import agent, cluster, peer, session, vip

GONE = PeerException(node="n1", reason="NodeDown", message="the node or its agent is down")


def rows(now: Snapshot, node: str = "") -> list[tuple[str, str, str, int, str, int | None]]:
    found = find(now, node)
    assert isinstance(found, View)
    return [(one.node, one.peer, one.remote, one.asn, one.state, one.prefixes) for one in found.sessions]


def test_sessions_are_in_the_order_of_nodes_and_routers() -> None:
    assert rows(cluster()) == [
        ("n1", "tor-a", "10.0.0.1", 64513, "Established", 2),
        ("n1", "tor-b", "10.0.0.1", 64513, "Established", 2),
        ("n2", "tor-a", "10.0.0.1", 64513, "Idle", None),
        ("n2", "tor-b", "eth1", 0, "SecretMissing", None),
    ]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(
            Snapshot((agent("n1", session("tor-a", advertised=2)),), (peer("tor-a", GONE),)),
            [("n1", "tor-a", "10.0.0.1", 64513, "NodeDown", None)],
            id="what a node that died said last is old",
        ),
        pytest.param(
            Snapshot((agent("n1"),), (peer("tor-a", PeerException(node="n1", reason="NoSession")),)),
            [("n1", "tor-a", "10.0.0.1", 64513, "NoSession", None)],
            id="a node that says nothing of a router that it should know",
        ),
        pytest.param(
            Snapshot((agent("n1", problems=(AgentProblem(reason="GoBgpDown"),)),)),
            [("n1", "", "", 0, "GoBgpDown", None)],
            id="a node without its daemon",
        ),
        pytest.param(
            Snapshot((agent("n1", session("setting/10.0.0.1")),)),
            [("n1", "setting/10.0.0.1", "10.0.0.1", 64513, "Established", 0)],
            id="a router that a setting names",
        ),
        pytest.param(
            Snapshot((agent("n1", problems=(AgentProblem(reason="InvalidRequest", advertisement="gold"),)),)),
            [],
            id="what is not done of an advertisement is no session",
        ),
    ],
)
def test_sessions(now: Snapshot, expected: list[tuple[str, str, str, int, str, int | None]]) -> None:
    assert rows(now) == expected


def test_one_node_with_what_it_announces() -> None:
    found = find(cluster(), "n2")
    assert isinstance(found, View)
    assert {one.node for one in found.sessions} == {"n2"}
    assert found.paths == (Path("192.0.2.7", "shop/web", "PeerDown", "so"),)
    assert not found.well
    found = find(cluster(), "n1")
    assert isinstance(found, View)
    assert found.paths == (Path("192.0.2.7", "shop/web", "", ""), Path("192.0.2.8", "shop/web", "", ""))
    assert found.well


@pytest.mark.parametrize(("holder", "there"), [("n1", True), ("n2", False)])
def test_what_the_holder_alone_announces(holder: str, there: bool) -> None:
    held = vip("192.0.2.5", holder=holder, announcers="HolderOnly")
    found = find(replace(cluster(), vips=(held,)), "n1")
    assert isinstance(found, View)
    assert bool(found.paths) is there


def test_a_node_that_is_not_there() -> None:
    assert find(cluster(), "n9") == NotThere("there is no NodeAgent n9: no agent has run on such a node")
