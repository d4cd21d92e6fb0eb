"""Three pulses on one bridge, each with a scripted agent: who feeds whom, and what outlives whose end."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from lab.network import (
    NO_DAD,
    Leg,
    enter,
    heal,
    ip,
    lose,
    lose_nothing,
    make_namespace,
    make_switch,
    plug,
    set_namespace,
)
from lab.probe import python_environment
from lab.run import Process, children, cpu_of, memory_of, wait_for
from nodeagent.gate.apply import Gates
from nodeagent.gate.permits import Permits
from nodeagent.model import Done, Echoed, Echoing, Here, News, Orders, Passed, Peer, Question, Returned, Vote, Wrote
from nodeagent.pulse import wire
from nodeagent.pulse.messages import Gone, Hello
from nodeagent.pulse.packets import Given, Heard, Keys, Open, Packet, Tally, Trouble, pack, unpack

SEGMENT, PORT, DATA = "10.60.0.0-24", 10262, "data"
KEY = b"k" * 32
NAMES = ("p1", "p2", "p3")
PATIENCE = 2.0  # seconds without an agent, in place of 30
N = TypeVar("N")


class Node:
    """One pulse and what its agent orders; p1 has tenure 1, and so on."""

    def __init__(self, number: int, work: Path) -> None:
        self.name, self.tenure = f"p{number}", number
        self.leg = Leg(self.name, DATA, 10 + number)
        self.work = work / self.name
        self.work.mkdir()
        make_namespace(self.name, NO_DAD)
        plug(self.leg, ipv6=True)
        self.gates, self.permits = within(self.name, lambda: (Gates([DATA]), Permits()))
        self.install()
        self.orders = Orders(tenure=number, ready=True, next_tenure=4)
        self.lines: list[Packet] = []
        self.write(Open(SEGMENT, DATA, self.name, PORT), Keys((KEY,)))

    def install(self) -> None:
        within(self.name, self.gates.install)

    def write(self, *packets: Packet) -> None:
        self.lines += packets
        (self.work / "orders").write_bytes(b"".join(pack(packet) + b"\n" for packet in self.lines))

    def start(self) -> None:
        """Start, or start again after its end."""
        command = ["ip", "netns", "exec", self.name, sys.executable, "-m", "tests.lab.pulse_stub"]
        arguments = [str(self.work), str(PATIENCE)]
        self.process = Process(self.name, [*command, *arguments], self.work / "log", python_environment())

    def close(self) -> None:
        if self.process.running:
            self.process.sigkill()
        self.gates.close()
        self.gates.permits.close()
        self.permits.close()

    def order(self, orders: Orders) -> int:
        """Give these orders under the next serial, which is returned."""
        self.orders = replace(orders, serial=self.orders.serial + 1)
        self.write(Given(SEGMENT, self.orders))
        return self.orders.serial

    def told(self) -> list[Packet]:
        file = self.work / "news"
        return [unpack(line) for line in file.read_bytes().splitlines()] if file.exists() else []

    def news(self, kind: type[N]) -> list[N]:
        return [p.news for p in self.told() if isinstance(p, Heard) and isinstance(p.news, kind)]

    def hears(self, what: str, condition: Callable[[News], bool]) -> None:
        def heard() -> bool:
            return any(condition(packet.news) for packet in self.told() if isinstance(packet, Heard))

        wait_for(f"{self.name}: {what}", heard, 10, alive=[self.process])

    def permitted(self) -> bool:
        return self.permits.left(DATA) is not None

    def agent(self) -> int:
        return wait_for("an agent", lambda: next(iter(children(self.process.pid)), 0), 10, alive=[self.process])


def within(name: str, what: Callable[[], N]) -> N:
    """Do *what* in the network namespace *name*."""
    with open("/proc/self/ns/net", encoding="ascii") as own:  # noqa: PTH123 - kept open to come back
        enter(name)
        try:
            return what()
        finally:
            set_namespace(own.fileno())


def peers(nodes: list[Node], of: Node) -> tuple[Peer, ...]:
    """All but *of*, who is witness of each: IPv6 is named first, and IPv4 used."""
    return tuple(
        Peer(n.name, n.tenure, 1, (str(n.leg.address6), str(n.leg.address4)), mine=True) for n in nodes if n is not of
    )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Three nodes that greet, and witness, each other."""
    make_switch()
    made = [Node(number, tmp_path) for number in (1, 2, 3)]
    try:
        for node in made:
            others = tuple(n.name for n in made if n is not node)
            node.order(replace(node.orders, peers=peers(made, node), greeted=others, rules=(Echoed(others),)))
            node.start()
        yield made
    finally:
        for node in made:
            node.close()
        ip(f"netns delete {name}" for name in ("switch", *NAMES))


def fed(node: Node) -> None:
    wait_for(f"{node.name} has its permit", node.permitted, 10, alive=[node.process])


