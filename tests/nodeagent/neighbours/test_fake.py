"""Hearing and asking on a device in memory keep the contract of those in the kernel."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from nodeagent.neighbours.fake import MOST, FakeWire
from nodeagent.neighbours.listening import AT_ONCE, Listener
from nodeagent.neighbours.probing import Prober
from roost.frames import arp
from roost.process import RealClock, Unreachable
from tests.nodeagent.neighbours.contract import FOUR, NODE_MAC, STRANGER, HearingContract, Stage, at_work


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    wire = FakeWire()
    async with at_work(wire, wire) as (listener, prober):
        yield Stage(
            wire,
            wire,
            listener,
            prober,
            appear=lambda address: wire.stations.update({address: STRANGER}),
            say=wire.arrives,
            unplug=lambda: setattr(wire, "down", True),
        )


class TestFakeWire(HearingContract):
    pass


async def test_a_flood_is_read_in_portions_and_what_is_too_much_is_counted(stage: Stage) -> None:
    for number in range(MOST + 50):
        stage.say(arp.announcement(IPv4Address("10.2.0.0") + number, STRANGER))
    assert stage.listener.dropped == 50
    assert len(stage.ear.read(AT_ONCE).frames) == AT_ONCE


async def test_an_answer_that_arrived_while_the_loop_stood_still_is_no_silence(stage: Stage) -> None:
    """The time for answers is over before anybody has read one."""
    stage.appear(FOUR)
    assert await stage.prober.probe([FOUR], times=1, every=0.0) == {FOUR: STRANGER}
    assert await stage.prober.answers([FOUR], times=1, every=0.0)


async def test_nobody_knows_where_nobody_listens(stage: Stage) -> None:
    listener = Listener(FakeWire(), {NODE_MAC}, RealClock())
    deaf = Prober(stage.wire, listener, NODE_MAC, RealClock(), rate=2_000)
    with pytest.raises(Unreachable):
        await deaf.probe([FOUR])
