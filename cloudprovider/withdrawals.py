"""Releases that announcers have to follow, before an address is cleared from a status and may be deleted."""

from dataclasses import dataclass, field, replace

from cloudprovider.keys import Alarms
from cloudprovider.model import Key
from cloudprovider.picture import Picture, version
from cloudprovider.services.plan import is_let_go
from roost.kube.wire import VirtualIP
from roost.process import Clock

PATIENCE = 10.0  # seconds that a release waits for nodes that do not say they have withdrawn


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Done once each live node has applied *version*, or time is up."""

    key: Key
    uid: str
    version: int
    deadline: float
    done: bool = False


@dataclass(slots=True)
class Withdrawals:
    """What is known of each VIP let go. A node whose seat is gone is not waited for: its permit has run out."""

    picture: Picture
    clock: Clock
    alarms: Alarms[Key]
    _known: dict[str, Withdrawal] = field(default_factory=dict)

    def is_done(self, key: Key, vip: VirtualIP) -> bool:
        """Whether nobody announces *vip* any more. While somebody may, *key* is woken when it is time to ask again.

        After a restart the version of the release itself is not known; that of the VIP as it is now is no earlier.
        """
        if not is_let_go(vip):
            return False
        name, now = vip.metadata.name, self.clock.now()
        known = self._known.get(name)
        if known is None or known.uid != vip.metadata.uid:
            known = Withdrawal(key, vip.metadata.uid, version(vip.metadata.resource_version), now + PATIENCE)
        if not known.done and (self.picture.applied() >= known.version or now >= known.deadline):
            known = replace(known, done=True)
        if not known.done:
            self.alarms.set(key, known.deadline - now)
        self._known[name] = known
        return known.done

    def resolved(self) -> tuple[Key, ...]:
        """Whose release the nodes have followed by now."""
        applied = self.picture.applied()
        return tuple(item.key for item in self._known.values() if not item.done and item.version <= applied)

    def forget(self, name: str) -> None:
        """The VIP is claimed again, or gone."""
        self._known.pop(name, None)