def test_echoes_feed_the_permit_and_each_says_who_echoes(nodes: list[Node]) -> None:
    for node in nodes:
        fed(node)
        others = frozenset(n.name for n in nodes if n is not node)
        node.hears("both echo", lambda news, want=others: news == Echoing(want))  # type: ignore[misc]
        assert node.news(Here)[0] == Here(0, 0, 0.0)
        assert Done(1) in node.news(Done)


def test_a_stopped_pulse_has_no_permit_and_the_others_vote(nodes: list[Node]) -> None:
    first, second, third = nodes
    for node in nodes:
        fed(node)
    first.process.sigstop()
    wait_for("the permit ends by itself", lambda: not first.permitted(), 5)
    for voter in (second, third):
        second.hears("a vote", lambda news, who=voter.name: isinstance(news, Vote) and news.voter == who)  # type: ignore[misc]
    vote = second.news(Vote)[0]
    assert (vote.node, vote.tenure, vote.version) == ("p1", 1, 1)
    assert second.permitted()  # one witness is enough
    first.process.sigcont()
    fed(first)
    assert second.process.running


def test_a_tenure_that_was_ended_is_never_echoed_again_and_hears_so(nodes: list[Node]) -> None:
    first, second, third = nodes
    fed(first)
    first.process.sigstop()
    live = replace(second.orders, peers=tuple(p for p in second.orders.peers if p.node != "p1"), next_tenure=5)
    second.order(replace(live, wrote=7, ended=(("p1", 1),), questions=(Question("p1", 1, ("p2", "p3")),)))
    third.hears("who wrote", lambda news: news == Wrote("p2", 7))
    passed = {news.witness for news in second.news(Passed)}
    second.hears("p3 passed", lambda news: isinstance(news, Passed) and news.witness == "p3")
    second.hears("p2 passed", lambda news: isinstance(news, Passed) and news.witness == "p2")
    assert passed <= {"p2", "p3"}
    first.process.sigcont()
    first.hears("its own end", lambda news: type(news).__name__ == "Over")
    second.hears("p1 again", lambda news: news == Returned("p1", 1))
    assert not first.permitted()


def kill_agent(node: Node) -> None:
    """And wait for the next."""
    before = len(node.news(Here))
    os.kill(node.agent(), signal.SIGKILL)
    wait_for("a word to the new agent", lambda: len(node.news(Here)) > before, 10, alive=[node.process])


def test_the_pulse_goes_on_without_its_agent_and_starts_another(nodes: list[Node]) -> None:
    first = nodes[0]
    fed(first)
    for _ in range(2):  # at once, then a second later
        kill_agent(first)
        here = first.news(Here)[-1]
        assert (here.serial, here.tenure) == (first.orders.serial, 1)
        assert here.permitted_until > 0
    assert first.permitted()


def test_an_agent_that_hangs_is_killed_and_replaced(nodes: list[Node]) -> None:
    first = nodes[0]
    fed(first)
    agent = first.agent()
    os.kill(agent, signal.SIGSTOP)
    wait_for("it is killed", lambda: agent not in children(first.process.pid), 10, alive=[first.process])
    wait_for("another is there", lambda: first.news(Here)[1:], 10, alive=[first.process])
    fed(first)


def test_a_node_whose_agents_die_again_and_again_falls_silent_and_comes_back(nodes: list[Node]) -> None:
    first, second, _ = nodes
    fed(first)
    for _ in range(3):  # after these the next takes 4 s, which is more than the patience here
        kill_agent(first)
    os.kill(first.agent(), signal.SIGKILL)
    second.hears("a vote", lambda news: isinstance(news, Vote) and news.node == "p1")
    wait_for("no permit", lambda: not first.permitted(), 5)
    fed(first)


def test_an_agent_dies_with_its_pulse_and_the_permit_by_itself(nodes: list[Node]) -> None:
    first = nodes[0]
    fed(first)
    agent = first.agent()
    first.process.sigkill()
    wait_for("the agent is gone", lambda: not Path(f"/proc/{agent}").exists(), 5)
    wait_for("the permit ends", lambda: not first.permitted(), 5)
    first.start()  # nothing of the dead one is in its way
    fed(first)


def test_a_second_pulse_ends_at_once(nodes: list[Node], tmp_path: Path) -> None:
    fed(nodes[0])
    command = ["ip", "netns", "exec", "p1", sys.executable, "-m", "tests.lab.pulse_stub", str(nodes[0].work), "30"]
    second = Process("second", command, tmp_path / "second.log", python_environment())
    assert second.wait() == 1
    assert "another roost-nodeagent runs on this node; end it first" in second.log()


def test_sigterm_reaches_the_agent_and_its_code_is_the_end(nodes: list[Node]) -> None:
    fed(nodes[0])
    nodes[0].agent()
    nodes[0].process.sigterm()
    assert nodes[0].process.wait() == 128 + signal.SIGTERM  # the stub has no manners
    assert nodes[0].permitted()  # whoever rests needs it longer than there is a pulse


