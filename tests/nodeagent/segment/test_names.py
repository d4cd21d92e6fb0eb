"""Another machine under a node's name sits down once the former one is over, and nobody else took what it held."""

from dataclasses import dataclass, field, replace

import pytest

from nodeagent.model import Here
from nodeagent.segment.events import (
    Answer,
    Input,
    LeaseSeen,
    LeasesListed,
    LeaseView,
    MarkLease,
    MarkPut,
    Output,
    PutLease,
    TableSeen,
    Tick,
    Wish,
)
from nodeagent.segment.plan import start, step
from nodeagent.segment.state import Me, Settings, State
from nodeagent.segment.table import Group, Mode, Seat, Table, ended

SETTINGS = Settings()
MARKED = LeaseView("9", 2, 2)
WISH = Wish(True, "02:00:00:00:00:02", ("10.60.0.2",), {"g": frozenset({"n1", "n2"})})


def seat(node: str, tenure: int, machine: str, mode: Mode = Mode.LEASED) -> Seat:
    return Seat(node, tenure, 1, f"boot-{machine}", machine, f"02:00:00:00:00:0{tenure}", ("10.60.0.9",), True, mode)


FORMER, OTHER = seat("n2", 2, "former"), seat("n1", 1, "other")


def table(*seats: Seat, version: str = "5") -> Table:
    return Table("uid", version, 3, 3, seats, (), (Group("g", 2, 3),))


@dataclass(slots=True)
class Machine:
    """The other machine that is n2 now; *out* is what it wanted last."""

    state: State = field(default_factory=lambda: start(Me("n2", "boot", "new"), SETTINGS))
    now: float = 100.0
    out: list[Output] = field(default_factory=list)

    def hears(self, *happened: Input) -> "Machine":
        for each in happened:
            self.state, out = step(self.state, self.now, each)
            self.out.extend(out)
        return self

    def waits(self, seconds: float) -> "Machine":
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, max(self.state.wake, self.now + 0.001))
            self.hears(Tick())
        return self

    @property
    def sits_down(self) -> bool:
        return any(isinstance(each, PutLease) for each in self.out)


def begun(*seats: Seat) -> Machine:
    """The machine finds a table of *seats*, and the Lease of its name unmarked."""
    machine = Machine().hears(Here(0, 0, 0.0), LeasesListed(), WISH, TableSeen(table(*seats), fresh=True))
    return machine.hears(LeaseSeen("n1", LeaseView("7", 1)), LeaseSeen("n2", LeaseView("8", 2)))


def test_who_sits_already_takes_what_a_former_machine_held() -> None:
    machine = begun(OTHER, FORMER).hears(LeaseSeen("n2", MARKED))
    assert not machine.waits(SETTINGS.turns - 0.01).sits_down
    taken = replace(ended(table(OTHER, FORMER), FORMER, {"g": 1}), resource_version="6", revision=4)
    assert machine.hears(TableSeen(taken)).sits_down


def test_where_nobody_takes_it_the_new_machine_does_in_the_end() -> None:
    machine = begun(OTHER, FORMER).hears(LeaseSeen("n2", MARKED)).waits(SETTINGS.turns + 0.01)
    assert machine.sits_down


@pytest.mark.parametrize(
    "others",
    [
        pytest.param((), id="no other seat"),
        pytest.param((replace(OTHER, node="n3"),), id="another whose Lease is marked too"),
    ],
)
def test_nobody_is_waited_for_who_cannot_act(others: tuple[Seat, ...]) -> None:
    machine = begun(FORMER, *others).hears(LeaseSeen("n3", LeaseView("4", 1, 1)), LeaseSeen("n2", MARKED))
    assert machine.sits_down


def test_its_own_mark_leaves_the_others_their_turn() -> None:
    machine = begun(OTHER, FORMER)
    while not any(isinstance(each, MarkLease) for each in machine.out):
        machine.now += SETTINGS.renew
        machine.hears(LeaseSeen("n1", LeaseView(str(int(machine.now)), 1), fresh=True), Tick())
    machine.hears(MarkPut("n2", Answer.OK, MARKED))
    assert not machine.waits(SETTINGS.turns - 0.01).sits_down
    assert machine.waits(0.02).sits_down


def test_a_rest_that_is_over_leaves_the_others_their_turn() -> None:
    machine = begun(OTHER, seat("n2", 2, "former", Mode.RESTING)).waits(SETTINGS.rested + SETTINGS.turns - 0.01)
    assert not machine.sits_down
    assert machine.waits(0.02).sits_down
