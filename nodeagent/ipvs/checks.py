"""Checks of API servers, side by side: each has a task of its own, and none waits for another."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn

from nodeagent.ipvs.health import NEW, Health, Verdict, judged, pause
from nodeagent.ipvs.settings import Check, Settings
from nodeagent.ipvs.values import Place
from roost.process import Clock

_WORDS = 100  # of what it says of an error


class Checked(NamedTuple):
    """What a check said, and why in words unless all was well."""

    verdict: Verdict
    why: str = ""


Ask = Callable[[Place], Awaitable[Checked]]


class Checks:
    """The health of the backends that are listed."""

    def __init__(self, settings: Settings, clock: Clock, changed: Callable[[], None], ask: Ask | None = None) -> None:
        self.healths: Mapping[Place, Health] = {}
        self._settings, self._clock, self._changed = settings, clock, changed
        self._ask = ask or Prober(settings).ask
        self._tasks = dict[Place, asyncio.Future[NoReturn]]()

    def follow(self, backends: Iterable[Place]) -> None:
        """Check *backends* from now on, and no others; what was known of the others is forgotten."""
        several = frozenset(backends)
        for place in self._tasks.keys() - several:
            self._tasks.pop(place).cancel()
        self.healths = {place: health for place, health in self.healths.items() if place in several}
        for place in several - self._tasks.keys():
            self._tasks[place] = asyncio.ensure_future(self._check(place))
            self._tasks[place].add_done_callback(lambda _: self._changed())
        for task in self._tasks.values():
            if task.done():
                task.result()  # it raises

    async def stop(self) -> None:
        """Check nobody any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check(self, place: Place) -> NoReturn:
        while True:
            began = self._clock.now()
            try:
                async with asyncio.timeout(self._settings.lb_check_timeout):
                    checked = await self._ask(place)
            except TimeoutError:
                checked = Checked(Verdict.FAILED, f"no answer within {self._settings.lb_check_timeout:g} s")
            now = self._clock.now()
            before = self.healths.get(place, NEW)
            health = judged(before, checked.verdict, checked.why, now, self._settings)
            self.healths = {**self.healths, place: health}
            if health.state != before.state:
                self._changed()
            await self._clock.sleep(max(0.0, pause(health, self._settings) - (now - began)))


class Prober:
    """Asks API servers over the network; nobody needs to be known to them for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._loaded = 0.0  # when the CA's file was changed last

    async def ask(self, place: Place) -> Checked:
        """One check. Raises nothing; whoever calls limits its time."""
        settings = self._settings
        try:
            context = None if settings.lb_check == Check.TCP else self._tls()
        except OSError as error:
            return Checked(Verdict.FAILED, f"lb-check-ca: {error}")
        name = settings.lb_check_name if context and context.check_hostname else None
        try:
            reader, writer = await asyncio.open_connection(
                str(place.address), place.port, ssl=context, server_hostname=name or ("" if context else None)
            )
        except ConnectionRefusedError:
            return Checked(Verdict.REFUSED, "connection refused")
        except OSError as error:  # no route, and ssl.SSLError
            return Checked(Verdict.FAILED, str(error))
        try:
            return Checked(Verdict.WELL) if context is None else await _healthz(reader, writer, settings)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            return Checked(Verdict.FAILED, str(error) or type(error).__name__)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                writer.transport.abort()

    def _tls(self) -> ssl.SSLContext:
        """The context for the CA as the file has it now. Raises OSError."""
        path = self._settings.lb_check_ca
        changed = path.stat().st_mtime if path else 0.0
        if self._context is None or changed != self._loaded:
            context = ssl.create_default_context(cafile=path) if path else ssl.create_default_context()
            if path is None:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self._context, self._loaded = context, changed
        return self._context


async def _healthz(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: Settings) -> Checked:
    """The answer to readyz or livez. Raises OSError, EOFError, ValueError.

    401 and 403 come from an API server that lives and does not speak to strangers (--anonymous-auth=false).
    """
    path = f"/{settings.lb_check}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {settings.lb_check_name}\r\nConnection: close\r\n\r\n".encode())
    line = (await reader.readuntil(b"\r\n")).decode("latin-1").strip()
    protocol, _, said = line.partition(" ")
    if not protocol.startswith("HTTP/"):
        raise ValueError("it does not speak HTTP")
    if int(said[:3]) in {200, 401, 403}:
        return Checked(Verdict.WELL)
    return Checked(Verdict.FAILED, f"{path} says {said[:_WORDS]}")