def test_forged_and_recorded_datagrams_do_nothing(nodes: list[Node]) -> None:
    second = nodes[1]
    second.hears("both echo", lambda news: news == Echoing(frozenset({"p1", "p3"})))
    with within("p1", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        throw_at(second, sender)


def throw_at(second: Node, sender: socket.socket) -> None:
    stamp = wire.Stamp(9, 9, 9)
    forged = [
        wire.pack(Gone("p3", "p2", 2, 0.0), stamp, SEGMENT, b"x" * 32),
        wire.pack(Gone("p3", "p2", 2, 0.0), stamp, "another-segment", KEY),
        wire.pack(Hello("p3", 3, 1, 1, 0.6), wire.Stamp(0, 0, 1), SEGMENT, KEY),
        b"",
        os.urandom(1400),
    ]
    for datagram in forged:
        sender.sendto(datagram, (str(second.leg.address4), PORT))
    wanted = {wire.Drop.FOREIGN: 2, wire.Drop.MALFORMED: 2, wire.Drop.REPLAYED: 1}

    def missing() -> dict[str, int]:
        tallies = [dict(packet.counts) for packet in second.told() if isinstance(packet, Tally)]
        return {reason: n for reason, n in wanted.items() if not tallies or tallies[-1].get(reason, 0) < n}

    wait_for("all are counted", lambda: not missing(), 20, alive=[second.process])
    assert second.permitted()
    assert not [news for news in second.told() if isinstance(news, Heard) and type(news.news).__name__ == "Over"]
    # the same with the right key is heard
    sender.sendto(wire.pack(Gone("p3", "p2", 2, 0.0), stamp, SEGMENT, KEY), (str(second.leg.address4), PORT))
    second.hears("its end", lambda news: type(news).__name__ == "Over")
    wait_for("the permit is revoked", lambda: not second.permitted(), 5)


def test_without_a_key_there_are_no_hellos_and_another_is_taken_over_in_use(nodes: list[Node]) -> None:
    first, second, third = nodes
    for node in nodes:
        fed(node)
    new = b"n" * 32
    for node in nodes:  # first all accept the new one, then all sign with it, then the old one goes
        node.write(Keys((KEY, new)))
    for node in nodes:
        node.write(Keys((new, KEY)))
    for node in nodes:
        node.write(Keys((new,)))
    wait_for("all have read it", lambda: all(n.permitted() for n in nodes), 5)
    assert not first.news(Vote)
    first.write(Keys(()))
    wait_for("no permit without hellos", lambda: not first.permitted(), 10)
    assert second.permitted()
    assert third.process.running


def test_a_gate_that_is_taken_away_is_told_and_its_return_used(nodes: list[Node]) -> None:
    first = nodes[0]
    fed(first)
    first.gates.remove()

    def troubles() -> list[str]:
        return [p.text for p in first.told() if isinstance(p, Trouble)]

    wait_for("trouble", troubles, 5, alive=[first.process])
    first.install()
    fed(first)
    wait_for("no trouble", lambda: troubles()[-1] == "", 5, alive=[first.process])


def test_a_device_that_comes_back_is_used_again(nodes: list[Node]) -> None:
    first = nodes[0]
    fed(first)
    ip([f"link delete {DATA}"], "p1")
    wait_for("no permit", lambda: not first.permitted(), 5)
    plug(first.leg, ipv6=True)
    first.install()
    fed(first)


def test_one_way_loss_ends_the_permit_and_healing_brings_it_back(nodes: list[Node]) -> None:
    first, second, _ = nodes
    fed(first)
    lose(first.leg.port, "sent")
    wait_for("no permit", lambda: not first.permitted(), 5)
    second.hears("a vote", lambda news: isinstance(news, Vote) and news.node == "p1")
    lose_nothing(first.leg.port)
    fed(first)
    heal()


def test_the_footprint_of_a_pulse_is_shown(nodes: list[Node], capsys: pytest.CaptureFixture[str]) -> None:
    for node in nodes:
        fed(node)
    pids = [node.process.pid for node in nodes]
    before = [cpu_of(pid) for pid in pids]
    heard = [len(node.told()) for node in nodes]
    wait_for("a tally", lambda: all(len(n.told()) > h for n, h in zip(nodes, heard, strict=True)), 15)
    used = [cpu_of(pid) - was for pid, was in zip(pids, before, strict=True)]
    with capsys.disabled():
        for node, pid, cpu in zip(nodes, pids, used, strict=True):
            memory = ", ".join(f"{kind} {memory_of(pid, kind) >> 20} MiB" for kind in ("Pss", "Rss"))
            print(f"\n{node.name}: {memory}, {cpu:.2f} s of CPU, {os.sched_getscheduler(pid)=}", end="")  # noqa: T201 - for who runs it
    modules = memory_modules(nodes[0].process.pid)
    assert not modules, f"loaded by a pulse: {modules}"


def memory_modules(pid: int) -> set[str]:
    """What of an agent's libraries process *pid* has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in ("aiohttp", "msgspec", "_asyncio", "yaml", "multidict") if name in maps}
