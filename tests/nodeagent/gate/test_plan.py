"""The gate's decisions: its rules, its transactions, and how a permit is fed."""

import errno
from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.gate import plan
from nodeagent.gate.fake import FakeGate
from nodeagent.gate.plan import Address, Change, KernelRefused, changes, feed, fingerprint, ruleset, supported

addresses = st.frozensets(st.ip_addresses(), max_size=12)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        pytest.param("5.15.0-130-generic", False, id="netdev egress came with 5.16"),
        pytest.param("5.16.0", True, id="the first that has it"),
        pytest.param("6.18.44", True, id="a new one"),
        pytest.param("10.0-rc1", True, id="numbers are compared as numbers"),
        pytest.param("strange", False, id="what cannot be read is not trusted"),
    ],
)
def test_supported(release: str, expected: bool) -> None:
    assert supported(release) == expected


def test_the_rules_drop_each_kind_of_claim_for_want_of_either() -> None:
    rules = [line.strip() for line in ruleset("eth0").splitlines() if line.endswith("drop")]
    assert len(rules) == plan.RULES
    for claim in (
        "arp saddr ip @vips4",
        "nd-neighbor-advert @th,64,128 @vips6",
        "nd-neighbor-solicit @nh,64,128 @vips6",
    ):
        wants = {rule.split("@")[-1] for rule in rules if claim in rule}
        assert wants in ({"held4 drop", "permit drop"}, {"held6 drop", "permit drop"})


def test_the_rules_fence_vips_from_the_first_moment_on() -> None:
    text = ruleset("eth0", {ip("10.1.0.101"), ip("10.1.0.100"), ip("fd01::100")})
    assert "elements = { 10.1.0.100, 10.1.0.101 }" in text
    assert "elements = { 0xfd010000000000000000000000000100 }" in text
    assert "elements" not in ruleset("eth0")


def test_the_fingerprint_tells_shapes_apart_and_not_their_vips() -> None:
    assert fingerprint("eth0") != fingerprint("eth1")
    assert fingerprint("eth0") in ruleset("eth0", {ip("10.1.0.100")})


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
