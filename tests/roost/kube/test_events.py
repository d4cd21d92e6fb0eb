"""Events are told once, repeats become a series, and a broken API server costs nobody anything."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from roost.kube.events import BURST, EVENTS, REFILL, WAITING, Event, Events
from roost.kube.wire import ObjectReference
from tests.fakes.api import FakeApi, Fault, Refuse
from tests.fakes.clock import FakeClock, settle

WEB = ObjectReference(kind="Service", name="web", namespace="shop", uid="u1", resource_version="7")
VIP = ObjectReference(kind="VirtualIP", name="192.0.2.7", api_version="roost.dev/v1alpha1")


@contextlib.asynccontextmanager
async def speaking(api: FakeApi, clock: FakeClock) -> AsyncIterator[Events]:
    events = Events(api.kube(), clock, "roost.dev/cloudprovider", "me")
    task = asyncio.create_task(events.run())
    try:
        yield events
    finally:
        task.cancel()
        await asyncio.wait([task])


def told(api: FakeApi) -> list[Event]:
    return list(api.all(EVENTS).values())


async def test_what_is_said_is_written_next_to_the_object() -> None:
    api, clock = FakeApi(), FakeClock()
    async with speaking(api, clock) as events:
        events.say(WEB, "Normal", "AddressAllocated", "192.0.2.7 from pool prod", "Allocating")
        events.say(VIP, "Warning", "AddressConflict", "somebody answers", "Probing")
        await settle()
    first, second = sorted(told(api), key=lambda event: event.regarding.kind)
    assert first.metadata.namespace == "shop"
    assert first.regarding.resource_version == ""
    assert (first.note, first.reporting_controller, first.series) == (
        "192.0.2.7 from pool prod",
        "roost.dev/cloudprovider",
        None,
    )
    assert second.metadata.namespace == "default"


async def test_repeats_become_one_series() -> None:
    api, clock = FakeApi(), FakeClock()
    async with speaking(api, clock) as events:
        for _ in range(5):
            events.say(WEB, "Warning", "SyncLoadBalancerFailed", "PoolExhausted: …", "Allocating")
            await settle()
    (event,) = told(api)
    assert event.series is not None
    assert event.series.count == 5
    assert len(api.writes(EVENTS)) == 5


async def test_repeats_before_the_first_is_written_are_one_write_more() -> None:
    api, clock = FakeApi(), FakeClock()
    async with speaking(api, clock) as events:
        for _ in range(500):
            events.say(WEB, "Warning", "R", "note", "A")
        await settle()
    (event,) = told(api)
    assert event.series is not None
    assert event.series.count == 500
    assert len(api.writes(EVENTS)) == 2


async def test_a_series_whose_event_has_expired_begins_anew() -> None:
    api, clock = FakeApi(), FakeClock()
    async with speaking(api, clock) as events:
        events.say(WEB, "Warning", "R", "note", "A")
        await settle()
        (old,) = told(api)
        api.remove(EVENTS, old.metadata.name, namespace="shop")
        events.say(WEB, "Warning", "R", "note", "A")
        await settle()
    (new,) = told(api)
    assert new.metadata.name != old.metadata.name


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.ANSWER_LOST, Refuse(500), Refuse(429)])
async def test_a_failed_write_is_tried_again_and_not_doubled(fault: Fault | Refuse) -> None:
    api, clock = FakeApi(), FakeClock()
    api.fail(fault, "POST", EVENTS)
    async with speaking(api, clock) as events:
        events.say(WEB, "Warning", "R", "note", "A")
        await clock.advance(5)
    assert len(told(api)) == 1


async def test_without_an_api_server_events_are_dropped_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    api, clock = FakeApi(), FakeClock()
    api.down = True
    async with speaking(api, clock) as events:
        for number in range(10):
            events.say(WEB, "Warning", "R", f"note {number}", "A")
        await clock.advance(100)
        assert len(caplog.records) == 1
        api.down = False
        events.say(WEB, "Warning", "R", "afterwards", "A")
        await settle()
    assert [event.note for event in told(api)] == ["afterwards"]


async def test_one_object_cannot_drown_the_others() -> None:
    api, clock = FakeApi(), FakeClock()
    async with speaking(api, clock) as events:
        for number in range(BURST + 10):
            events.say(WEB, "Warning", "R", f"note {number}", "A")
        events.say(VIP, "Normal", "R", "note", "A")
        await clock.advance(1)
        assert len(told(api)) == BURST + 1
        await clock.advance(REFILL)
        events.say(WEB, "Warning", "R", "later", "A")
        await settle()
    assert len(told(api)) == BURST + 2


async def test_what_waits_is_bounded() -> None:
    api, clock = FakeApi(), FakeClock()
    api.down = "hangs"
    async with speaking(api, clock) as events:
        for number in range(WAITING + 100):
            other = ObjectReference(kind="Service", name=f"s{number}", namespace="shop")
            events.say(other, "Warning", "R", "note", "A")
        api.down = False
        await clock.advance(1)
        for _ in range(200):
            await settle()
    assert len(told(api)) == WAITING


async def test_a_note_that_is_too_long_is_cut() -> None:
    api, clock = FakeApi(), FakeClock()
    async with speaking(api, clock) as events:
        events.say(WEB, "Warning", "R", "ä" * 2_000, "A")
        await settle()
    (event,) = told(api)
    assert len(event.note.encode()) <= 1_024
