"""All that the room's decision is made of, and what comes out of it: values. No I/O."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from nodeagent.bgp.settings import Settings
from nodeagent.bgp.values import Session, Want
from roost.kube.wire_bgp import BGPAdvertisement, BGPPeer
from roost.words import Address, Reason

PEER, ADVERTISEMENT, SETTING, ANNOTATION = "BGPPeer", "BGPAdvertisement", "Setting", "Annotation"


@dataclass(frozen=True, slots=True)
class Here:
    """This node. *interfaces*: its own addresses by interface, in the kernel's order; VIPs are none of them."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)  # a password may be among them
    addresses: tuple[Address, ...] = ()  # as its Node object has them
    interfaces: Mapping[str, tuple[IPv4Interface | IPv6Interface, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """A VIP that this node may announce now.

    *advertisements*: the BGPAdvertisements with a serviceSelector that select one of its Services. *alone*: no other
    node may announce it, so a drain changes nothing for it.
    """

    address: Address
    pool: str = ""
    advertisements: frozenset[str] = frozenset()
    holder_only: bool = False
    held: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """*passwords* by name of the Secret and its key; what is not there is missing. Times: seconds on one clock."""

    here: Here
    settings: Settings = Settings()
    peers: Mapping[str, BGPPeer] = field(default_factory=dict)
    advertisements: Mapping[str, BGPAdvertisement] = field(default_factory=dict)
    passwords: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    offers: Collection[Offer] = ()
    draining_since: float | None = None
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be done as it was asked for. *refused*: there is no session at all because of it.

    *kind* is BGPPeer, BGPAdvertisement, Setting or Annotation. *bug*: it is ours, and set this one object aside.
    """

    kind: str
    name: str
    reason: Reason
    message: str
    refused: bool = False
    bug: Exception | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A session that somebody asks for, and for how many seconds it is drained."""

    kind: str
    session: Session
    drain: float
    router_id: IPv4Address | None = None  # None: whichever there is


@dataclass(frozen=True, slots=True)
class Plan:
    """*due*: when the answer changes though nothing else does. *sessions_of*: by name (of the BGPPeer …) the key.

    *drain*: seconds from the beginning of a drain until nothing is announced any more.
    """

    want: Want = Want()
    problems: tuple[Problem, ...] = ()
    due: float | None = None
    sessions_of: Mapping[str, str] = field(default_factory=dict)
    drain: float = 0.0
