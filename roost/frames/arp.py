"""ARP for IPv4 on Ethernet (RFC 826), and its two announcements (RFC 5227)."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Self

from roost.frames.ethernet import ARP, BROADCAST, NOBODY, Frame, Mac, Malformed

REQUEST = 1
REPLY = 2

_LAYOUT = struct.Struct(">HHBBH6s4s6s4s")
_ETHERNET_IPV4 = (1, 0x0800, 6, 4)  # hardware type, protocol type, and the lengths of their addresses


@dataclass(frozen=True, slots=True)
class Arp:
    """One ARP packet. Whatever its operation, it teaches receivers that *sender* is at *sender_mac*."""

    operation: int
    sender_mac: Mac
    sender: IPv4Address
    target_mac: Mac
    target: IPv4Address

    def pack(self) -> bytes:
        return _LAYOUT.pack(
            *_ETHERNET_IPV4,
            self.operation,
            self.sender_mac.octets,
            self.sender.packed,
            self.target_mac.octets,
            self.target.packed,
        )

    @classmethod
    def unpack(cls, octets: bytes) -> Self:
        """Read the payload of an ARP frame; trailing octets are padding. Raises Malformed for other kinds of ARP."""
        if len(octets) < _LAYOUT.size:
            raise Malformed(f"{len(octets)} octets are too few for ARP")
        *kind, operation, sender_mac, sender, target_mac, target = _LAYOUT.unpack_from(octets)
        if tuple(kind) != _ETHERNET_IPV4:
            raise Malformed(f"ARP for {kind}, not for IPv4 on Ethernet")
        return cls(operation, Mac(sender_mac), IPv4Address(sender), Mac(target_mac), IPv4Address(target))


def announcement(vip: IPv4Address, mac: Mac) -> bytes:
    """The frame "*vip* is at *mac*" in its request form (RFC 5227 §2.3)."""
    return Frame(BROADCAST, mac, ARP, Arp(REQUEST, mac, vip, NOBODY, vip).pack()).pack()


def announcement_as_reply(vip: IPv4Address, mac: Mac) -> bytes:
    """The same in the reply form, for stations that learn from replies only.

    Our own MAC stands as the target too: with ff:ff:ff:ff:ff:ff or zeros there Linux takes it for gratuitous, and
    ignores it for a second after the entry last changed (`locktime`, arp_process() in net/ipv4/arp.c).
    """
    return Frame(BROADCAST, mac, ARP, Arp(REPLY, mac, vip, mac, vip).pack()).pack()


def question(target: IPv4Address, mac: Mac, sender: IPv4Address, to: Mac = BROADCAST) -> bytes:
    """The frame "who has *target*, tell *sender*"; from 0.0.0.0 it is a probe (RFC 5227 §2.1.1), and no claim.

    *to* one station it is a unicast poll, which wakes nobody else (RFC 1122 §2.3.2.1).
    """
    return Frame(to, mac, ARP, Arp(REQUEST, mac, sender, NOBODY, target).pack()).pack()
