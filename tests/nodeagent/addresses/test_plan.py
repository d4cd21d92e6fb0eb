"""Steps towards the wanted addresses, and what is known of links after each event."""

from dataclasses import replace
from ipaddress import ip_address as ip
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.addresses.plan import (
    MARK,
    Add,
    Event,
    Link,
    LinkGone,
    LinkSeen,
    Placed,
    PrefixGone,
    PrefixSeen,
    Present,
    Refresh,
    Remove,
    Settings,
    Step,
    VipGone,
    beneath,
    containing,
    fold,
    foreign,
    listed,
    named,
    next_refresh,
    own,
    steps,
    supported,
    upper,
    works,
)
from roost.frames import Mac

SETTINGS = Settings(address_lifetime=60, address_refresh=20)
OLD, NEW, SIX = Placed(ip("10.1.0.100"), "eth0"), Placed(ip("10.1.0.101"), "eth0"), Placed(ip("fd01::100"), "eth0")
MOVED = replace(OLD, device="eth1")


def ours(at: Placed, left: int | None = 60, length: int = 0) -> Present:
    return Present(at, length or at.address.max_prefixlen, MARK, left)


def theirs(at: Placed, length: int = 24) -> Present:
    return Present(at, length, 0, None)


@pytest.mark.parametrize(
    ("have", "want", "synced", "expected"),
    [
        pytest.param(set(), {NEW, SIX}, True, (Add(NEW), Add(SIX)), id="missing addresses are added"),
        pytest.param({ours(OLD)}, set(), True, (Remove(OLD, 32),), id="a stray address is removed"),
        pytest.param({ours(OLD)}, {NEW}, True, (Add(NEW), Remove(OLD, 32)), id="adds come before removes"),
        pytest.param({ours(OLD)}, {MOVED}, True, (Add(MOVED), Remove(OLD, 32)), id="to another device too"),
        pytest.param({ours(OLD)}, {SIX}, False, (Add(SIX),), id="nothing is removed before the first full list"),
        pytest.param({ours(OLD), ours(SIX, 41)}, {OLD, SIX}, True, (), id="agreement needs no step"),
        pytest.param({ours(OLD, 40)}, {OLD}, False, (Refresh(OLD),), id="twenty seconds old: refreshed"),
        pytest.param({ours(OLD, None)}, {OLD}, True, (Refresh(OLD),), id="for ever is too long"),
        pytest.param({theirs(OLD)}, set(), True, (), id="what has not our mark is not removed"),
        pytest.param({theirs(OLD)}, {OLD}, True, (), id="nor joined by ours"),
        pytest.param({theirs(MOVED, 32)}, {OLD}, True, (Add(OLD),), id="on another device it does not hinder ours"),
        pytest.param({ours(OLD, 60, 24)}, {OLD}, True, (Add(OLD), Remove(OLD, 24)), id="ours, with a wrong prefix"),
        pytest.param(
            {ours(OLD), ours(OLD, 60, 24)}, {OLD}, True, (Remove(OLD, 24),), id="ours twice, one with a wrong prefix"
        ),
    ],
)
def test_steps(have: set[Present], want: set[Placed], synced: bool, expected: tuple[Step, ...]) -> None:
    assert steps(have, want, synced=synced, settings=SETTINGS) == expected


places = st.builds(Placed, st.sampled_from([OLD.address, NEW.address, SIX.address]), st.sampled_from(["eth0", "eth1"]))
presents = st.builds(
    Present, places, st.sampled_from([24, 32, 64, 128]), st.sampled_from([0, 3, MARK]), st.none() | st.integers(0, 60)
).filter(lambda present: present.prefix_length <= present.at.address.max_prefixlen)


