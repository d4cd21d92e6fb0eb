"""Tells when another program keeps writing the status that we write, so that the two do not go on for ever."""

from dataclasses import dataclass, field
from enum import Enum, auto

from cloudprovider.model import Key, Refused
from cloudprovider.services.plan import WriteStatus
from roost.kube.wire import Ingress
from roost.process import Clock
from roost.words import RETRY, Reason

ROUNDS = 3  # foreign writes after which we stop, if they come
WITHIN = 60.0  # seconds

STOPPED = Refused(
    Reason.COMPETING_CONTROLLER,
    f"another program also writes status.loadBalancer; Roost stopped after {ROUNDS} rounds "
    f"(annotation {RETRY} with a new value makes it try again)",
)


class Verdict(Enum):
    WRITE = auto()
    STOP = auto()  # from now on
    STOPPED = auto()


@dataclass(slots=True)
class _Written:
    """What we last wrote into a status, and when others wrote over it."""

    ingress: tuple[Ingress, ...]
    retry: str
    overwritten: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Quarrels:
    clock: Clock
    _written: dict[Key, _Written] = field(default_factory=dict)

    def verdict(self, key: Key, step: WriteStatus) -> Verdict:
        """Whether to write. An empty ingress is no foreign write: the server clears it when the type changes."""
        retry = step.service.metadata.annotations.get(RETRY, "")
        have, known = step.service.status.load_balancer.ingress, self._written.get(key)
        if known is None or known.ingress != step.ingress or known.retry != retry:
            known = self._written[key] = _Written(step.ingress, retry)
        elif len(known.overwritten) > ROUNDS:
            return Verdict.STOPPED
        elif have and have != step.ingress:
            now = self.clock.now()
            known.overwritten = [*(at for at in known.overwritten if now - at < WITHIN), now]
        return Verdict.STOP if len(known.overwritten) > ROUNDS else Verdict.WRITE

    def forget(self, key: Key) -> None:
        self._written.pop(key, None)
