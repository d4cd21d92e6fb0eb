"""Ethernet II frames (IEEE 802.3 clause 3) and the addresses in them."""

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Self

ARP = 0x0806
IPV6 = 0x86DD
HEADER = 14  # octets: destination, source, EtherType
MAC_LENGTH = 6  # octets


class Malformed(ValueError):
    """These octets are not the frame they were taken for."""


@dataclass(frozen=True, slots=True, order=True)
class Mac:
    """A 48-bit hardware address, to Ethernet what `ipaddress.IPv4Address` is to IPv4."""

    octets: bytes

    def __post_init__(self) -> None:
        if len(self.octets) != MAC_LENGTH:
            raise Malformed(f"a hardware address has {MAC_LENGTH} octets, not {len(self.octets)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `02:00:00:00:00:01`, as the kernel prints it."""
        try:
            return cls(bytes(int(part, 16) for part in text.split(":")))
        except ValueError as error:
            raise Malformed(f"{text!r} is no hardware address") from error

    def __str__(self) -> str:
        return self.octets.hex(":")


BROADCAST = Mac(b"\xff" * MAC_LENGTH)
NOBODY = Mac(bytes(MAC_LENGTH))


def multicast(group: IPv6Address) -> Mac:
    """Where IPv6 multicast *group* is sent on Ethernet (RFC 2464 §7)."""
    return Mac(b"\x33\x33" + group.packed[12:])


@dataclass(frozen=True, slots=True)
class Frame:
    """One Ethernet II frame without its check sequence."""

    destination: Mac
    source: Mac
    ethertype: int
    payload: bytes

    def pack(self) -> bytes:
        return self.destination.octets + self.source.octets + self.ethertype.to_bytes(2, "big") + self.payload

    @classmethod
    def unpack(cls, octets: bytes) -> Self:
        """Raises Malformed when there is not even a header."""
        if len(octets) < HEADER:
            raise Malformed(f"{len(octets)} octets are no Ethernet frame")
        return cls(Mac(octets[:6]), Mac(octets[6:12]), int.from_bytes(octets[12:14], "big"), octets[HEADER:])
