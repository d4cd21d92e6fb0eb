"""The little web server of every program: /metrics, /livez, /readyz, /healthz."""

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from roost import metrics
from roost.process import Clock, Unreachable

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""None: all is well; else the reason why not, in words for the person who reads it."""

BEAT = 1.0  # seconds
STALLED = 10.0  # seconds without a heartbeat after which the program does not count as alive


@dataclass(frozen=True, slots=True)
class Settings:
    health_address: str = ""
    """Address that /metrics, /livez and /readyz listen on; empty: all of this machine's."""

    health_port: int = 0
    """Port of /metrics, /livez and /readyz; 0: off."""


class Heartbeat:
    """Shows that the event loop turns. It says nothing of the API server: killing us would not bring that back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.now()

    async def run(self) -> NoReturn:
        while True:
            began = self._clock.now()
            await self._clock.sleep(BEAT)
            self._last = self._clock.now()
            metrics.LOOP_LAG.set(max(0.0, self._last - began - BEAT))
            metrics.TASKS.set(len(asyncio.all_tasks()))

    def check(self) -> str | None:
        silent = self._clock.now() - self._last
        return f"no heartbeat for {silent:.0f} s" if silent > STALLED else None


@contextlib.asynccontextmanager
async def serving(settings: Settings, *, live: Mapping[str, Check], ready: Mapping[str, Check]) -> AsyncIterator[int]:
    """Serve while the context is open; yields the port (0: off). Raises Unreachable if it is taken.

    *live* and *ready* name their checks: /livez asks the first, /readyz and /healthz both.
    """
    if not settings.health_port:
        yield 0
        return
    runner = web.AppRunner(application(live, ready), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.health_address or None, settings.health_port)
        await _start(site, settings)
        yield settings.health_port
    finally:
        await runner.cleanup()


async def _start(site: web.TCPSite, settings: Settings) -> None:
    try:
        await site.start()
    except OSError as error:
        where = f"{settings.health_address or '*'}:{settings.health_port}"
        why = "another program listens there" if error.errno == errno.EADDRINUSE else str(error)
        raise Unreachable(f"cannot serve /metrics on {where}: {why} (setting health-port)") from error


def application(live: Mapping[str, Check], ready: Mapping[str, Check]) -> web.Application:
    app = web.Application()

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def livez(_: web.Request) -> web.Response:
        return _verdict(live)

    async def readyz(_: web.Request) -> web.Response:
        return _verdict({**live, **ready})

    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/healthz", readyz)
    return app


def _verdict(checks: Mapping[str, Check]) -> web.Response:
    reasons = {name: check() for name, check in checks.items()}
    lines = [f"[+] {name}: ok" if reason is None else f"[-] {name}: {reason}" for name, reason in reasons.items()]
    bad = any(reason is not None for reason in reasons.values())
    return web.Response(text="\n".join([*lines, "not ok" if bad else "ok"]) + "\n", status=503 if bad else 200)
