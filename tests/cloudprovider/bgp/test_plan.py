"""What BGPPeers and BGPAdvertisements say of themselves, and the Events of sessions."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from cloudprovider.announcers import Announcer
from cloudprovider.bgp.plan import Around, advertisement_status, links, peer_status, session_events
from roost.kube.wire import AgentProblem, Claim, Selector
from roost.kube.wire_bgp import BGPAdvertisement, BGPPeer, PeerException, PeerSessions
from tests.cloudprovider.speaking import RACK_A, advertisement, node, peer, session, vip

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)
UP, DOWN = session("tor-a"), session("tor-a", "Idle", "hold timer expired")
NO_SECRET = AgentProblem(reason="SecretMissing", peer="tor-a", message="Secret roost-system/tor-a may not be read")
OTHER = AgentProblem(reason="SecretMissing", peer="tor-b", message="no Secret tor-b")
NO_DAEMON = AgentProblem(reason="GoBgpDown", message="gobgpd does not answer")


@pytest.mark.parametrize(
    ("nodes", "selector", "established", "reason", "message"),
    [
        pytest.param((), None, "0/0", "NoNode", "no node with an agent is selected", id="no node"),
        pytest.param(
            (node("n1", UP, rack="b"),),
            RACK_A,
            "0/0",
            "NoNode",
            "no node with an agent is selected",
            id="none selected",
        ),
        pytest.param((node("n1", UP), node("n2", UP)), None, "2/2", "AllEstablished", "2 of 2", id="all is well"),
        pytest.param(
            (node("n1", UP), node("n2", DOWN)),
            None,
            "1/2",
            "SomeDown",
            "1 of 2; n2: Idle hold timer expired",
            id="one is down",
        ),
        pytest.param(
            (node("n1", UP), node("n2", session("tor-a", "Active"))),
            None,
            "1/2",
            "SomeDown",
            "1 of 2; n2: Active",
            id="one that never was",
        ),
        pytest.param(
            (node("n1", UP), node("n2", UP, up=False)),
            None,
            "1/2",
            "SomeDown",
            "1 of 2; n2: NodeDown the node or its agent is down",
            id="a node that died, whatever it said last",
        ),
        pytest.param(
            (node("n1", UP), node("n2", problems=(OTHER, NO_SECRET))),
            None,
            "1/2",
            "SecretMissing",
            "1 of 2; n2: SecretMissing Secret roost-system/tor-a may not be read",
            id="a password that cannot be read",
        ),
        pytest.param(
            (node("n1", problems=(NO_DAEMON,)),),
            None,
            "0/1",
            "SomeDown",
            "0 of 1; n1: GoBgpDown gobgpd does not answer",
            id="no daemon",
        ),
        pytest.param(
            (node("n1"),), None, "0/1", "SomeDown", "0 of 1; n1: NoSession its agent speaks no BGP", id="no BGP at all"
        ),
        pytest.param(
            (node("n1", UP), node("n2", leaving=True)), None, "1/1", "AllEstablished", "1 of 1", id="a node that left"
        ),
        pytest.param(
            (node("n1", UP), node("n2", UP, leaving=True)), None, "2/2", "AllEstablished", "2 of 2", id="one that goes"
        ),
    ],
)
def test_a_router(
    nodes: tuple[Announcer, ...], selector: Selector | None, established: str, reason: str, message: str
) -> None:
    tor = peer("tor-a", selector)
    said = peer_status(tor, links(tor, nodes), NOW)
    (ready,) = said.conditions
    assert (said.remote, said.established, ready.reason, ready.message) == ("10.0.0.1", established, reason, message)
    assert (ready.status == "True") is (reason == "AllEstablished")
    up, desired = map(int, established.split("/"))
    assert said.sessions == PeerSessions(desired=desired, established=up)
    assert len(said.exceptions) == desired - up


def test_an_exception_tells_node_state_and_time() -> None:
    tor = peer("tor-a")
    said = peer_status(tor, links(tor, (node("n1", DOWN),)), NOW)
    assert said.exceptions == (
        PeerException(
            node="n1", reason="PeerDown", state="Idle", message="hold timer expired", since="2026-01-01T00:00:00Z"
        ),
    )


def test_no_more_exceptions_are_listed_than_the_schema_takes() -> None:
    tor = peer("tor-a")
    said = peer_status(tor, links(tor, tuple(node(f"n{number:02}", DOWN) for number in range(20))), NOW)
    assert (said.established, len(said.exceptions)) == ("0/20", 16)


def test_what_is_said_already_is_not_said_anew() -> None:
    tor = peer("tor-a")
    found = links(tor, (node("n1", UP), node("n2", DOWN)))
    said = msgspec.structs.replace(tor, status=peer_status(tor, found, NOW))
    assert peer_status(said, found, LATER) == said.status
    told = advertisement("gold")
    around = Around((), frozenset(), frozenset({"tor-a"}), ())
    told = msgspec.structs.replace(told, status=advertisement_status(told, around, NOW))
    assert advertisement_status(told, around, LATER) == told.status


def events(before: dict[str, bool], *nodes: Announcer) -> list[tuple[str, str, str]]:
    return [(said.type, said.reason, said.note) for said in session_events(before, links(peer("tor-a"), nodes))]


@pytest.mark.parametrize(
    ("before", "nodes", "expected"),
    [
        pytest.param({}, (node("n1", UP), node("n2", DOWN)), [], id="seen for the first time"),
        pytest.param({"n1": True, "n2": False}, (node("n1", UP), node("n2", DOWN)), [], id="no change"),
        pytest.param(
            {"n1": True},
            (node("n1", DOWN),),
            [("Warning", "BGPSessionDown", "no session with n1: Idle hold timer expired")],
            id="down",
        ),
        pytest.param({"n1": False}, (node("n1", UP),), [("Normal", "BGPSessionUp", "session with n1")], id="up"),
        pytest.param(
            {"n1": True, "n2": False},
            (node("n1", DOWN), node("n2", UP)),
            [
                ("Warning", "BGPSessionDown", "no session with n1: Idle hold timer expired"),
                ("Normal", "BGPSessionUp", "session with n2"),
            ],
            id="one goes, one comes",
        ),
        pytest.param({"n1": True}, (), [], id="a node that is not asked for any more"),
        pytest.param(
            {f"n{number}": False for number in range(8)},
            tuple(node(f"n{number}", UP) for number in range(8)),
            [("Normal", "BGPSessionUp", "session with n0, n1, n2, n3, n4, and 3 more")],
            id="many at once are one Event",
        ),
    ],
)
def test_events_of_sessions(
    before: dict[str, bool], nodes: tuple[Announcer, ...], expected: list[tuple[str, str, str]]
) -> None:
    assert events(before, *nodes) == expected


RESTING = vip("192.0.2.9")
RESTING = msgspec.structs.replace(
    RESTING, spec=msgspec.structs.replace(RESTING.spec, claims=(Claim(namespace="shop", name="web"),))
)
AROUND = Around(
    vips=(
        vip("192.0.2.7"),
        vip("192.0.2.8", advertisements=("gold",)),
        vip("198.51.100.1", pool="spare"),
        vip("198.51.100.2", "Layer2"),
        RESTING,
    ),
    pools=frozenset({"prod", "spare"}),
    peers=frozenset({"tor-a", "tor-b"}),
    announcers=(node("n1", UP), node("n2", UP), node("n3", UP, rack="b")),
)


@pytest.mark.parametrize(
    ("given", "counts", "reason"),
    [
        pytest.param(advertisement("all"), (3, 2, 3), "AsExpected", id="everything"),
        pytest.param(advertisement("pool", pool_names=("spare",)), (1, 2, 3), "AsExpected", id="a pool"),
        pytest.param(advertisement("gold", service_selector=RACK_A), (1, 2, 3), "AsExpected", id="some Services"),
        pytest.param(advertisement("other", service_selector=RACK_A), (0, 2, 3), "AsExpected", id="no Service"),
        pytest.param(advertisement("rack", node_selector=RACK_A), (3, 2, 2), "AsExpected", id="some nodes"),
        pytest.param(advertisement("peer", peer_names=("tor-a",)), (3, 1, 3), "AsExpected", id="a router"),
        pytest.param(
            advertisement("wrong", peer_names=("tor-a", "tor-c")), (3, 1, 3), "UnknownPeer", id="a router there is not"
        ),
        pytest.param(advertisement("wrong", pool_names=("prd",)), (0, 2, 3), "UnknownPool", id="a pool there is not"),
    ],
)
def test_an_advertisement(given: BGPAdvertisement, counts: tuple[int, int, int], reason: str) -> None:
    said = advertisement_status(given, AROUND, NOW)
    assert (said.matched_vips, said.matched_peers, said.matched_nodes) == counts
    assert [condition.reason for condition in said.conditions] == [reason]


def test_an_advertisement_that_a_node_cannot_follow() -> None:
    problem = AgentProblem(reason="InvalidRequest", advertisement="gold", message="no such community")
    around = replace(AROUND, announcers=(*AROUND.announcers, node("n9", UP, problems=(problem,))))
    (ready,) = advertisement_status(advertisement("gold"), around, NOW).conditions
    assert (ready.status, ready.reason, ready.message) == ("False", "InvalidRequest", "n9: no such community")
    (ready,) = advertisement_status(advertisement("silver"), around, NOW).conditions
    assert ready.status == "True"


def test_an_unnumbered_router_is_shown_by_its_interface() -> None:
    tor: BGPPeer = peer("tor-a")
    remote = msgspec.structs.replace(tor.spec.remote, address="", interface="eth1")
    tor = msgspec.structs.replace(tor, spec=msgspec.structs.replace(tor.spec, remote=remote))
    assert peer_status(tor, (), NOW).remote == "eth1"
