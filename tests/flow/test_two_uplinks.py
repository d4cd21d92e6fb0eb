"""Two uplinks of one node: each VIP is claimed on the one that it belongs on, and is nobody's exception elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from typing import cast

import pytest

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.fake import FakeAddresses
from nodeagent.addresses.plan import Link, Settings
from nodeagent.claims import Claims, Way
from nodeagent.fence import Fence
from nodeagent.gate.apply import Gate, Gates
from nodeagent.gate.fake import FakeGate, FakeGates
from nodeagent.neighbours.apply import Announcer
from nodeagent.neighbours.fake import FakeWire
from nodeagent.neighbours.plan import Settings as Announcing
from nodeagent.services.plan import Index
from roost.frames import Mac
from roost.kube import wire
from roost.process import RealClock
from roost.words import Address, Reason, vip_name

GROUP = "s-0123456789abcdef"
VIPS = {"first": "10.60.0.200", "second": "10.61.0.200", "further": "10.62.0.200", "routed": "192.0.2.1"}


def link(name: str, index: int, *prefixes: str) -> Link:
    own = tuple(ip_interface(prefix) for prefix in prefixes)
    return Link(name, index, Mac(bytes([2, 0, 0, 0, 0, index])), 1500, "", up=True, prefixes=own)


DATA = link("data", 2, "10.60.0.11/24")
BACK = link("back", 3, "10.61.0.11/24", "10.62.0.11/24")
ELSE = link("else", 4, "10.63.0.11/24")
UPLINKS = ("data", "back")


@dataclass
class Node:
    gates: FakeGates
    claims: dict[str, Claims]
    links: tuple[Link, ...] = (DATA, BACK, ELSE)

    def held(self, device: str) -> set[str]:
        return {str(vip) for vip in self.gates.held.get(device, frozenset())}

    def links_are(self, *links: Link, uplinks: Sequence[str] = UPLINKS) -> None:
        for claims in self.claims.values():
            claims.link_is(links, uplinks)
            claims.refresh()


def known(*vips: str) -> Index:
    index = Index("n1")
    index.put_node("n1", wire.Node(metadata=wire.Meta(name="n1")))
    for vip in vips:
        claim = wire.Claim(namespace="default", name="web", uid="u1")
        spec = wire.VirtualIPSpec(address=vip, group=GROUP, claims=(claim,))
        name = vip_name(ip_address(vip))
        index.put_vip(name, wire.VirtualIP(metadata=wire.Meta(name=name), spec=spec))
    endpoint = wire.Endpoint(addresses=("10.244.1.2",), node_name="n1")
    meta = wire.Meta(name="web", namespace="default", labels={"kubernetes.io/service-name": "web"})
    index.put_slice("default/web", wire.EndpointSlice(metadata=meta, address_type="IPv4", endpoints=(endpoint,)))
    return index


async def nobody(_: Sequence[Address]) -> Mapping[Address, Mac]:
    return {}


@pytest.fixture
def node() -> Node:
    return having(*VIPS.values())


def having(*vips: str) -> Node:
    """A node that holds the group of *vips* on both segments."""
    clock = RealClock()
    gates = FakeGates(UPLINKS, clock.now)
    gates.install()
    made = dict[str, Claims]()
    for uplink in (DATA, BACK):
        assert uplink.mac is not None
        index = known(*vips)
        fence = Fence(cast(Gates, gates), index, clock)
        gate = cast(Gate, FakeGate(uplink.name, clock.now, gates))
        addresses = cast(Addresses, FakeAddresses(Settings(), [uplink], clock.now))
        announcer = Announcer(FakeWire(), uplink.mac, clock, Announcing())
        made[uplink.name] = Claims(index, uplink, Way(fence, gate, addresses, announcer, nobody), clock)
    node = Node(gates, made)
    node.links_are(*node.links)
    for claims in made.values():
        claims.hold(frozenset({GROUP}))
    return node


def test_each_claims_what_is_in_its_subnets_and_the_first_what_is_routed_here(node: Node) -> None:
    assert node.held("data") == {VIPS["first"], VIPS["routed"]}
    assert node.held("back") == {VIPS["second"], VIPS["further"]}


def test_a_vip_of_the_other_is_neither_an_exception_nor_counted_nor_asked_for(node: Node) -> None:
    for device, claims in node.claims.items():
        assert claims.exceptions == {}
        assert {vip for vip, _, _ in claims.rows()} == node.held(device)
        assert {str(vip) for vip in claims.vips_of(GROUP)} == node.held(device)


def test_a_vip_of_an_interface_that_is_no_uplink_is_an_exception() -> None:
    lost = "10.63.0.200"
    node = having(lost)
    assert node.held("data") == node.held("back") == set()
    for claims in node.claims.values():
        assert {vip: why for vip, (why, _) in claims.exceptions.items()} == {lost: Reason.NOT_IN_SUBNET}


def test_a_subnet_that_comes_takes_its_vips_along(node: Node) -> None:
    node.links_are(DATA, replace(BACK, prefixes=(*BACK.prefixes, ip_interface("192.0.2.11/24"))), ELSE)
    assert node.held("data") == {VIPS["first"]}
    assert node.held("back") == {VIPS["second"], VIPS["further"], VIPS["routed"]}


def test_of_uplinks_the_first_in_order_has_what_is_routed_here_whichever_was_first_in_time(node: Node) -> None:
    node.links_are(*node.links, uplinks=("back", "data"))
    assert VIPS["routed"] in node.held("back")
    assert VIPS["routed"] not in node.held("data")
