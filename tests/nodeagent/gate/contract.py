"""What every gate does, the one in memory and the one in the kernel."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from nodeagent.gate.apply import Gate
from nodeagent.gate.fake import FakeGate
from nodeagent.gate.plan import Address, Have, KernelRefused

ONE, TWO, SIX = ip_address("10.1.0.100"), ip_address("10.1.0.101"), ip_address("fd01::100")
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

    def test_a_refresh_sets_the_time_that_is_left(self, stage: Stage) -> None:
        stage.gate.permit_create(5000)
        assert stage.gate.permit_refresh(60_000)
        assert (stage.gate.read().permit_ms or 0) > 50_000
        assert stage.gate.permit_refresh(1000)
        assert 0 < (stage.gate.read().permit_ms or 0) <= 1000

    def test_a_permit_lapses_by_itself_and_cannot_be_refreshed_then(self, stage: Stage) -> None:
        assert not stage.gate.permit_refresh(1000)
        stage.gate.permit_create(50)
        stage.wait(0.1)
        assert stage.gate.read().permit_ms is None
        assert not stage.gate.permit_refresh(1000)
        assert stage.gate.read().permit_ms is None
        stage.gate.permit_create(1000)
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
            assert seconds * 1000 - 500 < left <= seconds * 1000

    def test_feeding_up_to_the_past_ends_the_permit(self, stage: Stage) -> None:
        stage.gate.permit_create(5000)
        assert not stage.gate.feed(stage.clock() - 1, stage.clock)
        assert stage.gate.read().permit_ms is None

    def test_no_permit_is_so_short_that_it_never_ends(self, stage: Stage) -> None:
        stage.gate.permit_create(5000)
        with pytest.raises(ValueError, match="for ever"):
            stage.gate.permit_refresh(0)

    def test_without_a_table_nothing_is_silently_done(self, stage: Stage) -> None:
        stage.gate.remove()
        stage.gate.remove()
        assert not stage.gate.standing()
        for attempt in (
            lambda: stage.gate.guard({ONE}),
            lambda: stage.gate.hold({ONE}),
            lambda: stage.gate.permit_create(5000),
            lambda: stage.gate.feed(stage.clock() + 5, stage.clock),
            stage.gate.read,
        ):
            with pytest.raises(KernelRefused) as refused:
                attempt()
            assert refused.value.errno == errno.ENOENT
        assert stage.gate.install().vips == frozenset()
