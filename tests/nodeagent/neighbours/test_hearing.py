"""Who is remembered of those heard, whom to ask whether anybody is there, and when which question is sent."""

from ipaddress import IPv4Address, IPv6Address, ip_interface
from ipaddress import ip_address as ip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.neighbours.hearing import (
    ANCHORS,
    FRESH,
    STATIONS,
    Address,
    Asking,
    Heard,
    Prefix,
    Rival,
    Station,
    Stations,
    anchors,
    question,
    rival,
)
from roost.frames import Arp, Frame, Kind, Mac, Solicitation, arp, claim, ndp
from roost.frames.ethernet import ARP

MAC = Mac.parse("02:00:00:00:00:01")
ONE, TWO, SIX = ip("10.1.0.1"), ip("10.1.0.2"), ip("fe80::1")


def mac(number: int) -> Mac:
    return Mac(number.to_bytes(6, "big"))


def said(address: Address, by: int, at: float) -> Heard:
    return Heard(address, mac(by), at, Kind.ARP_REQUEST)


def forged(number: int, at: float) -> Heard:
    return said(IPv4Address(0x0B00_0000 + number), number, at)


class TestStations:
    def test_those_heard_within_a_minute_are_told_the_longest_known_first(self) -> None:
        stations = Stations()
        for who in (said(ONE, 1, 100), said(TWO, 2, 120), said(SIX, 3, 130), said(ONE, 1, 150)):
            stations.note(who)
        assert [s.address for s in stations.recent(170)] == [ONE, TWO, SIX]
        assert stations.recent(185) == (Station(ONE, mac(1), 100, 150), Station(SIX, mac(3), 130, 130))
        assert stations.recent(171 + FRESH) == ()

    def test_who_takes_the_address_of_another_is_believed_once_that_is_silent(self) -> None:
        stations = Stations()
        for who in (said(ONE, 1, 100), said(ONE, 9, 110), said(ONE, 1, 120), said(ONE, 9, 125)):
            stations.note(who)
        assert stations.recent(130) == (Station(ONE, mac(1), 100, 120),)
        stations.note(said(ONE, 9, 121 + FRESH))
        assert stations.recent(121 + FRESH) == (Station(ONE, mac(9), 121 + FRESH, 121 + FRESH),)

    def test_a_flood_of_forged_senders_drives_nobody_out(self) -> None:
        stations = Stations()
        stations.note(said(ONE, 1, 0.0))
        stations.note(said(TWO, 2, 0.0))
        for number in range(20_000):
            now = number * 0.01
            stations.note(forged(number, now))
            if number % 5_000 == 0:
                stations.note(said(ONE, 1, now))
                stations.note(said(TWO, 2, now))
        recent = stations.recent(200)
        assert [s.address for s in recent][:2] == [ONE, TWO]
        assert len(recent) <= STATIONS

    @pytest.mark.parametrize("address", ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "::", "ff02::1"])
    def test_what_no_machine_has_is_no_station(self, address: str) -> None:
        stations = Stations()
        stations.note(said(ip(address), 1, 100))
        assert stations.recent(100) == ()

    @given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.floats(0, 50)), max_size=300))
    def test_never_more_than_there_is_room_for(self, heard: list[tuple[int, int, float]]) -> None:
        stations, now = Stations(), 0.0
        for number, by, passed in heard:
            now += passed
            stations.note(said(IPv4Address(0x0A00_0001 + number), by, now))
            recent = stations.recent(now)
            assert len(recent) <= STATIONS
            assert IPv4Address(0x0A00_0001 + number) in {station.address for station in recent}


def station(address: Address, by: int) -> Station:
    return Station(address, mac(by), 0.0, 1.0)


@pytest.mark.parametrize(
    ("configured", "gateways", "heard", "expected"),
    [
        pytest.param([ONE], [TWO], [station(SIX, 7)], (ONE,), id="those of the Segment"),
        pytest.param([], [TWO, SIX, TWO], [station(ONE, 7)], (TWO, SIX), id="else the gateways, each once"),
        pytest.param(
            [], [], [station(ONE, 1), station(TWO, 7)], (TWO,), id="else who was heard, but is no seat of ours"
        ),
        pytest.param([], [], [station(ONE, 1)], None, id="only seats were heard: nobody to ask"),
        pytest.param([], [], [], None, id="nobody"),
        pytest.param(
            [], [], [station(ONE + n, 9) for n in range(20)], tuple(ONE + n for n in range(ANCHORS)), id="not too many"
        ),
    ],
)
def test_anchors(
    configured: list[Address], gateways: list[Address], heard: list[Station], expected: tuple[Address, ...] | None
) -> None:
    assert anchors(configured, gateways, heard, {mac(1)}) == expected


