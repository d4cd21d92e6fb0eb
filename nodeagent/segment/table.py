"""The table as a value: seats and groups, who may inherit, and the rows that a change leaves behind."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from enum import StrEnum

from roost import rendezvous

GONE_ROWS_KEPT = 16  # rows of gone seats are history; a table holds 512 seats


class Mode(StrEnum):
    """What feeds the permit of a seat: the own Lease, the echoes of witnesses, or nothing until it comes back."""

    LEASED = "Leased"
    WITNESSED = "Witnessed"
    RESTING = "Resting"


class SeatState(StrEnum):
    LIVE = "Live"
    GONE = "Gone"


@dataclass(frozen=True, slots=True)
class Seat:
    """A node's place. *tenure* names one stay of it, *version* counts the changes of the row within the tenure."""

    node: str
    tenure: int
    version: int
    boot_id: str
    machine_id: str
    mac: str
    addresses: tuple[str, ...]
    eligible: bool
    mode: Mode = Mode.LEASED
    state: SeatState = SeatState.LIVE
    witnesses: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        return self.state is SeatState.LIVE


@dataclass(frozen=True, slots=True)
class Group:
    """VIPs that move together. *tenure* is the holder's (0: vacant); *epoch* counts the changes of holder."""

    name: str
    tenure: int
    epoch: int
    after: tuple[int, ...] = ()

    def to(self, tenure: int) -> "Group":
        """The row with another holder; the server refuses an epoch that does not grow by one then.

        Who had to be outwaited by the one must be outwaited by the other.
        """
        return self if tenure == self.tenure else replace(self, tenure=tenure, epoch=self.epoch + 1)


@dataclass(frozen=True, slots=True)
class Ended:
    """A tenure that is over and that an heir must still outwait."""

    tenure: int
    node: str
    mode: Mode
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """``Segment.status`` at one resourceVersion. *revision* 0: there is no table yet, or it lost its status."""

    uid: str
    resource_version: str
    revision: int = 0
    next_tenure: int = 1
    seats: tuple[Seat, ...] = ()
    ended: tuple[Ended, ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def made(self) -> bool:
        return self.revision > 0

    def seat(self, node: str) -> Seat | None:
        return next((seat for seat in self.seats if seat.node == node), None)

    def live(self) -> list[Seat]:
        """Live seats, lowest tenure first: the order in which seats act."""
        return sorted((seat for seat in self.seats if seat.live), key=lambda seat: seat.tenure)

    def group(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.name == name), None)

    def owner(self, tenure: int) -> str:
        """The node whose seat has *tenure*, or had it when it ended; '' if the table does not know."""
        rows: tuple[Seat | Ended, ...] = (*self.seats, *self.ended)
        return next((row.node for row in rows if row.tenure == tenure), "")

    def held_by(self, tenure: int) -> frozenset[str]:
        """The groups of *tenure*; some it may have to wait for."""
        return frozenset(group.name for group in self.groups if group.tenure == tenure)

    def same_rows(self, other: "Table") -> bool:
        return (self.seats, self.ended, self.groups, self.next_tenure) == (
            other.seats,
            other.ended,
            other.groups,
            other.next_tenure,
        )


Candidates = Mapping[
    str, frozenset[str]
]  # group -> the nodes that may hold it, as Services, endpoints and Nodes have it


def with_seat(table: Table, seat: Seat) -> Table:
    """The table with *seat* as its node's row."""
    others = tuple(row for row in table.seats if row.node != seat.node)
    return replace(table, seats=(*others, seat), next_tenure=max(table.next_tenure, seat.tenure + 1))


def without_seat(table: Table, node: str) -> Table:
    return replace(table, seats=tuple(row for row in table.seats if row.node != node))


def gone(table: Table, node: str) -> Table:
    """The table with the seat of *node* gone; a proof that its tenure is over must exist."""
    rows = tuple(replace(row, state=SeatState.GONE) if row.node == node else row for row in table.seats)
    return replace(table, seats=rows)


