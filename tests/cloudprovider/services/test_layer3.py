"""Who announces a VIP on layer 3: counted from nodes that report exceptions only."""

import msgspec
import pytest

from cloudprovider.announcers import Announcer, Rules
from cloudprovider.services.announced import Sight
from cloudprovider.services.layer3 import has_holder, is_announced_here, look, spread
from roost.kube.wire import AgentProblem, AnnouncerException, Announcers, Claim, VirtualIP
from tests.cloudprovider.speaking import RACK_A, advertisement, node, peer, session, vip

UP, DOWN = session("tor-a"), session("tor-a", "Idle", "hold timer expired")
THREE = (node("n1", UP), node("n2", UP), node("n3", UP))
ADDRESS = "192.0.2.7"
NO_RULES = Rules()
TOR_A, TOR_B = peer("tor-a"), peer("tor-b")
ONLY_A = Rules(peers=(TOR_A, TOR_B), advertisements=(advertisement("a", peer_names=("tor-a",)),))
IN_RACK_A = Rules(peers=(TOR_A,), advertisements=(advertisement("a", node_selector=RACK_A),))


def sight(
    nodes: tuple[Announcer, ...], rules: Rules = NO_RULES, given: VirtualIP | None = None, seen: Sight | None = None
) -> Sight:
    about = given or vip()
    return look(about, seen, spread(about, nodes, rules, seen.holder if seen else ""))


@pytest.mark.parametrize(
    ("nodes", "rules", "by", "via"),
    [
        pytest.param(THREE, NO_RULES, "3/3 nodes", "BGP 3/3 sessions", id="all of them"),
        pytest.param(
            (*THREE[:2], node("n3", DOWN)), NO_RULES, "2/3 nodes", "BGP 2/3 sessions", id="one has no session"
        ),
        pytest.param(
            (node("n1", UP, session("tor-b", "Active")),), NO_RULES, "n1", "BGP 1/2 sessions", id="one session of two"
        ),
        pytest.param(
            (node("n1", UP, session("tor-b", "Active")), node("n2", DOWN, session("tor-b"))),
            ONLY_A,
            "1/2 nodes",
            "BGP 1/2 sessions",
            id="only the routers it goes to are counted",
        ),
        pytest.param(
            (*THREE[:2], node("n3", UP, up=False)), NO_RULES, "2/3 nodes", "BGP 2/3 sessions", id="a node that died"
        ),
        pytest.param(
            (*THREE[:2], node("n3", UP, excluded=True)),
            NO_RULES,
            "2/2 nodes",
            "BGP 2/2 sessions",
            id="an excluded node",
        ),
        pytest.param(
            (*THREE[:2], node("n3", UP, leaving=True)), NO_RULES, "2/2 nodes", "BGP 2/2 sessions", id="a node that goes"
        ),
        pytest.param((node("n1", UP, leaving=True),), NO_RULES, "n1", "BGP 1/1 sessions", id="only one, and it goes"),
        pytest.param(
            (*THREE[:2], node("n3", UP, exceptions=((ADDRESS, "NoLocalEndpoint"),))),
            NO_RULES,
            "2/2 nodes",
            "BGP 2/2 sessions",
            id="policy Local: a node without an endpoint is none that should",
        ),
        pytest.param(
            (*THREE[:2], node("n3", UP, exceptions=((ADDRESS, "KernelRefused"),))),
            NO_RULES,
            "2/3 nodes",
            "BGP 3/3 sessions",
            id="an exception",
        ),
        pytest.param(
            (*THREE[:2], node("n3", UP, exceptions=(("192.0.2.8", "KernelRefused"),))),
            NO_RULES,
            "3/3 nodes",
            "BGP 3/3 sessions",
            id="an exception of another VIP",
        ),
        pytest.param(
            (THREE[0], node("n2", UP, rack="b")), IN_RACK_A, "n1", "BGP 1/1 sessions", id="a node that is not selected"
        ),
        pytest.param(
            (THREE[0], node("n2", rack="b")),
            Rules(peers=(peer("tor-a", RACK_A),)),
            "n1",
            "BGP 1/1 sessions",
            id="a node that no router is for",
        ),
    ],
)
def test_who_announces(nodes: tuple[Announcer, ...], rules: Rules, by: str, via: str) -> None:
    found = sight(nodes, rules)
    assert (found.status, found.announced_by, found.via) == ("True", by, via)


