"""What a seat learns from each input: how the table stands, the Leases, and its own open writes."""

from collections.abc import Set
from dataclasses import replace
from hashlib import sha256

from nodeagent.model import Done, Echoing, Here, News, Orders, Over, Passed, Returned, Vote, Wrote, enders
from nodeagent.segment.events import (
    Alone,
    Anchored,
    AnnounceAgain,
    Answer,
    AskLease,
    AskTable,
    Hold,
    Input,
    LeasePut,
    LeaseSeen,
    LeasesListed,
    LeasesRead,
    LeaseView,
    MarkPut,
    NoAnswer,
    Output,
    Probed,
    PutTable,
    Say,
    Stop,
    TablePut,
    TableSeen,
    Wish,
)
from nodeagent.segment.state import Asking, Gained, PassedOn, Silence, State, Watched
from nodeagent.segment.table import Mode, Table
from roost.words import Reason

FAR = 3600.0  # seconds; nothing is waited for
AGAIN = 1.0  # seconds until it is asked again who has a VIP that somebody has
AGAIN_SOON = 0.2  # the same, where the one who has it is known to be gone, or somebody asked at the same time
APART = 0.8  # after that, each waits a share of this longer that is its own, and another each time
LONG = 20.0  # seconds that it is remembered what was passed on
MOST_TOLD = 20  # versions of which it is remembered who wrote them


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
            case TableSeen(table, fresh):
                self.shown(table, fresh=fresh)
            case LeaseSeen(node, lease, fresh):
                self.see_lease(node, lease, fresh=fresh)
            case LeasesListed() | LeasesRead():
                self.see_leases(happened)
            case LeasePut():
                self.renewed(happened)
            case MarkPut(node, answer, lease):
                self.marked(node, answer, lease)
            case TablePut(answer, table):
                self.written(answer, table)
            case Wish():
                self.change(wish=happened)
                self.note_unwanted()
            case Stop(rest):
                self.change(stopping=True, resting=rest and self.state.seated, write_at=self.now)
            case _:
                self.hear(happened)

    def hear(self, happened: Input) -> None:
        match happened:
            case NoAnswer():
                self.change(in_touch=False)
            case Anchored():
                lost = None if happened.answers else self.state.anchor_lost
                self.change(anchor=happened, anchor_lost=self.now if not happened.answers and lost is None else lost)
            case Probed():
                self.probed(happened)
            case Alone():
                self.looked_round(happened)
            case Here() | Done() | Echoing() | Vote() | Passed() | Over() | Wrote() | Returned():
                self.heed(happened)

    def looked_round(self, seen: Alone) -> None:
        """Undisturbed, this node may hold on for another moment."""
        wish, state = self.state.wish, self.state
        if not seen.undisturbed or wish is None:
            return
        if state.held_on_until <= self.now and not state.in_touch:
            self.out.append(Say(Reason.API_LOST, "neither API nor witnesses: held as long as nobody else claims"))
        self.change(held_on_until=seen.asked_at + wish.profile.permit)

    def heed(self, news: News) -> None:
        """What the pulse says."""
        match news:
            case Here(serial):
                self.change(here=news, orders=Orders(serial), obeyed=serial, echoing_since=self.now)
            case Done(serial):
                self.change(obeyed=serial)
            case Echoing(nodes):
                self.change(echoing=nodes, echoing_since=self.now, echoed=self.state.echoed or bool(nodes))
            case Vote():
                self.count(news)
            case Passed(_, tenure, witness, at):
                known = self.state.passed.get(tenure, {})
                self.change(passed={**self.state.passed, tenure: {witness: at, **known}})
            case Over(tenure):
                self.change(over=tenure)
                if tenure == self.state.tenure:
                    self.lose(f"witnesses say that tenure {tenure} is over")
                    self.change(doubted=True)
                    self.ask_table()
            case Wrote(node, version):
                self.told(node, version)
            case Returned(node) if self.now >= self.state.returned_at + 1.0:
                self.change(returned_at=self.now)
                self.out += [AnnounceAgain(), Say(Reason.RETURNED, f"{node} was heard, and told that it is over")]

    # -- the table

    def shown(self, table: Table, *, fresh: bool) -> None:
        """A watch may begin with an old copy: what it shows counts once the server itself was asked."""
        if not fresh and self.state.table is None:
            self.change(aside=table)
            return
        aside = self.state.aside
        self.change(aside=None, doubted=self.state.doubted and not fresh)
        self.see_table(table)
        if aside is not None:
            self.see_table(aside)

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
        awaited = {row.tenure: self.state.ended_seen.get(row.tenure, self.now) for row in table.ended}
        self.change(table=table, table_since=self.now, seen=seen, ended_seen=awaited, reread=False)
        fit = any(seat.eligible for seat in table.live() if seat.node != self.state.me.node)
        since = self.state.others_fit if self.state.others_fit is not None else self.now
        self.change(others_fit=since if fit else None)
        if self.state.put_after:  # it was not sent yet, and is planned anew
            self.change(put=None, put_after=0)
        if self.state.put is None:
            self.settle()
        self.note_gains(known, table)
        if table.made:
            live = {(seat.node, seat.tenure, seat.version) for seat in table.live()}
            silences = {k: silence for k, silence in self.state.silences.items() if k in live or k[1] in awaited}
            passed = {tenure: known for tenure, known in self.state.passed.items() if tenure in awaited}
            self.change(memory=table, silences=silences, passed=passed)
        self.note_unwanted()
        self.look_at_own_row(table)

    def note_gains(self, former: Table | None, table: Table) -> None:
        """Groups that have become ours since the table before; what a giver handed over need not be asked about."""
        state = self.state
        if not state.tenure:
            return
        mine = {group.name: group for group in table.groups if group.tenure == state.tenure}
        gained = {n: g for n, g in state.gained.items() if n in mine and mine[n].epoch == g.epoch}
        next_in_line = former is not None and former.revision + 1 == table.revision
        before = {group.name: group for group in former.groups} if former is not None else {}
        self.note_losses({name for name, group in before.items() if group.tenure == state.tenure} - mine.keys())
        for name, group in mine.items():
            old = before.get(name)
            if name in gained or (old is not None and old.epoch == group.epoch):
                continue
            giver = former.owner(old.tenure) if former is not None and old is not None else ""
            version = int(table.resource_version) if next_in_line else 0
            gained[name] = Gained(group.epoch, version, giver, self.now)
        epochs = {name: group.epoch for name, group in mine.items()}
        cleared = {name: epoch for name, epoch in state.cleared.items() if epochs.get(name) == epoch}
        self.change(gained=gained, cleared=cleared)
        self.accept_gifts()

    def note_losses(self, names: Set[str]) -> None:
        """Groups that were ours and are another's now: who could hold them then, if they should come back."""
        wish, oldest = self.state.wish, self.now - LONG
        kept = {name: passed for name, passed in self.state.passed_on.items() if passed.at > oldest}
        if wish is not None and (names or len(kept) < len(self.state.passed_on)):
            new = {name: PassedOn(self.now, wish.candidates.get(name, frozenset())) for name in names}
            self.change(passed_on=kept | new)

    def told(self, node: str, version: int) -> None:
        """A seat says that it wrote a version of the table: what it gave away then needs no question."""
        table = self.state.table
        newest = sorted({**self.state.told, version: node}.items())[-MOST_TOLD:]
        self.change(told=dict(newest))
        self.accept_gifts()
        if table is not None and int(table.resource_version) < version:
            self.ask_table()

    def accept_gifts(self) -> None:
        state = self.state
        gifts = {
            name: gain.epoch
            for name, gain in state.gained.items()
            if gain.version and gain.giver and state.told.get(gain.version) == gain.giver
        }
        if not gifts.items() <= state.cleared.items():
            self.change(cleared={**state.cleared, **gifts})

    def settle(self) -> None:
        """No write of ours is open any more: what was being given is given, or is still ours."""
        self.change(unsettled=False, giving=frozenset(), open_rows=())

    def look_at_own_row(self, table: Table) -> None:
        state = self.state
        row = table.seat(state.me.node)
        mine = row is not None and row.live and row.tenure == state.tenure and row.boot_id == state.me.boot_id
        if (state.seated or state.adopting) and not mine:
            self.lose("left the table" if state.stopping else "the table has no live seat of this tenure")
        elif mine and not state.seated and int(table.resource_version) > state.adopting:
            self.sit(table)
        elif not mine and not table.made:
            # A tenure that was chosen by a table that was one: who makes a table counts everybody out first.
            self.change(tenure=0, renewed_for=0)

    def written(self, answer: Answer, table: Table | None) -> None:
        put, known = self.state.put, self.state.table
        # A write based on a version older than the newest we know has landed already, or can only conflict.
        behind = put is None or known is None or int(put.resource_version) < int(known.resource_version)
        self.change(put=None, put_after=0)
        match answer:
            case Answer.OK if table is not None:
                self.change(write_at=self.now)
                self.note_own_write(known, table)
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

    def note_own_write(self, before: Table | None, after: Table) -> None:
        """What the pulse tells the others: this version is ours, and these tenures ended in it."""
        live = {(seat.node, seat.tenure) for seat in before.live()} if before is not None else set()
        over = live - {(seat.node, seat.tenure) for seat in after.live()}
        self.change(
            wrote=int(after.resource_version),
            wrote_ended=tuple(sorted(key for key in over if key[0] != self.state.me.node)),
        )

    def note_unwanted(self) -> None:
        state = self.state
        if state.wish is None or state.table is None:
            return
        names = {group.name for group in state.table.groups} - state.wish.candidates.keys()
        self.change(unwanted={name: state.unwanted.get(name, self.now) for name in names})

    # -- votes and questions

    def count(self, vote: Vote) -> None:
        """A witness of a live seat hears nothing of it."""
        table, wish = self.state.table, self.state.wish
        seat = table.seat(vote.node) if table is not None else None
        if seat is None or wish is None or not seat.live or vote.voter not in seat.witnesses:
            return
        key = (vote.node, vote.tenure, vote.version)
        if key != (seat.node, seat.tenure, seat.version) or seat.mode is not Mode.WITNESSED:
            return
        known = self.state.silences.get(key, Silence({}, self.now))
        fresh = {voter: at for voter, at in known.votes.items() if self.now - at <= wish.profile.silence}
        since = known.since if not known.votes or self.now - max(known.votes.values()) <= 1.0 else self.now
        fresh[vote.voter] = vote.at
        enough = len(fresh) >= enders(len(seat.witnesses))
        enough_since = (known.enough_since if known.enough_since is not None else self.now) if enough else None
        silence = Silence({**known.votes, **fresh}, since, enough_since)
        self.change(silences={**self.state.silences, key: silence})

    def probed(self, answer: Probed) -> None:
        """Nobody has the VIPs of a group that is ours, or a seat has; or another asks for them too.

        Two that ask at the same time would both hear nothing, and both claim.
        """
        known = self.state.asking.get(answer.group)
        if known is None or known.epoch != answer.epoch:
            return
        rest = {name: asked for name, asked in self.state.asking.items() if name != answer.group}
        if not answer.answered_by and not answer.asked_by:
            self.change(asking=rest, cleared={**self.state.cleared, answer.group: answer.epoch})
            return
        group = self.state.table.group(answer.group) if self.state.table is not None else None
        if answer.answered_by:
            wait = AGAIN_SOON if group is not None and group.after else AGAIN
            why = f"{answer.answered_by} still answers for it"
        else:
            own = f"{self.state.me.node}/{answer.group}/{answer.asked_at}"
            wait = AGAIN_SOON + APART * sha256(own.encode()).digest()[0] / 255
            why = f"{answer.asked_by} asks for it too"
        self.change(asking={**rest, answer.group: Asking(answer.epoch, self.now + wait)})
        self.out.append(Say(Reason.ANSWERED_FOR, why, frozenset({answer.group})))

    # -- Leases

    def touch(self) -> None:
        """The API has answered."""
        if not self.state.in_touch:
            self.change(in_touch=True, in_touch_since=self.now)
        self.change(touched_at=self.now)

    def see_lease(self, node: str, lease: LeaseView | None, *, fresh: bool) -> None:
        if fresh:
            self.touch()
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
        self.watch(node, Watched(lease, self.now, marked, deleted=lease is None))

    def see_leases(self, seen: LeasesListed | LeasesRead) -> None:
        """All of them were seen one by one, or here they are."""
        if isinstance(seen, LeasesListed):
            self.change(listed=True)
            return
        self.touch()
        for node, lease in seen.leases.items():
            self.see_lease(node, lease, fresh=False)
        self.change(read_by=seen.version)

    def watch(self, node: str, watched: Watched) -> None:
        self.change(watched={**self.state.watched, node: watched})

    @property
    def by_lease(self) -> bool:
        """Whether the own Lease feeds the permit, now or by a write that is open, or is to be taken for that."""
        state = self.state
        row = state.table.seat(state.me.node) if state.table is not None else None
        mine = row if row is not None and row.tenure == state.tenure else None
        return mine is None or Mode.LEASED in {mine.mode, *(row.mode for row in state.open_rows)}

    def see_own_lease(self, lease: LeaseView | None, *, fresh: bool) -> None:
        state = self.state
        if fresh:
            self.change(lease_asked=False)
        if lease is None:
            if fresh:
                self.change(lease=None)
                if state.renewed_for and self.by_lease:
                    # A deleted Lease is never made again with the same tenure: that is what lets others count it out.
                    self.lose("the own Lease was deleted")
            return
        if state.lease is not None and lease.version < state.lease.version:
            return
        self.change(lease=lease)
        if state.tenure and lease.ended and lease.ended >= state.tenure:
            if self.by_lease:
                self.lose(f"tenure {state.tenure} was ended by a mark on the Lease")
        elif state.renewed_for and state.renewed_for == state.tenure and lease.tenure > state.tenure:
            self.lose(f"the own Lease was written with tenure {lease.tenure} by somebody else")
        elif fresh:
            self.change(renew_at=self.now)

    def renewed(self, done: LeasePut) -> None:
        self.change(lease_in_flight=False)
        if done.answer is Answer.OK and done.lease is not None:
            self.see_own_lease(done.lease, fresh=False)
            self.touch()
            if done.tenure == self.state.tenure:
                settings = self.state.settings
                fed_until = max(self.state.fed_until, done.sent_at + settings.lease)
                self.change(renewed_for=done.tenure, fed_until=fed_until, renew_at=done.sent_at + settings.renew)
            return
        self.change(renew_at=self.now + self.state.settings.retry)
        if done.answer is Answer.UNKNOWN:
            self.change(in_touch=False)
        if done.answer is not Answer.REFUSED:
            self.change(lease_asked=True)
            self.out.append(AskLease(self.state.me.node))

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

    # -- the own seat

    def sit(self, table: Table) -> None:
        state = self.state
        cause = Reason.ADOPTED if state.adopting else Reason.SAT_DOWN
        if state.adopting:
            # The forerunner asked for what it held; what it had yet to outwait it had not claimed.
            kept = {g.name: g.epoch for g in table.groups if g.tenure == state.tenure and not g.after}
            self.change(cleared={**state.cleared, **kept})
        self.change(seated=True, adopting=0, adoptable=False)
        self.out.append(Say(cause, f"tenure {state.tenure}"))

    def lose(self, why: str) -> None:
        """The tenure is over: silence at once, then a new one."""
        self.hold(frozenset())
        self.out.append(Say(Reason.STOPPING if self.state.stopping else Reason.MARKED, why))
        self.change(tenure=0, seated=False, adopting=0, adoptable=False, renewed_for=0, fed_until=0.0)
        self.change(held_on_until=0.0, rest_until=0.0, gained={}, cleared={}, asking={}, echoed=False)

    def hold(self, groups: frozenset[str]) -> None:
        if groups != self.state.held:
            self.change(held=groups)
            self.out.append(Hold(groups))

    def ask_table(self) -> None:
        self.change(ask_at=self.now + 1.0)
        self.out.append(AskTable())

    def send_put(self) -> None:
        """Send the write that waited for the pulse."""
        state = self.state
        if state.put is not None and state.put_after and state.obeyed >= state.put_after:
            self.change(put_after=0)
            self.out.append(PutTable(state.put))
