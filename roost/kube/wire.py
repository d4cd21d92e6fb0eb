"""The Kubernetes objects that Roost reads and writes, as values: JSON becomes these, these become JSON.

Unknown fields are dropped while decoding. An object of somebody else is therefore only ever patched, never PUT back;
what we PUT whole is ours (VirtualIP, Segment, NodeAgent), or modelled completely (Lease).
Shapes: the Kubernetes API reference, and ``helm/roost/templates`` for the kinds of group ``roost.dev``.
"""

# ruff: noqa: PLC0414 (an alias says that others may take the name from here; mypy wants it)

from __future__ import annotations

from typing import Protocol

import msgspec

from roost.kube.resource import Resource
from roost.kube.struct import Condition as Condition
from roost.kube.struct import Meta as Meta
from roost.kube.struct import OwnerReference as OwnerReference
from roost.kube.struct import Requirement as Requirement
from roost.kube.struct import Selector as Selector
from roost.kube.struct import Struct as Struct

# -- Kubernetes' own kinds ------------------------------------------------------------------------------------------


class ServicePort(Struct, frozen=True, kw_only=True):
    port: int
    protocol: str = "TCP"
    name: str = ""
    node_port: int = 0


class ServiceSpec(Struct, frozen=True, kw_only=True):
    type: str = "ClusterIP"
    load_balancer_class: str | None = None
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    ip_families: tuple[str, ...] = ()  # "IPv4", "IPv6", in order of preference
    ip_family_policy: str = ""  # SingleStack, PreferDualStack, RequireDualStack
    external_traffic_policy: str = ""
    health_check_node_port: int = 0
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = msgspec.field(default_factory=dict)


class IngressPort(Struct, frozen=True, kw_only=True):
    port: int
    protocol: str
    error: str | None = None


class Ingress(Struct, frozen=True, kw_only=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None
    ports: tuple[IngressPort, ...] = ()


class LoadBalancer(Struct, frozen=True, kw_only=True):
    ingress: tuple[Ingress, ...] = ()


class ServiceStatus(Struct, frozen=True, kw_only=True):
    load_balancer: LoadBalancer = LoadBalancer()
    conditions: tuple[Condition, ...] = ()


class Service(Struct, frozen=True, kw_only=True):
    metadata: Meta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class Namespace(Struct, frozen=True, kw_only=True):
    metadata: Meta


class Secret(Struct, frozen=True, kw_only=True):
    metadata: Meta
    data: dict[str, str] = msgspec.field(default_factory=dict)  # base64 (RFC 4648), as the API has it


class Taint(Struct, frozen=True, kw_only=True):
    key: str
    effect: str = ""
    value: str = ""


class NodeSpec(Struct, frozen=True, kw_only=True):
    taints: tuple[Taint, ...] = ()
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")
    unschedulable: bool = False  # cordoned


class NodeAddress(Struct, frozen=True, kw_only=True):
    type: str
    address: str


class NodeCondition(Struct, frozen=True, kw_only=True):
    type: str
    status: str = "Unknown"
    message: str = ""


class NodeStatus(Struct, frozen=True, kw_only=True):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()


class Node(Struct, frozen=True, kw_only=True):
    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class EndpointConditions(Struct, frozen=True, kw_only=True):
    ready: bool | None = None  # unset means ready (discovery.k8s.io/v1)
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None


class EndpointSlice(Struct, frozen=True, kw_only=True):
    metadata: Meta
    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] | None = ()


class ServiceCIDRSpec(Struct, frozen=True, kw_only=True):
    cidrs: tuple[str, ...] = ()


class ServiceCIDR(Struct, frozen=True, kw_only=True):
    metadata: Meta
    spec: ServiceCIDRSpec = ServiceCIDRSpec()


