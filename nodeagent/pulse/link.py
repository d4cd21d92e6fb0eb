"""The agent's end of the socket to its pulse."""

import asyncio
import logging
import os
import socket
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn, Protocol

from nodeagent.model import News, Orders
from nodeagent.pulse.ends import End, Ended
from nodeagent.pulse.packets import Alive, Begin, Close, Given, Heard, Keys, Open, Packet, Ready, Tally, Trouble, Vacate
from roost.kube import wire

log = logging.getLogger(__name__)

HEARTBEAT = 1.0  # seconds; after 30 without one the pulse ends an agent
NO_PULSE = 1  # exit code of an agent whose pulse is gone


@dataclass(frozen=True, slots=True)
class Settings:
    """How nodes hear each other."""

    pulse_port: int = 10262
    """UDP port of the hellos between nodes, the same on all nodes."""


class Pulses(Protocol):
    """What an agent wants of its pulse; for tests there is one in memory, in ``fake``."""

    trouble: dict[str, str]
    counts: dict[str, dict[str, int]]

    def open(self, segment: str, device: str, node: str, port: int) -> None: ...
    def close(self, segment: str) -> None: ...
    def vacate(self, device: str) -> None: ...
    def order(self, segment: str, orders: Orders) -> None: ...
    def key(self, keys: Iterable[bytes]) -> None: ...
    async def run(self, heard: Callable[[str, News], None]) -> NoReturn: ...


class PulseLink:
    """The pulse of this node. Nothing here waits; what it is told is in force once news of it (``Done``) come."""

    def __init__(self, end: int) -> None:
        """*end*: the socket's number, as the command line has it. Returns when the pulse says so: a few ms."""
        made = socket.socket(fileno=end)
        made.set_inheritable(False)
        made.setblocking(True)
        self.refused: tuple[str, ...] = ()
        """What the pulse is not permitted, in words."""
        self.trouble: dict[str, str] = {}
        """What keeps the pulse from its work now, by segment ("": the node)."""
        self.counts: dict[str, dict[str, int]] = {}
        """Datagrams by segment: heard, sent, unsent, stalled, and by what they were dropped for (wire.Drop)."""
        self.end = End(made)
        self._heard: Callable[[str, News], None] = lambda *_: None
        self.end.put(Begin())
        made.setblocking(True)
        try:
            self._take(self.end.one())
        except Ended:
            os._exit(NO_PULSE)
        made.setblocking(False)

    def open(self, segment: str, device: str, node: str, port: int) -> None:
        """Have a pulse for *segment*; its first word is ``Here``. Where it is open already it goes on as it was."""
        self.end.put(Open(segment, device, node, port), (Open, segment))

    def close(self, segment: str) -> None:
        """No more hellos there, and no permit. (An agent that rests does not close: its permit has to outlive it.)"""
        self.end.put(Close(segment), (Close, segment))

    def vacate(self, device: str) -> None:
        """Close whatever segment a former agent opened on *device*."""
        self.end.put(Vacate(device), (Vacate, device))

    def order(self, segment: str, orders: Orders) -> None:
        """Newer orders replace older ones, also such as have not reached the pulse yet."""
        self.end.put(Given(segment, orders), (Given, segment))

    def key(self, keys: Iterable[bytes]) -> None:
        """The keys of the datagrams: the first signs, all are accepted; without one there are none."""
        self.end.put(Keys(tuple(keys)), Keys)

    async def run(self, heard: Callable[[str, News], None]) -> NoReturn:
        """Pass on what the pulse says, and have it know that this loop turns. Without a pulse the process ends here."""
        self._heard = heard
        loop = asyncio.get_running_loop()
        loop.add_reader(self.end.fileno(), self._read)
        try:
            while True:
                self.end.put(Alive())
                await asyncio.sleep(HEARTBEAT)
        finally:
            loop.remove_reader(self.end.fileno())

    def _read(self) -> None:
        try:
            for packet in self.end.receive():
                self._take(packet)
        except Ended:
            # Not even to clean up: another pulse may have begun, and whatever stands in the kernel is its agent's.
            os._exit(NO_PULSE)

    def _take(self, packet: Packet) -> None:
        match packet:
            case Ready(refused):
                self.refused = refused
                for text in refused:
                    log.warning("pulse: %s; under load it may be late", text)
            case Heard(segment, news):
                self._heard(segment, news)
            case Tally(segment, counts):
                self.counts[segment] = dict(counts)
            case Trouble(segment, text):
                self.trouble[segment] = text
                log.log(logging.WARNING if text else logging.INFO, "pulse of %s: %s", segment, text or "all is well")


def segment_keys(secret: wire.Secret | None) -> tuple[bytes, ...]:
    """The keys of the Secret: ``key`` signs, and any others in it are accepted too."""
    data = secret.data if secret is not None else {}
    names = sorted(data, key=lambda name: (name != "key", name))
    return tuple(key for name in names if (key := b64decode(data[name])))
