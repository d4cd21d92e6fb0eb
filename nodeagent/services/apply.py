"""Asks kube-proxy on this node, at a Service's healthCheckNodePort, whether it serves that Service here."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec

from nodeagent.services.endpoints import ServiceKey
from nodeagent.services.plan import Check
from roost.process import Clock, jitter
from roost.words import Address

PERIOD = 1.0  # seconds between two questions about one Service
SPREAD = 0.2  # share of that by which they are spread
SOONEST = 0.1  # seconds until the second question; the third comes twice as late, and so on up to PERIOD
TICK = 0.25  # seconds; what is new is asked about that much later at most
TIMEOUT = 0.5  # seconds for one answer
YOUNG = 1.5  # seconds that kube-proxy may be behind with a new endpoint: its minSyncPeriod is 1 s
AT_ONCE = 8  # questions under way at a time
ANSWER = 4096  # bytes; kube-proxy sends some 300
YES, NO = 200, 503

Seen = Callable[[ServiceKey, int, bool | None], None]


class _Named(msgspec.Struct):
    namespace: str
    name: str


class _Answer(msgspec.Struct):
    """What kube-proxy says, as far as it shows whom it speaks of (pkg/proxy/healthcheck of Kubernetes)."""

    service: _Named


@dataclass(slots=True)
class _Turn:
    """When a check is due, how far that is from the last, when it was new, and whether it was ever answered by yes."""

    due: float
    new: float
    pause: float = SOONEST
    served: bool = False


async def ask(check: Check) -> bool | None:
    """What the first that listens answers. kube-proxy listens on all addresses, or (nftables) on the node's alone."""
    try:
        async with asyncio.timeout(TIMEOUT):
            for address in check.addresses:
                with contextlib.suppress(OSError):
                    return await _get(address, check)
    except TimeoutError:
        pass
    return None


async def _get(address: Address, check: Check) -> bool | None:
    """Raises OSError where nothing listens."""
    reader, writer = await asyncio.open_connection(str(address), check.port)
    try:
        host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
        writer.write(f"GET /healthz HTTP/1.0\r\nHost: {host}:{check.port}\r\n\r\n".encode())
        await writer.drain()
        return read(await _all(reader), check.service)
    finally:
        writer.close()


async def _all(reader: asyncio.StreamReader) -> bytes:
    """Up to its end; of what is longer than any answer, the beginning."""
    try:
        return await reader.readexactly(ANSWER)
    except asyncio.IncompleteReadError as error:
        return error.partial


def read(answer: bytes, service: ServiceKey) -> bool | None:
    """The answer in an HTTP response; None if it is no answer about this Service."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    try:
        about = msgspec.json.decode(body, type=_Answer).service
        code = int(status[0])
    except (msgspec.DecodeError, ValueError, IndexError):
        return None
    if (about.namespace, about.name) != service:
        return None
    return {YES: True, NO: False}.get(code)


@dataclass(slots=True)
class HealthChecks:
    """Puts the questions that *wanted* names, over and over, and tells *seen* each answer.

    An answer is yes, no, or None: nothing listens there (there is no kube-proxy, or it is down), it does not speak in
    time, or it is somebody else; then the EndpointSlices alone count. What is no longer asked is told as None. So is a
    no about an endpoint that is new: all nodes would say so at first, and pass a new Service's VIPs around meanwhile.
    """

    wanted: Callable[[], Sequence[Check]]
    seen: Seen
    clock: Clock
    ask: Callable[[Check], Awaitable[bool | None]] = ask
    _turns: dict[Check, _Turn] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> NoReturn:
        while True:
            await self.look()
            nearest = min((turn.due for turn in self._turns.values()), default=None)
            pause = PERIOD if nearest is None else min(TICK, nearest - self.clock.now())
            await self.clock.sleep(max(0.01, pause))

    async def look(self) -> None:
        """Put the questions that are due now, all together, and return when each has its answer."""
        wanted = self.wanted()
        for check in self._turns.keys() - set(wanted):
            del self._turns[check]
            self.seen(check.service, check.version, None)
        now = self.clock.now()
        due = [check for check in wanted if self._turns.setdefault(check, _Turn(now, now)).due <= now]
        async with asyncio.TaskGroup() as tasks:
            for check in due:
                turn = self._turns[check]
                turn.due, turn.pause = now + jitter(turn.pause, SPREAD), min(PERIOD, 2 * turn.pause)
                tasks.create_task(self._ask(check, turn))

    async def _ask(self, check: Check, turn: _Turn) -> None:
        async with self._room:
            answer = await self.ask(check)
        turn.served |= answer is True
        behind = not turn.served and self.clock.now() < turn.new + YOUNG
        self.seen(check.service, check.version, None if behind else answer)
