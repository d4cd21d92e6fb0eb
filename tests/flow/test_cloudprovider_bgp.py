"""VIPs that many nodes announce, routers and what they are told: mirrored with few writes."""

from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from roost.kube.wire import (
    ADDRESSPOOLS,
    NODEAGENTS,
    NODES,
    SERVICES,
    AgentBGP,
    AgentSession,
    AgentVIPs,
    Meta,
    Node,
    NodeAgent,
    NodeAgentStatus,
    PoolAnnounce,
    Selector,
    VIPException,
)
from roost.kube.wire_bgp import (
    BGPADVERTISEMENTS,
    BGPPEERS,
    BGPAdvertisement,
    BGPAdvertisementSpec,
    BGPPeer,
    BGPPeerSpec,
    LocalEnd,
    RemoteEnd,
)
from tests.cloudprovider.world import World

GOLD = Selector(match_labels={"tier": "gold"})
ANNOUNCED = "roost.dev/Announced"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.pool("prod", "192.0.2.0/24", announce=PoolAnnounce(protocols=("BGP",)))
    await world.start()
    yield world
    await world.stop()


def says(world: World, node: str, state: str = "Established", *exceptions: VIPException) -> None:
    """A node with an agent, and what that says of its session with tor-a and of VIPs."""
    if node not in world.api.all(NODES):
        world.api.put(NODES, Node(metadata=Meta(name=node)))
    session = AgentSession(peer="tor-a", remote="10.0.0.1", state=state, last_error="" if state != "Idle" else "cut")
    status = NodeAgentStatus(bgp=AgentBGP(sessions=(session,)), vips=AgentVIPs(exceptions=exceptions))
    world.api.put(NODEAGENTS, NodeAgent(metadata=Meta(name=node), status=status))


def router(world: World) -> None:
    spec = BGPPeerSpec(local=LocalEnd(asn=64512), remote=RemoteEnd(address="10.0.0.1", asn=64513))
    world.api.put(BGPPEERS, BGPPeer(metadata=Meta(name="tor-a"), spec=spec))


def advertise(world: World, name: str, **spec: object) -> None:
    value = BGPAdvertisementSpec(**spec)  # type: ignore[arg-type]  # a table of keyword arguments
    world.api.put(BGPADVERTISEMENTS, BGPAdvertisement(metadata=Meta(name=name), spec=value))


def label(world: World, name: str, **labels: str) -> None:
    old = world.api.all(SERVICES)[f"shop/{name}"]
    world.api.put(SERVICES, msgspec.structs.replace(old, metadata=msgspec.structs.replace(old.metadata, labels=labels)))


def established(world: World) -> str:
    return world.api.all(BGPPEERS)["tor-a"].status.established


async def test_a_vip_is_announced_by_all_nodes_and_a_lost_session_is_counted(world: World) -> None:
    for name in ("n1", "n2", "n3"):
        says(world, name)
    world.service("web")
    await world.until(lambda: world.condition("web", ANNOUNCED)[0] == "True")
    assert world.condition("web", ANNOUNCED)[2] == "192.0.2.1 is announced by BGP"
    status = world.vips()["192.0.2.1"].status
    assert (status.announced_by, status.via, status.holder) == ("3/3 nodes", "BGP 3/3 sessions", "")
    says(world, "n2", "Idle")
    await world.until(lambda: world.vips()["192.0.2.1"].status.announced_by == "2/3 nodes")
    told = world.vips()["192.0.2.1"].status.announcers
    assert told is not None
    assert [(item.node, item.reason, item.message) for item in told.exceptions] == [
        ("n2", "PeerDown", "no session with tor-a: cut")
    ]
    assert world.condition("web", ANNOUNCED)[2] == "192.0.2.1 is announced by BGP"


async def test_what_is_over_is_no_longer_said(world: World) -> None:
    router(world)
    for name in ("n1", "n2"):
        says(world, name)
    world.service("web")
    await world.until(lambda: world.vips()["192.0.2.1"].status.announced_by == "2/2 nodes")
    for name in ("n1", "n2"):
        says(world, name, "Idle")
    await world.until(lambda: world.condition("web", ANNOUNCED)[1] == "PeerDown")
    await world.until(lambda: established(world) == "0/2")
    told, sessions = world.vips()["192.0.2.1"].status.announcers, world.api.all(BGPPEERS)["tor-a"].status.sessions
    assert told is not None
    assert sessions is not None
    assert (told.ready, len(told.exceptions), sessions.established) == (0, 2, 0)
    for name in ("n1", "n2"):
        says(world, name)
    await world.until(lambda: world.vips()["192.0.2.1"].status.announced_by == "2/2 nodes")
    told = world.vips()["192.0.2.1"].status.announcers
    assert told is not None
    assert (told.ready, told.exceptions) == (2, ())


async def test_nobody_announces_without_a_session(world: World) -> None:
    says(world, "n1", "Active")
    world.service("web")
    await world.until(lambda: world.condition("web", ANNOUNCED)[1] == "PeerDown")
    await world.rest(2)
    (note,) = world.said.notes("shop/web", "UnAvailableLoadBalancer")
    assert note == "PeerDown: no node announces 192.0.2.1: PeerDown"


