"""Which sessions a node has, how they are, and what is said of those that cannot be as they were asked for."""

import base64
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from nodeagent.bgp.plan import Plan, Settings, passwords, secrets
from nodeagent.bgp.values import Bfd, NextHops, Session, Speaker, Timers
from roost.kube.wire import Meta, Secret, Selector
from roost.kube.wire_bgp import (
    BGPPeer,
    BGPPeerSpec,
    LocalEnd,
    NextHop,
    PeerBfd,
    PeerTimers,
    RemoteEnd,
    SecretKey,
)
from tests.nodeagent.bgp.objects import EDGE, node, offer, on, only, peer, plan, said, to_whom

V4, V6 = ip_address("10.0.0.254"), ip_address("fd00::fe")
THEIRS = {"a/peer-asn": "2", "a/peer-ip": "10.0.0.9"}
HOP4, HOP6 = IPv4Address("10.0.0.1"), IPv6Address("fd00::1")
ELSEWHERE = Selector(match_labels={"edge": "no"})


def test_nobody_to_speak_with_is_no_speaker() -> None:
    assert plan(offer()) == Plan()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(peer(), Session("tor", V4, 65001, 65000, graceful_restart=120), id="the least"),
        pytest.param(
            peer(
                local=LocalEnd(asn=65000, address="10.0.0.1"),
                remote="10.0.0.254",
                ebgp_multihop_ttl=5,
                timers=PeerTimers(hold_seconds=9, keepalive_seconds=3, connect_retry_seconds=1),
                bfd=PeerBfd(receive_milliseconds=50, transmit_milliseconds=60, detect_multiplier=5),
                graceful_restart_seconds=0,
            ),
            Session(
                "tor",
                V4,
                65001,
                65000,
                source_address=HOP4,
                multihop_ttl=5,
                timers=Timers(9, 3, 1),
                bfd=Bfd(50, 60, 5),
            ),
            id="all that can be said of it",
        ),
        pytest.param(
            peer(local=LocalEnd(asn=65000, interface="eth0")),
            Session("tor", V4, 65001, 65000, source_interface="eth0", graceful_restart=120),
            id="through an interface",
        ),
        pytest.param(
            BGPPeer(
                metadata=Meta(name="tor"),
                spec=BGPPeerSpec(
                    local=LocalEnd(asn=65000), remote=RemoteEnd(address="10.0.0.254", asn_type="Internal", port=1179)
                ),
            ),
            Session("tor", V4, 65000, 65000, port=1179, graceful_restart=120),
            id="of our own AS",
        ),
        pytest.param(
            BGPPeer(
                metadata=Meta(name="tor"),
                spec=BGPPeerSpec(
                    local=LocalEnd(asn=65000), remote=RemoteEnd(address="10.0.0.254", asn_type="External")
                ),
            ),
            Session("tor", V4, None, 65000, graceful_restart=120),
            id="of any other AS",
        ),
        pytest.param(
            peer(remote="eth1"),
            Session("tor", None, 65001, 65000, "eth1", families=frozenset({4, 6}), graceful_restart=120),
            id="unnumbered: both families",
        ),
        pytest.param(
            peer(remote="fd00::fe"),
            Session("tor", V6, 65001, 65000, families=frozenset({6}), graceful_restart=120),
            id="over IPv6",
        ),
    ],
)
def test_the_session_of_a_peer(asked: BGPPeer, expected: Session) -> None:
    found = plan(asked)
    assert found.problems == ()
    assert only(found) == expected
    assert found.sessions_of == {"tor": expected.key}


