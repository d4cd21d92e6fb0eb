"""Each rule of the protocol switched off, from outside: what a schedule must catch, or nobody would miss the rule."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

from nodeagent.pulse import plan as pulse
from nodeagent.pulse.messages import Echo
from nodeagent.segment import feeding, judging, learning, plan
from nodeagent.segment.events import Answer, Hold, LeasePut
from nodeagent.segment.state import Settings
from nodeagent.segment.table import Mode, remade
from tests.simulation import node

TURN = plan._Turn  # the one place where a step is taken


@dataclass(frozen=True, slots=True)
class Mutation:
    """*sentence* says what is left out; *schedule* names the one that catches it, by one of *caught*."""

    sentence: str
    schedule: str
    patches: Callable[[], list[Any]]
    caught: str | tuple[str, ...] = ""  # how what is wrong begins; "": anything


@contextmanager
def without(mutation: Mutation) -> Iterator[None]:
    """The product without that rule."""
    with ExitStack() as stack:
        for patched in mutation.patches():
            stack.enter_context(patched)
        yield


def _method(owner: type, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """*owner*'s method replaced by what *make* makes of it."""
    return patch.object(owner, name, make(getattr(owner, name)))


def _passed_at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda turn, tenure: 0.0


def _bury_now(original: Callable[..., Any]) -> Callable[..., Any]:
    def bury(turn: Any, node: str, tenure: int) -> float:
        original(turn, node, tenure)
        return float(turn.now)

    return bury


def _from_receipt(original: Callable[..., Any]) -> Callable[..., Any]:
    def heed(turn: Any, witness: str, tenure: int, life: int, sequence: int) -> None:
        sent = turn.state.sent.get(sequence)
        if sent is not None:
            late = turn.now - sent.at
            turn.change(sent={**turn.state.sent, sequence: pulse.Sent(turn.now, sent.until + late)})
        original(turn, witness, tenure, life, sequence)

    return heed


def _claim_what_is_given(original: Callable[..., Any]) -> Callable[..., Any]:
    def claim(turn: Any) -> None:
        giving = turn.state.giving
        turn.change(giving=frozenset())
        original(turn)
        turn.change(giving=giving)

    return claim


def _unknown_is_failed(original: Callable[..., Any]) -> Callable[..., Any]:
    def written(turn: Any, answer: Answer, table: Any) -> None:
        if answer is Answer.UNKNOWN:
            turn.change(put=None, put_after=0, write_at=turn.now + turn.state.settings.retry)
            turn.settle()
        else:
            original(turn, answer, table)

    return written


def _send_at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(turn: Any) -> None:
        if turn.state.put_after:
            turn.change(obeyed=max(turn.state.obeyed, turn.state.put_after))
        original(turn)

    return send


def _one_rule(original: Callable[..., Any]) -> Callable[..., Any]:
    def rules(turn: Any) -> Any:
        rows = turn.state.open_rows
        turn.change(open_rows=())
        found = original(turn)
        turn.change(open_rows=rows)
        return found

    return rules


def _by_age(original: Callable[..., Any]) -> Callable[..., Any]:
    def is_over(turn: Any, seat: Any) -> bool:
        watched = turn.state.watched.get(seat.node)
        if seat.mode is Mode.LEASED and watched is not None and seat.node in turn.state.seen:
            since = max(watched.since, turn.state.seen[seat.node][2])
            if turn.at(since + turn.state.settings.wait):
                turn.watch(seat.node, replace(watched, marked_since=since))
                return True
        return bool(original(turn, seat))

    return is_over


