"""Pulses in memory: they feed each other's permits, and what a test cuts is cut."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from nodeagent.gate.fake import FakePermits
from nodeagent.model import Done, Echoed, Echoing, Here, News, Orders, Over, Passed, Peer, Question, Vote, Wrote
from nodeagent.pulse.fake import FakeNetwork, FakePulse
from tests.fakes.clock import FakeClock

SEGMENT, DEVICE = "10.60.0.0-24", "eth0"
NAMES = ("n1", "n2", "n3")


@dataclass
class Segment:
    """Three nodes that witness each other, whose agents gave their orders."""

    clock: FakeClock
    network: FakeNetwork
    pulses: dict[str, FakePulse]
    orders: dict[str, Orders]
    heard: dict[str, list[News]]

    def order(self, name: str, orders: Orders) -> None:
        self.orders[name] = replace(orders, serial=self.orders[name].serial + 1)
        self.pulses[name].order(SEGMENT, self.orders[name])

    def permitted(self, name: str) -> bool:
        permits = self.pulses[name].permits
        return permits.left(DEVICE) is not None


@pytest.fixture
async def segment() -> AsyncIterator[Segment]:
    clock, network = FakeClock(), FakeNetwork()
    made = Segment(clock, network, {}, {}, {name: [] for name in NAMES})
    for number, name in enumerate(NAMES, 1):
        others = tuple(other for other in NAMES if other != name)
        peers = tuple(Peer(other, NAMES.index(other) + 1, 1, (), mine=True) for other in others)
        pulse = FakePulse(name, network, clock, FakePermits(clock.now))
        pulse.key([b"key"])
        pulse.open(SEGMENT, DEVICE, name, 10262)
        made.pulses[name] = pulse
        made.orders[name] = Orders(tenure=number, rules=(Echoed(others),), ready=True, next_tenure=4, peers=peers)
        made.order(name, replace(made.orders[name], greeted=others))
    tasks = [asyncio.create_task(pulse.live()) for pulse in made.pulses.values()]
    for name, pulse in made.pulses.items():
        tasks.append(asyncio.create_task(pulse.run(lambda _, news, to=name: made.heard[to].append(news))))  # type: ignore[misc]
    await clock.advance(0.5)
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_they_feed_each_other(segment: Segment) -> None:
    for name in NAMES:
        assert segment.permitted(name)
        others = frozenset(NAMES) - {name}
        assert segment.heard[name][:3] == [Here(0, 0, 0.0), Echoing(frozenset()), Done(1)]
        assert segment.heard[name][-1] == Echoing(others)


async def test_who_is_cut_off_loses_its_permit_and_is_voted_against(segment: Segment) -> None:
    segment.network.cut("n1")
    await segment.clock.advance(0.75)
    assert not segment.permitted("n1")
    assert segment.permitted("n2")
    votes = {(vote.node, vote.voter) for vote in segment.heard["n2"] if isinstance(vote, Vote)}
    assert votes == {("n1", "n2"), ("n1", "n3")}
    segment.network.heal()
    await segment.clock.advance(0.2)
    assert segment.permitted("n1")


async def test_a_device_that_a_former_agent_left_open_is_vacated(segment: Segment) -> None:
    segment.pulses["n1"].vacate("another")
    await segment.clock.advance(0.5)
    assert segment.permitted("n1")
    segment.pulses["n1"].vacate(DEVICE)
    assert not segment.permitted("n1")
    await segment.clock.advance(0.5)
    assert {vote.node for vote in segment.heard["n2"] if isinstance(vote, Vote)} == {"n1"}


async def test_sides_of_a_split_hear_only_themselves(segment: Segment) -> None:
    segment.network.split(["n1"], ["n2", "n3"])
    await segment.clock.advance(1.0)
    assert [segment.permitted(name) for name in NAMES] == [False, True, True]


async def test_a_stopped_pulse_says_nothing_and_its_permit_ends(segment: Segment) -> None:
    segment.pulses["n1"].runs = False
    await segment.clock.advance(0.75)
    assert not segment.permitted("n1")


async def test_an_end_is_told_asked_and_heard(segment: Segment) -> None:
    orders = segment.orders["n2"]
    peers = tuple(peer for peer in orders.peers if peer.node != "n1")
    ended = replace(orders, peers=peers, wrote=5, ended=(("n1", 1),), questions=(Question("n1", 1, ("n2", "n3")),))
    segment.order("n2", ended)
    await segment.clock.advance(0.2)
    assert Wrote("n2", 5) in segment.heard["n3"]
    assert {news.witness for news in segment.heard["n2"] if isinstance(news, Passed)} == {"n2", "n3"}
    assert Over(1) in segment.heard["n1"]
    assert not segment.permitted("n1")


async def test_without_a_key_nothing_is_said(segment: Segment) -> None:
    segment.pulses["n1"].key([])
    await segment.clock.advance(0.75)
    assert not segment.permitted("n1")


async def test_a_new_agent_finds_the_pulse_at_work(segment: Segment) -> None:
    pulse = segment.pulses["n1"]
    pulse.hang_up()
    await segment.clock.advance(5)
    segment.heard["n1"].clear()
    pulse.open(SEGMENT, DEVICE, "n1", 10262)
    await segment.clock.advance(0)
    here = segment.heard["n1"][0]
    assert isinstance(here, Here)
    assert (here.serial, here.tenure) == (1, 1)
    assert here.permitted_until > segment.clock.now()


async def test_a_node_without_agent_falls_silent_until_there_is_one(segment: Segment) -> None:
    segment.pulses["n1"].lose_agent()
    await segment.clock.advance(0.75)
    assert not segment.permitted("n1")
    segment.pulses["n1"].open(SEGMENT, DEVICE, "n1", 10262)
    await segment.clock.advance(0.2)
    assert segment.permitted("n1")


async def test_a_pulse_that_begins_anew_knows_nothing_and_the_permit_stands(segment: Segment) -> None:
    pulse = segment.pulses["n1"]
    pulse.restart()
    assert segment.permitted("n1")
    pulse.open(SEGMENT, DEVICE, "n1", 10262)
    await segment.clock.advance(0)
    here = segment.heard["n1"][-2]
    assert isinstance(here, Here)
    assert (here.serial, here.tenure) == (0, 0)
    assert here.permitted_until > segment.clock.now()


async def test_a_segment_that_is_closed_has_no_permit(segment: Segment) -> None:
    segment.pulses["n1"].close(SEGMENT)
    assert not segment.permitted("n1")
    await segment.clock.advance(1)
    assert segment.permitted("n2")
