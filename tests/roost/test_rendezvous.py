from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.rendezvous import line, shared

NODES = [f"n{number}" for number in range(5)]
names = st.sets(st.sampled_from([f"b-{number}" for number in range(40)]), max_size=40)
some = st.sets(st.sampled_from(NODES), min_size=1)


def test_the_order_is_that_of_the_hashes() -> None:
    assert line("b-1", NODES) == sorted(NODES, key=lambda node: sha256(f"b-1/{node}".encode()).digest())[::-1]


@given(some, st.sampled_from(NODES))
def test_who_leaves_changes_nothing_between_the_others(nodes: set[str], goes: str) -> None:
    assert line("b-1", nodes - {goes}) == [node for node in line("b-1", nodes) if node != goes]


@given(names, st.dictionaries(st.sampled_from(NODES), st.integers(0, 9)), some)
def test_a_group_goes_to_a_node_that_may_hold_it_or_to_none(
    groups: set[str], load: dict[str, int], able: set[str]
) -> None:
    chosen = shared(groups, load, dict.fromkeys(groups, able))
    assert chosen.keys() == (groups if able & load.keys() else set())
    assert set(chosen.values()) <= able & load.keys()


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_no_node_gets_many_more_than_its_share(nodes: int) -> None:
    groups = [f"b-{number}" for number in range(128)]
    chosen = shared(groups, dict.fromkeys(NODES[:nodes], 0), dict.fromkeys(groups, frozenset(NODES)))
    shares = [list(chosen.values()).count(node) for node in NODES[:nodes]]
    assert sum(shares) == 128
    assert max(shares) <= 1.25 * 128 / nodes + 1


def test_who_is_crowded_is_passed_over() -> None:
    first, second = line("b-1", NODES[:2])
    may = {"b-1": frozenset(NODES)}
    assert shared(["b-1"], {first: 0, second: 0}, may) == {"b-1": first}
    assert shared(["b-1"], {first: 9, second: 0}, may) == {"b-1": second}
    assert shared(["b-1"], {first: 9}, may) == {"b-1": first}


def test_who_comes_last_gets_what_no_other_may_hold() -> None:
    groups, load = [f"b-{number}" for number in range(9)], dict.fromkeys(NODES[:2], 0)
    everywhere = dict.fromkeys(groups, frozenset(NODES))
    assert set(shared(groups, load, everywhere, {"n0"}).values()) == {"n1"}
    assert set(shared(groups, load, everywhere | {"b-3": frozenset({"n0"})}, {"n0"}).values()) == {"n0", "n1"}
    assert shared(groups, load, everywhere, {"n0", "n1"}) == shared(groups, load, everywhere)
