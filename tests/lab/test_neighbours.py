"""Announcements, questions and listening on a real wire, and what the gate holds back of them."""

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodeagent.gate.apply import Gate
from nodeagent.neighbours.apply import Announcer, PacketSocket, Sent
from nodeagent.neighbours.hearing import STATIONS, Heard, Others
from nodeagent.neighbours.listening import MOST_JOINED, Listener, PacketEar
from nodeagent.neighbours.plan import Form, Settings, Turn, frame
from nodeagent.neighbours.probing import Prober
from roost.frames import Claim, Kind, Mac, arp, ndp
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
from tests.nodeagent.neighbours.contract import HearingContract, Stage, at_work

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


@pytest.fixture
async def stage(segment: Pair, wire: PacketSocket) -> AsyncIterator[Stage]:
    """The client is the stranger."""

    def appear(address: Address) -> None:
        ip("-n", segment.client, "addr", "add", f"{address}/{address.max_prefixlen}", "dev", UPLINK, *nodad(address))

    def unplug() -> None:
        ip("link", "delete", UPLINK)

    ear = PacketEar(UPLINK)
    async with at_work(wire, ear) as (listener, prober):
        yield Stage(wire, ear, listener, prober, appear, segment.wire.send, unplug)


class TestHearingInTheKernel(HearingContract):
    pass


def have(vip: Address, *where: str) -> None:
    ip("addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", *(where or [UPLINK]), *nodad(vip))


async def test_the_gate_stops_no_probe_and_the_own_kernel_answers_none(segment: Pair, stage: Stage) -> None:
    """Neither fenced nor held, permitted or not: a probe leaves, and asks others only."""
    stage.appear(OTHER4)
    stage.appear(OTHER6)
    for vip in (VIP4, VIP6):
        have(vip)
    everything: list[Address] = [VIP4, VIP6, OTHER4, OTHER6]
    strangers = {OTHER4: CLIENT_MAC, OTHER6: CLIENT_MAC}
    with Gate(UPLINK) as gate:
        gate.install()
        gate.guard(set(everything))
        assert await stage.prober.probe(everything) == strangers
        gate.hold({VIP4, VIP6})
        gate.permit_create(60_000)
        assert await stage.prober.probe(everything) == strangers
        assert await stage.prober.answers([OTHER4])
        assert await stage.prober.answers([OTHER6])


async def test_a_probe_teaches_nobody(segment: Pair, stage: Stage) -> None:
    for vip in (VIP4, VIP6):
        ip("-n", segment.client, "neigh", "replace", str(vip), "lladdr", OTHER_MAC, "dev", UPLINK, "nud", "stale")
    segment.forget()
    assert await stage.prober.probe([VIP4, VIP6]) == {}
    assert {believed(segment, vip) for vip in (VIP4, VIP6)} == {OTHER_MAC}
    assert segment.hears(VIP4, QUIET) is None


async def test_another_device_of_this_node_is_no_stranger(segment: Pair, stage: Stage) -> None:
    """Two devices on one segment: Linux answers on either for an address of the other."""
    second = Mac.parse("02:00:00:00:00:03")
    ip("-n", segment.client, "link", "add", "switch", "type", "bridge")
    ip("-n", segment.client, "link", "set", "switch", "up")
    ip("-n", segment.client, "link", "set", UPLINK, "master", "switch")
    ip("link", "add", "second", "address", str(second), "type", "veth", "peer", "name", "port", "netns", segment.client)
    ip("-n", segment.client, "link", "set", "port", "master", "switch", "up")
    ip("link", "set", "second", "up")
    have(VIP4, "lo")
    assert await stage.prober.probe([VIP4]) == {VIP4: second}
    stage.listener.own = {NODE_MAC, second}
    assert await stage.prober.probe([VIP4]) == {}


