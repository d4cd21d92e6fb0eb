"""The gate in the kernel of the box, which has what the machine's own may lack."""

import pytest

from tests.lab.gate_in_kernel import (
    TestAMachineWithoutWhatAGateNeeds,
    TestATableOfAnotherShape,
    TestEveryWayToClaim,
    TestGateInTheKernel,
    TestGatesInTheKernel,
    TestPermitsInTheKernel,
    devices,
    form,
    gate,
    segment,
    stage,
    test_a_flushed_ruleset_is_noticed_at_the_next_meal,
    test_a_killed_process_leaves_the_gate_standing_and_the_permit_running_out,
    test_a_process_that_was_stopped_renews_nothing_when_it_wakes_up,
    test_a_second_device_on_the_same_segment_is_fenced_too,
    test_a_vip_on_another_device_is_fenced_too,
    test_a_vip_on_every_nodes_kube_ipvs0_is_answered_by_its_holder_alone,
    test_an_heir_knows_at_once_what_may_not_be_claimed,
    test_data_from_a_vip_is_no_claim,
    test_every_address_of_a_pool_is_fenced_before_it_is_a_vip,
    test_nft_takes_the_rules_with_what_they_fence_in_them,
    test_no_answer_is_lost_while_the_permit_is_fed,
    test_sets_that_another_changed_are_read_again,
    test_the_gate_returns_with_a_device_that_was_replaced,
    test_the_nodes_own_address_is_never_touched,
)

__all__ = [
    "TestAMachineWithoutWhatAGateNeeds",
    "TestATableOfAnotherShape",
    "TestEveryWayToClaim",
    "TestGateInTheKernel",
    "TestGatesInTheKernel",
    "TestPermitsInTheKernel",
    "devices",
    "form",
    "gate",
    "segment",
    "stage",
    "test_a_flushed_ruleset_is_noticed_at_the_next_meal",
    "test_a_killed_process_leaves_the_gate_standing_and_the_permit_running_out",
    "test_a_process_that_was_stopped_renews_nothing_when_it_wakes_up",
    "test_a_second_device_on_the_same_segment_is_fenced_too",
    "test_a_vip_on_another_device_is_fenced_too",
    "test_a_vip_on_every_nodes_kube_ipvs0_is_answered_by_its_holder_alone",
    "test_an_heir_knows_at_once_what_may_not_be_claimed",
    "test_data_from_a_vip_is_no_claim",
    "test_every_address_of_a_pool_is_fenced_before_it_is_a_vip",
    "test_nft_takes_the_rules_with_what_they_fence_in_them",
    "test_no_answer_is_lost_while_the_permit_is_fed",
    "test_sets_that_another_changed_are_read_again",
    "test_the_gate_returns_with_a_device_that_was_replaced",
    "test_the_nodes_own_address_is_never_touched",
]


@pytest.fixture
def dummy() -> str:
    """As kube-proxy makes kube-ipvs0."""
    return "dummy"
