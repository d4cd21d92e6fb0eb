"""Which frames are worth hearing, who was heard in them, and which stations prove that a segment is there. No I/O."""

import struct
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import NamedTuple

from roost.frames import BROADCAST, Arp, Frame, Kind, Mac, Malformed, Solicitation, arp, claim, ndp
from roost.frames.ethernet import ARP, IPV6

Address = IPv4Address | IPv6Address
Prefix = IPv4Interface | IPv6Interface

FRESH = 60.0  # seconds for which a station that was heard counts as being there
STATIONS = 64  # that are remembered; one is enough, and a forger must not fill the memory
ANCHORS = 8  # that are asked at most, as many as a Segment may name
ANSWERS = frozenset({Kind.ARP_REPLY, Kind.ADVERTISEMENT})
ANYBODY4, ANYBODY6 = IPv4Address(0), ndp.NOWHERE


@dataclass(frozen=True, slots=True)
class Heard:
    """At *at* (seconds) *mac*, which is none of this node's, claimed *address* in a frame of kind *form*."""

    address: Address
    mac: Mac
    at: float
    form: Kind


def heard(frame: bytes, own: Set[Mac], at: float) -> Heard | None:
    """What *frame* claims, unless it is no claim, or one by a MAC of this node (*own*)."""
    said = claim(frame)
    return None if said is None or said.mac in own else Heard(said.vip, said.mac, at, said.kind)


@dataclass(frozen=True, slots=True)
class Rival:
    """*mac*, which is none of this node's, asks who has *address* and claims nothing yet: it means to."""

    address: Address
    mac: Mac


def rival(frame: bytes, own: Set[Mac]) -> Rival | None:
    """Who else probes in *frame*: by a request from 0.0.0.0 (RFC 5227 §2.1.1), or from :: (RFC 4862 §5.4.3)."""
    try:
        ethernet = Frame.unpack(frame)
        if ethernet.ethertype == ARP:
            packet = Arp.unpack(ethernet.payload)
            probes = packet.operation == arp.REQUEST and packet.sender == ANYBODY4
            found = Rival(packet.target, packet.sender_mac) if probes else None
        else:
            match ndp.unpack(ethernet.payload) if ethernet.ethertype == IPV6 else None:
                case Solicitation(source=source, target=target) if source == ANYBODY6:
                    found = Rival(target, ethernet.source)
                case _:
                    found = None
    except Malformed:
        return None
    return None if found is None or found.mac in own else found


@dataclass(frozen=True, slots=True)
class Others:
    """Who *has* addresses that were asked for; and who *asks* for them just then, and may have them next."""

    has: Mapping[Address, Mac]
    asks: Mapping[Address, frozenset[Mac]]


@dataclass(frozen=True, slots=True)
class Station:
    """Somebody on the segment: known *since* then, and heard *last* then (seconds)."""

    address: Address
    mac: Mac
    since: float
    last: float


class Stations:
    """Who was heard on a segment: at most STATIONS, of which those known for long stay.

    When there is no room, the youngest gives way. So frames with forged senders, each of which is new, fight for one
    place among themselves, and drive nobody out who is heard at least once a minute.
    """

    def __init__(self) -> None:
        self._known: dict[Address, Station] = {}

    def note(self, who: Heard) -> None:
        """Remember *who*. A known address stays with its MAC for as long as that is fresh."""
        known = self._known.get(who.address)
        if known is not None and (known.mac == who.mac or not _fresh(known, who.at)):
            since = known.since if known.mac == who.mac and _fresh(known, who.at) else who.at
            self._known[who.address] = Station(who.address, who.mac, since, who.at)
        elif known is None and _is_station(who.address):
            if len(self._known) >= STATIONS:
                self._make_room(who.at)
            self._known[who.address] = Station(who.address, who.mac, who.at, who.at)

    def recent(self, now: float) -> tuple[Station, ...]:
        """Those heard in the last FRESH seconds, the longest known first."""
        fresh = [station for station in self._known.values() if _fresh(station, now)]
        return tuple(sorted(fresh, key=lambda station: (station.since, station.address.version, int(station.address))))

    def _make_room(self, now: float) -> None:
        stale = [address for address, station in self._known.items() if not _fresh(station, now)]
        youngest = max(self._known, key=lambda address: self._known[address].since)
        for address in stale or [youngest]:
            del self._known[address]


def _fresh(station: Station, now: float) -> bool:
    return now - station.last <= FRESH


def _is_station(address: Address) -> bool:
    """Whether one machine can have this address, and be asked for it."""
    odd = address.is_multicast or address.is_unspecified or address.is_loopback
    return not odd and not (isinstance(address, IPv4Address) and address.is_reserved)  # 240.0.0.0/4, with broadcast


def anchors(
    configured: Sequence[Address], gateways: Iterable[Address], heard: Iterable[Station], seats: Set[Mac]
) -> tuple[Address, ...] | None:
    """Whom to ask whether this node is cut off from a segment; None: there is nobody, and it counts as anchored.

    The *configured* ones of the Segment; else the default *gateways* on its uplink; else stations *heard* lately whose
    MAC is none of *seats* (of the machines that announce), the first first.
    """
    named = tuple(dict.fromkeys(configured)) or tuple(dict.fromkeys(gateways))
    foreign = tuple(station.address for station in heard if station.mac not in seats)
    return (named or foreign)[:ANCHORS] or None


