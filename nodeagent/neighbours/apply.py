"""Frames out of a device, and the task that sends each when it is due."""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import NoReturn, Protocol

from nodeagent.neighbours import plan
from nodeagent.neighbours.plan import DEFENCE, Address, Settings, State
from roost.frames.ethernet import Mac
from roost.process import Clock, Unreachable

_NO_LINK = {errno.ENETDOWN, errno.ENXIO, errno.ENODEV}


@dataclass(frozen=True, slots=True)
class Sent:
    """How many frames left, how many the gate held back, and how many found no link."""

    frames: int = 0
    refused: int = 0
    linkless: int = 0

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(self.frames + other.frames, self.refused + other.refused, self.linkless + other.linkless)


class Wire(Protocol):
    """A device to send frames from."""

    def send(self, frames: Iterable[bytes]) -> Sent: ...


class PacketSocket:
    """Sends whole frames from one device (packet(7)), and hears nothing."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Open it now, so that a missing right shows before the first VIP does; a missing link is no error.

        Raises Unreachable.
        """
        try:
            self._opened()
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise self._unreachable(error) from error

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, frames: Iterable[bytes]) -> Sent:
        """Raises Unreachable where sending is not allowed at all; a missing link is no error, it is counted."""
        return sum((self._one(frame) for frame in frames), Sent())

    def _one(self, frame: bytes) -> Sent:
        try:
            self._opened().send(frame)
        except OSError as error:
            if error.errno in _NO_LINK:
                self.close()  # a device of that name may come again, as another
                return Sent(linkless=1)
            if error.errno in {errno.ENOBUFS, errno.EAGAIN}:  # what nftables drops at egress is told as ENOBUFS
                return Sent(refused=1)
            raise self._unreachable(error) from error
        return Sent(frames=1)

    def _unreachable(self, error: OSError) -> Unreachable:
        return Unreachable(f"packet socket on {self.device}: {error}")

    def _opened(self) -> socket.socket:
        if self._socket is None:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            try:
                opened.setblocking(False)
                opened.bind((self.device, 0))  # protocol 0: nothing is received
            except OSError:
                opened.close()
                raise
            self._socket = opened
        return self._socket


class Announcer:
    """Announces on one device the VIPs it is told to; `announce()` runs in a task of its own.

    *mac* is the device's, and may be set anew when that changes; *sent* counts since the start. *may* is asked before
    each frame leaves: kernels before 5.16 have no gate that stops frames of our own making.
    """

    def __init__(
        self, wire: Wire, mac: Mac, clock: Clock, settings: Settings, may: Callable[[Address], bool] = lambda _: True
    ) -> None:
        self.mac = mac
        self.sent = Sent()
        self.announced: frozenset[Address] = frozenset()
        self._wire, self._clock, self._may = wire, clock, may
        self._state = State.silent(settings)
        self._defended: dict[Address, float] = {}  # when each was last defended
        self._to_defend: dict[Address, float] = {}  # when each may be
        self._all_again = float("-inf")
        self._changed = asyncio.Event()

    def want(self, vips: Set[Address]) -> None:
        """Announce *vips* and no others; those that are new, at once."""
        have, self.announced = self.announced, frozenset(vips)
        if gone := have - vips:
            self._state = plan.stop(self._state, gone)
            for vip in gone:
                self._defended.pop(vip, None)
                self._to_defend.pop(vip, None)
        if new := vips - have:
            self.again(new)

    def again(self, vips: Iterable[Address]) -> None:
        """Announce *vips* as if they were new: the link came back, or has another MAC."""
        self._state = plan.start(self._state, vips, self._clock.now())
        self._changed.set()

    def defend(self, vips: Iterable[Address]) -> None:
        """Announce those of *vips* that are announced here once more, for somebody else was heard to claim them.

        Each at most once a second, all within the slow rate: a forger is answered, but commands no flood. The last word
        is ours: what is heard within that second is answered at its end.
        """
        now = self._clock.now()
        for vip in vips:
            if vip in self.announced and vip not in self._to_defend:
                self._to_defend[vip] = max(now, self._defended.get(vip, float("-inf")) + DEFENCE)
                self._changed.set()

    def heard_back(self) -> None:
        """Announce all again, at most once a second: a holder that was outwaited is heard, and may have claimed."""
        now = self._clock.now()
        if now - self._all_again >= DEFENCE:
            self._all_again = now
            self.again(self.announced)

    async def announce(self) -> NoReturn:
        """Send every frame when it is due."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            if ripe := {vip for vip, at in self._to_defend.items() if at <= now}:
                self._state = plan.defend(self._state, ripe, now)
                for vip in ripe:
                    self._defended[vip] = now
                    del self._to_defend[vip]
            due = plan.due(self._state, now)
            self._state = due.state
            allowed = [turn for turn in due.turns if self._may(turn.vip)]
            self.sent += self._wire.send([plan.frame(turn, self.mac) for turn in allowed])
            self.sent += Sent(refused=len(due.turns) - len(allowed))
            wakes = [*self._to_defend.values(), *([due.wake] if due.wake is not None else [])]
            await self._until(min(wakes, default=None))

    async def _until(self, wake: float | None) -> None:
        """Return at *wake*, or when there is something new."""
        try:
            async with asyncio.timeout(None if wake is None else max(0.0, wake - self._clock.now())):
                await self._changed.wait()
        except TimeoutError:
            pass
