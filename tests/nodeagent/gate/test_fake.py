"""The gate in memory keeps the contract of the gate in the kernel."""

from ipaddress import ip_address as ip

import pytest

from nodeagent.gate.fake import ETHERNET, LOOPBACK, FakeGate, FakeGates
from tests.nodeagent.gate.contract import Devices, GateContract, GatesContract, PermitsContract, Stage


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def stage() -> Stage:
    time = Time()
    gate = FakeGate("eth0", lambda: time.now)
    gate.install()
    return Stage(gate, lambda: time.now, time.pass_)


@pytest.fixture
def devices() -> Devices:
    time = Time()
    hardware = {"lo": LOOPBACK, "uplink": ETHERNET, "second": ETHERNET}
    gates = FakeGates(["uplink", "second"], lambda: time.now, hardware=hardware)
    gates.install()

    def make(device: str) -> None:
        hardware[device] = ETHERNET

    def take(device: str) -> None:
        del hardware[device]

    return Devices(gates, gates.permits, lambda: time.now, time.pass_, make, take)


class TestFakeGate(GateContract):
    pass


class TestFakePermits(PermitsContract):
    pass


class TestFakeGates(GatesContract):
    pass


def test_a_claim_passes_while_its_vip_is_held_and_the_permit_lives() -> None:
    time = Time()
    gate = FakeGate("eth0", lambda: time.now)
    vip = ip("10.1.0.100")
    gate.install()
    gate.guard({vip})
    assert not gate.passes(vip)
    gate.hold({vip})
    assert not gate.passes(vip)
    gate.permit_create(600)
    assert gate.passes(vip)
    time.pass_(0.6)
    assert not gate.passes(vip)
    assert gate.passes(ip("10.1.0.1"))