async def test_fifty_nodes_that_come_up_make_one_write_of_each_vip(world: World) -> None:
    for number in range(20):
        world.service(f"web-{number}")
    await world.until(lambda: all(vip.status.conditions for vip in world.vips().values()) and len(world.vips()) == 20)
    await world.rest(10)
    before = written(world)
    for number in range(50):  # in some 12 s
        says(world, f"n{number:02}", "Active")
        await world.clock.advance(0.1)
        says(world, f"n{number:02}")
        await world.clock.advance(0.15)
    await world.until(lambda: all(vip.status.announced_by == "50/50 nodes" for vip in world.vips().values()))
    await world.rest(40)
    now = written(world)
    assert {name: now[name] - before[name] for name in now if "virtualips" in name} == {
        f"virtualips/{name}": 1 for name in world.vips()
    }
    assert set((now - before).values()) == {1}  # nor more than one of each Service


def written(world: World) -> Counter[str]:
    """Writes of statuses so far, by kind and name."""
    found: Counter[str] = Counter()
    for request in world.api.requests:
        if request.method == "PATCH" and request.path.endswith("/status"):
            kind, name = request.path.split("/")[-3:-1]
            found[f"{kind}/{name}"] += 1
    return found


async def test_a_router_shows_its_sessions_and_tells_when_they_come_and_go(world: World) -> None:
    router(world)
    for name in ("n1", "n2"):
        says(world, name)
    await world.until(lambda: established(world) == "2/2")
    await world.rest(2)
    assert world.said.reasons("tor-a") == []
    says(world, "n2", "Idle")
    await world.until(lambda: established(world) == "1/2")
    says(world, "n2")
    await world.until(lambda: established(world) == "2/2")
    await world.rest(2)
    assert world.said.reasons("tor-a") == ["BGPSessionDown", "BGPSessionUp"]
    assert world.said.notes("tor-a", "BGPSessionDown") == ["no session with n2: Idle cut"]
    before = written(world)
    says(world, "n2", "Established", VIPException(vip="192.0.2.9", reason="KernelRefused"))
    await world.rest(5)
    assert written(world) == before


async def test_advertisements_that_select_a_service_are_named_by_its_vip(world: World) -> None:
    world.service("web")
    world.service("api")
    await world.until(lambda: len(world.vips()) == 2)
    advertise(world, "gold", service_selector=GOLD)
    advertise(world, "all")
    label(world, "web", tier="gold")

    def named() -> list[tuple[str, ...]]:
        return [vip.spec.announce.advertisements for _, vip in sorted(world.vips().items())]

    await world.until(lambda: sorted(named()) == [(), ("gold",)])
    await world.until(lambda: world.api.all(BGPADVERTISEMENTS)["gold"].status.matched_vips == 1)
    await world.until(lambda: world.api.all(BGPADVERTISEMENTS)["all"].status.matched_vips == 2)
    await world.rest(5)  # until what is seen of them is written
    versions = {name: vip.metadata.resource_version for name, vip in world.vips().items()}
    advertise(world, "gold", service_selector=GOLD, med=7)  # selects as before
    await world.rest(5)
    assert {name: vip.metadata.resource_version for name, vip in world.vips().items()} == versions
    advertise(world, "gold", service_selector=Selector())
    await world.until(lambda: named() == [("gold",), ("gold",)])
    await world.api.kube().delete(BGPADVERTISEMENTS, "gold")
    await world.until(lambda: named() == [(), ()])


async def test_a_vip_that_is_selected_later_is_counted(world: World) -> None:
    """Our own write of the VIP is no news when its watch brings it."""
    world.service("web")
    advertise(world, "gold", service_selector=GOLD)
    await world.until(lambda: len(world.vips()) == 1)
    await world.rest(20)
    label(world, "web", tier="gold")
    await world.until(lambda: world.api.all(BGPADVERTISEMENTS)["gold"].status.matched_vips == 1)
    label(world, "web")
    await world.until(lambda: world.api.all(BGPADVERTISEMENTS)["gold"].status.matched_vips == 0)


async def test_a_pool_says_that_no_advertisement_speaks_of_it(world: World) -> None:
    def said() -> list[str]:
        conditions = world.api.all(ADDRESSPOOLS)["prod"].status.conditions
        return [item.reason for item in conditions if item.type == "NoAdvertisement"]

    await world.until(lambda: said() == ["DefaultUsed"])
    advertise(world, "other", pool_names=("spare",))
    await world.rest(5)
    assert said() == ["DefaultUsed"]
    advertise(world, "all")
    await world.until(lambda: said() == [])
    assert "DefaultUsed" not in world.said.reasons("prod")


async def test_the_holder_alone_by_annotation(world: World) -> None:
    world.service("web", annotations={"roost.dev/announcers": "HolderOnly"})
    world.service("api")
    await world.until(lambda: len(world.vips()) == 2)
    assert sorted(vip.spec.announce.announcers for vip in world.vips().values()) == ["EveryEligibleNode", "HolderOnly"]


async def test_the_holder_alone_where_every_advertisement_says_so(world: World) -> None:
    world.service("web")
    await world.until(lambda: len(world.vips()) == 1)

    def announcers() -> str:
        (vip,) = world.vips().values()
        return vip.spec.announce.announcers if vip.spec.group else ""

    assert announcers() == "EveryEligibleNode"
    advertise(world, "held", announcers="HolderOnly")
    await world.until(lambda: announcers() == "HolderOnly")
    advertise(world, "all")
    await world.until(lambda: announcers() == "EveryEligibleNode")
    await world.api.kube().delete(BGPADVERTISEMENTS, "all")
    await world.until(lambda: announcers() == "HolderOnly")
    await world.api.kube().delete(BGPADVERTISEMENTS, "held")
    await world.until(lambda: announcers() == "EveryEligibleNode")