FOUR, NOBODY4, LOCAL, NOBODY6 = IPv4Address("10.1.0.1"), IPv4Address(0), IPv6Address("fe80::1"), IPv6Address(0)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(arp.question(FOUR, mac(7), NOBODY4), Rival(FOUR, mac(7)), id="an ARP request from 0.0.0.0"),
        pytest.param(ndp.question(LOCAL, mac(7), NOBODY6), Rival(LOCAL, mac(7)), id="a solicitation from ::"),
        pytest.param(arp.question(FOUR, MAC, NOBODY4), None, id="our own, sent back by a loop"),
        pytest.param(ndp.question(LOCAL, MAC, NOBODY6), None, id="our own solicitation"),
        pytest.param(arp.question(FOUR, mac(7), FOUR + 1), None, id="a question that claims its sender"),
        pytest.param(ndp.question(LOCAL, mac(7), LOCAL + 6), None, id="a solicitation that claims its source"),
        pytest.param(
            Frame(MAC, mac(7), ARP, Arp(arp.REPLY, mac(7), NOBODY4, MAC, FOUR).pack()).pack(), None, id="no request"
        ),
        pytest.param(ndp.announcement(LOCAL, mac(7)), None, id="an advertisement"),
        pytest.param(Frame(MAC, mac(7), ARP, b"").pack(), None, id="too short"),
        pytest.param(Frame(MAC, mac(7), 0x0800, bytes(46)).pack(), None, id="data"),
    ],
)
def test_who_probes(frame: bytes, expected: Rival | None) -> None:
    assert rival(frame, {MAC}) == expected


PREFIXES: tuple[Prefix, ...] = (ip_interface("10.1.0.9/24"), ip_interface("10.2.0.9/24"), ip_interface("fd01::9/64"))


class TestQuestion:
    @pytest.mark.parametrize("target", [ONE, SIX, ip("fd01::1")], ids=str)
    def test_without_an_own_address_it_claims_nothing(self, target: Address) -> None:
        assert claim(question(target, MAC)) is None

    def test_with_one_it_is_asked_from_beside_the_target(self) -> None:
        four = Arp.unpack(Frame.unpack(question(ip("10.2.0.1"), MAC, PREFIXES)).payload)
        assert (four.sender_mac, four.sender, four.target) == (MAC, ip("10.2.0.9"), ip("10.2.0.1"))
        six = ndp.unpack(Frame.unpack(question(ip("fd01::1"), MAC, PREFIXES)).payload)
        assert isinstance(six, Solicitation)
        assert (six.source, six.target, six.mac) == (ip("fd01::9"), ip("fd01::1"), MAC)

    def test_for_an_address_of_no_own_network_it_is_a_probe(self) -> None:
        frame = Frame.unpack(question(ip("10.3.0.1"), MAC, PREFIXES))
        assert frame.ethertype == ARP
        assert Arp.unpack(frame.payload).sender == ip("0.0.0.0")


def run(asking: Asking, room: int, tick: float = 0.01) -> list[tuple[float, Address]]:
    """All questions with their times, of somebody who has *room* for so many each *tick*."""
    now, sent = 100.0, list[tuple[float, Address]]()
    while not (asking.all_sent and now >= asking.ends):
        asked, asking = asking.next(room, now)
        assert len(asked) <= room
        sent += [(round(now - 100, 3), target) for target in asked]
        following = asking.wake(now, tick)
        assert following > now or asking.ends <= now
        now = following
    return sent


class TestAsking:
    def test_three_times_forty_milliseconds_apart(self) -> None:
        asking = Asking((ONE,), 3, 0.04)
        assert run(asking, 20) == [(0.0, ONE), (0.04, ONE), (0.08, ONE)]

    def test_it_ends_when_the_last_answer_would_have_come(self) -> None:
        asked, asking = Asking((ONE,), 1, 0.04).next(20, 100.0)
        assert (asked, asking.all_sent, asking.ends, asking.wake(100.0, 0.01)) == ((ONE,), True, 100.04, 100.04)

    def test_nobody_to_ask_is_the_end(self) -> None:
        assert run(Asking((), 3, 0.04), 20) == []

    @given(st.integers(0, 120), st.integers(1, 4), st.integers(1, 30))
    def test_everybody_is_asked_as_often_as_wanted_and_soon_again(self, number: int, times: int, room: int) -> None:
        targets = tuple(ONE + n for n in range(number))
        sent = run(Asking(targets, times, 0.04), room)
        for target in targets:
            at = [when for when, whom in sent if whom == target]
            assert len(at) == times
            assert all(0.039 < later - sooner < 0.081 for sooner, later in pairwise(at))
