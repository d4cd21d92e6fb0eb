"""The agent's flow over fakes: what is claimed follows the table, and the kernel hears of it in the right order."""

from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest

from nodeagent.gate.fake import FakeGates
from nodeagent.segment import events as ev
from roost.frames import Mac, claim
from roost.kube import wire
from roost.words import Address, vip_name
from tests.fakes.api import FakeApi
from tests.flow.agents import SEGMENT, FakeAgent, until

VIP = ip_address("10.60.0.200")
OTHER = ip_address("fd60::200")


def virtual_ip(address: Address, group: str = "s-0123456789abcdef", uid: str = "u1") -> wire.VirtualIP:
    claims = (wire.Claim(namespace="default", name="web", uid=uid),)
    spec = wire.VirtualIPSpec(address=str(address), group=group, claims=claims)
    return wire.VirtualIP(metadata=wire.Meta(name=vip_name(address)), spec=spec)


def node(name: str) -> wire.Node:
    return wire.Node(metadata=wire.Meta(name=name))


def slice_on(*nodes: str, family: str = "IPv4") -> wire.EndpointSlice:
    endpoints = tuple(wire.Endpoint(addresses=("10.244.1.2",), node_name=name) for name in nodes)
    meta = wire.Meta(name=f"web-{family}", namespace="default", labels={"kubernetes.io/service-name": "web"})
    return wire.EndpointSlice(metadata=meta, address_type=family, endpoints=endpoints)


def know(agent: FakeAgent, *nodes: str) -> None:
    """The agent knows the nodes, one VIP, and an endpoint of its Service."""
    for name in nodes:
        agent.index.put_node(name, node(name))
    agent.index.put_vip(vip_name(VIP), virtual_ip(VIP))
    agent.index.put_slice("default/web-4", slice_on("n1"))
    agent.seat.tell()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[FakeApi, FakeAgent, FakeAgent]]:
    """Two nodes, seated; the first sat down first."""
    api = FakeApi()
    agents = FakeAgent(api, "n1", 1), FakeAgent(api, "n2", 2)
    for agent in agents:
        know(agent, "n1", "n2")
        await agent.begin()
        await until(lambda agent=agent: agent.seat.state.seated)  # type: ignore[misc]
    yield api, *agents
    for agent in agents:
        await agent.kill()


def claiming(*agents: FakeAgent) -> list[str]:
    """Whose kernels let claims for the VIP out."""
    return [agent.name for agent in agents if agent.claims_out(VIP)]


async def test_a_kernel_that_is_slow_to_put_the_address_on_holds_no_announcement_back() -> None:
    agent = FakeAgent(FakeApi(), "n1", 1)
    agent.addresses.prompt.clear()
    know(agent, "n1")
    await agent.begin()
    await until(lambda: bool(agent.wire.frames))
    assert not agent.addresses.until, "the address is not on the link yet"
    agent.addresses.prompt.set()
    await until(lambda: bool(agent.addresses.until))
    await agent.kill()


async def test_one_node_claims_fenced_held_announced_and_with_the_address_on_its_link(
    pair: tuple[FakeApi, FakeAgent, FakeAgent],
) -> None:
    _, one, two = pair
    await until(lambda: len(claiming(one, two)) == 1)
    holder, other = (one, two) if claiming(one, two) == ["n1"] else (two, one)
    await until(lambda: bool(holder.wire.frames) and bool(holder.addresses.until))
    said = claim(holder.wire.frames[0])
    assert said is not None
    assert (said.vip, said.mac) == (VIP, holder.mac)
    assert not other.wire.frames
    assert not other.addresses.until
    assert other.gates.vips == frozenset({VIP}), "who does not hold it fences it all the same"


