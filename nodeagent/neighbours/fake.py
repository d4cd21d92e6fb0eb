"""A device without a kernel, for tests: it remembers what was sent, and other stations are where the test puts them."""

import asyncio
import contextlib
from collections.abc import Iterable

from nodeagent.neighbours.apply import Sent
from nodeagent.neighbours.hearing import Address
from nodeagent.neighbours.listening import Caught
from roost.frames import Advertisement, Arp, Frame, Mac, Malformed, Solicitation, arp, ndp
from roost.frames.ethernet import ARP, IPV6, multicast

MOST = 300  # frames that wait to be read; more are dropped


class FakeWire:
    """A wire and an ear in one. Sent frames are in `frames`; while `shut` the gate holds every one of them back.

    `stations` says who has which address, and answers questions for it. While `down` nothing leaves.
    """

    def __init__(self) -> None:
        self.frames = list[bytes]()
        self.stations: dict[Address, Mac] = {}
        self.shut = self.down = False
        self.dropped = 0
        self._waiting = list[bytes]()
        self._woken = asyncio.Event()

    def open(self) -> bool:
        return not self.down

    def close(self) -> None:
        pass

    def send(self, frames: Iterable[bytes]) -> Sent:
        several = list(frames)
        if self.down:
            return Sent(linkless=len(several))
        if self.shut:
            return Sent(refused=len(several))
        self.frames += several
        for frame in several:
            self._answer(frame)
        return Sent(frames=len(several))

    def arrives(self, frame: bytes) -> None:
        """Another station sends *frame*."""
        if len(self._waiting) < MOST:
            self._waiting.append(frame)
            self._woken.set()
        else:
            self.dropped += 1

    async def readable(self) -> None:
        await self._woken.wait()

    def read(self, most: int) -> Caught:
        frames, self._waiting = self._waiting[:most], self._waiting[most:]
        if not self._waiting:
            self._woken.clear()
        return Caught(tuple(frames), more=bool(self._waiting))

    def joined(self, addresses: Iterable[Address]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # it hears everything

    def _answer(self, frame: bytes) -> None:
        match _asked(frame):
            case Arp(sender_mac=asker, sender=sender, target=target) if target in self.stations:
                mac = self.stations[target]
                self.arrives(Frame(asker, mac, ARP, Arp(arp.REPLY, mac, target, asker, sender).pack()).pack())
            case Solicitation(source=source, target=target) if target in self.stations:
                mac, flags = self.stations[target], ndp.Flags.OVERRIDE
                to = ndp.ALL_NODES if source == ndp.NOWHERE else source
                answer = Advertisement(target, to, target, mac, flags).pack()
                self.arrives(Frame(multicast(to), mac, IPV6, answer).pack())
            case _:
                pass


def _asked(frame: bytes) -> Arp | Solicitation | None:
    try:
        ethernet = Frame.unpack(frame)
        if ethernet.ethertype == ARP:
            packet = Arp.unpack(ethernet.payload)
            return packet if packet.operation == arp.REQUEST else None
        message = ndp.unpack(ethernet.payload)
    except Malformed:
        return None
    return message if isinstance(message, Solicitation) else None
