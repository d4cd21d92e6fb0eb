"""A third of all faults, each once, in the mode that is shipped: two never claim one VIP, and the right node holds."""

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


@pytest.mark.parametrize("fault", faulty.witnessed(1))
def test_a_fault_breaks_no_promise(theatre: Theatre, fault: Fault) -> None:
    faulty.breaks_no_promise(theatre, Mode.WITNESSED, fault)
