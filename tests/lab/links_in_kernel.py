"""VIPs on devices that stand on others: what is read of them, that VIPs work there, and that a dead cable is seen.

Run in network namespaces of the machine's own kernel (tests/lab), and in the kernel box (tests/kernel), which has VLANs
and bonds.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

import pytest

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.plan import Add, Link, Placed, Settings, containing, named
from nodeagent.addresses.uplink import Survey, Uplink, speaking
from nodeagent.gate.apply import Gates
from nodeagent.neighbours.apply import PacketSocket
from nodeagent.neighbours.listening import Listener, PacketEar
from nodeagent.neighbours.plan import Form, Turn, frame
from nodeagent.neighbours.probing import Prober
from roost.frames import Mac, arp, ndp
from roost.process import RealClock
from tests.lab.pair import (
    CLIENT4,
    CLIENT6,
    CLIENT_MAC,
    NODE4,
    NODE6,
    NODE_MAC,
    OTHER4,
    OTHER6,
    PATIENCE,
    QUIET,
    UPLINK,
    VIP4,
    VIP6,
    Address,
    Pair,
    ip,
    nodad,
    pair,
    until,
)

SPARE = "spare"  # a second cable
TOP_MAC = Mac.parse("02:00:00:00:00:09")


@dataclass
class Tower:
    """What was built on the node: its *top* has the addresses. *cables* are the client's ends of its cables."""

    segment: Pair
    top: str
    kinds: tuple[str, ...]  # of the top and of what it stands on
    cables: tuple[str, ...] = (UPLINK,)
    client: str = UPLINK  # the client's device with its addresses

    def carrier(self, cable: str, state: str) -> None:
        ip("-n", self.segment.client, "link", "set", cable, state)

    def mac(self) -> Mac:
        (link,) = json.loads(ip("-j", "link", "show", "dev", self.top))
        return Mac.parse(link["address"])


Build = Callable[[Pair], Tower]


def move(netns: str, device: str, *addresses: Address) -> None:
    """The addresses of UPLINK go to *device*."""
    ip("-n", netns, "addr", "flush", "dev", UPLINK, "scope", "global")
    ip("-n", netns, "link", "set", device, "up")
    for address, length in zip(addresses, (24, 64), strict=True):
        ip("-n", netns, "addr", "add", f"{address}/{length}", "dev", device, *nodad(address))


def plain(segment: Pair) -> Tower:
    return Tower(segment, UPLINK, ("veth",))


def bridge(segment: Pair) -> Tower:
    ip("link", "add", "br0", "address", str(TOP_MAC), "type", "bridge")
    ip("link", "set", UPLINK, "master", "br0")
    move(segment.node, "br0", NODE4, NODE6)
    return Tower(segment, "br0", ("bridge",))


def macvlan(segment: Pair) -> Tower:
    ip("link", "add", "mac0", "link", UPLINK, "address", str(TOP_MAC), "type", "macvlan", "mode", "bridge")
    move(segment.node, "mac0", NODE4, NODE6)
    return Tower(segment, "mac0", ("macvlan", "veth"))


def macvlan_on_bridge(segment: Pair) -> Tower:
    bridge(segment)
    ip("addr", "flush", "dev", "br0", "scope", "global")
    ip("link", "add", "mac0", "link", "br0", "address", "02:00:00:00:00:0a", "type", "macvlan", "mode", "bridge")
    move(segment.node, "mac0", NODE4, NODE6)
    return Tower(segment, "mac0", ("macvlan", "bridge"))


def vlan(segment: Pair) -> Tower:
    for netns in (segment.node, segment.client):
        ip("-n", netns, "link", "add", "link", UPLINK, "name", "tag20", "type", "vlan", "id", "20")
    move(segment.node, "tag20", NODE4, NODE6)
    move(segment.client, "tag20", CLIENT4, CLIENT6)
    segment.replug("tag20")
    return Tower(segment, "tag20", ("vlan", "veth"), client="tag20")


def bond(segment: Pair) -> Tower:
    """Two cables, of which one is in use; at the other end a switch."""
    _two_cables(segment)
    move(segment.node, "bond0", NODE4, NODE6)
    move(segment.client, "switch", CLIENT4, CLIENT6)
    segment.replug("switch")
    return Tower(segment, "bond0", ("bond",), (UPLINK, SPARE), "switch")


