"""What happened, as Kubernetes Events (events.k8s.io/v1): repeats become a series, and nobody ever waits for it."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, NoReturn

from roost import metrics
from roost.kube.client import Conflict, Kube, Ok, Unknown
from roost.kube.election import utc_now
from roost.kube.resource import Resource
from roost.kube.wire import Meta, ObjectReference, Struct
from roost.process import Clock

log = logging.getLogger(__name__)

WAITING = 1_000  # different Events that may wait to be written; more are dropped
KNOWN = 2_000  # series that are remembered, the oldest is forgotten first
BURST = 25  # Events about one object at once …
REFILL = 60.0  # … and then one in so many seconds (a series counts on meanwhile, and is written with the next)
TRIES = 3
RETRY = 2.0  # seconds
SERIES_AGE = 3_000.0  # seconds; the server forgets an Event an hour after its last change
LONGEST_NOTE = 1_024  # bytes (the API's limit)
LONGEST_NAME = 253


class EventSeries(Struct, frozen=True, kw_only=True):
    count: int
    last_observed_time: str


class Event(Struct, frozen=True, kw_only=True):
    """events.k8s.io/v1 Event."""

    metadata: Meta
    event_time: str
    reporting_controller: str
    reporting_instance: str
    action: str
    reason: str
    regarding: ObjectReference
    type: str
    note: str = ""
    series: EventSeries | None = None


EVENTS = Resource("events.k8s.io", "v1", "events", "Event", Event)


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes two Events the same."""

    regarding: ObjectReference
    type: str
    reason: str
    note: str
    action: str


@dataclass(slots=True)
class _Series:
    """An Event that is written, or about to be."""

    name: str = ""  # of the Event
    written: bool = False
    count: int = 0  # how often it happened
    first: str = ""
    last: str = ""
    touched: float = 0.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class Events:
    """A program's voice. :meth:`say` only notes; :meth:`run` writes."""

    def __init__(self, kube: Kube, clock: Clock, controller: str, instance: str) -> None:
        """*controller* is a qualified name (``roost.dev/cloudprovider``), *instance* this process among its like."""
        self._kube, self._clock, self._controller, self._instance = kube, clock, controller, instance[:128]
        self._series: OrderedDict[_Key, _Series] = OrderedDict()
        self._waiting: OrderedDict[_Key, None] = OrderedDict()
        self._buckets: OrderedDict[ObjectReference, _Bucket] = OrderedDict()
        self._news = asyncio.Event()
        self._failing = False

    def say(
        self, regarding: ObjectReference, type_: Literal["Normal", "Warning"], reason: str, message: str, action: str
    ) -> None:
        """*reason* and *action* are single words in camel case: why, and what was being done."""
        note = message.encode()[:LONGEST_NOTE].decode(errors="ignore")
        # The version of the object is no part of what happened to it.
        regarding = ObjectReference(
            kind=regarding.kind,
            name=regarding.name,
            api_version=regarding.api_version,
            namespace=regarding.namespace,
            uid=regarding.uid,
        )
        key = _Key(regarding, type_, reason, note, action)
        if key not in self._waiting and len(self._waiting) >= WAITING:
            self._drop("overflow")
            return
        series = self._known(key)
        series.count += 1
        series.last = utc_now()
        series.first = series.first or series.last
        if key in self._waiting or self._allowed(regarding):
            self._waiting[key] = None
            self._news.set()
        else:
            self._drop("rate")

    async def run(self) -> NoReturn:
        """Write what was said, one after the other. Never raises."""
        while True:
            while self._waiting:
                key, _ = self._waiting.popitem(last=False)
                await self._tell(key)
            self._news.clear()
            await self._news.wait()

    def _known(self, key: _Key) -> _Series:
        """The series of *key*; a new one if the server may have forgotten the old."""
        now = self._clock.now()
        series = self._series.pop(key, None)
        if series is None or (now - series.touched > SERIES_AGE and key not in self._waiting):
            series = _Series()
        series.touched = now
        self._series[key] = series
        while len(self._series) > KNOWN:
            self._series.popitem(last=False)
        return series

    def _allowed(self, regarding: ObjectReference) -> bool:
        now = self._clock.now()
        bucket = self._buckets.pop(regarding, None) or _Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.filled) / REFILL)
        bucket.filled = now
        self._buckets[regarding] = bucket
        while len(self._buckets) > KNOWN:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _tell(self, key: _Key) -> None:
        series = self._series.get(key)
        if series is None:  # forgotten while it waited
            return
        why = ""
        for _ in range(TRIES):
            outcome = await (self._repeat(key, series) if series.written else self._first(key, series))
            match outcome:
                case Ok() | Conflict(reason="AlreadyExists"):
                    self._spoken()
                    return
                case Conflict(code=404) if series.written:  # the Event is gone: tell it anew
                    series.name, series.written, series.count, series.first = "", False, 1, series.last
                case Conflict(code=429) | Unknown():
                    why = str(outcome)
                    await self._clock.sleep(RETRY)
                case Conflict(_, _, message):
                    why = message
                    break
        self._drop("api", why)

    async def _first(self, key: _Key, series: _Series) -> "Ok[Event] | Conflict | Unknown":
        # One name for all tries: a create whose answer was lost is not done twice.
        series.name = series.name or f"{key.regarding.name[: LONGEST_NAME - 17]}.{secrets.token_hex(8)}"
        event = Event(
            # An Event about a cluster-scoped object lives in namespace default.
            metadata=Meta(name=series.name, namespace=key.regarding.namespace or "default"),
            event_time=series.first,
            reporting_controller=self._controller,
            reporting_instance=self._instance,
            action=key.action,
            reason=key.reason,
            regarding=key.regarding,
            type=key.type,
            note=key.note,
        )
        outcome = await self._kube.create(EVENTS, event)
        series.written = isinstance(outcome, Ok) or (
            isinstance(outcome, Conflict) and outcome.reason == "AlreadyExists"
        )
        return await self._repeat(key, series) if series.written and series.count > 1 else outcome

    async def _repeat(self, key: _Key, series: _Series) -> "Ok[Event] | Conflict | Unknown":
        patch = {"series": {"count": max(series.count, 2), "lastObservedTime": series.last}}
        return await self._kube.patch(EVENTS, series.name, patch, namespace=key.regarding.namespace or "default")

    def _drop(self, why: str, text: str = "") -> None:
        metrics.EVENTS_DROPPED.labels(why).inc()
        if not self._failing:
            log.warning("Events are dropped (%s) %s", why, text)
        self._failing = True

    def _spoken(self) -> None:
        self._failing = False