@asynccontextmanager
async def beside(segment: Pair) -> AsyncIterator[tuple[Mac, Prober]]:
    """A second station: another device on the same segment, which knows nothing of the first."""
    second = Mac.parse("02:00:00:00:00:03")
    client = ["-n", segment.client]
    ip(*client, "link", "add", "switch", "type", "bridge")
    ip(*client, "link", "set", "switch", "up")
    ip(*client, "link", "set", UPLINK, "master", "switch")
    ip("link", "add", "second", "address", str(second), "type", "veth", "peer", "name", "port", "netns", segment.client)
    ip(*client, "link", "set", "port", "master", "switch", "up")
    ip("link", "set", "second", "up")
    wire, clock = PacketSocket("second"), RealClock()
    listener = Listener(PacketEar("second"), {second}, clock)
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(listener.listen())
        await asyncio.sleep(0)
        yield second, Prober(wire, listener, second, clock, rate=2_000)
        work.cancel()
    wire.close()


async def test_two_that_ask_at_the_same_time_hear_each_other_and_one_by_one_nobody(segment: Pair, stage: Stage) -> None:
    async with beside(segment) as (second, prober):
        vips: list[Address] = [VIP4, VIP6]
        one, two = await asyncio.gather(stage.prober.others(vips, every=0.2), prober.others(vips, every=0.2))
        assert one == Others({}, dict.fromkeys(vips, frozenset({second})))
        assert two == Others({}, dict.fromkeys(vips, frozenset({NODE_MAC})))
        for each in (stage.prober, prober):
            assert await each.others(vips) == Others({}, {})


OWN = "ff02::1:ff00:1"  # the uplink's own address has it be a member of this one


def joined() -> list[str]:
    """The groups that the uplink is a member of because somebody might have a VIP."""
    (device,) = json.loads(ip("-j", "-6", "maddr", "show", "dev", UPLINK))
    return [
        row["address"]
        for row in device["maddr"]
        if row["address"].startswith("ff02::1:ff00:1") and row["address"] != OWN
    ]


def test_who_asks_is_a_member_of_the_groups_meanwhile_and_no_longer(segment: Pair) -> None:
    ear = PacketEar(UPLINK)
    several = [VIP6 + n for n in range(2 * MOST_JOINED)]
    with ear.joined([VIP4, VIP6, VIP6]):
        assert joined() == ["ff02::1:ff00:100"]
    with ear.joined(several):
        assert len(joined()) == MOST_JOINED
    assert joined() == []
    with pytest.raises(ValueError, match="theirs"), ear.joined([VIP6]):
        raise ValueError("theirs")
    assert joined() == []


def test_a_device_that_is_gone_or_has_no_ipv6_is_asked_on_all_the_same(segment: Pair) -> None:
    with PacketEar("nowhere").joined([VIP6]):
        pass
    Path(f"/proc/sys/net/ipv6/conf/{UPLINK}/disable_ipv6").write_text("1")
    with PacketEar(UPLINK).joined([VIP6]):
        pass


async def test_ordinary_traffic_is_not_even_looked_at(segment: Pair, stage: Stage) -> None:
    met: list[tuple[Address, Address]] = [(NODE4, CLIENT4), (NODE6, CLIENT6)]
    for node, client in met:
        segment.forget()
        segment.send_from(node, client)  # after this both know each other
        until(lambda: b"data" in segment.wire.recv(2048), "the datagram arrives")
    await stage.hears(arp.announcement(OTHER4, CLIENT_MAC), lambda who: who.address == OTHER4)
    before = stage.listener.counted
    await asyncio.to_thread(data_from, segment, socket.AF_INET, NODE4)
    await asyncio.to_thread(data_from, segment, socket.AF_INET6, NODE6)
    await stage.hears(arp.announcement(OTHER4, CLIENT_MAC), lambda who: who.address == OTHER4)
    assert stage.listener.counted - before < 10, "a hundred datagrams came by"


