"""The fake API server keeps what the real one promises; tests/lab/test_kube.py asks the real one the same."""

import pytest

from roost.kube.client import Unknown
from roost.kube.wire import LEASES
from tests.fakes.api import FakeApi, Fault
from tests.fakes.contract import CASES, lease


@pytest.mark.parametrize("name", CASES)
async def test_contract(name: str) -> None:
    await CASES[name](FakeApi().kube(), "default")


@pytest.mark.parametrize(
    ("fault", "at_once", "delivered"),
    [
        pytest.param(Fault.LOST, False, False, id="lost: never written"),
        pytest.param(Fault.ANSWER_LOST, True, True, id="answer lost: written"),
        pytest.param(Fault.LATE, False, True, id="late: written when it arrives"),
    ],
)
async def test_faults_leave_the_writer_in_doubt(fault: Fault, at_once: bool, delivered: bool) -> None:
    api = FakeApi()
    api.fail(fault, "POST", LEASES)
    assert isinstance(await api.kube().create(LEASES, lease("default")), Unknown)
    assert bool(api.all(LEASES)) is at_once
    api.deliver()
    assert bool(api.all(LEASES)) is delivered
