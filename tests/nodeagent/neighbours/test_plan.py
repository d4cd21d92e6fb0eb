"""The schedule of announcing: when, in which form, and how many at once."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.neighbours.plan import (
    BURST,
    ROUNDS,
    Address,
    Form,
    Settings,
    State,
    Turn,
    defend,
    due,
    frame,
    next_round,
    start,
    stop,
)
from roost.frames import Claim, Kind, Mac, claim

SETTINGS = Settings(announce_seconds=30.0)
MAC = Mac.parse("02:00:00:00:00:01")
FOUR, SIX = ip("10.1.0.100"), ip("fd01::100")


def many(number: int, subnet: int = 0) -> list[Address]:
    return [ip(f"10.{2 + subnet}.{n // 250}.{n % 250}") for n in range(number)]


def run(state: State, now: float, end: float) -> Iterator[tuple[float, Turn]]:
    """Everything that is sent until *end* by somebody who always wakes up in time."""
    while now <= end:
        result = due(state, now)
        state = result.state
        yield from ((now, turn) for turn in result.turns)
        if result.wake is None:
            return
        assert result.wake > now
        now = result.wake


def test_a_lone_ipv4_address_is_announced_in_both_forms_each_round() -> None:
    sent = list(run(start(State.silent(SETTINGS), [FOUR], 100.0), 100.0, 165.0))
    first = [round(at - 100, 2) for at, turn in sent if turn.form is Form.FIRST]
    assert first == [0, 0.05, 0.15, 0.4, 1, 3, 33, 63]
    reply = [round(at - 100, 2) for at, turn in sent if turn.form is Form.REPLY]
    assert reply == [0.01, 0.06, 0.16, 0.41, 1.01, 3.01, 33.01, 63.01]


def test_ipv6_needs_one_form_only() -> None:
    sent = list(run(start(State.silent(SETTINGS), [SIX], 100.0), 100.0, 165.0))
    assert [round(at - 100, 2) for at, _ in sent] == [0, 0.05, 0.15, 0.4, 1, 3, 33, 63]


def test_nothing_to_announce_needs_no_wake_up() -> None:
    assert due(State.silent(SETTINGS), 5.0).wake is None
    assert due(stop(start(State.silent(SETTINGS), [FOUR], 5.0), {FOUR}), 5.0).turns == ()


def test_five_thousand_vips_have_their_first_frame_in_two_and_a_half_seconds() -> None:
    vips = many(5000)
    sent = list(run(start(State.silent(SETTINGS), vips, 0.0), 0.0, 2.6))
    seen = set[Address]()
    firsts = [at for at, turn in sent if turn.vip not in seen and not seen.add(turn.vip)]  # type: ignore[func-returns-value]
    assert len(firsts) == 5000
    assert firsts[-1] <= 2.5


@pytest.mark.parametrize(("first_round", "rate"), [(True, 2000), (False, 500)], ids=["first frames", "all others"])
def test_no_second_has_more_frames_than_its_lane_allows(first_round: bool, rate: int) -> None:
    sent = list(run(start(State.silent(SETTINGS), many(5000), 0.0), 0.0, 6.0))
    seen = set[Address]()
    lane = list[float]()
    for at, turn in sent:
        if (turn.vip not in seen) == first_round:
            lane.append(at)
        seen.add(turn.vip)
    for begin in lane[::50]:
        assert sum(begin <= at < begin + 1 for at in lane) <= rate * (1 + BURST) + 1


def test_newest_vips_come_first_among_the_later_frames() -> None:
    state = start(State.silent(SETTINGS), many(2000), 0.0)
    now = 0.0
    while now < 2.0:
        result = due(state, now)
        state, now = result.state, result.wake or now
    state = start(state, [FOUR], now)
    sent = [(at, turn.form) for at, turn in run(state, now, now + 0.2) if turn.vip == FOUR]
    assert [form for _, form in sent][:4] == [Form.FIRST, Form.REPLY] * 2
    assert sent[3][0] - now < 0.1


def test_nobody_starves_behind_newer_vips() -> None:
    """Late rounds are left out, so no queue grows: each of 5,000 VIPs is announced in both forms twice a minute."""
    sent = list(run(start(State.silent(SETTINGS), many(5000), 0.0), 0.0, 60.0))
    counts = Counter(turn.vip for _, turn in sent)
    assert len(counts) == 5000
    assert min(counts.values()) >= 4


def test_starting_again_begins_anew() -> None:
    state = start(State.silent(SETTINGS), [FOUR, SIX], 0.0)
    for now in (0.0, 0.01, 0.05, 0.06):
        state = due(state, now).state
    state = start(state, [FOUR], 10.0)
    assert state.announced == {FOUR, SIX}
    assert [turn for turn in due(state, 10.0).turns if turn.vip == FOUR] == [Turn(FOUR, 10.0, 10.0, Form.FIRST)]


@given(st.floats(0, 1e6), st.floats(0, 1e5), st.floats(1, 600))
def test_the_next_round_is_ahead_and_near(started: float, passed: float, repeat: float) -> None:
    now = started + passed
    following = next_round(started, now, repeat)
    assert now - 1e-6 <= following <= now + max(repeat, ROUNDS[-1]) + 1e-6


verbs = st.lists(
    st.tuples(
        st.sampled_from(["start", "stop", "pass"]), st.sets(st.sampled_from([FOUR, SIX, *many(3)])), st.floats(0, 5)
    ),
    max_size=20,
)


@given(verbs)
def test_each_announced_vip_has_exactly_one_turn(done: list[tuple[str, set[Address], float]]) -> None:
    state, now, want = State.silent(SETTINGS), 0.0, set[Address]()
    for verb, vips, seconds in done:
        match verb:
            case "start":
                state, want = start(state, vips, now), want | vips
            case "stop":
                state, want = stop(state, vips), want - vips
            case _:
                now += seconds
                state = due(state, now).state
        turns = [*state.new, *state.ready, *state.later]
        assert sorted(map(str, want)) == sorted(str(turn.vip) for turn in turns)
        assert list(state.later) == sorted(state.later, key=lambda turn: turn.due)


@pytest.mark.parametrize(
    ("turn", "kind"),
    [
        pytest.param(Turn(FOUR, 0, 0, Form.FIRST), Kind.ARP_REQUEST, id="IPv4, request form"),
        pytest.param(Turn(FOUR, 0, 0, Form.REPLY), Kind.ARP_REPLY, id="IPv4, reply form"),
        pytest.param(Turn(SIX, 0, 0, Form.FIRST), Kind.ADVERTISEMENT, id="IPv6"),
    ],
)
def test_the_frame_of_a_turn_claims_its_vip(turn: Turn, kind: Kind) -> None:
    assert claim(frame(turn, MAC)) == Claim(turn.vip, MAC, kind)


class TestDefence:
    def test_one_frame_of_each_form_and_the_rounds_stay(self) -> None:
        state = start(State.silent(SETTINGS), [FOUR, SIX], 0.0)
        now = 0.0
        while now < 10.0:
            result = due(state, now)
            state, now = result.state, result.wake or now
        sent = list(run(defend(state, {FOUR}, 10.0), 10.0, 34.0))
        assert [(round(at, 2), turn.form) for at, turn in sent if turn.vip == FOUR] == [
            (10.0, Form.FIRST),
            (10.01, Form.REPLY),
            (33.0, Form.FIRST),
            (33.01, Form.REPLY),
        ]
        assert [round(at, 2) for at, turn in sent if turn.vip == SIX] == [33.0]

    def test_who_is_about_to_be_announced_needs_none(self) -> None:
        state = start(State.silent(SETTINGS), [FOUR, SIX], 0.0)
        assert defend(state, {FOUR, SIX, *many(3)}, 0.0) == state

    def test_it_keeps_to_the_slow_lane(self) -> None:
        vips = set(many(5000))
        state, now = start(State.silent(SETTINGS), vips, 0.0), 0.0
        while now < 70.0:
            result = due(state, now)
            state, now = result.state, result.wake or now
        frames = [at for at, _ in run(defend(state, vips, now), now, now + 1.0)]
        assert len(frames) <= SETTINGS.announce_rate * (1 + BURST) + 1
