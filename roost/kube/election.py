"""One leader at a time, by a Lease, on a clock that only runs forward.

A candidate judges another's record by how long it has not seen it change, never by the times written in it: machines'
clocks differ. The leader counts from when it *sent* its last successful renewal, so it stops before anybody may follow:
``renew_deadline`` later its work is cancelled, and others wait for ``lease`` after they saw that renewal. What an old
leader's last requests still try is refused by their resourceVersion.
(The scheme is that of client-go's leaderelection, whose Lease this can share.)
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn, TypeVar

import msgspec

from roost import metrics
from roost.kube.client import Conflict, Kube, Ok, Outcome, Unknown
from roost.kube.wire import LEASES, Lease, LeaseSpec, Meta
from roost.process import Clock, Unreachable, jitter

log = logging.getLogger(__name__)

V = TypeVar("V")

REQUEST_SHARE = 0.4  # of the renew deadline that one request may take: a hung one leaves time for another
RELEASE_SECONDS = 2.0
SPREAD = 0.1  # of the retry interval


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    namespace: str
    name: str  # of the Lease
    identity: str  # of this process: no other process, nor this one's next life, may have the same
    lease: float = 8.0  # seconds without a change after which others may lead
    renew_deadline: float = 5.0  # seconds after which a leader that could not renew stops
    retry: float = 1.0  # seconds between tries, and between renewals

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.lease:
            raise ValueError("retry < renew_deadline < lease must hold")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A record, and when it was first seen so (our clock)."""

    lease: Lease
    since: float


