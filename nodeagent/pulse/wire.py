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

import functools
import hashlib
import hmac
import operator
import struct
from collections.abc import Callable, Sequence
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
_HEADER = struct.Struct(">4sQQQ")
_BEGINS = MAGIC + bytes([VERSION])
_INT = struct.Struct(">Q")
_CODES: dict[Any, str] = {int: "Q", float: "d"}
_BLOCK = 64  # octets of a block of SHA-256
_LONGEST_WAIT = 3600.0  # seconds; no permit is that long


class _Form(NamedTuple):
    """How messages of a kind are written: texts, numbers, pairs of both; its fields are in that order."""

    kind: type[Message]
    begins: bytes  # what comes before the stamp
    values: Callable[[Message], tuple[Any, ...]]
    texts: int  # how many of its fields
    numbers: struct.Struct
    ends: int  # the field after the numbers
    pairs: bool
    waits: bool  # the last number is a time to wait


def _form(number: int, kind: type[Message]) -> _Form:
    types = [field.type for field in fields(kind)]
    codes = "".join(_CODES.get(one, "") for one in types)
    texts = types.count(str)
    return _Form(
        kind,
        _BEGINS + bytes([number]),
        operator.attrgetter(*(field.name for field in fields(kind))),
        texts,
        struct.Struct(">" + codes),
        texts + len(codes),
        texts + len(codes) < len(types),
        codes.endswith("d"),
    )


_FORMS = tuple(_form(number, kind) for number, kind in enumerate(_KINDS))
_FORM_OF = {form.kind: form for form in _FORMS}


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
    form = _FORM_OF[type(message)]
    values = form.values(message)
    parts = [_HEADER.pack(form.begins, *stamp), *map(_text, values[: form.texts])]
    parts.append(form.numbers.pack(*values[form.texts : form.ends]))
    if form.pairs:
        parts.append(_pairs(values[-1], LARGEST - sum(map(len, parts))))
    body = b"".join(parts)
    return body + _signature(body, segment, key)


def unpack(datagram: bytes, segment: str, keys: Sequence[bytes]) -> tuple[Stamp, Message] | Drop:
    """What *datagram* says, if it is signed with one of *keys*."""
    body, signature = datagram[:-SIGNATURE], datagram[-SIGNATURE:]
    if len(body) < _HEADER.size or not body.startswith(_BEGINS):
        return Drop.MALFORMED
    for key in keys:
        if hmac.compare_digest(_signature(body, segment, key), signature):
            break
    else:
        return Drop.FOREIGN
    begins, *stamp = _HEADER.unpack_from(body)
    try:
        return Stamp(*stamp), _read(_FORMS[begins[-1]], body)
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
    return _signer(segment, key)(body)


@functools.lru_cache(maxsize=16)
def _signer(segment: str, key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA256 as RFC 2104 has it, the key taken in once for all; hmac.digest() takes four times as long."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner, outer = hashlib.sha256(bytes(o ^ 0x36 for o in block)), hashlib.sha256(bytes(o ^ 0x5C for o in block))
    # The segment is signed though it is not sent: it comes last, and after its length no other split is possible.
    name = segment.encode()
    tail = name + bytes([len(name) & 0xFF])

    def sign(body: bytes) -> bytes:
        inside, outside = inner.copy(), outer.copy()
        inside.update(body + tail)
        outside.update(inside.digest())
        return outside.digest()[:SIGNATURE]

    return sign


def _text(text: str) -> bytes:
    octets = text.encode()
    return bytes((len(octets),)) + octets


def _pairs(pairs: Sequence[tuple[str, int]], room: int) -> bytes:
    """As many as there is *room* for, in octets."""
    parts = [b""]
    room -= 1
    for node, tenure in pairs:
        one = _text(node) + _INT.pack(tenure)
        room -= len(one)
        if room < 0:
            break
        parts.append(one)
    return bytes([len(parts) - 1]) + b"".join(parts)


def _read(form: _Form, body: bytes) -> Message:
    """Raises ValueError, IndexError or struct.error where a field is not as it should be."""
    at = _HEADER.size
    values = list[Any]()
    for _ in range(form.texts):
        text, at = _text_at(body, at)
        values.append(text)
    values += form.numbers.unpack_from(body, at)
    at += form.numbers.size
    if form.waits and not 0 <= values[-1] <= _LONGEST_WAIT:  # which is no number either
        raise ValueError("no time to wait")
    if form.pairs:
        pairs, at = _pairs_at(body, at)
        values.append(pairs)
    if at != len(body):
        raise ValueError("octets are left")
    return form.kind(*values)


def _text_at(body: bytes, at: int) -> tuple[str, int]:
    """The text there, and where it ends; if that is beyond the end, what comes next is missing."""
    end = at + 1 + body[at]
    return body[at + 1 : end].decode(), end


def _pairs_at(body: bytes, at: int) -> tuple[tuple[tuple[str, int], ...], int]:
    pairs, count = list[tuple[str, int]](), body[at]
    at += 1
    for _ in range(count):
        node, at = _text_at(body, at)
        pairs.append((node, int(_INT.unpack_from(body, at)[0])))
        at += _INT.size
    return tuple(pairs), at
