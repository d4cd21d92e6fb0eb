"""Random schedules: never two claimants, nothing that outlives its rule, and one holder in the end."""

import os

import pytest

from tests.simulation.faults import shrink
from tests.simulation.schedules import fails, play, random_schedule

SEEDS = int(os.environ.get("SEEDS", "48"))  # `make test` runs more of them
BLOCKS = 8


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_schedules_break_no_invariant(block: int) -> None:
    for seed in range(block, SEEDS, BLOCKS):
        if fails(random_schedule(seed)):
            small = shrink(random_schedule(seed), fails, tries=60)
            world = play(small)
            pytest.fail(f"{world.tail()}\nseed {seed}, replay with\npython -m tests.simulation replay '{small}'")