def ended(table: Table, seat: Seat, to: Mapping[str, int]) -> Table:
    """The table in which *seat* is gone, and each of its groups has its heir of *to*, or none.

    The heirs of a witnessed seat must outwait it. A mark, or a rest seen to its end, is the proof by itself.
    """
    mine = frozenset(group.name for group in table.groups if group.tenure == seat.tenure)
    outwait = seat.mode is Mode.WITNESSED and bool(mine)
    table = handed(gone(table, seat.node), {name: to.get(name, 0) for name in mine})
    if not outwait:
        return table
    rows = (*table.ended, Ended(seat.tenure, seat.node, seat.mode, seat.witnesses))
    groups = (replace(g, after=(*g.after, seat.tenure)) if g.name in mine else g for g in table.groups)
    return replace(table, ended=rows, groups=tuple(groups))


def outwaited(table: Table, names: Set[str]) -> Table:
    """The table in which the groups of *names* have nobody left to outwait."""
    if not any(group.after for group in table.groups if group.name in names):
        return table
    return replace(table, groups=tuple(replace(g, after=()) if g.name in names else g for g in table.groups))


def remade(memory: Table, now: Table) -> Table:
    """A table instead of the one that was lost, from the memory of it: every group is vacant, every seat ended."""
    rows = {row.tenure: row for row in memory.ended}
    rows |= {s.tenure: Ended(s.tenure, s.node, s.mode, s.witnesses) for s in memory.live() if s.mode is not Mode.LEASED}
    groups = []
    for group in memory.groups:
        after = tuple(dict.fromkeys((*group.after, group.tenure))) if group.tenure in rows else group.after
        groups.append(replace(group.to(0), after=after))
    named = {tenure for group in groups for tenure in group.after}
    kept = tuple(row for row in rows.values() if row.tenure in named)
    return replace(now, next_tenure=max(now.next_tenure, memory.next_tenure), ended=kept, groups=tuple(groups))


def trimmed(table: Table) -> Table:
    """The table without the oldest rows of gone seats, once there are too many, and without what nobody awaits."""
    old = sorted((row.tenure for row in table.seats if not row.live), reverse=True)[GONE_ROWS_KEPT:]
    if old:
        table = replace(table, seats=tuple(row for row in table.seats if row.live or row.tenure not in old))
    awaited = {tenure for group in table.groups for tenure in group.after}
    if all(row.tenure in awaited for row in table.ended):
        return table
    return replace(table, ended=tuple(row for row in table.ended if row.tenure in awaited))


def vacant(table: Table, candidates: Candidates) -> frozenset[str]:
    """Groups that are wanted and that no live seat holds."""
    tenures = {seat.tenure for seat in table.seats if seat.live}
    taken = {group.name for group in table.groups if group.tenure in tenures}
    return frozenset(candidates.keys() - taken)


def heirs(
    table: Table,
    groups: Iterable[str],
    candidates: Candidates,
    *,
    barred: Set[str] = frozenset(),
    last: Set[str] = frozenset(),
) -> dict[str, int]:
    """Whose tenure inherits each of *groups*; a group without an eligible node is left out.

    Rendezvous order; seats that hold more than 1.25 times the mean are passed over. Each choice counts for the next.
    """
    fit = {seat.node: seat.tenure for seat in table.live() if seat.eligible and seat.node not in barred}
    held = Counter(group.tenure for group in table.groups)
    load = {node: held[tenure] for node, tenure in fit.items()}
    return {group: fit[node] for group, node in rendezvous.shared(groups, load, candidates, last).items()}


def handed(table: Table, to: Mapping[str, int]) -> Table:
    """The table with each group of *to* at its new tenure (0: vacant); a group without a row gets one.

    A new row begins with the revision that is being written as its epoch: an epoch grows by one a write at the most, so
    this is never below what a removed row of that name had.
    """
    known = {group.name for group in table.groups}
    rows = [group.to(to[group.name]) if group.name in to else group for group in table.groups]
    rows += [Group(name, tenure, table.revision + 1) for name, tenure in sorted(to.items()) if name not in known]
    return replace(table, groups=tuple(rows))


def without_groups(table: Table, names: Set[str]) -> Table:
    return replace(table, groups=tuple(group for group in table.groups if group.name not in names)) if names else table


def counted(before: Table, after: Table) -> tuple[Group, ...]:
    """The groups of *after* with the epochs that one write may give them: one more where the holder changed."""
    rows = {group.name: group for group in before.groups}
    return tuple(replace(rows[g.name].to(g.tenure), after=g.after) if g.name in rows else g for g in after.groups)
