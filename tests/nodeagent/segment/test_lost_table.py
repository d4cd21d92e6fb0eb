"""A table that is lost takes every tenure along that was not seated, and nobody makes it anew by an old look at it."""

from dataclasses import replace

import pytest

from nodeagent.model import Here, Over
from nodeagent.segment.events import (
    Answer,
    AskLeases,
    AskTable,
    Hold,
    Input,
    LeasePut,
    LeaseSeen,
    LeasesListed,
    LeasesRead,
    LeaseView,
    Output,
    PutLease,
    PutTable,
    TableSeen,
    Tick,
    Wish,
)
from nodeagent.segment.plan import start, step
from nodeagent.segment.state import Me, Settings, State
from nodeagent.segment.table import Group, Mode, Seat, SeatState, Table

NOW, SETTINGS = 50.0, Settings()
OWN = Seat(
    "n1", 1, 2, "boot", "machine-n1", "02:00:00:00:00:01", ("10.60.0.1",), True, Mode.WITNESSED, witnesses=("n2",)
)
OTHER = Seat("n2", 2, 1, "boot-n2", "machine-n2", "02:00:00:00:00:02", ("10.60.0.2",), True)
TABLE = Table("uid", "5", 3, 3, (OWN, OTHER), (), (Group("g", 1, 3),))
LOST = Table("uid-2", "6")
WISH = Wish(True, OWN.mac, OWN.addresses, {"g": frozenset({"n1", "n2"})})
LEASES = (LeaseSeen("n1", LeaseView("3", 1)), LeaseSeen("n2", LeaseView("4", 2)))


def heard(state: State, *happened: Input) -> tuple[State, list[Output]]:
    """The state after all of it, and what came out, in order."""
    out: list[Output] = []
    for each in happened:
        state, more = step(state, NOW, each)
        out += more
    return state, out


def begun(boot: str, table: Table = TABLE) -> State:
    """The agent of n1 has read *table*, and has written nothing yet."""
    agent = start(Me("n1", boot, "machine-n1"))
    return heard(agent, Here(7, 1, NOW + 0.5), *LEASES, LeasesListed(), WISH, TableSeen(table, fresh=True))[0]


def renewed(state: State) -> LeasePut:
    return LeasePut(Answer.OK, NOW, state.tenure, LeaseView("9", state.tenure))


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(LOST, id="the table lost its status"),
        pytest.param(replace(TABLE, resource_version="6", seats=(OTHER,)), id="the seat is missing"),
        pytest.param(
            replace(TABLE, resource_version="6", seats=(replace(OWN, state=SeatState.GONE), OTHER)),
            id="the seat is gone",
        ),
        pytest.param(
            replace(TABLE, resource_version="6", seats=(replace(OWN, tenure=3), OTHER), next_tenure=4),
            id="the seat has another tenure",
        ),
    ],
)
def test_a_seat_that_is_adopted_and_not_there_any_more_is_lost(now: Table) -> None:
    adopting = begun("boot")
    assert (adopting.tenure, adopting.seated) == (1, False)
    state, out = heard(adopting, renewed(adopting), TableSeen(now))
    assert Hold(frozenset()) in out, "what the forerunner held may be another's by now"
    assert state.tenure != 1
    assert not any(isinstance(each, PutTable) for each in out)


def test_a_tenure_chosen_by_a_table_that_is_lost_makes_no_table() -> None:
    chosen = begun("another boot")
    assert (chosen.tenure, chosen.seated) == (3, False)
    state, out = heard(chosen, TableSeen(LOST), renewed(chosen))
    assert state.tenure == 0, "the Lease of n2 is not marked"
    assert not any(isinstance(each, PutTable) for each in out)


def test_who_makes_a_table_reads_all_leases_first() -> None:
    marked = (LeaseSeen("n1", LeaseView("7", 1, 1)), LeaseSeen("n2", LeaseView("8", 2, 2)))
    waiting, out = heard(begun("another boot"), *marked, TableSeen(LOST))
    assert AskLeases(6) in out
    known = {"n1": LeaseView("7", 1, 1), "n2": LeaseView("8", 2, 2)}
    unseen, _ = heard(waiting, LeasesRead(6, {**known, "n3": LeaseView("6", 2)}))
    assert unseen.tenure == 0, "n3 sat down before the table was lost, and may claim"
    stale, _ = heard(waiting, LeasesRead(5, known))
    assert stale.tenure == 0, "a seat of this table may have come later"
    chosen, _ = heard(waiting, LeasesRead(6, known))
    assert chosen.tenure == 3, "everybody is counted out"
    chosen, _ = heard(chosen, TableSeen(LOST, fresh=True))
    assert chosen.tenure == 3, "the same table says nothing new"


def test_a_lease_that_was_deleted_is_outwaited_too() -> None:
    waiting, _ = heard(begun("another boot"), LeaseSeen("n1", LeaseView("7", 1, 1)), LeaseSeen("n2", None, fresh=True))
    waiting, _ = heard(waiting, TableSeen(LOST), LeasesRead(6, {"n1": LeaseView("7", 1, 1)}))
    assert waiting.tenure == 0, "n2 renewed it just before, for all we know"
    over, _ = step(waiting, NOW + SETTINGS.wait, Tick())
    assert over.tenure == 3


def test_who_is_called_over_looks_at_the_table_before_it_chooses() -> None:
    seated, _ = heard(begun("boot"), TableSeen(replace(TABLE, resource_version="6", revision=4)))
    assert seated.seated
    lost, out = heard(seated, Over(1))
    assert AskTable() in out
    assert not any(isinstance(each, PutLease) for each in out), "a Lease that is new must be watched for long"
    late, out = heard(lost, TableSeen(replace(TABLE, resource_version="7", revision=5)))
    assert late.tenure == 0, "what a watch shows may be old"
    again, out = heard(late, TableSeen(replace(TABLE, resource_version="7", revision=5), fresh=True))
    assert again.tenure == 3
    assert any(isinstance(each, PutLease) for each in out)
