"""What a seat makes of the answers to its questions who has a group's VIPs."""

from dataclasses import replace

import pytest

from nodeagent.segment.events import Probed, Say
from nodeagent.segment.learning import AGAIN, AGAIN_SOON, APART, Learning
from nodeagent.segment.plan import start
from nodeagent.segment.state import Asking, Me
from roost.words import Reason

NOW = 50.0


def after(answer: Probed, node: str = "n1") -> Learning:
    """What *node* knows when it has heard *answer* about the group g, in whose epoch 3 it is the heir."""
    asks = replace(start(Me(node, "boot", "machine")), asking={"g": Asking(3, NOW + 1)})
    learning = Learning(asks, NOW)
    learning.probed(answer)
    return learning


def waits(node: str, asked_at: float) -> float:
    """How long *node* waits after another asked at the same time."""
    return after(Probed("g", 3, asked_at, asked_by="n9"), node).state.asking["g"].again - NOW


def test_nobody_answers_nor_asks() -> None:
    state = after(Probed("g", 3, NOW)).state
    assert (state.cleared, state.asking) == ({"g": 3}, {})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(Probed("g", 3, NOW, "n2"), "n2 still answers for it", id="a seat answers"),
        pytest.param(Probed("g", 3, NOW, "", "n2"), "n2 asks for it too", id="a seat asks for it too"),
        pytest.param(Probed("g", 3, NOW, "n2", "n3"), "n2 still answers for it", id="one answers, another asks"),
    ],
)
def test_who_has_a_vip_or_asks_for_it_is_waited_for(answer: Probed, why: str) -> None:
    learning = after(answer)
    assert learning.state.cleared == {}
    assert learning.state.asking["g"].again > NOW
    assert learning.out == [Say(Reason.ANSWERED_FOR, why, frozenset({"g"}))]


def test_an_answer_about_a_former_epoch_says_nothing() -> None:
    for former in (Probed("g", 2, NOW), Probed("g", 2, NOW, "", "n2")):
        assert after(former).state.asking == {"g": Asking(3, NOW + 1)}


def test_two_that_asked_at_the_same_time_ask_again_at_different_times() -> None:
    every = [waits(node, at) for node in ("n1", "n2", "n3") for at in (49.0, 49.88, 49.9)]
    assert len(set(every)) == len(every), "the same two never keep the same distance either"
    assert all(AGAIN_SOON <= wait <= AGAIN_SOON + APART for wait in every)


def test_who_is_answered_waits_as_long_as_ever() -> None:
    assert after(Probed("g", 3, NOW, "n2")).state.asking["g"].again == NOW + AGAIN
