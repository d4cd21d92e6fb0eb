"""The gate's decisions: its ranges, its transactions, and how a permit is fed."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.gate import plan
from nodeagent.gate.fake import FakeGate
from nodeagent.gate.plan import Address, Change, KernelRefused, Outcome, Range, changes, feed, merged, unfit, without

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
    anew=st.booleans(),
)
def test_no_stall_makes_a_permit_outlive_its_deadline(
    gaps: list[float], seconds: float, had: int | None, anew: bool
) -> None:
    """Time jumps between each look at the clock and what follows it."""
    clock = Stalls(gaps)
    gate = FakeGate("eth0", lambda: clock.now)
    gate.install()
    if had is not None:
        gate.permit_create(had)
    deadline = clock.now + seconds
    fed = feed(gate.gates.permits.of("eth0"), deadline, clock, anew=anew)
    stands = gate.read().permit_ms is not None
    if stands:
        assert (gate.permitted_until or 0) <= deadline + 1e-6
        assert anew or had is not None
    if fed:
        assert gate.permitted_until is not None
        assert deadline - gate.permitted_until <= (plan.MOMENT_MS + 1) / 1000 + 1e-6
    else:
        assert not stands


def test_a_stop_between_clock_and_kernel_renews_nothing() -> None:
    """Stopped for two seconds right after the clock was read, with more than that left of the old permit."""
    clock = Stalls([])
    gate = FakeGate("eth0", lambda: clock.now)
    gate.install()
    gate.permit_create(4000)
    clock.gaps = [2.0]
    gate.feed(clock.now + 6, clock)
    assert gate.permitted_until is not None
    assert gate.permitted_until <= 106.0


@dataclass
class Script:
    """A permit that answers as it is told, and remembers what it was asked."""

    outcomes: list[Outcome]
    asked: list[tuple[str, int]] = field(default_factory=list)

    def permit_stage(self, milliseconds: int) -> None:
        self.asked.append(("stage", milliseconds))

    def permit_give(self, milliseconds: int, *, anew: bool) -> Outcome:
        self.asked.append(("give", milliseconds))
        return self.outcomes.pop(0)

    def permit_revoke(self) -> None:
        self.asked.append(("revoke", 0))


TRIED = [("stage", 30), ("give", 5970)]


@pytest.mark.parametrize(
    ("deadline", "outcomes", "fed", "asked"),
    [
        pytest.param(6.0, [Outcome.GIVEN], True, TRIED, id="as a rule"),
        pytest.param(6.0, [Outcome.LATE, Outcome.GIVEN], True, TRIED * 2, id="late once"),
        pytest.param(6.0, [Outcome.LATE] * 3, False, [*TRIED * 3, ("revoke", 0)], id="late each time: it must end"),
        pytest.param(6.0, [Outcome.LAPSED], False, TRIED, id="it ended, and is not made anew"),
        pytest.param(0.05, [Outcome.GIVEN], True, [("stage", 30), ("give", 20)], id="as short as it may be"),
        pytest.param(0.049, [], False, [("stage", 30), ("revoke", 0)], id="too short"),
        pytest.param(-1.0, [], False, [("stage", 30), ("revoke", 0)], id="over"),
    ],
)
def test_a_meal(deadline: float, outcomes: list[Outcome], fed: bool, asked: list[tuple[str, int]]) -> None:
    permit = Script(outcomes)
    assert feed(permit, deadline, lambda: 0.0) == fed
    assert permit.asked == asked


def test_feeding_says_aloud_that_there_is_no_table() -> None:
    gate = FakeGate("eth0", lambda: 0.0)
    with pytest.raises(KernelRefused):
        gate.feed(6.0, lambda: 0.0)
