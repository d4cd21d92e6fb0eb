"""The API server of the simulation: a linearizable store that keeps the rules of the schema and of the policies."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nodeagent.segment.events import Answer, LeaseView
from nodeagent.segment.table import Seat, SeatState, Table


@dataclass(frozen=True, slots=True)
class StoredLease:
    version: int
    tenure: int
    ended: int
    uid: str

    @property
    def view(self) -> LeaseView:
        return LeaseView(str(self.version), self.tenure, self.ended, self.uid)


TableWritten = Callable[[Table | None, Table | None, str], None]
LeaseWritten = Callable[[str, StoredLease | None, str], None]


@dataclass
class Store:
    """Segment and Leases. *refusals*: what a node tried that the server forbids, in its words."""

    revision: int = 0
    table: Table | None = None
    leases: dict[str, StoredLease] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    table_written: TableWritten = lambda old, new, writer: None
    lease_written: LeaseWritten = lambda node, lease, writer: None

    def next(self) -> int:
        self.revision += 1
        return self.revision

    # -- what agents do

    def read_table(self) -> Table:
        """A consistent read, which makes the Segment if there is none."""
        if self.table is None:
            number = self.next()
            self.replace_table(Table(f"uid-{number}", str(number)), "somebody")
        assert self.table is not None
        return self.table

    def put_table(self, writer: str, new: Table) -> tuple[Answer, Table | None]:
        old = self.table
        if old is None:
            return Answer.MISSING, None
        if (new.uid, new.resource_version) != (old.uid, old.resource_version):
            return Answer.CONFLICT, None
        why = refusal(old, new, writer)
        if why:
            self.refusals.append(f"{writer}: {why}")
            return Answer.REFUSED, None
        stored = replace(new, resource_version=str(self.next()))
        self.replace_table(stored, writer)
        return Answer.OK, stored

    def put_lease(self, node: str, tenure: int, over: LeaseView | None) -> tuple[Answer, LeaseView | None]:
        stored = self.leases.get(node)
        if over is None:
            if stored is not None:
                return Answer.CONFLICT, None  # AlreadyExists
            number = self.next()
            return Answer.OK, self.set_lease(node, StoredLease(number, tenure, 0, f"uid-{number}"), node)
        if stored is None or (stored.uid, str(stored.version)) != (over.uid, over.resource_version):
            return Answer.CONFLICT, None
        if stored.ended and tenure <= stored.tenure:
            self.refusals.append(f"{node}: tenure {stored.tenure} was ended by a mark, {tenure} is not higher")
            return Answer.REFUSED, None
        return Answer.OK, self.set_lease(node, StoredLease(self.next(), tenure, 0, stored.uid), node)

    def mark(self, writer: str, node: str, tenure: int, version: str) -> tuple[Answer, LeaseView | None]:
        stored = self.leases.get(node)
        if stored is None:
            return Answer.MISSING, None
        if str(stored.version) != version:
            return Answer.CONFLICT, None
        if tenure != stored.tenure and writer != node:
            self.refusals.append(f"{writer}: a mark for tenure {tenure} on the Lease of {node}, tenure {stored.tenure}")
            return Answer.REFUSED, None
        return Answer.OK, self.set_lease(node, replace(stored, version=self.next(), ended=tenure), writer)

    def view(self, node: str) -> LeaseView | None:
        stored = self.leases.get(node)
        return None if stored is None else stored.view

    # -- and what happens to objects otherwise

    def set_lease(self, node: str, lease: StoredLease, writer: str) -> LeaseView:
        self.leases[node] = lease
        self.lease_written(node, lease, writer)
        return lease.view

    def delete_lease(self, node: str) -> None:
        if self.leases.pop(node, None) is not None:
            self.next()
            self.lease_written(node, None, "somebody")

    def replace_table(self, new: Table | None, writer: str) -> None:
        """Without asking: the object is made, deleted, or made again with whatever it had before."""
        old, self.table = self.table, new
        self.table_written(old, new, writer)


def refusal(old: Table, new: Table, writer: str) -> str:
    """Why the server refuses *new*, by the CRD Segment and policy roost-nodeagent-segments (helm/roost); "": not."""
    rules = [_numbers, _seats, _ended, _groups, *([_anew] if not old.made else [_others])]
    return next((why for rule in rules if (why := rule(old, new, writer))), "")


def _numbers(old: Table, new: Table, writer: str) -> str:
    if old.made and new.revision != old.revision + 1:
        return "every write raises revision by one"
    if new.revision < 1:
        return "revision begins with one"
    if old.made and new.next_tenure < old.next_tenure:
        return "tenures only grow"
    rows = [*(s.tenure for s in new.seats), *(e.tenure for e in new.ended), *(g.tenure for g in new.groups)]
    if any(tenure >= new.next_tenure for tenure in rows):
        return "nextTenure is above every tenure"
    return ""


def _seats(old: Table, new: Table, writer: str) -> str:
    rows = {row.node: row for row in old.seats}
    for seat in new.seats:
        before = rows.get(seat.node)
        if before is None:
            continue
        if seat.tenure < before.tenure:
            return f"the tenure of {seat.node} only grows"
        if seat.tenure == before.tenure and (seat.version < before.version or (seat.live and not before.live)):
            return f"gone stays gone, and the version of {seat.node} only grows"
    if len({row.node for row in new.seats}) != len(new.seats) or any(len(row.witnesses) > 3 for row in new.seats):
        return "two rows of one node, or more than three witnesses"
    mine = next((row for row in new.seats if row.node == writer), None)
    if old.made and mine is not None and mine.tenure < old.next_tenure:
        known = rows.get(writer)
        if known is None or known.tenure != mine.tenure:
            return "a new tenure is taken from nextTenure"
    return ""


def _others(old: Table, new: Table, writer: str) -> str:
    rows = {row.node: row for row in old.seats}
    for seat in new.seats:
        if seat.node != writer and seat != rows.get(seat.node):
            before: Seat | None = rows.get(seat.node)
            if before is None or not before.live or seat != replace(before, state=SeatState.GONE):
                return f"{writer} may change its own seat; of {seat.node} it may only say that it is gone"
    nodes = {row.node for row in new.seats}
    if any(row.live and row.node not in nodes and row.node != writer for row in old.seats):
        return f"{writer} may not remove the seat of another that is not gone"
    return ""


def _ended(old: Table, new: Table, writer: str) -> str:
    before, after = {row.tenure: row for row in old.ended}, {row.tenure: row for row in new.ended}
    if any(before[tenure] != row for tenure, row in after.items() if tenure in before):
        return "a row of ended never changes"
    live = {row.tenure for row in new.seats if row.live}
    seats = {(row.tenure, row.node, row.mode, row.witnesses) for row in old.seats}
    for tenure in (after.keys() - before.keys()) if old.made else ():
        row = after[tenure]
        if tenure in live or (row.tenure, row.node, row.mode, row.witnesses) not in seats:
            return "a row of ended is a copy of a seat whose tenure ends in this write, or was gone before"
    removed = before.keys() - after.keys()
    if any(tenure in removed for group in new.groups for tenure in group.after):
        return "a row of ended stays while a group's after names it"
    return ""


def _groups(old: Table, new: Table, writer: str) -> str:
    rows = {row.name: row for row in old.groups}
    for row in new.groups:
        before = rows.get(row.name)
        if before is not None and row.epoch - before.epoch != (row.tenure != before.tenure):
            return f"the epoch of {row.name} grows by one when, and only when, the holder changes"
        if len(row.after) > 16 or len(set(row.after)) != len(row.after):
            return f"after of {row.name} is a set of at most 16"
    return ""


def _anew(old: Table, new: Table, writer: str) -> str:
    mine = [row.tenure for row in new.seats if row.node == writer]
    if len(mine) != 1 or any(group.tenure not in (0, mine[0]) for group in new.groups):
        return "a table is made anew with the writer's own seat, and groups that are vacant or its own"
    return ""
