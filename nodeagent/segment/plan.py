"""A node's part in the table of its segment, as one pure step: what it learns goes in, what it must do comes out.

Leased mode. A seat claims while its own Lease was renewed less than ``lease`` seconds ago (counted from the sending of
that renewal). Another takes its groups only after it has put a mark on that very Lease, having seen it unchanged for
longer than any permit lasts: mark and renewal are PUTs on one object, so every permit was asked for before the wait
began. A holder that gives is silent first and then names the heir in one write.

Outputs are done in order, and ``Hold`` and ``Revoke`` are in force in the kernel before the next one is begun.
"""

from dataclasses import replace

from nodeagent.segment.events import (
    AskLease,
    Input,
    Left,
    MarkLease,
    Output,
    PutLease,
    PutTable,
    Revoke,
    Say,
    Wish,
)
from nodeagent.segment.learning import FAR, Learning
from nodeagent.segment.state import Idle, Me, Settings, State, Watched
from nodeagent.segment.table import (
    Candidates,
    Mode,
    Seat,
    Table,
    counted,
    gone,
    handed,
    heirs,
    trimmed,
    vacant,
    with_seat,
    without_groups,
    without_seat,
)
from roost.words import Reason


def start(me: Me, settings: Settings | None = None) -> State:
    return State(me, settings or Settings())


def step(state: State, now: float, happened: Input) -> tuple[State, tuple[Output, ...]]:
    """What *happened* at *now* (monotonic seconds): the next state, and what to do, in this order.

    Call it again with ``Tick`` at ``state.wake`` at the latest.
    """
    turn = _Turn(state, now)
    turn.take_in(happened)
    turn.plan()
    turn.set_timers()
    return replace(turn.state, wake=turn.wake), tuple(turn.out)


