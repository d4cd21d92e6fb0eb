"""A node's part in the table of its segment, as one pure step: what it learns goes in, what it must do comes out.

A seat claims while its permit stands, which the pulse feeds by the rule of the seat's mode: echoes of its witnesses, or
its own Lease, or a rest that was announced. Another takes its groups only when that rule can feed no more: enough
witnesses have said that they never echo that tenure again, and the time of any permit they fed has passed; or a mark is
on that very Lease, which stood still for longer than a permit lasts; or the rest is over. A holder that gives is silent
first and then names the heir in one write. An heir asks on the wire before it claims what was not handed to it.

Outputs are done in order, and ``Hold`` is in force in the kernel before the next one is begun.
"""

from dataclasses import replace

from nodeagent.segment.events import AskLease, Input, Left, Output, Probe, PutLease, PutTable, Say, Wish
from nodeagent.segment.judging import Judging
from nodeagent.segment.learning import FAR
from nodeagent.segment.state import Asking, Idle, Me, Settings, State
from nodeagent.segment.table import (
    Candidates,
    Group,
    Mode,
    Seat,
    Table,
    counted,
    ended,
    gone,
    handed,
    heirs,
    outwaited,
    remade,
    trimmed,
    vacant,
    with_seat,
    without_groups,
    without_seat,
)
from roost.words import Reason

QUESTIONS = 3  # who has a VIP, before it is claimed
CLOSEST = 0.4  # hellos between two of them at the least


def start(me: Me, settings: Settings | None = None) -> State:
    return State(me, settings or Settings())


def step(state: State, now: float, *happened: Input) -> tuple[State, tuple[Output, ...]]:
    """What *happened* at *now* (raw seconds), in that order: the next state, and what to do, in this order.

    Call it again with ``Tick`` at ``state.wake`` at the latest.
    """
    turn = _Turn(state, now)
    for each in happened:
        turn.take_in(each)
    turn.plan()
    turn.order()
    turn.send_put()
    turn.set_timers()
    return replace(turn.state, wake=turn.wake), tuple(turn.out)


