"""The socket between pulse and agent: what is said arrives, and what must be known is never lost."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given

from nodeagent.model import Done, Echoed, Here, News, Orders, Over, Peer, Until, Vote
from nodeagent.pulse.ends import End, Ended
from nodeagent.pulse.link import PulseLink
from nodeagent.pulse.packets import (
    LARGEST,
    Begin,
    Given,
    Heard,
    Keys,
    Open,
    Packet,
    Ready,
    Tally,
    Trouble,
    Vacate,
    pack,
    unpack,
)
from tests.flow.agents import until
from tests.nodeagent.pulse.values import packets

SEGMENT = "10.60.0.0-24"
MANY = Orders(
    serial=7,
    rules=(Echoed(("node-001", "node-002")), Until(12.5)),
    peers=tuple(
        Peer(f"node-{n:03d}.rack-{n % 7}.example.org", n, 3, (f"10.60.{n // 250}.{n % 250}", f"fd60::{n:x}"))
        for n in range(500)
    ),
)


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    made = tuple(End(each) for each in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield made[0], made[1]
    for end in made:
        end.close()


def vote(number: int) -> Heard:
    return Heard(SEGMENT, Vote("n1", 1, number, "n2", 5.0))


@given(packets)
def test_what_is_packed_is_read_again(packet: Packet) -> None:
    assert unpack(pack(packet)) == packet


def test_a_packet_that_nobody_could_receive_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        pack(Trouble("", "x" * LARGEST))


def test_orders_for_five_hundred_seats_pass(ends: tuple[End, End]) -> None:
    ends[0].put(Given(SEGMENT, MANY))
    assert list(ends[1].receive()) == [Given(SEGMENT, MANY)]


def test_whoever_does_not_read_loses_votes_and_hears_the_newest_of_the_rest(ends: tuple[End, End]) -> None:
    pulse, agent = ends
    for number in range(5000):
        pulse.put(vote(number))
        if number % 100 == 0:
            pulse.put(Heard(SEGMENT, Done(number)), (Done, SEGMENT))
    pulse.put(Heard(SEGMENT, Over(3)), (Over, SEGMENT))
    heard = list(agent.receive())
    assert len(heard) < 5000
    pulse.flush()
    heard += agent.receive()
    said = [packet.news for packet in heard if isinstance(packet, Heard) and not isinstance(packet.news, Vote)]
    assert said[-2:] == [Done(4900), Over(3)]
    pulse.put(vote(1))  # there is room again
    assert list(agent.receive()) == [vote(1)]


def test_the_end_of_the_other_is_noticed(ends: tuple[End, End]) -> None:
    ends[0].close()
    ends[1].put(Begin())
    with pytest.raises(Ended):
        list(ends[1].receive())


# -- the agent's side


class Pulse:
    """The other end of a PulseLink."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end = End(ours)
        self.end.put(Ready(("no real-time priority",)))
        self.link = PulseLink(theirs.detach())

    def said(self) -> list[Packet]:
        return list(self.end.receive())


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    made = Pulse()
    yield made
    made.end.close()
    made.link.end.close()


def test_an_agent_begins_and_learns_what_its_pulse_may_not(pulse: Pulse) -> None:
    assert pulse.said() == [Begin()]
    assert pulse.link.refused == ("no real-time priority",)


def test_what_an_agent_says_arrives_in_order(pulse: Pulse) -> None:
    pulse.said()
    pulse.link.open(SEGMENT, "eth0", "n1", 10262)
    pulse.link.key([b"a", b"b"])
    pulse.link.order(SEGMENT, MANY)
    pulse.link.vacate("eth1")
    said = [Open(SEGMENT, "eth0", "n1", 10262), Keys((b"a", b"b")), Given(SEGMENT, MANY), Vacate("eth1")]
    assert pulse.said() == said


async def test_news_are_passed_on_and_the_loop_shows_that_it_turns(pulse: Pulse) -> None:
    heard: list[tuple[str, News]] = []
    pulse.end.put(Heard(SEGMENT, Here(0, 0, 0.0)))
    pulse.end.put(Trouble(SEGMENT, "no gate"))
    pulse.end.put(Tally(SEGMENT, (("heard", 5),)))
    pulse.end.put(Heard(SEGMENT, Done(1)))
    task = asyncio.create_task(pulse.link.run(lambda segment, news: heard.append((segment, news))))
    await until(lambda: len(heard) == 2)
    assert heard == [(SEGMENT, Here(0, 0, 0.0)), (SEGMENT, Done(1))]
    assert pulse.link.trouble == {SEGMENT: "no gate"}
    assert pulse.link.counts == {SEGMENT: {"heard": 5}}
    assert [type(packet).__name__ for packet in pulse.said()] == ["Begin", "Alive"]
    task.cancel()


LEFT_ALONE = """
import asyncio, sys
from nodeagent.pulse.link import PulseLink
link = PulseLink(int(sys.argv[1]))
print("ready", flush=True)
asyncio.run(link.run(lambda *_: None))
"""


def test_an_agent_ends_at_once_without_its_pulse() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pulse = End(ours)
    pulse.put(Ready(()))
    number = theirs.fileno()
    command = [sys.executable, "-c", LEFT_ALONE, str(number)]
    with theirs, subprocess.Popen(command, pass_fds=[number], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "ready\n"
        theirs.close()
        pulse.close()
        assert agent.wait(10) == 1


def test_the_pulse_loads_nothing_of_what_an_agent_needs() -> None:
    code = "import sys, nodeagent.__main__, nodeagent.pulse.process; print(*sys.modules)"
    loaded = {
        name.partition(".")[0] for name in subprocess.check_output([sys.executable, "-c", code], text=True).split()
    }
    heavy = {
        "asyncio",
        "kubernetes",
        "aiohttp",
        "pyroute2",
        "msgspec",
        "cyclopts",
        "prometheus_client",
        "yaml",
        "roost",
    }
    assert not loaded & heavy
