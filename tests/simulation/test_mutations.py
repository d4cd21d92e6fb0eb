"""A rule that nobody would miss is no rule: each, switched off, is caught by the schedule that is named for it."""

import pytest

from tests.simulation.mutations import MUTATIONS, without
from tests.simulation.named import play_named

SEEDS = 20


@pytest.mark.parametrize("name", MUTATIONS)
def test_without_the_rule_its_schedule_fails(name: str) -> None:
    mutation = MUTATIONS[name]
    with without(mutation):
        found = next(
            (bad[0] for seed in range(SEEDS) if (bad := play_named(mutation.schedule, seed).checks.violations)), ""
        )
    assert found, f"{mutation.sentence}: {mutation.schedule} does not notice"
    assert found.startswith(mutation.caught), found
