"""The messages of nfnetlink and nf_tables that the gate speaks: values to bytes and back, no I/O.

Layout and numbers: linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

ARP, NETDEV, IPV6 = 3, 5, 10  # NFPROTO_*

# struct nlmsghdr: types and flags
ERROR, DONE = 2, 3
REQUEST, ACK, DUMP_INTERRUPTED, EXCLUSIVE, DUMP, CREATE = 0x01, 0x04, 0x10, 0x200, 0x300, 0x400
BATCH_BEGIN, BATCH_END = 16, 17

# NFT_MSG_*
GETTABLE, DELTABLE, GETCHAIN, GETSET, NEWSETELEM, GETSETELEM, DELSETELEM = 1, 2, 4, 10, 12, 13, 14

# attributes
TABLE_NAME, TABLE_USERDATA = 1, 6
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_USE = 1, 3, 4, 6
HOOK_DEVICE, HOOK_DEVICES = 3, 4
SET_TABLE, SET_NAME = 1, 2
LIST_TABLE, LIST_SET, LIST_ELEMENTS, LIST_ELEMENT = 1, 2, 3, 1
ELEMENT_KEY, ELEMENT_FLAGS, ELEMENT_TIMEOUT, ELEMENT_EXPIRATION, DATA_VALUE = 1, 3, 4, 5, 1
INTERVAL_END = 1  # NFT_SET_ELEM_INTERVAL_END

_NF_TABLES = 10  # NFNL_SUBSYS_NFTABLES
_NESTED = 0x8000
_TYPE = 0x3FFF  # an attribute's type without its flags
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_FAMILY = struct.Struct(">BBH")  # struct nfgenmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_TIMEOUT = struct.Struct(">Q")
_ELEMENTS_A_MESSAGE = 1_000  # an attribute's length has 16 bits


@dataclass(frozen=True, slots=True)
class Request:
    """One message to nf_tables, before it has its sequence number."""

    operation: int
    flags: int
    body: bytes
    family: int = NETDEV


@dataclass(frozen=True, slots=True)
class Place:
    """A set, or a chain: the family and the name of its table, and its own name."""

    family: int
    table: str
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One message from the kernel; *payload* is what follows struct nlmsghdr."""

    kind: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def errno(self) -> int:
        """What an answer of kind ERROR says; 0 is the acknowledgement."""
        return -int(struct.unpack_from("=i", self.payload)[0])

    @property
    def attributes(self) -> dict[int, bytes]:
        return dict(attributes(self.payload[_FAMILY.size :]))


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a set, and the milliseconds it is to live or has left; None: for ever.

    In a set of intervals one element is where an interval begins, the next the first key beyond it, and *ends* it.
    """

    key: bytes
    milliseconds: int | None = None
    ends: bool = False


def pack(request: Request, sequence: int, flags: int = 0) -> bytes:
    """*flags*: those beside the request's own."""
    kind = (_NF_TABLES << 8) | request.operation
    body = _FAMILY.pack(request.family, 0, 0) + request.body
    return _message(kind, REQUEST | request.flags | flags, sequence, body)


def pack_transaction(requests: Sequence[Request], sequence: int) -> bytes:
    """All of *requests* or none: the first has number *sequence* + 1. The last is acknowledged; errors always are."""
    bracket = _FAMILY.pack(0, 0, _NF_TABLES)
    parts = [_message(BATCH_BEGIN, REQUEST, sequence, bracket)]
    last = sequence + len(requests)
    for request in requests:
        sequence += 1
        parts.append(pack(request, sequence, ACK if sequence == last else 0))
    return b"".join([*parts, _message(BATCH_END, REQUEST, sequence + 1, bracket)])


def unpack(octets: bytes) -> Iterator[Answer]:
    while len(octets) >= _HEADER.size:
        length, kind, flags, sequence, _ = _HEADER.unpack_from(octets)
        yield Answer(kind, flags, sequence, octets[_HEADER.size : length])
        octets = octets[_aligned(length) :]


def attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *values: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(values))


def attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    while len(octets) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(octets)
        yield kind & _TYPE, octets[_ATTRIBUTE.size : length]
        octets = octets[_aligned(length) :]


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def add(place: Place, elements: Iterable[Element], *, exclusive: bool = False) -> Iterator[Request]:
    """Put *elements* into a set; *exclusive* ones fail (EEXIST) where they are already there."""
    flags = CREATE | (EXCLUSIVE if exclusive else 0)
    return _on_elements(NEWSETELEM, flags, place, elements)


def lasting(request: Request, milliseconds: int) -> Request:
    """What puts one element into a set, as *request* does, for another time; the time is what it ends with."""
    body = request.body[: -_TIMEOUT.size] + _TIMEOUT.pack(milliseconds)
    return Request(request.operation, request.flags, body, request.family)


def delete(place: Place, elements: Iterable[Element]) -> Iterator[Request]:
    """Take *elements* from a set; fails (ENOENT) where one is not there, or its time was up."""
    return _on_elements(DELSETELEM, 0, place, elements)


def dump(place: Place) -> Request:
    """Ask for the elements of a set; those whose time is up are not told."""
    named = attribute(LIST_TABLE, text(place.table)) + attribute(LIST_SET, text(place.name))
    return Request(GETSETELEM, DUMP, named, place.family)


def elements_of(answer: Answer) -> Iterator[Element]:
    for _, one in attributes(answer.attributes.get(LIST_ELEMENTS, b"")):
        fields = dict(attributes(one))
        key = dict(attributes(fields[ELEMENT_KEY]))[DATA_VALUE]
        left = fields.get(ELEMENT_EXPIRATION)
        flags = int.from_bytes(fields.get(ELEMENT_FLAGS, b""), "big")
        yield Element(key, None if left is None else int.from_bytes(left, "big"), bool(flags & INTERVAL_END))


def _on_elements(operation: int, flags: int, place: Place, elements: Iterable[Element]) -> Iterator[Request]:
    named = attribute(LIST_TABLE, text(place.table)) + attribute(LIST_SET, text(place.name))
    packed = [_packed(element) for element in elements]
    for start in range(0, len(packed), _ELEMENTS_A_MESSAGE):
        several = nested(LIST_ELEMENTS, *packed[start : start + _ELEMENTS_A_MESSAGE])
        yield Request(operation, flags, named + several, place.family)


def _packed(element: Element) -> bytes:
    key = nested(ELEMENT_KEY, attribute(DATA_VALUE, element.key))
    if element.milliseconds is None:
        return nested(LIST_ELEMENT, key)
    return nested(LIST_ELEMENT, key, attribute(ELEMENT_TIMEOUT, _TIMEOUT.pack(element.milliseconds)))


def _message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def _aligned(length: int) -> int:
    return (length + 3) & ~3
