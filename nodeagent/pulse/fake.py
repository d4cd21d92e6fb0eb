"""Pulses without processes: the real plan of each node, datagrams that arrive at once, permits of a gate in memory."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from nodeagent.model import News, Orders
from nodeagent.pulse.apply import Beat, Permission, Permits
from nodeagent.pulse.messages import Message
from nodeagent.pulse.plan import AgentCame, AgentLost, Input, Send, Tick, start
from roost.process import Clock

STOPPED = 0.02  # seconds between two looks whether a stopped pulse goes on


class FakeNetwork:
    """The segments that pulses share. What is cut, or lost on its way, is for the test to say."""

    def __init__(self) -> None:
        self.pulses: dict[str, FakePulse] = {}
        self.lost: set[tuple[str, str]] = set()  # (from, to): what no longer arrives
        self._on_the_way = deque[tuple[str, str, str, Message]]()  # from, to, segment
        self._delivering = False

    def cut(self, *names: str) -> None:
        """These hear nobody, and nobody hears them."""
        for name in names:
            for other in self.pulses:
                self.lost |= {(name, other), (other, name)}

    def split(self, *sides: Iterable[str]) -> None:
        """Nodes of one of *sides* hear each other, and nobody else."""
        where = {name: number for number, side in enumerate(sides) for name in side}
        self.lost = {(one, other) for one in where for other in where if where[one] != where[other]}

    def heal(self) -> None:
        self.lost.clear()

    def send(self, sender: str, receiver: str, segment: str, message: Message) -> None:
        """Deliver *message*, after those that were sent before."""
        self._on_the_way.append((sender, receiver, segment, message))
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._on_the_way:
                self._deliver(*self._on_the_way.popleft())
        finally:
            self._delivering = False

    def _deliver(self, sender: str, receiver: str, segment: str, message: Message) -> None:
        pulse = self.pulses.get(receiver)
        if pulse is not None and (sender, receiver) not in self.lost and pulse.keys and pulse.runs:
            pulse.happen(segment, message)


@dataclass(slots=True)
class _Open:
    device: str
    beat: Beat


@dataclass(slots=True)
class FakePulse:
    """`link.PulseLink` in memory; the pulse is there as long as this object, whatever becomes of its agent.

    *permits*: `gate.fake.FakePermits`, or the like. ``live()`` is a task of its own. When an agent is gone
    ``hang_up()`` what was said to it; the next agent of the node does ``open()`` and ``run()`` on the same object.
    """

    node: str
    network: FakeNetwork
    clock: Clock
    permits: Permits
    runs: bool = True  # False: stopped; no hello, no echo
    keys: tuple[bytes, ...] = ()
    refused: tuple[str, ...] = ()
    trouble: dict[str, str] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    life: int = 1
    _segments: dict[str, _Open] = field(default_factory=dict)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _news: deque[tuple[str, News]] = field(default_factory=deque)
    _said: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.network.pulses[self.node] = self

    # -- as PulseLink

    def open(self, segment: str, device: str, node: str, port: int) -> None:
        assert node == self.node
        assert port > 0
        if segment not in self._segments:
            permission = Permission(self.permits, device, self.clock.now)
            state = start(node, self.life, self.clock.now())
            beat = Beat(
                state, permission, lambda send: self._send(segment, send), lambda news: self._say(segment, news)
            )
            self._segments[segment] = _Open(device, beat)
        self.happen(segment, AgentCame(self._segments[segment].beat.permission.until()))
        self._opened.set()

    def close(self, segment: str) -> None:
        known = self._segments.pop(segment, None)
        if known is not None:
            known.beat.permission.end(None)

    def vacate(self, device: str) -> None:
        for name in [name for name, known in self._segments.items() if known.device == device]:
            self.close(name)

    def order(self, segment: str, orders: Orders) -> None:
        self.happen(segment, orders)

    def key(self, keys: Iterable[bytes]) -> None:
        self.keys = tuple(keys)

    async def run(self, heard: Callable[[str, News], None]) -> NoReturn:
        """Pass the news on, never from within another call."""
        while True:
            while self._news:
                heard(*self._news.popleft())
            self._said.clear()
            await self._said.wait()

    # -- for the test

    async def live(self) -> NoReturn:
        """Be the pulse: tick as *clock* goes. A task of its own, that outlives its agents."""
        while True:
            await self._opened.wait()
            await self.clock.sleep(max(0.0, self.wake - self.clock.now()) if self.runs else STOPPED)
            self.tick()

    @property
    def wake(self) -> float:
        """When the next tick is due; far away without a segment."""
        return min((known.beat.state.wake for known in self._segments.values()), default=self.clock.now() + 1.0)

    def tick(self) -> None:
        """Let due hellos go."""
        for segment, known in tuple(self._segments.items()):
            if self.clock.now() >= known.beat.state.wake:
                self.happen(segment, Tick())

    def happen(self, segment: str, what: Input) -> None:
        known = self._segments.get(segment)
        if known is not None and self.runs:
            known.beat.happen(self.clock.now(), what)

    def hang_up(self) -> None:
        """The agent is gone; what was said to it is lost, and the pulse goes on."""
        self._news.clear()

    def lose_agent(self) -> None:
        """The agent is gone for so long that the node is better taken for dead."""
        for segment in tuple(self._segments):
            self.happen(segment, AgentLost())

    def restart(self) -> None:
        """The pulse dies, another begins, and its agent has to begin anew: it knows nothing; the permits stand."""
        self._segments.clear()
        self.life += 1
        self.hang_up()

    # -- inside

    def _send(self, segment: str, wanted: Send) -> None:
        for node in wanted.nodes if self.keys else ():
            self.network.send(self.node, node, segment, wanted.message)

    def _say(self, segment: str, news: News) -> None:
        self._news.append((segment, news))
        self._said.set()