@pytest.mark.parametrize(
    ("asked", "reason", "part"),
    [
        pytest.param(
            peer(password_secret=SecretKey(name="keys")),
            "SecretMissing",
            "no Secret keys with a password as password",
            id="no password",
        ),
        pytest.param(
            peer(password_secret=SecretKey(name="long")), "InvalidRequest", "longer than 80 bytes", id="a long one"
        ),
        pytest.param(peer(remote="10.0.0.x"), "InvalidRequest", "remote.address", id="no address"),
        pytest.param(peer(remote="fe80::2"), "InvalidRequest", "remote.interface", id="an address of a link"),
        pytest.param(
            peer(local=LocalEnd(asn=1, address="fd00::1")), "InvalidRequest", "two families", id="two families"
        ),
        pytest.param(
            peer(local=LocalEnd(asn=1, router_id="::1")), "InvalidRequest", "local.routerID", id="no router id"
        ),
        pytest.param(
            BGPPeer(metadata=Meta(name="tor"), spec=BGPPeerSpec(local=LocalEnd(asn=1))),
            "InvalidRequest",
            "remote",
            id="no router",
        ),
        pytest.param(
            peer(next_hop=NextHop(mode="Fixed", ipv4="::1")),
            "InvalidRequest",
            "nextHop.ipv4",
            id="a next hop of the other family",
        ),
        pytest.param(
            peer(families=("IPv6",), local=LocalEnd(asn=1, interface="eth1")),
            "NextHopMissing",
            "eth1 has no IPv6 address",
            id="the only family has no next hop",
        ),
    ],
)
def test_a_peer_without_a_session(asked: BGPPeer, reason: str, part: str) -> None:
    """The others go on."""
    found = plan(asked, peer("other", "10.0.0.253"), offer(), passwords={("long", "password"): "x" * 81})
    (problem,) = found.problems
    assert (problem.kind, problem.name, problem.reason.value, problem.refused) == ("BGPPeer", "tor", reason, True)
    assert part in problem.message
    assert to_whom(found) == {"192.0.2.1/32": ["other"]}


def test_a_bug_sets_one_peer_aside() -> None:
    found = plan(peer(timers=None), peer("other", "10.0.0.253"))
    (problem,) = found.problems
    assert (problem.name, problem.reason.value, problem.refused) == ("tor", "InternalError", True)
    assert isinstance(problem.bug, AttributeError)
    assert list(found.sessions_of) == ["other"]


def test_a_password_by_the_name_and_key_of_its_secret() -> None:
    asked = peer(password_secret=SecretKey(name="keys", key="tor"))
    found = plan(asked, passwords={("keys", "tor"): "hush", ("keys", "password"): "other"})
    assert only(found).password == "hush"
    assert "hush" not in repr(found)


def test_what_a_secret_holds() -> None:
    data = {
        "tor": base64.b64encode(b"hush\n").decode(),
        "empty": "",
        "blank": base64.b64encode(b"\n").decode(),
        "bytes": base64.b64encode(b"\xff").decode(),
        "broken": "?",
    }
    assert passwords(Secret(metadata=Meta(name="keys"), data=data)) == {("keys", "tor"): "hush"}


def test_which_secrets_a_node_needs() -> None:
    every = {
        "a": peer("a", password_secret=SecretKey(name="here"), node_selector=EDGE),
        "b": peer("b", password_secret=SecretKey(name="there"), node_selector=ELSEWHERE),
        "c": peer("c"),
    }
    assert secrets(every, {"edge": "yes"}) == {"here"}


def test_a_peer_of_other_nodes_is_nothing_to_this_one() -> None:
    assert plan(peer(node_selector=ELSEWHERE, password_secret=SecretKey(name="keys"))) == Plan()


@pytest.mark.parametrize(
    ("peers", "names", "problems"),
    [
        pytest.param(
            (peer("b"), peer("a")), ["a"], [("BGPPeer", "b", "DuplicatePeer")], id="one router twice: the first by name"
        ),
        pytest.param(
            (peer("a", password_secret=SecretKey(name="keys")), peer("b")),
            [],
            [("BGPPeer", "a", "SecretMissing"), ("BGPPeer", "b", "DuplicatePeer")],
            id="even if the first has no session",
        ),
        pytest.param((peer("a", node_selector=ELSEWHERE), peer("b")), ["b"], [], id="one of them is of other nodes"),
        pytest.param(
            (
                peer("a", "10.0.0.253", local=LocalEnd(asn=1, router_id="10.9.9.1")),
                peer("b", "10.0.0.254", local=LocalEnd(asn=1, router_id="10.9.9.2")),
                peer("c", "10.0.0.252", local=LocalEnd(asn=1, router_id="10.9.9.1")),
                peer("d", "10.0.0.251"),
            ),
            ["a", "c", "d"],
            [("BGPPeer", "b", "RouterIDConflict")],
            id="two router ids on one node",
        ),
    ],
)
def test_peers_that_cannot_be_beside_each_other(
    peers: tuple[BGPPeer, ...], names: list[str], problems: list[tuple[str, str, str]]
) -> None:
    found = plan(*peers)
    assert sorted(found.sessions_of) == names
    assert said(found) == problems


