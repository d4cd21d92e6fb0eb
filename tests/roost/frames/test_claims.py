"""Every frame that teaches a neighbour is a claim, and no other is."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.frames import BROADCAST, Advertisement, Arp, Claim, Frame, Kind, Mac, arp, claim, ndp

MAC, OTHER = Mac.parse("02:00:00:00:00:01"), Mac.parse("02:00:00:00:00:02")
VIP4, NODE4 = IPv4Address("10.1.0.100"), IPv4Address("10.1.0.1")
VIP6, NODE6 = IPv6Address("fd01::100"), IPv6Address("fd01::1")


def on_wire(packet: Arp) -> bytes:
    return Frame(BROADCAST, OTHER, 0x0806, packet.pack()).pack()


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(
            arp.announcement(VIP4, MAC), Claim(VIP4, MAC, Kind.ARP_REQUEST), id="announcement in request form"
        ),
        pytest.param(
            arp.announcement_as_reply(VIP4, MAC), Claim(VIP4, MAC, Kind.ARP_REPLY), id="announcement in reply form"
        ),
        pytest.param(
            arp.question(NODE4, MAC, VIP4), Claim(VIP4, MAC, Kind.ARP_REQUEST), id="a request sent from the VIP"
        ),
        pytest.param(
            on_wire(Arp(9, MAC, VIP4, OTHER, NODE4)), Claim(VIP4, MAC, Kind.ARP_REQUEST), id="an odd operation"
        ),
        pytest.param(arp.question(VIP4, MAC, IPv4Address(0)), None, id="an ARP probe claims nothing"),
        pytest.param(ndp.announcement(VIP6, MAC), Claim(VIP6, MAC, Kind.ADVERTISEMENT), id="unsolicited advertisement"),
        pytest.param(
            ndp.question(NODE6, MAC, VIP6), Claim(VIP6, MAC, Kind.SOLICITATION), id="a solicitation sent from the VIP"
        ),
        pytest.param(ndp.question(VIP6, MAC, IPv6Address(0)), None, id="a probe for a duplicate claims nothing"),
        pytest.param(
            Frame(OTHER, MAC, 0x86DD, Advertisement(VIP6, NODE6, VIP6, None, ndp.Flags.SOLICITED).pack()).pack(),
            Claim(VIP6, MAC, Kind.ADVERTISEMENT),
            id="an advertisement without option keeps the entry at the frame's source",
        ),
        pytest.param(ndp.announcement(VIP6, MAC)[:-1], None, id="a frame cut short"),
        pytest.param(Frame(OTHER, MAC, 0x0800, b"E" + bytes(40)).pack(), None, id="data"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_claims(frame: bytes, expected: Claim | None) -> None:
    assert claim(frame) == expected


@given(st.binary(max_size=128), st.sampled_from([b"\x08\x06", b"\x86\xdd", b"\x08\x00"]))
def test_no_frame_is_too_strange_to_read(octets: bytes, ethertype: bytes) -> None:
    claim(octets)
    claim(bytes(12) + ethertype + octets)
