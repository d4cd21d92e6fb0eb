"""The interface that VIPs go on, and the name of its segment."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from nodeagent.addresses.plan import Link
from nodeagent.addresses.uplink import Choice, Survey, Uplink, homes, segment_name, speaking
from roost.frames.ethernet import Mac
from roost.kube.wire import Meta, Seat, Segment, SegmentSpec, SegmentStatus, Selector
from roost.words import Reason


def link(name: str, index: int, *prefixes: str, mac: str | None = "02:00:00:00:00:01") -> Link:
    own = tuple(ip_interface(prefix) for prefix in prefixes)
    return Link(name, index, Mac.parse(mac) if mac else None, 1500, "", up=True, prefixes=own)


DATA = link("data", 2, "10.60.0.11/24", "fd60::11/64", "fe80::1/64")
MGMT = link("mgmt", 3, "10.50.0.11/24")
LOOP = link("lo", 1, "127.0.0.1/8", "::1/128", mac="00:00:00:00:00:00")
TUNNEL = link("wg0", 4, "10.70.0.1/24", mac=None)
CABLE = link("veth0", 5, "169.254.1.1/32", "fe80::2/64")
LINKS = (LOOP, DATA, MGMT, TUNNEL, CABLE)


def segment(name: str, *interfaces: str, seats: tuple[Seat, ...] = (), **labels: str) -> Segment:
    selector = Selector(match_labels=labels) if labels else None
    spec = SegmentSpec(interfaces=interfaces, node_selector=selector)
    return Segment(
        metadata=Meta(name=name),
        spec=spec,
        status=SegmentStatus(revision=1, next_tenure=9, seats=seats) if seats else None,
    )


def seat(node: str, *addresses: str, state: str = "Live") -> Seat:
    return Seat(node=node, tenure=1, version=1, boot_id="b", mode="Witnessed", state=state, addresses=addresses)


def chosen(setting: str, links: Iterable[Link], segments: Iterable[Segment], vips: Iterable[str]) -> Choice:
    """What node n1 chooses, which is in row 1."""
    return Survey(links, segments, {"row": "1"}, "n1").choose(setting, [ip_address(vip) for vip in vips])


@pytest.mark.parametrize(
    ("setting", "segments", "vips", "expected"),
    [
        pytest.param("data", [], [], Uplink(DATA, "10.60.0.0-24"), id="the setting, and the table of its subnet"),
        pytest.param("data", [], ["10.50.0.9"], Uplink(DATA, "10.60.0.0-24"), id="the setting outweighs VIPs"),
        pytest.param(
            "data", [segment("rack-1", "data")], [], Uplink(DATA, "rack-1"), id="the table of the Segment that names it"
        ),
        pytest.param(
            "data", [segment("rack-1", "mgmt")], [], Uplink(DATA, "10.60.0.0-24"), id="a Segment of another interface"
        ),
        pytest.param("", [segment("rack-1", "data")], [], Uplink(DATA, "rack-1"), id="the interface of the Segment"),
        pytest.param(
            "mgmt", [segment("b", "data"), segment("a", "mgmt")], [], Uplink(MGMT, "a"), id="the Segment of the setting"
        ),
        pytest.param(
            "",
            [segment("a", "mgmt", row="2"), segment("b", "data", row="1")],
            [],
            Uplink(DATA, "b"),
            id="the Segment that selects this node",
        ),
        pytest.param(
            "", [segment("a", "bond0", "data")], [], Uplink(DATA, "a"), id="the interface of a Segment that is here"
        ),
        pytest.param(
            "",
            [segment("10.60.0.0-24")],
            ["10.50.0.9"],
            Uplink(MGMT, "10.50.0.0-24"),
            id="a Segment of none says nothing",
        ),
        pytest.param(
            "", [], ["10.60.0.200"], Uplink(DATA, "10.60.0.0-24"), id="the interface with a VIP in its subnet"
        ),
        pytest.param("", [], ["fd60::200"], Uplink(DATA, "10.60.0.0-24"), id="an IPv6 VIP's subnet"),
        pytest.param(
            "", [], ["192.0.2.1", "10.50.0.9"], Uplink(MGMT, "10.50.0.0-24"), id="a VIP of no subnet says nothing"
        ),
    ],
)
def test_choice(setting: str, segments: list[Segment], vips: list[str], expected: Uplink) -> None:
    assert chosen(setting, LINKS, segments, vips).uplinks == (expected,)


@pytest.mark.parametrize(
    ("setting", "segments", "vips", "reason", "words"),
    [
        pytest.param(
            "eth9",
            [],
            [],
            Reason.NO_SUCH_INTERFACE,
            "interface eth9 is not there (there are: data, mgmt)",
            id="no such",
        ),
        pytest.param("", [], [], Reason.NO_INTERFACE, "no interface has a subnet with a VIP", id="nothing says which"),
        pytest.param("", [], ["192.0.2.1"], Reason.NO_INTERFACE, "no interface has", id="a VIP of no subnet"),
        pytest.param("wg0", [], [], Reason.NO_INTERFACE, "wg0 is no Ethernet", id="the setting is no Ethernet"),
        pytest.param(
            "", [segment("a", "wg0")], [], Reason.NO_INTERFACE, "wg0 is no Ethernet", id="the Segment's is no Ethernet"
        ),
        pytest.param("veth0", [], [], Reason.NO_INTERFACE, "has no address of a subnet", id="it has no address yet"),
    ],
)
def test_no_choice_and_why(setting: str, segments: list[Segment], vips: list[str], reason: Reason, words: str) -> None:
    found = chosen(setting, LINKS, segments, vips)
    assert found.uplinks == ()
    assert found.why is not None
    assert found.why.reason is reason
    assert words in found.why.message


def test_a_segment_needs_no_address_on_its_interface() -> None:
    assert chosen("", LINKS, [segment("rack-1", "veth0")], []).uplinks == (Uplink(CABLE, "rack-1"),)


def test_the_cables_of_pods_change_nothing_in_what_is_said() -> None:
    """Else each pod that comes or goes would be news to tell."""
    without = chosen("eth9", (DATA, MGMT), [], [])
    assert chosen("eth9", (DATA, MGMT, CABLE, replace(CABLE, name="veth1", index=6)), [], []) == without


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        pytest.param(["10.60.0.11/24", "10.2.0.1/16"], "10.2.0.0-16", id="the lowest IPv4 network"),
        pytest.param(["fd60::11/64", "10.60.0.11/24"], "10.60.0.0-24", id="IPv4 before IPv6"),
        pytest.param(
            ["fe80::1/64", "2001:db8::1/64"], "2001-0db8-0000-0000-0000-0000-0000-0000-64", id="IPv6 written out"
        ),
        pytest.param(
            ["10.60.0.200/32", "10.70.0.1/24"], "10.70.0.0-24", id="an address without a subnet is no network"
        ),
        pytest.param(["fe80::1/64", "169.254.0.1/16"], None, id="link-local alone is no name"),
    ],
)
def test_name_of_a_segment(prefixes: list[str], expected: str | None) -> None:
    assert segment_name(link("data", 2, *prefixes)) == expected


BOND = Link("bond0", 6, Mac.parse("02:00:00:00:00:06"), 1500, "bond", up=True, prefixes=DATA.prefixes)
PORT = Link("eth0", 7, Mac.parse("02:00:00:00:00:06"), 1500, "", up=True, master=6)
SHIM = replace(DATA, name="shim", index=8, kind="macvlan", lower=2)
TAGGED = replace(DATA, name="data.20", index=9, kind="vlan", lower=2)
BOTH = (Uplink(DATA, "10.60.0.0-24"), Uplink(MGMT, "10.50.0.0-24"))


@pytest.mark.parametrize(
    ("setting", "links", "segments", "vips", "expected"),
    [
        pytest.param("data", LINKS, [], ["10.50.0.9"], BOTH[:1], id="the setting is the only one"),
        pytest.param(
            "data", LINKS, [segment("a", "data")], [], (Uplink(DATA, "a"),), id="with the table of its Segment"
        ),
        pytest.param("", LINKS, [], ["10.60.0.200"], BOTH[:1], id="the interface with a VIP in its subnet"),
        pytest.param("", LINKS, [], ["10.60.0.200", "10.50.0.9", "fd60::9"], BOTH, id="one for each such subnet"),
        pytest.param(
            "",
            LINKS,
            [segment("b", "mgmt"), segment("a", "data")],
            [],
            (Uplink(DATA, "a"), Uplink(MGMT, "b")),
            id="one for each Segment that selects this node",
        ),
        pytest.param(
            "",
            LINKS,
            [segment("a", "data", row="1"), segment("b", "mgmt", row="2")],
            [],
            (Uplink(DATA, "a"),),
            id="not for another node's",
        ),
        pytest.param(
            "",
            LINKS,
            [segment("a", "data")],
            ["10.50.0.9", "10.60.0.9"],
            (Uplink(DATA, "a"), Uplink(MGMT, "10.50.0.0-24")),
            id="a Segment, and a VIP of another subnet",
        ),
        pytest.param(
            "",
            LINKS,
            [segment("a", "data"), segment("b", "data")],
            [],
            (Uplink(DATA, "a"),),
            id="one table an interface",
        ),
        pytest.param(
            "",
            LINKS,
            [segment("a", "data", "mgmt")],
            ["10.50.0.9"],
            (Uplink(DATA, "a"),),
            id="one interface a table, be there a VIP in the subnet of another",
        ),
        pytest.param(
            "", [PORT, BOND], [segment("a", "eth0")], [], (Uplink(BOND, "a"),), id="not the port that a Segment names"
        ),
        pytest.param("eth0", [PORT, BOND], [], [], (Uplink(BOND, "10.60.0.0-24"),), id="nor the one of the setting"),
        pytest.param(
            "",
            [SHIM, DATA],
            [],
            ["10.60.0.9"],
            BOTH[:1],
            id="not the macvlan that has the same subnet as what is below",
        ),
        pytest.param(
            "",
            [DATA, TAGGED],
            [],
            ["10.60.0.9"],
            (Uplink(TAGGED, "10.60.0.0-24"),),
            id="the VLAN that has the same subnet as what is below",
        ),
        pytest.param(
            "",
            [replace(SHIM, lower=0)],
            [],
            ["10.60.0.9"],
            (Uplink(replace(SHIM, lower=0), "10.60.0.0-24"),),
            id="a macvlan on a device of another network namespace",
        ),
    ],
)
def test_all_interfaces(
    setting: str, links: list[Link], segments: list[Segment], vips: list[str], expected: tuple[Uplink, ...]
) -> None:
    assert chosen(setting, links, segments, vips).uplinks == expected


@pytest.mark.parametrize(
    ("setting", "segments", "vips", "reason"),
    [
        pytest.param("eth9", [], ["10.60.0.200"], Reason.NO_SUCH_INTERFACE, id="the setting names none"),
        pytest.param("", [], ["192.0.2.1"], Reason.NO_INTERFACE, id="no subnet has a VIP"),
        pytest.param("", [segment("a", "wg0")], [], Reason.NO_INTERFACE, id="no Ethernet"),
    ],
)
def test_no_uplink_at_all(setting: str, segments: list[Segment], vips: list[str], reason: Reason) -> None:
    found = chosen(setting, LINKS, segments, vips)
    assert found.uplinks == ()
    assert found.why is not None
    assert found.why.reason is reason


LOWER = replace(DATA, prefixes=(*DATA.prefixes, ip_interface("10.2.0.11/16")))


@pytest.mark.parametrize(
    ("setting", "link", "segments", "words"),
    [
        pytest.param(
            "", DATA, [segment("a", "data", row="2")], "Segment a has data for other nodes", id="it names the interface"
        ),
        pytest.param(
            "data",
            DATA,
            [segment("a", "data", row="2")],
            "Segment a has data for other nodes",
            id="so does the setting",
        ),
        pytest.param(
            "", DATA, [segment("10.60.0.0-24", row="2")], "has data for other nodes", id="it is the table of the subnet"
        ),
        pytest.param(
            "",
            DATA,
            [segment("a", "eth7", seats=(seat("n2", "10.60.0.12"),))],
            "Segment a has seats in a subnet of data, which it does not name",
            id="others call the interface by another name",
        ),
        pytest.param(
            "",
            DATA,
            [segment("a", "data"), segment("10.60.0.0-24", seats=(seat("n2", "10.60.0.12"),))],
            "n2 must leave table 10.60.0.0-24 of the same subnet",
            id="others have not left the table of the subnet yet",
        ),
    ],
)
def test_a_node_takes_no_part_where_a_segment_leaves_it_out(
    setting: str, link: Link, segments: list[Segment], words: str
) -> None:
    found = chosen(setting, [link, MGMT], segments, ["10.60.0.200", "10.50.0.9"])
    assert [out.link for out in found.left_out] == [link]
    assert words in found.left_out[0].message
    if not setting:
        assert found.uplinks == BOTH[1:], "elsewhere it does"
    else:
        assert found.why is not None
        assert found.why.reason is Reason.NOT_SELECTED


@pytest.mark.parametrize(
    ("link", "segments", "table"),
    [
        pytest.param(
            DATA,
            [segment("a", "data", row="2"), segment("b", "data", row="1")],
            "b",
            id="another Segment selects this node",
        ),
        pytest.param(
            DATA,
            [segment("a", "data"), segment("10.60.0.0-24", seats=(seat("n1", "10.60.0.11"),))],
            "10.60.0.0-24",
            id="its own seat of a former life is elsewhere: it goes there to leave",
        ),
        pytest.param(
            DATA,
            [segment("a", "data"), segment("10.60.0.0-24", seats=(seat("n2", "10.60.0.12", state="Gone"),))],
            "a",
            id="those elsewhere are gone",
        ),
        pytest.param(
            DATA,
            [segment("a", "eth7", seats=(seat("n2", "10.61.0.12"),))],
            "10.60.0.0-24",
            id="another Segment's seats are in other subnets",
        ),
        pytest.param(
            LOWER,
            [segment("10.60.0.0-24", seats=(seat("n2", "10.60.0.12"),))],
            "10.60.0.0-24",
            id="a table in use, be there a lower prefix",
        ),
        pytest.param(LOWER, [segment("10.60.0.0-24")], "10.2.0.0-16", id="a table that nobody uses"),
        pytest.param(
            DATA,
            [segment("10.2.0.0-16", seats=(seat("n2", "10.2.0.12", "10.60.0.12"),))],
            "10.2.0.0-16",
            id="a table in use that is named by a prefix that this node has not",
        ),
    ],
)
def test_on_one_wire_there_is_one_table(link: Link, segments: list[Segment], table: str) -> None:
    assert chosen("", [link, MGMT], segments, ["10.60.0.200"]).uplinks == (Uplink(link, table),)


def test_a_segment_that_was_left_is_not_gone_back_to() -> None:
    segments = [segment("a", "data"), segment("10.60.0.0-24", seats=(seat("n1", "10.60.0.11"),))]
    survey = Survey([DATA], segments, {}, "n1")
    assert survey.choose("", [], {"10.60.0.0-24"}).uplinks == (Uplink(DATA, "a"),)


@pytest.mark.parametrize(
    ("at", "segments", "why"),
    [
        pytest.param("10.60.0.0-24", [segment("10.60.0.0-24")], "", id="nothing has changed"),
        pytest.param("10.2.0.0-16", [segment("10.2.0.0-16")], "", id="it is named by a prefix that went"),
        pytest.param("10.60.0.0-24", [], "", id="the table is gone, and made anew"),
        pytest.param("a", [segment("a", "data"), segment("b", "data")], "", id="two name it"),
        pytest.param(
            "10.60.0.0-24", [segment("10.60.0.0-24"), segment("b", "data")], "Segment b names data", id="one names it"
        ),
        pytest.param(
            "10.60.0.0-24",
            [segment("10.60.0.0-24"), segment("b", "data", row="2")],
            "Segment b has data for other nodes",
            id="one names it for others",
        ),
        pytest.param("a", [segment("a", "data", row="2")], "Segment a has data for other nodes", id="no more for this"),
        pytest.param(
            "a", [segment("a", "eth7")], "Segment a does not name data any more", id="no more for this device"
        ),
        pytest.param(
            "10.60.0.0-24",
            [segment("10.60.0.0-24", row="2")],
            "Segment 10.60.0.0-24 selects other nodes only",
            id="the table of the subnet is for others now",
        ),
        pytest.param(
            "10.60.0.0-24",
            [segment("10.60.0.0-24"), segment("10.2.0.0-16", seats=(seat("n2", "10.2.0.12", "10.60.0.12"),))],
            "10.2.0.0-16 is a table of the same subnet",
            id="two tables of one wire become one",
        ),
        pytest.param(
            "10.2.0.0-16",
            [segment("10.60.0.0-24", seats=(seat("n2", "10.60.0.12"),)), segment("10.2.0.0-16")],
            "",
            id="and the others come here",
        ),
    ],
)
def test_where_it_is_a_node_stays_unless_segments_say_otherwise(at: str, segments: list[Segment], why: str) -> None:
    found = Survey([DATA, MGMT], segments, {"row": "1"}, "n1").displaced("data", at)
    assert found.startswith(why)
    assert bool(found) == bool(why)


TWO_PREFIXES = replace(DATA, prefixes=(*DATA.prefixes, ip_interface("10.61.0.11/24"), ip_interface("10.50.0.64/26")))


@pytest.mark.parametrize(
    ("vip", "expected"),
    [
        pytest.param("10.60.0.9", "data", id="its first prefix"),
        pytest.param("10.61.0.9", "data", id="its second"),
        pytest.param("10.50.0.9", "mgmt", id="the other uplink's"),
        pytest.param("10.50.0.70", "data", id="the longest prefix"),
        pytest.param("10.70.0.9", None, id="that of an interface that is no uplink"),
        pytest.param("192.0.2.1", "data", id="no interface's: on the first"),
    ],
)
def test_homes(vip: str, expected: str | None) -> None:
    found = homes([TWO_PREFIXES, MGMT], [LOOP, TWO_PREFIXES, MGMT, TUNNEL])(ip_address(vip))
    assert (found.name if found else None) == expected


def test_nothing_has_no_home() -> None:
    assert homes((), LINKS)(ip_address("10.60.0.9")) is None


def test_a_kernel_speaks_on_every_device_but_ports_and_cables_to_pods() -> None:
    bridge, card = link("br0", 20, mac="02:00:00:00:00:20"), link("eth9", 22)
    port = replace(link("eth8", 21), master=20)
    below = replace(link("eth7", 23), kind="veth")
    shim = replace(link("shim", 24), kind="macvlan", lower=23)
    pod = replace(CABLE, kind="veth")
    bridge = replace(bridge, kind="bridge")
    everything = [LOOP, DATA, MGMT, TUNNEL, pod, bridge, port, card, below, shim]
    assert speaking(everything) == ("data", "mgmt", "br0", "eth9", "eth7", "shim")


def test_a_macvlan_is_no_uplink_and_what_is_below_is_named() -> None:
    bare = replace(DATA, prefixes=())
    for setting, segments in (("shim", []), ("", [segment("a", "shim")]), ("", [])):
        found = chosen(setting, [bare, SHIM], segments, ["10.60.0.9"])
        assert found.uplinks == ()
        assert found.why is not None
        assert "shim is a macvlan on data" in found.why.message
