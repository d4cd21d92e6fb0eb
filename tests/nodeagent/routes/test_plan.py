"""Which routes are wanted, and the steps towards them."""

import errno
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.routes.plan import (
    BOOT,
    MAIN,
    Add,
    Delete,
    DeviceChanged,
    Event,
    Failed,
    Kind,
    Missed,
    Replace,
    Route,
    RouteGone,
    RouteSeen,
    Settings,
    Step,
    again,
    chosen,
    matters,
    owned,
    said,
    steps,
    wanted,
)
from roost.options import load

SETTINGS = Settings()
KEEPING = Settings(clean_routing_table=False)
STATIC = 4


def route(vip: str, device: str = "eth0", protocol: int = 248, metric: int | None = None, table: int = 198) -> Route:
    prefix = ip_network(vip)
    default = 1024 if prefix.version == 6 else 0
    return Route(prefix, device, table, protocol, default if metric is None else metric)


ONE, TWO, SIX = route("192.0.2.1"), route("192.0.2.2"), route("2001:db8::1")
ELSEWHERE, LOCAL = replace(ONE, device="eth1"), replace(ONE, kind=Kind.LOCAL)
BY_HAND, OF_STATIC = replace(ONE, protocol=BOOT), replace(ONE, protocol=STATIC)


@pytest.mark.parametrize(
    ("have", "want", "complete", "expected"),
    [
        pytest.param(set(), {SIX, TWO, ONE}, True, [Add(ONE), Add(TWO), Add(SIX)], id="missing routes are added"),
        pytest.param({ONE}, set(), True, [Delete(ONE)], id="a route that nobody wants goes"),
        pytest.param({ONE}, {TWO}, False, [Add(TWO)], id="but none before all was listed"),
        pytest.param({ONE}, {TWO}, True, [Add(TWO), Delete(ONE)], id="additions come first"),
        pytest.param({ONE, SIX}, {ONE, SIX}, True, [], id="agreement needs no step"),
        pytest.param({ELSEWHERE}, {ONE}, True, [Replace(ONE)], id="another device takes a route over in one step"),
        pytest.param({LOCAL}, {ONE}, True, [Replace(ONE)], id="so does another type"),
        pytest.param({ELSEWHERE}, {ONE}, False, [Replace(ONE)], id="and also before all was listed"),
        pytest.param({ONE, ELSEWHERE}, {ONE}, True, [Delete(ELSEWHERE)], id="one that was appended goes"),
        pytest.param(
            {replace(ONE, metric=5)},
            {ONE},
            True,
            [Add(ONE), Delete(replace(ONE, metric=5))],
            id="another metric is another place: the new one comes first",
        ),
        pytest.param({BY_HAND}, {ONE}, False, [Replace(ONE)], id="one of protocol boot is taken over"),
        pytest.param({BY_HAND}, {TWO}, True, [Add(TWO)], id="and left alone where nothing of ours belongs"),
        pytest.param({BY_HAND, ONE}, {ONE}, True, [], id="or beside ours"),
        pytest.param({OF_STATIC}, {ONE}, True, [Add(ONE)], id="another program's is not: the kernel refuses ours"),
        pytest.param({OF_STATIC}, set(), True, [], id="nor is it deleted"),
        pytest.param({replace(ONE, table=MAIN)}, set(), True, [], id="another table is not ours"),
        pytest.param({route("192.0.2.0/24")}, set(), True, [], id="a route to a network is not ours"),
    ],
)
def test_steps(have: set[Route], want: set[Route], complete: bool, expected: list[Step]) -> None:
    assert list(steps(have, want, complete=complete, settings=SETTINGS)) == expected


def test_without_cleaning_only_what_was_wanted_in_this_life_is_removed() -> None:
    done = steps({ONE, TWO}, set(), complete=True, settings=KEEPING, known={TWO})
    assert done == (Delete(TWO),)


prefixes = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"])
wishes = st.frozensets(st.builds(route, prefixes, st.sampled_from(["eth0", "eth1"])), max_size=4).filter(
    lambda routes: len({each.place for each in routes}) == len(routes)
)
anything = st.frozensets(
    st.builds(
        route,
        prefixes,
        st.sampled_from(["eth0", "eth1"]),
        st.sampled_from([248, BOOT]),
        st.sampled_from([None, 5]),
        st.sampled_from([198, MAIN]),
    ),
    max_size=6,
)


@given(have=anything, want=wishes)
def test_steps_lead_to_what_is_wanted_and_leave_the_rest(have: frozenset[Route], want: frozenset[Route]) -> None:
    now = set(have)
    for _ in range(2):  # of two routes in one place the kernel chooses which it replaces
        for step in steps(now, want, complete=True, settings=SETTINGS):
            match step:
                case Add(new):
                    assert new.place not in {other.place for other in now}
                    now.add(new)
                case Replace(new):
                    in_place = sorted(
                        (old for old in now if old.place == new.place), key=lambda old: (old.protocol, old.device)
                    )
                    now.remove(in_place[0])
                    now.add(new)
                case Delete(old):
                    now.remove(old)
    assert {each for each in now if owned(each, SETTINGS)} == want
    assert steps(now, want, complete=True, settings=SETTINGS) == ()
    assert {each for each in have if each.table == MAIN} <= now


@dataclass(frozen=True)
class Device:
    name: str
    index: int
    prefixes: tuple[IPv4Interface | IPv6Interface, ...] = ()
    kind: str = ""
    up: bool = True


