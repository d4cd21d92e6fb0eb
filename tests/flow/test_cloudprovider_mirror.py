"""Who announces: the tables of the segments, mirrored onto VirtualIPs and Services without ever hurrying."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from roost.kube.wire import (
    LEASES,
    NODEAGENTS,
    NODES,
    SEGMENTS,
    SERVICES,
    VIRTUALIPS,
    AgentVIPs,
    Group,
    Lease,
    Meta,
    Node,
    NodeAgent,
    NodeAgentStatus,
    Seat,
    Segment,
    SegmentStatus,
    VIPException,
    VIPUnreachable,
)
from tests.cloudprovider.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.pool("prod", "192.0.2.0/24", "2001:db8::/112")
    await world.start()
    yield world
    await world.stop()


def table(world: World, holder: int, epoch: int) -> None:
    """Nodes n1 and n2 are seated; every group that a VirtualIP names is held by tenure *holder*."""
    rows = tuple(
        Seat(
            node=f"n{tenure}",
            tenure=tenure,
            version=1,
            boot_id="b",
            mode="Leased",
            state="Live",
            eligible=True,
            mac=f"02:00:00:00:00:0{tenure}",
        )
        for tenure in (1, 2)
    )
    names = sorted({vip.spec.group for vip in world.vips().values()})
    groups = tuple(Group(name=name, tenure=holder, epoch=epoch) for name in names)
    status = SegmentStatus(revision=epoch, next_tenure=9, seats=rows, groups=groups)
    world.api.put(SEGMENTS, Segment(metadata=Meta(name="10.60.0.0-24"), status=status))


def says(world: World, node: str, *exceptions: VIPException) -> None:
    status = NodeAgentStatus(vips=AgentVIPs(exceptions=exceptions))
    world.api.put(NODEAGENTS, NodeAgent(metadata=Meta(name=node), status=status))


def probes(world: World, node: str, *unreachable: VIPUnreachable) -> None:
    status = NodeAgentStatus(vips=AgentVIPs(probed=1, unreachable=unreachable))
    world.api.put(NODEAGENTS, NodeAgent(metadata=Meta(name=node), status=status))


async def test_the_holder_is_shown_and_a_change_is_told(world: World) -> None:
    world.service("web", "IPv4", "IPv6")
    await world.until(lambda: len(world.shown("web")) == 2)
    table(world, holder=1, epoch=1)
    await world.until(lambda: world.condition("web", "roost.dev/Announced")[0] == "True")
    vip = world.vips()["192.0.2.1"].status
    assert (vip.holder, vip.epoch, vip.announced_by, vip.services) == ("n1", 1, "n1", "shop/web")
    assert vip.via == "Layer2 02:00:00:00:00:01"
    await world.until(lambda: world.said.notes("shop/web", "Announced") != [])
    assert "192.0.2.1 is answered by n1 (02:00:00:00:00:01)" in world.said.notes("shop/web", "Announced")[0]
    table(world, holder=2, epoch=2)
    await world.until(lambda: world.vips()["192.0.2.1"].status.holder == "n2")
    await world.rest(2)
    assert world.said.notes("192.0.2.1", "HolderChanged") == ["n1 → n2, epoch 2"]
    assert "answered by n2" in world.condition("web", "roost.dev/Announced")[2]


async def test_no_endpoints_and_then_some(world: World) -> None:
    world.service("web")
    await world.until(lambda: world.shown("web") != ())
    table(world, holder=1, epoch=1)
    says(world, "n1", VIPException(vip="192.0.2.1", reason="NoEndpoints", message="no ready endpoint (policy Cluster)"))
    await world.until(lambda: world.condition("web", "roost.dev/Announced")[1] == "NoEndpoints")
    await world.rest(2)
    assert world.said.notes("shop/web", "NoEndpoints") == ["no ready endpoint (policy Cluster)"]
    says(world, "n1")
    await world.until(lambda: world.condition("web", "roost.dev/Announced")[0] == "True")


async def test_a_stranger_that_claims_the_address_is_named_until_it_ends(world: World) -> None:
    world.service("web")
    await world.until(lambda: world.shown("web") != ())
    table(world, holder=1, epoch=1)
    told = "192.0.2.1 is also claimed by 3c:ec:ef:12:34:56"
    says(world, "n1", VIPException(vip="192.0.2.1", reason="AddressConflict", message=told))
    await world.until(lambda: world.condition("web", "roost.dev/AddressConflict")[0] == "True")
    assert world.condition("web", "roost.dev/Announced")[:2] == ("False", "AddressConflict")
    await world.rest(2)
    assert world.said.notes("shop/web", "AddressConflict") == [told]
    says(world, "n1")
    await world.until(lambda: world.condition("web", "roost.dev/Announced")[0] == "True")
    await world.rest(2)
    assert world.said.notes("shop/web", "AddressConflictEnded") == [f"it is over: {told}"]


async def test_an_address_that_does_not_answer_the_next_in_line(world: World) -> None:
    world.service("web")
    await world.until(lambda: world.shown("web") != ())
    table(world, holder=1, epoch=1)
    await world.until(lambda: world.condition("web", "roost.dev/Reachable")[:2] == ("Unknown", "NotProbed"))
    probes(world, "n2")
    await world.until(lambda: world.condition("web", "roost.dev/Reachable")[:2] == ("True", "ProbeAnswered"))
    probes(world, "n2", VIPUnreachable(vip="192.0.2.1", message="no ARP reply on eth0"))
    await world.until(lambda: world.condition("web", "roost.dev/Reachable")[0] == "False")
    await world.rest(2)
    note = "192.0.2.1 is announced by n1, but n2 gets no answer: no ARP reply on eth0"
    assert world.said.notes("shop/web", "NotReachable") == [note]
    ready = {item.type: item.status for item in world.vips()["192.0.2.1"].status.conditions}
    assert (ready["Reachable"], ready["Announced"]) == ("False", "True")


async def test_a_table_that_moves_everything_costs_one_write_per_object_and_then_none(world: World) -> None:
    for number in range(40):
        world.service(f"s{number}")
    await world.until(lambda: all(world.shown(f"s{number}") for number in range(40)))
    await world.rest(10)
    before = len(world.api.writes(VIRTUALIPS)), len(world.api.writes(SERVICES))
    for epoch in range(1, 6):  # five changes within a second
        table(world, holder=1 + epoch % 2, epoch=epoch)
        await world.clock.advance(0.1)
    await world.rest(20)
    assert {vip.status.holder for vip in world.vips().values()} == {"n2"}
    after = len(world.api.writes(VIRTUALIPS)), len(world.api.writes(SERVICES))
    assert after[0] - before[0] <= 40
    assert after[1] - before[1] <= 40
    await world.rest(60)
    assert (len(world.api.writes(VIRTUALIPS)), len(world.api.writes(SERVICES))) == after


async def test_the_lease_of_a_node_that_is_gone_is_deleted(world: World) -> None:
    stamp = datetime.now(UTC).isoformat()
    for name in ("n1", "n2"):
        world.api.put(NODES, Node(metadata=Meta(name=name)))
        meta = Meta(name=name, namespace="roost-node-lease", annotations={"at": stamp})
        world.api.put(LEASES, Lease(metadata=meta))
    await world.rest(5)
    world.api.remove(NODES, "n2")
    await world.rest(40)
    assert [key for key in world.api.all(LEASES) if key.startswith("roost-node-lease/")] == ["roost-node-lease/n1"]