@given(
    have=st.frozensets(presents, max_size=8).filter(
        lambda some: len({(p.at, p.prefix_length) for p in some}) == len(some)
    ),
    want=st.frozensets(places),
)
def test_steps_lead_to_what_is_wanted_and_are_then_done(have: frozenset[Present], want: frozenset[Placed]) -> None:
    now = {(present.at, present.prefix_length): present for present in have}
    for step in steps(have, want, synced=True, settings=SETTINGS):
        match step:
            case Add(at):
                assert (at, at.address.max_prefixlen) not in now
                now[at, at.address.max_prefixlen] = ours(at)
            case Refresh(at):
                assert now[at, at.address.max_prefixlen].mark == MARK
                now[at, at.address.max_prefixlen] = ours(at)
            case Remove(at, length):
                assert now.pop((at, length)).mark == MARK
    left = frozenset(now.values())
    assert steps(left, want, synced=True, settings=SETTINGS) == ()
    assert {present for present in have if present.mark != MARK} <= left
    assert want - {present.at for present in left} == set()
    assert {present.at for present in left if present.mark == MARK} <= want


def test_addresses_of_others_are_told_wherever_they_are() -> None:
    have = {theirs(OLD), theirs(MOVED), ours(NEW), theirs(SIX)}
    assert foreign(have, {OLD, NEW}) == {OLD, MOVED}


def test_the_next_refresh_is_that_of_the_oldest() -> None:
    assert next_refresh({ours(OLD, 55), ours(SIX, 45), ours(NEW, 30)}, {OLD, SIX}, SETTINGS) == 5
    assert next_refresh({ours(OLD, 10)}, {OLD}, SETTINGS) == 0
    assert next_refresh({theirs(OLD)}, {OLD}, SETTINGS) is None


MAC = Mac.parse("02:00:00:00:00:01")
LO = Link("lo", 1, None, 65536, "", True, (ip_interface("127.0.0.1/8"),))
ETH0 = Link("eth0", 2, MAC, 1500, "", True, (ip_interface("10.1.0.1/24"), ip_interface("fd01::1/64")))
ETH1 = Link("eth1", 3, MAC, 1500, "bond", False, (ip_interface("10.0.0.1/8"), ip_interface("10.3.0.1/32")))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("10.1.0.100", ETH0, id="the longest prefix wins"),
        pytest.param("10.2.0.100", ETH1, id="a wider one is better than none"),
        pytest.param("fd01::100", ETH0, id="IPv6"),
        pytest.param("10.3.0.1", ETH1, id="an address alone is no subnet; the wider one is"),
        pytest.param("192.0.2.1", None, id="none contains it"),
    ],
)
def test_containing(address: str, expected: Link | None) -> None:
    assert containing([LO, ETH0, ETH1], ip(address)) == expected


def test_a_port_is_no_link_for_a_vip() -> None:
    """Nor is it if the bond has no address yet."""
    bond, port = Link("bond0", 9, MAC, 1500, "bond", True), replace(ETH0, master=9)
    assert containing([LO, port, bond], ip("10.1.0.100")) is None
    owner = replace(bond, prefixes=ETH0.prefixes)
    assert containing([LO, port, owner], ip("10.1.0.100")) == owner


def test_of_two_links_on_one_subnet_the_one_that_stands_on_the_other_is_taken() -> None:
    above = replace(ETH0, name="eth0.20", index=9, kind="vlan", lower=2)
    assert containing([ETH0, above], ip("10.1.0.100")) == above
    shim = replace(ETH0, name="mac0", index=1, kind="macvlan", lower=2)
    assert containing([shim, ETH0], ip("10.1.0.100")) == ETH0, "but no macvlan"


def test_of_two_links_on_one_subnet_the_older_is_taken() -> None:
    twin = replace(ETH0, name="eth2", index=4)
    assert containing([twin, ETH0], ip("10.1.0.100")) == ETH0


def test_a_nodes_own_addresses_are_those_with_a_subnet() -> None:
    assert own(ETH0) == {ip("10.1.0.1"), ip("fd01::1")}
    assert own(ETH1) == {ip("10.0.0.1")}


def test_named() -> None:
    assert named([LO, ETH0], "eth0") == ETH0
    assert named([LO], "eth0") is None


def tower(*links: Link) -> dict[int, Link]:
    return {link.index: link for link in links}


CABLE, CABLE2 = Link("eth0", 2, MAC, 1500, "", True, master=4), Link("eth1", 3, MAC, 1500, "", True, master=4)
POD = Link("veth1", 5, MAC, 1500, "veth", True, master=4)
BOND, BRIDGE = Link("bond0", 4, MAC, 1500, "bond", True), Link("br0", 4, MAC, 1500, "bridge", True)
VLAN, VRF = Link("bond0.20", 6, MAC, 1496, "vlan", True, lower=4), Link("red", 4, MAC, 65536, "vrf", True)