def _from_reply(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda turn, done: original(turn, LeasePut(done.answer, turn.now, done.tenure, done.lease))


def _forgetful(original: Callable[..., Any]) -> Callable[..., Any]:
    def answer(turn: Any, hello: Any) -> None:
        if turn.state.orders.ready:
            original(turn, hello)
        else:
            echo = Echo(turn.state.me, hello.tenure, hello.life, hello.sequence)
            turn.out.append(pulse.Send((hello.sender,), echo))

    return answer


def _blind(original: Callable[..., Any]) -> Callable[..., Any]:
    def split(process: Any, output: Any) -> list[Any]:
        if type(output) is not pulse.Permit or output.deadline is None:
            return list(original(process, output))
        left = output.deadline - process.node.raw()
        nothing = lambda: None  # noqa: E731
        return [nothing, nothing, partial(process.node.grant, max(left, 0.001), anew=True)]

    return split


def _anew(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda process, deadline, *, anew: original(process, deadline, anew=True)


def _rest_again(original: Callable[..., Any]) -> Callable[..., Any]:
    def open_row(turn: Any, former: Any, row: Any) -> bool:
        feeds_anew = bool(original(turn, former, row))
        if feeds_anew and row.mode is Mode.RESTING:
            turn.change(rest_until=turn.now + turn.state.settings.rest)
        return feeds_anew

    return open_row


def _keep_held(original: Callable[..., Any]) -> Callable[..., Any]:
    def choose(turn: Any, table: Any) -> bool:
        chosen = bool(original(turn, table))
        if turn.state.held == frozenset():
            turn.out = [output for output in turn.out if not isinstance(output, Hold)]
        return chosen

    return choose


def _sit_at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    def adopt(turn: Any, row: Any, version: int) -> None:
        original(turn, row, version)
        turn.sit(turn.state.table)

    return adopt


def _adopted_for_good(original: Callable[..., Any]) -> Callable[..., Any]:
    def look(turn: Any, table: Any) -> None:
        row = table.seat(turn.state.me.node)
        if not turn.state.adopting or (row is not None and row.live):
            original(turn, table)

    return look


def _chosen_for_good(original: Callable[..., Any]) -> Callable[..., Any]:
    def look(turn: Any, table: Any) -> None:
        state = turn.state
        original(turn, table)
        if state.tenure and not state.seated and not state.adopting:
            turn.change(tenure=state.tenure, renewed_for=state.renewed_for)

    return look


def _without_reading(original: Callable[..., Any]) -> Callable[..., Any]:
    def counted(turn: Any, table: Any) -> bool:
        turn.change(read_by=int(table.resource_version))
        return bool(original(turn, table))

    return counted


def _deleted_is_over(original: Callable[..., Any]) -> Callable[..., Any]:
    def counted(turn: Any, table: Any) -> bool:
        watched = turn.state.watched
        turn.change(watched={node: replace(each, deleted=False) for node, each in watched.items()})
        return bool(original(turn, table))

    return counted


def _without_probes(original: Callable[..., Any]) -> Callable[..., Any]:
    def may_claim(turn: Any, group: Any) -> bool:
        turn.change(cleared={**turn.state.cleared, group.name: group.epoch})
        return bool(original(turn, group))

    return may_claim


def _without_rivals(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda turn, answer: original(turn, replace(answer, asked_by=""))


def _without_waits(original: Callable[..., Any]) -> Callable[..., Any]:
    def made(memory: Any, now: Any) -> Any:
        table = original(memory, now)
        groups = tuple(replace(group, after=()) for group in table.groups)
        return replace(table, ended=(), groups=groups)

    return made


MUTATIONS: dict[str, Mutation] = {
    "take_without_gone": Mutation(
        "an heir does not wait until witnesses have said gone",
        "cut_off_entirely",
        lambda: [_method(judging.Judging, "passed_at", _passed_at_once)],
        "I1",
    ),
    "one_vote": Mutation(
        "one witness is enough to end a tenure",
        "minority",
        lambda: [patch.object(module, "enders", lambda witnesses: 1) for module in (judging, learning, feeding)],
        "I1",
    ),
    "no_wait": Mutation(
        "an heir does not wait until the permits that were fed have passed",
        "cut_off_entirely",
        lambda: [_method(pulse._Turn, "bury", _bury_now)],
        "I1",
    ),
    "fed_from_receipt": Mutation(
        "a permit counts from when the echo came, not from when the hello was sent",
        "late_echoes",
        lambda: [_method(pulse._Turn, "heed", _from_receipt)],
        "I4",
    ),
    "silent_after": Mutation(
        "a giver claims until it knows that the gift was written",
        "gift_answered_late",
        lambda: [_method(TURN, "claim", _claim_what_is_given)],
        "I1",
    ),
    "unknown_is_failed": Mutation(
        "a write without an answer is taken for one that failed",
        "gift_lands_late",
        lambda: [_method(TURN, "written", _unknown_is_failed)],
        "I1",
    ),
    "no_cut": Mutation(
        "a change of mode is written before the permit was cut to both rules",
        "mode_changes",
        lambda: [_method(TURN, "send_put", _send_at_once)],
    ),
    "one_rule": Mutation(
        "while a change of mode is open the permit lives by the former rule only",
        "mode_change_lands_late",
        lambda: [_method(TURN, "rules", _one_rule)],
    ),
    "no_mark": Mutation(
        "a Lease is judged by its age, without a mark on it",
        "old_view",
        lambda: [_method(judging.Judging, "is_over", _by_age)],
    ),
    "lease_from_reply": Mutation(
        "a Lease feeds the permit from when its renewal was answered",
        "leased_slow",
        lambda: [_method(TURN, "renewed", _from_reply)],
        "I4",
    ),
    "amnesia": Mutation(
        "a pulse echoes before it knows the table",
        "amnesia",
        lambda: [_method(pulse._Turn, "answer", _forgetful)],
    ),
    "blind_refresh": Mutation(
        "the kernel's permit is set however late after the look at the clock",
        "stopped_in_feed",
        lambda: [_method(node.Pulse, "split", _blind)],
    ),
    "held_on_anew": Mutation(
        "who holds on may make a permit that had lapsed",
        "hold_again",
        lambda: [_method(node.Pulse, "permit", _anew)],
        ("I1", "I2"),  # the heir claims still, or did a moment ago
    ),
    "stalled_witness_votes": Mutation(
        "a witness that was stalled itself speaks up at once",
        "stalled_witness",
        lambda: [patch.object(pulse, "LATE", 1e9)],
        "I9",
    ),
    "held_by_a_new_tenure": Mutation(
        "a new tenure is asked for while the kernel still has what the former one held",
        "comes_back_late",
        lambda: [_method(TURN, "choose_tenure", _keep_held)],
    ),
    "adopted_without_a_write": Mutation(
        "a seat is adopted without a write that outruns those of its forerunner",
        "adopts_with_an_open_gift",
        lambda: [_method(TURN, "adopt", _sit_at_once)],
    ),
    "adopted_for_good": Mutation(
        "a tenure that is adopted is kept when the table is lost that had it",
        "adopted_and_cleared",
        lambda: [_method(TURN, "look_at_own_row", _adopted_for_good)],
        "I7",
    ),
    "adopted_counts_nobody_out": Mutation(
        "who adopts a tenure as the table is lost makes the table anew with it",
        "adopted_and_cleared_leased",
        lambda: [_method(TURN, "look_at_own_row", _adopted_for_good)],
        "I1",
    ),
    "chosen_counts_nobody_out": Mutation(
        "who chose a tenure by a table that was lost since makes it anew with that",
        "chosen_and_cleared",
        lambda: [_method(TURN, "look_at_own_row", _chosen_for_good)],
        "I1",
    ),
    "maker_does_not_ask": Mutation(
        "who makes a table anew without the memory of it claims what it gets without asking",
        "made_without_memory",
        lambda: [_method(TURN, "may_claim", _without_probes)],
        "I1",
    ),
    "leases_by_a_watch": Mutation(
        "who makes a table anew counts out the Leases that it knows of",
        "sat_down_unseen",
        lambda: [_method(TURN, "all_counted_out", _without_reading)],
        "I1",
    ),
    "deleted_is_over": Mutation(
        "who makes a table anew takes a Lease that was deleted for one that feeds no permit",
        "all_deleted",
        lambda: [_method(TURN, "all_counted_out", _deleted_is_over)],
        "I1",
    ),
    "rest_cut_short": Mutation(
        "a seat at rest is taken before its permit has passed",
        "rest_and_cut_off",
        lambda: [patch.object(Settings, "rested", property(lambda settings: 5.0))],
        "I1",
    ),
    "rest_prolonged": Mutation(
        "a rest counts from when it was last asked for",
        "rest_unanswered",
        lambda: [_method(TURN, "open_row", _rest_again)],
        "I4",
    ),
    "heir_does_not_ask": Mutation(
        "an heir of a marked seat does not ask who has the VIPs",
        "hold",
        lambda: [_method(TURN, "may_claim", _without_probes)],
        "I1",
    ),
    "rival_not_heard": Mutation(
        "an heir does not hear that another asks who has the VIPs just then",
        "two_ask",
        lambda: [_method(TURN, "probed", _without_rivals)],
        "I1",
    ),
    "hand_edit_believed": Mutation(
        "a group that somebody handed over in the table is claimed without asking",
        "table_edited",
        lambda: [_method(TURN, "may_claim", _without_probes)],
        "I1",
    ),
    "gift_back": Mutation(
        "what was given may be given back, and on again, at once",
        "views_differ",
        lambda: [
            _method(TURN, "giver", lambda original: lambda turn, group: ""),
            _method(TURN, "in_a_ring", lambda original: lambda turn, group, wish: False),
        ],
        "I8",
    ),
    "made_anew_at_once": Mutation(
        "a table is made anew without outwaiting the former holders",
        "table_cleared_unseen",
        lambda: [patch.object(plan, "remade", _without_waits(remade))],
        "I1",
    ),
}
