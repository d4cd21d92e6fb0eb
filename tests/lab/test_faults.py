"""Each fault once: never two claimants, the right node holds, nothing is lost; of the times only generous bounds."""

import pytest

from lab.cluster import Lab
from lab.fault_runs.faults import FAULTS, Fault
from lab.fault_runs.one import all_complaints, measure
from lab.fault_runs.scene import Scene

SLACK = 2  # times as long as promised: other programs run on the machine; `make faults` judges by the promises


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Scene:
    return Scene(lab).start()


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.title) for fault in FAULTS])
def test_a_fault_costs_no_more_than_promised(scene: Scene, lab: Lab, fault: Fault) -> None:
    runs = measure(scene, fault)
    assert [run.two for run in runs] == [0] * len(runs)
    assert not all_complaints(fault, runs, slack=SLACK)
