"""Which VIPs a node announces on layer 3."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from nodeagent.services.plan import Index
from nodeagent.services.routed import choose
from nodeagent.services.vips import concerns_layer2, concerns_layer3
from roost.kube.wire import Meta, Node, VirtualIPAnnounce
from roost.words import EXCLUDE_LABEL, Reason
from tests.nodeagent.services.objects import GOING, SSD, node, piece, vip

VIP = "192.0.2.1"
BGP = VirtualIPAnnounce(protocols=("BGP",))
LOCAL = VirtualIPAnnounce(protocols=("BGP",), traffic_policy="Local")
HOLDER = VirtualIPAnnounce(protocols=("RoutingTable",), announcers="HolderOnly")


def kept_out(name: str) -> Node:
    return Node(metadata=Meta(name=name, labels={EXCLUDE_LABEL: ""}))


@dataclass(frozen=True)
class Case:
    """A cluster of n1, who decides, and n2."""

    announce: VirtualIPAnnounce = BGP
    own: Node = field(default_factory=lambda: node("n1"))
    other: Node | None = field(default_factory=lambda: node("n2"))
    serving: tuple[str, ...] = ("n1", "n2")
    holds: bool = False
    leaving: bool = False
    announced: bool = True
    alone: bool = False
    exceptions: Mapping[str, Reason] = field(default_factory=dict)


CASES = [
    pytest.param(Case(), id="every node announces it"),
    pytest.param(Case(serving=("n2",)), id="Cluster: an endpoint anywhere will do"),
    pytest.param(Case(serving=(), announced=False, exceptions={VIP: Reason.NO_ENDPOINTS}), id="no endpoint at all"),
    pytest.param(Case(announce=LOCAL), id="Local: an endpoint here"),
    pytest.param(
        Case(announce=LOCAL, serving=("n2",), announced=False, exceptions={VIP: Reason.NO_LOCAL_ENDPOINT}),
        id="Local: none here",
    ),
    pytest.param(Case(own=kept_out("n1"), announced=False), id="a node that is kept out"),
    pytest.param(
        Case(announce=VirtualIPAnnounce(protocols=("BGP",), node_selector=SSD), announced=False),
        id="a node that its pool does not select",
    ),
    pytest.param(Case(announce=HOLDER, announced=False), id="only the holder: another is"),
    pytest.param(Case(announce=HOLDER, holds=True), id="only the holder: this node is"),
    pytest.param(Case(leaving=True), id="a node that drains goes on until its routers were told"),
    pytest.param(Case(leaving=True, other=None, alone=True), id="the last node stays, drained or not"),
    pytest.param(Case(leaving=True, other=node("n2", GOING), alone=True), id="the other drains as well"),
    pytest.param(
        Case(leaving=True, announce=LOCAL, serving=("n1",), alone=True), id="Local: the last with an endpoint"
    ),
    pytest.param(Case(leaving=True, other=kept_out("n2"), alone=True), id="the other is kept out anyway"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_a_node_announces(case: Case) -> None:
    index = Index("n1", concerns_layer3)
    index.put_node("n1", case.own)
    index.put_node("n2", case.other)
    index.put_vip(VIP, vip(VIP, "g", "web", announce=case.announce))
    if case.serving:
        index.put_slice("shop/web-x", piece("web", *case.serving))
    choice = choose(index, lambda _: case.holds, leaving=case.leaving)
    assert [str(one.address) for one in choice.vips] == [VIP] * case.announced
    assert bool(choice.alone) is case.alone
    assert {vip: reason for vip, (reason, _) in choice.exceptions.items()} == case.exceptions


@pytest.mark.parametrize(
    ("announce", "layer2", "layer3"),
    [
        pytest.param(VirtualIPAnnounce(), True, False, id="layer 2"),
        pytest.param(BGP, False, True, id="BGP"),
        pytest.param(VirtualIPAnnounce(protocols=("Layer2", "BGP")), True, True, id="both"),
        pytest.param(HOLDER, True, True, id="the holder is found by the tables of layer 2"),
        pytest.param(VirtualIPAnnounce(protocols=("WireGuard",), announcers="HolderOnly"), False, False, id="neither"),
    ],
)
def test_where_a_vip_has_a_place(announce: VirtualIPAnnounce, layer2: bool, layer3: bool) -> None:
    assert (concerns_layer2(announce), concerns_layer3(announce)) == (layer2, layer3)
