"""Five of the faults, each once, where the agents hear nothing of each other: Leases alone say who lives."""

from collections.abc import Iterator

import pytest

from lab.fault_runs.mode import Mode
from lab.fault_runs.promises import Fault
from lab.fault_runs.theatre import Theatre
from tests.lab import faulty


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    with faulty.theatre() as opened:
        yield opened


@pytest.mark.parametrize("fault", faulty.leased())
def test_a_fault_breaks_no_promise(theatre: Theatre, fault: Fault) -> None:
    faulty.breaks_no_promise(theatre, Mode.LEASED, fault)
