"""Hearing and asking on a device in memory keep the contract of those in the kernel."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from nodeagent.neighbours.fake import MOST, FakeWire
from nodeagent.neighbours.listening import AT_ONCE
from roost.frames import arp
from tests.nodeagent.neighbours.contract import STRANGER, HearingContract, Stage, at_work


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
