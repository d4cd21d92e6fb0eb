"""Messages to nf_tables survive the way to bytes and back."""

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.gate import nfnetlink as nl
from nodeagent.gate.nfnetlink import Element, Place, Request

bodies = st.integers(0, 16).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
fields = st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=6)


@given(fields)
def test_attributes_are_read_as_written(several: list[tuple[int, bytes]]) -> None:
    assert list(nl.attributes(b"".join(nl.attribute(kind, value) for kind, value in several))) == several


@given(
    st.lists(bodies.map(lambda body: Request(nl.NEWSETELEM, nl.CREATE, body)), max_size=5),
    st.integers(1, 2**31),
)
def test_a_transaction_numbers_its_requests_and_asks_for_the_last_ones_acknowledgement(
    several: list[Request], first: int
) -> None:
    begin, *middle, end = nl.unpack(nl.pack_transaction(several, first))
    assert (begin.kind, begin.sequence, end.kind) == (nl.BATCH_BEGIN, first, nl.BATCH_END)
    assert [answer.sequence for answer in middle] == [first + 1 + n for n in range(len(several))]
    assert [bool(answer.flags & nl.ACK) for answer in middle] == [n == len(several) - 1 for n in range(len(several))]
    assert [answer.payload[4:] for answer in middle] == [request.body for request in several]


@given(st.lists(st.binary(min_size=20, max_size=20).map(Element), max_size=2500))
def test_many_elements_are_split_among_messages_and_none_is_lost(elements: list[Element]) -> None:
    messages = list(
        nl.unpack(b"".join(nl.pack(request, 1) for request in nl.add(Place(nl.NETDEV, "roost", "held4"), elements)))
    )
    assert [element for message in messages for element in nl.elements_of(message)] == elements
    assert all(len(message.payload) < 1 << 16 for message in messages)


def test_a_time_out_is_eight_octets_in_network_order() -> None:
    (request,) = nl.add(Place(nl.NETDEV, "roost", "permit"), [Element(b"eth0", 600)])
    assert nl.attribute(nl.ELEMENT_TIMEOUT, (600).to_bytes(8, "big")) in request.body
