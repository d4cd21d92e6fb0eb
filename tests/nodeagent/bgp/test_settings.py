"""kube-vip's settings about BGP are understood, mistakes in them are named, and passwords are shown nowhere."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.bgp.notation import NextHopMode, Peer
from nodeagent.bgp.settings import Settings
from nodeagent.bgp.values import Bfd
from roost.options import load

V4, V6 = ip_address("10.0.0.254"), ip_address("fd00::fe")


def settings(*argv: str, **environ: str) -> Settings:
    return load(Settings, program="agent", argv=argv, environ=environ)


def mistakes(capsys: pytest.CaptureFixture[str], **environ: str) -> list[str]:
    with pytest.raises(SystemExit):
        settings(**environ)
    return [line.removeprefix("agent: ") for line in capsys.readouterr().err.splitlines()[:-1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10.0.0.254:65001", Peer(V4, asn=65001), id="address and AS will do"),
        pytest.param("10.0.0.254:65001::false", Peer(V4, asn=65001), id="what is empty is not there"),
        pytest.param("10.0.0.254:65001:hush", Peer(V4, asn=65001, password="hush"), id="a password"),
        pytest.param("10.0.0.254:65001::true", Peer(V4, asn=65001, multihop=True), id="more than one hop away"),
        pytest.param("10.0.0.254:65001::T:1179", Peer(V4, asn=65001, multihop=True, port=1179), id="another port"),
        pytest.param("10.0.0.254:4294967295", Peer(V4, asn=4294967295), id="the largest AS number"),
        pytest.param("[fd00::fe]:65001", Peer(V6, asn=65001), id="IPv6 in brackets"),
        pytest.param("[fd00::fe]:65001:hush:true:179", Peer(V6, asn=65001, password="hush", multihop=True), id="of it"),
        pytest.param("unnumbered:eth0", Peer(interface="eth0"), id="whoever is behind an interface"),
        pytest.param("unnumbered:eth0.7:65001::", Peer(interface="eth0.7", asn=65001), id="of a certain AS"),
        pytest.param(
            "10.0.0.254:65001::false:179:mpbgp_nexthop=auto_sourceif",
            Peer(V4, asn=65001, next_hop=NextHopMode.SOURCE_INTERFACE),
            id="both families, by an interface",
        ),
        pytest.param(
            "[fd00::fe]:65001::false::mpbgp_nexthop=auto_sourceip",
            Peer(V6, asn=65001, next_hop=NextHopMode.SOURCE_ADDRESS),
            id="both families, by a source address",
        ),
        pytest.param(
            "10.0.0.254:65001::::mpbgp_nexthop=fixed;mpbgp_ipv6=[fd00::9]:true;;;",
            Peer(V4, asn=65001, next_hop=NextHopMode.FIXED, ipv6=IPv6Address("fd00::9"), bfd=Bfd()),
            id="IPv6 among the options",
        ),
        pytest.param(
            "10.0.0.254:65001:a[b]c:true", Peer(V4, asn=65001, password="a[b]c", multihop=True), id="not here"
        ),
        pytest.param(
            "10.0.0.254:65001::::mpbgp_nexthop=fixed;mpbgp_ipv4=10.0.0.9;mpbgp_ipv6=",
            Peer(V4, asn=65001, next_hop=NextHopMode.FIXED, ipv4=IPv4Address("10.0.0.9")),
            id="both families, by a fixed address",
        ),
        pytest.param("10.0.0.254:65001:::::true;50;60;5", Peer(V4, asn=65001, bfd=Bfd(50, 60, 5)), id="BFD"),
        pytest.param("10.0.0.254:65001:::::true;;;", Peer(V4, asn=65001, bfd=Bfd()), id="BFD as usual"),
        pytest.param("10.0.0.254:65001:::::false;1;1;1", Peer(V4, asn=65001), id="BFD switched off"),
    ],
)
def test_a_peer_as_kube_vip_writes_it(text: str, expected: Peer) -> None:
    assert Peer.from_text(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("10.0.0.:65001", "10.0.0.: it does not begin with an IP address", id="no address"),
        pytest.param("router.example:1", "router.example: it does not begin with an IP address", id="a name"),
        pytest.param(
            "fd00::fe:65001", "fd00…: it does not begin with an IPv4 address, and IPv6 stands in [ ]", id="no brackets"
        ),
        pytest.param("[fd00::fe:65001", "[fd00…: an IPv6 address ends with ']', and then comes ':'", id="one bracket"),
        pytest.param("[fd00::fe]65001", "[fd00…: an IPv6 address ends with ']', and then comes ':'", id="no colon"),
        pytest.param("10.0.0.254", "10.0.0.254: AS is not a number from 1 to 4294967295", id="no AS"),
        pytest.param("10.0.0.254:0", "10.0.0.254: AS is not a number from 1 to 4294967295", id="AS 0"),
        pytest.param("10.0.0.254:4294967296", "10.0.0.254: AS is not a number from 1 to 4294967295", id="AS too large"),
        pytest.param("10.0.0.254:1::perhaps", "10.0.0.254: multihop is neither true nor false", id="multihop"),
        pytest.param("10.0.0.254:1:::65536", "10.0.0.254: port is not a number from 1 to 65535", id="port"),
        pytest.param("10.0.0.254:1:::²", "10.0.0.254: port is not a number from 1 to 65535", id="no digit of ours"),
        pytest.param(
            "10.0.0.254:1::::mpbgp_nexthop=auto",
            "10.0.0.254: mpbgp_nexthop is none of fixed, auto_sourceip and auto_sourceif",
            id="a mode that there is not",
        ),
        pytest.param(
            "10.0.0.254:1::::mpbgp_ipv4=10.0.0", "10.0.0.254: mpbgp_ipv4 is not an IPv4 address", id="no next hop"
        ),
        pytest.param(
            "10.0.0.254:1::::nexthop=fixed",
            "10.0.0.254: MP-BGP options are mpbgp_nexthop=…, mpbgp_ipv4=… and mpbgp_ipv6=…, with ';' between them",
            id="an option that there is not",
        ),
        pytest.param(
            "10.0.0.254:1:::::true", "10.0.0.254: BFD options are enable;receive;transmit;multiplier", id="BFD short"
        ),
        pytest.param(
            "10.0.0.254:1:::::true;;x;", "10.0.0.254: BFD transmit is not a number from 1 to 4294967", id="BFD interval"
        ),
        pytest.param("10.0.0.254:1:::::;;;", "10.0.0.254: BFD enable is neither true nor false", id="BFD on or off"),
        pytest.param("unnumbered:", "unnumbered:: there is no interface's name after 'unnumbered:'", id="no interface"),
        pytest.param(
            "10.0.0.254:x:hush:perhaps:y",
            "10.0.0.254: AS is not a number from 1 to 4294967295, multihop is neither true nor false, "
            "port is not a number from 1 to 65535",
            id="all that is wrong, at once",
        ),
        pytest.param(
            "10.0.0.254:1:a:b:1:::x",
            "10.0.0.254: there are 8 parts; it has at most 7: address, AS, password, multihop, port, MP-BGP options, "
            "BFD options, multihop is neither true nor false",
            id="a colon too many",
        ),
    ],
)
def test_a_mistake_is_named_by_its_part(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Peer.from_text(text)
    assert str(caught.value) == said


@given(st.text(st.characters(exclude_characters=",", codec="ascii"), max_size=60))
def test_any_text_is_a_peer_or_a_value_error(text: str) -> None:
    try:
        found = Peer.from_text(text)
    except ValueError:
        return
    assert (found.remote is None) != (found.interface == "")


@given(st.lists(st.sampled_from(["hush", "65001", "true", "179", "10.0.0.1", "fixed", ""]), max_size=8))
def test_no_mistake_shows_what_may_be_a_password(parts: list[str]) -> None:
    try:
        found = repr(Peer.from_text(":".join(["10.0.0.254", *parts])))
    except ValueError as error:
        found = str(error)
    assert "hush" not in found


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, Settings(), id="nothing said"),
        pytest.param({"bgp_enable": "false"}, Settings(bgp_enable=False), id="off"),
        pytest.param(
            {
                "bgp_as": "65010",
                "bgp_routerid": "10.9.9.9",
                "bgp_peeraddress": "10.0.0.254",
                "bgp_peeras": "65001",
                "bgp_peerpass": "hush",
                "bgp_multihop": "true",
                "bgp_hold_time": "9",
                "bgp_keepalive_interval": "3",
                "bgp_sourceip": "10.0.0.1",
            },
            Settings(
                bgp_asn=65010,
                bgp_router_id=IPv4Address("10.9.9.9"),
                bgp_peer_address=V4,
                bgp_peer_asn=65001,
                bgp_peer_password="hush",
                bgp_multihop=True,
                bgp_hold=9,
                bgp_keepalive=3,
                bgp_source_address=ip_address("10.0.0.1"),
            ),
            id="one peer, each thing by itself",
        ),
        pytest.param(
            {"bgp_peers": "10.0.0.254:1::false,[fd00::fe]:2:hush:true,unnumbered:eth1"},
            Settings(
                bgp_peers=(
                    Peer(V4, asn=1),
                    Peer(V6, asn=2, password="hush", multihop=True),
                    Peer(interface="eth1"),
                )
            ),
            id="several peers in one line",
        ),
        pytest.param(
            {
                "bgp_routerinterface": "lo",
                "bgp_sourceif": "eth0",
                "mpbgp_nexthop": "auto_sourceif",
                "mpbgp_ipv4": "10.0.0.9",
                "mpbgp_ipv6": "fd00::9",
                "annotation": "metal.equinix.com",
            },
            Settings(
                bgp_router_interface="lo",
                bgp_source_interface="eth0",
                bgp_next_hop=NextHopMode.SOURCE_INTERFACE,
                bgp_next_hop_ipv4=IPv4Address("10.0.0.9"),
                bgp_next_hop_ipv6=IPv6Address("fd00::9"),
                bgp_annotations="metal.equinix.com",
            ),
            id="next hops, and the rest",
        ),
        pytest.param(
            {"ROOST_BGP_ASN": "65020", "ROOST_BGP_NEXT_HOP": "sourceaddress"},
            Settings(bgp_asn=65020, bgp_next_hop=NextHopMode.SOURCE_ADDRESS),
            id="by our own names",
        ),
    ],
)
def test_what_kube_vip_calls_by_its_names(environ: Mapping[str, str], expected: Settings) -> None:
    assert settings(**environ) == expected


def test_a_peer_of_ipv6_as_a_flag() -> None:
    assert settings("--bgp-peers", "[fd00::fe]:1,10.0.0.254:2").bgp_peers == (Peer(V6, asn=1), Peer(V4, asn=2))


def test_all_mistakes_are_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert mistakes(capsys, bgp_peers="10.0.0.254:x,[::1:1", bgp_hold_time="soon", mpbgp_nexthop="auto") == [
        "bgp_peers: 10.0.0.254: AS is not a number from 1 to 4294967295; "
        "[…: an IPv6 address ends with ']', and then comes ':'",
        "bgp_hold_time: 'soon' is not a whole number",
        "mpbgp_nexthop: 'auto' is not one of Self, Fixed, SourceAddress, SourceInterface",
    ]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        pytest.param({"bgp_hold_time": "2"}, "bgp-hold 2 is neither 0 nor at least 3", id="too short a hold"),
        pytest.param(
            {"bgp_hold_time": "9"}, "bgp-keepalive 10 is not shorter than bgp-hold 9", id="silent longer than the hold"
        ),
        pytest.param(
            {"bgp_as": "0", "bgp_peeras": "4294967296"},
            "bgp-asn 0 is not from 1 to 4294967295; bgp-peer-asn 4294967296 is not from 1 to 4294967295",
            id="numbers that no AS has",
        ),
    ],
)
def test_settings_that_do_not_fit(environ: Mapping[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistakes(capsys, **environ) == [said]


def test_a_password_is_shown_nowhere() -> None:
    found = settings(bgp_peers="10.0.0.254:1:hush:true", bgp_peerpass="hush", bgp_peeraddress="10.0.0.253")
    assert found.bgp_peers[0].password == found.bgp_peer_password == "hush"
    assert "hush" not in repr(found)
