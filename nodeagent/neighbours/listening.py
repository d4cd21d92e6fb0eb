"""Frames into this program: sockets that the kernel filters, and the task that tells who was heard to claim what."""

import asyncio
import contextlib
import ctypes
import errno
import itertools
import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NoReturn, Protocol

from nodeagent.neighbours.hearing import INLETS, Address, Heard, Inlet, Rival, Stations, heard, packed, rival
from roost.frames import Mac, ndp
from roost.process import Clock, Unreachable

AT_ONCE = 32  # frames of each inlet that one turn takes; then others have theirs
AT_MOST = 10 * AT_ONCE  # as many as a socket holds
REST = 0.01  # seconds after a turn that left some: of a flood the kernel drops what that is too little for
CALM = 0.1  # seconds between two turns while nobody waits for an answer
RETRY = 0.5  # seconds between two attempts to open a device that is not there
MOST_JOINED = 64  # multicast groups at a time: an interface has few filters, and opens to all when they run out

_BUFFER = 1 << 18  # octets a socket; some 300 frames, as the kernel counts them
_LONGEST = 2048  # octets that are read of a frame
_GONE = {errno.ENETDOWN, errno.ENXIO, errno.ENODEV}
_SOL_PACKET, _PACKET_STATISTICS, _SO_ATTACH_FILTER = 263, 6, 26  # linux/if_packet.h, asm-generic/socket.h
_STATISTICS = struct.Struct("=II")  # struct tpacket_stats: packets, and how many of them were dropped


@dataclass(frozen=True, slots=True)
class Caught:
    """Some frames, and whether more of them wait."""

    frames: tuple[bytes, ...]
    more: bool


class Ear(Protocol):
    """A device to hear ARP and Neighbour Discovery on; `dropped` counts frames that came faster than they were read."""

    @property
    def dropped(self) -> int: ...
    def open(self) -> bool: ...
    def close(self) -> None: ...
    async def readable(self) -> None: ...
    def read(self, most: int) -> Caught: ...
    def joined(self, addresses: Iterable[Address]) -> contextlib.AbstractContextManager[None]: ...


class PacketEar:
    """Hears one device by packet sockets (packet(7)): what others send, never what leaves here."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._index, self._dropped = 0, 0
        self._sockets: tuple[socket.socket, ...] = ()
        self._any: select.epoll | None = None  # readable when one of them is: a loop's own books cost more, for each
        self._armed = False
        self._woken = asyncio.Event()

    @property
    def dropped(self) -> int:
        for inlet in self._sockets:
            counted = inlet.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)  # and the kernel forgets them
            self._dropped += _STATISTICS.unpack(counted)[1]
        return self._dropped

    def open(self) -> bool:
        """Hear from now on, if not already; False: there is no such device. Raises Unreachable where it may not."""
        index = _index(self.device)
        if index and index == self._index and self._sockets:
            return True  # if it is down, the same sockets hear again once it is up
        self.close()
        opened = list[socket.socket]()
        try:
            for inlet in INLETS.values() if index else ():
                opened.append(_opened(self.device, inlet))
        except OSError as error:
            for each in opened:
                each.close()
            if error.errno in _GONE:
                return False
            raise Unreachable(f"packet socket on {self.device}: {error}") from error
        self._index, self._sockets = index, tuple(opened)
        if opened:
            self._any = select.epoll()
            for each in opened:
                self._any.register(each, select.EPOLLIN)
        return bool(opened)

    def close(self) -> None:
        self._dropped = self.dropped
        self._disarm()
        self._woken.set()
        for inlet in self._sockets:
            inlet.close()
        if self._any is not None:
            self._any.close()
        self._sockets, self._any = (), None

    async def readable(self) -> None:
        """Return when there is something to read, or the sockets have been closed."""
        if self._any is None:
            return
        self._woken.clear()
        self._armed = True
        asyncio.get_running_loop().add_reader(self._any.fileno(), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            self._disarm()

    def _disarm(self) -> None:
        """Have the loop look at them no more: it would turn for as long as nobody reads."""
        if self._armed and self._any is not None:
            asyncio.get_running_loop().remove_reader(self._any.fileno())
        self._armed = False

    def read(self, most: int) -> Caught:
        """At most *most* frames of each inlet, answers to us first; of a device that is gone there are none."""
        frames, more = list[bytes](), False
        for inlet in self._sockets:
            some = list(itertools.islice(self._waiting(inlet), most))
            more |= len(some) == most
            frames += some
        if self._sockets and _index(self.device) != self._index:
            self.close()
        return Caught(tuple(frames), more)

    @contextlib.contextmanager
    def joined(self, addresses: Iterable[Address]) -> Iterator[None]:
        """Meanwhile hear what is sent to those who would have the IPv6 *addresses* (RFC 4862 §5.4.2 has hosts do so).

        Other hosts' solicitations go to a multicast group, which interfaces and switches keep from who is no member. Of
        many groups MOST_JOINED are joined, and none where the kernel has no IPv6 there: that is no error.
        """
        six = [address for address in addresses if isinstance(address, IPv6Address)]
        groups = list(dict.fromkeys(ndp.solicited_node(address) for address in six))[:MOST_JOINED]
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                if groups:
                    _join(stack.enter_context(_member()), groups, _index(self.device))
            yield

    def _waiting(self, inlet: socket.socket) -> Iterator[bytes]:
        """The frames that wait; a device that went down says so once, which is no error. Raises Unreachable."""
        try:
            while True:
                yield inlet.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _GONE:
                raise Unreachable(f"packet socket on {self.device}: {error}") from error


def _index(device: str) -> int:
    """0: there is no such device."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def _member() -> socket.socket:
    """A socket that is a member of multicast groups until it is closed, and receives nothing."""
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _join(member: socket.socket, groups: Iterable[IPv6Address], index: int) -> None:
    """Raises OSError."""
    for group in groups:
        request = group.packed + struct.pack("@I", index)  # struct ipv6_mreq
        member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)