def down(link: Link) -> Link:
    return replace(link, up=False)


@pytest.mark.parametrize(
    ("links", "index", "expected"),
    [
        pytest.param(tower(CABLE), 2, True, id="a cable"),
        pytest.param(tower(down(CABLE)), 2, False, id="a cable that is out"),
        pytest.param(tower(VLAN, BOND, CABLE, down(CABLE2)), 6, True, id="a VLAN on a bond with one good cable"),
        pytest.param(tower(VLAN, BOND, down(CABLE), down(CABLE2)), 6, False, id="and with none"),
        pytest.param(tower(VLAN, down(BOND), CABLE), 6, False, id="and on a bond that is down"),
        pytest.param(tower(down(VLAN), BOND, CABLE), 6, False, id="a VLAN that is down itself"),
        pytest.param(tower(VLAN), 6, True, id="what it stands on is in another namespace"),
        pytest.param(tower(BOND), 4, True, id="a bond that says it is up, without ports"),
        pytest.param(tower(BRIDGE, CABLE, POD), 4, True, id="a bridge with a cable and a pod"),
        pytest.param(tower(BRIDGE, down(CABLE), POD), 4, False, id="a pod alone is no way out"),
        pytest.param(tower(BRIDGE, POD), 4, True, id="unless a bridge never had another"),
        pytest.param(tower(BRIDGE, replace(VLAN, index=7, lower=2, master=4), down(CABLE)), 4, False, id="VLAN ports"),
        pytest.param(tower(replace(VLAN, lower=6)), 6, False, id="a picture that cannot be"),
    ],
)
def test_works(links: dict[int, Link], index: int, expected: bool) -> None:
    assert works(links, links[index]) is expected
    (shown,) = [link for link in listed(links) if link.index == index]
    assert shown.up is expected


def test_a_path_has_an_upper_and_a_lower_end() -> None:
    links = tower(VLAN, BOND, CABLE)
    assert upper(links, CABLE) == BOND
    assert upper(links, VLAN) == VLAN
    assert beneath(links, VLAN) == (BOND,)
    assert upper(tower(VRF, CABLE), CABLE) == CABLE, "a VRF has no addresses of its ports"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([LinkSeen(replace(ETH0, up=False))], [LO, replace(ETH0, up=False)], id="a link goes down"),
        pytest.param([LinkSeen(replace(ETH1, prefixes=()))], [LO, ETH0, replace(ETH1, prefixes=())], id="a link comes"),
        pytest.param([LinkGone(2)], [LO], id="a link goes"),
        pytest.param([LinkGone(9), PrefixGone(9, ETH0.prefixes[0])], [LO, ETH0], id="something unknown goes"),
        pytest.param([PrefixSeen(2, ETH0.prefixes[0])], [LO, ETH0], id="something known is seen again"),
        pytest.param([PrefixGone(2, p) for p in ETH0.prefixes], [LO, replace(ETH0, prefixes=())], id="prefixes go"),
        pytest.param(
            [PrefixGone(2, ETH0.prefixes[0]), PrefixSeen(2, ETH0.prefixes[0])],
            [LO, ETH0],
            id="a prefix returns, in order",
        ),
        pytest.param([PrefixSeen(9, ETH0.prefixes[0])], [LO, ETH0], id="a prefix of an unknown link"),
        pytest.param([VipGone(2)], [LO, ETH0], id="a VIP is no prefix"),
    ],
)
def test_fold(events: list[Event], expected: list[Link]) -> None:
    links = {link.index: link for link in (ETH0, LO)}
    for event in events:
        links = dict(fold(links, event))
    assert listed(links) == tuple(expected)


@pytest.mark.parametrize(
    ("release", "expected"), [("5.17.15", False), ("5.18.0", True), ("6.1.0-31-amd64", True), ("", False)]
)
def test_supported(release: str, expected: bool) -> None:
    assert supported(release) == expected
