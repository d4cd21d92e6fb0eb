"""The values that the rooms of the controller share: a Service's wish, and the answer to it."""

from dataclasses import dataclass, field
from typing import Literal

from roost.kube.wire import ClaimPort, PoolAnnounce
from roost.words import Address, Reason

FAMILY = {4: "IPv4", 6: "IPv6"}
VERSION_OF = {"IPv4": 4, "IPv6": 6}


LAYER2, BGP, ROUTING_TABLE = "Layer2", "BGP", "RoutingTable"  # protocols of a pool
LAYER3 = frozenset({BGP, ROUTING_TABLE})
EVERY_NODE, HOLDER_ONLY = "EveryEligibleNode", "HolderOnly"  # who announces on layer 3

MANAGER = "roost-cloudprovider"  # of our fields: the API server takes it from the user agent


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A Service by namespace and name; what it is now is looked up when it is planned."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, text: str) -> "Key":
        namespace, _, name = text.partition("/")
        return cls(namespace, name)


@dataclass(frozen=True, slots=True)
class Directions:
    """What a Service says of the nodes that announce it.

    *lease* is namespace/name: all VIPs that name it are held by one node. *alone* gives the Service a group of its own.
    *announcers* is who announces it on layer 3; "" if it says nothing of that.
    *ignored* says which of its annotations are not followed, and why.
    """

    interface: str = ""
    lease: str = ""
    alone: bool = False
    announcers: str = ""
    ignored: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a Service asks for.

    *families* are IP versions in the Service's order; *all_families* says that one of them alone is not enough.
    *requested* holds an address per version where the Service names one; *shown* are the addresses in its status.
    *announcers* is who announces on layer 3 where neither Service nor pool says; in *held_pools* it is the holder, as
    every BGPAdvertisement has it that speaks of them. *advertisements* are those that select it by its labels.
    """

    key: Key
    uid: str
    families: tuple[int, ...]
    all_families: bool = False
    requested: tuple[Address, ...] = ()
    pool: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)
    shown: tuple[Address, ...] = ()
    ports: tuple[ClaimPort, ...] = ()
    directions: Directions = Directions()
    announcers: str = EVERY_NODE
    held_pools: frozenset[str] = frozenset()
    advertisements: tuple[str, ...] = ()

    def request(self, version: int) -> Address | None:
        return next((address for address in self.requested if address.version == version), None)


@dataclass(frozen=True, slots=True)
class Granted:
    """One address, the pool it comes from, and how that pool is announced."""

    address: Address
    pool: str
    announce: PoolAnnounce


@dataclass(frozen=True, slots=True)
class Grant:
    """The addresses of one Service, in the order of its families.

    *missing* is why a family that would have been welcome could not be had; *left* are addresses that the Service
    leaves because no pool contains them any more, and why.
    """

    addresses: tuple[Granted, ...]
    missing: "Refused | None" = None
    left: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a wish cannot be met now. It is planned again when something that it waits for changes."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class NotOurs:
    """The Service is gone, or is none of ours (any more)."""


Answer = Grant | Refused | NotOurs


EventType = Literal["Normal", "Warning"]
NORMAL: EventType = "Normal"
WARNING: EventType = "Warning"


@dataclass(frozen=True, slots=True)
class Say:
    """An Event about a Service, to be sent once the write that it speaks of has succeeded."""

    type: EventType
    reason: str
    note: str
