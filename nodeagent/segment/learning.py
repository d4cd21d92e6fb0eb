"""What a seat learns from each input: how the table stands, the Leases, and its own open writes."""

from dataclasses import replace

from nodeagent.segment.events import (
    Answer,
    AskLease,
    AskTable,
    Feed,
    Hold,
    Input,
    LeasePut,
    LeaseSeen,
    LeasesListed,
    LeaseView,
    MarkPut,
    Output,
    Revoke,
    Say,
    Stop,
    TablePut,
    TableSeen,
    Tick,
    Wish,
)
from nodeagent.segment.state import State, Watched
from nodeagent.segment.table import (
    Table,
)
from roost.words import Reason

FAR = 3600.0  # seconds; nothing is waited for


class Learning:
    """The first half of a step: what happened goes into the state. The second half is ``plan``."""

    def __init__(self, state: State, now: float) -> None:
        self.state, self.now = state, now
        self.out: list[Output] = []
        self.wake = now + FAR

    def change(self, **fields: object) -> None:
        self.state = replace(self.state, **fields)  # type: ignore[arg-type]  # names and types are State's own

    def at(self, when: float) -> bool:
        """Whether *when* has come; if not, be woken then."""
        if self.now >= when:
            return True
        self.wake = min(self.wake, when)
        return False

    def take_in(self, happened: Input) -> None:
        match happened:
            case TableSeen(table):
                self.see_table(table)
            case LeaseSeen(node, lease, fresh):
                self.see_lease(node, lease, fresh=fresh)
            case LeasesListed():
                self.change(listed=True)
            case LeasePut():
                self.renewed(happened)
            case MarkPut(node, answer, lease):
                self.marked(node, answer, lease)
            case TablePut(answer, table):
                self.written(answer, table)
            case Wish():
                self.wished(happened)
            case Stop():
                self.change(stopping=True, write_at=self.now)
            case Tick():
                pass

    def see_table(self, table: Table) -> None:
        """A newer table settles every write that was open. An older one is a late echo."""
        known = self.state.table
        if known is not None and int(table.resource_version) <= int(known.resource_version):
            return
        seen = {}
        for seat in table.seats:
            before = self.state.seen.get(seat.node)
            same = before is not None and before[:2] == (seat.tenure, seat.version)
            seen[seat.node] = before if before is not None and same else (seat.tenure, seat.version, self.now)
        self.change(table=table, table_since=self.now, seen=seen, reread=False)
        if self.state.put is None:
            self.settle()
        self.note_unwanted()
        self.look_at_own_row(table)

    def settle(self) -> None:
        """No write of ours is open any more: what was being given is given, or is still ours."""
        self.change(unsettled=False, giving=frozenset())

    def look_at_own_row(self, table: Table) -> None:
        state = self.state
        row = table.seat(state.me.node)
        mine = row is not None and row.live and row.tenure == state.tenure and row.boot_id == state.me.boot_id
        if state.seated and not mine:
            self.lose("left the table" if state.stopping else "the table has no live seat of this tenure")
        elif mine and not state.seated and int(table.resource_version) > state.adopting:
            self.sit()

    def see_lease(self, node: str, lease: LeaseView | None, *, fresh: bool) -> None:
        if node == self.state.me.node:
            self.see_own_lease(lease, fresh=fresh)
        known = self.state.watched.get(node)
        if known is None:
            self.watch(node, Watched(lease, self.now, self.now if lease is not None and lease.ended else None))
            return
        if lease is None and known.lease is None:
            waited = self.now >= known.since + self.state.settings.wait
            if fresh and waited and known.marked_since is None:
                self.watch(node, replace(known, marked_since=self.now))
            return
        if lease is not None and known.lease is not None and lease.version <= known.lease.version:
            return
        marked = None
        if lease is not None and lease.ended:
            marked = known.marked_since if known.marked_since is not None else self.now
        self.watch(node, Watched(lease, self.now, marked))

    def watch(self, node: str, watched: Watched) -> None:
        self.change(watched={**self.state.watched, node: watched})

    def see_own_lease(self, lease: LeaseView | None, *, fresh: bool) -> None:
        state = self.state
        if fresh:
            self.change(lease_asked=False)
        if lease is None:
            if fresh:
                self.change(lease=None)
                if state.renewed_for:
                    # A deleted Lease is never made again with the same tenure: that is what lets others count it out.
                    self.lose("the own Lease was deleted")
            return
        if state.lease is not None and lease.version < state.lease.version:
            return
        self.change(lease=lease)
        if state.tenure and lease.ended and lease.ended >= state.tenure:
            self.lose(f"tenure {state.tenure} was ended by a mark on the Lease")
        elif state.renewed_for and state.renewed_for == state.tenure and lease.tenure > state.tenure:
            self.lose(f"the own Lease was written with tenure {lease.tenure} by somebody else")
        elif fresh:
            self.change(renew_at=self.now)

    def renewed(self, done: LeasePut) -> None:
        self.change(lease_in_flight=False)
        if done.answer is Answer.OK and done.lease is not None:
            self.see_own_lease(done.lease, fresh=False)
            if not self.state.in_touch:
                self.change(in_touch=True, in_touch_since=self.now)
            if done.tenure == self.state.tenure:
                settings = self.state.settings
                fed_until = max(self.state.fed_until, done.sent_at + settings.lease)
                self.change(renewed_for=done.tenure, fed_until=fed_until, renew_at=done.sent_at + settings.renew)
                self.feed()
            return
        self.change(renew_at=self.now + self.state.settings.retry)
        if done.answer is Answer.UNKNOWN:
            self.change(in_touch=False)
        if done.answer is not Answer.REFUSED:
            self.change(lease_asked=True)
            self.out.append(AskLease(self.state.me.node))

    def feed(self) -> None:
        # An adopting process may feed what the kernel still holds: its forerunner was silent before it gave anything.
        if (self.state.seated or self.state.adopting) and self.state.fed_until > self.now:
            self.out.append(Feed(self.state.fed_until))

    def marked(self, node: str, answer: Answer, lease: LeaseView | None) -> None:
        known = self.state.watched.get(node)
        if known is None:
            return
        if answer is Answer.OK and lease is not None:
            # Whoever put the mark writes the table at once, whatever its rank.
            self.watch(node, Watched(lease, self.now, self.now - 1e6))
            self.out.append(Say(Reason.MARKED, f"tenure {lease.ended} of {node} is over: its Lease stood still"))
        elif answer is Answer.CONFLICT:
            self.watch(node, replace(known, since=self.now))  # it was renewed: the watch will show how
        else:
            self.watch(node, replace(known, try_at=self.now + 1.0))

    def written(self, answer: Answer, table: Table | None) -> None:
        put, known = self.state.put, self.state.table
        # A write based on a version older than the newest we know has landed already, or can only conflict.
        behind = put is None or known is None or int(put.resource_version) < int(known.resource_version)
        self.change(put=None)
        match answer:
            case Answer.OK if table is not None:
                self.change(write_at=self.now)
                self.see_table(table)
                self.settle()
            case Answer.REFUSED:
                self.out.append(Say(Reason.WRITE_REFUSED, "the server refused the table"))
                self.change(write_at=self.now + 4 * self.state.settings.retry)
                if behind or not self.state.unsettled:
                    self.settle()
            case _ if behind:
                self.settle()
            case Answer.UNKNOWN:
                self.change(unsettled=True, write_at=self.now + self.state.settings.retry)
                self.ask_table()
            case _:
                self.change(reread=True)
                self.ask_table()

    def sit(self) -> None:
        cause = Reason.ADOPTED if self.state.adopting else Reason.SAT_DOWN
        self.change(seated=True, adopting=0, adoptable=False)
        self.out.append(Say(cause, f"tenure {self.state.tenure}"))
        self.feed()

    def wished(self, wish: Wish) -> None:
        self.change(wish=wish)
        self.note_unwanted()

    def note_unwanted(self) -> None:
        state = self.state
        if state.wish is None or state.table is None:
            return
        names = {group.name for group in state.table.groups} - state.wish.candidates.keys()
        self.change(unwanted={name: state.unwanted.get(name, self.now) for name in names})

    def lose(self, why: str) -> None:
        """The tenure is over: silence at once, then a new one."""
        self.hold(frozenset())
        self.out.append(Revoke())
        self.out.append(Say(Reason.STOPPING if self.state.stopping else Reason.MARKED, why))
        self.change(tenure=0, seated=False, adopting=0, adoptable=False, renewed_for=0, fed_until=0.0)

    def hold(self, groups: frozenset[str]) -> None:
        if groups != self.state.held:
            self.change(held=groups)
            self.out.append(Hold(groups))

    def ask_table(self) -> None:
        self.change(ask_at=self.now + 1.0)
        self.out.append(AskTable())
