"""What a pulse and its agent send each other over their socket: values to octets and back, no I/O.

Both ends are of one version and on one machine, so this is plain JSON: a dataclass is a list, its name first.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from nodeagent.model import News, Orders

LARGEST = 1 << 19  # octets of a packet; the orders for 500 seats have some 60,000


# -- from the agent --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """An agent is there, and its settings are right; it waits for Ready."""


@dataclass(frozen=True, slots=True)
class Open:
    """Be the pulse of *segment*, whose hellos go by UDP *port* of *device*; *node* is this node's name."""

    segment: str
    device: str
    node: str
    port: int


@dataclass(frozen=True, slots=True)
class Close:
    """Leave *segment* alone from now on: no hellos, no echoes, and no permit."""

    segment: str


@dataclass(frozen=True, slots=True)
class Vacate:
    """No segment is on *device* any more, whatever a former agent opened there."""

    device: str


@dataclass(frozen=True, slots=True)
class Given:
    """The orders for *segment*."""

    segment: str
    orders: Orders


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that datagrams are signed with: the first signs, all are accepted, and none means no datagrams."""

    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Alive:
    """The agent works."""


# -- from the pulse --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """Go on. *refused*: what the pulse is not permitted, and so may be late for."""

    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """News of *segment*."""

    segment: str
    news: News


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps the pulse of *segment* (or, without one, of the node) from its work; no text: nothing does now."""

    segment: str
    text: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many datagrams of *segment* were heard, sent, and dropped for which reason, in the life of the pulse."""

    segment: str
    counts: tuple[tuple[str, int], ...]


Packet = Begin | Open | Close | Vacate | Given | Keys | Alive | Ready | Heard | Trouble | Tally


def pack(packet: Packet) -> bytes:
    """Raises ValueError where it has more than LARGEST octets."""
    octets = json.dumps(packet, default=_plain, separators=(",", ":"), ensure_ascii=False).encode()
    if len(octets) > LARGEST:
        raise ValueError(f"a packet of {len(octets)} octets is larger than {LARGEST}")
    return octets


def unpack(octets: bytes) -> Packet:
    """Raises ValueError, KeyError or TypeError where another version speaks."""
    packet: Packet = _reader(Packet)(json.loads(octets))
    return packet


def _plain(value: Any) -> Any:
    """What JSON has no words for."""
    match value:
        case bytes():
            return value.hex()
        case frozenset():
            return sorted(value)
        case _:
            return [type(value).__name__, *(getattr(value, field.name) for field in fields(value))]


@functools.cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """Turns what JSON made of a value of type *hint* into that value again."""
    if isinstance(hint, UnionType):
        known = {kind.__name__: _reader(kind) for kind in get_args(hint)}
        return lambda raw: known[raw[0]](raw)
    if is_dataclass(hint):
        return _fields_reader(hint)
    if get_origin(hint) in (tuple, frozenset):
        return _several_reader(hint)
    plain: dict[Any, Callable[[Any], Any]] = {bytes: bytes.fromhex, float: float}
    return plain.get(hint, lambda raw: raw)


def _fields_reader(hint: Any) -> Callable[[Any], Any]:
    parts = [_reader(part) for part in get_type_hints(hint).values()]
    return lambda raw: hint(*[read(value) for read, value in zip(parts, raw[1:], strict=True)])


def _several_reader(hint: Any) -> Callable[[Any], Any]:
    made, kinds = get_origin(hint), get_args(hint)
    item = _reader(kinds[0])
    if made is frozenset or kinds[-1] is Ellipsis:
        return lambda raw: made(map(item, raw))
    parts = [_reader(kind) for kind in kinds]
    return lambda raw: tuple([read(value) for read, value in zip(parts, raw, strict=True)])
