"""The faults of one share, each once in a lab that they share: what must be so whatever breaks. Times are printed."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

import pytest
from _pytest.mark import ParameterSet

from lab.fault_runs.faults import FAULTS, shares
from lab.fault_runs.mode import Mode
from lab.fault_runs.one import NOBODY, all_complaints, attempt
from lab.fault_runs.promises import Fault
from lab.fault_runs.report import sentence
from lab.fault_runs.theatre import Theatre

SHARES = 3  # of the witnessed faults: each a file of about four minutes
LEASED = ("power-off", "link-down", "agent-frozen", "restarted", "api-cut")  # done in leased mode too
LINES = 25  # of each agent's log that a failure shows


def cases(faults: Iterable[Fault]) -> list[ParameterSet]:
    return [pytest.param(fault, id=fault.title) for fault in faults]


def witnessed(share: int) -> list[ParameterSet]:
    """The faults of one of the shares, 0 to SHARES - 1, of all there are."""
    return cases(shares(FAULTS, Mode.WITNESSED, SHARES)[share])


def leased() -> list[ParameterSet]:
    return cases(fault for fault in FAULTS if fault.name in LEASED)


@contextmanager
def theatre() -> Iterator[Theatre]:
    with closing(Theatre()) as opened:
        yield opened


def breaks_no_promise(theatre: Theatre, mode: Mode, fault: Fault) -> None:
    """Never two claimants, the promised node holds, nothing is lost; what the clients missed is said, not judged."""
    scene = theatre.scene(mode, fault.stage)
    runs = attempt(scene, fault, attempts=1)
    found = all_complaints(fault, runs, timed=False)
    logs = [f"{agent.name}:\n{agent.tail(LINES)}" for agent in scene.lab.agents.values()] if found else []
    sys.stdout.write("\n".join([sentence(fault, runs), *logs, ""]))
    if runs[-1].holder == NOBODY:
        theatre.close()
    assert [run.two for run in runs] == [0] * len(runs)
    assert not found
