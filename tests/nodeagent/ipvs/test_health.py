"""Which backends get connections, by what their checks said."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.ipvs.health import NEW, Health, State, Verdict, judged, pause, serving
from nodeagent.ipvs.settings import Settings
from nodeagent.ipvs.values import Place

SETTINGS = Settings(lb_check_period=6.0, lb_check_failures=3, lb_check_successes=2)
WELL, FAILED, REFUSED = Verdict.WELL, Verdict.FAILED, Verdict.REFUSED

STORIES = {
    "the first answer decides": ([WELL], State.UP),
    "the first failure decides": ([FAILED], State.DOWN),
    "one failure is forgiven": ([WELL, FAILED], State.UP),
    "two failures are forgiven": ([WELL, FAILED, FAILED], State.UP),
    "three failures in a row are not": ([WELL, FAILED, FAILED, FAILED], State.DOWN),
    "failures that are not in a row are": ([WELL, FAILED, FAILED, WELL, FAILED, FAILED], State.UP),
    "one refusal is enough": ([WELL, REFUSED], State.DOWN),
    "one answer does not bring it back": ([REFUSED, WELL], State.DOWN),
    "two answers bring it back": ([REFUSED, WELL, WELL], State.UP),
    "two answers that are not in a row do not": ([REFUSED, WELL, FAILED, WELL], State.DOWN),
}


def told(verdicts: list[Verdict]) -> Health:
    health = NEW
    for now, verdict in enumerate(verdicts, 1):
        health = judged(health, verdict, verdict.value, now, SETTINGS)
    return health


@pytest.mark.parametrize(("verdicts", "state"), STORIES.values(), ids=STORIES.keys())
def test_stories(verdicts: list[Verdict], state: State) -> None:
    assert told(verdicts).state == state


def test_a_doubt_is_settled_within_a_period() -> None:
    assert pause(told([WELL]), SETTINGS) == 6.0
    assert pause(told([WELL, FAILED]), SETTINGS) == 2.0
    assert pause(told([REFUSED, WELL]), SETTINGS) == 3.0


def test_why_is_the_last_that_was_bad() -> None:
    assert told([REFUSED, FAILED, WELL]).why == "Failed"


A, B, C = (Place(ip_address(f"10.0.0.{number}"), 6443) for number in (1, 2, 3))
UP, UNKNOWN = Health(State.UP, well=9), Health()


def down(well: float) -> Health:
    return Health(State.DOWN, well=well)


SERVING = {
    "all that are up": ({A: UP, B: UP, C: down(3)}, {A, B}),
    "nothing is known: all": ({}, {A, B, C}),
    "a new one waits for its check": ({A: UP, B: UNKNOWN, C: UP}, {A, C}),
    "the last that was well stays": ({A: down(5), B: down(6), C: down(4)}, {B}),
    "the last that was well, and who is not known yet": ({A: down(5), B: down(6), C: UNKNOWN}, {B, C}),
    "none was ever well: all": ({A: down(0), B: down(0), C: down(0)}, {A, B, C}),
}


@pytest.mark.parametrize(("healths", "expected"), SERVING.values(), ids=SERVING.keys())
def test_serving(healths: dict[Place, Health], expected: set[Place]) -> None:
    assert serving([A, B, C], healths) == expected


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.sampled_from(Verdict)), max_size=30))
def test_there_is_always_one_that_serves_and_the_one_that_was_well_last_does(
    events: list[tuple[Place, Verdict]],
) -> None:
    healths = dict[Place, Health]()
    for now, (place, verdict) in enumerate(events, 1):
        healths[place] = judged(healths.get(place, NEW), verdict, "", now, SETTINGS)
        found = serving([A, B, C], healths)
        assert found
        if not any(health.state == State.UP for health in healths.values()):
            assert max(healths, key=lambda one: healths[one].well) in found


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("state", State)
def test_every_verdict_has_a_meaning_in_every_state(state: State, verdict: Verdict) -> None:
    assert judged(Health(state), verdict, "", 1.0, SETTINGS).state in set(State)
