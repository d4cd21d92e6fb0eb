"""Addresses on and off by rtnetlink(7), in messages of our own: a node refreshes thousands, and moves as many at once.

pyroute2's way, which serves for all else, takes some ten times as long for each.
"""

import socket
import struct
from dataclasses import dataclass

from nodeagent.addresses.plan import Address

ADD, REFRESH, REMOVE = range(3)

_NEWADDR, _DELADDR, _ERROR = 20, 21, 2  # linux/rtnetlink.h, linux/netlink.h
_REQUEST, _ACK = 0x001, 0x004  # NLM_F_…
_REPLACE, _EXCL, _CREATE = 0x100, 0x200, 0x400
_KINDS = {
    ADD: (_NEWADDR, _REQUEST | _ACK | _CREATE | _EXCL),
    REFRESH: (_NEWADDR, _REQUEST | _ACK | _CREATE | _REPLACE),
    REMOVE: (_DELADDR, _REQUEST | _ACK),
}
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 2, 6, 8, 11  # linux/if_addr.h
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_MESSAGE = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_ANSWER = struct.Struct("=IHHIIi")  # nlmsghdr, and the error of struct nlmsgerr
_PATIENCE = 5.0  # seconds; the kernel answers before it returns from the request
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Standing:
    """How an address stands; *lifetime* in seconds, *proto* is the mark of who put it there. Never a source (0 s)."""

    scope: int
    flags: int
    proto: int
    lifetime: int


class Putting:
    """A socket of the network namespace where it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(_PATIENCE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def do(self, kind: int, index: int, address: Address, length: int, standing: Standing | None = None) -> int:
        """ADD, REFRESH or REMOVE *address* on the link of that *index*; the kernel's errno, 0: done. Raises OSError."""
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        self._socket.send(request(kind, self._sequence, index, address, length, standing))
        while True:
            _, what, _, sequence, _, error = _ANSWER.unpack_from(self._socket.recv(_LONGEST))
            if what == _ERROR and sequence == self._sequence:
                return -int(error)


def request(kind: int, sequence: int, index: int, address: Address, length: int, standing: Standing | None) -> bytes:
    """The message; RFC 3549 has the form, and linux/if_addr.h what is in it."""
    what, flags = _KINDS[kind]
    parts = [_attribute(_IFA_LOCAL, address.packed), _attribute(_IFA_ADDRESS, address.packed)]
    if standing is not None:
        lives = struct.pack("=IIII", 0, standing.lifetime, 0, 0)  # preferred for no time, valid for so long
        parts.append(_attribute(_IFA_FLAGS, struct.pack("=I", standing.flags)))
        parts.append(_attribute(_IFA_PROTO, bytes([standing.proto])))
        parts.append(_attribute(_IFA_CACHEINFO, lives))
    scope = standing.scope if standing is not None else 0
    body = _MESSAGE.pack(_FAMILIES[address.version], length, 0, scope, index) + b"".join(parts)
    return _HEADER.pack(_HEADER.size + len(body), what, flags, sequence, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)