def _opened(device: str, inlet: Inlet) -> socket.socket:
    """A socket that hears nothing until its filter is in place. Raises OSError."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        program = ctypes.create_string_buffer(packed(inlet.program))
        pointer = struct.pack("@HP", len(inlet.program), ctypes.addressof(program))  # struct sock_fprog
        opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        opened.setblocking(False)
        opened.bind((device, inlet.ethertype))
    except OSError:
        opened.close()
        raise
    return opened


class Listener:
    """Tells who was heard to claim what on one device; `listen()` runs in a task of its own.

    *own* are the MACs of this node, on whichever device: two on one segment hear each other. They may be set anew.
    *counted* are the frames that were looked at since the start.
    """

    def __init__(self, ear: Ear, own: Set[Mac], clock: Clock) -> None:
        self.own = own
        self.stations = Stations()
        self.counted = 0
        self._ear, self._clock = ear, clock
        self._at_work = False
        self._told: tuple[Callable[[Heard], None], ...] = ()
        self._in_time: tuple[Callable[[Heard], None], ...] = ()
        self._probing: tuple[Callable[[Rival], None], ...] = ()
        self._waiting = asyncio.Event()  # somebody waits for an answer

    @property
    def dropped(self) -> int:
        """Frames that were not looked at, because they came faster than a listener reads."""
        return self._ear.dropped

    def tell(self, whom: Callable[[Heard], None]) -> Callable[[], None]:
        """Call *whom* with every claim that is heard, at once, until the function that this returns is called."""
        self._told += (whom,)
        self._waiting.set()

        def no_more() -> None:
            self._told = tuple(each for each in self._told if each is not whom)

        return no_more

    def tell_in_time(self, whom: Callable[[Heard], None]) -> None:
        """Call *whom* with every claim that is heard, when it suits: a busy segment must not keep this node busy."""
        self._in_time += (whom,)

    @contextlib.contextmanager
    def telling_rivals(self, whom: Callable[[Rival], None], addresses: Iterable[Address]) -> Iterator[None]:
        """Meanwhile call *whom* with everybody who is heard to probe; for *addresses* that is made sure of."""
        self._probing += (whom,)
        try:
            with self._ear.joined(addresses):
                yield
        finally:
            self._probing = tuple(each for each in self._probing if each is not whom)

    def hears(self) -> bool:
        """Whether its task is at work and there is a device to hear. Raises Unreachable where that is not allowed."""
        return self._at_work and self._ear.open()

    def catch_up(self) -> None:
        """Tell now what has arrived already: a loop that stood still must not take that for silence."""
        self._take(self._ear.read(AT_MOST).frames)

    async def listen(self) -> NoReturn:
        """Tell what is heard, for ever; a device that is not there is waited for. Raises Unreachable."""
        self._at_work = True
        try:
            while True:
                if not self._ear.open():
                    await self._clock.sleep(RETRY)
                    continue
                await self._ear.readable()
                caught = self._ear.read(AT_ONCE)
                self._take(caught.frames)
                await self._rest(caught)
        finally:
            self._at_work = False
            self._ear.close()

    async def _rest(self, caught: Caught) -> None:
        if self._told or caught.more:
            await self._clock.sleep(REST if caught.more else 0.0)
            return
        self._waiting.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALM):
                await self._waiting.wait()

    def _take(self, frames: Sequence[bytes]) -> None:
        now = self._clock.now()
        self.counted += len(frames)
        for frame in frames:
            who = heard(frame, self.own, now)
            if who is not None:
                self.stations.note(who)
                for whom in (*self._told, *self._in_time):
                    whom(who)
            elif self._probing and (other := rival(frame, self.own)) is not None:
                for each in self._probing:
                    each(other)
