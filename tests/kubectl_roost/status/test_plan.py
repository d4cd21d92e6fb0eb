from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_roost.status.plan import Snapshot, Waiting, report
from kubectl_roost.status.text import page
from roost.kube.wire import (
    Claim,
    Condition,
    Group,
    Meta,
    NodeAgent,
    Segment,
    Service,
    ServiceSpec,
    VIPException,
    VirtualIP,
    VirtualIPAnnounce,
    VirtualIPSpec,
)
from roost.kube.wire_bgp import BGPPeer, BGPPeerSpec, BGPPeerStatus, LocalEnd, RemoteEnd
from tests.kubectl_roost.cluster import agent, condition, group, pool, seat, segment, service, vip, well


def test_a_cluster_that_is_well_needs_no_attention() -> None:
    assert report(well()).attention == ()


def test_an_empty_cluster_needs_no_attention() -> None:
    assert report(Snapshot()).attention == ()


def test_vips_stand_in_the_order_of_addresses_and_say_who_holds_them() -> None:
    shown = [(one.address, one.holder, one.epoch, one.reason) for one in report(well()).vips]
    assert shown == [("192.0.2.7", "n1", 7, "Announced"), ("2001:db8::7", "n2", 7, "Announced")]


def test_groups_are_counted_by_their_holder() -> None:
    (table,) = report(well()).segments
    assert [(row.node, row.groups) for row in table.seats] == [("n1", 2), ("n2", 1)]
    assert (table.held, table.vacant) == (3, 0)


REFUSED = condition(
    "roost.dev/Allocated", "False", "PoolExhausted", "pool prod has no free IPv4 address (14 of 14 used)"
)
OTHER_CLASS = ServiceSpec(type="LoadBalancer", load_balancer_class="example.org/theirs")
OUR_CLASS = ServiceSpec(type="LoadBalancer", load_balancer_class="kube-vip.io/kube-vip-class")
IGNORED = Service(
    metadata=Meta(namespace="shop", name="web", annotations={"kube-vip.io/ignore": "true"}),
    spec=ServiceSpec(type="LoadBalancer"),
)
GOING = Service(
    metadata=Meta(namespace="shop", name="web", deletion_timestamp="now"), spec=ServiceSpec(type="LoadBalancer")
)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        pytest.param(service("web", said=REFUSED), "PoolExhausted", id="refused by the controller"),
        pytest.param(service("web"), "NotSeen", id="seen by nobody"),
        pytest.param(service("web", spec=OUR_CLASS), "NotSeen", id="of our class, seen by nobody"),
        pytest.param(service("web", spec=OTHER_CLASS), "", id="of another's class"),
        pytest.param(service("web", address="192.0.2.7"), "", id="given an address by somebody"),
        pytest.param(service("web", spec=ServiceSpec()), "", id="no load balancer"),
        pytest.param(IGNORED, "", id="to be ignored"),
        pytest.param(GOING, "", id="being deleted"),
    ],
)
def test_a_service_waits_when_it_is_refused_or_seen_by_nobody(one: Service, reason: str) -> None:
    found = report(Snapshot(services=(one,)))
    assert [waiting.reason for waiting in found.waiting] == ([reason] if reason else [])
    assert bool(found.attention) is bool(reason)


def test_what_a_service_waits_for_is_said_as_the_controller_said_it() -> None:
    found = report(Snapshot(services=(service("web", said=REFUSED),)))
    assert found.waiting == (Waiting("shop/web", "PoolExhausted", REFUSED.message),)
    assert found.attention == (f"Service shop/web: PoolExhausted: {REFUSED.message}",)


GONE_CLAIM = (Claim(namespace="shop", name="web"),)
RESTING = VirtualIPSpec(address="192.0.2.8", retain_until="2026-01-01T00:01:00Z", claims=GONE_CLAIM)
RESERVED = VirtualIPSpec(address="192.0.2.8", purpose="Reserved")
KEPT = VirtualIPSpec(address="192.0.2.8", claims=GONE_CLAIM)


@pytest.mark.parametrize(
    ("one", "reason", "attention"),
    [
        pytest.param(vip("192.0.2.8"), "Announced", "", id="announced"),
        pytest.param(
            vip("192.0.2.8", "NoEligibleNode", "none of 3: 3 excluded by label", holder=""),
            "NoEligibleNode",
            "VIP 192.0.2.8: NoEligibleNode: none of 3: 3 excluded by label",
            id="nobody may announce it",
        ),
        pytest.param(vip("192.0.2.8", "NoEndpoints", holder=""), "NoEndpoints", "", id="its Service has no endpoint"),
        pytest.param(
            vip("192.0.2.8", ""),
            "NotSeen",
            "VIP 192.0.2.8: NotSeen: nothing has been said of it yet",
            id="the controller said nothing",
        ),
        pytest.param(vip("192.0.2.8", "", spec=RESTING), "Resting", "", id="resting after its Service went"),
        pytest.param(vip("192.0.2.8", "", spec=RESERVED), "Reserved", "", id="reserved by people"),
    ],
)
def test_a_vip_needs_attention_when_it_should_answer_and_does_not(one: VirtualIP, reason: str, attention: str) -> None:
    found = report(replace(well(), vips=(one,)))
    assert [shown.reason for shown in found.vips] == [reason]
    assert found.attention == ((attention,) if attention else ())


