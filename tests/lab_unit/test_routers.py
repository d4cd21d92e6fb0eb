"""What routers say is read rightly: BIRD's text, and the messages of neighbours in the file that both makes write."""

from ipaddress import ip_address, ip_network

import pytest

from lab.routers import bird, frr
from lab.routers.mrt import read_changes, read_records
from lab.routers.values import Bfd, Neighbour, Path, Setup

ROUTES = """\
1007-Table master4:
 10.96.0.10/32        unicast [g1_2 22:08:57.210] * (100) [AS65001?]
 \tvia 10.60.0.11 on data
1008-\tType: BGP univ
1012-\tBGP.origin: Incomplete
 \tBGP.as_path: 65001 65001
 \tBGP.next_hop: 10.60.0.11
 \tBGP.med: 5
 \tBGP.local_pref: 100
 \tBGP.community: (65001,100) (65535,65281)
 \tBGP.large_community: (65001, 1, 2)
1007-                     unicast [g2_2 22:08:57.210 from fd60::11] (100s) [AS65001?]
 \tvia 10.60.0.11 on data
1008-\tType: BGP univ
1012-\tBGP.origin: Incomplete
 \tBGP.as_path: 65001
 \tBGP.next_hop: 10.60.0.11
 \tBGP.local_pref: 100
1007-
 Table master6:
 fd97::1/128          unicast [g1_2 22:08:57.221 from 10.60.0.11] * (100) [AS65001?]
 \tvia fe80::11 on data
1008-\tType: BGP univ
1012-\tBGP.origin: Incomplete
 \tBGP.as_path: 65001
 \tBGP.next_hop: :: fe80::11
 \tBGP.local_pref: 100
1007-fd98::/64            unreachable [s6 22:08:57.221] * (200)
1008-\tType: static univ
0000
"""


def test_bird_tells_its_routes() -> None:
    found = list(bird.read_routes(ROUTES, {"g1_2": "10.60.0.11", "g2_2": "fd60::11"}))
    assert found == [
        Path(
            ip_network("10.96.0.10/32"),
            "10.60.0.11",
            (ip_address("10.60.0.11"),),
            frozenset({"65001:100", "no-export"}),
            frozenset({"65001:1:2"}),
            (65001, 65001),
            100,
            5,
        ),
        Path(
            ip_network("10.96.0.10/32"),
            "fd60::11",
            (ip_address("10.60.0.11"),),
            as_path=(65001,),
            local_preference=100,
            used=False,
            stale=True,
        ),
        Path(
            ip_network("fd97::1/128"), "10.60.0.11", (ip_address("fe80::11"),), as_path=(65001,), local_preference=100
        ),
    ]


SESSIONS = """\
2002-Name       Proto      Table      State  Since         Info
1002-g1         BGP        ---        start  22:08:49.184  Passive
1006-  BGP state:          Passive
     Neighbor range:   10.60.0.0/24
     Neighbor AS:      0
 \n1002-g1_1       BGP        ---        up     22:08:50.798  Established
1006-  BGP state:          Established
     Neighbor address: 10.60.0.12
     Neighbor AS:      65002
     Local capabilities
       Multiprotocol
         AF announced: ipv4 ipv6
     Neighbor capabilities
       Multiprotocol
         AF announced: ipv4
       Graceful restart
         Restart time: 120
     Hold timer:       6.605/9
     Keepalive timer:  1.895/3
 \n1002-g2         BGP        ---        start  22:08:50.798  Active
1006-  BGP state:          Active
     Neighbor address: fe80::12%to-n2
     Neighbor AS:      65002
0000
"""


def test_bird_tells_its_sessions() -> None:
    found = dict(bird.read_sessions(SESSIONS))
    assert set(found) == {"g1_1", "g2"}
    one = found["g1_1"]
    assert (one.neighbour, one.state, one.asn, one.families) == ("10.60.0.12", "Established", 65002, frozenset({4}))
    assert (one.hold, one.keepalive, one.graceful_restart) == (9, 3, 120)
    assert (found["g2"].neighbour, found["g2"].state, found["g2"].hold) == ("fe80::12", "Active", 0)


