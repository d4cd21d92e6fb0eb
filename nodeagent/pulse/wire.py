"""Datagrams between pulses: messages to signed octets and back, and which of them are new. No I/O.

A datagram is magic, version, kind and stamp, the message, and 16 octets of HMAC-SHA256 (RFC 2104, truncated as its
section 5 allows) over all of that and the segment's name. Who has no key can write none, and can change none; what is
left to him is to send again what he recorded, or to hold back what he carries.

What each message could do if it were heard again, late:
* hello: a dead seat would seem alive to this witness, so that nobody votes (nothing is claimed twice: the witness
  counts its echo as a fresh one, and heirs wait longer). Of a seat that is over: an answer, and a round of
  announcements.
* echo: nothing. It says that a witness heard a hello, which stays true; the permit counts from the hello's sending.
* silent: a vote from a moment of loss, counted with others of such moments, could end a healthy seat (which is
  outwaited as any other; only its VIPs move for nothing).
* ask: an answer that is true for ever. gone: true for ever; the wait it names begins at its receipt, so it only grows.
* told: a look at the table.

Hence :class:`Fresh`: each datagram bears a stamp that grows with every datagram of its sender, and one that is not
above the sender's newest is dropped (as is one that a younger overtook). A stamp is the table's next tenure as the
sender knows it, the time since boot at which the sender's pulse began, and a number. The first grows with every
seat that is taken, and so across a reboot; the second with every start of the pulse within a boot; no clock that people
set takes part. A pulse that is new itself knows no stamps: it takes a recorded hello for a fresh one until it hears the
sender, if the sender still lives. One witness can be deceived so and not the others, whose votes suffice.
A sender not heard for FORGOTTEN seconds may begin anew (its table was restored from an old copy).
"""

import hmac
import math
import struct
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any, NamedTuple

from nodeagent.pulse.messages import Ask, Echo, Gone, Hello, Message, Silent, Told

MAGIC, VERSION = b"RP", 1
SIGNATURE = 16  # octets of HMAC-SHA256 that are sent
LARGEST = 1200  # octets of a message; with the headers below it fits into any link's MTU
FORGOTTEN = 600.0  # seconds
MOST_SENDERS = 4096

_KINDS: tuple[type[Message], ...] = (Hello, Echo, Silent, Ask, Gone, Told)  # the order is what a kind's number means
_FIELDS = {kind: tuple((field.name, field.type) for field in fields(kind)) for kind in _KINDS}
_HEADER = struct.Struct(">2sBBQQQ")
_INT, _FLOAT = struct.Struct(">Q"), struct.Struct(">d")
_LONGEST_WAIT = 3600.0  # seconds; no permit is that long


class Stamp(NamedTuple):
    """What grows with every datagram of a sender."""

    generation: int
    life: int
    number: int


class Drop(StrEnum):
    """Why a datagram was dropped."""

    FOREIGN = "foreign"  # not signed with a key of ours, or for another segment
    MALFORMED = "malformed"  # of another version, or of none
    REPLAYED = "replayed"  # heard before, or overtaken


def pack(message: Message, stamp: Stamp, segment: str, key: bytes) -> bytes:
    """The datagram; of a long list of ended tenures as many as fit (the table has all of them)."""
    header = _HEADER.pack(MAGIC, VERSION, _KINDS.index(type(message)), *stamp)
    body = bytearray(header)
    for name, form in _FIELDS[type(message)]:
        _write(body, form, getattr(message, name))
    return bytes(body) + _signature(bytes(body), segment, key)


def unpack(datagram: bytes, segment: str, keys: Sequence[bytes]) -> tuple[Stamp, Message] | Drop:
    """What *datagram* says, if it is signed with one of *keys*."""
    body, signature = datagram[:-SIGNATURE], datagram[-SIGNATURE:]
    if len(body) < _HEADER.size or body[:3] != MAGIC + bytes([VERSION]):
        return Drop.MALFORMED
    if not any(hmac.compare_digest(_signature(body, segment, key), signature) for key in keys):
        return Drop.FOREIGN
    _, _, kind, *stamp = _HEADER.unpack_from(body)
    try:
        return Stamp(*stamp), _Reader(body, _HEADER.size).message(_KINDS[kind])
    except (ValueError, IndexError, struct.error):
        return Drop.MALFORMED


class Fresh:
    """Which datagrams are new, by the newest stamp of each sender."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[Stamp, float]] = {}  # and when it was heard; the longest silent sender first

    def accepts(self, sender: str, stamp: Stamp, now: float) -> bool:
        """Whether *stamp* is the newest of *sender*, who then has to exceed it. *now*: seconds on any steady clock."""
        known = self._newest.get(sender)
        if known is not None and stamp <= known[0] and now - known[1] < FORGOTTEN:
            return False
        self._newest.pop(sender, None)
        self._newest[sender] = stamp, now
        if len(self._newest) > MOST_SENDERS:
            del self._newest[next(iter(self._newest))]
        return True


def _signature(body: bytes, segment: str, key: bytes) -> bytes:
    # The segment is signed though it is not sent: it comes last, and after its length no other split is possible.
    name = segment.encode()
    return hmac.digest(key, body + name + bytes([len(name) & 0xFF]), "sha256")[:SIGNATURE]


def _write(body: bytearray, kind: object, value: Any) -> None:
    if kind is int:
        body += _INT.pack(value)
    elif kind is float:
        body += _FLOAT.pack(value)
    elif kind is str:
        octets = value.encode()
        body += bytes([len(octets)]) + octets
    else:
        where, count = len(body), 0
        body.append(0)
        for node, tenure in value:
            if len(body) + 1 + len(node.encode()) + _INT.size > LARGEST:
                break
            _write(body, str, node)
            _write(body, int, tenure)
            count += 1
        body[where] = count


class _Reader:
    """Reads a message's fields one by one; ValueError, IndexError or struct.error where they are not as they should."""

    def __init__(self, octets: bytes, at: int) -> None:
        self._octets, self._at = octets, at

    def message(self, kind: type[Message]) -> Message:
        values = [self._value(form) for _, form in _FIELDS[kind]]
        if self._at != len(self._octets):
            raise ValueError("octets are left")
        return kind(*values)

    def _value(self, kind: object) -> Any:
        if kind is int:
            return self._int()
        if kind is float:
            return self._wait()
        if kind is str:
            return self._text()
        return tuple((self._text(), self._int()) for _ in range(self._take(1)[0]))

    def _take(self, length: int) -> bytes:
        taken = self._octets[self._at : self._at + length]
        if len(taken) < length:
            raise ValueError("octets are missing")
        self._at += length
        return taken

    def _text(self) -> str:
        return self._take(self._take(1)[0]).decode()

    def _int(self) -> int:
        return int(_INT.unpack(self._take(_INT.size))[0])

    def _wait(self) -> float:
        seconds = float(_FLOAT.unpack(self._take(_FLOAT.size))[0])
        if not (math.isfinite(seconds) and 0 <= seconds <= _LONGEST_WAIT):
            raise ValueError("no time to wait")
        return seconds