@pytest.mark.parametrize("number", [pytest.param(2, id="a seat"), pytest.param(9, id="a stranger")])
async def test_who_asks_at_the_same_time_is_waited_for_and_contests_nothing(number: int) -> None:
    api = FakeApi()
    one, two = FakeAgent(api, "n1", 1), FakeAgent(api, "n2", 2)
    one.segment.rivals = {VIP: frozenset({Mac(bytes([2, 0, 10, 60, 0, number]))})}
    two.eligible = False
    for agent in (two, one):
        know(agent, "n1", "n2")
        await agent.begin()
        await until(lambda agent=agent: agent.seat.state.seated)  # type: ignore[misc]
    await until(lambda: one.segment.questions > 1)
    assert claiming(one, two) == []
    assert one.claims.contested == {}
    one.segment.rivals = {}
    await until(lambda: claiming(one, two) == ["n1"])
    for agent in (one, two):
        await agent.kill()


async def test_a_killed_agent_is_succeeded_only_after_its_permit_ended(
    pair: tuple[FakeApi, FakeAgent, FakeAgent],
) -> None:
    _, one, two = pair
    await until(lambda: len(claiming(one, two)) == 1)
    holder, other = (one, two) if claiming(one, two) == ["n1"] else (two, one)
    await holder.kill()
    both: list[bool] = []

    def moved() -> bool:
        both.append(len(claiming(one, two)) > 1)
        return claiming(one, two) == [other.name]

    await until(moved)
    assert not any(both)


async def test_a_new_process_adopts_what_the_kernel_still_holds(pair: tuple[FakeApi, FakeAgent, FakeAgent]) -> None:
    api, one, two = pair
    await until(lambda: len(claiming(one, two)) == 1)
    holder = one if claiming(one, two) == ["n1"] else two
    await holder.kill()
    tenure = holder.seat.state.tenure
    again = FakeAgent(api, holder.name, int(holder.name[1:]), holder)
    know(again, "n1", "n2")
    await again.begin()
    await until(lambda: again.seat.state.seated)
    assert again.seat.state.tenure == tenure
    assert claiming(again) == [holder.name]
    await again.kill()


async def test_a_stopped_agent_hands_over_and_leaves_the_table(pair: tuple[FakeApi, FakeAgent, FakeAgent]) -> None:
    api, one, two = pair
    await until(lambda: len(claiming(one, two)) == 1)
    holder, other = (one, two) if claiming(one, two) == ["n1"] else (two, one)
    holder.seat.tell(ev.Stop())
    await holder.seat.left.wait()
    assert claiming(holder) == []
    await until(lambda: claiming(one, two) == [other.name])
    segment = api.one(wire.SEGMENTS, SEGMENT)
    assert segment.status is not None
    assert [seat.node for seat in segment.status.seats] == [other.name]


async def test_the_last_endpoint_takes_the_claim_along_and_brings_it_back(
    pair: tuple[FakeApi, FakeAgent, FakeAgent],
) -> None:
    _, one, two = pair
    await until(lambda: len(claiming(one, two)) == 1)
    for agent in (one, two):
        agent.index.put_slice("default/web-4", slice_on())
        agent.seat.tell()
    await until(lambda: claiming(one, two) == [])
    for agent in (one, two):
        agent.index.put_slice("default/web-4", slice_on("n2"))
        agent.seat.tell()
    await until(lambda: len(claiming(one, two)) == 1)


async def test_a_service_that_went_takes_its_claim_along(pair: tuple[FakeApi, FakeAgent, FakeAgent]) -> None:
    _, one, two = pair
    await until(lambda: len(claiming(one, two)) == 1)
    for agent in (one, two):
        agent.index.put_vip(vip_name(VIP), virtual_ip(VIP, uid=""))  # it rests
        agent.seat.tell()
    await until(lambda: claiming(one, two) == [])
    assert one.gates.vips == two.gates.vips == frozenset({VIP}), "a resting address stays fenced"


async def test_a_gate_that_somebody_took_away_is_put_back_with_all_that_it_let_pass(
    pair: tuple[FakeApi, FakeAgent, FakeAgent],
) -> None:
    _, one, two = pair
    await until(lambda: len(claiming(one, two)) == 1)
    holder = one if claiming(one, two) == ["n1"] else two
    flush(holder.gates)
    await until(lambda: holder.gates.standing() and claiming(holder) == [holder.name])
    assert holder.gates.vips == frozenset({VIP})


def flush(gates: FakeGates) -> None:
    """What `nft flush ruleset` does."""
    gates.vips = None
    gates.held.clear()
    gates.permits.until.clear()
