"""The announcing task sends what it is told to, when it is told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from ipaddress import ip_address as ip

import pytest

from nodeagent.neighbours.apply import Announcer, Sent
from nodeagent.neighbours.fake import FakeWire
from nodeagent.neighbours.plan import Settings
from roost.frames import Mac, claim
from roost.process import RealClock

ONE, TWO, SIX = ip("10.1.0.100"), ip("10.1.0.101"), ip("fd01::100")


class Listening(FakeWire):
    """A wire on which tests wait for claims."""

    def heard(self) -> Counter[str]:
        return Counter(str(said.vip) for frame in self.frames if (said := claim(frame)))

    async def hears(self, expected: dict[str, int]) -> None:
        async with asyncio.timeout(5):
            while not self.heard() >= Counter(expected):  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.001)


@pytest.fixture
async def wire() -> Listening:
    return Listening()


@pytest.fixture
async def announcer(wire: Listening) -> AsyncIterator[Announcer]:
    announcer = Announcer(wire, Mac.parse("02:00:00:00:00:01"), RealClock(), Settings())
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(announcer.announce())
        yield announcer
        work.cancel()


async def test_wanted_vips_are_announced_and_others_no_more(announcer: Announcer, wire: Listening) -> None:
    announcer.want({ONE, SIX})
    await wire.hears({str(ONE): 4, str(SIX): 2})
    announcer.want({TWO, SIX})
    assert announcer.announced == {TWO, SIX}
    before = wire.heard()[str(ONE)]
    await wire.hears({str(TWO): 4})
    assert wire.heard()[str(ONE)] == before
    assert announcer.sent == Sent(frames=len(wire.frames))


async def test_wanting_the_same_again_announces_nothing_anew(announcer: Announcer, wire: Listening) -> None:
    announcer.want({SIX})
    await wire.hears({str(SIX): 3})
    count = len(wire.frames)
    announcer.want({SIX})
    await asyncio.sleep(0)
    assert len(wire.frames) == count
    announcer.again({SIX})
    await wire.hears({str(SIX): count + 2})


async def test_a_shut_gate_is_counted(announcer: Announcer, wire: Listening) -> None:
    wire.shut = True
    announcer.want({ONE})
    async with asyncio.timeout(5):
        while announcer.sent.refused < 2:  # noqa: ASYNC110 - counters tell nobody
            await asyncio.sleep(0.001)
    assert wire.frames == []
