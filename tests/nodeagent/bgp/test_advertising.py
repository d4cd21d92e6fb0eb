"""Which prefixes are announced to whom, and what the paths say of themselves."""

from ipaddress import ip_address

import pytest

from nodeagent.bgp.notation import Peer
from nodeagent.bgp.plan import Offer, Settings
from nodeagent.bgp.values import Attributes
from roost.kube.wire import Selector
from roost.kube.wire_bgp import Aggregation, BGPAdvertisement, BGPPeer
from tests.nodeagent.bgp.objects import EDGE, advertisement, offer, peer, plan, said, to_whom, told

ELSEWHERE = Selector(match_labels={"edge": "no"})
PUBLIC = Selector(match_labels={"public": "yes"})
A, B = peer("a", "10.0.0.2"), peer("b", "10.0.0.3")
V6 = peer("v6", "fd00::2")
VIP, VIP6 = "192.0.2.1/32", "2001:db8::1/128"


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param([A, B, offer()], {VIP: ["a", "b"]}, id="no advertisement: the VIP itself to all"),
        pytest.param([A, V6, offer("2001:db8::1")], {VIP6: ["v6"]}, id="IPv6 only where it was agreed on"),
        pytest.param([A, offer("2001:db8::1")], {}, id="or nowhere"),
        pytest.param([offer()], {}, id="nobody to tell"),
        pytest.param([A, B, offer(), advertisement()], {VIP: ["a", "b"]}, id="an advertisement of everything"),
        pytest.param([A, B, offer(), advertisement(peer_names=("b",))], {VIP: ["b"]}, id="to some peers"),
        pytest.param([A, B, offer(), advertisement(peer_names=("x",))], {}, id="to a peer that there is not"),
        pytest.param([A, offer(), advertisement(pool_names=("prod",))], {VIP: ["a"]}, id="of its pool"),
        pytest.param(
            [A, B, offer(), advertisement(pool_names=("test",), peer_names=("b",))],
            {VIP: ["a", "b"]},
            id="of another pool: as if there were none",
        ),
        pytest.param([A, offer(), advertisement(node_selector=EDGE)], {VIP: ["a"]}, id="of this node"),
        pytest.param([A, offer(), advertisement(node_selector=ELSEWHERE)], {}, id="of other nodes: not from here"),
        pytest.param(
            [A, B, offer(), advertisement("x", node_selector=ELSEWHERE), advertisement("y", peer_names=("a",))],
            {VIP: ["a"]},
            id="each for itself",
        ),
        pytest.param(
            [
                A,
                offer(advertisements=frozenset({"adv"})),
                offer("192.0.2.2"),
                advertisement(service_selector=PUBLIC),
            ],
            {VIP: ["a"]},
            id="of the Services it selects, and no others",
        ),
        pytest.param(
            [
                A,
                B,
                offer(advertisements=frozenset({"x"})),
                offer("192.0.2.2"),
                advertisement("x", service_selector=PUBLIC, peer_names=("a",)),
                advertisement("y", peer_names=("b",)),
            ],
            {VIP: ["a", "b"], "192.0.2.2/32": ["b"]},
            id="others by another",
        ),
        pytest.param([A, offer(holder_only=True)], {}, id="a VIP of its holder alone: not from here"),
        pytest.param([A, offer(holder_only=True, held=True)], {VIP: ["a"]}, id="from its holder"),
        pytest.param([A, offer(), advertisement(announcers="HolderOnly")], {}, id="an advertisement of holders"),
        pytest.param([A, offer(held=True), advertisement(announcers="HolderOnly")], {VIP: ["a"]}, id="from the holder"),
        pytest.param(
            [
                A,
                B,
                offer(),
                advertisement("x", announcers="HolderOnly", peer_names=("a",)),
                advertisement("y", peer_names=("b",)),
            ],
            {VIP: ["b"]},
            id="of holders here, of all there",
        ),
        pytest.param(
            [
                A,
                offer(),
                offer("192.0.2.200"),
                offer("198.51.100.1"),
                advertisement(aggregation=Aggregation(ipv4=24)),
            ],
            {"192.0.2.0/24": ["a"], "198.51.100.0/24": ["a"]},
            id="aggregates, each once",
        ),
        pytest.param(
            [V6, offer("2001:db8::1"), advertisement(aggregation=Aggregation(ipv4=24, ipv6=64))],
            {"2001:db8::/64": ["v6"]},
            id="and of IPv6",
        ),
        pytest.param(
            [
                A,
                B,
                offer(),
                advertisement("wide", aggregation=Aggregation(ipv4=24)),
                advertisement("own", peer_names=("b",)),
            ],
            {"192.0.2.0/24": ["a", "b"], VIP: ["b"]},
            id="the aggregate to all, the VIP itself to one",
        ),
    ],
)
def test_who_is_told(objects: list[BGPPeer | BGPAdvertisement | Offer], expected: dict[str, list[str]]) -> None:
    found = plan(*objects)
    assert to_whom(found) == expected
    assert found.problems == ()