def device(name: str, index: int, *prefixes: str, kind: str = "", up: bool = True) -> Device:
    return Device(name, index, tuple(ip_interface(prefix) for prefix in prefixes), kind, up)


LO = device("lo", 1, "127.0.0.1/8", "::1/128")
ETH0, ETH1 = device("eth0", 2, "10.1.0.1/24", "fe80::1/64"), device("eth1", 3, "192.0.2.7/24", "2001:db8::7/64")


@pytest.mark.parametrize(
    ("vip", "links", "name"),
    [
        pytest.param("192.0.2.1", [LO, ETH0, ETH1], "eth1", id="the one with its subnet"),
        pytest.param("198.51.100.1", [LO, ETH1, ETH0], "eth0", id="else the first with a subnet"),
        pytest.param("2001:db8:7::1", [LO, ETH0, ETH1], "eth1", id="of its family"),
        pytest.param("2001:db8:7::1", [LO, ETH0], "eth0", id="or of the other"),
        pytest.param("192.0.2.1", [LO, ETH0, replace(ETH1, up=False)], "eth0", id="one that is up rather than down"),
        pytest.param("192.0.2.1", [replace(ETH1, up=False)], "eth1", id="and one that is down rather than none"),
        pytest.param("192.0.2.1", [LO, device("c1", 2, "10.2.0.1/24", kind="veth")], "", id="no cable to a pod"),
        pytest.param("192.0.2.1", [LO, device("vip", 2, "10.2.0.1/32")], "", id="nor one without a subnet"),
        pytest.param("192.0.2.1", [], "", id="there is none"),
    ],
)
def test_the_device_of_a_route(vip: str, links: list[Device], name: str) -> None:
    assert chosen(ip(vip), links) == name


def test_a_route_as_the_settings_have_it() -> None:
    vips = [ip("192.0.2.1"), ip("2001:db8::1")]
    assert wanted(vips, [], SETTINGS, "lo") == {
        Route(ip_network("192.0.2.1"), "lo", 198, 248, 0),
        Route(ip_network("2001:db8::1"), "lo", 198, 248, 1024),
    }
    others = Settings(routing_table=254, routing_protocol=99, routing_metric=7, routing_type=Kind.LOCAL)
    assert wanted(vips[1:], [ETH1], others) == {Route(ip_network("2001:db8::1"), "eth1", 254, 99, 7, Kind.LOCAL)}


def test_kube_vips_names_are_understood() -> None:
    environ = {
        "vip_routingtableid": "254",
        "vip_routingprotocol": "77",
        "vip_routingtabletype": "2",
        "vip_cleanroutingtable": "false",
    }
    assert load(Settings, program="test", argv=[], environ=environ) == Settings(254, 77, Kind.LOCAL, 0, False)
    named = {"ROOST_ROUTING_TYPE": "unicast", "ROOST_ROUTING_METRIC": "5"}
    assert load(Settings, program="test", argv=[], environ=named) == Settings(routing_metric=5)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ROOST_ROUTING_TABLE", "0", "from 1 to"),
        ("ROOST_ROUTING_TABLE", "255", "not 255, the kernel's own"),
        ("ROOST_ROUTING_PROTOCOL", "2", "from 5 to 255"),
        ("ROOST_ROUTING_METRIC", "-1", "from 0 to"),
        ("ROOST_ROUTING_TYPE", "blackhole", "unicast (1) or local (2), not blackhole"),
    ],
)
def test_settings_that_cannot_be(name: str, value: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load(Settings, program="test", argv=[], environ={name: value})
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(Missed(), True, id="events were lost"),
        pytest.param(DeviceChanged("eth0"), True, id="a device with a route of ours"),
        pytest.param(DeviceChanged("veth1"), False, id="another device"),
        pytest.param(RouteSeen(ONE), False, id="what is wanted was made"),
        pytest.param(RouteGone(ONE), True, id="what is wanted is gone"),
        pytest.param(RouteSeen(OF_STATIC), True, id="somebody put his route in place of ours"),
        pytest.param(RouteGone(OF_STATIC), True, id="what stood in our way is gone"),
        pytest.param(RouteSeen(TWO), True, id="a route with our mark that nobody wants"),
        pytest.param(RouteGone(TWO), False, id="which is gone"),
        pytest.param(RouteSeen(replace(TWO, protocol=STATIC)), False, id="another program's"),
        pytest.param(RouteSeen(replace(OF_STATIC, table=7)), False, id="another table's"),
    ],
)
def test_what_matters(event: Event, expected: bool) -> None:
    assert matters(event, {ONE}, SETTINGS) is expected


def test_what_is_made_once_more_for_frr() -> None:
    assert again({SIX, TWO}, SETTINGS) == (Delete(TWO), Add(TWO))
    assert again({replace(TWO, table=MAIN)}, Settings(routing_table=MAIN)) == ()


@pytest.mark.parametrize(
    ("about", "number", "text"),
    [
        (ONE, errno.EEXIST, "another program has a route to 192.0.2.1/32 in table 198, and ours does not"),
        (SIX, errno.EEXIST, "another program has a route to 2001:db8::1/128 in table 198 metric 1024"),
        (ONE, errno.ENODEV, "there is no interface eth0"),
        (replace(ONE, device=""), errno.ENODEV, "name one by the setting interface"),
        (ONE, errno.ENETDOWN, "interface eth0 is down"),
        (ONE, errno.EPERM, "EPERM"),
        (ONE, 9999, "9999"),
    ],
)
def test_a_refusal_in_words(about: Route, number: int, text: str) -> None:
    assert text in said(Failed(Add(about), number))
