"""Many Services come and go, everything is killed and started again, and at last all is stopped: nothing is left."""

import pytest

from lab.cluster import Lab
from lab.fault_runs import churn, leftovers
from lab.fault_runs.scene import wait_for_lists
from lab.run import wait_for

REST = 2  # seconds that a released address rests here; `make faults` does the same with the usual 60 s
CYCLES = 200


@pytest.fixture(scope="module")
def bare(lab: Lab) -> leftovers.Traces:
    """How nodes look before any agent ran there."""
    for node in lab.nodes:
        lab.add_backend(f"web-{node}", node)
    wait_for_lists(lab)
    return leftovers.traces(lab)


@pytest.fixture(scope="module")
def fresh(lab: Lab, bare: leftovers.Traces) -> leftovers.Traces:
    """How all looks while both programs run and there never was a Service."""
    assert not any("roost" in line for lines in bare.rules.values() for line in lines)
    churn.start(lab, rest=REST)
    return leftovers.traces(lab)


def test_an_agent_without_services_leaves_addresses_alone(
    lab: Lab, bare: leftovers.Traces, fresh: leftovers.Traces
) -> None:
    assert fresh.addresses == bare.addresses
    assert sorted(fresh.leases) == sorted([*lab.nodes, "roost-cloud-controller"])
    assert fresh.vips == []


def test_services_that_came_and_went_leave_nothing(lab: Lab, fresh: leftovers.Traces) -> None:
    before = leftovers.steady_upkeep(lab)
    churn.cycle(lab, CYCLES)
    left = leftovers.wait_until_like(lab, fresh, leftovers.REMEMBERED + REST) + leftovers.wait_for_upkeep(lab, before)
    assert not left, "\n".join(left)


def test_the_end_of_all_programs_leaves_nothing(lab: Lab, fresh: leftovers.Traces) -> None:
    before = leftovers.steady_upkeep(lab)
    churn.kill_everything_amid_services(lab, rest=REST)
    left = leftovers.wait_until_like(lab, fresh, leftovers.REMEMBERED + REST) + leftovers.wait_for_upkeep(lab, before)
    assert not left, "\n".join(left)


def test_agents_that_are_excluded_and_stopped_leave_their_nodes_as_they_found_them(
    lab: Lab, bare: leftovers.Traces, fresh: leftovers.Traces
) -> None:
    names = ["last-4", "last-6", "last-46"]
    churn.create(lab, names)
    wait_for("VIPs are announced", lambda: churn.announced(lab))
    churn.exclude(lab)
    for agent in lab.agents.values():
        agent.sigterm()
    for agent in lab.agents.values():
        assert agent.wait() == 0
    now = leftovers.traces(lab)
    assert now.addresses == bare.addresses
    assert not [line for lines in now.rules.values() for line in lines if "roost" in line]
