"""Frames survive the way to bytes and back, and the golden ones are what a packet capture shows."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.frames import Advertisement, Arp, Frame, Mac, Malformed, Solicitation, arp, ndp

MAC = Mac.parse("02:00:00:00:00:01")
macs = st.binary(min_size=6, max_size=6).map(Mac)
ipv4, ipv6 = st.ip_addresses(v=4), st.ip_addresses(v=6)


@given(st.builds(Frame, macs, macs, st.integers(0, 0xFFFF), st.binary(max_size=64)))
def test_ethernet_frames_survive_the_wire(frame: Frame) -> None:
    assert Frame.unpack(frame.pack()) == frame


@given(st.builds(Arp, st.integers(0, 0xFFFF), macs, ipv4, macs, ipv4), st.binary(max_size=18))
def test_arp_survives_the_wire_and_its_padding(packet: Arp, padding: bytes) -> None:
    assert Arp.unpack(packet.pack() + padding) == packet


flags = st.sampled_from([ndp.Flags(0), ndp.Flags.OVERRIDE, ndp.Flags.SOLICITED | ndp.Flags.OVERRIDE, ndp.Flags.ROUTER])


@given(
    st.builds(Advertisement, ipv6, ipv6, ipv6, st.none() | macs, flags)
    | st.builds(Solicitation, ipv6, ipv6, ipv6, st.none() | macs)
)
def test_neighbour_discovery_survives_the_wire(message: Advertisement | Solicitation) -> None:
    assert ndp.unpack(message.pack()) == message


@given(st.builds(Advertisement, ipv6, ipv6, ipv6, macs, flags), st.data())
def test_one_flipped_bit_is_never_taken_for_another_advertisement(message: Advertisement, data: st.DataObject) -> None:
    octets = bytearray(message.pack())
    position = data.draw(
        st.integers(8 * 8, len(octets) * 8 - 1)
    )  # behind version, flow label, length, type and hop limit
    octets[position // 8] ^= 1 << position % 8
    with pytest.raises(Malformed):
        if ndp.unpack(bytes(octets)) is None:  # the flip made it another type of ICMPv6 message
            raise Malformed


@given(macs)
def test_hardware_addresses_read_what_they_print(mac: Mac) -> None:
    assert Mac.parse(str(mac)) == mac


@pytest.mark.parametrize("text", ["", "02:00", "02:00:00:00:00:0g", "02:00:00:00:00:01:02", "02:00:00:00:00:100"])
def test_other_text_is_no_hardware_address(text: str) -> None:
    with pytest.raises(Malformed):
        Mac.parse(text)


def test_the_announcement_of_rfc_5227() -> None:
    assert arp.announcement(IPv4Address("10.1.0.100"), MAC).hex(" ") == (
        "ff ff ff ff ff ff 02 00 00 00 00 01 08 06 00 01 08 00 06 04 00 01 "
        "02 00 00 00 00 01 0a 01 00 64 00 00 00 00 00 00 0a 01 00 64"
    )


def test_the_reply_form_names_our_own_mac_as_target() -> None:
    packet = Arp.unpack(Frame.unpack(arp.announcement_as_reply(IPv4Address("10.1.0.100"), MAC)).payload)
    assert (packet.operation, packet.sender_mac, packet.target_mac) == (arp.REPLY, MAC, MAC)
    assert packet.sender == packet.target


def test_the_unsolicited_advertisement_of_rfc_4861() -> None:
    frame = Frame.unpack(ndp.announcement(IPv6Address("fd01::100"), MAC))
    assert str(frame.destination) == "33:33:00:00:00:01"
    assert frame.payload.hex(" ") == (
        "60 00 00 00 00 20 3a ff fd 01 00 00 00 00 00 00 00 00 00 00 00 00 01 00 "
        "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 "
        "88 00 58 9b 20 00 00 00 fd 01 00 00 00 00 00 00 00 00 00 00 00 00 01 00 02 01 02 00 00 00 00 01"
    )


def test_a_question_goes_to_the_group_of_its_target() -> None:
    frame = Frame.unpack(ndp.question(IPv6Address("fd01::12:3456"), MAC, IPv6Address("fd01::2")))
    assert str(frame.destination) == "33:33:ff:12:34:56"
