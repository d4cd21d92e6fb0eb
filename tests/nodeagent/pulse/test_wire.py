"""Datagrams: what was signed is read again, and nothing else is."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.pulse import wire
from nodeagent.pulse.messages import Gone, Hello, Message, Told
from nodeagent.pulse.wire import Drop, Fresh, Stamp, pack, unpack
from tests.nodeagent.pulse.values import messages, names, stamps

KEY, OLD = b"k" * 32, b"o" * 32
SEGMENT = "10.60.0.0-24"
HELLO, STAMP = Hello("n1", 3, 4, 5, 0.6), Stamp(1, 2, 3)


@given(messages, stamps, names)
def test_what_is_packed_is_read_again_by_who_has_the_key(message: Message, stamp: Stamp, segment: str) -> None:
    assert unpack(pack(message, stamp, segment, KEY), segment, [KEY]) == (stamp, message)


@given(st.binary(max_size=100), names, st.binary(max_size=130))
def test_the_signature_is_an_hmac_as_everybody_makes_it(body: bytes, segment: str, key: bytes) -> None:
    name = segment.encode()
    whole = hmac.digest(key, body + name + bytes([len(name) & 0xFF]), "sha256")
    assert wire._signature(body, segment, key) == whole[: wire.SIGNATURE]


@given(st.binary(max_size=1500))
def test_no_octets_are_read_but_those_that_were_signed(octets: bytes) -> None:
    assert isinstance(unpack(octets, SEGMENT, [KEY]), Drop)


@given(messages, stamps, st.data())
def test_a_datagram_with_one_bit_changed_is_dropped(message: Message, stamp: Stamp, data: st.DataObject) -> None:
    datagram = bytearray(pack(message, stamp, SEGMENT, KEY))
    bit = data.draw(st.integers(0, 8 * len(datagram) - 1))
    datagram[bit // 8] ^= 1 << bit % 8
    assert isinstance(unpack(bytes(datagram), SEGMENT, [KEY]), Drop)


@given(messages, stamps, st.data())
def test_a_datagram_cut_short_is_dropped(message: Message, stamp: Stamp, data: st.DataObject) -> None:
    datagram = pack(message, stamp, SEGMENT, KEY)
    assert isinstance(unpack(datagram[: data.draw(st.integers(0, len(datagram) - 1))], SEGMENT, [KEY]), Drop)


@given(st.binary(max_size=300))
def test_rubbish_that_is_signed_is_dropped_too(body: bytes) -> None:
    """Another version may sign what we cannot read."""
    signed = wire.MAGIC + bytes([wire.VERSION]) + body
    datagram = signed + wire._signature(signed, SEGMENT, KEY)
    opened = unpack(datagram, SEGMENT, [KEY])
    if not isinstance(opened, Drop):  # it made sense by chance; then it is exactly what we would have written
        assert pack(opened[1], opened[0], SEGMENT, KEY) == datagram


@pytest.mark.parametrize(
    ("segment", "keys", "why"),
    [
        pytest.param("10.60.1.0-24", [KEY], Drop.FOREIGN, id="another segment"),
        pytest.param(SEGMENT, [OLD], Drop.FOREIGN, id="another key"),
        pytest.param(SEGMENT, [], Drop.FOREIGN, id="no key"),
    ],
)
def test_what_is_not_ours_is_dropped(segment: str, keys: list[bytes], why: Drop) -> None:
    assert unpack(pack(HELLO, STAMP, SEGMENT, KEY), segment, keys) is why


def test_each_of_two_keys_is_accepted() -> None:
    for key in (KEY, OLD):
        assert unpack(pack(HELLO, STAMP, SEGMENT, key), SEGMENT, [KEY, OLD]) == (STAMP, HELLO)


def test_another_version_is_malformed() -> None:
    datagram = pack(HELLO, STAMP, SEGMENT, KEY)
    assert unpack(datagram[:2] + bytes([wire.VERSION + 1]) + datagram[3:], SEGMENT, [KEY]) is Drop.MALFORMED


@pytest.mark.parametrize("left", [float("nan"), float("inf"), -1.0, 1e9])
def test_a_wait_that_is_none_is_malformed(left: float) -> None:
    assert unpack(pack(Gone("n1", "n2", 3, left), STAMP, SEGMENT, KEY), SEGMENT, [KEY]) is Drop.MALFORMED


def test_of_many_ended_tenures_as_many_are_told_as_a_datagram_holds() -> None:
    ended = tuple((f"node-{number:03d}.example.org", number) for number in range(500))
    datagram = pack(Told("n1", 7, ended), STAMP, SEGMENT, KEY)
    assert len(datagram) <= wire.LARGEST + wire.SIGNATURE
    opened = unpack(datagram, SEGMENT, [KEY])
    assert not isinstance(opened, Drop)
    message = opened[1]
    assert isinstance(message, Told)
    assert len(message.ended) > 30
    assert message.ended == ended[: len(message.ended)]


# -- which are new


@given(st.lists(stamps, max_size=30))
def test_a_sender_is_heard_again_only_above_its_newest_stamp(several: list[Stamp]) -> None:
    fresh = Fresh()
    accepted = [stamp for stamp in several if fresh.accepts("n1", stamp, 0.0)]
    assert accepted == sorted(set(accepted))
    assert accepted[-1:] == ([max(several)] if several else [])


@pytest.mark.parametrize(
    ("later", "heard"),
    [
        pytest.param(Stamp(5, 100, 7), False, id="the same again"),
        pytest.param(Stamp(5, 100, 6), False, id="an older number"),
        pytest.param(Stamp(5, 100, 8), True, id="the next number"),
        pytest.param(Stamp(5, 99, 900), False, id="a former life"),
        pytest.param(Stamp(5, 101, 1), True, id="the next life"),
        pytest.param(Stamp(6, 2, 1), True, id="after a reboot, once it is seated anew"),
        pytest.param(Stamp(4, 500, 900), False, id="from before a reboot"),
    ],
)
def test_stamps_grow(later: Stamp, heard: bool) -> None:
    fresh = Fresh()
    assert fresh.accepts("n1", Stamp(5, 100, 7), 0.0)
    assert fresh.accepts("n1", later, 1.0) is heard
    assert fresh.accepts("n2", later, 1.0)  # each sender has its own


def test_a_sender_that_was_long_silent_may_begin_anew() -> None:
    fresh = Fresh()
    assert fresh.accepts("n1", Stamp(5, 100, 7), 0.0)
    assert not fresh.accepts("n1", Stamp(4, 1, 1), wire.FORGOTTEN - 1)
    assert fresh.accepts("n1", Stamp(4, 1, 1), wire.FORGOTTEN)


def test_only_so_many_senders_are_remembered_the_longest_silent_goes() -> None:
    fresh = Fresh()
    for number in range(wire.MOST_SENDERS):
        assert fresh.accepts(f"n{number}", STAMP, 0.0)
    assert fresh.accepts("n0", Stamp(9, 9, 9), 1.0)
    assert fresh.accepts("one more", STAMP, 2.0)
    assert not fresh.accepts("n0", STAMP, 3.0)
    assert fresh.accepts("n1", STAMP, 3.0)
