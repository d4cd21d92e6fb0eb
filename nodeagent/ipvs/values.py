"""The words of this room: services, backends, what the kernel has of them, and steps. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from nodeagent.ipvs.settings import Forwarding, Scheduler

Address = IPv4Address | IPv6Address

MARK = 82
"""In the kernel, the persistence timeout of a service of ours, which has no persistence: nobody else's is like it."""


class Place(NamedTuple):
    """Where a service is (a VIP and its port), or a backend (an API server and its port). All is TCP."""

    address: Address
    port: int

    def __str__(self) -> str:
        return (
            f"{self.address}:{self.port}" if isinstance(self.address, IPv4Address) else f"[{self.address}]:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class Member:
    """An API server as the cluster knows it: its node's addresses, of any families, in the order of preference."""

    addresses: tuple[Address, ...]
    port: int = 6443
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Backend:
    """One of those that connections go to; *weight* 0: no new ones."""

    place: Place
    forwarding: Forwarding
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Service:
    """Connections to *place* are balanced over *backends*."""

    place: Place
    scheduler: Scheduler
    backends: frozenset[Backend]

    @property
    def masquerades(self) -> bool:
        return any(backend.forwarding == Forwarding.MASQUERADE for backend in self.backends)


@dataclass(frozen=True, slots=True)
class Seen:
    """A service of the kernel's. *ours*: it bears our mark. *active*: established connections by backend."""

    service: Service
    ours: bool = True
    active: Mapping[Place, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """Our nftables table: *masquerades* for these services, and remembers what sysctls were *before* us.

    *meddled*: somebody put rules into it, so that it is to be made anew.
    """

    masquerades: frozenset[Place] = frozenset()
    before: frozenset[tuple[str, str]] = frozenset()
    meddled: bool = False


@dataclass(frozen=True, slots=True)
class Have:
    """What the kernel has. *sysctls*: None for one that is not there. *others*: how many services are not ours."""

    services: Mapping[Place, Seen] = field(default_factory=dict)
    others: int = 0
    table: Table = Table()
    sysctls: Mapping[str, str | None] = field(default_factory=dict)
    kube_proxy: bool = False
    """Whether kube-proxy balances Services by IPVS here: its device kube-ipvs0 is there."""


@dataclass(frozen=True, slots=True)
class AddService:
    """Make a service, with no backend yet."""

    place: Place
    scheduler: Scheduler


@dataclass(frozen=True, slots=True)
class SetService:
    """Give a service of ours another scheduler."""

    place: Place
    scheduler: Scheduler


@dataclass(frozen=True, slots=True)
class DeleteService:
    """Take a service of ours away, with its backends."""

    place: Place


@dataclass(frozen=True, slots=True)
class AddBackend:
    place: Place
    backend: Backend


@dataclass(frozen=True, slots=True)
class SetBackend:
    """Give a backend that is there this weight and way of forwarding; established connections stay."""

    place: Place
    backend: Backend


@dataclass(frozen=True, slots=True)
class DeleteBackend:
    """Take a backend away; what connections it has end (net/ipv4/vs/expire_nodest_conn) or hang."""

    place: Place
    backend: Place


@dataclass(frozen=True, slots=True)
class PutTable:
    """Have our nftables table be like this, in one transaction; an empty one is none."""

    table: Table


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write *value* into /proc/sys/*name*."""

    name: str
    value: str


ServiceStep = AddService | SetService | DeleteService | AddBackend | SetBackend | DeleteBackend
Step = ServiceStep | PutTable | SetSysctl


@dataclass(frozen=True, slots=True)
class Done:
    step: Step


@dataclass(frozen=True, slots=True)
class Failed:
    """The kernel refused the step; *words*: how a program said why, where one did it."""

    step: Step
    errno: int
    words: str = ""


Outcome = Done | Failed
