"""Which VIPs there are to announce, where their endpoints are, and which nodes may hold them."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, cast

import pytest

from nodeagent.services.drain import Fitness
from nodeagent.services.plan import Check, Index
from nodeagent.services.vips import BUNDLES, bundle
from roost.kube.wire import (
    Claim,
    EndpointSlice,
    Meta,
    Node,
    NodeAddress,
    NodeAgent,
    NodeAgentSpec,
    NodeStatus,
    Requirement,
    Selector,
    VirtualIP,
    VirtualIPAnnounce,
    VirtualIPSpec,
)
from roost.words import EXCLUDE_LABEL, Reason, vip_name
from tests.nodeagent.services.objects import GOING, LOCAL, SSD, UPLINK, WEB, node, piece, vip


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(VirtualIPSpec(address="192.0.2.1", group="g"), id="nobody claims it"),
        pytest.param(
            VirtualIPSpec(address="192.0.2.1", group="g", claims=(Claim(namespace="a", name="b"),)),
            id="it rests: its claim has no uid",
        ),
        pytest.param(
            VirtualIPSpec(address="192.0.2.1", claims=(Claim(namespace="a", name="b", uid="u"),)), id="it has no group"
        ),
        pytest.param(
            VirtualIPSpec(
                address="192.0.2.1",
                group="g",
                claims=(Claim(namespace="a", name="b", uid="u"),),
                announce=VirtualIPAnnounce(protocols=("BGP",)),
            ),
            id="it is announced by BGP only",
        ),
    ],
)
def test_what_is_not_announced_on_layer_2_is_fenced_all_the_same(other: VirtualIPSpec) -> None:
    value = VirtualIP(metadata=Meta(name="192.0.2.1"), spec=other)
    index = Index("n1")
    index.put_vip("192.0.2.1", value)
    assert index.vips == {}
    assert index.guarded == {ip_address("192.0.2.1")}


@pytest.mark.parametrize(
    ("announce", "slices", "expected"),
    [
        pytest.param(VirtualIPAnnounce(), [], Reason.NO_ENDPOINTS, id="no endpoint: nobody announces"),
        pytest.param(VirtualIPAnnounce(), [piece("web", "n2")], None, id="Cluster: an endpoint anywhere will do"),
        pytest.param(
            VirtualIPAnnounce(), [piece("web", "n1", version=6)], Reason.NO_ENDPOINTS, id="of the other family only"
        ),
        pytest.param(VirtualIPAnnounce(), [piece("other", "n1")], Reason.NO_ENDPOINTS, id="of another Service only"),
        pytest.param(VirtualIPAnnounce(without_endpoints="Announce"), [], None, id="none, and that is wanted"),
        pytest.param(LOCAL, [piece("web", "n2")], Reason.NO_LOCAL_ENDPOINT, id="Local: none here"),
        pytest.param(LOCAL, [piece("web", "n1", "n2")], None, id="Local: one here"),
        pytest.param(LOCAL, [], Reason.NO_ENDPOINTS, id="Local: none at all"),
    ],
)
def test_may_claim(announce: VirtualIPAnnounce, slices: list[EndpointSlice], expected: Reason | None) -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web", announce=announce))
    for number, one in enumerate(slices):
        index.put_slice(f"shop/{number}", one)
    assert index.may_claim(index.vips["192.0.2.1"]) is expected


@pytest.mark.parametrize(
    ("announce", "expected"),
    [
        pytest.param(VirtualIPAnnounce(), {"n1", "n3"}, id="every node but excluded ones"),
        pytest.param(VirtualIPAnnounce(include_excluded_nodes=True), {"n1", "n2", "n3"}, id="excluded ones as well"),
        pytest.param(VirtualIPAnnounce(node_selector=SSD), {"n3"}, id="those the pool selects"),
        pytest.param(LOCAL, {"n1"}, id="Local: with an endpoint, and neither excluded nor leaving"),
        pytest.param(
            VirtualIPAnnounce(traffic_policy="Local", without_endpoints="Announce"),
            {"n1", "n3"},
            id="Local that needs no endpoint",
        ),
    ],
)
def test_candidates(announce: VirtualIPAnnounce, expected: set[str]) -> None:
    index = Index("n1")
    index.put_node("n1", node("n1"))
    index.put_node("n2", Node(metadata=Meta(name="n2", labels={EXCLUDE_LABEL: ""})))
    index.put_node("n3", node("n3", disk="ssd", cordoned=True))
    index.put_node("n4", node("n4", GOING, disk="ssd"))
    index.put_slice("shop/x", piece("web", "n1", "n2", "n4"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "s-1", "web", announce=announce))
    assert index.candidates(UPLINK) == {"s-1": expected}


def test_a_vip_for_other_interfaces_makes_no_group_here() -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "b-1-7", "web", announce=VirtualIPAnnounce(interfaces=("eth9",))))
    assert index.candidates(UPLINK) == {}


def test_all_bundles_of_a_profile_come_with_the_first_vip_and_stay_the_same_with_the_next() -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "b-1-7", "web"))
    first = index.candidates(UPLINK)
    assert sorted(first) == sorted(bundle("b-1-7"))
    assert len(first) == BUNDLES
    index.put_vip("192.0.2.2", vip("192.0.2.2", "b-1-9", "other"))
    assert index.candidates(UPLINK) is first, "what is the same object needs no comparison"


def test_a_slice_that_changes_its_service_leaves_the_old_one() -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web"))
    index.put_slice("shop/x", piece("web", "n1"))
    index.put_slice("shop/x", piece("other", "n1"))
    assert index.may_claim(index.vips["192.0.2.1"]) is Reason.NO_ENDPOINTS


def test_expressions_of_a_selector_count() -> None:
    slow = Selector(match_expressions=(Requirement(key="disk", operator="NotIn", values=("ssd",)),))
    index = Index("n1")
    index.put_node("n1", node("n1", disk="ssd"))
    index.put_node("n2", node("n2"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web", announce=VirtualIPAnnounce(node_selector=slow)))
    assert index.candidates(UPLINK) == {"g": {"n2"}}


def test_candidates_follow_a_local_vip_that_comes_to_need_no_endpoint() -> None:
    index = Index("n1")
    index.put_node("n1", node("n1"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "s-1", "web", announce=LOCAL))
    assert index.candidates(UPLINK) == {"s-1": set()}
    anyway = VirtualIPAnnounce(traffic_policy="Local", without_endpoints="Announce")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "s-1", "web", announce=anyway))
    assert index.candidates(UPLINK) == {"s-1": {"n1"}}


# -- nodes that leave, and nodes that come last


def test_a_cordoned_node_stays_a_candidate_and_comes_last() -> None:
    index = Index("n1")
    index.put_node("n1", node("n1", cordoned=True))
    index.put_node("n2", node("n2"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web"))
    assert index.candidates(UPLINK) == {"g": {"n1", "n2"}}
    assert index.last == {"n1"}
    assert index.own_fitness.eligible
    assert index.drain_reason() is None
    index.put_node("n1", node("n1"))
    assert index.last == set()


def test_maintenance_of_this_node_takes_it_out_and_puts_it_back() -> None:
    index = Index("n1")
    index.put_own(NodeAgent(metadata=Meta(name="n1"), spec=NodeAgentSpec(maintenance="Drain")))
    index.put_node("n1", node("n1"))
    index.put_node("n2", node("n2"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web"))
    assert index.candidates(UPLINK) == {"g": {"n2"}}
    assert index.drain_reason() == (Reason.DRAINING, "spec.maintenance is Drain")
    assert not index.own_fitness.eligible
    index.put_own(None)
    assert index.candidates(UPLINK) == {"g": {"n1", "n2"}}
    assert index.own_fitness == Fitness()


def test_a_node_without_an_object_is_draining() -> None:
    assert Index("n1").drain_reason() == (Reason.DRAINING, "its Node object is gone")


# -- Services of one kube-vip.io/leaseName


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(VirtualIPAnnounce(), VirtualIPAnnounce(), {"n1", "n2", "n3"}, id="alike: every node"),
        pytest.param(VirtualIPAnnounce(), VirtualIPAnnounce(node_selector=SSD), {"n3"}, id="what both pools select"),
        pytest.param(LOCAL, VirtualIPAnnounce(), {"n1", "n2"}, id="one is Local: where it has an endpoint"),
        pytest.param(LOCAL, LOCAL, {"n2"}, id="both are Local: where both have one"),
        pytest.param(
            VirtualIPAnnounce(traffic_policy="Local", node_selector=SSD),
            LOCAL,
            {"n3"},
            id="nowhere have both one: where one of them has",
        ),
    ],
)
def test_services_of_one_lease_share_their_nodes(
    first: VirtualIPAnnounce, second: VirtualIPAnnounce, expected: set[str]
) -> None:
    index = Index("n1")
    for name in ("n1", "n2", "n3"):
        index.put_node(name, node(name, disk="ssd" if name == "n3" else "slow"))
    index.put_slice("shop/web", piece("web", "n1", "n2"))
    index.put_slice("shop/api", piece("api", "n2", "n3"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "l-1", "web", announce=first))
    assert index.candidates(UPLINK).keys() == {"l-1"}
    index.put_vip("192.0.2.2", vip("192.0.2.2", "l-1", "api", announce=second))
    assert index.candidates(UPLINK) == {"l-1": expected}


# -- what kube-proxy on this node says


def local(announce: VirtualIPAnnounce = LOCAL) -> Index:
    index = Index("n1")
    addresses = tuple(NodeAddress(type="InternalIP", address=text) for text in ("10.0.0.1", "fd00::1", "host"))
    index.put_node("n1", Node(metadata=Meta(name="n1"), status=NodeStatus(addresses=addresses)))
    index.put_node("n2", node("n2"))
    index.put_slice("shop/x", piece("web", "n1", "n2"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "s-1", "web", announce=announce))
    return index


def test_its_no_takes_this_node_out_and_its_yes_brings_it_back() -> None:
    index = local()
    for answer, nodes, why in (
        (True, {"n1", "n2"}, None),
        (False, {"n2"}, Reason.NO_LOCAL_ENDPOINT),
        (None, {"n1", "n2"}, None),
    ):
        index.touched.clear()
        index.put_health(WEB, 4, answer)
        assert index.candidates(UPLINK) == {"s-1": nodes}
        assert index.may_claim(index.vips["192.0.2.1"]) is why
        assert index.touched == {"192.0.2.1"}


HERE = (ip_address("127.0.0.1"), ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param(local(), (Check(WEB, 4, 30_000, HERE),), id="a Local Service with an endpoint here"),
        pytest.param(local(VirtualIPAnnounce()), (), id="policy Cluster"),
        pytest.param(local(VirtualIPAnnounce(traffic_policy="Local")), (), id="a Service without such a port"),
        pytest.param(
            local(VirtualIPAnnounce(traffic_policy="Local", health_check_node_port=1, interfaces=("eth9",))),
            (),
            id="its VIP is for another interface",
        ),
        pytest.param(
            local(VirtualIPAnnounce(traffic_policy="Local", health_check_node_port=1, node_selector=SSD)),
            (),
            id="its pool does not select this node",
        ),
    ],
)
def test_kube_proxy_is_asked_about_what_this_node_could_hold(index: Index, expected: tuple[Check, ...]) -> None:
    assert index.checks(UPLINK) == expected


def test_kube_proxy_is_not_asked_without_an_endpoint_here_nor_while_the_node_leaves() -> None:
    index = local()
    index.put_slice("shop/x", piece("web", "n2"))
    assert index.checks(UPLINK) == ()
    index.put_slice("shop/x", piece("web", "n1"))
    assert len(index.checks(UPLINK)) == 1
    index.put_node("n1", node("n1", GOING))
    assert index.checks(UPLINK) == ()


def test_each_family_is_asked_at_its_own_addresses() -> None:
    index = local()
    name = vip_name(ip_address("2001:db8::1"))
    index.put_vip(name, vip("2001:db8::1", "s-1", "web", announce=LOCAL))
    index.put_slice("shop/y", piece("web", "n1", version=6))
    assert [(check.version, [str(a) for a in check.addresses]) for check in index.checks(UPLINK)] == [
        (4, ["127.0.0.1", "10.0.0.1"]),
        (6, ["::1", "fd00::1"]),
    ]


# -- why nobody can


@pytest.mark.parametrize(
    ("announce", "own", "expected"),
    [
        pytest.param(VirtualIPAnnounce(), node("n1", disk="ssd"), None, id="somebody can"),
        pytest.param(
            VirtualIPAnnounce(interfaces=("eth8", "eth9")),
            node("n1"),
            (Reason.NO_SUCH_INTERFACE, "it is for eth8, eth9, this node is on data"),
            id="it is for another interface",
        ),
        pytest.param(
            VirtualIPAnnounce(node_selector=SSD),
            node("n1"),
            (Reason.NOT_SELECTED, "its pool does not select this node"),
            id="not selected",
        ),
        pytest.param(
            VirtualIPAnnounce(),
            Node(metadata=Meta(name="n1", labels={EXCLUDE_LABEL: ""})),
            (Reason.EXCLUDED, f"label {EXCLUDE_LABEL}"),
            id="excluded",
        ),
        pytest.param(VirtualIPAnnounce(), node("n1", GOING), (Reason.DRAINING, f"taint {GOING}"), id="it drains"),
        pytest.param(LOCAL, node("n1"), (Reason.NO_ENDPOINTS, "no ready endpoint"), id="Local, without endpoints"),
    ],
)
def test_why_this_node_cannot_where_no_node_can(
    announce: VirtualIPAnnounce, own: Node, expected: tuple[Reason, str] | None
) -> None:
    index = Index("n1")
    index.put_node("n1", own)
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web", announce=announce))
    assert index.hopeless(index.vips["192.0.2.1"], UPLINK) == expected


def test_why_is_asked_again_when_the_last_candidate_goes() -> None:
    index = Index("n1")
    index.put_node("n1", node("n1"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web"))
    index.candidates(UPLINK)
    for change in (node("n1", GOING), node("n1")):
        index.touched.clear()
        index.put_node("n1", change)
        index.candidates(UPLINK)
        assert index.touched == {"192.0.2.1"}


# -- a bug has the size of one group


class Broken:
    """What no selection should be."""

    def why_not(self, _labels: Mapping[str, str]) -> None:
        raise RuntimeError("a bug")


def test_a_bug_in_one_group_leaves_the_others_and_what_was_known_of_it() -> None:
    index = Index("n1")
    index.put_node("n1", node("n1"))
    for number in (1, 2, 3):
        index.put_vip(f"192.0.2.{number}", vip(f"192.0.2.{number}", f"g{number}", "web"))
    before = index.candidates(UPLINK)
    index.vips["192.0.2.2"] = replace(index.vips["192.0.2.2"], selection=cast("Any", Broken()))
    index.put_vip("192.0.2.3", None)
    index.put_node("n3", node("n3"))
    assert index.candidates(UPLINK) == {"g1": {"n1", "n3"}, "g2": before["g2"]}
    assert {group: str(bug) for group, bug in index.broken.items()} == {"g2": "a bug"}
    index.put_vip("192.0.2.2", vip("192.0.2.2", "g2", "api"))
    index.put_vip("192.0.2.4", vip("192.0.2.4", "g2", "web", announce=VirtualIPAnnounce(node_selector=SSD)))
    assert index.candidates(UPLINK) == {"g1": {"n1", "n3"}, "g2": set()}
    assert index.broken == {}
