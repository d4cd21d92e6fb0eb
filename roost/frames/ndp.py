"""Neighbour Discovery for IPv6 (RFC 4861): advertisements and solicitations, with the IPv6 header around them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv6Address

from roost.frames.ethernet import IPV6, Frame, Mac, Malformed, multicast

ALL_NODES = IPv6Address("ff02::1")
NOWHERE = IPv6Address("::")

_SOLICITATION = 135
_ADVERTISEMENT = 136
_SOURCE_LINK_ADDRESS = 1  # options of RFC 4861 §4.6.1
_TARGET_LINK_ADDRESS = 2
_ICMPV6 = 58
_VERSION = 6
_UNIT = 8  # octets, in which options count their length
_HOP_LIMIT = 255  # RFC 4861 §7.1: proof that no router passed it on; receivers drop all others
_HEADER = struct.Struct(">IHBB16s16s")
_MESSAGE = struct.Struct(">BBHI16s")


class Flags(IntFlag):
    """The flags of an advertisement (RFC 4861 §4.4)."""

    ROUTER = 0x80000000
    SOLICITED = 0x40000000
    OVERRIDE = 0x20000000


@dataclass(frozen=True, slots=True)
class Advertisement:
    """ "*target* is at *mac*" (RFC 4861 §4.4). Without *mac* it confirms what the receiver knows already."""

    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    mac: Mac | None
    flags: Flags

    def pack(self) -> bytes:
        option = _option(_TARGET_LINK_ADDRESS, self.mac)
        return _packet(
            self.source, self.destination, _MESSAGE.pack(_ADVERTISEMENT, 0, 0, self.flags, self.target.packed) + option
        )


@dataclass(frozen=True, slots=True)
class Solicitation:
    """ "Who is *target*?" (RFC 4861 §4.3), which teaches receivers that *source* is at *mac*."""

    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    mac: Mac | None

    def pack(self) -> bytes:
        option = _option(_SOURCE_LINK_ADDRESS, self.mac)
        return _packet(
            self.source, self.destination, _MESSAGE.pack(_SOLICITATION, 0, 0, 0, self.target.packed) + option
        )


def unpack(octets: bytes) -> Advertisement | Solicitation | None:
    """Read an IPv6 packet; None when it is neither. Raises Malformed where RFC 4861 §7.1 has receivers drop it."""
    source, destination, message = _icmp(octets)
    if not message or message[0] not in {_SOLICITATION, _ADVERTISEMENT}:
        return None
    if octets[7] != _HOP_LIMIT or len(message) < _MESSAGE.size or message[1] != 0:
        raise Malformed("hop limit, length or code is not that of Neighbour Discovery")
    if _checksum(source, destination, message) != 0:
        raise Malformed("wrong checksum")
    kind, _, _, flags, packed = _MESSAGE.unpack_from(message)
    options = dict(_options(message[_MESSAGE.size :]))
    if kind == _SOLICITATION:
        return Solicitation(source, destination, IPv6Address(packed), options.get(_SOURCE_LINK_ADDRESS))
    mac = options.get(_TARGET_LINK_ADDRESS)
    return Advertisement(source, destination, IPv6Address(packed), mac, Flags(flags & 0xE0000000))


def announcement(vip: IPv6Address, mac: Mac) -> bytes:
    """The frame "*vip* is at *mac*", unsolicited, to all nodes, from the VIP itself (RFC 4861 §7.2.6)."""
    packet = Advertisement(vip, ALL_NODES, vip, mac, Flags.OVERRIDE).pack()
    return Frame(multicast(ALL_NODES), mac, IPV6, packet).pack()


def question(target: IPv6Address, mac: Mac, source: IPv6Address) -> bytes:
    """The frame "who is *target*, tell *source*"; from :: it is a probe (RFC 4862 §5.4), and no claim."""
    group = solicited_node(target)
    packet = Solicitation(source, group, target, None if source == NOWHERE else mac).pack()
    return Frame(multicast(group), mac, IPV6, packet).pack()


def solicited_node(target: IPv6Address) -> IPv6Address:
    """The multicast group in which the owner of *target* listens (RFC 4291 §2.7.1)."""
    return IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(target) & 0xFFFFFF)


def _packet(source: IPv6Address, destination: IPv6Address, message: bytes) -> bytes:
    checksum = _checksum(source, destination, message)
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    return _HEADER.pack(_VERSION << 28, len(message), _ICMPV6, _HOP_LIMIT, source.packed, destination.packed) + message


def _icmp(octets: bytes) -> tuple[IPv6Address, IPv6Address, bytes]:
    """Addresses and ICMPv6 message; the message is empty for any other payload, extension headers included.

    (Receivers drop fragmented Neighbour Discovery, RFC 6980, and nobody sends it behind other extension headers.)
    """
    if len(octets) < _HEADER.size or octets[0] >> 4 != _VERSION:
        raise Malformed("not an IPv6 packet")
    _, length, following, _, source, destination = _HEADER.unpack_from(octets)
    message = octets[_HEADER.size : _HEADER.size + length] if following == _ICMPV6 else b""
    return IPv6Address(source), IPv6Address(destination), message


def _option(kind: int, mac: Mac | None) -> bytes:
    return b"" if mac is None else bytes((kind, 1)) + mac.octets


def _options(octets: bytes) -> Iterator[tuple[int, Mac]]:
    """The link-layer addresses among the options."""
    while octets:
        length = octets[1] * _UNIT if len(octets) > 1 else 0
        if length == 0 or length > len(octets):
            raise Malformed("an option without length, or longer than the message")
        if length == _UNIT and octets[0] in {_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS}:
            yield octets[0], Mac(octets[2:length])
        octets = octets[length:]


def _checksum(source: IPv6Address, destination: IPv6Address, message: bytes) -> int:
    """The Internet checksum over pseudo header and message (RFC 4443 §2.3); 0 over a message that carries its own."""
    covered = (
        source.packed + destination.packed + len(message).to_bytes(4, "big") + _ICMPV6.to_bytes(4, "big") + message
    )
    covered += bytes(len(covered) % 2)
    total: int = sum(struct.unpack(f">{len(covered) // 2}H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