HEAD4 = "0000fde90000fc00000000010a3c000b0a3c0096"
MARK = "ff" * 16
BOTH = (
    f"{HEAD4}{MARK}0051020000003540010102400206020100"
    "00fde94003040a3c000b80040400000005c00808fde90064ffffff01c0200c0000fde90000000100000002200a60000a"
)
SIX = (
    f"{HEAD4}{MARK}0054020000003d4001010240020602010000fde9c00804ffff0000800e260002011"
    "0fd600000000000000000000000000011"
    "0080fd960000000000000000000000000010"
)
GONE = f"{HEAD4}{MARK}001c020005200a60000a0000"
UP = "000000000000fc00000000010a3c000b0a3c009600050006"


def record(subtype: int, body: str) -> bytes:
    """With microseconds, as FRR writes it."""
    length = (len(body) // 2 + 4).to_bytes(4, "big")
    return bytes.fromhex("6b04b9790011") + subtype.to_bytes(2, "big") + length + bytes.fromhex("0003e800" + body)


def test_messages_are_read_with_their_attributes() -> None:
    data = b"".join([record(5, UP), record(4, BOTH), record(4, SIX), record(4, GONE)])
    records, used = read_records(data + b"\x6b\x04")  # one is not yet written whole
    assert used == len(data)
    up, four, six, gone = (change for moment, kind, body in records for change in read_changes(kind, body, moment or 0))
    assert (up.prefix, up.up, up.neighbour) == (None, True, "10.60.0.11")
    assert up.time == pytest.approx(0x6B04B979 + 0.256)
    assert four.path == Path(
        ip_network("10.96.0.10/32"),
        "10.60.0.11",
        (ip_address("10.60.0.11"),),
        frozenset({"65001:100", "no-export"}),
        frozenset({"65001:1:2"}),
        (65001,),
        None,
        5,
    )
    assert six.path is not None
    assert (str(six.prefix), six.path.next_hops) == ("fd96::10/128", (ip_address("fd60::11"),))
    assert six.path.communities == {"graceful-shutdown"}
    assert (str(gone.prefix), gone.path) == ("10.96.0.10/32", None)


def test_a_session_that_has_no_addresses_yet_says_nothing() -> None:
    assert not list(read_changes(5, bytes.fromhex("000000000000fc00000000020003" + "0001"), 0))


SETUP = Setup(
    neighbours=[
        Neighbour("10.60.0.0/24", password="s3cret", bfd=Bfd()),
        Neighbour("10.79.0.9", 64512, passive=False, multihop=5, families=frozenset({4})),
        Neighbour("fe80::1%to-n1", 65001, extended_next_hop=True),
    ],
    announce=["10.200.0.0/24"],
    router_id="10.60.0.150",
)


def test_frr_is_told_of_every_kind_of_neighbour() -> None:
    text = frr.configuration(SETUP, "/x")
    for line in (
        "bgp listen range 10.60.0.0/24 peer-group G1",
        "neighbor G1 password s3cret",
        "neighbor G1 bfd",
        "neighbor 10.79.0.9 peer-group G2",
        "neighbor fe80::1 interface to-n1",
        "neighbor G3 remote-as 65001",
        "network 10.200.0.0/24",
    ):
        assert f" {line}\n" in text
    assert "neighbor G2 activate" not in text.partition("ipv6 unicast")[2]


def test_bird_is_told_of_every_kind_of_neighbour() -> None:
    text = bird.configuration(SETUP, "/x", "/y")
    for line in (
        "neighbor range 10.60.0.0/24 external;",
        'password "s3cret";',
        "neighbor 10.79.0.9 internal;",
        "multihop 5;",
        'interface "to-n1";',
        "neighbor fe80::1 as 65001;",
    ):
        assert f"  {line}\n" in text
    assert "protocol bfd" in text
