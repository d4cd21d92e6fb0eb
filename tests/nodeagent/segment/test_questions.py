"""An heir's questions who has a VIP: how far apart they are, and what follows when all are answered."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from nodeagent.model import PROFILES, Here
from nodeagent.segment.events import Hold, Probe, Probed, Tick, Wish
from nodeagent.segment.plan import start, step
from nodeagent.segment.state import Asking, Me, Settings, State
from nodeagent.segment.table import Ended, Group, Mode, Seat, Table

NOW = 50.0
SEAT = Seat("n1", 1, 1, "boot", "machine", "02:00:00:00:00:01", ("10.60.0.1",), True, Mode.WITNESSED, witnesses=("n3",))
OTHER = replace(SEAT, node="n3", tenure=3, witnesses=("n1",))
DEAD = Ended(2, "n2", Mode.WITNESSED, ("n1", "n3"))
GROUPS = (Group("g", 1, 3, (2,)), Group("h", 1, 3, (2,)))
TABLE = Table("uid", "5", 3, 4, (SEAT, OTHER), (DEAD,), GROUPS)


def heir(profile: str, passed: dict[str, float], ended: Ended = DEAD) -> State:
    """n1 has inherited g and h; of the witnesses of the tenure before, these say when it has passed."""
    candidates = MappingProxyType({name: frozenset({"n1", "n3"}) for name in "gh"})
    wish = Wish(True, SEAT.mac, SEAT.addresses, candidates, PROFILES[profile])
    return replace(
        start(Me("n1", "boot", "machine"), Settings()),
        wish=wish,
        table=replace(TABLE, ended=(ended,)),
        memory=TABLE,
        listed=True,
        tenure=1,
        seated=True,
        here=Here(0, 0, 0.0),
        held=frozenset(),
        ended_seen={2: NOW - 22.1},
        passed={2: passed},
        echoing=frozenset({"n3"}),
    )


@pytest.mark.parametrize(
    ("profile", "left", "apart"),
    [
        pytest.param("Fast", 0.075, 0.025, id="as close as the wait is short"),
        pytest.param("Fast", 0.115, 0.115 / 3, id="no closer than it must be"),
        pytest.param("Fast", 0.01, 0.012, id="not closer than 0.4 hellos"),
        pytest.param("Fast", -0.3, 0.012, id="the wait is over already"),
        pytest.param("Default", 0.05, 0.04, id="hellos are far apart anyway"),
        pytest.param("Relaxed", 0.05, 0.04, id="no farther than usual"),
    ],
)
def test_the_questions_end_with_the_wait(profile: str, left: float, apart: float) -> None:
    asks = heir(profile, {"n1": NOW + left - 0.001, "n3": NOW + left})
    _, out = step(asks, NOW, Tick())
    assert [each.apart for each in out if isinstance(each, Probe)] == pytest.approx([apart, apart])


def test_what_no_witness_proves_is_asked_as_usual() -> None:
    rested = heir("Fast", {}, Ended(2, "n2", Mode.RESTING))
    _, out = step(rested, NOW, Tick())
    assert [each.apart for each in out if isinstance(each, Probe)] == pytest.approx([0.04, 0.04])


def test_answers_that_come_together_are_held_together() -> None:
    asks = replace(heir("Fast", {"n1": NOW - 1, "n3": NOW - 1}), asking={name: Asking(3, NOW + 1) for name in "gh"})
    _, out = step(asks, NOW, Probed("g", 3, NOW), Probed("h", 3, NOW))
    assert [each for each in out if isinstance(each, Hold)] == [Hold(frozenset("gh"))]
