"""Two data networks on every node: each has its own table, seats and VIPs, and what breaks on one leaves the other."""

import signal
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from lab.api import Json
from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.two_wires import FIRST, NODES, SECOND, TABLES, World, opened


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab(nodes=3, second=True) as lab:
        lab.install()
        yield from opened(lab)


def test_each_vip_answers_on_its_own_segment_and_on_no_other(world: World) -> None:
    for segment, vips in world.vips.items():
        holder = world.answer_on(segment)
        mac = world.shop.lab.nodes[holder].leg(segment).mac
        with (
            world.shop.lab.ask(*vips, segment=segment) as here,
            world.shop.lab.ask(*vips, segment=FIRST if segment == SECOND else SECOND) as elsewhere,
        ):
            for vip in vips:
                wait_for(f"{vip} is answered for", lambda vip=vip: here.report(vip).macs)  # type: ignore[misc]
                assert here.report(vip).macs == [mac]
                assert elsewhere.report(vip).macs == []


def test_each_segment_has_its_own_seats_and_nothing_is_an_exception(world: World) -> None:
    world.wait_seats("Witnessed")
    for segment, name in TABLES.items():
        for row in world.table(segment)["seats"]:
            assert ip_address(row["addresses"][0]) in ip_network(name.replace("-", "/"))
            assert row["mac"] == world.shop.lab.nodes[row["node"]].leg(segment).mac
    holders = {segment: world.answer_on(segment) for segment in TABLES}
    for node in NODES:
        mine = 2 * [*holders.values()].count(node)
        status = world.wait_summary(node, f"{mine}/{mine}")
        assert status["vips"].get("exceptions", []) == []
        assert sorted(row["name"] for row in status["segments"]) == sorted(TABLES.values())
        assert sorted(row["interface"] for row in status["segments"]) == [FIRST, SECOND]


def test_a_killed_agent_moves_nothing(world: World) -> None:
    node = world.gather()
    epochs = [world.table(segment)["groups"] for segment in TABLES]
    agent = world.shop.lab.agents[node]
    former = agent.agent
    agent.agent_signal(signal.SIGKILL)
    wait_for("there is another agent", lambda: agent.agent not in (former, 0), alive=[agent])
    world.wait_seats("Witnessed")
    for segment in TABLES:
        assert world.answer_on(segment) == node
    assert [world.table(segment)["groups"] for segment in TABLES] == epochs
    world.never_two()


def test_a_link_that_goes_down_moves_only_what_is_on_it(world: World) -> None:
    node = world.gather()
    groups = world.table(FIRST)["groups"]
    world.shop.lab.link_down(node, SECOND)
    assert world.wait_moved(SECOND, node) != node
    assert world.answer_on(FIRST) == node
    assert world.table(FIRST)["groups"] == groups
    world.never_two()
    world.shop.lab.link_up(node, SECOND)
    world.wait_seats("Witnessed")
    world.wait("all may hold again", world.all_eligible)


def test_without_power_both_move(world: World) -> None:
    node = world.power_off()
    world.shop.lab.power_on(node)
    world.wait_seats("Witnessed")
    world.never_two()


def test_a_segment_for_some_nodes_is_left_by_the_others(world: World) -> None:
    """All leave the table of the subnet before any sits down in the new one; who is left out fences all the same."""
    lab, some = world.shop.lab, ("n1", "n2")
    for node in some:
        lab.api("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": {"row": "1"}}})
    spec = {"interfaces": [SECOND], "nodeSelector": {"matchLabels": {"row": "1"}}}
    world.never_two()
    began = time.time()
    lab.agents["n3"].agent_signal(signal.SIGSTOP)  # it dies before it knows; the next one leaves in its place
    lab.apply({"apiVersion": "roost.dev/v1alpha1", "kind": "Segment", "metadata": {"name": "row-1"}, "spec": spec})
    was, TABLES[SECOND] = TABLES[SECOND], "row-1"
    try:
        world.wait("two have left", lambda: world.former(was) == ["n3"])
        assert world.modes(SECOND) == {}
        lab.agents["n3"].agent_signal(signal.SIGKILL)
        world.wait("two have moved", lambda: world.modes(SECOND) == dict.fromkeys(some, "Witnessed"), 40)
        assert world.answer_on(SECOND) in some
        assert world.answer_on(FIRST)
        wait_for("n3 says so", lambda: says_not_selected(world.agent("n3"), world.vips[SECOND]), every=0.1)
        assert world.former(was) == []
    finally:
        TABLES[SECOND] = was
    for vip in world.vips[SECOND]:
        # Given on by each that left, and back where it was; two at once, asked every 20 ms, would change many times.
        assert len(world.claims.recording(since=began).of_vip(vip).hand_overs()) <= len(NODES)


def says_not_selected(agent: Json, vips: list[str]) -> bool:
    status = agent["status"]
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    told = {row["vip"]: row["reason"] for row in status["vips"].get("exceptions", [])}
    said = "Segment row-1 has data2 for other nodes" in ready["message"]
    return ready["status"] == "True" and said and told == dict.fromkeys(vips, "NotSelected")