TOLD = "192.0.2.8 is also claimed by 3c:ec:ef:12:34:56"
MISSED = "192.0.2.8 is announced by n1, but n2 gets no answer"
CONFLICT = condition("AddressConflict", "True", "AddressConflict", TOLD)
UNANSWERED = condition("Reachable", "False", "NotReachable", MISSED)


@pytest.mark.parametrize(
    ("reason", "doubts", "attention"),
    [
        pytest.param("Announced", (CONFLICT,), [f"AddressConflict: {TOLD}"], id="a stranger claims it too"),
        pytest.param("AddressConflict", (CONFLICT,), [f"AddressConflict: {TOLD}"], id="it is not taken: said once"),
        pytest.param("Announced", (UNANSWERED,), [f"NotReachable: {MISSED}"], id="the next in line gets no answer"),
        pytest.param(
            "Announced", (condition("Reachable", "Unknown", "NotProbed"),), [], id="nobody is there to ask for it"
        ),
    ],
)
def test_a_vip_in_doubt_needs_attention(reason: str, doubts: tuple[Condition, ...], attention: list[str]) -> None:
    one = vip("192.0.2.8", reason, TOLD if reason != "Announced" else "")
    said = msgspec.structs.replace(one.status, conditions=(*one.status.conditions, *doubts))
    found = report(replace(well(), vips=(msgspec.structs.replace(one, status=said),)))
    assert found.attention == tuple(f"VIP 192.0.2.8: {sentence}" for sentence in attention)


def test_a_vip_that_is_being_deleted_is_releasing() -> None:
    going = VirtualIP(
        metadata=Meta(name="192.0.2.8", deletion_timestamp="now"), spec=VirtualIPSpec(address="192.0.2.8")
    )
    found = report(replace(well(), vips=(going,)))
    assert (found.vips[0].reason, found.attention) == ("Releasing", ())


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        pytest.param((), "", id="none"),
        pytest.param(("a",), "shop/a", id="one"),
        pytest.param(("a", "b", "c"), "shop/a +2", id="three"),
    ],
)
def test_claimants_are_named_until_the_controller_names_them(claims: tuple[str, ...], shown: str) -> None:
    spec = VirtualIPSpec(address="192.0.2.8", claims=tuple(Claim(namespace="shop", name=name) for name in claims))
    bare = VirtualIP(metadata=Meta(name="192.0.2.8"), spec=spec)
    assert report(Snapshot(vips=(bare,))).vips[0].services == shown


GROUPS: tuple[Group, ...] = (group("b-1-7", 1), group("b-1-8", 0))


@pytest.mark.parametrize(
    ("segments", "attention"),
    [
        pytest.param((segment(seat("n1", 1), groups=GROUPS),), (), id="a vacant group is about to be taken"),
        pytest.param(
            (segment(seat("n1", 1, "Gone"), groups=GROUPS),),
            ("segment 10.60.0.0-24: no live seat, nobody announces on it",),
            id="all seats are gone",
        ),
        pytest.param(
            (Segment(metadata=Meta(name="s")),),
            ("segment s: no live seat, nobody announces on it",),
            id="the table has no status",
        ),
        pytest.param(
            (segment(seat("n1", 1, eligible=False), groups=GROUPS),),
            ("segment 10.60.0.0-24: 1 groups are vacant and no live seat is eligible",),
            id="nobody may take the vacant group",
        ),
    ],
)
def test_a_segment_needs_attention_when_nobody_can_announce(
    segments: tuple[Segment, ...], attention: tuple[str, ...]
) -> None:
    assert report(Snapshot(vips=(vip("192.0.2.7"),), segments=segments)).attention == attention


DOWN = VIPException(vip="192.0.2.7", reason="LinkDown", message="eth0 is down")
NO_ENDPOINT = VIPException(vip="192.0.2.8", reason="NoLocalEndpoint")
SILENT = NodeAgent(metadata=Meta(name="n1"))