@pytest.mark.parametrize(
    ("given", "router_id"),
    [
        pytest.param({}, "10.0.0.1", id="the node's first IPv4 address"),
        pytest.param({"settings": Settings(bgp_router_id=IPv4Address("10.9.9.9"))}, "10.9.9.9", id="the setting's"),
        pytest.param({"settings": Settings(bgp_router_interface="eth1")}, "10.1.0.1", id="an interface's"),
        pytest.param(
            {
                "settings": Settings(bgp_annotations="a"),
                "here": node(annotations={"a/node-asn": "65000", "a/src-ip": "10.7.7.7"} | THEIRS),
            },
            "10.7.7.7",
            id="the annotation's source address",
        ),
        pytest.param({"here": node(addresses=(ip_address("fd00::1"),))}, "104.107.139.184", id="a number of its name"),
    ],
)
def test_the_router_id(given: Mapping[str, Any], router_id: str) -> None:
    found = plan(peer(), **given)
    assert found.want.speaker == Speaker(65000, IPv4Address(router_id))


def test_a_peer_has_the_first_word_about_the_router_id() -> None:
    asked = peer(local=LocalEnd(asn=65000, router_id="10.8.8.8"))
    settings = Settings(bgp_router_id=IPv4Address("10.9.9.9"), bgp_annotations="a")
    here = node(annotations={"a/node-asn": "65000", "a/src-ip": "10.7.7.7"} | THEIRS)
    found = plan(peer("a", "10.0.0.9"), asked, settings=settings, here=here)
    assert found.want.speaker == Speaker(65000, IPv4Address("10.8.8.8"))


def test_an_interface_without_an_address_is_no_router_id() -> None:
    found = plan(peer(), settings=Settings(bgp_router_interface="eth9"))
    assert said(found) == [("Setting", "bgp-router-interface", "NoSuchInterface")]
    assert found.want.speaker == Speaker(65000, HOP4)


def test_no_session_changes_the_daemons_own_as_number() -> None:
    """It would restart for that, and end all others."""
    mine = LocalEnd(asn=65010)
    found = plan(peer("a", local=mine), peer("b", "10.0.0.2", local=mine), peer("c", "10.0.0.3"))
    assert found.want.speaker == Speaker(65000, HOP4)
    assert {session.name: session.local_asn for session in found.want.sessions.values()} == {
        "a": 65010,
        "b": 65010,
        "c": 65000,
    }
    found = plan(peer("a"), settings=Settings(bgp_asn=65020))
    assert found.want.speaker == Speaker(65020, HOP4)


def test_a_node_that_is_to_speak_no_bgp() -> None:
    found = plan(peer(), peer("b", node_selector=ELSEWHERE), offer(), settings=Settings(bgp_enable=False))
    assert found.want.speaker is None
    assert said(found) == [("BGPPeer", "tor", "Disabled")]


# -- families and next hops


def fixed(**said: str) -> dict[str, Any]:
    return {"next_hop": NextHop(mode="Fixed", **said)}


FROM = LocalEnd(asn=65000, address="10.0.0.1")
THROUGH = LocalEnd(asn=65000, interface="eth0")
BOTH = ("IPv4", "IPv6")


