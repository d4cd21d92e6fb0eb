"""The sessions that kube-vip's settings and node annotations ask for."""

import base64
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from nodeagent.bgp.notation import NextHopMode, Peer
from nodeagent.bgp.plan import Settings
from nodeagent.bgp.values import NextHops, Session, Timers
from tests.nodeagent.bgp.objects import node, only, peer, plan, said

V4, V6 = ip_address("10.0.0.254"), ip_address("fd00::fe")
HOP4, HOP6 = IPv4Address("10.0.0.1"), IPv6Address("fd00::1")


def test_the_peers_of_the_settings() -> None:
    settings = Settings(
        bgp_asn=65010,
        bgp_peers=(Peer(V4, asn=65001, password="hush", multihop=True, port=1179), Peer(interface="eth1")),
        bgp_peer_address=V6,
        bgp_peer_asn=65002,
        bgp_hold=9,
        bgp_keepalive=3,
        bgp_source_address=HOP4,
        bgp_graceful_restart=60,
    )
    found = plan(settings=settings)
    assert found.problems == ()
    usual: dict[str, Any] = {"local_asn": 65010, "timers": Timers(9, 3), "graceful_restart": 60}
    assert found.want.sessions == {
        "10.0.0.254": Session(
            "setting/10.0.0.254",
            V4,
            65001,
            port=1179,
            source_address=HOP4,
            password="hush",
            multihop_ttl=50,
            **usual,
        ),
        "eth1": Session("setting/eth1", None, None, interface="eth1", families=frozenset({4, 6}), **usual),
        "fd00::fe": Session("setting/fd00::fe", V6, 65002, families=frozenset({6}), **usual),
    }


def test_a_peer_comes_before_a_setting_about_the_same_router() -> None:
    found = plan(peer(), settings=Settings(bgp_peers=(Peer(V4, asn=7),)))
    assert only(found).name == "tor"
    assert said(found) == [("Setting", "setting/10.0.0.254", "DuplicatePeer")]


@pytest.mark.parametrize(
    ("one", "settings", "families", "hops", "problems"),
    [
        pytest.param(
            Peer(V4, asn=1, next_hop=NextHopMode.FIXED, ipv6=HOP6), {}, {4, 6}, NextHops(None, HOP6), 0, id="the peer's"
        ),
        pytest.param(
            Peer(V4, asn=1),
            {"bgp_next_hop": NextHopMode.FIXED, "bgp_next_hop_ipv4": HOP4, "bgp_next_hop_ipv6": HOP6},
            {4, 6},
            NextHops(None, HOP6),
            0,
            id="that of all, for the other family only",
        ),
        pytest.param(
            Peer(V6, asn=1),
            {"bgp_next_hop": NextHopMode.SOURCE_ADDRESS, "bgp_source_address": HOP6},
            {4, 6},
            NextHops(HOP4),
            0,
            id="by the source address",
        ),
        pytest.param(
            Peer(V4, asn=1), {"bgp_next_hop": NextHopMode.SOURCE_INTERFACE}, {4}, NextHops(), 1, id="misconfigured"
        ),
    ],
)
def test_next_hops_of_the_settings(
    one: Peer, settings: Mapping[str, Any], families: set[int], hops: NextHops, problems: int
) -> None:
    found = plan(settings=Settings(bgp_peers=(one,), **settings))
    assert only(found).families == families
    assert only(found).next_hops == hops
    assert said(found) == [("Setting", only(found).name, "NextHopMissing")] * problems


SECOND = "metal.equinix.com/bgp-peers-1"
METAL = {
    "metal.equinix.com/bgp-peers-0-node-asn": "65010",
    "metal.equinix.com/bgp-peers-0-src-ip": "10.0.0.1",
    "metal.equinix.com/bgp-peers-0-peer-asn": "65530",
    "metal.equinix.com/bgp-peers-0-peer-ip": "169.254.255.1",
    "metal.equinix.com/bgp-peers-1-peer-ip": "169.254.255.2",
    "metal.equinix.com/bgp-peers-0-bgp-pass": base64.b64encode(b"hush").decode(),
    "metal.equinix.com/bgp-peers-0-peer-multi-hop": "true",
    "unrelated": "x",
}
PLAIN = {"p/node-asn": "65010", "p/src-ip": "10.0.0.1", "p/peer-asn": "65530", "p/peer-ip": "10.0.0.2, 10.0.0.3,"}