@pytest.mark.parametrize(
    ("one", "state", "attention"),
    [
        pytest.param(agent("n1"), "Live", (), id="all well"),
        pytest.param(SILENT, "Live", ("node n1: NotSeen: nothing has been said of it yet",), id="has said nothing"),
        pytest.param(
            agent("n1"),
            "Gone",
            ("node n1: SeatGone: the agent, the node or its link is down",),
            id="was ready when last heard, but its seat is gone",
        ),
        pytest.param(
            agent("n1", exceptions=(DOWN,)),
            "Live",
            ("node n1: does not announce 192.0.2.7: LinkDown: eth0 is down",),
            id="cannot announce one",
        ),
        pytest.param(
            agent("n1", exceptions=(DOWN, DOWN), more=3),
            "Live",
            ("node n1: does not announce 192.0.2.7: LinkDown: eth0 is down (and 4 more)",),
            id="cannot announce many",
        ),
        pytest.param(
            agent("n1", exceptions=(DOWN,), maintenance="Drain"), "Live", (), id="does not announce as it drains"
        ),
    ],
)
def test_a_node_needs_attention_when_it_does_not_do_its_part(
    one: NodeAgent, state: str, attention: tuple[str, ...]
) -> None:
    now = Snapshot(agents=(one,), segments=(segment(seat("n1", 1, state)),))
    assert report(now).attention == attention


@pytest.mark.parametrize(
    ("one", "attention"),
    [
        pytest.param(pool("prod"), (), id="all well"),
        pytest.param(
            pool("prod", condition("Ready", "False", "InvalidRange", "first is after last")),
            ("pool prod: InvalidRange: first is after last",),
            id="malformed",
        ),
        pytest.param(
            pool(
                "prod",
                condition("Ready", "True", "Parsed"),
                condition("Overlapping", "True", "PoolsOverlap", "overlaps spare"),
                condition("Exhausted", "True", "NoFreeAddress", "14 of 14"),
            ),
            ("pool prod: PoolsOverlap: overlaps spare", "pool prod: NoFreeAddress: 14 of 14"),
            id="overlapping and exhausted",
        ),
        pytest.param(
            pool("prod", condition("Ready", "True", "Parsed"), condition("Exhausted", "False", "AsExpected")),
            (),
            id="not exhausted",
        ),
        pytest.param(
            pool(
                "prod", condition("Ready", "True", "Parsed"), condition("Exhausted", "False", "NearlyFull", "13 of 14")
            ),
            ("pool prod: NearlyFull: 13 of 14",),
            id="nearly full",
        ),
    ],
)
def test_a_pool_needs_attention_when_it_cannot_give(one: Any, attention: tuple[str, ...]) -> None:
    assert report(Snapshot(pools=(one,))).attention == attention


def test_what_could_not_be_read_is_said_and_hides_nothing_else() -> None:
    found = report(replace(well(), pools=(), unread={"AddressPool": "forbidden"}))
    assert found.attention == ("AddressPool: forbidden",)
    assert len(found.vips) == 2


words = st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=12)


@given(
    reasons=st.lists(words, max_size=4),
    tenures=st.lists(st.integers(0, 5), max_size=8),
    states=st.lists(st.sampled_from(["Live", "Gone"]), max_size=4),
)
def test_every_group_is_counted_once_and_every_page_is_printed(
    reasons: list[str], tenures: list[int], states: list[str]
) -> None:
    seats = tuple(seat(f"n{number}", number + 1, state) for number, state in enumerate(states))
    groups = tuple(group(f"g{number}", tenure) for number, tenure in enumerate(tenures))
    vips = tuple(vip(f"192.0.2.{number}", reason) for number, reason in enumerate(reasons))
    found = report(Snapshot(vips=vips, segments=(segment(*seats, groups=groups),)))
    assert found.segments[0].held + found.segments[0].vacant == len(groups)
    assert all(one.address in page(found) for one in found.vips)


def by_bgp() -> VirtualIP:
    """A VIP that eleven of twelve nodes announce."""
    plain = vip("192.0.2.50", holder="")
    spec = msgspec.structs.replace(plain.spec, announce=VirtualIPAnnounce(protocols=("BGP",)))
    return msgspec.structs.replace(
        plain, spec=spec, status=msgspec.structs.replace(plain.status, announced_by="11/12 nodes")
    )


def test_a_vip_that_many_announce_is_shown_with_how_many() -> None:
    shown = page(report(Snapshot(vips=(by_bgp(),))))
    assert "192.0.2.50   shop/web   prod   11/12 nodes    -       True    Announced" in shown


def test_layer_3_needs_no_seat() -> None:
    nobody = segment(seat("n1", 1, "Gone"))
    assert report(Snapshot(vips=(by_bgp(),), segments=(nobody,))).attention == ()
    assert report(Snapshot(vips=(vip("192.0.2.7"),), segments=(nobody,))).attention != ()


def test_a_router_without_all_its_sessions_needs_attention() -> None:
    spec = BGPPeerSpec(local=LocalEnd(asn=64512), remote=RemoteEnd(address="10.0.0.1", asn=64513))
    down = condition("Ready", "False", "SomeDown", "11 of 12; n9: Idle")
    status = BGPPeerStatus(established="11/12", conditions=(down,))
    found = report(Snapshot(peers=(BGPPeer(metadata=Meta(name="tor-a"), spec=spec, status=status),)))
    assert found.attention == ("BGPPeer tor-a: SomeDown: 11 of 12; n9: Idle",)
    assert "tor-a   10.0.0.1   11/12         False   SomeDown" in page(found)