@pytest.mark.parametrize(
    ("nodes", "rules", "reason", "message"),
    [
        pytest.param((), NO_RULES, "NoEligibleNode", "no node is there to announce 192.0.2.7", id="no agent"),
        pytest.param(
            (node("n1", UP, excluded=True), node("n2", UP, rack="b")),
            IN_RACK_A,
            "NoEligibleNode",
            "none of 2 nodes may announce 192.0.2.7: 1 excluded by label, 1 not selected",
            id="nobody may",
        ),
        pytest.param(
            (node("n1", DOWN), node("n2", DOWN)),
            NO_RULES,
            "PeerDown",
            "none of 2 nodes announces 192.0.2.7: PeerDown: no session with tor-a: hold timer expired",
            id="no router hears anybody",
        ),
        pytest.param((node("n1"),), NO_RULES, "NoSession", "its agent speaks no BGP", id="nobody speaks BGP"),
        pytest.param(
            (node("n1", problems=(AgentProblem(reason="SecretMissing", peer="tor-a", message="no Secret tor-a"),)),),
            ONLY_A,
            "SecretMissing",
            "no Secret tor-a",
            id="no password",
        ),
        pytest.param(
            tuple(node(name, UP, exceptions=((ADDRESS, "NoEndpoints"),)) for name in ("n1", "n2")),
            NO_RULES,
            "NoEndpoints",
            "no ready endpoint (policy Cluster)",
            id="no endpoint anywhere",
        ),
        pytest.param(
            (node("n1", UP, exceptions=((ADDRESS, "NoLocalEndpoint"),)),),
            NO_RULES,
            "NoEndpoints",
            "no ready endpoint (policy Local)",
            id="no endpoint on any node",
        ),
    ],
)
def test_why_nobody_announces(nodes: tuple[Announcer, ...], rules: Rules, reason: str, message: str) -> None:
    found = sight(nodes, rules)
    assert (found.status, found.reason, found.announced_by) == ("False", reason, "")
    assert message in found.message


def test_a_routing_table_needs_no_router() -> None:
    found = sight((node("n1"), node("n2")), given=vip(ADDRESS, "RoutingTable"))
    assert (found.status, found.announced_by, found.via) == ("True", "2/2 nodes", "routing table")


def test_only_the_first_exceptions_are_listed_but_all_are_counted() -> None:
    nodes = (node("m", UP), *(node(f"n{number:02}", DOWN) for number in range(11)))
    told = sight(nodes).announcers
    assert told is not None
    assert (told.desired, told.ready, len(told.exceptions)) == (12, 1, 8)
    assert told.exceptions[0] == AnnouncerException(
        node="n00", reason="PeerDown", message="no session with tor-a: hold timer expired"
    )


def test_what_its_service_is_told_stays_while_nodes_come_and_go() -> None:
    some, all_ = sight((*THREE[:2], node("n3", DOWN))), sight(THREE)
    assert some.message != all_.message
    assert some.brief == all_.brief == "192.0.2.7 is announced by BGP"


HELD = Sight("True", "Announced", "192.0.2.7 is answered by n2 (eth0)", "n2", 4, "n2", "Layer2 eth0")
UNHELD = Sight("False", "NoEligibleNode", "no node is there")


def test_the_holder_alone_announces() -> None:
    given = vip(announcers="HolderOnly")
    found = look(given, HELD, spread(given, (THREE[1],), NO_RULES, "n2"))
    assert (found.holder, found.epoch, found.announced_by, found.via) == ("n2", 4, "n2", "BGP 1/1 sessions")
    assert found.announcers == Announcers(desired=1, ready=1)
    assert look(given, UNHELD, spread(given, (), NO_RULES)) == UNHELD


def test_layer_2_and_bgp_together() -> None:
    given = vip(ADDRESS, "Layer2", "BGP")
    found = sight((*THREE[:2], node("n3", DOWN)), given=given, seen=HELD)
    assert (found.holder, found.announced_by, found.via) == ("n2", "n2", "Layer2 eth0; BGP 2/3 sessions")
    assert found.message == HELD.message
    assert found.announcers is not None
    assert (found.announcers.desired, found.announcers.ready) == (3, 2)


def test_an_advertisement_of_the_holder_goes_out_from_it_alone() -> None:
    rules = Rules(advertisements=(advertisement("a", announcers="HolderOnly"),))
    found = sight(THREE, rules, vip(ADDRESS, "Layer2", "BGP"), HELD)
    assert found.announcers == Announcers(desired=1, ready=1)


@pytest.mark.parametrize(
    ("selected", "by"),
    [
        pytest.param(("gold",), "n1", id="one that the advertisement selects"),
        pytest.param((), "", id="one that it does not: nobody else speaks of the pool"),
    ],
)
def test_an_advertisement_for_some_services(selected: tuple[str, ...], by: str) -> None:
    rules = Rules(peers=(TOR_A,), advertisements=(advertisement("gold", service_selector=RACK_A),))
    assert sight((THREE[0],), rules, vip(advertisements=selected)).announced_by == by


def test_what_rests_is_announced_nowhere() -> None:
    given = vip()
    assert is_announced_here(given)
    assert not is_announced_here(vip(ADDRESS, "Layer2"))
    assert (has_holder(given), has_holder(vip(announcers="HolderOnly"))) == (False, True)
    spec = msgspec.structs.replace(given.spec, claims=(Claim(namespace="shop", name="web"),))
    assert not is_announced_here(VirtualIP(metadata=given.metadata, spec=spec))
