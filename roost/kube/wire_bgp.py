"""The kinds by which people say how VIPs are announced by BGP: BGPPeer and BGPAdvertisement.

Shapes, and what the API server checks of them: ``helm/roost/templates``. What it does not check is read as it stands.
"""

from __future__ import annotations

import msgspec

from roost.kube.resource import Resource
from roost.kube.wire import Condition, Meta, Selector, Struct


class LocalEnd(Struct, frozen=True, kw_only=True):
    """How a node appears to the router. *address* and *interface* exclude each other."""

    asn: int
    address: str = ""
    interface: str = ""
    router_id: str = msgspec.field(default="", name="routerID")


class RemoteEnd(Struct, frozen=True, kw_only=True):
    """The router: exactly one of *address* and *interface* (unnumbered), exactly one of *asn* and *asn_type*."""

    address: str = ""
    interface: str = ""
    asn: int | None = None
    asn_type: str = ""  # Internal: our own AS; External: any other
    port: int = 179


class SecretKey(Struct, frozen=True, kw_only=True):
    """A key of a Secret in the namespace that Roost runs in."""

    name: str
    key: str = "password"


class PeerTimers(Struct, frozen=True, kw_only=True):
    """Seconds (RFC 4271, section 10)."""

    hold_seconds: int = 30
    keepalive_seconds: int = 10
    connect_retry_seconds: int = 10


class NextHop(Struct, frozen=True, kw_only=True):
    """What stands as next hop in the paths. *ipv4* and *ipv6* belong to mode Fixed."""

    mode: str = "Self"  # Self, Fixed, SourceAddress, SourceInterface
    ipv4: str = ""
    ipv6: str = ""


class PeerBfd(Struct, frozen=True, kw_only=True):
    """Bidirectional forwarding detection (RFC 5880) beside the session; present: it is used."""

    receive_milliseconds: int = 300
    transmit_milliseconds: int = 300
    detect_multiplier: int = 3


class BGPPeerSpec(Struct, frozen=True, kw_only=True):
    local: LocalEnd
    remote: RemoteEnd = RemoteEnd()
    node_selector: Selector | None = None
    ebgp_multihop_ttl: int = msgspec.field(default=0, name="ebgpMultihopTTL")  # 0: the router is on a link of ours
    password_secret: SecretKey | None = None
    timers: PeerTimers = PeerTimers()
    families: tuple[str, ...] = ()  # "IPv4", "IPv6"; empty: what the session's address and nextHop ask for
    next_hop: NextHop = NextHop()
    bfd: PeerBfd | None = None
    graceful_restart_seconds: int = 120
    drain_seconds: int = 10


class PeerSessions(Struct, frozen=True, kw_only=True):
    """On how many nodes there is to be a session, and on how many there is one."""

    desired: int = 0
    established: int = 0


class PeerException(Struct, frozen=True, kw_only=True):
    """A node that should have a session and has none, and why."""

    node: str
    reason: str
    state: str = ""
    message: str = ""
    since: str | None = None


class BGPPeerStatus(Struct, frozen=True, kw_only=True):
    observed_generation: int = 0
    remote: str = ""
    established: str = ""  # "11/12", for people
    sessions: PeerSessions | None = None
    exceptions: tuple[PeerException, ...] = ()
    conditions: tuple[Condition, ...] = ()


class BGPPeer(Struct, frozen=True, kw_only=True):
    """A router that nodes speak BGP with."""

    metadata: Meta
    spec: BGPPeerSpec
    status: BGPPeerStatus = BGPPeerStatus()


class Aggregation(Struct, frozen=True, kw_only=True):
    """Length of the prefixes that are announced in the VIPs' place."""

    ipv4: int = 32
    ipv6: int = 128


class BGPAdvertisementSpec(Struct, frozen=True, kw_only=True):
    """Names and selectors narrow: an empty list is every pool, every peer; no selector every Service, every node."""

    pool_names: tuple[str, ...] = ()
    peer_names: tuple[str, ...] = ()
    service_selector: Selector | None = None
    node_selector: Selector | None = None
    announcers: str = "EveryEligibleNode"  # or HolderOnly
    aggregation: Aggregation = Aggregation()
    communities: tuple[str, ...] = ()
    local_preference: int | None = None
    med: int | None = None
    prepend_as_path: int = msgspec.field(default=0, name="prependASPath")


class BGPAdvertisementStatus(Struct, frozen=True, kw_only=True):
    observed_generation: int = 0
    matched_vips: int = msgspec.field(default=0, name="matchedVIPs")
    matched_peers: int = 0
    matched_nodes: int = 0
    conditions: tuple[Condition, ...] = ()


class BGPAdvertisement(Struct, frozen=True, kw_only=True):
    """Which VIPs go to which peers, and with what attributes."""

    metadata: Meta
    spec: BGPAdvertisementSpec = BGPAdvertisementSpec()
    status: BGPAdvertisementStatus = BGPAdvertisementStatus()


BGPPEERS = Resource("roost.dev", "v1alpha1", "bgppeers", "BGPPeer", BGPPeer, namespaced=False)
BGPADVERTISEMENTS = Resource(
    "roost.dev", "v1alpha1", "bgpadvertisements", "BGPAdvertisement", BGPAdvertisement, namespaced=False
)
