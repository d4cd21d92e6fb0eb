"""How programs start, keep on, and stop."""

import asyncio
import logging
import os
import signal
from typing import NoReturn

import pytest

from roost.process import Backoff, Unreachable, jitter, keep, run
from tests.fakes.clock import FakeClock, settle


async def test_unreachable_is_retried_with_growing_delays() -> None:
    clock = FakeClock()

    async def work() -> NoReturn:
        raise Unreachable("gobgp")

    task = asyncio.create_task(keep("bgp", work, clock))
    await clock.advance(1 + 2 + 4 + 8 + 16 + 30)
    task.cancel()
    await settle()
    assert clock.naps == [1, 2, 4, 8, 16, 30, 30]


async def test_a_long_healthy_run_starts_the_delays_afresh() -> None:
    clock = FakeClock()

    async def work() -> NoReturn:
        clock.time += 60
        raise Unreachable("gobgp")

    task = asyncio.create_task(keep("bgp", work, clock))
    await clock.advance(1)
    await clock.advance(1)
    task.cancel()
    await settle()
    assert set(clock.naps) == {1}


async def test_a_bug_in_one_task_stops_its_siblings() -> None:
    stopped = asyncio.Event()

    async def bug() -> NoReturn:
        raise KeyError("bug")

    async def sibling() -> NoReturn:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError("unreachable")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep("sibling", sibling, FakeClock()))
            await asyncio.sleep(0)
            tasks.create_task(keep("bug", bug, FakeClock()))
    assert caught.group_contains(KeyError)
    assert stopped.is_set()


def test_backoff_grows_and_is_jittered() -> None:
    low, high = Backoff(1, 5, lambda: 0.0), Backoff(1, 5, lambda: 1.0)
    assert [low.next() for _ in range(5)] == [0.5, 1, 2, 2.5, 2.5]
    assert [high.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    high.reset()
    assert high.next() == 1


def test_jitter() -> None:
    assert [jitter(10, 0.2, lambda at=at: at) for at in (0.0, 0.5, 1.0)] == [8, 10, 12]  # type: ignore[misc]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_program_to_stop(number: signal.Signals) -> None:
    stopped = []

    async def main(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), number)
        await stop.wait()
        stopped.append(True)

    assert run(main) == 0
    assert stopped


def test_a_far_side_that_is_away_at_the_start_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def main(_: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())

    async def fail() -> None:
        raise Unreachable("no usable Kubernetes configuration")

    assert run(main) == 1
    (record,) = caplog.records
    assert record.getMessage() == "no usable Kubernetes configuration"
    assert record.exc_info is None


def test_a_bug_leaves_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def main(_: asyncio.Event) -> None:
        raise KeyError("bug")

    assert run(main) == 70
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert "KeyError: 'bug'" in caplog.text
