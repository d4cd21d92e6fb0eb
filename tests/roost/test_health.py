"""The health endpoints say what is wrong, and the metrics have their names."""

import asyncio
import socket

import aiohttp
import pytest

from roost import metrics
from roost.health import STALLED, Check, Heartbeat, Settings, serving
from roost.process import Unreachable
from tests.fakes.clock import FakeClock, settle


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("live", "ready", "expected"),
    [
        pytest.param(None, None, {"/livez": 200, "/readyz": 200, "/healthz": 200}, id="all is well"),
        pytest.param(None, "no list yet", {"/livez": 200, "/readyz": 503, "/healthz": 503}, id="alive, not ready"),
        pytest.param("stalled", None, {"/livez": 503, "/readyz": 503, "/healthz": 503}, id="not alive"),
    ],
)
async def test_verdicts(live: str | None, ready: str | None, expected: dict[str, int]) -> None:
    checks: tuple[dict[str, Check], dict[str, Check]] = {"loop": lambda: live}, {"lists": lambda: ready}
    settings = Settings("127.0.0.1", free_port())
    async with serving(settings, live=checks[0], ready=checks[1]) as port:
        answers = {path: await ask(port, path) for path in expected}
    assert {path: status for path, (status, _) in answers.items()} == expected
    for reason in filter(None, (live, ready)):
        assert reason in answers["/readyz"][1]


async def test_metrics_are_served() -> None:
    metrics.HOLDER_CHANGES.labels("Taken").inc()
    async with serving(Settings("127.0.0.1", free_port()), live={}, ready={}) as port:
        status, text = await ask(port, "/metrics")
    assert status == 200
    assert 'roost_holder_changes_total{cause="Taken"}' in text
    assert "roost_build_info{" in text
    assert "process_resident_memory_bytes" in text


async def test_port_zero_is_off() -> None:
    async with serving(Settings(), live={}, ready={}) as port:
        assert port == 0


async def test_a_port_in_use_is_said_clearly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = Settings("127.0.0.1", server.getsockname()[1])
        with pytest.raises(Unreachable, match="another program listens there"):
            async with serving(settings, live={}, ready={}):
                pass


async def test_a_stalled_loop_is_seen() -> None:
    clock = FakeClock()
    heart = Heartbeat(clock)
    task = asyncio.create_task(heart.run())
    await clock.advance(60)
    assert heart.check() is None
    clock.time += STALLED + 1
    assert heart.check() == "no heartbeat for 11 s"
    await clock.advance(1)
    assert heart.check() is None
    task.cancel()
    await settle()


def test_metrics_per_vip_are_bounded() -> None:
    rows = [(f"192.0.{number // 256}.{number % 256}", "g", True) for number in range(metrics.PER_VIP_LIMIT)]
    metrics.show_vips("n1", rows)
    assert b"roost_vip_info{" in metrics.exposition()
    metrics.show_vips("n1", [*rows, ("192.0.2.1", "g", False)])
    text = metrics.exposition()
    assert b"roost_vip_info{" not in text
    assert b'roost_vips{state="announced"} 2000.0' in text
    metrics.show_vips("n1", [])
