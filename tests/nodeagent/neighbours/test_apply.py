"""The announcing task sends what it is told to, when it is told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address as ip

import pytest

from nodeagent.neighbours.apply import Announcer, Sent
from nodeagent.neighbours.fake import FakeWire
from nodeagent.neighbours.plan import Address, Settings
from roost.frames import Mac, claim
from roost.process import RealClock
from tests.fakes.clock import FakeClock

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


class Silent(Announcer):
    """On a clock that stands still until it is told otherwise; nobody announces."""

    def __init__(self, wire: FakeWire, clock: FakeClock, may: Callable[[Address], bool] = lambda _: True) -> None:
        super().__init__(wire, Mac.parse("02:00:00:00:00:01"), clock, Settings(), may)
        self.clock, self.wire = clock, wire

    async def runs(self, seconds: float) -> Counter[str]:
        """What is announced meanwhile, in steps of a hundredth."""
        before = len(self.wire.frames)
        task = asyncio.ensure_future(self.announce())
        for _ in range(round(seconds * 100)):
            await self.clock.advance(0.01)
            self._changed.set()  # its timer runs on the loop's own clock
        await self.clock.advance(0)
        task.cancel()
        return Counter(str(said.vip) for frame in self.wire.frames[before:] if (said := claim(frame)))


async def test_a_claimed_vip_is_defended_once_a_second_and_no_other(wire: Listening) -> None:
    announcer = Silent(wire, FakeClock())
    announcer.want({ONE, TWO, SIX})
    await announcer.runs(4)
    seen = Counter[str]()
    for _ in range(10):
        announcer.defend([ONE, ip("10.9.9.9")])
        announcer.defend([ONE, SIX])
        seen += await announcer.runs(0.2)
    assert seen == {str(ONE): 2 * 2, str(SIX): 2}


async def test_the_last_word_is_ours(wire: Listening) -> None:
    announcer = Silent(wire, FakeClock())
    announcer.want({ONE})
    await announcer.runs(4)
    announcer.defend([ONE])
    await announcer.runs(0.2)
    announcer.defend([ONE])  # heard within the second after
    assert await announcer.runs(0.5) == {}
    assert await announcer.runs(0.5) == {str(ONE): 2}
    assert await announcer.runs(2) == {}, "answered once"


async def test_when_one_is_heard_who_is_no_more_all_is_announced_again_once_a_second(wire: Listening) -> None:
    announcer = Silent(wire, FakeClock())
    announcer.want({TWO, SIX})
    await announcer.runs(4)
    announcer.heard_back()
    assert await announcer.runs(0.04) == {str(TWO): 2, str(SIX): 1}
    announcer.heard_back()
    assert await announcer.runs(0.03) == {str(TWO): 2, str(SIX): 1}, "the next round, and no more"


async def test_what_may_not_leave_is_not_sent_where_no_gate_can_stop_it(wire: Listening) -> None:
    held = {ONE}
    announcer = Silent(wire, FakeClock(), held.__contains__)
    announcer.want({ONE, SIX})
    assert (await announcer.runs(0.04)).keys() == {str(ONE)}
    assert announcer.sent.refused > 0
    held.clear()
    assert await announcer.runs(1) == {}
