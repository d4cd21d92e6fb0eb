"""What feeds the permit of the own seat: its mode, its witnesses, and the orders for the pulse that follow."""

from dataclasses import replace
from hashlib import sha256

from nodeagent.model import MOST_WITNESSES, Echoed, Orders, Peer, Question, Rule, Until, enders
from nodeagent.segment.events import AskAnchor, LookRound, Order
from nodeagent.segment.learning import Learning
from nodeagent.segment.table import Mode, Seat, Table

GREETED = 6  # to whom hellos go while witnesses are looked for
SLOW = 0.1  # seconds; an API server that answers within them is there


class Feeding(Learning):
    """The part of a step that keeps the own permit fed."""

    # -- what the table knows of us

    def own_row(self) -> Seat | None:
        """The live row of the tenure that this node sits by, or adopts."""
        state = self.state
        row = state.table.seat(state.me.node) if state.table is not None else None
        sitting = state.seated or state.adopting
        return row if row is not None and sitting and row.live and row.tenure == state.tenure else None

    def others(self, table: Table) -> list[str]:
        """Nodes with a live seat that could be witnesses; those in other racks first, each node in an order its own."""
        me, wish = self.state.me.node, self.state.wish
        racks = wish.racks if wish is not None else {}
        mine = racks.get(me, "")

        def preferred(node: str) -> tuple[bool, bytes]:
            rack = racks.get(node, "")
            return bool(mine) and rack == mine, sha256(f"{me}/{node}".encode()).digest()

        return sorted((seat.node for seat in table.live() if seat.node != me and seat.addresses), key=preferred)

    # -- the mode

    def feeding(self, row: Seat) -> Seat:
        """The own row with the mode and the witnesses that it should have now."""
        state, table = self.state, self.state.table
        if table is None or state.stopping:
            return replace(row, mode=Mode.RESTING, witnesses=()) if state.resting else row
        others = [node for node in self.others(table) if node in state.echoing]
        kept = [node for node in row.witnesses if node in others]
        settled = self.at(state.echoing_since + state.settings.settle)
        if row.mode is Mode.WITNESSED:
            return self.witnessed(row, kept, others, settled=settled)
        if others and settled:
            return replace(row, mode=Mode.WITNESSED, witnesses=self.chosen([], others))
        if row.mode is Mode.RESTING and settled and self.leasable():
            return replace(row, mode=Mode.LEASED, witnesses=())
        return row

    def witnessed(self, row: Seat, kept: list[str], others: list[str], *, settled: bool) -> Seat:
        if not others:
            return replace(row, mode=Mode.LEASED, witnesses=()) if self.leasable() else row
        if len(kept) == len(row.witnesses):
            more = len(kept) < min(MOST_WITNESSES, len(others))
            late = self.at(self.state.echoing_since + self.lateness()) if more else False
            return replace(row, witnesses=self.chosen(kept, others)) if late else row
        # The last of them is replaced at once. Else each seat takes its own time: a lost rack must be no stampede.
        due = settled if not kept else self.at(self.state.echoing_since + self.lateness())
        return replace(row, witnesses=self.chosen(kept, others)) if due else row

    def lateness(self) -> float:
        """A moment of this seat's own, up to ``Settings.replace`` seconds."""
        settings, state = self.state.settings, self.state
        share = sha256(f"{state.me.node}/{state.tenure}".encode()).digest()[0] / 255
        return settings.settle + share * (settings.replace - settings.settle)

    def chosen(self, kept: list[str], others: list[str]) -> tuple[str, ...]:
        """Up to three, those that are witnesses already among them, in racks of their own as far as there are."""
        racks = self.state.wish.racks if self.state.wish is not None else {}
        found = list(kept)
        rest = [node for node in others if node not in kept]
        while rest and len(found) < MOST_WITNESSES:
            taken = {racks.get(node, "") for node in found} - {""}
            best = next((node for node in rest if racks.get(node, "") not in taken), rest[0])
            rest.remove(best)
            found.append(best)
        return tuple(found)

    def wants_lease(self) -> bool:
        """Whether the own Lease is to be kept renewed: it feeds the permit, or is about to."""
        state, row = self.state, self.own_row()
        if row is None or self.by_lease:
            return True
        if state.stopping or state.echoing or not self.looked_for_echoes():
            return False
        return row.mode is Mode.RESTING or self.anchored()

    def looked_for_echoes(self) -> bool:
        """Whether the pulse had time to hear from witnesses; once it did, their silence counts at once."""
        return self.state.echoed or self.at(self.state.echoing_since + self.state.settings.settle)

    def leasable(self) -> bool:
        """Whether the Lease may take over now; where it may not serve this tenure any more, the tenure is given up."""
        state = self.state
        if not self.wants_lease():
            return False
        lease = state.lease
        if lease is not None and lease.ended >= state.tenure and state.in_touch:
            self.lose(f"tenure {state.tenure} was ended by a mark on the Lease")
            return False
        return self.lease_serves()

    def lease_serves(self) -> bool:
        """Whether the own Lease was renewed for this tenure, and lately."""
        state = self.state
        return state.renewed_for == state.tenure and state.fed_until > self.now + state.settings.lease / 2

    def anchored(self) -> bool:
        """Whether an anchor answered since the echoes ceased; asks, where that is not known."""
        state = self.state
        if state.anchor is not None and state.anchor.asked_at >= state.echoing_since:
            return state.anchor.answers
        if self.at(state.anchor_asked + state.settings.retry):
            self.change(anchor_asked=self.now)
            self.wake = min(self.wake, self.now + state.settings.retry)
            self.out.append(AskAnchor())
        return False

    def cut_off(self) -> bool:
        """Whether neither a witness nor an anchor was heard since the echoes ceased: then it is this node that is."""
        state, row = self.state, self.own_row()
        if row is None or row.mode is not Mode.WITNESSED or state.echoing or state.anchor is None:
            return False
        return state.anchor.asked_at >= state.echoing_since and not state.anchor.answers

    def fit_to_hold(self) -> bool:
        """Whether this node may be given groups: link up, not drained, and not known to be cut off."""
        wish = self.state.wish
        return wish is not None and wish.eligible and self.state.anchor_lost is None and not self.cut_off()

    # -- cut off from everybody

    def left_alone(self, row: Seat) -> bool:
        """Whether neither a witness nor the API server feeds this seat now."""
        state = self.state
        if row.mode is Mode.WITNESSED:
            unheard = state.touched_at < state.echoing_since and self.at(state.echoing_since + SLOW)
            return not state.echoing and (not state.in_touch or unheard)
        return not state.in_touch

    def hold_on(self) -> None:
        """With neither witnesses nor API: go on as long as an anchor answers and nobody else claims (``Hold``)."""
        state, row, wish = self.state, self.own_row(), self.state.wish
        if row is None or wish is None or not wish.hold or state.stopping or not state.seated:
            return
        fed = self.rule(row)
        if state.echoing or (isinstance(fed, Until) and fed.deadline > self.now + state.settings.lease / 2):
            return
        if row.mode is not Mode.WITNESSED and not self.left_alone(row):
            return
        if self.at(state.look_at):
            self.change(look_at=self.now + wish.profile.permit / 2)
            self.wake = min(self.wake, self.state.look_at)
            self.out.append(LookRound())

    # -- orders

    def rule(self, row: Seat) -> Rule:
        state = self.state
        match row.mode:
            case Mode.WITNESSED:
                return Echoed(row.witnesses)
            case Mode.LEASED:
                return Until(state.fed_until)
            case Mode.RESTING:
                return Until(state.rest_until)

    def rules(self) -> tuple[Rule, ...]:
        """All that must be met: the rule of the row as it stands, and of each row that may come to stand."""
        row, state = self.own_row(), self.state
        if row is None:
            return ()
        if state.adopting and row.mode is not Mode.RESTING:
            # A write of the forerunner may still land: nothing beyond what it would have done.
            left = state.here if state.here is not None and state.here.tenure == row.tenure else None
            until = state.here.permitted_until if state.here is not None else 0.0
            return left.rules if left is not None and left.rules else (Until(until),)
        found = [self.rule(row)]
        for other in state.open_rows:
            if (rule := self.rule(other)) not in found:
                found.append(rule)
        if state.held_on_until > self.now and self.left_alone(row):
            ends = [rule.deadline if isinstance(rule, Until) else 0.0 for rule in found]
            return (Until(max(state.held_on_until, min(ends)), anew=False),)
        return tuple(found)

    def order(self) -> None:
        """Tell the pulse what has changed for it."""
        state, wish = self.state, self.state.wish
        if state.here is None or wish is None or state.table is None:
            return
        peers, questions, known = self.peers(), self.questions(), state.memory
        orders = Orders(
            serial=state.orders.serial,
            profile=wish.profile,
            tenure=state.tenure if self.own_row() is not None else 0,
            rules=self.rules(),
            ready=True,
            next_tenure=known.next_tenure if known is not None else 0,
            peers=peers,
            greeted=self.greeted(),
            questions=questions,
            wrote=state.wrote,
            ended=state.wrote_ended,
        )
        if orders != state.orders:
            orders = replace(orders, serial=orders.serial + 1)
            self.change(orders=orders)
            self.out.append(Order(orders))

    def peers(self) -> tuple[Peer, ...]:
        """Live seats of others. Where the table was lost there are none, and so nobody is echoed."""
        state, me = self.state, self.state.me.node
        if state.table is None or not state.table.made:
            return ()
        return tuple(
            Peer(s.node, s.tenure, s.version, s.addresses, s.mode is Mode.WITNESSED and me in s.witnesses)
            for s in state.table.live()
            if s.node != me
        )

    def greeted(self) -> tuple[str, ...]:
        """The witnesses; and others who could be, while there are too few, or one of them is silent."""
        row, state = self.own_row(), self.state
        if row is None or state.table is None or state.resting:
            return ()
        others = self.others(state.table)
        witnesses = [node for node in row.witnesses if node in others]
        if len(witnesses) == MOST_WITNESSES and set(witnesses) <= state.echoing:
            return tuple(witnesses)
        return tuple(dict.fromkeys([*witnesses, *others[:GREETED]]))

    def questions(self) -> tuple[Question, ...]:
        """Whom to ask about those that our groups must outwait."""
        state = self.state
        if state.table is None or not state.seated:
            return ()
        awaited = {t for g in state.table.groups if g.tenure == state.tenure for t in g.after}
        return tuple(
            Question(row.node, row.tenure, row.witnesses)
            for row in state.table.ended
            if row.tenure in awaited and row.witnesses and not self.answered(row.tenure, row.witnesses)
        )

    def answered(self, tenure: int, witnesses: tuple[str, ...]) -> bool:
        known = self.state.passed.get(tenure, {})
        return sum(witness in known for witness in witnesses) >= enders(len(witnesses))
