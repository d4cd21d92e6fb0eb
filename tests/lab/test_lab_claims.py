"""What counts as a claim, and the arithmetic of hand-overs and seconds with two claimants."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.ask import arp_question, nd_question
from lab.claims import Claim, Kind, Recording, read_claim
from lab.probes import longest_gap

VIP, OTHER, SIX = IPv4Address("10.60.0.200"), IPv4Address("10.60.0.201"), IPv6Address("fd60::c8")
MAC = bytes.fromhex("02000a3c000b")
OWN4, OWN6 = IPv4Address("10.60.0.11"), IPv6Address("fd60::11")


def claims(text: str, vip: object = VIP) -> list[Claim]:
    """ "0A 1B" is a claim of A at 0 s, of B at 1 s."""
    return [Claim(float(word[:-1]), ip_address(str(vip)), word[-1], word[-1], Kind.ARP_REPLY) for word in text.split()]


@pytest.mark.parametrize(
    ("text", "seconds", "hand_overs"),
    [
        pytest.param("", 0, 0, id="silence has no claimant"),
        pytest.param("0A 1A 9A", 0, 0, id="one claimant is never two"),
        pytest.param("0A 1A 2B 3B", 0, 1, id="A then B is a hand-over and counts nothing"),
        pytest.param("0A 2B 5A", 3, 2, id="A, B, A counts from B's first to A's last claim"),
        pytest.param("0A 2B 5A 7B", 3, 3, id="what B claims after A's last is B's alone"),
        pytest.param("0A 1B 2C", 0, 2, id="two hand-overs in a row count nothing"),
        pytest.param("0A 1B 2C 3A", 2, 3, id="three claimants in the same time count it once"),
        pytest.param("0A 1B 2A 5B 6C 8B", 3, 5, id="two quarrels apart are added up"),
    ],
)
def test_arithmetic(text: str, seconds: float, hand_overs: int) -> None:
    recording = Recording.of(claims(text))
    assert recording.seconds_with_two() == pytest.approx(seconds)
    assert len(recording.hand_overs()) == hand_overs


def test_each_address_is_counted_by_itself() -> None:
    recording = Recording.of(claims("0A 1B 2A") + claims("0A 1B 3A", OTHER) + claims("0B 1A", SIX))
    assert recording.seconds_with_two() == pytest.approx(3)
    assert recording.vips == [VIP, OTHER, SIX]
    assert recording.of_vip(SIX).seconds_with_two() == 0


def test_a_recording_can_be_looked_at_piece_by_piece() -> None:
    recording = Recording.of(claims("0A 1B 2B 10A 11A"))  # a lawful return of A
    assert recording.seconds_with_two() == 10
    assert recording.between(0, 5).seconds_with_two() == 0
    assert recording.between(2, 20).seconds_with_two() == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ABC")), max_size=30, unique_by=lambda event: event[0]))
def test_two_claimants_are_counted_exactly_when_somebody_claims_again_after_another(
    events: list[tuple[int, str]],
) -> None:
    ordered = [claim for time, who in sorted(events) for claim in claims(f"{time}{who}")]
    recording = Recording.of(ordered)
    order = [claim.claimant for claim in recording.claims]
    runs = [who for number, who in enumerate(order) if number == 0 or order[number - 1] != who]
    assert (recording.seconds_with_two() > 0) == (len(runs) > len(set(runs)))
    span = ordered[-1].time - ordered[0].time if ordered else 0
    assert recording.seconds_with_two() <= span


def arp(operation: int, sender: object, target: object) -> bytes:
    addresses = MAC + ip_address(str(sender)).packed + b"\0" * 6 + ip_address(str(target)).packed
    return b"\xff" * 6 + MAC + bytes.fromhex("0806000108000604") + operation.to_bytes(2, "big") + addresses


def nd(kind: int, source: object, target: object, option: int, *, extension: bool = False) -> bytes:
    message = bytes([kind]) + bytes(7) + ip_address(str(target)).packed + bytes([option, 1]) + MAC
    upper = bytes([58, 0, 1, 4, 0, 0, 0, 0]) + message if extension else message
    header = b"\x60\0\0\0" + len(upper).to_bytes(2, "big") + bytes([0 if extension else 58, 255])
    packet = header + ip_address(str(source)).packed + ip_address("ff02::1").packed + upper
    return b"\x33\x33\0\0\0\1" + MAC[::-1] + b"\x86\xdd" + packet


@pytest.mark.parametrize(
    ("frame", "vip", "kind"),
    [
        pytest.param(arp(2, VIP, OWN4), VIP, Kind.ARP_REPLY, id="an ARP reply"),
        pytest.param(arp(2, VIP, VIP), VIP, Kind.GRATUITOUS_REPLY, id="a gratuitous ARP reply"),
        pytest.param(arp(1, VIP, VIP), VIP, Kind.GRATUITOUS_REQUEST, id="a gratuitous ARP request"),
        pytest.param(arp(1, VIP, OTHER), VIP, Kind.ARP_REQUEST, id="an ARP request from the address"),
        pytest.param(arp(1, "0.0.0.0", VIP), None, None, id="an ARP probe teaches nothing"),
        pytest.param(arp(2, VIP, OWN4)[:30], None, None, id="half an ARP packet teaches nothing"),
        pytest.param(nd(136, OWN6, SIX, 2), SIX, Kind.ADVERTISEMENT, id="an advertisement for the address"),
        pytest.param(
            nd(136, OWN6, SIX, 2, extension=True), SIX, Kind.ADVERTISEMENT, id="one behind an extension header"
        ),
        pytest.param(nd(135, SIX, OWN6, 1), SIX, Kind.SOLICITATION, id="a solicitation from the address"),
        pytest.param(nd(135, "::", SIX, 1), None, None, id="a duplicate address probe teaches nothing"),
        pytest.param(nd(128, SIX, OWN6, 1), None, None, id="a ping is no claim"),
        pytest.param(
            arp_question(MAC, OWN4, VIP), OWN4, Kind.ARP_REQUEST, id="our own ARP question claims our own address"
        ),
        pytest.param(nd_question(MAC, OWN6, SIX), OWN6, Kind.SOLICITATION, id="so does our NDP question"),
    ],
)
def test_what_is_a_claim(frame: bytes, vip: object, kind: Kind | None) -> None:
    claim = read_claim(frame, 1.0, "n1-data")
    if kind is None:
        assert claim is None
    else:
        assert claim == Claim(1.0, ip_address(str(vip)), MAC.hex(":"), "n1-data", kind)


@given(st.binary(max_size=120))
def test_no_frame_upsets_the_listener(frame: bytes) -> None:
    read_claim(frame, 0, "")
    read_claim(b"\0" * 12 + b"\x86\xdd" + frame, 0, "")
    read_claim(b"\0" * 12 + b"\x08\x06" + frame, 0, "")


def test_a_gap_includes_the_time_before_the_first_and_after_the_last_success() -> None:
    assert longest_gap([1, 2, 2.5], 0, 3) == 1
    assert longest_gap([1, 2], 0, 9) == 7
    assert longest_gap([], 5, 9) == 4
