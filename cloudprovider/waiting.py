"""The Services that wait for an address, why, and when the Event that says so is due again."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cloudprovider.keys import Alarms
from cloudprovider.model import Key, Refused
from roost import metrics
from roost.process import Clock
from roost.words import Reason

SAY_AGAIN = 1800.0  # seconds; Events expire after an hour


@dataclass(frozen=True, slots=True)
class _Wait:
    why: Refused
    say_again: float


@dataclass(slots=True)
class Waiting:
    clock: Clock
    alarms: Alarms[Key]
    _waits: dict[Key, _Wait] = field(default_factory=dict)

    def __contains__(self, key: Key) -> bool:
        return key in self._waits

    def of(self, *, namespace: str = "", reason: Reason | None = None) -> Iterator[Key]:
        """Those who wait, longest first; only of a namespace, or for a reason."""
        return (
            key
            for key, wait in tuple(self._waits.items())
            if namespace in {"", key.namespace} and reason in {None, wait.why.reason}
        )

    def put(self, key: Key, why: Refused) -> bool:
        """*key* waits, or still does; True when its Event is due again."""
        before = self._waits.get(key)
        if before and before.why.reason == why.reason:
            due = self.clock.now() >= before.say_again
            self._waits[key] = _Wait(why, self._next() if due else before.say_again)
        else:
            due = False  # the first Event goes with the write of the status
            self.drop(key)
            self._waits[key] = _Wait(why, self._next())
            metrics.CLAIMS_WAITING.labels(why.reason).inc()
        self.alarms.set(key, self._waits[key].say_again - self.clock.now())
        return due

    def drop(self, key: Key) -> None:
        wait = self._waits.pop(key, None)
        if wait:
            metrics.CLAIMS_WAITING.labels(wait.why.reason).dec()

    def _next(self) -> float:
        return self.clock.now() + SAY_AGAIN
