"""Which backends get connections, by what their checks say: a state machine without I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from nodeagent.ipvs.settings import Settings
from nodeagent.ipvs.values import Place


class Verdict(StrEnum):
    """What one check said."""

    WELL = "Well"
    """It answered as it should."""
    FAILED = "Failed"
    """It did not answer in time, or that it is not ready: perhaps only this once."""
    REFUSED = "Refused"
    """Nobody listens there: a connection would be refused too."""


class State(StrEnum):
    """UNKNOWN: it was not checked yet."""

    UNKNOWN = "Unknown"
    UP = "Up"
    DOWN = "Down"


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one backend."""

    state: State = State.UNKNOWN
    streak: int = 0
    """How many verdicts in a row spoke against the state."""
    well: float = 0.0
    """When it was last found well, in seconds of the clock; 0: never."""
    why: str = ""
    """What the last bad check said."""


NEW = Health()


def judged(health: Health, verdict: Verdict, why: str, now: float, settings: Settings) -> Health:
    """*health* after one more check."""
    becomes, needed = _TRANSITIONS[health.state, verdict]
    well, why = (now, health.why) if verdict == Verdict.WELL else (health.well, why)
    if becomes is None:
        return Health(health.state, 0, well, why)
    streak = health.streak + 1
    if streak >= {ONCE: 1, FALL: settings.lb_check_failures, RISE: settings.lb_check_successes}[needed]:
        return Health(becomes, 0, well, why)
    return Health(health.state, streak, well, why)


ONCE, FALL, RISE = "once", "lb_check_failures", "lb_check_successes"
# By state and verdict: which state comes next, and after how many such in a row; None: the state is confirmed.
_TRANSITIONS: Mapping[tuple[State, Verdict], tuple[State | None, str]] = {
    (State.UNKNOWN, Verdict.WELL): (State.UP, ONCE),
    (State.UNKNOWN, Verdict.FAILED): (State.DOWN, ONCE),
    (State.UNKNOWN, Verdict.REFUSED): (State.DOWN, ONCE),
    (State.UP, Verdict.WELL): (None, ONCE),
    (State.UP, Verdict.FAILED): (State.DOWN, FALL),
    (State.UP, Verdict.REFUSED): (State.DOWN, ONCE),
    (State.DOWN, Verdict.WELL): (State.UP, RISE),
    (State.DOWN, Verdict.FAILED): (None, ONCE),
    (State.DOWN, Verdict.REFUSED): (None, ONCE),
}


def pause(health: Health, settings: Settings) -> float:
    """Seconds until the next check: of one that is in doubt it comes sooner, so that a period settles it."""
    several = settings.lb_check_failures if health.state == State.UP else settings.lb_check_successes
    return settings.lb_check_period / several if health.streak else settings.lb_check_period


def serving(backends: Iterable[Place], healths: Mapping[Place, Health]) -> frozenset[Place]:
    """Those of *backends* that get connections: all that are up, else what was well last, and never none.

    One that is not known yet waits for its first check while another is up, and serves while none is.
    """
    known = {place: healths.get(place, NEW) for place in backends}
    if up := frozenset(place for place, health in known.items() if health.state == State.UP):
        return up
    last = max((health.well for health in known.values()), default=0.0)
    return frozenset(place for place, health in known.items() if health.state == State.UNKNOWN or health.well == last)
