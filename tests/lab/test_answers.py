"""A Service from end to end: it gets its addresses, answers at them through one node, and is gone after deletion."""

import time
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address

import pytest

from lab.cluster import Lab
from lab.probes import AskProbe, ClaimProbe
from lab.run import wait_for
from tests.lab.shop import CLIENT, FOUR, SIX, Shop, Wanted, open_shop


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.fixture(scope="module")
def claims(shop: Shop) -> Iterator[ClaimProbe]:
    with shop.lab.claims() as probe:
        yield probe


@pytest.mark.parametrize("traffic", ["Cluster", "Local"])
@pytest.mark.parametrize(
    "families",
    [
        pytest.param((FOUR,), id="IPv4"),
        pytest.param((SIX,), id="IPv6"),
        pytest.param((FOUR, SIX), id="dual stack, IPv4 first"),
        pytest.param((SIX, FOUR), id="dual stack, IPv6 first"),
    ],
)
def test_a_service_answers_from_one_node_and_is_gone_after_deletion(
    shop: Shop, claims: ClaimProbe, families: tuple[str, ...], traffic: str
) -> None:
    began = time.time()
    shop.make(Wanted("life", families, traffic))
    addresses = shop.wait_addresses("life", len(families))
    assert [f"IPv{ip_address(address).version}" for address in addresses] == list(families)
    with shop.lab.ask(*addresses) as questions:
        for address in addresses:
            backend, client = shop.wait_answer(address, by="web-").split()
            version = ip_address(address).version
            assert (client == CLIENT[version]) or traffic == "Cluster", "policy Local keeps the client's address"
            macs = wait_for("an answer to ARP or NDP", partial(answering, questions, address))
            assert len(macs) == 1
            assert len({claim.claimant for claim in claims.recording(since=began).of_vip(address).claims}) == 1
            assert backend == f"web-{shop.holder(address)}" or traffic == "Cluster"
            assert shop.carriers(address) == {shop.holder(address)}
    shop.wait_condition("life", "Announced", "True", "Announced")
    shop.lab.api("DELETE", "/api/v1/namespaces/default/services/life")
    for address in addresses:
        shop.wait_rest(address)
    shop.wait_deleted("life")
    shop.wait_gone(*addresses)
    for address in addresses:
        shop.wait_free(address)
    assert claims.recording(since=began).seconds_with_two() == 0


def answering(questions: AskProbe, address: str) -> list[str]:
    return questions.report(address).macs


def test_two_services_at_once_have_an_address_each(shop: Shop) -> None:
    shop.make(Wanted("left"))
    shop.make(Wanted("right", traffic="Local"))
    (left,), (right,) = shop.wait_addresses("left"), shop.wait_addresses("right")
    assert left != right
    shop.wait_answer(left)
    shop.wait_answer(right)
    shop.delete("left")
    shop.wait_gone(left)
    assert shop.answer(right), "the other one goes on"
    shop.delete("right")


@pytest.mark.parametrize("traffic", ["Cluster", "Local"])
def test_no_endpoint_no_announcement(shop: Shop, traffic: str) -> None:
    shop.lab.add_backend("lone-0", "n1")
    shop.make(Wanted("lone", (FOUR, SIX), traffic, app="lone"))
    addresses = shop.wait_addresses("lone", 2)
    for address in addresses:
        shop.wait_answer(address, by="lone-0")
    shop.lab.remove_backend("lone-0")
    shop.wait_condition("lone", "Announced", "False", "NoEndpoints")
    shop.wait_gone(*addresses)
    assert shop.addresses("lone") == addresses, "they stay its own"
    shop.lab.add_backend("lone-1", "n2")
    for address in addresses:
        shop.wait_answer(address, by="lone-1")
    shop.wait_condition("lone", "Announced", "True", "Announced")
    shop.delete("lone")
    shop.lab.remove_backend("lone-1")


def test_with_policy_local_only_a_node_with_an_endpoint_holds_and_it_moves_with_them(shop: Shop) -> None:
    shop.lab.add_backend("solo-0", "n1")
    shop.make(Wanted("solo", (FOUR, SIX), "Local", app="solo"))
    addresses = shop.wait_addresses("solo", 2)
    for address in addresses:
        shop.wait_answer(address, by="solo-0")
        assert shop.holder(address) == "n1"
    began = time.time()
    with shop.lab.claims(addresses) as claims:
        shop.lab.add_backend("solo-1", "n3")
        shop.lab.remove_backend("solo-0")
        for address in addresses:
            shop.wait_answer(address, by="solo-1")
            assert shop.holder(address) == "n3"
        assert claims.recording(since=began).seconds_with_two() == 0
    shop.delete("solo")
    shop.lab.remove_backend("solo-1")
