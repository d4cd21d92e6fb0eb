import asyncio

from cloudprovider.keys import Alarms, Keys
from tests.fakes.clock import FakeClock, settle


async def test_a_key_waits_once_and_comes_in_order() -> None:
    keys = Keys[str]()
    for key in ("a", "b", "a"):
        keys.put(key)
    assert [await keys.get(), await keys.get()] == ["a", "b"]
    assert len(keys) == 2


async def test_what_changes_while_it_is_worked_on_comes_again_afterwards() -> None:
    keys = Keys[str]()
    keys.put("a")
    assert await keys.get() == "a"
    keys.put("a")
    waiting = asyncio.create_task(keys.get())
    await settle()
    assert not waiting.done()
    keys.done("a")
    assert await waiting == "a"
    keys.done("a")
    assert len(keys) == 0


async def test_alarms_ring_once_at_the_earliest_time() -> None:
    clock = FakeClock()
    alarms, rung = Alarms[str](clock), list[tuple[str, float]]()

    async def listen() -> None:
        while True:
            rung.append((await alarms.next(), clock.now() - 1000))

    listening = asyncio.create_task(listen())
    alarms.set("late", 30)
    alarms.set("soon", 5)
    alarms.set("late", 10)
    alarms.set("late", 40)
    alarms.set("never", 7)
    alarms.drop("never")
    await clock.advance(60)
    assert rung == [("soon", 5), ("late", 10)]
    alarms.set("late", 1)
    await clock.advance(2)
    assert rung[-1] == ("late", 61)
    listening.cancel()
