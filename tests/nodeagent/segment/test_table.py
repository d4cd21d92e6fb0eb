"""Who inherits, and what a change leaves behind in the table."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.segment.apply import status, table
from nodeagent.segment.table import (
    Ended,
    Group,
    Mode,
    Seat,
    SeatState,
    Table,
    counted,
    gone,
    handed,
    heirs,
    remade,
    trimmed,
    vacant,
    with_seat,
)
from roost.kube import wire


def seat(number: int, *, eligible: bool = True, live: bool = True) -> Seat:
    state = SeatState.LIVE if live else SeatState.GONE
    return Seat(f"n{number}", number, 1, "boot", "machine", "02:00:00:00:00:01", (), eligible, Mode.LEASED, state)


def seats(*rows: Seat, groups: tuple[Group, ...] = ()) -> Table:
    return Table("uid", "7", 3, 100, rows, (), groups)


ALL = frozenset({"n1", "n2", "n3", "n4"})


@pytest.mark.parametrize(
    ("rows", "candidates", "barred", "expected"),
    [
        pytest.param([seat(1)], ALL, set(), {1}, id="the only seat inherits"),
        pytest.param([seat(1), seat(2, eligible=False)], ALL, set(), {1}, id="a seat that is not eligible does not"),
        pytest.param([seat(1), seat(2, live=False)], ALL, set(), {1}, id="a gone seat does not"),
        pytest.param([seat(1), seat(2)], {"n2"}, set(), {2}, id="nor does a node that may not hold the group"),
        pytest.param([seat(1), seat(2)], ALL, {"n1"}, {2}, id="nor does the giver"),
        pytest.param([seat(1)], {"n9"}, set(), set(), id="without a fit seat there is no heir"),
    ],
)
def test_heirs(rows: list[Seat], candidates: set[str], barred: set[str], expected: set[int]) -> None:
    to = heirs(seats(*rows), ["g"], {"g": frozenset(candidates)}, barred=barred)
    assert set(to.values()) == expected


def test_heirs_are_spread_over_the_seats() -> None:
    names = [f"b-0-{number}" for number in range(128)]
    to = heirs(seats(seat(1), seat(2), seat(3)), names, dict.fromkeys(names, ALL))
    loads = [list(to.values()).count(tenure) for tenure in (1, 2, 3)]
    assert sum(loads) == 128
    assert max(loads) <= 54  # 1.25 times the mean


def test_heirs_stay_when_another_seat_goes() -> None:
    """Rendezvous: only what the lost seat would have had is chosen anew."""
    names = [f"s-{number}" for number in range(10)]
    candidates = dict.fromkeys(names, ALL)
    many = [seat(number) for number in (1, 2, 3, 4)]
    before = {name: heirs(seats(*many), [name], candidates)[name] for name in names}
    after = {name: heirs(seats(*many[:3]), [name], candidates)[name] for name in names}
    assert all(after[name] == tenure for name, tenure in before.items() if tenure != 4)


def test_groups_without_a_live_holder_are_vacant() -> None:
    rows = seats(seat(1), seat(2, live=False), groups=(Group("a", 1, 1), Group("b", 2, 1), Group("c", 0, 1)))
    assert vacant(rows, dict.fromkeys(("a", "b", "c", "d"), ALL)) == {"b", "c", "d"}


def test_a_seat_that_goes_stays_as_it_was_else() -> None:
    rows = gone(seats(seat(1), seat(2)), "n2")
    assert rows.seats == (seat(1), seat(2, live=False))


def test_a_new_row_begins_with_an_epoch_above_any_it_may_have_had() -> None:
    rows = handed(seats(seat(1), groups=(Group("a", 0, 2),)), {"a": 1, "b": 1})
    assert rows.groups == (Group("a", 1, 3), Group("b", 1, 4))


def test_one_write_raises_an_epoch_by_one_however_often_the_group_changed_hands_in_it() -> None:
    before = seats(seat(1), seat(2), groups=(Group("a", 1, 5),))
    after = handed(handed(before, {"a": 0}), {"a": 2})
    assert after.groups[0].epoch == 7
    assert counted(before, after) == (Group("a", 2, 6),)
    assert counted(before, handed(after, {"a": 1})) == (Group("a", 1, 5),)


def test_old_rows_of_gone_seats_are_dropped_live_ones_never() -> None:
    rows = seats(*(seat(number, live=number > 30) for number in range(1, 40)))
    left = trimmed(rows).seats
    assert [row.tenure for row in left if row.live] == list(range(31, 40))
    assert [row.tenure for row in left if not row.live] == list(range(15, 31))


names = st.text("abcn-0123456789", min_size=1, max_size=8)
rows_of_seats = st.lists(
    st.builds(
        Seat,
        names,
        st.integers(1, 99),
        st.integers(1, 9),
        names,
        names,
        names,
        st.tuples(names),
        st.booleans(),
        st.sampled_from(Mode),
        st.sampled_from(SeatState),
        st.tuples(names),
    ),
    max_size=4,
    unique_by=lambda row: row.node,
)
rows_of_groups = st.lists(
    st.builds(Group, names, st.integers(0, 99), st.integers(0, 999), st.tuples(st.integers(1, 99))),
    max_size=4,
    unique_by=lambda row: row.name,
)


@given(rows_of_seats, rows_of_groups)
def test_a_table_survives_the_way_to_the_api_server_and_back(some: list[Seat], groups: list[Group]) -> None:
    ended = (Ended(3, "n3", Mode.WITNESSED, ("n1",)),)
    before = Table("uid", "7", 3, 100, tuple(some), ended, tuple(groups))
    body = wire.Segment(metadata=wire.Meta(name="s", uid="uid", resource_version="7"), status=status(before))
    again = msgspec.json.decode(wire.SEGMENTS.encode(body), type=wire.Segment)
    assert table(again) == before


def test_a_segment_without_a_table_is_told_from_one_with_an_empty_table() -> None:
    bare = wire.Segment(metadata=wire.Meta(name="s", uid="uid", resource_version="7"))
    assert not table(bare).made
    assert table(replace_status(bare)).made


def replace_status(bare: wire.Segment) -> wire.Segment:
    return wire.Segment(metadata=bare.metadata, status=wire.SegmentStatus(revision=1, next_tenure=1))


def test_a_seat_takes_its_tenure_out_of_what_is_to_be_given_out_next() -> None:
    assert with_seat(Table("uid", "7"), seat(5)).next_tenure == 6
    assert with_seat(replace(seats(), next_tenure=9), seat(5)).next_tenure == 9


def test_a_group_given_to_who_is_outwaited_already_names_it_once() -> None:
    was = replace(
        seats(seat(1, live=False), groups=(Group("g", 1, 4, (1,)),)),
        ended=(Ended(1, "n1", Mode.WITNESSED, ("n2",)),),
    )
    assert remade(was, Table("uid-2", "9")).groups == (Group("g", 0, 5, (1,)),), "the server refuses a set with doubles"
