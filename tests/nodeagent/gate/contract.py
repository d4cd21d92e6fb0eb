"""What every gate and every permit does, those in memory and those in the kernel."""

import errno
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from nodeagent.gate.apply import Gate, Gates
from nodeagent.gate.fake import FakeGate, FakeGates, FakePermits
from nodeagent.gate.permits import Permits
from nodeagent.gate.plan import MOMENT_MS, Address, Have, KernelRefused, NoGate, Outcome, Range

ONE, TWO, SIX = ip_address("10.1.0.100"), ip_address("10.1.0.101"), ip_address("fd01::100")
LONG = 10_000  # milliseconds
MANY: frozenset[Address] = frozenset(
    [
        *(ip_address(f"10.2.{n // 250}.{n % 250}") for n in range(2500)),
        *(ip_address(f"fd02::{n:x}") for n in range(2500)),
    ]
)


@dataclass
class Stage:
    """A gate that is installed, on a clock (seconds), and a way to let time pass on it."""

    gate: Gate | FakeGate
    clock: Callable[[], float]
    wait: Callable[[float], None]


@dataclass
class Devices:
    """Gates that are installed on `uplink` and `second`, and permits of another process beside them.

    *make* and *take* have a device appear and vanish; `lo` is there.
    """

    gates: Gates | FakeGates
    permits: Permits | FakePermits
    clock: Callable[[], float]
    wait: Callable[[float], None]
    make: Callable[[str], None]
    take: Callable[[str], None]


class GateContract:
    """Classes that inherit this give a fixture `stage`."""

    def test_a_new_gate_fences_nothing_and_has_no_permit(self, stage: Stage) -> None:
        assert stage.gate.install() == Have(frozenset(), frozenset(), None)
        assert stage.gate.standing()

    def test_what_is_guarded_and_held_is_read_back(self, stage: Stage) -> None:
        stage.gate.guard({ONE, TWO, SIX})
        stage.gate.hold({ONE, SIX})
        assert stage.gate.read() == Have(frozenset({ONE, TWO, SIX}), frozenset({ONE, SIX}), None)
        stage.gate.hold({TWO})
        stage.gate.guard({TWO})
        assert stage.gate.read() == Have(frozenset({TWO}), frozenset({TWO}), None)

    def test_five_thousand_vips_come_and_go(self, stage: Stage) -> None:
        stage.gate.guard(MANY)
        stage.gate.hold(MANY)
        assert stage.gate.read() == Have(MANY, MANY, None)
        stage.gate.hold(set())
        assert stage.gate.read().held == frozenset()

    def test_installing_again_adopts_what_stands(self, stage: Stage) -> None:
        stage.gate.guard({ONE, SIX})
        stage.gate.hold({SIX})
        stage.gate.permit_create(5000)
        have = stage.gate.install()
        assert have == Have(frozenset({ONE, SIX}), frozenset({SIX}), have.permit_ms)
        assert 3000 < (have.permit_ms or 0) <= 5000

    def test_a_permit_is_created_once(self, stage: Stage) -> None:
        stage.gate.permit_create(5000)
        with pytest.raises(KernelRefused) as refused:
            stage.gate.permit_create(5000)
        assert refused.value.errno == errno.EEXIST

    def test_what_is_given_is_the_time_that_is_left(self, stage: Stage) -> None:
        for milliseconds in (5000, 60_000, 1000):
            stage.gate.permit_stage(LONG)
            assert stage.gate.permit_give(milliseconds, anew=True) is Outcome.GIVEN
            assert 0 <= milliseconds - (stage.gate.read().permit_ms or 0) < 500

    def test_a_permit_lapses_by_itself_and_is_made_anew_only_where_it_may(self, stage: Stage) -> None:
        stage.gate.permit_create(50)
        stage.wait(0.1)
        assert stage.gate.read().permit_ms is None
        stage.gate.permit_stage(LONG)
        assert stage.gate.permit_give(5000, anew=False) is Outcome.LAPSED
        assert stage.gate.read().permit_ms is None
        assert stage.gate.permit_give(5000, anew=True) is Outcome.GIVEN
        assert stage.gate.read().permit_ms is not None

    def test_a_permit_is_revoked_at_once_and_twice_is_no_error(self, stage: Stage) -> None:
        stage.gate.permit_create(5000)
        stage.gate.permit_revoke()
        assert stage.gate.read().permit_ms is None
        stage.gate.permit_revoke()

    def test_feeding_gives_prolongs_and_cuts(self, stage: Stage) -> None:
        for seconds in (5.0, 60.0, 1.0):
            assert stage.gate.feed(stage.clock() + seconds, stage.clock)
            left = stage.gate.read().permit_ms
            assert left is not None
            assert seconds * 1000 - 500 < left <= seconds * 1000 - MOMENT_MS

    def test_feeding_up_to_the_past_ends_the_permit(self, stage: Stage) -> None:
        stage.gate.permit_create(5000)
        assert not stage.gate.feed(stage.clock() - 1, stage.clock)
        assert stage.gate.read().permit_ms is None

    def test_no_permit_is_so_short_that_it_never_ends(self, stage: Stage) -> None:
        stage.gate.permit_create(5000)
        with pytest.raises(ValueError, match="for ever"):
            stage.gate.permit_give(0, anew=True)
        with pytest.raises(ValueError, match="for ever"):
            stage.gate.permit_stage(0)

    def test_without_a_table_nothing_is_silently_done(self, stage: Stage) -> None:
        stage.gate.remove()
        stage.gate.remove()
        assert not stage.gate.standing()
        for attempt in (
            lambda: stage.gate.guard({ONE}),
            lambda: stage.gate.hold({ONE}),
            lambda: stage.gate.permit_create(5000),
            lambda: stage.gate.permit_stage(LONG),
            lambda: stage.gate.permit_give(5000, anew=True),
            lambda: stage.gate.feed(stage.clock() + 5, stage.clock),
            stage.gate.read,
        ):
            with pytest.raises(KernelRefused) as refused:
                attempt()
            assert refused.value.errno == errno.ENOENT
        assert stage.gate.install().vips == frozenset()