def question(target: Address, mac: Mac, prefixes: Sequence[Prefix] = (), to: Mac = BROADCAST) -> bytes:
    """The frame "who has *target*?", in IPv4 to the station *to* if that is known.

    Without *prefixes* a probe, from nobody, and so no claim (RFC 5227 §2.1.1, RFC 4862 §5.4.2). Else from the address
    among them that shares a network with the target, as a kernel asks: some stations do not answer probes.
    """
    source = next((p.ip for p in prefixes if p.version == target.version and target in p.network), None)
    if isinstance(target, IPv4Address):
        return arp.question(target, mac, source if isinstance(source, IPv4Address) else ANYBODY4, to)
    return ndp.question(target, mac, source if isinstance(source, IPv6Address) else ANYBODY6)


@dataclass(frozen=True, slots=True)
class Asking:
    """Questions still to be sent: *fresh* targets, and those to be asked *again*: when, how many times more, and whom.

    *again* is in order of time, for every wait is equally long (*every*, seconds).
    """

    fresh: tuple[Address, ...]
    times: int
    every: float
    again: tuple[tuple[float, int, Address], ...] = ()
    ends: float = float("-inf")  # when the last answer would have come

    @property
    def all_sent(self) -> bool:
        return not self.fresh and not self.again

    def next(self, room: int, now: float) -> tuple[tuple[Address, ...], "Asking"]:
        """Whom to ask now, at most *room*; questions that are due again come first, so that none waits for long."""
        due = [turn for turn in self.again[:room] if turn[0] <= now]
        begun = self.fresh[: room - len(due)]
        repeated = [(now + self.every, left - 1, target) for _, left, target in due if left > 1]
        repeated += [(now + self.every, self.times - 1, target) for target in begun if self.times > 1]
        asked = (*(target for _, _, target in due), *begun)
        ends = now + self.every if asked else self.ends
        again = (*self.again[len(due) :], *repeated)
        return asked, Asking(self.fresh[len(begun) :], self.times, self.every, again, ends)

    def wake(self, now: float, tick: float) -> float:
        """When to look again, while nobody answers: *tick* seconds from now as long as some wait for room."""
        if self.fresh or (self.again and self.again[0][0] <= now):
            return now + tick
        return self.again[0][0] if self.again else self.ends


# -- filters, as the kernel runs them before a frame costs anything (linux/filter.h)


class Instruction(NamedTuple):
    """One step of classic BPF: *code*, how many to skip where it is true and where it is false, and its constant."""

    code: int
    true: int
    false: int
    constant: int


_LOAD_WORD, _LOAD_BYTE, _EQUAL, _RETURN = 0x20, 0x30, 0x15, 0x06
_PACKET_TYPE = 0xFFFF_F000 + 4  # SKF_AD_OFF + SKF_AD_PKTTYPE: how a frame was addressed
_TO_US = 0  # linux/if_packet.h: PACKET_HOST
_NEXT_HEADER, _HOP_LIMIT, _ICMP_TYPE = 14 + 6, 14 + 7, 14 + 40
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
_WHOLE = 0x0001_0000  # octets of a frame that are kept: all

TO_US = (
    Instruction(_LOAD_WORD, 0, 0, _PACKET_TYPE),
    Instruction(_EQUAL, 0, 1, _TO_US),
    Instruction(_RETURN, 0, 0, _WHOLE),
    Instruction(_RETURN, 0, 0, 0),
)
TO_OTHERS = (
    Instruction(_LOAD_WORD, 0, 0, _PACKET_TYPE),
    Instruction(_EQUAL, 1, 0, _TO_US),
    Instruction(_RETURN, 0, 0, _WHOLE),
    Instruction(_RETURN, 0, 0, 0),
)
NEIGHBOUR_DISCOVERY = (
    Instruction(_LOAD_BYTE, 0, 0, _NEXT_HEADER),
    Instruction(_EQUAL, 0, 6, _ICMPV6),
    Instruction(_LOAD_BYTE, 0, 0, _HOP_LIMIT),
    Instruction(_EQUAL, 0, 4, 255),
    Instruction(_LOAD_BYTE, 0, 0, _ICMP_TYPE),
    Instruction(_EQUAL, 1, 0, _SOLICITATION),
    Instruction(_EQUAL, 0, 1, _ADVERTISEMENT),
    Instruction(_RETURN, 0, 0, _WHOLE),
    Instruction(_RETURN, 0, 0, 0),
)


@dataclass(frozen=True, slots=True)
class Inlet:
    """What one socket hears: an EtherType, and of its frames those that *program* lets pass."""

    ethertype: int
    program: tuple[Instruction, ...]


INLETS: Mapping[str, Inlet] = {
    # Answers to our own probes have an inlet for themselves: a flood of broadcasts drowns none of them.
    "arp-to-us": Inlet(ARP, TO_US),
    "arp": Inlet(ARP, TO_OTHERS),
    "ndp": Inlet(IPV6, NEIGHBOUR_DISCOVERY),
}


def packed(program: Iterable[Instruction]) -> bytes:
    """An array of `struct sock_filter`."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