class LeaseSpec(Struct, frozen=True, kw_only=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None  # MicroTime: RFC 3339 with six digits
    renew_time: str | None = None
    lease_transitions: int | None = None
    strategy: str | None = None
    preferred_holder: str | None = None


class Lease(Struct, frozen=True, kw_only=True):
    """coordination.k8s.io/v1 Lease, complete: the mark on another's Lease must leave all else as it is."""

    metadata: Meta
    spec: LeaseSpec = LeaseSpec()


class ObjectReference(Struct, frozen=True, kw_only=True):
    kind: str
    name: str
    api_version: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


# -- roost.dev/v1alpha1 ----------------------------------------------------------------------------------------------


class PoolSource(Struct, frozen=True, kw_only=True):
    type: str = "Static"


class Allocation(Struct, frozen=True, kw_only=True):
    auto: bool = True
    priority: int = 100  # higher first
    order: str = "Ascending"
    skip_ends: bool = True
    by_address: str = "Allowed"
    sharing: str = "ByKey"
    max_per_namespace: int = 0
    retain_seconds: int = 0


class PoolAnnounce(Struct, frozen=True, kw_only=True):
    protocols: tuple[str, ...] = ("Layer2",)
    interfaces: tuple[str, ...] = ()
    node_selector: Selector | None = None
    include_excluded_nodes: bool = False
    announcers: str = ""  # EveryEligibleNode, HolderOnly; empty: as the controller's setting says


class AddressPoolSpec(Struct, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    source: PoolSource = PoolSource()
    allocation: Allocation = Allocation()
    namespace_selector: Selector | None = None
    service_selector: Selector | None = None
    announce: PoolAnnounce = PoolAnnounce()


class Capacity(Struct, frozen=True, kw_only=True):
    family: str
    total: str = ""
    used: int = 0


class AddressPoolStatus(Struct, frozen=True, kw_only=True):
    observed_generation: int = 0
    ranges: str = ""
    used: str = ""
    free: str = ""
    capacity: tuple[Capacity, ...] = ()
    conditions: tuple[Condition, ...] = ()


class AddressPool(Struct, frozen=True, kw_only=True):
    metadata: Meta
    spec: AddressPoolSpec = AddressPoolSpec()
    status: AddressPoolStatus = AddressPoolStatus()


class ClaimPort(Struct, frozen=True, kw_only=True):
    protocol: str
    port: int


class Claim(Struct, frozen=True, kw_only=True):
    """A Service's claim to a VirtualIP; without uid it is a reservation."""

    namespace: str
    name: str
    uid: str = ""
    ports: tuple[ClaimPort, ...] = ()


class VirtualIPAnnounce(Struct, frozen=True, kw_only=True):
    """The resolved intent: all that an agent needs to know of pool, Service and annotations."""

    protocols: tuple[str, ...] = ("Layer2",)
    interfaces: tuple[str, ...] = ()
    traffic_policy: str = "Cluster"
    without_endpoints: str = "Withdraw"
    health_check_node_port: int = 0
    include_excluded_nodes: bool = False
    node_selector: Selector | None = None
    announcers: str = "EveryEligibleNode"  # or HolderOnly: who announces on layer 3
    advertisements: tuple[str, ...] = ()  # BGPAdvertisements whose serviceSelector selects one of its Services


class VirtualIPSpec(Struct, frozen=True, kw_only=True):
    address: str
    purpose: str = "Service"
    pool_name: str = ""
    sharing_key: str | None = None
    group: str = ""
    retain_until: str | None = None
    claims: tuple[Claim, ...] = ()
    announce: VirtualIPAnnounce = VirtualIPAnnounce()


class AnnouncerException(Struct, frozen=True, kw_only=True):
    """A node that should announce a VIP on layer 3 and does not, and why."""

    node: str
    reason: str
    message: str = ""


class Announcers(Struct, frozen=True, kw_only=True):
    """How many nodes are to announce a VIP on layer 3, and how many do."""

    desired: int = 0
    ready: int = 0
    exceptions: tuple[AnnouncerException, ...] = ()


class VirtualIPStatus(Struct, frozen=True, kw_only=True):
    observed_generation: int = 0
    holder: str = ""
    epoch: int = 0
    holder_since: str | None = None
    services: str = ""
    announced_by: str = ""
    via: str = ""
    announcers: Announcers | None = None
    conditions: tuple[Condition, ...] = ()


class VirtualIP(Struct, frozen=True, kw_only=True):
    metadata: Meta
    spec: VirtualIPSpec
    status: VirtualIPStatus = VirtualIPStatus()


class SegmentSpec(Struct, frozen=True, kw_only=True):
    interfaces: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()
    node_selector: Selector | None = None
    profile: str = "Default"
    when_cut_off: str = "Hold"


class Seat(Struct, frozen=True, kw_only=True):
    node: str
    tenure: int
    version: int
    boot_id: str = msgspec.field(name="bootID")
    mode: str  # Leased, Witnessed, Resting
    state: str  # Live, Gone
    machine_id: str = msgspec.field(default="", name="machineID")
    mac: str = ""
    addresses: tuple[str, ...] = ()
    eligible: bool = False
    witnesses: tuple[str, ...] = ()


class Ended(Struct, frozen=True, kw_only=True):
    tenure: int
    node: str
    mode: str
    witnesses: tuple[str, ...] = ()


class Group(Struct, frozen=True, kw_only=True):
    name: str
    tenure: int  # the holder's; 0: vacant
    epoch: int
    after: tuple[int, ...] = ()


class Summary(Struct, frozen=True, kw_only=True):
    live: str = ""
    groups: str = ""
    modes: str = ""


class SegmentStatus(Struct, frozen=True, kw_only=True):
    """The table of a layer-2 segment."""

    revision: int
    next_tenure: int
    summary: Summary = Summary()
    seats: tuple[Seat, ...] = ()
    ended: tuple[Ended, ...] = ()
    groups: tuple[Group, ...] = ()


class Segment(Struct, frozen=True, kw_only=True):
    metadata: Meta
    spec: SegmentSpec = SegmentSpec()
    status: SegmentStatus | None = None


class NodeAgentSpec(Struct, frozen=True, kw_only=True):
    maintenance: str = "None"
    reason: str = ""


class Applied(Struct, frozen=True, kw_only=True):
    resource_version: str = ""


class VIPException(Struct, frozen=True, kw_only=True):
    """What this node should announce and does not, and why."""

    vip: str
    reason: str
    message: str = ""
    since: str | None = None


class VIPConflict(Struct, frozen=True, kw_only=True):
    """A VIP that a station which is no seat of ours claims as well."""

    vip: str
    mac: str
    since: str | None = None


class VIPUnreachable(Struct, frozen=True, kw_only=True):
    """A VIP that another node announces and that this one, next in line, asks for in vain."""

    vip: str
    message: str = ""
    since: str | None = None


class AgentVIPs(Struct, frozen=True, kw_only=True):
    summary: str = ""
    desired: int = 0
    announced: int = 0
    exceptions: tuple[VIPException, ...] = ()
    more_exceptions: int = 0
    conflicts: tuple[VIPConflict, ...] = ()
    probed: int = 0
    unreachable: tuple[VIPUnreachable, ...] = ()


class AgentSegment(Struct, frozen=True, kw_only=True):
    """This node's seat on one segment. *fence* says what the gate here cannot keep back; empty: nothing."""

    name: str
    interface: str = ""
    mode: str = ""
    tenure: int = 0
    witnesses: tuple[str, ...] = ()
    fence: str = ""


class AgentLink(Struct, frozen=True, kw_only=True):
    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    subnets: tuple[str, ...] = ()


class AgentSession(Struct, frozen=True, kw_only=True):
    """A BGP session of this node. *peer*: the BGPPeer's name, or that of the setting or annotation that asks for it.

    *advertised*: the paths that went out, as of the last write; a change of it alone is no reason to write.
    """

    peer: str
    remote: str = ""  # the router's address, or where it has none the interface
    state: str  # Idle, Connect, Active, OpenSent, OpenConfirm, Established (RFC 4271, section 8.2.2)
    asn: int = 0  # of the router; 0: not known
    advertised: int = 0
    since: str | None = None
    last_error: str = ""


class AgentProblem(Struct, frozen=True, kw_only=True):
    """Why this node has no session with *peer*, or does not do what an *advertisement* says; neither: with anybody."""

    reason: str
    peer: str = ""
    advertisement: str = ""
    message: str = ""


class AgentBGP(Struct, frozen=True, kw_only=True):
    summary: str = ""  # "1/2": established of all sessions, for people
    sessions: tuple[AgentSession, ...] = ()
    problems: tuple[AgentProblem, ...] = ()


class NodeAgentStatus(Struct, frozen=True, kw_only=True):
    observed_generation: int = 0
    version: str = ""
    boot_id: str = msgspec.field(default="", name="bootID")
    kube_proxy: str = ""
    applied: Applied | None = None
    vips: AgentVIPs | None = None
    segments: tuple[AgentSegment, ...] = ()
    bgp: AgentBGP | None = None
    links: tuple[AgentLink, ...] = ()
    conditions: tuple[Condition, ...] = ()


class NodeAgent(Struct, frozen=True, kw_only=True):
    metadata: Meta
    spec: NodeAgentSpec = NodeAgentSpec()
    status: NodeAgentStatus = NodeAgentStatus()


# -- where they live -------------------------------------------------------------------------------------------------


class Stored(Protocol):
    """Whatever the API server keeps: it has metadata."""

    @property
    def metadata(self) -> Meta: ...


SERVICES = Resource("", "v1", "services", "Service", Service)
NODES = Resource("", "v1", "nodes", "Node", Node, namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", Namespace, namespaced=False)
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", EndpointSlice)
SERVICECIDRS = Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", ServiceCIDR, namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", Lease)
SECRETS = Resource("", "v1", "secrets", "Secret", Secret)
ADDRESSPOOLS = Resource("roost.dev", "v1alpha1", "addresspools", "AddressPool", AddressPool, namespaced=False)
VIRTUALIPS = Resource("roost.dev", "v1alpha1", "virtualips", "VirtualIP", VirtualIP, namespaced=False)
SEGMENTS = Resource("roost.dev", "v1alpha1", "segments", "Segment", Segment, namespaced=False)
NODEAGENTS = Resource("roost.dev", "v1alpha1", "nodeagents", "NodeAgent", NodeAgent, namespaced=False)