class PermitsContract:
    """Classes that inherit this give a fixture `devices`."""

    def test_a_permit_is_created_once_and_for_one_device(self, devices: Devices) -> None:
        devices.permits.create("uplink", 5000)
        with pytest.raises(KernelRefused) as refused:
            devices.permits.create("uplink", 5000)
        assert refused.value.errno == errno.EEXIST
        assert 0 < (devices.permits.left("uplink") or 0) <= 5000
        assert devices.permits.left("second") is None
        devices.permits.create("second", 60_000)
        assert (devices.permits.left("second") or 0) > 50_000

    @pytest.mark.parametrize("had", [None, 60_000], ids=["there was none", "one stands"])
    def test_who_comes_later_than_the_moment_is_refused(self, devices: Devices, had: int | None) -> None:
        """He staged, looked at the clock, decided, and was stopped: the permit is as it was."""
        if had is not None:
            devices.permits.create("uplink", had)
        devices.permits.stage("uplink", 50)
        devices.wait(0.1)
        assert devices.permits.give("uplink", 5000) is Outcome.LATE
        assert devices.permits.give("uplink", 5000, anew=False) is Outcome.LATE
        assert ((devices.permits.left("uplink") or 0) > 50_000) == (had is not None)

    def test_a_moment_is_good_for_one_permit_of_one_device(self, devices: Devices) -> None:
        assert devices.permits.give("uplink", 5000) is Outcome.LATE
        devices.permits.stage("uplink", LONG)
        assert devices.permits.give("second", 5000) is Outcome.LATE
        assert devices.permits.give("uplink", 5000) is Outcome.GIVEN
        assert devices.permits.give("uplink", 60_000) is Outcome.LATE
        assert 0 < (devices.permits.left("uplink") or 0) <= 5000

    def test_the_permit_is_not_touched_between_the_steps(self, devices: Devices) -> None:
        devices.permits.create("uplink", 60_000)
        devices.permits.stage("uplink", LONG)
        assert (devices.permits.left("uplink") or 0) > 50_000

    def test_a_later_stage_is_in_place_of_an_earlier_one(self, devices: Devices) -> None:
        """As a process leaves it that is killed between the steps."""
        devices.permits.stage("uplink", LONG)
        devices.permits.stage("uplink", 50)
        devices.wait(0.1)
        assert devices.permits.give("uplink", 5000) is Outcome.LATE
        devices.permits.stage("uplink", 50)
        devices.permits.stage("uplink", LONG)
        devices.wait(0.1)
        assert devices.permits.give("uplink", 5000) is Outcome.GIVEN

    def test_whoever_holds_on_is_given_more_only_while_a_permit_stands(self, devices: Devices) -> None:
        devices.permits.stage("uplink", LONG)
        assert devices.permits.give("uplink", 5000, anew=False) is Outcome.LAPSED
        assert devices.permits.left("uplink") is None
        devices.permits.create("uplink", 5000)
        assert devices.permits.give("uplink", 60_000, anew=False) is Outcome.GIVEN
        assert (devices.permits.left("uplink") or 0) > 50_000
        devices.permits.revoke("uplink")
        devices.permits.stage("uplink", LONG)
        assert devices.permits.give("uplink", 5000, anew=False) is Outcome.LAPSED

    def test_revoking_ends_one_permit_at_once_and_twice_is_no_error(self, devices: Devices) -> None:
        for device in ("uplink", "second"):
            devices.permits.create(device, 5000)
        for _ in range(2):
            devices.permits.revoke("uplink")
            assert devices.permits.left("uplink") is None
        assert devices.permits.left("second") is not None

    def test_two_processes_share_one_permit(self, devices: Devices) -> None:
        """What one gives, prolongs or ends is given, prolonged or ended for the other; none makes a second one."""
        one, other = devices.gates.permits, devices.permits
        one.create("uplink", 5000)
        with pytest.raises(KernelRefused):
            other.create("uplink", 5000)
        assert other.feed("uplink", devices.clock() + 60, devices.clock, anew=False)
        assert (one.left("uplink") or 0) > 50_000
        one.revoke("uplink")
        assert not other.feed("uplink", devices.clock() + 60, devices.clock, anew=False)
        assert other.feed("uplink", devices.clock() + 60, devices.clock)
        assert one.feed("uplink", devices.clock() + 5, devices.clock, anew=False)
        assert 0 < (other.left("uplink") or 0) <= 5000

    def test_feeding_ends_it_at_the_deadline(self, devices: Devices) -> None:
        assert devices.permits.feed("uplink", devices.clock() + 60, devices.clock)
        assert 50_000 < (devices.permits.left("uplink") or 0) <= 60_000
        assert not devices.permits.feed("uplink", devices.clock() - 1, devices.clock)
        assert devices.permits.left("uplink") is None

    def test_no_permit_is_so_short_that_it_never_ends(self, devices: Devices) -> None:
        with pytest.raises(ValueError, match="for ever"):
            devices.permits.create("uplink", 0)

    def test_that_no_gate_stands_is_told_apart_from_a_lapsed_permit(self, devices: Devices) -> None:
        devices.permits.create("uplink", 5000)
        devices.gates.remove()
        attempts: list[Callable[[], object]] = [
            lambda: devices.permits.create("uplink", 5000),
            lambda: devices.permits.stage("uplink", LONG),
            lambda: devices.permits.give("uplink", 5000),
            lambda: devices.permits.revoke("uplink"),
            lambda: devices.permits.left("uplink"),
            lambda: devices.permits.feed("uplink", devices.clock() + 5, devices.clock),
        ]
        for attempt in attempts:
            with pytest.raises(NoGate):
                attempt()
        devices.gates.install()
        assert not devices.permits.feed("uplink", devices.clock() + 5, devices.clock, anew=False)
        devices.permits.create("uplink", 5000)