@pytest.mark.parametrize(
    ("advertisements", "expected", "problems"),
    [
        pytest.param([], Attributes(), [], id="nothing said"),
        pytest.param(
            [
                advertisement(
                    communities=("65000:100", "65000:1:2", "no-export"), local_preference=0, med=0, prepend_as_path=2
                )
            ],
            Attributes(frozenset({"65000:100", "65000:1:2", "no-export"}), 0, 0, 2),
            [],
            id="all that can be said",
        ),
        pytest.param(
            [advertisement("x", communities=("65000:1",)), advertisement("y", communities=("65000:2", "65000:1"))],
            Attributes(frozenset({"65000:1", "65000:2"})),
            [],
            id="communities of several are united",
        ),
        pytest.param(
            [advertisement("x", local_preference=200), advertisement("y", med=7, prepend_as_path=1)],
            Attributes(local_preference=200, med=7, prepend=1),
            [],
            id="what only one says is said",
        ),
        pytest.param(
            [
                advertisement("y", local_preference=100, med=1, prepend_as_path=3),
                advertisement("x", local_preference=200, med=2, prepend_as_path=1),
            ],
            Attributes(local_preference=200, med=2, prepend=1),
            ["localPreference 100 gives way to 200", "med 1 gives way to 2", "prependASPath 3 gives way to 1"],
            id="where they disagree the first by name has it, and the other is told",
        ),
        pytest.param(
            [advertisement("x", med=5), advertisement("y", med=5)], Attributes(med=5), [], id="where they agree none is"
        ),
        pytest.param(
            [advertisement("x", med=5), advertisement("y", med=6, peer_names=("b",))],
            Attributes(med=5),
            [],
            id="what is said to others is no disagreement",
        ),
        pytest.param(
            [advertisement(communities=("65000:1", "65000:x"))],
            Attributes(frozenset({"65000:1"})),
            ["'65000:x'"],
            id="a community that is none",
        ),
    ],
)
def test_attributes(advertisements: list[BGPAdvertisement], expected: Attributes, problems: list[str]) -> None:
    found = plan(A, offer(), *advertisements)
    assert told(found) == {VIP: {"10.0.0.2": expected}}
    messages = sorted(problem.message for problem in found.problems)
    assert len(messages) == len(problems)
    assert all(part in message for part, message in zip(sorted(problems), messages, strict=True))


def test_a_disagreement_is_told_on_the_later_by_name() -> None:
    found = plan(A, B, offer(), offer("192.0.2.2"), advertisement("x", med=1), advertisement("y", med=2))
    assert said(found) == [("BGPAdvertisement", "y", "AttributesConflict")]
    assert not found.problems[0].refused


def test_two_ways_into_one_aggregate_say_what_both_say() -> None:
    """Only one VIP in it is selected by the Service's labels, but the prefix is one."""
    wide = Aggregation(ipv4=24)
    found = plan(
        A,
        offer("192.0.2.1", "one"),
        offer("192.0.2.2", "two"),
        advertisement("x", pool_names=("one",), aggregation=wide, communities=("65000:1",)),
        advertisement("y", pool_names=("two",), aggregation=wide, communities=("65000:2",)),
    )
    assert told(found) == {"192.0.2.0/24": {"10.0.0.2": Attributes(frozenset({"65000:1", "65000:2"}))}}


# -- a node that drains

INSIDE = peer("i", "10.0.0.4", asn=65000)
GONE = Attributes(frozenset({"graceful-shutdown"}))


@pytest.mark.parametrize(
    ("objects", "now", "expected", "due"),
    [
        pytest.param([A, offer()], 100.0, {VIP: {"10.0.0.2": GONE}}, 110.0, id="first others are to be preferred"),
        pytest.param([A, offer()], 109.9, {VIP: {"10.0.0.2": GONE}}, 110.0, id="for as long as the peer says"),
        pytest.param([A, offer()], 110.0, {}, None, id="then nothing is announced any more"),
        pytest.param(
            [INSIDE, offer()],
            100.0,
            {VIP: {"10.0.0.4": Attributes(GONE.communities, local_preference=0)}},
            110.0,
            id="inside an AS the local preference says it too",
        ),
        pytest.param(
            [A, offer(), advertisement(communities=("65000:1",), local_preference=200, med=5)],
            100.0,
            {VIP: {"10.0.0.2": Attributes(GONE.communities | {"65000:1"}, 200, 5)}},
            110.0,
            id="beside what is said anyway",
        ),
        pytest.param(
            [A, peer("b", "10.0.0.3", drain_seconds=60), offer()],
            120.0,
            {VIP: {"10.0.0.3": GONE}},
            160.0,
            id="each session by its own clock",
        ),
        pytest.param([peer("b", "10.0.0.3", drain_seconds=0), offer()], 100.0, {}, None, id="or at once"),
        pytest.param(
            [A, offer(alone=True), offer("192.0.2.2")],
            110.0,
            {VIP: {"10.0.0.2": Attributes()}},
            None,
            id="a VIP that nobody else may announce stays",
        ),
        pytest.param(
            [A, offer(alone=True), offer("192.0.2.2"), advertisement(aggregation=Aggregation(ipv4=24))],
            110.0,
            {"192.0.2.0/24": {"10.0.0.2": Attributes()}},
            None,
            id="and so does the prefix that it is in",
        ),
    ],
)
def test_a_node_that_drains(
    objects: list[BGPPeer | BGPAdvertisement | Offer],
    now: float,
    expected: dict[str, dict[str, Attributes]],
    due: float | None,
) -> None:
    found = plan(*objects, draining_since=100.0, now=now)
    assert told(found) == expected
    assert found.due == due
    assert found.want.sessions != {}, "sessions stay: a router is told, not left"


def test_the_longest_drain_of_a_nodes_sessions_is_known_before_it_begins() -> None:
    elsewhere = peer("c", "10.0.0.4", drain_seconds=600, node_selector=ELSEWHERE)
    assert plan(A, peer("b", "10.0.0.3", drain_seconds=60), elsewhere).drain == 60
    assert plan(settings=Settings(bgp_peers=(Peer(ip_address("10.0.0.2"), asn=1),), bgp_drain=30)).drain == 30


def test_the_settings_peers_drain_as_the_settings_say() -> None:
    settings = Settings(bgp_peers=(Peer(ip_address("10.0.0.2"), asn=1),), bgp_drain=30)
    assert plan(offer(), settings=settings, draining_since=0.0, now=29.0).due == 30.0
