"""Bridges and macvlans as uplinks."""

import pytest

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.plan import Add, Placed
from nodeagent.addresses.uplink import speaking
from nodeagent.gate.apply import Gate, Gates
from nodeagent.neighbours.apply import PacketSocket
from roost.frames import arp
from tests.lab.links_in_kernel import (
    Build,
    LinksContract,
    Tower,
    addresses,
    bridge,
    macvlan,
    macvlan_on_bridge,
    now,
    plain,
    settled,
    tower,
    wire,
)
from tests.lab.pair import NODE_MAC, QUIET, UPLINK, VIP4, ip

__all__ = ["addresses", "tower", "wire"]

BUILDS: tuple[Build, ...] = (plain, bridge, macvlan, macvlan_on_bridge)


@pytest.mark.parametrize("tower", BUILDS, indirect=True, ids=lambda build: build.__name__)
class TestLinks(LinksContract):
    pass


@pytest.mark.parametrize("tower", [bridge], indirect=True, ids=["bridge"])
async def test_a_bridge_without_its_cable_is_down_though_a_pod_hangs_on_it(tower: Tower, addresses: Addresses) -> None:
    """Here the cable out is itself a veth, so a macvlan on one stands for it."""
    ip("link", "set", UPLINK, "nomaster")
    ip("link", "add", "cable", "link", UPLINK, "type", "macvlan", "mode", "passthru")
    ip("link", "set", "cable", "master", "br0", "up")
    ip("link", "add", "pod", "type", "veth", "peer", "name", "far")
    ip("link", "set", "pod", "master", "br0", "up")
    ip("link", "set", "far", "up")
    await settled(addresses, "br0", up=True)
    tower.carrier(UPLINK, "down")
    await settled(addresses, "br0", up=False)
    assert (await now(addresses, "pod")).up


@pytest.mark.parametrize("tower", [macvlan], indirect=True, ids=["macvlan"])
async def test_what_a_macvlan_stands_on_is_fenced_too(tower: Tower, addresses: Addresses) -> None:
    """Linux answers for the VIP on both, with two MACs."""
    await addresses.do([Add(Placed(VIP4, tower.top))])
    links = await addresses.links()
    assert speaking(links) == (UPLINK, tower.top)
    with Gates([tower.top]) as gates, Gate(tower.top, gates) as gate:
        gate.install()
        gate.guard({VIP4})
        tower.segment.forget()
        tower.segment.ask(VIP4)
        answered = tower.segment.hears(VIP4)
        assert answered is not None
        assert answered.mac == NODE_MAC, "that of the device below"
        gates.fence(speaking(links))
        tower.segment.forget()
        tower.segment.ask(VIP4)
        assert tower.segment.hears(VIP4, QUIET) is None


@pytest.mark.parametrize("tower", [bridge], indirect=True, ids=["bridge"])
async def test_a_bridge_is_down_for_as_long_as_its_spanning_tree_lets_nothing_pass(
    tower: Tower, addresses: Addresses, wire: PacketSocket
) -> None:
    """So the first announcement after it came up is heard, and none before was wasted."""
    ip("link", "set", UPLINK, "nomaster")
    ip("link", "set", "br0", "type", "bridge", "stp_state", "1", "forward_delay", "200")  # hundredths of seconds
    ip("link", "set", UPLINK, "master", "br0")
    await settled(addresses, "br0", up=False)
    tower.segment.forget()
    wire.send([arp.announcement(VIP4, tower.mac())])
    assert tower.segment.hears(VIP4, QUIET) is None
    await settled(addresses, "br0", up=True, seconds=15)
    wire.send([arp.announcement(VIP4, tower.mac())])
    assert tower.segment.hears(VIP4) is not None