@pytest.mark.parametrize(
    ("prefix", "annotations", "expected"),
    [
        pytest.param(
            "metal.equinix.com",
            METAL,
            [("169.254.255.1", 65530, "hush", 50), ("169.254.255.2", 65530, "hush", 50)],
            id="numbered, as metal.equinix.com has them",
        ),
        pytest.param(
            "metal.equinix.com/",
            METAL | {f"{SECOND}-peer-asn": "7", f"{SECOND}-peer-multi-hop": "false"},
            [("169.254.255.1", 65530, "hush", 50), ("169.254.255.2", 7, "hush", 0)],
            id="a peer may have its own",
        ),
        pytest.param("p", PLAIN, [("10.0.0.2", 65530, "", 0), ("10.0.0.3", 65530, "", 0)], id="a list of addresses"),
        pytest.param(
            "p",
            PLAIN | {"p/bgp-peers-0-peer-ip": "10.0.0.2"},
            [("10.0.0.2", 65530, "", 0), ("10.0.0.3", 65530, "", 0)],
            id="said twice",
        ),
    ],
)
def test_the_annotations_of_a_node(
    prefix: str, annotations: Mapping[str, str], expected: list[tuple[str, int, str, int]]
) -> None:
    settings = Settings(bgp_annotations=prefix, bgp_peers=(Peer(V4, asn=1),), bgp_asn=1)
    found = plan(settings=settings, here=node(annotations=annotations))
    assert found.problems == ()
    assert [(s.key, s.asn, s.password, s.multihop_ttl) for s in found.want.sessions.values()] == expected
    assert {(s.local_asn, s.source_address) for s in found.want.sessions.values()} == {(65010, HOP4)}
    assert {s.name for s in found.want.sessions.values()} == {f"annotation/{key}" for key, *_ in expected}
    assert "hush" not in repr(found)


@pytest.mark.parametrize(
    ("annotations", "reason", "part"),
    [
        pytest.param(
            {}, "AnnotationsMissing", "no annotation p/node-asn, p/src-ip, p/peer-asn, p/peer-ip", id="not there yet"
        ),
        pytest.param(
            {key: value for key, value in PLAIN.items() if key != "p/peer-asn"},
            "AnnotationsMissing",
            "no annotation p/peer-asn",
            id="one is missing",
        ),
        pytest.param(PLAIN | {"p/node-asn": "x"}, "InvalidRequest", "node-asn is not a number", id="no number"),
        pytest.param(PLAIN | {"p/peer-asn": "0"}, "InvalidRequest", "peer-asn is not a number", id="no AS number"),
        pytest.param(PLAIN | {"p/peer-ip": "router"}, "InvalidRequest", "'router'", id="no address"),
        pytest.param(PLAIN | {"p/peer-multi-hop": "yes"}, "InvalidRequest", "peer-multi-hop 'yes'", id="no yes or no"),
        pytest.param(PLAIN | {"p/bgp-pass": "hush!"}, "InvalidRequest", "bgp-pass is not text", id="no base64"),
    ],
)
def test_annotations_that_will_not_do(annotations: Mapping[str, str], reason: str, part: str) -> None:
    """The BGPPeers go on."""
    settings = Settings(bgp_annotations="p", bgp_peers=(Peer(ip_address("10.0.0.7"), asn=1),))
    found = plan(peer(), settings=settings, here=node(annotations=annotations))
    (problem,) = found.problems
    assert (problem.kind, problem.name, problem.reason.value) == ("Annotation", "p", reason)
    assert part in problem.message
    assert "hush" not in problem.message
    assert list(found.sessions_of) == ["tor"]