class GatesContract:
    """Classes that inherit this give a fixture `devices`."""

    def test_each_device_has_its_own_permit_and_its_own_vips(self, devices: Devices) -> None:
        gates = devices.gates
        gates.guard({ONE, TWO, SIX})
        gates.hold("uplink", {ONE, SIX})
        gates.hold("second", {TWO})
        devices.permits.create("uplink", 60_000)
        assert gates.read("second") == Have(frozenset({ONE, TWO, SIX}), frozenset({TWO}), None)
        assert gates.read("uplink").held == {ONE, SIX}
        may = {
            (vip, device) for vip in (ONE, TWO, SIX) for device in ("uplink", "second") if gates.may_claim(vip, device)
        }
        assert may == {(ONE, "uplink"), (SIX, "uplink")}

    def test_a_device_that_comes_or_goes_changes_nothing_for_another(self, devices: Devices) -> None:
        gates = devices.gates
        devices.make("third")
        gates.guard({ONE, SIX}, [Range.parse("10.9.0.0/24")])
        gates.hold("uplink", {ONE, SIX})
        devices.permits.create("uplink", 60_000)
        for several in (("uplink", "second", "third"), ("uplink",), ("uplink", "third")):
            assert gates.fence(several) == {}
            assert gates.standing()
            have = gates.read("uplink")
            assert have.vips == have.held == {ONE, SIX}
            assert (have.permit_ms or 0) > 30_000
            assert gates.read_ranges() == (Range.parse("10.9.0.0/24"),)

    def test_a_device_that_went_has_nothing_when_it_comes_back(self, devices: Devices) -> None:
        gates = devices.gates
        gates.guard({ONE})
        gates.hold("second", {ONE})
        devices.permits.create("second", 60_000)
        gates.fence(["uplink"])
        gates.fence(["uplink", "second"])
        assert gates.read("second") == Have(frozenset({ONE}), frozenset(), None)

    def test_where_no_gate_can_stand_the_reason_is_told_and_the_others_get_theirs(self, devices: Devices) -> None:
        refused = devices.gates.fence(["uplink", "second", "lo", "not-yet"])
        assert refused == devices.gates.refused
        assert refused.keys() == {"lo", "not-yet"}
        assert "loopback" in refused["lo"]
        assert "no such device" in refused["not-yet"]
        assert devices.gates.standing()

    def test_a_device_that_appears_lacks_its_gate_until_it_is_fenced(self, devices: Devices) -> None:
        devices.gates.fence(["uplink", "not-yet"])
        devices.make("not-yet")
        assert not devices.gates.standing()
        assert devices.gates.fence(["uplink", "not-yet"]) == {}
        assert devices.gates.standing()

    def test_a_device_that_vanishes_takes_no_other_along(self, devices: Devices) -> None:
        devices.gates.guard({ONE})
        devices.gates.hold("uplink", {ONE})
        devices.permits.create("uplink", 60_000)
        devices.take("second")
        assert devices.gates.standing()
        devices.make("second")
        devices.gates.install()
        assert devices.gates.standing()
        assert devices.gates.refused == {}
        assert devices.gates.may_claim(ONE, "uplink")

    @pytest.mark.parametrize(
        "several",
        [
            pytest.param(["10.1.0.0/24", "10.1.0.128-10.1.1.7", "10.2.0.1"], id="some overlap"),
            pytest.param(["fd01::/64", "fd01:0:0:1::/64", "fd02::5-fd02::9"], id="neighbours are one"),
            pytest.param(["0.0.0.0/0", "::/0"], id="everything there is"),
            pytest.param(["0.0.0.0-0.0.0.9", "255.255.255.250-255.255.255.255"], id="at either end"),
            pytest.param(["::-::9", "ffff:ffff:ffff:ffff::/64"], id="at either end of IPv6"),
            pytest.param([], id="none"),
        ],
    )
    def test_ranges_are_fenced_merged_and_replaced(self, devices: Devices, several: list[str]) -> None:
        ranges = [Range.parse(text) for text in several]
        devices.gates.guard((), [Range.parse("10.77.0.0/16")])
        devices.gates.guard((), ranges)
        found = devices.gates.read_ranges()
        for one in ranges:
            assert any(one.first in other and one.last in other for other in found)
        assert all(one.last != other.first for one, other in itertools.permutations(found, 2))
        assert not any(ip_address("10.77.1.1") in other for other in found) or "0.0.0.0/0" in several

    def test_an_address_of_a_range_is_fenced_like_a_vip(self, devices: Devices) -> None:
        gates = devices.gates
        gates.guard((), [Range.parse("10.1.0.96-10.1.0.103"), Range.parse("fd01::100/120")])
        devices.permits.create("uplink", 60_000)
        assert not gates.may_claim(ONE, "uplink")
        assert not gates.may_claim(SIX, "uplink")
        gates.hold("uplink", {ONE, SIX})
        assert gates.may_claim(ONE, "uplink")
        assert gates.may_claim(SIX, "uplink")
        assert gates.may_claim(ip_address("10.1.0.104"), "uplink")
        devices.permits.revoke("uplink")
        assert not gates.may_claim(ONE, "uplink")

    def test_installing_again_adopts_everything(self, devices: Devices) -> None:
        gates = devices.gates
        gates.guard({TWO}, [Range.parse("10.1.0.96-10.1.0.103")])
        gates.hold("uplink", {TWO})
        devices.permits.create("uplink", 60_000)
        gates.install()
        assert gates.read_ranges() == (Range.parse("10.1.0.96-10.1.0.103"),)
        assert gates.read("uplink").held == {TWO}
        assert gates.may_claim(TWO, "uplink")

    def test_no_claim_may_leave_while_no_gate_stands(self, devices: Devices) -> None:
        gates = devices.gates
        gates.guard({ONE})
        gates.hold("uplink", {ONE})
        devices.permits.create("uplink", 60_000)
        gates.remove()
        assert not gates.may_claim(ONE, "uplink")
        assert not gates.permitted("uplink")

    def test_the_gate_of_one_device_is_one_of_several(self, devices: Devices) -> None:
        one = devices.gates.on("second")
        one.guard({ONE})
        one.hold({ONE})
        one.permit_create(60_000)
        assert one.may_claim(ONE)
        assert devices.gates.may_claim(ONE, "second")
        one.remove()
        one.close()
        assert devices.gates.standing()
        assert devices.gates.read("uplink").vips == {ONE}