class _Turn(Learning):
    """One step while it is being taken."""

    def set_timers(self) -> None:
        """Whatever waits for an answer is tried again if none comes."""
        state = self.state
        if state.tenure and not state.lease_in_flight:
            self.at(state.renew_at)
        if state.reread:
            self.at(state.ask_at)

    def plan(self) -> None:
        state = self.state
        if state.reread and self.at(state.ask_at):
            self.ask_table()
        if state.stopping and not state.seated and state.put is None:
            self.leave()
            return
        if state.table is None or (not state.tenure and not self.choose_tenure(state.table)):
            return
        self.renew()  # before anything else is known: an adopted seat's Lease has little time left
        if state.listed and state.wish is not None:
            self.judge()
            self.write()
            self.claim()

    def leave(self) -> None:
        self.hold(frozenset())
        self.out += [Revoke(), Left()]

    def choose_tenure(self, table: Table) -> bool:
        """Adopt the seat that a former process of this boot left, or go for a new tenure; False: not yet."""
        state = self.state
        row = table.seat(state.me.node)
        if row is not None and row.live:
            if row.machine_id != state.me.machine_id and not self.is_over(row):
                self.wait_for_other_machine(row)
                return False
            lease = state.lease
            fed = lease is not None and lease.tenure == row.tenure and not lease.ended
            if state.adoptable and fed and row.boot_id == state.me.boot_id and row.mode is Mode.LEASED:
                self.change(tenure=row.tenure, adopting=int(table.resource_version), renew_at=self.now)
                return True
        if not state.listed or state.wish is None or not (table.made or self.all_counted_out()):
            return False
        self.hold(frozenset())
        self.out.append(Revoke())
        self.change(tenure=self.free_tenure(table), adoptable=False, adopting=0, renewed_for=0, renew_at=self.now)
        return True

    def wait_for_other_machine(self, row: Seat) -> None:
        """Another machine sits under this node's name: it must be gone first, judged by its Lease like any other."""
        if self.state.adoptable:
            why = f"machine {row.machine_id} sits as {row.node}; waiting until it is gone"
            self.out += [Revoke(), Say(Reason.NODE_NAME_TAKEN, why)]
            self.hold(frozenset())
            self.change(adoptable=False)
        self.judge()

    def free_tenure(self, table: Table) -> int:
        """Above all that the table and any Lease ever named."""
        own = max(self.state.lease.tenure, self.state.lease.ended) if self.state.lease is not None else 0
        others = 0
        if not table.made:
            others = max((w.lease.tenure for w in self.state.watched.values() if w.lease is not None), default=0)
        return max(table.next_tenure, own + 1, others + 1)

    def all_counted_out(self) -> bool:
        """Where no table is, whoever has a Lease may still claim: each is outwaited and marked first."""
        clear = True
        for node, watched in self.state.watched.items():
            if watched.lease is not None and watched.lease.tenure and watched.lease.ended < watched.lease.tenure:
                clear = False
                self.try_mark(node, watched, 0.0)
        return clear

    def renew(self) -> None:
        state = self.state
        if not state.tenure or state.lease_in_flight or not self.at(state.renew_at):
            return
        if state.lease_asked:
            self.out.append(AskLease(state.me.node))
            self.change(renew_at=self.now + state.settings.retry)
            return
        self.change(lease_in_flight=True, renew_at=self.now + state.settings.renew)
        self.out.append(PutLease(state.tenure, state.lease))

    def judge(self) -> None:
        """Look at the Leases of all live seats but the own, and mark the one that stood still for too long."""
        state = self.state
        if state.table is None or not (state.seated or not state.tenure):
            return
        for seat in state.table.live():
            own = seat.node == state.me.node and seat.machine_id == state.me.machine_id
            if own or seat.mode is not Mode.LEASED or self.is_over(seat):
                continue
            if seat.node not in self.state.watched:
                self.watch(seat.node, Watched(None, self.now))
            self.try_mark(seat.node, self.state.watched[seat.node], state.seen[seat.node][2])

    def try_mark(self, node: str, watched: Watched, first_seen: float) -> None:
        settings = self.state.settings
        if not self.state.in_touch:
            return
        # What stood still while this node was out of touch says nothing: after an outage everybody renews first.
        due = max(watched.since, first_seen, self.state.in_touch_since) + settings.wait
        if not self.at(due) or not self.at(max(due + self.rank(node) * settings.rank, watched.try_at)):
            return
        self.watch(node, replace(watched, try_at=self.now + 1.0))
        self.wake = min(self.wake, self.now + 1.0)
        if watched.lease is None:
            self.out.append(AskLease(node))
        else:
            self.out.append(MarkLease(node, watched.lease.tenure, watched.lease.resource_version))

    def is_over(self, seat: Seat) -> bool:
        """Whether it is proved that *seat* will never claim again.

        By a mark on its Lease; or the Lease was found missing for longer than any permit lasts: a seat makes a Lease
        only together with a new tenure.
        """
        watched = self.state.watched.get(seat.node)
        if watched is None:
            return False
        return watched.lease.ended >= seat.tenure if watched.lease is not None else watched.marked_since is not None

    def rank(self, but: str = "") -> int:
        """How many live seats act before this one."""
        table = self.state.table
        if table is None:
            return 0
        before = [seat.node for seat in table.live() if seat.node != but]
        return before.index(self.state.me.node) if self.state.me.node in before else len(before)

    # -- the table's write --

    def write(self) -> None:
        """Everything that is due goes into one write; nothing due, nothing written."""
        state = self.state
        if state.put is not None or state.reread or state.table is None or state.wish is None or not state.tenure:
            return
        if state.renewed_for != state.tenure or not self.at(state.write_at):
            return
        if not state.seated and not state.adopting and state.table.made and state.table.next_tenure > state.tenure:
            self.change(tenure=self.free_tenure(state.table), renewed_for=0, renew_at=self.now)
            self.renew()
            return
        over = frozenset(seat.node for seat in state.table.seats if seat.live and self.is_over(seat))
        if self.is_idle(state.table, state.wish, over):
            return
        others, self.wake = self.wake, self.now + FAR
        table = self.with_own_seat(state.table, state.wish)
        if state.seated:
            table = self.with_takes(table)
            table = self.with_vacancies(table, state.wish.candidates)
            table = self.with_gifts(table, state.wish)
            table = self.without_unwanted(trimmed(table))
        due, self.wake = self.wake, min(self.wake, others)
        if table.same_rows(state.table) and state.table.made and not state.unsettled:
            self.change(idle=Idle(state.table, state.wish, over, due))
            return
        table = replace(table, revision=state.table.revision + 1, groups=counted(state.table, table))
        given = {g.name for g in state.table.groups if g.tenure == state.tenure} - table.held_by(state.tenure)
        self.change(giving=state.giving | given, put=table)
        self.claim()
        self.out.append(PutTable(table))

    def is_idle(self, table: Table, wish: Wish, over: frozenset[str]) -> bool:
        """Whether there was nothing to write for the same reasons before, and nothing came due: Leases come often."""
        state, idle = self.state, self.state.idle
        if idle is None or state.unsettled or state.stopping or not state.seated:
            return False
        same = idle.table is table and idle.wish is wish and idle.over == over
        return same and not self.at(idle.until)

    def with_own_seat(self, table: Table, wish: Wish) -> Table:
        state = self.state
        row = table.seat(state.me.node)
        if state.stopping:
            return table
        if row is None or row.tenure != state.tenure:
            seat = Seat(
                state.me.node,
                state.tenure,
                1,
                state.me.boot_id,
                state.me.machine_id,
                wish.mac,
                wish.addresses,
                wish.eligible,
            )
            kept = [] if row is None or not row.live else [g.name for g in table.groups if g.tenure == row.tenure]
            # What this machine held in its former tenure it may keep: nobody else can have it.
            return handed(with_seat(table, seat), dict.fromkeys(kept, state.tenure))
        as_it_is = replace(row, mac=wish.mac, addresses=wish.addresses, eligible=wish.eligible)
        if as_it_is == row and state.seated:
            return table
        return with_seat(table, replace(as_it_is, version=row.version + 1))

    def with_takes(self, table: Table) -> Table:
        """Seats whose Lease carries the mark are gone; their groups stand vacant for the next step."""
        state = self.state
        for seat in table.live():
            if seat.node == state.me.node or seat.mode is not Mode.LEASED or not self.is_over(seat):
                continue
            since = state.watched[seat.node].marked_since
            if since is not None and self.at(since + self.rank(seat.node) * state.settings.rank):
                table = gone(table, seat.node)
                left = frozenset(group.name for group in table.groups if group.tenure == seat.tenure)
                wanted = state.wish.candidates if state.wish is not None else {}
                to = heirs(table, left & wanted.keys(), wanted)
                table = handed(table, dict.fromkeys(left, 0) | to)
                self.out.append(Say(Reason.TAKEN, f"from {seat.node}, tenure {seat.tenure}", left))
        return table

    def with_vacancies(self, table: Table, candidates: Candidates) -> Table:
        to = heirs(table, vacant(table, candidates), candidates)
        if not to or not self.at(self.state.table_since + self.rank() * self.state.settings.rank):
            return table
        self.out.append(Say(Reason.VACANT, f"{len(to)} groups get a holder", frozenset(to)))
        return handed(table, to)

    def with_gifts(self, table: Table, wish: Wish) -> Table:
        """What this node should not hold goes to those who may; where nobody may, it stays, unless this node leaves."""
        state = self.state
        mine = [group.name for group in table.groups if group.tenure == state.tenure]
        unfit = [name for name in mine if state.stopping or not self.fit(name, wish)]
        barred = frozenset({state.me.node})
        to = heirs(table, [name for name in unfit if name in wish.candidates], wish.candidates, barred=barred)
        if to:
            self.out.append(
                Say(Reason.STOPPING if state.stopping else Reason.GIVEN, f"{len(to)} groups", frozenset(to))
            )
        if not state.stopping:
            return handed(table, to)
        return without_seat(handed(table, dict.fromkeys(unfit, 0) | to), state.me.node)

    def fit(self, group: str, wish: Wish) -> bool:
        """A group that nobody wants any more is no reason to give it away."""
        nodes = wish.candidates.get(group)
        return nodes is None or (wish.eligible and self.state.me.node in nodes)

    def without_unwanted(self, table: Table) -> Table:
        """Rows of groups long without VIPs: each holder removes its own, the first seat those that nobody holds."""
        state = self.state
        mine = {state.tenure} | ({0} if self.rank() == 0 else set())
        rows = {group.name for group in table.groups if group.tenure in mine}
        due = [name for name in rows & state.unwanted.keys() if self.at(state.unwanted[name] + state.settings.forget)]
        return without_groups(table, frozenset(due))

    def claim(self) -> None:
        state = self.state
        if state.table is not None and state.seated:
            self.hold(state.table.held_by(state.tenure) - state.giving)
