"""The gate's decisions: its ranges, its transactions, and how a permit is fed."""

import errno
import itertools
from collections.abc import Iterable
from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.gate import plan
from nodeagent.gate.fake import FakeGate
from nodeagent.gate.plan import Address, Change, KernelRefused, Range, changes, feed, merged, unfit, without

addresses = st.frozensets(st.ip_addresses(), max_size=12)


ranges = st.lists(
    st.one_of(
        st.tuples(*[st.integers(0, 40).map(lambda n: ip("10.0.0.0") + n)] * 2),
        st.tuples(*[st.integers(0, 40).map(lambda n: ip("fd00::") + n)] * 2),
    ).map(lambda two: Range(min(two, key=int), max(two, key=int))),
    max_size=8,
)
every = [ip(first) + n for first in ("10.0.0.0", "fd00::") for n in range(42)]


def among(several: Iterable[Range]) -> set[Address]:
    return {address for address in every if any(address in one for one in several)}


@given(ranges)
def test_merging_keeps_every_address_and_leaves_no_two_that_touch(several: list[Range]) -> None:
    one = merged(several)
    assert among(one) == among(several)
    assert merged(one) == one
    assert all(
        before.first.version != after.first.version or int(before.last) + 1 < int(after.first)
        for before, after in itertools.pairwise(one)
    )


@given(ranges, st.sets(st.sampled_from(every)))
def test_the_nodes_own_addresses_are_cut_out_and_nothing_else(several: list[Range], own: set[Address]) -> None:
    rest = without(several, own)
    assert among(rest) == among(several) - own
    assert rest == merged(rest)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        pytest.param("10.0.0.0/24", "10.0.0.0", "10.0.0.255", id="a network, its first and last too"),
        pytest.param("10.0.0.7/24", "10.0.0.0", "10.0.0.255", id="a network written by one of its addresses"),
        pytest.param("10.0.0.7 - 10.0.0.9", "10.0.0.7", "10.0.0.9", id="from to"),
        pytest.param("fd00::7", "fd00::7", "fd00::7", id="one address"),
    ],
)
def test_a_range_is_read_as_pools_are_written(text: str, first: str, last: str) -> None:
    assert Range.parse(text) == Range(ip(first), ip(last))


@pytest.mark.parametrize("text", ["10.0.0.9-10.0.0.7", "10.0.0.1-fd00::1", "all", "10.0.0.1-"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|appear"):
        Range.parse(text)


@pytest.mark.parametrize(
    ("device", "hardware", "expected"),
    [
        pytest.param("eth0", 1, "", id="Ethernet"),
        pytest.param("eth0.100", 1, "", id="a VLAN"),
        pytest.param("eth0", None, "no such device", id="none"),
        pytest.param("lo", 772, "loopback", id="loopback"),
        pytest.param("wg0", 65534, "not Ethernet", id="WireGuard"),
        pytest.param('e"0', 1, "its name", id="a name that ends nft's strings"),
        pytest.param("eth*", 1, "its name", id="a name that means several"),
    ],
)
def test_where_a_gate_can_stand(device: str, hardware: int | None, expected: str) -> None:
    why = unfit(device, hardware)
    assert expected in why
    assert bool(why) == bool(expected)


@given(have=addresses, want=addresses, largest=st.integers(1, 5))
def test_changes_lead_to_what_is_wanted_silence_first(
    have: frozenset[Address], want: frozenset[Address], largest: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "LARGEST", largest)
        done = list(changes(have, want))
    now, added = set(have), False
    for change in done:
        assert 0 < len(change.remove) + len(change.add) <= largest
        assert not (added and change.remove)
        added = bool(change.add)
        now = now - set(change.remove) | set(change.add)
    assert now == want


def test_a_small_change_is_one_transaction() -> None:
    assert list(changes({ip("10.1.0.1"), ip("fd01::1")}, {ip("10.1.0.2")})) == [
        Change((ip("10.1.0.1"), ip("fd01::1")), (ip("10.1.0.2"),))
    ]


class Stalls:
    """A clock on which the process is stopped before some of its looks and after others."""

    def __init__(self, gaps: list[float]) -> None:
        self.now, self.gaps = 100.0, gaps

    def __call__(self) -> float:
        seen = self.now
        self.now += self.gaps.pop() if self.gaps else 0.0
        return seen


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.001, 0.03, 0.06, 0.7, 9.0]), max_size=12),
    seconds=st.floats(-1, 10),
    had=st.sampled_from([None, 30, 600, 6000]),
)
def test_no_stall_prolongs_a_permit_by_more_than_a_moment(gaps: list[float], seconds: float, had: int | None) -> None:
    """Time jumps between each look at the clock and what follows it: the permit never outlives the deadline."""
    clock = Stalls(gaps)
    gate = FakeGate("eth0", lambda: clock.now)
    gate.install()
    if had is not None:
        gate.permit_create(had)
    deadline = clock.now + seconds
    fed = feed(gate, deadline, clock)
    moment = plan.MOMENT_MS / 1000 + 1e-6
    if gate.permitted_until is not None and gate.read().permit_ms is not None:
        assert gate.permitted_until <= max(deadline, clock.now) + moment
    if fed:
        assert gate.permitted_until is not None
        assert deadline - 0.002 <= gate.permitted_until <= deadline + moment


def test_a_stop_between_clock_and_kernel_renews_nothing() -> None:
    """Stopped for two seconds right after the clock was read, with more than that left of the old permit."""
    clock = Stalls([])
    gate = FakeGate("eth0", lambda: clock.now)
    gate.install()
    gate.permit_create(4000)
    clock.gaps = [2.0, 0.0]  # the second look
    gate.feed(clock.now + 6, clock)
    assert gate.permitted_until is not None
    assert gate.permitted_until <= 106.001


def test_a_permit_that_lapsed_is_made_anew_for_a_moment_first() -> None:
    asked = list[tuple[str, int]]()

    class Lapsed:
        def permit_create(self, milliseconds: int) -> None:
            asked.append(("create", milliseconds))

        def permit_refresh(self, milliseconds: int) -> bool:
            asked.append(("refresh", milliseconds))
            return len(asked) > 1

        def permit_revoke(self) -> None:
            asked.append(("revoke", 0))

    assert feed(Lapsed(), 6.0, lambda: 0.0)
    assert asked == [("refresh", 50), ("create", 50), ("refresh", 6000)]


class Never:
    """A permit that cannot be had."""

    def __init__(self, code: int) -> None:
        self.code = code

    def permit_create(self, milliseconds: int) -> None:
        raise KernelRefused(self.code, "permit")

    def permit_refresh(self, milliseconds: int) -> bool:
        return False

    def permit_revoke(self) -> None: ...


def test_feeding_gives_up_where_another_makes_the_permit_each_time() -> None:
    assert not feed(Never(errno.EEXIST), 6.0, lambda: 0.0)


def test_feeding_says_aloud_that_there_is_no_table() -> None:
    with pytest.raises(KernelRefused):
        feed(Never(errno.ENOENT), 6.0, lambda: 0.0)
