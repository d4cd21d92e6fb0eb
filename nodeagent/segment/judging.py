"""Who of the others is over, and from when on their tenures cannot claim any more."""

from dataclasses import replace

from nodeagent.model import enders
from nodeagent.segment.events import AskLease, AskLeases, MarkLease
from nodeagent.segment.feeding import Feeding
from nodeagent.segment.state import Watched
from nodeagent.segment.table import Ended, Mode, Seat, Table


class Judging(Feeding):
    """The part of a step that looks at the other seats."""

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
                self.watch(seat.node, Watched(None, self.now, deleted=True))
            self.try_mark(seat.node, self.state.watched[seat.node], state.seen[seat.node][2])

    def all_counted_out(self, table: Table) -> bool:
        """Where no table is, whoever had a Lease may still claim: each is outwaited and marked first.

        They are read once more for that: a seat of the lost table had its Lease before, which a watch may not show yet.
        One that was deleted fed no permit since.
        """
        state, settings = self.state, self.state.settings
        clear = state.read_by == int(table.resource_version)
        if not clear and self.at(state.read_at):
            self.change(read_at=self.now + settings.retry)
            self.wake = min(self.wake, self.state.read_at)
            self.out.append(AskLeases(int(table.resource_version)))
        for node in {seat.node for seat in state.memory.live()} - state.watched.keys() if state.memory else ():
            self.watch(node, Watched(None, self.now, deleted=True))
        for node, watched in self.state.watched.items():
            if watched.lease is None:
                clear = (not watched.deleted or self.at(watched.since + settings.wait)) and clear
            elif watched.lease.tenure and watched.lease.ended < watched.lease.tenure:
                clear = False
                self.try_mark(node, watched, 0.0)
        return clear

    def try_mark(self, node: str, watched: Watched, first_seen: float) -> None:
        settings = self.state.settings
        if not self.is_in_touch(node, watched):
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

    def is_in_touch(self, node: str, watched: Watched) -> bool:
        """Whether the API answers this node: who renews knows; who need not, asks for a Lease that is overdue."""
        state, settings = self.state, self.state.settings
        if not self.at(watched.since + 1.5 * settings.renew):
            return False
        if self.at(max(state.touched_at, state.asked_at) + settings.renew):
            self.change(asked_at=self.now)
            self.out.append(AskLease(node))
        self.at(self.now + settings.renew)
        return state.in_touch and self.now - state.touched_at <= 2 * settings.renew

    def is_over(self, seat: Seat) -> bool:
        """Whether it is proved that *seat* will never claim again, once the table says that it is gone.

        A leased one by a mark on its Lease; or the Lease was found missing for longer than any permit lasts: a seat
        makes a Lease only together with a new tenure. One at rest by the time. (A witnessed one by its witnesses: they
        are asked when the table has it.)
        """
        state = self.state
        if seat.mode is Mode.RESTING:
            return seat.node in state.seen and self.at(state.seen[seat.node][2] + state.settings.rested)
        watched = state.watched.get(seat.node)
        if watched is None or seat.mode is not Mode.LEASED:
            return False
        return watched.lease.ended >= seat.tenure if watched.lease is not None else watched.marked_since is not None

    def over_since(self, seat: Seat) -> float | None:
        """Since when this node may say that *seat* is gone, its rank apart; None: it may not."""
        state = self.state
        if seat.mode is Mode.WITNESSED:
            return self.silent_since(seat)
        if not self.is_over(seat):
            return None
        if seat.mode is Mode.RESTING:
            return state.seen[seat.node][2] + state.settings.rested
        return state.watched[seat.node].marked_since

    def silent_since(self, seat: Seat) -> float | None:
        """Since when enough witnesses of *seat* say that it is silent; or the few that are left, for long."""
        state, wish = self.state, self.state.wish
        silence = state.silences.get((seat.node, seat.tenure, seat.version))
        if silence is None or wish is None or state.table is None:
            return None
        fresh = [voter for voter, at in silence.votes.items() if self.now - at <= wish.profile.silence]
        needed = enders(len(seat.witnesses))
        if len(fresh) >= needed and silence.enough_since is not None:
            return silence.enough_since
        lost = [w for w in seat.witnesses if w not in fresh and self.is_lost(w)]
        if fresh and len(fresh) + len(lost) >= needed:
            return max(silence.since + state.settings.lost, 0.0)
        return None

    def is_lost(self, node: str) -> bool:
        """Whether a witness cannot be asked: it has no live seat, or is silent itself."""
        table = self.state.table
        seat = table.seat(node) if table is not None else None
        return seat is None or not seat.live or (node, seat.tenure, seat.version) in self.state.silences

    def turn_of(self, seat: Seat) -> float:
        """How much later than the first this node acts against *seat*."""
        state, settings = self.state, self.state.settings
        if seat.mode is not Mode.WITNESSED or state.table is None or state.wish is None:
            return self.rank(seat.node) * settings.rank
        live = [other.node for other in state.table.live() if other.node != seat.node]
        order = sorted(live, key=lambda node: (node not in seat.witnesses, live.index(node)))
        return 2 * state.wish.profile.hello * (order.index(state.me.node) if state.me.node in order else len(order))

    def rank(self, but: str = "") -> int:
        """How many live seats act before this one."""
        table = self.state.table
        if table is None:
            return 0
        before = [seat.node for seat in table.live() if seat.node != but]
        return before.index(self.state.me.node) if self.state.me.node in before else len(before)

    def passed_at(self, tenure: int) -> float | None:
        """From when on *tenure* cannot claim any more; None: that is not known yet."""
        state = self.state
        row = (
            next((row for row in state.table.ended if row.tenure == tenure), None) if state.table is not None else None
        )
        if row is None:
            return 0.0
        if row.mode is not Mode.WITNESSED:
            return state.ended_seen[tenure] + state.settings.rested
        known = sorted(at for witness, at in state.passed.get(tenure, {}).items() if witness in row.witnesses)
        needed = enders(len(row.witnesses))
        if len(known) >= needed:
            return known[needed - 1]
        return self.unanswered_at(row, needed)

    def unanswered_at(self, row: Ended, needed: int) -> float | None:
        """Where too few witnesses are left to ask: after long silence, and unanswered on the wire, it is over."""
        state = self.state
        left = [witness for witness in row.witnesses if not self.is_lost(witness)]
        if len(left) >= needed:
            return None
        since = [silence.since for (_, tenure, _), silence in state.silences.items() if tenure == row.tenure]
        return min([*since, state.ended_seen[row.tenure]]) + state.settings.lost
