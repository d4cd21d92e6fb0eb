"""One node's announcements to routers, from the objects to what a router hears, over a daemon and a table in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from nodeagent.bgp.client import Settings as Gobgp
from nodeagent.bgp.fake import FakeGobgpd
from nodeagent.bgp.values import Prefix
from nodeagent.layer3 import Ground, Layer3
from nodeagent.routes.fake import FakeTable
from nodeagent.routes.plan import Settings as Routes
from nodeagent.settings import Node, Settings
from roost.kube import wire
from roost.kube.wire import Meta, VirtualIPAnnounce
from roost.kube.wire_bgp import BGPPEERS, BGPPeer, BGPPeerSpec, LocalEnd, RemoteEnd, SecretKey
from roost.process import RealClock
from roost.words import Reason
from tests.fakes.api import FakeApi
from tests.nodeagent.services.objects import GOING, node, piece, vip

VIP, TOR = "192.0.2.1", "10.60.0.150"
PATH: Prefix = ip_network(VIP)
BGP = VirtualIPAnnounce(protocols=("BGP",))
TABLE = VirtualIPAnnounce(protocols=("RoutingTable",))
HOLDER = VirtualIPAnnounce(protocols=("BGP",), announcers="HolderOnly")


def peer(name: str = "tor", **more: Any) -> BGPPeer:
    spec = BGPPeerSpec(local=LocalEnd(asn=65000), remote=RemoteEnd(address=TOR, asn=64512), **more)
    return BGPPeer(metadata=Meta(name=name), spec=spec)


@dataclass
class World:
    """One node, n1, beside n2."""

    api: FakeApi = field(default_factory=FakeApi)
    daemon: FakeGobgpd = field(default_factory=FakeGobgpd)
    table: FakeTable = field(default_factory=lambda: FakeTable(Routes(), ["data"]))
    holds: bool = False
    decided: bool = True
    layer3: Layer3 = field(init=False)

    def __post_init__(self) -> None:
        settings = Settings(Node("n1", interface="data"), gobgp=Gobgp("127.0.0.1:50051"))
        ground = Ground(lambda _vip: self.holds, lambda: self.decided, lambda: True, lambda: None)
        self.layer3 = Layer3(
            self.api.kube(), RealClock(), settings, ground, connect=self.daemon.connect, table=self.table
        )
        for name in ("n1", "n2"):
            self.node(node(name))
        self.layer3.index.put_slice("shop/web-x", piece("web", "n1", "n2"))

    def node(self, value: wire.Node) -> None:
        self.layer3.index.put_node(value.metadata.name, value)
        self.layer3.wake()

    def vip(self, announce: VirtualIPAnnounce = BGP, address: str = VIP) -> None:
        self.layer3.index.put_vip(address, vip(address, "g", "web", announce=announce))
        self.layer3.wake()

    def heard(self) -> set[Prefix]:
        return set(self.daemon.heard(TOR))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Layer3]:
        tasks = [asyncio.ensure_future(work()) for work in self.layer3.works().values()]
        self.layer3.listed = True
        self.layer3.wake()
        try:
            yield self.layer3
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert [end for end in ended if not isinstance(end, asyncio.CancelledError)] == []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_a_vip_reaches_the_router_and_is_reported() -> None:
    world = World()
    world.api.put(BGPPEERS, peer())
    world.vip()
    async with world.running() as layer3:
        await until(lambda: world.heard() == {PATH})
        await until(lambda: layer3.seen().announced == 1)
        seen = layer3.seen()
        assert (seen.desired, dict(seen.exceptions)) == (1, {})
        assert seen.bgp is not None
        assert seen.bgp.summary == "1/1"
        (row,) = seen.bgp.sessions
        assert (row.peer, row.remote, row.state, row.asn) == ("tor", TOR, "Established", 64512)
        layer3.index.put_vip(VIP, None)
        layer3.wake()
        await until(lambda: not world.heard())


async def test_an_agent_that_comes_back_touches_nothing_and_withdraws_nothing_before_it_knows_all() -> None:
    world = World()
    world.api.put(BGPPEERS, peer())
    world.vip()
    async with world.running():
        await until(lambda: world.heard() == {PATH})
    calls = list(world.daemon.calls)
    again = World(api=world.api, daemon=world.daemon)
    again.layer3.index.put_vip("192.0.2.2", vip("192.0.2.2", "g", "web", announce=BGP))
    async with again.running():
        again.layer3.listed = False  # not everything is there yet
        again.vip()
        again.layer3.listed = True
        again.layer3.wake()
        await until(lambda: ip_network("192.0.2.2") in again.heard())
    assert PATH in again.heard()
    assert not [call for call in world.daemon.calls[len(calls) :] if "peer" in call], "no session was touched"


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        pytest.param(World(), Reason.NO_SESSION, id="there is no router to tell"),
        pytest.param(World(daemon=FakeGobgpd()), Reason.GOBGP_DOWN, id="gobgpd is away"),
    ],
)
async def test_why_a_vip_is_not_announced(world: World, reason: Reason) -> None:
    if reason is Reason.GOBGP_DOWN:
        world.api.put(BGPPEERS, peer())
        world.daemon.runs = False
    world.vip()
    async with world.running() as layer3:
        await until(lambda: layer3.seen().exceptions.get(VIP, ("", ""))[0] is reason)
        assert (layer3.seen().desired, layer3.seen().announced) == (1, 0)


async def test_a_node_that_drains_asks_to_be_avoided_and_then_withdraws() -> None:
    world = World()
    world.api.put(BGPPEERS, peer(drain_seconds=1))
    world.vip()
    async with world.running():
        await until(lambda: world.heard() == {PATH})
        world.node(node("n1", GOING))
        await until(lambda: "65535:0" in world.daemon.heard(TOR)[PATH].communities)
        await until(lambda: not world.heard())
        world.node(node("n1"))
        await until(lambda: world.heard() == {PATH})
        assert world.daemon.heard(TOR)[PATH].communities == ()


async def test_the_last_node_goes_on_though_it_drains() -> None:
    world = World()
    world.api.put(BGPPEERS, peer(drain_seconds=0))
    world.vip()
    world.vip(TABLE, "192.0.2.9")
    async with world.running():
        await until(lambda: world.heard() == {PATH} and world.table.routes)
        world.layer3.index.put_node("n2", None)
        world.node(node("n1", GOING))
        world.vip(address="192.0.2.3")
        await until(lambda: ip_network("192.0.2.3") in world.heard())
        assert world.daemon.heard(TOR)[PATH].communities == ()
        assert world.table.routes


async def test_of_nodes_that_all_drain_by_their_switch_nobody_goes() -> None:
    world = World()
    world.api.put(BGPPEERS, peer(drain_seconds=0))
    other = wire.NodeAgent(metadata=Meta(name="n2"), spec=wire.NodeAgentSpec(maintenance="Drain"))
    world.api.put(wire.NODEAGENTS, other)
    world.vip()
    async with world.running() as layer3:
        await until(lambda: world.heard() == {PATH})
        layer3.index.put_own(wire.NodeAgent(metadata=Meta(name="n1"), spec=wire.NodeAgentSpec(maintenance="Drain")))
        layer3.wake()
        world.vip(address="192.0.2.3")
        await until(lambda: ip_network("192.0.2.3") in world.heard())
        assert PATH in world.heard()
        world.api.put(wire.NODEAGENTS, msgspec.structs.replace(other, spec=wire.NodeAgentSpec()))
        await until(lambda: not world.heard())


@pytest.mark.parametrize("others", [True, False], ids=["one of two", "the last"])
async def test_who_leaves_for_good_leaves_nothing(others: bool) -> None:
    world = World()
    if not others:
        world.layer3.index.put_node("n2", None)
        world.node(node("n1", GOING))
    world.api.put(BGPPEERS, peer(drain_seconds=0))
    world.vip()
    world.vip(TABLE, "192.0.2.9")
    async with world.running() as layer3:
        await until(lambda: world.heard() == {PATH} and world.table.routes)
        layer3.leave()
        async with asyncio.timeout(4):
            await layer3.left()
        assert not world.heard()
        assert not world.table.routes


async def test_only_the_holder_announces_where_that_is_wanted() -> None:
    world = World()
    world.api.put(BGPPEERS, peer())
    world.vip(HOLDER)
    world.vip(address="192.0.2.2")
    async with world.running() as layer3:
        await until(lambda: world.heard() == {ip_network("192.0.2.2")})
        world.holds = True
        layer3.wake()
        await until(lambda: PATH in world.heard())
        world.holds = False
        layer3.wake()
        await until(lambda: PATH not in world.heard())


async def test_what_a_former_life_held_stays_until_it_is_known_who_holds_now() -> None:
    world = World(holds=True)
    world.api.put(BGPPEERS, peer())
    world.vip(HOLDER)
    async with world.running():
        await until(lambda: PATH in world.heard())
    again = World(api=world.api, daemon=world.daemon, decided=False)
    again.vip(HOLDER)
    again.vip(address="192.0.2.2")
    async with again.running() as layer3:
        await until(lambda: ip_network("192.0.2.2") in again.heard())
        assert PATH in again.heard(), "no seat has said yet that this node does not hold it"
        again.decided = True
        layer3.wake()
        await until(lambda: PATH not in again.heard())


async def test_a_session_waits_for_its_password_alone() -> None:
    world = World()
    world.api.put(BGPPEERS, peer("secret", password_secret=SecretKey(name="tor")))
    world.vip()
    async with world.running() as layer3:
        await until(lambda: layer3.seen().bgp is not None)
        bgp = layer3.seen().bgp
        assert bgp is not None
        assert [(one.peer, one.reason) for one in bgp.problems] == [("secret", Reason.SECRET_MISSING)]
        meta = Meta(name="tor", namespace="roost-system")
        world.api.put(wire.SECRETS, wire.Secret(metadata=meta, data={"password": "czNjcmV0"}))
        await until(lambda: world.heard() == {PATH})
        assert world.daemon.routers[TOR].session.password == "s3cret"
        assert "s3cret" not in repr(layer3.seen())


async def test_routes_follow_the_vips() -> None:
    world = World()
    world.vip(TABLE)
    async with world.running() as layer3:
        await until(lambda: {route.prefix for route in world.table.routes} == {PATH})
        await until(lambda: layer3.seen().announced == 1)
        layer3.index.put_slice("shop/web-x", None)
        layer3.wake()
        await until(lambda: not world.table.routes)
        assert layer3.seen().exceptions[VIP][0] is Reason.NO_ENDPOINTS
