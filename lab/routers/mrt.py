"""What neighbours told a router, message by message, from the file it writes (MRT, RFC 6396; BGP, RFC 4271, 4760)."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path as File
from types import TracebackType
from typing import Self

from lab.routers.values import Address, Change, Path, Prefix

HEAD = 12  # bytes before a record's body
BGP4MP, BGP4MP_ET = 16, 17  # types of a record; the second has microseconds
MESSAGES, STATES = (1, 4), (0, 5)  # subtypes: AS numbers of two and four bytes
UPDATE = 2
ESTABLISHED = 6
ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, COMMUNITIES, MP_REACH, MP_UNREACH, LARGE = 1, 2, 3, 4, 5, 8, 14, 15, 32
EXTENDED_LENGTH = 0x10
NAMES = {0: "graceful-shutdown", 666: "blackhole", 0xFF01: "no-export", 0xFF02: "no-advertise", 0xFF03: "local-AS"}
NOBODY = frozenset({"0.0.0.0", "::"})
EVERY = 0.005  # seconds between looks at the file
IPV4 = 1  # address family number (RFC 4760)


def read_records(data: bytes) -> tuple[list[tuple[float | None, int, bytes]], int]:
    """Whole records as (time if it is exact, subtype, body), and how many bytes they were."""
    found, at = [], 0
    while len(data) - at >= HEAD:
        seconds, kind, subtype, length = struct.unpack_from("!IHHI", data, at)
        if len(data) - at - HEAD < length:
            break
        body = data[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind == BGP4MP_ET:
            found.append((seconds + int.from_bytes(body[:4], "big") / 1e6, subtype, body[4:]))
        elif kind == BGP4MP:
            found.append((None, subtype, body))
    return found, at


def read_changes(subtype: int, body: bytes, moment: float) -> Iterator[Change]:
    """What one record says."""
    wide = 4 if subtype in (4, 5) else 2  # bytes of an AS number in its head
    family = int.from_bytes(body[2 * wide + 2 : 2 * wide + 4], "big")
    size = 4 if family == IPV4 else 16
    at = 2 * wide + 4
    if len(body) < at + 2 * size:
        return  # FRR, of a session that has no addresses yet
    neighbour = str(ip_address(body[at : at + size]))
    rest = body[at + 2 * size :]
    if subtype in STATES:
        before, after = struct.unpack_from("!HH", rest)
        if ESTABLISHED in (before, after):
            yield Change(moment, neighbour, None, None, up=after == ESTABLISHED)
    elif subtype in MESSAGES and rest[18] == UPDATE:
        yield from _update(rest[19:], neighbour, moment)


def _update(message: bytes, neighbour: str, moment: float) -> Iterator[Change]:
    length = int.from_bytes(message[:2], "big")
    for prefix in _prefixes(message[2 : 2 + length], IPV4):
        yield Change(moment, neighbour, prefix)
    at = 2 + length
    length = int.from_bytes(message[at : at + 2], "big")
    attributes = dict(_attributes(message[at + 2 : at + 2 + length]))
    told = _told(attributes, neighbour)
    for prefix in _prefixes(message[at + 2 + length :], IPV4):
        yield Change(moment, neighbour, prefix, replace(told, prefix=prefix))
    if (gone := attributes.get(MP_UNREACH)) is not None:
        for prefix in _prefixes(gone[3:], int.from_bytes(gone[:2], "big")):
            yield Change(moment, neighbour, prefix)
    if (come := attributes.get(MP_REACH)) is not None:
        hops = come[4 : 4 + come[3]]
        told = replace(told, next_hops=tuple(_hops(hops)))
        for prefix in _prefixes(come[4 + come[3] + 1 :], int.from_bytes(come[:2], "big")):
            yield Change(moment, neighbour, prefix, replace(told, prefix=prefix))


def _hops(data: bytes) -> Iterator[Address]:
    size = 4 if len(data) == 4 else 16  # noqa: PLR2004 - an IPv4 address
    for at in range(0, len(data), size):
        yield ip_address(data[at : at + size])


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        flags, kind = data[at], data[at + 1]
        wide = 2 if flags & EXTENDED_LENGTH else 1
        length = int.from_bytes(data[at + 2 : at + 2 + wide], "big")
        at += 2 + wide
        yield kind, data[at : at + length]
        at += length


def _told(attributes: dict[int, bytes], neighbour: str) -> Path:
    path = attributes.get(AS_PATH, b"")
    asns = struct.unpack(f"!{path[1]}I", path[2 : 2 + 4 * path[1]]) if path else ()
    communities = attributes.get(COMMUNITIES, b"")
    large = attributes.get(LARGE, b"")
    hop = attributes.get(NEXT_HOP)
    return Path(
        prefix=ip_network("0.0.0.0/0"),
        neighbour=neighbour,
        next_hops=(IPv4Address(hop),) if hop else (),
        communities=frozenset(_community(*pair) for pair in struct.iter_unpack("!HH", communities)),
        large_communities=frozenset(":".join(map(str, three)) for three in struct.iter_unpack("!III", large)),
        as_path=asns,
        local_preference=_number(attributes.get(LOCAL_PREF)),
        med=_number(attributes.get(MED)),
    )


def _community(first: int, second: int) -> str:
    return NAMES.get(second, f"{first}:{second}") if first == 0xFFFF else f"{first}:{second}"  # noqa: PLR2004


def _number(data: bytes | None) -> int | None:
    return None if data is None else int.from_bytes(data, "big")


def _prefixes(data: bytes, family: int) -> Iterator[Prefix]:
    at = 0
    while at < len(data):
        length = data[at]
        size = (length + 7) // 8
        packed = data[at + 1 : at + 1 + size]
        at += 1 + size
        if family == IPV4:
            yield IPv4Network((IPv4Address(packed.ljust(4, b"\0")), length))
        else:
            yield IPv6Network((IPv6Address(packed.ljust(16, b"\0")), length))


@dataclass(frozen=True, slots=True)
class State:
    """Who announced what at one time: the paths by neighbour."""

    time: float
    paths: dict[str, Path]


class Watch:
    """Every change from now on; ``changes`` grows while it runs."""

    def __init__(self, file: File, established: Callable[[], set[str]]) -> None:
        """*established*: asks the router for the neighbours whose session is up."""
        self.file = file
        self._established = established
        self._up = established()
        self.changes: list[Change] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"watch {file}", daemon=True)
        self._at = file.stat().st_size if file.exists() else 0
        self._rest = b""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._read()

    def of(self, prefix: str | Prefix) -> list[Change]:
        """What was said about *prefix*, sessions included that came or went."""
        network = ip_network(prefix)
        return [change for change in list(self.changes) if change.prefix in (None, network)]

    def states(self, prefix: str | Prefix) -> list[State]:
        """After each change, who announced *prefix*; before the first, nobody is known to."""
        paths: dict[str, Path] = {}
        found = []
        for change in self.of(prefix):
            paths = {key: path for key, path in paths.items() if key != change.neighbour}
            if change.path is not None:
                paths[change.neighbour] = change.path
            found.append(State(change.time, paths))
        return found

    def _follow(self) -> None:
        while not self._ended.wait(EVERY):
            self._read()

    def _read(self) -> None:
        if not self.file.exists():
            return
        if self.file.stat().st_size < self._at:  # a new life of the router
            self._at, self._rest = 0, b""
        with self.file.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        now = time.time()
        self._at += len(data)
        records, used = read_records(self._rest + data)
        self._rest = (self._rest + data)[used:]
        for moment, subtype, body in records:
            for change in read_changes(subtype, body, moment if moment is not None else now):
                self.changes += self._named(change)

    def _named(self, change: Change) -> list[Change]:
        """BIRD does not say whose session it was that went; who is missing then says it."""
        if change.prefix is not None:
            return [change]
        if change.up:
            self._up |= {change.neighbour}
            return [change]
        gone = {change.neighbour} if change.neighbour not in NOBODY else self._up - self._established()
        self._up -= gone
        return [replace(change, neighbour=neighbour) for neighbour in sorted(gone)]
