"""Every named schedule, a few times over: the product keeps what is promised of it."""

import pytest

from tests.simulation.named import NAMED, play_named

SEEDS = 2


@pytest.mark.parametrize("name", NAMED)
def test_the_schedule_breaks_no_invariant(name: str) -> None:
    for seed in range(SEEDS):
        world = play_named(name, seed)
        if world.checks.violations:
            pytest.fail(f"{NAMED[name].sentence}\n{world.tail()}\n{world.schedule}")