@pytest.mark.parametrize(
    ("asked", "families", "hops", "problem"),
    [
        pytest.param(peer(), {4}, NextHops(), "", id="by itself: the family of the router's address"),
        pytest.param(peer(families=BOTH), {4, 6}, NextHops(None, HOP6), "", id="both, by the link the router is on"),
        pytest.param(peer(remote="fd00::fe", families=BOTH), {4, 6}, NextHops(HOP4), "", id="both, the other way"),
        pytest.param(peer(families=("IPv6",)), {6}, NextHops(None, HOP6), "", id="only the other"),
        pytest.param(peer(remote="10.7.0.1", families=BOTH), {4}, NextHops(), "give its next hop", id="both, far away"),
        pytest.param(
            peer(remote="10.1.0.254", families=BOTH), {4}, NextHops(), "eth1 has no IPv6", id="a link of one family"
        ),
        pytest.param(peer(remote="eth1", families=BOTH), {4, 6}, NextHops(), "", id="unnumbered needs no next hop"),
        pytest.param(
            peer(**fixed(ipv6="fd00::9")),
            {4, 6},
            NextHops(None, IPv6Address("fd00::9")),
            "",
            id="fixed, IPv6 over IPv4",
        ),
        pytest.param(
            peer(remote="fd00::fe", **fixed(ipv4="10.0.0.9")),
            {4, 6},
            NextHops(IPv4Address("10.0.0.9")),
            "",
            id="fixed, IPv4 over IPv6",
        ),
        pytest.param(
            peer(**fixed(ipv4="10.0.0.9")), {4}, NextHops(IPv4Address("10.0.0.9")), "", id="fixed, of its own family"
        ),
        pytest.param(
            peer(families=BOTH, **fixed(ipv4="10.0.0.9")),
            {4},
            NextHops(IPv4Address("10.0.0.9")),
            "names no IPv6",
            id="fixed, and one is missing",
        ),
        pytest.param(peer(**fixed()), {4}, NextHops(), "neither", id="fixed, and none is given: plain BGP"),
        pytest.param(peer(families=BOTH, **fixed()), {4}, NextHops(), "neither", id="plain BGP has one family"),
        pytest.param(
            peer(local=FROM, next_hop=NextHop(mode="SourceAddress")),
            {4, 6},
            NextHops(None, HOP6),
            "",
            id="by the source address",
        ),
        pytest.param(
            peer(next_hop=NextHop(mode="SourceAddress")), {4}, NextHops(), "no source address", id="which is not given"
        ),
        pytest.param(
            peer(local=LocalEnd(asn=65000, address="10.0.0.7"), next_hop=NextHop(mode="SourceAddress")),
            {4},
            NextHops(),
            "on no interface",
            id="which this node has not",
        ),
        pytest.param(
            peer(local=THROUGH, next_hop=NextHop(mode="SourceInterface")),
            {4, 6},
            NextHops(None, HOP6),
            "",
            id="by the source interface",
        ),
        pytest.param(
            peer(local=FROM, next_hop=NextHop(mode="SourceInterface")),
            {4, 6},
            NextHops(None, HOP6),
            "",
            id="by the interface of the source address",
        ),
        pytest.param(
            peer(next_hop=NextHop(mode="SourceInterface")), {4}, NextHops(), "no source interface", id="neither given"
        ),
        pytest.param(
            peer(local=LocalEnd(asn=65000, interface="eth1"), next_hop=NextHop(mode="SourceInterface")),
            {4},
            NextHops(),
            "eth1 has no IPv6 address",
            id="an interface of one family: plain BGP",
        ),
    ],
)
def test_families_and_next_hops(asked: BGPPeer, families: set[int], hops: NextHops, problem: str) -> None:
    """What cannot be met costs the other family, never the session."""
    found = plan(asked, offer(), offer("2001:db8::1"))
    assert only(found).families == families
    assert only(found).next_hops == hops
    assert [p.reason.value for p in found.problems] == (["NextHopMissing"] if problem else [])
    assert all(problem in p.message and not p.refused for p in found.problems)
    assert {prefix.version for prefix in found.want.paths} == families


def test_an_interface_that_is_not_there() -> None:
    found = plan(peer(local=LocalEnd(asn=65000, interface="eth9")))
    assert said(found) == [("BGPPeer", "tor", "NoSuchInterface")]
    assert only(found).source_interface == "eth9"


def test_a_vip_is_no_next_hop() -> None:
    here = node(interfaces={"eth0": on("10.0.0.1/24", "2001:db8::1/128", "fd00::1/64")})
    assert only(plan(peer(families=BOTH), offer("2001:db8::1"), here=here)).next_hops.ipv6 == HOP6


def test_of_two_links_the_one_with_the_smaller_subnet_leads_to_the_router() -> None:
    here = node(interfaces={"a": on("10.0.0.1/8", "fd00::1/64"), "b": on("10.0.0.2/24", "fd00::2/64")})
    assert only(plan(peer(families=BOTH), here=here)).next_hops.ipv6 == IPv6Address("fd00::2")


def test_the_nodes_own_address_comes_first() -> None:
    here = node(
        addresses=(ip_address("10.0.0.1"), ip_address("fd00::2")),
        interfaces={"eth0": on("10.0.0.1/24", "fe80::1/64", "fd00::1/64", "fd00::2/64")},
    )
    assert only(plan(peer(families=BOTH), here=here)).next_hops.ipv6 == IPv6Address("fd00::2")
