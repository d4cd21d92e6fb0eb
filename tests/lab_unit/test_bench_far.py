"""What the benchmark makes of a router's record, of faults that were seen, and of an audit log."""

from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from lab.bench import far, paths
from lab.bench.agents import exceptions, far_node
from lab.bench.figures import Figure
from lab.bench.writes import Written, figures
from lab.probes import Request
from lab.routed import FAULTS, Seen
from lab.routers.mrt import State
from lab.routers.values import Path
from roost.words import Reason

PATH = Path(ip_network("10.99.0.1/32"), "n1")


def states(*said: tuple[float, str]) -> list[State]:
    """At each time, the initials of those who announce."""
    return [State(time, dict.fromkeys(names, PATH)) for time, names in said]


ALL = states((1, "a"), (2, "ab"), (3, "abc"), (5, "bc"), (6, "c"), (7, ""))


@pytest.mark.parametrize(
    ("said", "count", "since", "when"),
    [
        pytest.param(ALL, 1, 0, 1, id="the first of them"),
        pytest.param(ALL, 3, 0, 3, id="all of them"),
        pytest.param(ALL, 2, 4, 5, id="what was before does not count"),
        pytest.param(ALL, 4, 0, None, id="as many as never were"),
        pytest.param([], 1, 0, None, id="nobody said anything"),
    ],
)
def test_when_so_many_announced_it(said: list[State], count: int, since: float, when: float | None) -> None:
    assert far.told_by(said, count, since) == when


@pytest.mark.parametrize(
    ("said", "when"),
    [
        pytest.param(ALL, 7, id="the last one withdrew"),
        pytest.param(ALL[:-1], None, id="one still announces it"),
        pytest.param([*ALL, State(9, {})], 7, id="who says so once more changes nothing"),
        pytest.param(states((1, "")), 1, id="it never was announced"),
        pytest.param([], None, id="nothing is known"),
    ],
)
def test_when_the_last_one_ceased(said: list[State], when: float | None) -> None:
    assert far.silent_since(said) == when


def test_a_fault_has_figures_and_wrong_paths_miss_their_budget() -> None:
    found = {f.what: f for f in far.figures("drain", [Seen(0.5, 3, 0.4, ("x from y by z",), 1), Seen(0, 0, 0, (), 0)])}
    assert found["drain: first to last connection that failed"].values == (0.5, 0)
    wrong = found["drain: wrong paths at the router"]
    assert (wrong.met, wrong.note) == (False, "x from y by z")
    assert not list(far.figures("drain", []))


def test_faults_are_those_of_the_scene() -> None:
    assert {*far.OUR_FAULTS} == {*FAULTS} - {"power-off"}
    assert {*far.BARE_FAULTS} <= {*far.OUR_FAULTS}


def test_half_of_the_paths_are_of_each_family_and_none_comes_twice() -> None:
    first, more = paths.prefixes(300), paths.prefixes(2, 300)
    assert Counter(map(type, first)) == {IPv4Network: 300, IPv6Network: 300}
    assert len({*first, *more}) == 604
    assert all(path.num_addresses == 1 for path in first)


def test_a_node_that_does_not_exist_is_ready() -> None:
    node = far_node(7)
    assert node["metadata"]["name"] == "far-007"
    assert [(c["type"], c["status"]) for c in node["status"]["conditions"]] == [("Ready", "True")]
    assert exceptions(["10.0.0.1"], "tor") == {"10.0.0.1": (Reason.PEER_DOWN, "no session with tor")}


CONTROLLER, AGENT = "system:x:roost-cloudprovider", "system:x:roost-nodeagent"
LOG = {
    Request(CONTROLLER, "patch", "virtualips/status"): 5,
    Request(CONTROLLER, "update", "leases"): 9,
    Request(CONTROLLER, "list", "virtualips/status"): 9,
    Request(AGENT, "patch", "nodeagents/status", "far-001"): 2,
    Request(AGENT, "patch", "nodeagents/status", "far-002"): 1,
    Request("admin", "create", "services"): 9,
}


def test_writes_are_counted_by_vip_and_by_touched_node() -> None:
    found = {f.what: f for f in figures("up", Written(LOG, 1, 1.0), 10, ["far-001"])}
    assert _values(found, "writes of a VIP's status") == (0.5,)
    touched = found["up: writes of the NodeAgent of a touched node"]
    assert (touched.values, touched.met) == ((2.0,), False)
    assert _values(found, "writes of other NodeAgents, by VIP") == (0.1,)
    told = Written(LOG, 1, 1.0).told()
    assert told == "5 virtualips/status of the controller, 3 nodeagents/status of the agents"


def _values(found: dict[str, Figure], what: str) -> tuple[float, ...]:
    return found[f"up: {what}"].values