def data_from(segment: Pair, family: socket.AddressFamily, address: Address) -> None:
    """A hundred datagrams of the client to *address* of the node, which have arrived when this returns."""
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.bind((str(address), 0))
        receiver.settimeout(PATIENCE)
        version = 4 if family == socket.AF_INET else 6
        program = (
            "import socket, sys; out = socket.socket(int(sys.argv[1]), socket.SOCK_DGRAM);"
            "[out.sendto(b'data', (sys.argv[2], int(sys.argv[3]))) for _ in range(100)]"
        )
        port = str(receiver.getsockname()[1])
        ip("netns", "exec", segment.client, "python3", "-c", program, str(int(family)), str(address), port)
        assert [receiver.recv(16) for _ in range(100)] == [b"data"] * 100, f"IPv{version}"


async def test_a_flood_of_forged_arp_starves_nobody_and_drowns_no_answer(segment: Pair, stage: Stage) -> None:
    """Faster than can be read: the loop turns on, the memory stays small, and who has an address is found."""
    stage.appear(VIP4)
    stage.appear(VIP6)
    done, sent = threading.Event(), itertools.count()

    def forge() -> None:
        number = 0
        while not done.is_set():
            number = next(sent)
            sender = Mac(b"\x06\x00" + number.to_bytes(4, "big"))
            segment.wire.send(arp.announcement(NODE4 + 65_536 + number % 50_000, sender))

    forger = threading.Thread(target=forge)
    forger.start()
    try:
        async with asyncio.timeout(30):
            while stage.listener.dropped == 0:  # noqa: ASYNC110 - counters tell nobody
                await asyncio.sleep(0.001)
        for _ in range(5):
            assert await stage.prober.probe([VIP4, OTHER4, VIP6]) == {VIP4: CLIENT_MAC, VIP6: CLIENT_MAC}
    finally:
        done.set()
        forger.join()
    assert next(sent) > stage.listener.counted
    assert len(stage.listener.stations.recent(RealClock().now())) <= STATIONS


@pytest.mark.parametrize("vip", [pytest.param(VIP4, id="ARP"), pytest.param(VIP6, id="Neighbour Discovery")])
async def test_a_device_that_was_down_or_replaced_is_heard_again(segment: Pair, stage: Stage, vip: Address) -> None:
    claim = arp.announcement(vip, CLIENT_MAC) if vip.version == 4 else ndp.announcement(vip, CLIENT_MAC)
    told = list[Heard]()
    stage.listener.tell(told.append)

    async def heard_again() -> None:
        told.clear()
        async with asyncio.timeout(PATIENCE):
            while not [who for who in told if who.address == vip]:
                segment.wire.send(claim)
                await asyncio.sleep(0.02)

    await heard_again()
    ip("link", "set", UPLINK, "down")
    await asyncio.sleep(0)
    ip("link", "set", UPLINK, "up")
    await heard_again()
    ip("link", "delete", UPLINK)
    ip("link", "add", UPLINK, "type", "veth", "peer", "name", UPLINK, "netns", segment.client)
    ip("-n", segment.client, "link", "set", UPLINK, "up")
    ip("link", "set", UPLINK, "up")
    segment.replug()
    await heard_again()


async def test_defence_and_return_announce_again(segment: Pair, announcer: Announcer) -> None:
    announcer.want({VIP4, VIP6})
    async with asyncio.timeout(PATIENCE):
        while announcer.sent.frames < 3 * 6:  # noqa: ASYNC110 - counters tell nobody
            await asyncio.sleep(0.001)
    ip("-n", segment.client, "neigh", "replace", str(VIP4), "lladdr", OTHER_MAC, "dev", UPLINK, "nud", "reachable")
    announcer.defend({VIP4})
    async with asyncio.timeout(PATIENCE):
        while believed(segment, VIP4) != str(NODE_MAC):  # noqa: ASYNC110 - kernels tell nobody
            await asyncio.sleep(0.001)
