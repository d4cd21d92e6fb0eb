"""One end of the socket between pulse and agent: it never blocks, and forgets nothing that must be known."""

import contextlib
import errno
import socket
from collections.abc import Hashable, Iterator

from nodeagent.pulse.packets import LARGEST, Packet, pack, unpack

_SO_SNDBUFFORCE = 32  # asm-generic/socket.h


class Ended(Exception):
    """The other end is closed."""


class End:
    """Packets out and in. Raises OSError (EMSGSIZE) for a packet larger than the system's buffers allow."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        try:
            end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * LARGEST)
        except PermissionError:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGEST)
        self._end = end
        self._waiting: dict[Hashable, Packet] = {}
        self._room = memoryview(bytearray(LARGEST))

    def close(self) -> None:
        self._end.close()

    def fileno(self) -> int:
        return self._end.fileno()

    def put(self, packet: Packet, key: Hashable = None) -> None:
        """Send *packet*. If there is no room it waits, in place of an older one of *key*; without a key it is lost."""
        self.flush()
        if self._waiting or not self._sent(packet):
            self._waiting.pop(key, None)
            if key is not None:
                self._waiting[key] = packet

    def flush(self) -> None:
        """Send what waits, if there is room."""
        for key in list(self._waiting):
            if not self._sent(self._waiting[key]):
                return
            del self._waiting[key]

    def receive(self) -> Iterator[Packet]:
        """All that came; Ended at the end."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield self.one()

    def one(self) -> Packet:
        """The next packet; Ended at the end, BlockingIOError where there is none (unless the socket blocks)."""
        try:
            length = self._end.recv_into(self._room)
        except ConnectionError as error:
            raise Ended from error
        if not length:
            raise Ended
        return unpack(self._room[:length].tobytes())

    def _sent(self, packet: Packet) -> bool:
        try:
            self._end.send(pack(packet))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):  # receive() will say so
                return True
            if error.errno == errno.ENOBUFS:
                return False
            raise
        return True