def vlan_on_bond(segment: Pair) -> Tower:
    _two_cables(segment)
    for netns, below in ((segment.node, "bond0"), (segment.client, "switch")):
        ip("-n", netns, "link", "set", below, "up")
        ip("-n", netns, "link", "add", "link", below, "name", "tag20", "type", "vlan", "id", "20")
    move(segment.node, "tag20", NODE4, NODE6)
    move(segment.client, "tag20", CLIENT4, CLIENT6)
    segment.replug("tag20")
    return Tower(segment, "tag20", ("vlan", "bond"), (UPLINK, SPARE), "tag20")


def _two_cables(segment: Pair) -> None:
    ip("link", "add", SPARE, "type", "veth", "peer", "name", SPARE, "netns", segment.client)
    ip("link", "add", "bond0", "type", "bond", "mode", "active-backup", "miimon", "20")
    ip("-n", segment.client, "link", "add", "switch", "address", str(CLIENT_MAC), "type", "bridge")
    for cable in (UPLINK, SPARE):
        ip("link", "set", cable, "down")
        ip("link", "set", cable, "master", "bond0")
        ip("-n", segment.client, "link", "set", cable, "master", "switch", "up")


@pytest.fixture
def tower(request: pytest.FixtureRequest) -> Iterator[Tower]:
    """Modules that use this parametrize it with what their kernel can build."""
    with pair() as segment:
        yield request.param(segment)


@pytest.fixture
def wire(tower: Tower) -> Iterator[PacketSocket]:
    wire = PacketSocket(tower.top)
    yield wire
    wire.close()
    wire.close()


@pytest.fixture
async def addresses(tower: Tower) -> AsyncIterator[Addresses]:
    addresses = Addresses(Settings())
    yield addresses
    await addresses.close()


async def now(addresses: Addresses, name: str) -> Link:
    link = named(await addresses.links(), name)
    assert link is not None
    return link


