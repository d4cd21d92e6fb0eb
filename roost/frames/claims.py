"""Which frames teach a neighbour "this address is at my MAC", and what they say."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from roost.frames import arp, ndp
from roost.frames.ethernet import ARP, IPV6, Frame, Mac, Malformed

_NOBODY = IPv4Address(0)


class Kind(StrEnum):
    """The frames that make a claim."""

    ARP_REQUEST = "arp-request"  # announcements in request form too
    ARP_REPLY = "arp-reply"
    ADVERTISEMENT = "na"
    SOLICITATION = "ns"


@dataclass(frozen=True, slots=True)
class Claim:
    """*vip* is said to be at *mac*."""

    vip: IPv4Address | IPv6Address
    mac: Mac
    kind: Kind


def claim(frame: bytes) -> Claim | None:
    """What an Ethernet frame claims, or None: data, probes, and frames that receivers drop as malformed.

    An advertisement without its link-layer option is a claim by the frame's source: it keeps the entry that is there.
    """
    try:
        ethernet = Frame.unpack(frame)
        if ethernet.ethertype == ARP:
            return _of_arp(arp.Arp.unpack(ethernet.payload))
        if ethernet.ethertype == IPV6:
            return _of_ndp(ndp.unpack(ethernet.payload), ethernet.source)
    except Malformed:
        pass
    return None


def _of_arp(packet: arp.Arp) -> Claim | None:
    if packet.sender == _NOBODY:  # a probe
        return None
    return Claim(
        packet.sender, packet.sender_mac, Kind.ARP_REPLY if packet.operation == arp.REPLY else Kind.ARP_REQUEST
    )


def _of_ndp(message: ndp.Advertisement | ndp.Solicitation | None, source: Mac) -> Claim | None:
    match message:
        case ndp.Advertisement(target=target, mac=mac):
            return Claim(target, mac or source, Kind.ADVERTISEMENT)
        case ndp.Solicitation(source=vip, mac=Mac() as mac) if vip != ndp.NOWHERE:
            return Claim(vip, mac, Kind.SOLICITATION)
        case _:
            return None
