import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_roost.segment.plan import GroupView, NotThere, Snapshot, View, Wait, Wanted, find, inherit, proofs
from nodeagent.segment import apply as agents
from nodeagent.segment.table import heirs
from roost.kube.wire import AgentSegment, Ended, Group, Segment
from tests.kubectl_roost.cluster import agent, group, seat, segment, well

SIX = segment(
    seat("n1", 1),
    seat("n2", 2, eligible=False),
    seat("n3", 3, "Gone"),
    groups=(group("b-1-7", 1), group("b-1-8", 2), group("b-1-9", 3), group("b-1-10", 0)),
)


def one(now: Snapshot, wanted: Wanted | None = None) -> View:
    found = find(now, wanted or Wanted())
    assert isinstance(found, tuple)
    (view,) = found
    assert isinstance(view, View)
    return view


def grouped(now: Snapshot, wanted: Wanted) -> GroupView:
    found = find(now, wanted)
    assert isinstance(found, tuple)
    (view,) = found
    assert isinstance(view, GroupView)
    return view


def test_seats_stand_by_name_with_what_they_hold_and_what_their_agents_say() -> None:
    own = AgentSegment(name="10.60.0.0-24", interface="eth0", fence="kernel before 5.16")
    said = msgspec.structs.replace(agent("n1"), status=msgspec.structs.replace(agent("n1").status, segments=(own,)))
    view = one(Snapshot(segments=(SIX,), agents=(said,)))
    assert [(row.node, row.tenure, row.state, row.eligible, row.groups) for row in view.seats] == [
        ("n1", 1, "Live", True, 1),
        ("n2", 2, "Live", False, 1),
        ("n3", 3, "Gone", True, 1),
    ]
    first, second, _ = view.seats
    assert (first.interface, first.fence, first.since) == ("eth0", "kernel before 5.16", "2026-01-01T00:00:00Z")
    assert (second.interface, second.fence, second.since) == ("", "", "")
    assert view.vacant == 2, "nobody's, and those of a seat that is gone"


def test_who_would_inherit_is_eligible_and_lives() -> None:
    view = one(Snapshot(segments=(SIX,), vips=well().vips))
    assert {(h.holder, h.groups, h.vips): h.heirs for h in view.holdings} == {
        ("n1", 1, 2): {},
        ("n2", 1, 0): {"n1": 1},
        ("n3", 1, 0): {"n1": 1},
    }


tables = st.builds(
    lambda fit, held: segment(
        *(seat(f"n{number}", number, eligible=eligible) for number, eligible in enumerate(fit, 1)),
        groups=tuple(group(f"b-1-{number}", tenure) for number, tenure in enumerate(held)),
    ),
    st.lists(st.booleans(), min_size=2, max_size=5),
    st.lists(st.integers(1, 2), max_size=20),
)


@given(tables)
def test_the_heirs_are_those_that_the_agents_choose(table: Segment) -> None:
    assert table.status is not None
    mine = [row.name for row in table.status.groups if row.tenure == 1]
    everybody = frozenset(row.node for row in table.status.seats)
    chosen = heirs(agents.table(table), mine, dict.fromkeys(mine, everybody), barred={"n1"})
    nodes = {row.tenure: row.node for row in table.status.seats}
    assert inherit(table.status, mine, "n1") == {name: nodes[tenure] for name, tenure in chosen.items()}


def outwaiting(*ended: Ended, after: tuple[int, ...] = (1,)) -> Snapshot:
    rows = tuple(Group(name=name, tenure=2, epoch=2, after=after) for name in ("b-1-7", "b-1-8"))
    table = segment(seat("n2", 2), seat("n1", 1, "Gone"), groups=rows)
    assert table.status is not None
    return Snapshot(
        segments=(msgspec.structs.replace(table, status=msgspec.structs.replace(table.status, ended=ended)),)
    )


@pytest.mark.parametrize(
    ("ended", "ask", "witnesses"),
    [
        pytest.param(Ended(tenure=1, node="n1", mode="Witnessed", witnesses=("n4", "n2", "n3")), 2, 3, id="of three"),
        pytest.param(Ended(tenure=1, node="n1", mode="Witnessed", witnesses=("n3", "n2")), 2, 2, id="of two"),
        pytest.param(Ended(tenure=1, node="n1", mode="Witnessed", witnesses=("n2",)), 1, 1, id="of one"),
        pytest.param(Ended(tenure=1, node="n1", mode="Resting"), 0, 0, id="it rested: its time must run out"),
    ],
)
def test_whom_an_heir_asks(ended: Ended, ask: int, witnesses: int) -> None:
    (wait,) = one(outwaiting(ended)).waits
    assert (wait.groups, wait.holder, wait.tenure, wait.node) == (("b-1-7", "b-1-8"), "n2", 1, "n1")
    assert (wait.ask, len(wait.witnesses)) == (ask, witnesses)


def test_a_tenure_without_a_row_is_still_shown() -> None:
    assert one(outwaiting()).waits == (Wait(("b-1-7", "b-1-8"), "n2", 1, "", "", 0, ()),)


@given(st.integers(1, 9))
def test_who_feeds_and_who_ends_have_a_witness_in_common(witnesses: int) -> None:
    assert -(-witnesses // 2) + proofs(witnesses) == witnesses + 1


WELL = Snapshot(segments=well().segments, vips=well().vips)


def test_a_group_with_its_vips_and_the_line_behind_its_holder() -> None:
    view = grouped(WELL, Wanted(group="b-1-7"))
    assert (view.vips, view.services) == (("192.0.2.7", "2001:db8::7"), ("shop/web",))
    assert (view.holder, view.tenure, view.epoch, view.next) == ("n1", 1, 1, ("n2",))


@pytest.mark.parametrize("address", ["2001:db8::7", "2001:DB8:0::7", "192.0.2.7"])
def test_the_group_of_a_vip_however_it_is_written(address: str) -> None:
    assert grouped(WELL, Wanted(vip=address)).name == "b-1-7"


def test_who_may_not_hold_it_is_not_in_line() -> None:
    view = grouped(Snapshot(segments=(SIX,)), Wanted(group="b-1-10"))
    assert (view.holder, view.next, view.not_eligible) == ("", ("n1",), ("n2",))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(Wanted("elsewhere"), "there is no Segment elsewhere", id="a segment that is not there"),
        pytest.param(Wanted(group="b-2-1"), "no segment has a group b-2-1", id="a group that is not there"),
        pytest.param(Wanted(vip="192.0.2.99"), "there is no VIP 192.0.2.99 with a group", id="no such VIP"),
        pytest.param(Wanted(vip="web"), "there is no VIP web with a group", id="no address at all"),
    ],
)
def test_what_is_not_there(wanted: Wanted, message: str) -> None:
    assert find(WELL, wanted) == NotThere(message)


def test_a_cluster_without_segments() -> None:
    assert find(Snapshot(), Wanted()) == NotThere("there is no Segment")


def test_a_segment_without_a_table() -> None:
    view = one(Snapshot(segments=(msgspec.structs.replace(SIX, status=None),)))
    assert (view.revision, view.seats, view.holdings, view.waits) == (0, (), (), ())
