import itertools
from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudprovider.pools.ranges import Range, Runs, merged, read


def span(first: str, last: str) -> Range:
    return Range(ip(first).version, int(ip(first)), int(ip(last)))


@pytest.mark.parametrize(
    ("text", "skip_ends", "expected"),
    [
        pytest.param("192.0.2.7", True, span("192.0.2.7", "192.0.2.7"), id="one address"),
        pytest.param("192.0.2.0/28", True, span("192.0.2.1", "192.0.2.14"), id="a CIDR loses network and broadcast"),
        pytest.param("192.0.2.0/28", False, span("192.0.2.0", "192.0.2.15"), id="a CIDR keeps its ends if told so"),
        pytest.param("192.0.2.6/31", True, span("192.0.2.6", "192.0.2.7"), id="a /31 has no ends"),
        pytest.param("192.0.2.6/32", True, span("192.0.2.6", "192.0.2.6"), id="a /32 has no ends"),
        pytest.param("192.0.2.0-192.0.2.3", True, span("192.0.2.0", "192.0.2.3"), id="first-last is taken at its word"),
        pytest.param(" 192.0.2.1 - 192.0.2.3 ", True, span("192.0.2.1", "192.0.2.3"), id="blanks do no harm"),
        pytest.param(
            "2001:db8::/64", True, span("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"), id="routers' anycast"
        ),
        pytest.param("2001:db8::/64", False, span("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"), id="a whole /64"),
        pytest.param("2001:db8::1-2001:db8::9", True, span("2001:db8::1", "2001:db8::9"), id="IPv6 first-last"),
    ],
)
def test_read(text: str, skip_ends: bool, expected: Range) -> None:
    assert read(text, skip_ends=skip_ends) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("192.0.2.9-192.0.2.1", "first is after last", id="first after last"),
        pytest.param("192.0.2.1-2001:db8::1", "different families", id="two families"),
        pytest.param("192.0.2.5/28", "host bits set", id="host bits"),
        pytest.param("rubbish", "does not appear to be", id="no address"),
        pytest.param("", "does not appear to be", id="nothing"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read(text, skip_ends=True)


def test_merged_ranges_are_disjoint_and_ascending() -> None:
    ranges = [span("192.0.2.8", "192.0.2.9"), span("192.0.2.1", "192.0.2.4"), span("192.0.2.3", "192.0.2.7")]
    assert merged([*ranges, span("::1", "::2")]) == (span("192.0.2.1", "192.0.2.9"), span("::1", "::2"))


numbers = st.integers(0, 40)


@given(st.lists(st.tuples(st.booleans(), numbers), max_size=80), numbers, numbers)
def test_runs_behave_as_a_set(changes: list[tuple[bool, int]], one: int, other: int) -> None:
    runs, model = Runs(), set[int]()
    for add, number in changes:
        (runs.add if add else runs.remove)(number)
        (model.add if add else model.discard)(number)
    first, last = min(one, other), max(one, other)
    free = [number for number in range(first, last + 1) if number not in model]
    assert all((number in runs) == (number in model) for number in range(41))
    assert runs.lowest_free(first, last) == (free[0] if free else None)
    assert runs.highest_free(first, last) == (free[-1] if free else None)
    assert runs.count(first, last) == last - first + 1 - len(free)
    ends = list(runs)
    assert all(a_last + 1 < b_first for (_, a_last), (b_first, _) in itertools.pairwise(ends))
