"""A rule that nobody would miss is no rule: each, switched off, is caught by the schedule that is named for it."""

import pytest

from tests.simulation.mutations import MUTATIONS, without
from tests.simulation.named import play_named

SEEDS = 20


@pytest.mark.parametrize("name", MUTATIONS)
def test_without_the_rule_its_schedule_fails(name: str) -> None:
    mutation = MUTATIONS[name]
    found: list[str] = []
    with without(mutation):
        for seed in range(SEEDS):
            found += play_named(mutation.schedule, seed).checks.violations[:1]
            if found and found[-1].startswith(mutation.caught):
                return
    pytest.fail(f"{mutation.sentence}: {mutation.schedule} finds {found}")