class _Turn(Judging):
    """One step while it is being taken."""

    def set_timers(self) -> None:
        """Whatever waits for an answer is tried again if none comes."""
        state = self.state
        if state.tenure and not state.lease_in_flight and self.wants_lease():
            self.at(state.renew_at)
        if state.reread or state.doubted:
            self.at(state.ask_at)

    def plan(self) -> None:
        state = self.state
        if (state.reread or state.doubted) and self.at(state.ask_at):
            self.ask_table()
        if state.stopping and state.put is None and self.is_left():
            return
        if state.here is None or state.table is None or (not state.tenure and not self.choose_tenure(state.table)):
            return
        self.renew()  # before anything else is known: an adopted seat's Lease has little time left
        if state.listed and state.wish is not None:
            self.judge()
            self.write()
            self.claim()
            self.hold_on()

    def is_left(self) -> bool:
        """Whether the program may end: everything is given, or the rest is announced and the pulse has fed it."""
        state, row = self.state, self.own_row()
        if row is None or not state.seated:
            if not state.resting:
                self.hold(frozenset())
            self.out.append(Left())
            return True
        if not state.resting or row.mode is not Mode.RESTING:
            return False
        if state.orders.rules == self.rules() and state.obeyed >= state.orders.serial:
            self.out.append(Left())
            return True
        return False

    # -- the own tenure

    def choose_tenure(self, table: Table) -> bool:
        """Adopt the seat that a former process of this boot left, or go for a new tenure; False: not yet."""
        state = self.state
        row = table.seat(state.me.node)
        if row is not None and row.live:
            if row.machine_id != state.me.machine_id and not self.is_left_over(row):
                self.wait_for_other_machine(row)
                return False
            if state.adoptable and row.boot_id == state.me.boot_id and row.tenure != state.over and self.is_fed(row):
                self.adopt(row, int(table.resource_version))
                return True
        if not state.listed or state.wish is None or state.doubted:
            return False
        if not (table.made or self.all_counted_out(table)):
            return False
        self.hold(frozenset())
        self.change(tenure=self.free_tenure(table), adoptable=False, adopting=0, renewed_for=0, renew_at=self.now)
        return True

    def is_fed(self, row: Seat) -> bool:
        lease = self.state.lease
        return row.mode is not Mode.LEASED or (lease is not None and lease.tenure == row.tenure and not lease.ended)

    def adopt(self, row: Seat, version: int) -> None:
        """Sit where the forerunner sat, with what it left of the permit, and nothing beyond until that is ours."""
        left = self.state.here.permitted_until if self.state.here is not None else 0.0
        self.change(tenure=row.tenure, adopting=version, renew_at=self.now, echoing_since=self.now)
        match row.mode:
            case Mode.LEASED:
                self.change(fed_until=left)
            case Mode.RESTING:
                self.change(rest_until=left)
            case Mode.WITNESSED:
                pass

    def wait_for_other_machine(self, row: Seat) -> None:
        """Another machine sits under this node's name: it must be gone first, judged like any other."""
        if self.state.adoptable:
            why = f"machine {row.machine_id} sits as {row.node}; waiting until it is gone"
            self.out.append(Say(Reason.NODE_NAME_TAKEN, why))
            self.hold(frozenset())
            self.change(adoptable=False)
        self.judge()

    def is_left_over(self, row: Seat) -> bool:
        """Whether another machine's seat is over, and nobody who sits here took what it held although there was time.

        That comes first: whoever sits can claim at once, and this machine has still to sit down.
        """
        state = self.state
        others = [seat for seat in state.table.live() if seat.node != row.node] if state.table is not None else []
        if not self.is_over(row) or all(self.is_over(seat) for seat in others):
            return self.is_over(row)
        watched = state.watched.get(row.node)
        if row.mode is Mode.RESTING or watched is None:
            since = state.seen[row.node][2] + state.settings.rested
        else:
            since = max(watched.since, watched.marked_since or 0.0)
        return self.at(since + state.settings.turns)

    def free_tenure(self, table: Table) -> int:
        """Above all that the table, the one before it, and any Lease ever named."""
        state = self.state
        own = max(state.lease.tenure, state.lease.ended) if state.lease is not None else 0
        others = state.memory.next_tenure - 1 if state.memory is not None else 0
        if not table.made:
            leases = (watched.lease.tenure for watched in state.watched.values() if watched.lease is not None)
            others = max([others, *leases])
        return max(table.next_tenure, own + 1, others + 1)

    def renew(self) -> None:
        state = self.state
        if not state.tenure or state.lease_in_flight or not self.wants_lease() or not self.at(state.renew_at):
            return
        if state.lease_asked:
            self.out.append(AskLease(state.me.node))
            self.change(renew_at=self.now + state.settings.retry)
            return
        self.change(lease_in_flight=True, renew_at=self.now + state.settings.renew)
        self.out.append(PutLease(state.tenure, state.lease))

    # -- the table's write

    def write(self) -> None:
        """Everything that is due goes into one write; nothing due, nothing written."""
        state = self.state
        if state.put is not None or state.reread or state.table is None or state.wish is None or not state.tenure:
            return
        if not self.at(state.write_at) or (self.own_row() is None and not self.ready_to_sit(state.table)):
            return
        basis = self.basis(state.table)
        if self.is_idle(state.table, state.wish, basis):
            return
        others, self.wake = self.wake, self.now + FAR
        table = self.planned(state.table, state.wish)
        due, self.wake = self.wake, min(self.wake, others)
        if not self.state.tenure:  # given up meanwhile
            return
        if table.same_rows(state.table) and state.table.made and not state.unsettled:
            self.change(idle=Idle(state.table, state.wish, basis, due))
            return
        self.propose(state.table, table)

    def ready_to_sit(self, table: Table) -> bool:
        """Whether the Lease names the new tenure, and the pulse has let go of any former one."""
        state = self.state
        if state.renewed_for != state.tenure or state.obeyed < state.orders.serial:
            return False
        if table.made and table.next_tenure > state.tenure:
            self.change(tenure=self.free_tenure(table), renewed_for=0, renew_at=self.now)
            self.renew()
            return False
        return True

    def planned(self, table: Table, wish: Wish) -> Table:
        """The table as it should be."""
        table = self.with_own_seat(table, wish)
        if self.state.seated:
            table = self.with_takes(table)
            table = self.with_vacancies(table, wish.candidates)
            table = self.with_gifts(table, wish)
            table = self.without_unwanted(table)
            table = trimmed(self.without_waits(table))
        return table

    def propose(self, known: Table, wanted: Table) -> None:
        """Send the write; where it changes what feeds the permit, once the pulse lives by both rules."""
        state = self.state
        table = replace(wanted, revision=known.revision + 1, groups=counted(known, wanted))
        given = known.held_by(state.tenure) - table.held_by(state.tenure)
        self.change(giving=state.giving | given, put=table)
        feeds_anew = self.open_row(known.seat(state.me.node), table.seat(state.me.node))
        self.claim()
        sent, obeyed = self.state.orders, self.state.obeyed
        if feeds_anew and self.rules() != sent.rules:
            self.change(put_after=sent.serial + 1)  # the orders that this step ends with
        elif feeds_anew and obeyed < sent.serial:
            self.change(put_after=sent.serial)
        else:
            self.out.append(PutTable(table))

    def open_row(self, former: Seat | None, row: Seat | None) -> bool:
        """Note the own row as it may come to stand; False where it feeds the permit as before."""
        state = self.state
        if row is None or former is None or row.tenure != former.tenure or self.own_row() is None:
            return False
        said = {former.mode, *(open_.mode for open_ in state.open_rows)}
        if row.mode is Mode.RESTING and Mode.RESTING not in said:
            # It counts from the first write that says so: that one may have landed unheard, and others count from it.
            self.change(rest_until=self.now + state.settings.rest)
        if (row.mode, row.witnesses) == (former.mode, former.witnesses):
            return False
        self.change(open_rows=(*state.open_rows, row))
        return True

    def basis(self, table: Table) -> tuple[object, ...]:
        """What else a plan is made of, beside table and wish."""
        state = self.state
        over = frozenset(seat.node for seat in table.live() if self.over_since(seat) is not None)
        anchor = (state.anchor_lost, self.cut_off())
        return over, state.echoing, anchor, state.held, state.stopping, self.lease_serves()

    def is_idle(self, table: Table, wish: Wish, basis: tuple[object, ...]) -> bool:
        """Whether there was nothing to write for the same reasons before, and nothing came due: Leases come often."""
        state, idle = self.state, self.state.idle
        if idle is None or state.unsettled or state.stopping or not state.seated:
            return False
        same = idle.table is table and idle.wish is wish and idle.rest == basis
        return same and not self.at(idle.until)

    def with_own_seat(self, table: Table, wish: Wish) -> Table:
        state, me = self.state, self.state.me
        row = table.seat(me.node)
        if state.stopping and not state.resting:
            return table
        if row is None or row.tenure != state.tenure:
            seat = Seat(
                me.node, state.tenure, 1, me.boot_id, me.machine_id, wish.mac, wish.addresses, self.fit_to_hold()
            )
            if not table.made and state.memory is not None:
                table = remade(state.memory, table)
            kept = [] if row is None or not row.live else [g.name for g in table.groups if g.tenure == row.tenure]
            # What this machine held in its former tenure it may keep: nobody else can have it.
            return handed(with_seat(table, seat), dict.fromkeys(kept, state.tenure))
        # The write that fences the forerunner changes nothing else: until it is in, the permit is not ours to rule.
        fed = row if state.adopting and row.mode is not Mode.RESTING else self.feeding(row)
        now = replace(fed, mac=wish.mac, addresses=wish.addresses, eligible=self.fit_to_hold())
        if now == row and (state.seated or row.mode is Mode.RESTING):
            return table
        return with_seat(table, replace(now, version=row.version + 1))

    @property
    def last(self) -> frozenset[str]:
        return self.state.wish.last if self.state.wish is not None else frozenset()

    def with_takes(self, table: Table) -> Table:
        """Seats that are over are gone; their groups go to their heirs."""
        state = self.state
        for seat in table.live():
            since = self.over_since(seat) if seat.node != state.me.node else None
            if since is None or not self.at(since + self.turn_of(seat)):
                continue
            left = frozenset(group.name for group in table.groups if group.tenure == seat.tenure)
            wanted = state.wish.candidates if state.wish is not None else {}
            to = heirs(gone(table, seat.node), left & wanted.keys(), wanted, last=self.last)
            table = ended(table, seat, to)
            self.out.append(Say(Reason.TAKEN, f"from {seat.node}, tenure {seat.tenure}", left))
        return table

    def with_vacancies(self, table: Table, candidates: Candidates) -> Table:
        to = heirs(table, vacant(table, candidates), candidates, last=self.last)
        if not to or not self.at(self.state.table_since + self.rank() * self.state.settings.rank):
            return table
        self.out.append(Say(Reason.VACANT, f"{len(to)} groups get a holder", frozenset(to)))
        return handed(table, to)

    def with_gifts(self, table: Table, wish: Wish) -> Table:
        """What this node should not hold goes to those who may; where nobody may, it stays, unless this node leaves."""
        state = self.state
        if state.resting:
            return table
        mine = [group.name for group in table.groups if group.tenure == state.tenure]
        unfit = [name for name in mine if state.stopping or not self.fit(name, wish)]
        self.note_fit(frozenset(mine) - set(unfit))
        unfit = [name for name in unfit if state.stopping or not self.in_a_ring(name, wish)]
        to: dict[str, int] = {}
        for giver in {self.giver(name) for name in unfit}:
            names = [name for name in unfit if name in wish.candidates and self.giver(name) == giver]
            barred = frozenset({state.me.node, giver})
            to |= heirs(handed(table, to), names, wish.candidates, barred=barred, last=self.last)
        if to:
            self.out.append(
                Say(Reason.STOPPING if state.stopping else Reason.GIVEN, f"{len(to)} groups", frozenset(to))
            )
        if not state.stopping:
            return handed(table, to)
        return without_seat(handed(table, dict.fromkeys(unfit, 0) | to), state.me.node)

    def note_fit(self, names: frozenset[str]) -> None:
        gained = self.state.gained
        new = {name: replace(gained[name], fit=True) for name in names & gained.keys() if not gained[name].fit}
        if new:
            self.change(gained={**gained, **new})

    def in_a_ring(self, group: str, wish: Wish) -> bool:
        """Whether this node gave *group* on not long ago, and nothing has changed since but that it is back."""
        passed = self.state.passed_on.get(group)
        if passed is None or passed.candidates != wish.candidates.get(group):
            return False
        return not self.at(passed.at + self.state.settings.lease)

    def giver(self, group: str) -> str:
        """Who gave *group* a moment ago, and shall not have it back at once."""
        gained = self.state.gained.get(group)
        if gained is None or gained.fit or not gained.giver or self.at(gained.at + self.state.settings.grace):
            return ""
        return gained.giver

    def fit(self, group: str, wish: Wish) -> bool:
        """A group that nobody wants any more is no reason to give it away."""
        nodes = wish.candidates.get(group)
        return nodes is None or (
            wish.eligible and not self.cut_off() and not self.unanchored() and self.state.me.node in nodes
        )

    def unanchored(self) -> bool:
        """Whether an anchor is lost here alone: others have had time to lose it too, or to find it again."""
        lost, others = self.state.anchor_lost, self.state.others_fit
        return lost is not None and others is not None and self.at(max(lost, others) + self.state.settings.grace)

    def without_unwanted(self, table: Table) -> Table:
        """Rows of groups long without VIPs: each holder removes its own, the first seat those that nobody holds."""
        state = self.state
        mine = {state.tenure} | ({0} if self.rank() == 0 else set())
        rows = {group.name for group in table.groups if group.tenure in mine}
        due = [name for name in rows & state.unwanted.keys() if self.at(state.unwanted[name] + state.settings.forget)]
        return without_groups(table, frozenset(due))

    def without_waits(self, table: Table) -> Table:
        """The own groups that are held need not say whom they had to outwait; in time, or with what else is written."""
        state = self.state
        held = state.held or frozenset()
        waited = {g.name for g in table.groups if g.tenure == state.tenure and g.after and g.name in held}
        if not waited:
            return table
        since = min(state.gained[name].at if name in state.gained else self.now for name in waited)
        if state.table is not None and table.same_rows(state.table) and not self.at(since + state.settings.tidy):
            return table
        return outwaited(table, waited)

    # -- claiming

    def claim(self) -> None:
        state = self.state
        if state.table is None or not state.seated:
            return
        mine = [
            group for group in state.table.groups if group.tenure == state.tenure and group.name not in state.giving
        ]
        self.hold(frozenset(group.name for group in mine if self.may_claim(group)))

    def may_claim(self, group: Group) -> bool:
        """Whether everybody before has been outwaited, and nobody answers for the group's VIPs."""
        state = self.state
        times = [self.passed_at(tenure) for tenure in group.after]
        if any(time is None for time in times):
            return False
        free_at = max((time for time in times if time is not None), default=0.0)
        if state.cleared.get(group.name) == group.epoch:
            return self.at(free_at)
        asked = state.asking.get(group.name)
        if asked is not None and asked.epoch == group.epoch and not self.at(asked.again):
            return False
        if self.at(free_at - state.settings.asking):
            again = Asking(group.epoch, self.now + 10 * state.settings.asking)
            self.wake = min(self.wake, again.again)
            self.change(asking={**state.asking, group.name: again})
            self.out.append(Probe(group.name, group.epoch, self.apart(group, free_at)))
        return False

    def apart(self, group: Group, free_at: float) -> float:
        """Seconds between two questions for *group*: as usual, or less, to be done when the wait is over.

        Less only where witnesses have said that they feed those before no more: else the answers prove more than that
        no stranger is there, and a wait may be over long since.
        """
        state, usual = self.state, self.state.settings.asking / QUESTIONS
        before = [row for row in state.table.ended if row.tenure in group.after] if state.table is not None else []
        if not before or state.wish is None or not all(self.answered(row.tenure, row.witnesses) for row in before):
            return usual
        return min(usual, max(CLOSEST * state.wish.profile.hello, (free_at - self.now) / QUESTIONS))
