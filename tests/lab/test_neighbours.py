"""Announcements on a real wire: a client that knew another MAC learns ours, and the gate holds back the rest."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from nodeagent.gate.apply import Gate
from nodeagent.neighbours.apply import Announcer, PacketSocket, Sent
from nodeagent.neighbours.plan import Form, Settings, Turn, frame
from roost.frames import Claim, Kind
from roost.process import RealClock
from tests.lab.pair import NODE_MAC, QUIET, UPLINK, VIP4, VIP6, Address, Pair, ip, pair, until

OTHER_MAC = "02:00:00:00:00:99"


@pytest.fixture
def segment() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.fixture
def wire(segment: Pair) -> Iterator[PacketSocket]:
    wire = PacketSocket(UPLINK)
    yield wire
    wire.close()


@pytest.fixture
async def announcer(wire: PacketSocket) -> AsyncIterator[Announcer]:
    announcer = Announcer(wire, NODE_MAC, RealClock(), Settings())
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(announcer.announce())
        yield announcer
        work.cancel()


def believed(segment: Pair, vip: Address) -> str:
    """The MAC at which the client believes *vip* to be."""
    (entry,) = json.loads(ip("-n", segment.client, "-j", "neigh", "show", str(vip), "dev", UPLINK))
    return str(entry["lladdr"])


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(Turn(VIP4, 0, 0, Form.FIRST), id="ARP, request form"),
        pytest.param(Turn(VIP4, 0, 0, Form.REPLY), id="ARP, reply form"),
        pytest.param(Turn(VIP6, 0, 0, Form.FIRST), id="advertisement"),
    ],
)
def test_one_frame_moves_a_client_at_once(segment: Pair, wire: PacketSocket, turn: Turn) -> None:
    """Even within a second of the last change, in which Linux ignores what it takes for gratuitous replies."""
    ip("-n", segment.client, "neigh", "replace", str(turn.vip), "lladdr", OTHER_MAC, "dev", UPLINK, "nud", "reachable")
    assert believed(segment, turn.vip) == OTHER_MAC
    assert wire.send([frame(turn, NODE_MAC)]) == Sent(frames=1)
    until(lambda: believed(segment, turn.vip) == str(NODE_MAC), "the client learns our MAC")


async def test_the_task_announces_what_it_is_told(segment: Pair, announcer: Announcer) -> None:
    announcer.want({VIP4, VIP6})
    async with asyncio.timeout(5):
        while announcer.sent.frames < 6:  # noqa: ASYNC110 - counters tell nobody
            await asyncio.sleep(0.001)
    assert segment.hears(VIP4) == Claim(VIP4, NODE_MAC, Kind.ARP_REQUEST)
    assert segment.hears(VIP4) == Claim(VIP4, NODE_MAC, Kind.ARP_REPLY)
    assert segment.hears(VIP6) == Claim(VIP6, NODE_MAC, Kind.ADVERTISEMENT)


def test_what_the_gate_holds_back_is_counted_and_no_error(segment: Pair, wire: PacketSocket) -> None:
    frames = [frame(Turn(vip, 0, 0, Form.FIRST), NODE_MAC) for vip in (VIP4, VIP6)]
    with Gate(UPLINK) as gate:
        gate.install()
        gate.guard({VIP4, VIP6})
        gate.permit_create(60_000)
        assert wire.send(frames) == Sent(refused=2)
        assert segment.hears(VIP4, QUIET) is None
        gate.hold({VIP6})
        assert wire.send(frames) == Sent(frames=1, refused=1)
        assert segment.hears(VIP6) is not None


def test_a_link_that_is_down_or_gone_is_counted_and_its_successor_used(segment: Pair, wire: PacketSocket) -> None:
    frames = [frame(Turn(VIP4, 0, 0, Form.FIRST), NODE_MAC)]
    assert wire.send(frames) == Sent(frames=1)
    ip("link", "set", UPLINK, "down")
    assert wire.send(frames) == Sent(linkless=1)
    ip("link", "delete", UPLINK)
    assert wire.send(frames) == Sent(linkless=1)
    ip("link", "add", UPLINK, "type", "veth", "peer", "name", "far")
    ip("link", "set", "far", "up")
    ip("link", "set", UPLINK, "up")
    assert wire.send(frames) == Sent(frames=1)