class LinksContract:
    """Classes that inherit this are given the fixture `tower`."""

    async def test_the_top_is_the_uplink(self, tower: Tower, addresses: Addresses) -> None:
        await settled(addresses, tower.top, up=True)
        links = await addresses.links()
        top = named(links, tower.top)
        assert top is not None
        assert top.kind == tower.kinds[0]
        by_index = {link.index: link for link in links}
        assert ([by_index[top.lower].kind] if top.lower else []) == list(tower.kinds[1:])
        assert containing(links, VIP4) == containing(links, VIP6) == top
        choice = Survey(links, [], {}, "n1").choose("", [VIP4, VIP6])
        if top.kind == "macvlan":  # its gate cannot be told from that of what it stands on, which is named instead
            assert choice.uplinks == ()
            assert choice.why is not None
            assert f"mac0 is a macvlan on {by_index[top.lower].name}" in choice.why.message
        else:
            assert choice.uplinks == (Uplink(top, "10.1.0.0-24"),)
        assert tower.top in speaking(links)

    async def test_it_is_up_for_as_long_as_one_cable_is(self, tower: Tower, addresses: Addresses) -> None:
        await settled(addresses, tower.top, up=True)
        *others, last = tower.cables
        for cable in others:
            tower.carrier(cable, "down")
        assert (await now(addresses, tower.top)).up
        tower.carrier(last, "down")
        await settled(addresses, tower.top, up=False)
        tower.carrier(last, "up")
        await settled(addresses, tower.top, up=True)

    async def test_a_watcher_is_told_of_the_dead_cable(self, tower: Tower, addresses: Addresses) -> None:
        await settled(addresses, tower.top, up=True)
        told = asyncio.Queue[bool]()

        def changed(links: tuple[Link, ...]) -> None:
            if (link := named(links, tower.top)) is not None:
                told.put_nowait(link.up)

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(addresses.watch(changed))
            assert await told.get()
            for state in ("down", "up"):
                for cable in tower.cables:
                    tower.carrier(cable, state)
                while await told.get() is not (state == "up"):
                    pass
            watching.cancel()

    @pytest.mark.parametrize("vip", [pytest.param(VIP4, id="IPv4"), pytest.param(VIP6, id="IPv6")])
    async def test_a_vip_on_it_is_claimed_when_the_gate_is_open_and_not_before(
        self, tower: Tower, addresses: Addresses, wire: PacketSocket, vip: Address
    ) -> None:
        await settled(addresses, tower.top, up=True)
        segment, mac = tower.segment, tower.mac()
        announcement = [frame(Turn(vip, 0, 0, Form.FIRST), mac)]
        links = await addresses.links()
        with Gates(speaking(links)) as gates:
            gates.install()
            gates.guard({vip})
            await addresses.do([Add(Placed(vip, tower.top))])
            segment.forget()
            segment.ask(vip)
            wire.send(announcement)
            assert segment.hears(vip, QUIET) is None
            for device in passed(links, await now(addresses, tower.top)):
                gates.hold(device, {vip})
                gates.permits.create(device, 60_000)
            segment.ask(vip)
            until(lambda: (heard := segment.hears(vip)) is not None and heard.mac == mac, "the kernel answers")
            learn(tower, vip, "02:00:00:00:00:99")
            wire.send(announcement)
            until(lambda: believed(tower, vip) == str(mac), "the client learns where the VIP is")

    async def test_questions_and_answers_pass(self, tower: Tower, addresses: Addresses, wire: PacketSocket) -> None:
        await settled(addresses, tower.top, up=True)
        for address in (OTHER4, OTHER6):
            length = address.max_prefixlen
            ip("-n", tower.segment.client, "addr", "add", f"{address}/{length}", "dev", tower.client, *nodad(address))
        clock = RealClock()
        listener = Listener(PacketEar(tower.top), {tower.mac(), NODE_MAC}, clock)
        prober = Prober(wire, listener, tower.mac(), clock, rate=2_000)
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(listener.listen())
            await asyncio.sleep(0)
            assert listener.hears()
            assert await prober.probe([VIP4, VIP6, OTHER4, OTHER6]) == {OTHER4: CLIENT_MAC, OTHER6: CLIENT_MAC}
            prober.prefixes = (await now(addresses, tower.top)).prefixes
            assert await prober.answers([CLIENT4])
            assert await prober.answers([CLIENT6])
            assert not await prober.answers([VIP4, VIP6], times=1)
            for said, address in (
                (arp.announcement(VIP4, CLIENT_MAC), VIP4),
                (ndp.announcement(VIP6, CLIENT_MAC), VIP6),
            ):
                tower.segment.wire.send(said)
                async with asyncio.timeout(PATIENCE):
                    while address not in {s.address for s in listener.stations.recent(clock.now())}:  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
            work.cancel()

    async def test_the_group_that_an_ipv6_vip_is_asked_in_is_joined(self, tower: Tower, addresses: Addresses) -> None:
        await addresses.do([Add(Placed(VIP6, tower.top))])
        (link,) = json.loads(ip("-6", "-j", "maddr", "show", "dev", tower.top))
        groups = {IPv6Address(group["address"]) for group in link["maddr"] if group.get("family") == "inet6"}
        assert ndp.solicited_node(VIP6) in groups


def passed(links: Sequence[Link], top: Link) -> list[str]:
    """The devices whose gates a claim from *top* passes: what leaves a macvlan leaves the device below as it is."""
    below = [link.name for link in links if link.index == top.lower] if top.kind == "macvlan" else []
    return [top.name, *below]


async def settled(addresses: Addresses, name: str, *, up: bool, seconds: float = PATIENCE) -> None:
    """Wait until the link is so."""
    async with asyncio.timeout(seconds):
        while (await now(addresses, name)).up is not up:  # noqa: ASYNC110 - this asks the kernel
            await asyncio.sleep(0.005)


def learn(tower: Tower, vip: Address, mac: str) -> None:
    where = ["-n", tower.segment.client, "neigh", "replace", str(vip)]
    ip(*where, "lladdr", mac, "dev", tower.client, "nud", "reachable")


def believed(tower: Tower, vip: Address) -> str:
    """The MAC at which the client believes *vip* to be."""
    (entry,) = json.loads(ip("-n", tower.segment.client, "-j", "neigh", "show", str(vip), "dev", tower.client))
    return str(entry["lladdr"])