def utc_now() -> str:
    """A MicroTime: RFC 3339 in UTC with exactly six digits."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Election:
    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        settings: ElectionSettings,
        *,
        wall: Callable[[], str] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._clock, self._wall, self._chance = settings, clock, wall, chance
        self._seconds = settings.renew_deadline * REQUEST_SHARE
        self._kube = kube.within(self._seconds)
        self._seen: _Seen | None = None
        self._renewed: float | None = None  # when the last successful renewal was sent; None: not the leader
        self._asked = False  # the record may be ours by a write of ours
        self._said = ""

    @property
    def leading(self) -> bool:
        """True only within the deadline: also false at once when this process wakes up after a long stall."""
        return self._renewed is not None and self._clock.now() - self._renewed < self._settings.renew_deadline

    async def lead(self, work: Callable[[], Awaitable[NoReturn]]) -> NoReturn:
        """Run *work* whenever this process is the leader. On loss it is cancelled, and the candidacy goes on.

        What *work* raises, and a cancellation from outside, releases the Lease and is raised here. *work* must end soon
        after it is cancelled: it has lease minus renew_deadline.
        """
        while True:
            try:
                await self._acquire()
                await self._while_leading(work)
            except BaseException:
                await self._release()
                raise
            finally:
                self._renewed = None
                metrics.LEADING.labels(self._settings.name).set(0)

    # -- to become the leader

    async def _acquire(self) -> None:
        while not await self._try():
            await self._pause()
        log.info("leading", extra={"reason": "Elected", "object": self._name, "identity": self._settings.identity})
        metrics.LEADING.labels(self._settings.name).set(1)

    async def _try(self) -> bool:
        """One try to become the leader: True after a write of ours that surely happened."""
        try:
            await self._look()
        except Unreachable as error:
            self._say(f"cannot read the Lease: {error}")
            return False
        if self._seen is None:
            meta = Meta(name=self._settings.name, namespace=self._settings.namespace)
            return await self._write(self._kube.create, Lease(metadata=meta, spec=self._record(LeaseSpec())))
        lease, since = self._seen.lease, self._seen.since
        holder = lease.spec.holder_identity
        if holder and holder != self._settings.identity and self._clock.now() - since < self._patience(lease):
            self._say(f"{holder} leads")
            return False
        return await self._write(self._kube.put, msgspec.structs.replace(lease, spec=self._record(lease.spec)))

    def _patience(self, lease: Lease) -> float:
        """Seconds without a change before another's record may be taken: its own word, but not less than ours."""
        return max(self._settings.lease, float(lease.spec.lease_duration_seconds or 0))

    async def _look(self) -> None:
        """Read the record. Raises Unreachable."""
        lease = await self._bounded(
            self._kube.get(LEASES, self._settings.name, namespace=self._settings.namespace), self._seconds
        )
        self._see(lease)

    def _see(self, lease: Lease | None) -> None:
        if lease is None:
            self._seen = None
        elif self._seen is None or self._seen.lease.metadata.resource_version != lease.metadata.resource_version:
            self._seen = _Seen(lease, self._clock.now())

    def _record(self, old: LeaseSpec) -> LeaseSpec:
        """Our record in place of *old*. A change of holder counts a transition; other fields stay as they are."""
        now = self._wall()
        if old.holder_identity != self._settings.identity:
            transitions = 0 if old.lease_transitions is None else old.lease_transitions + 1
            old = msgspec.structs.replace(
                old, holder_identity=self._settings.identity, acquire_time=now, lease_transitions=transitions
            )
        return msgspec.structs.replace(old, lease_duration_seconds=int(self._settings.lease), renew_time=now)

    # -- to remain it

    async def _while_leading(self, work: Callable[[], Awaitable[NoReturn]]) -> None:
        """Returns when the lead is lost and *work* has ended; raises what *work* raises."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(_caught(work()))
            others = tasks.create_task(self._renew()), tasks.create_task(self._expire())
            try:
                await asyncio.wait((working, *others), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._renewed = None
                lost = self._clock.now()
                for task in (working, *others):
                    task.cancel()
        if not working.cancelled() and isinstance(error := working.result(), BaseException):
            raise error
        log.warning("not leading any more", extra={"reason": "LeadLost", "object": self._name})
        if (took := self._clock.now() - lost) > self._settings.lease - self._settings.renew_deadline:
            log.error("the work of a lost lead took %.1f s to end, longer than others wait", took)

    async def _expire(self) -> None:
        """Ends at the deadline that no renewal has moved on."""
        while self._renewed is not None and self.leading:
            await self._clock.sleep(self._renewed + self._settings.renew_deadline - self._clock.now())

    async def _renew(self) -> None:
        """Ends when the record is seen to be another's, or gone."""
        while self._seen is not None and self._seen.lease.spec.holder_identity == self._settings.identity:
            lease = self._seen.lease
            await self._pause()
            await self._write(self._kube.put, msgspec.structs.replace(lease, spec=self._record(lease.spec)))

    async def _write(self, write: Callable[..., Awaitable[Outcome[Lease]]], lease: Lease) -> bool:
        """True if *lease* is written. After a conflict or in doubt the record is read, for the next try."""
        sent, self._asked = self._clock.now(), True
        try:
            outcome = await self._bounded(write(LEASES, lease), self._seconds)
        except Unreachable as error:
            outcome = Unknown(str(error))
        match outcome:
            case Ok(value):
                self._see(value)
                self._renewed, self._said = sent, ""
                return True
            case Conflict(_, reason, message):
                self._say(f"{reason}: {message}")
            case Unknown(why):
                self._say(why)
        try:
            await self._look()
        except Unreachable as error:
            self._say(str(error))
        return False

    async def _bounded(self, request: Awaitable[V], seconds: float) -> V:
        """The answer, or Unreachable after *seconds* of our clock, whatever the client's own time-outs do."""
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(_caught(request))
            alarm = tasks.create_task(self._clock.sleep(seconds))
            try:
                await asyncio.wait((asking, alarm), return_when=asyncio.FIRST_COMPLETED)
            finally:
                asking.cancel()
                alarm.cancel()
        if asking.cancelled():
            raise Unreachable(f"no answer within {seconds:g} s")
        result = asking.result()
        if isinstance(result, BaseException):
            raise result
        return result

    # -- the end

    async def _release(self) -> None:
        """Give the Lease back, so that nobody has to wait for it to run out."""
        if not self._asked:
            return
        try:
            await self._bounded(self._give_back(), RELEASE_SECONDS)
        except Unreachable as error:
            log.warning("Lease not released: %s", error, extra={"object": self._name})

    async def _give_back(self) -> None:
        await self._look()  # a renewal may have been under way
        if self._seen is None or self._seen.lease.spec.holder_identity != self._settings.identity:
            return
        lease = self._seen.lease
        spec = msgspec.structs.replace(
            lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=self._wall()
        )
        outcome = await self._kube.put(LEASES, msgspec.structs.replace(lease, spec=spec))
        log.info("Lease released: %s", type(outcome).__name__, extra={"reason": "Released", "object": self._name})

    # -- small things

    @property
    def _name(self) -> str:
        return f"{self._settings.namespace}/{self._settings.name}"

    async def _pause(self) -> None:
        await self._clock.sleep(jitter(self._settings.retry, SPREAD, self._chance))

    def _say(self, text: str) -> None:
        """Once per text: a standby repeats itself every second."""
        if text != self._said:
            log.info("candidate for %s: %s", self._name, text)
        self._said = text


async def _caught(work: Awaitable[V]) -> V | BaseException:
    """What *work* gave or raised: a TaskGroup would wrap it in a group, which no caller expects."""
    (result,) = await asyncio.gather(work, return_exceptions=True)
    return result
