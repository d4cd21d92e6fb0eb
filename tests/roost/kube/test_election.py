"""Elections under hanging, refusing and late API servers, on a clock that the test moves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import msgspec
import pytest

from roost.kube.election import Election, ElectionSettings, utc_now
from roost.kube.wire import LEASES, Lease, LeaseSpec, Meta
from roost.process import Unreachable
from tests.fakes.api import FakeApi, Fault, Refuse
from tests.fakes.clock import FakeClock, settle

KEY = "roost-system/leader"


@dataclass
class Candidate:
    """One candidate, and the times during which its work ran."""

    api: FakeApi
    clock: FakeClock
    name: str
    spans: list[tuple[float, float]] = field(default_factory=list)
    began: float | None = None

    def __post_init__(self) -> None:
        settings = ElectionSettings("roost-system", "leader", self.name)
        self.election = Election(self.api.kube(), self.clock, settings, chance=lambda: 0.5)

    async def work(self) -> NoReturn:
        self.began = self.clock.now()
        try:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")
        finally:
            self.spans.append((self.began, self.clock.now()))
            self.began = None

    @property
    def working(self) -> bool:
        return self.began is not None


@contextlib.asynccontextmanager
async def running(*candidates: Candidate) -> AsyncIterator[list[asyncio.Task[NoReturn]]]:
    tasks = [asyncio.create_task(one.election.lead(one.work)) for one in candidates]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await settle()
        for one in candidates:  # whatever still hangs is given up
            await one.clock.advance(5)
        await asyncio.wait(tasks)


def two() -> tuple[FakeApi, FakeClock, Candidate, Candidate]:
    api, clock = FakeApi(), FakeClock()
    return api, clock, Candidate(api, clock, "one"), Candidate(api.beside(), clock, "two")


def lease(api: FakeApi) -> Lease:
    return api.one(LEASES, KEY)


def lease_of(holder: str) -> Lease:
    return Lease(metadata=Meta(name="leader", namespace="roost-system"), spec=LeaseSpec(holder_identity=holder))


def held(value: Lease, holder: str, renewed: str | None = None) -> Lease:
    renewed = renewed or value.spec.renew_time
    return msgspec.structs.replace(
        value, spec=msgspec.structs.replace(value.spec, holder_identity=holder, renew_time=renewed)
    )


async def test_one_of_two_leads_and_says_so() -> None:
    api, clock, one, other = two()
    async with running(one, other):
        await clock.advance(30)
        assert one.working
        assert one.election.leading
        assert not other.working
        assert not other.election.leading
        spec = lease(api).spec
        assert (spec.holder_identity, spec.lease_duration_seconds, spec.lease_transitions) == ("one", 8, 0)
        assert spec.acquire_time is not None
        assert spec.renew_time is not None
        assert spec.acquire_time < spec.renew_time
        assert len(api.writes(LEASES)) == 1 + 30


async def test_a_leader_that_is_stopped_gives_the_lease_back_at_once() -> None:
    api, clock, one, other = two()
    async with running(one, other) as tasks:
        await clock.advance(3)
        tasks[0].cancel()
        await settle()
        assert not one.working
        assert lease(api).spec.holder_identity == ""
        await clock.advance(1.1)
        assert other.working
        assert lease(api).spec.holder_identity == "two"
        assert lease(api).spec.lease_transitions == 1


async def test_a_leader_that_vanishes_is_followed_after_the_lease() -> None:
    api, clock, one, other = two()
    async with running(one):
        await clock.advance(3)
    api.put(LEASES, held(lease(api), "dead"))
    async with running(other):
        await clock.advance(7.9)
        assert not other.working
        await clock.advance(1.2)
        assert other.working


async def test_the_times_in_a_record_mean_nothing() -> None:
    """A leader whose clock is in another century leads as long as its record changes."""
    api, clock, _, other = two()
    api.put(LEASES, held(lease_of("skewed"), "skewed", "1999-01-01T00:00:00.000000Z"))
    async with running(other):
        for second in range(20):
            await clock.advance(1)
            api.put(LEASES, held(lease(api), "skewed", f"1999-01-01T00:00:{second:02}.000000Z"))
        assert not other.spans
        assert not other.working
        await clock.advance(10)
        assert other.working


@pytest.mark.parametrize("how", ["hangs", True])
async def test_a_leader_that_cannot_renew_stops_before_another_may_lead(how: bool | Literal["hangs"]) -> None:
    api, clock, one, other = two()
    async with running(one, other):
        await clock.advance(10.2)
        api.down = how
        await clock.advance(5)
        assert not one.working
        assert not one.election.leading
        assert not other.working
        await clock.advance(5)
        assert other.working
        api.down = False
        await clock.advance(10)
        assert not one.working
    (_, ended), (began, _) = one.spans[0], other.spans[0]
    assert began - ended >= 2.0


async def test_a_leader_that_gets_through_again_in_time_goes_on() -> None:
    api, clock, one, other = two()
    async with running(one, other):
        await clock.advance(10.2)
        api.down = "hangs"
        await clock.advance(2.5)
        api.down = False
        await clock.advance(20)
        assert one.working
        assert not one.spans
        assert not other.spans


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.LOST, Refuse(500), Refuse(429), Refuse(409)])
async def test_one_failed_renewal_is_no_loss(fault: Fault | Refuse) -> None:
    api, clock, one, other = two()
    async with running(one, other):
        await clock.advance(3)
        api.fail(fault, "PUT", LEASES)
        await clock.advance(20)
        assert one.working
        assert not one.spans
        assert not other.spans


async def test_a_late_renewal_of_an_old_leader_changes_nothing() -> None:
    api, clock, one, other = two()
    async with running(one, other):
        await clock.advance(3.2)
        api.fail(Fault.LATE, "PUT", LEASES, times=3)
        api.fail(Fault.LOST, "PUT", LEASES, times=100)
        await clock.advance(12)
        assert other.working
        before = lease(api)
        api.deliver()
        assert lease(api) == before
        await clock.advance(3)
        assert other.working
        assert not one.working


async def test_a_leader_that_sees_another_stops_at_once() -> None:
    api, clock, one, _ = two()
    async with running(one):
        await clock.advance(3.2)
        api.put(LEASES, held(lease(api), "thief"))
        await clock.advance(1)
        assert not one.working


async def test_a_stalled_leader_knows_at_once_that_it_leads_no_more() -> None:
    _, clock, one, _ = two()
    async with running(one):
        await clock.advance(3)
        assert one.election.leading
        clock.time += 20  # the process was stopped: no task has run since
        assert not one.election.leading


async def test_a_deleted_lease_ends_the_lead_and_is_made_anew() -> None:
    api, clock, one, _ = two()
    async with running(one):
        await clock.advance(3.2)
        api.remove(LEASES, "leader", namespace="roost-system")
        await clock.advance(3)
        assert len(one.spans) == 1
        assert one.working
        assert lease(api).spec.lease_transitions == 0


async def test_an_error_of_the_work_releases_the_lease_and_is_raised_as_it_is() -> None:
    api, clock = FakeApi(), FakeClock()
    election = Election(api.kube(), clock, ElectionSettings("roost-system", "leader", "one"))

    async def work() -> NoReturn:
        raise Unreachable("something")

    with pytest.raises(Unreachable, match="something"):
        await election.lead(work)
    assert lease(api).spec.holder_identity == ""


async def test_fields_of_others_stay_in_the_lease() -> None:
    api, clock, one, _ = two()
    meta = Meta(name="leader", namespace="roost-system", annotations={"a": "b"})
    api.put(LEASES, Lease(metadata=meta, spec=LeaseSpec(strategy="OldestEmulationVersion", lease_transitions=7)))
    async with running(one):
        await clock.advance(3)
        assert lease(api).metadata.annotations == {"a": "b"}
        assert lease(api).spec.strategy == "OldestEmulationVersion"
        assert lease(api).spec.lease_transitions == 8


def test_times_have_six_digits() -> None:
    assert len(utc_now()) == len("2026-01-01T00:00:00.000000Z")
    assert utc_now().endswith("Z")


def test_settings_must_fit_together() -> None:
    with pytest.raises(ValueError, match="renew_deadline"):
        ElectionSettings("a", "b", "c", lease=5, renew_deadline=5)
