"""Which frames are claims, and what a recording of them says: hand-overs, and seconds with two claimants. No I/O.

A claim is any frame that teaches a neighbour "this address is at that MAC": an ARP reply (RFC 826), an ARP request
from the address, a gratuitous one of either form (RFC 5227), a neighbour advertisement for it, a neighbour
solicitation from it (RFC 4861).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise

Address = IPv4Address | IPv6Address

ETH_HEADER, ETH_ARP, ETH_IPV6 = 14, b"\x08\x06", b"\x86\xdd"
ARP_ETHERNET_IPV4 = bytes.fromhex("000108000604")  # hardware Ethernet, protocol IPv4, sizes 6 and 4
ARP_LENGTH, ARP_REQUEST, ARP_REPLY = 28, 1, 2
IPV6_LENGTH, ICMPV6 = 40, 58
EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options: next header, length in 8 bytes less the first
SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_MAC, TARGET_MAC = 1, 2  # options of neighbour discovery
ND_LENGTH, OPTION_LENGTH = 24, 8


class Kind(StrEnum):
    """How an address was claimed."""

    ARP_REPLY = "ARP reply"
    ARP_REQUEST = "ARP request"
    GRATUITOUS_REPLY = "gratuitous ARP reply"
    GRATUITOUS_REQUEST = "gratuitous ARP request"
    ADVERTISEMENT = "neighbour advertisement"
    SOLICITATION = "neighbour solicitation"


@dataclass(frozen=True, slots=True)
class Claim:
    """At *time* (seconds since 1970, the kernel's stamp) port *port* said that *vip* is at *mac*."""

    time: float
    vip: Address
    mac: str
    port: str
    kind: Kind

    @property
    def claimant(self) -> tuple[str, str]:
        return (self.port, self.mac)


@dataclass(frozen=True, slots=True)
class HandOver:
    """The first claim after one of another claimant."""

    time: float
    vip: Address
    before: tuple[str, str]
    after: tuple[str, str]


def read_claim(frame: bytes, time: float, port: str) -> Claim | None:
    """The claim in an Ethernet frame, or None if it makes none."""
    match frame[12:ETH_HEADER]:
        case bytes(kind) if kind == ETH_ARP:
            return _read_arp(frame, time, port)
        case bytes(kind) if kind == ETH_IPV6:
            return _read_nd(frame, time, port)
    return None


def _read_arp(frame: bytes, time: float, port: str) -> Claim | None:
    arp = frame[ETH_HEADER : ETH_HEADER + ARP_LENGTH]
    if len(arp) < ARP_LENGTH or arp[:6] != ARP_ETHERNET_IPV4:
        return None
    operation, sender, target = int.from_bytes(arp[6:8], "big"), IPv4Address(arp[14:18]), IPv4Address(arp[24:28])
    if operation not in (ARP_REQUEST, ARP_REPLY) or sender.is_unspecified:  # 0.0.0.0 is a probe, which teaches nothing
        return None
    forms = {
        (ARP_REQUEST, False): Kind.ARP_REQUEST,
        (ARP_REQUEST, True): Kind.GRATUITOUS_REQUEST,
        (ARP_REPLY, False): Kind.ARP_REPLY,
        (ARP_REPLY, True): Kind.GRATUITOUS_REPLY,
    }
    return Claim(time, sender, _mac(arp[8:14]), port, forms[operation, sender == target])


def _read_nd(frame: bytes, time: float, port: str) -> Claim | None:
    kind, message = _icmpv6(frame[ETH_HEADER:])
    if len(message) < ND_LENGTH:
        return None
    if kind == ADVERTISEMENT:
        mac = _option(message, TARGET_MAC) or frame[6:12]
        return Claim(time, IPv6Address(message[8:24]), _mac(mac), port, Kind.ADVERTISEMENT)
    source = IPv6Address(frame[ETH_HEADER + 8 : ETH_HEADER + 24])
    if kind == SOLICITATION and not source.is_unspecified:  # from :: it is a probe
        mac = _option(message, SOURCE_MAC) or frame[6:12]
        return Claim(time, source, _mac(mac), port, Kind.SOLICITATION)
    return None


def _icmpv6(packet: bytes) -> tuple[int, bytes]:
    """Type and bytes of the ICMPv6 message behind any extension headers; 0 and nothing if there is none."""
    if len(packet) < IPV6_LENGTH:
        return 0, b""
    header, rest = packet[6], packet[IPV6_LENGTH:]
    while header in EXTENSIONS and len(rest) > 1:
        header, rest = rest[0], rest[8 * (rest[1] + 1) :]
    return (rest[0], rest) if header == ICMPV6 and rest else (0, b"")


def _option(message: bytes, wanted: int) -> bytes | None:
    options = message[ND_LENGTH:]
    while len(options) >= OPTION_LENGTH and options[1]:
        if options[0] == wanted:
            return options[2:8]
        options = options[8 * options[1] :]
    return None


def _mac(raw: bytes) -> str:
    return raw.hex(":")


@dataclass(frozen=True, slots=True)
class Recording:
    """Claims of some addresses in order of time.

    One recording is about one fault: it cannot tell a claimant that came back lawfully from one that never stopped,
    so look at the time around each fault by itself (`between`).
    """

    claims: Sequence[Claim]

    @classmethod
    def of(cls, claims: Iterable[Claim]) -> "Recording":
        return cls(tuple(sorted(claims, key=lambda claim: claim.time)))

    def of_vip(self, vip: Address | str) -> "Recording":
        return Recording([claim for claim in self.claims if claim.vip == ip_address(str(vip))])

    def between(self, start: float, end: float) -> "Recording":
        """The claims from *start* to before *end*, in seconds since 1970."""
        return Recording([claim for claim in self.claims if start <= claim.time < end])

    @property
    def vips(self) -> list[Address]:
        return sorted({claim.vip for claim in self.claims}, key=lambda vip: (vip.version, int(vip)))

    def hand_overs(self) -> list[HandOver]:
        """Each change of the claimant, by time."""
        found = [
            HandOver(later.time, vip, earlier.claimant, later.claimant)
            for vip in self.vips
            for earlier, later in pairwise(self.of_vip(vip).claims)
            if earlier.claimant != later.claimant
        ]
        return sorted(found, key=lambda change: change.time)

    def holder(self, vip: Address | str) -> str:
        """The port (node-data) of the last claim, or nothing."""
        claims = self.of_vip(vip).claims
        return claims[-1].port if claims else ""

    def seconds_with_two(self) -> float:
        """The time in which some address had two claimants, added up over the addresses.

        A → B is a hand-over and counts 0. A → B → A counts from B's first claim to A's last: A has not stopped.
        """
        return sum(_length(self._doubled(vip)) for vip in self.vips)

    def _doubled(self, vip: Address) -> Iterator[tuple[float, float]]:
        first: dict[tuple[str, str], float] = {}
        last: dict[tuple[str, str], float] = {}
        for claim in self.of_vip(vip).claims:
            first.setdefault(claim.claimant, claim.time)
            last[claim.claimant] = claim.time
        claimants = list(first)  # by first claim
        for number, earlier in enumerate(claimants):
            for later in claimants[number + 1 :]:
                if last[earlier] > first[later]:
                    yield first[later], last[earlier]


def _length(spans: Iterable[tuple[float, float]]) -> float:
    """How much time *spans* cover together; what two of them cover counts once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
