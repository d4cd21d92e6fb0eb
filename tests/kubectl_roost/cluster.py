"""A small cluster as the command sees it, and its parts."""

from ipaddress import ip_address

from kubectl_roost.status.plan import Snapshot
from roost.kube.wire import (
    AddressPool,
    AddressPoolSpec,
    AddressPoolStatus,
    AgentVIPs,
    Claim,
    Condition,
    Group,
    Ingress,
    LoadBalancer,
    Meta,
    NodeAgent,
    NodeAgentSpec,
    NodeAgentStatus,
    Seat,
    Segment,
    SegmentStatus,
    Service,
    ServiceSpec,
    ServiceStatus,
    VIPException,
    VirtualIP,
    VirtualIPSpec,
    VirtualIPStatus,
)
from roost.words import vip_name

WHEN = "2026-01-01T00:00:00Z"


def condition(type_: str, status: str, reason: str, message: str = "") -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message, last_transition_time=WHEN)


def vip(
    address: str, reason: str = "Announced", message: str = "", *, holder: str = "n1", spec: VirtualIPSpec | None = None
) -> VirtualIP:
    """A VIP of Service shop/web: ready if *reason* is Announced; nothing is said of it if it is empty."""
    said = (condition("Ready", "True" if reason == "Announced" else "False", reason, message),) if reason else ()
    web = Claim(namespace="shop", name="web", uid="1")
    return VirtualIP(
        metadata=Meta(name=vip_name(ip_address(address))),
        spec=spec or VirtualIPSpec(address=address, pool_name="prod", group="b-1-7", claims=(web,)),
        status=VirtualIPStatus(holder=holder, epoch=7 if holder else 0, services="shop/web", conditions=said),
    )


def service(name: str, *, spec: ServiceSpec | None = None, address: str = "", said: Condition | None = None) -> Service:
    given = LoadBalancer(ingress=(Ingress(ip=address),)) if address else LoadBalancer()
    return Service(
        metadata=Meta(namespace="shop", name=name),
        spec=spec or ServiceSpec(type="LoadBalancer"),
        status=ServiceStatus(load_balancer=given, conditions=(said,) if said else ()),
    )


def seat(node: str, tenure: int, state: str = "Live", *, eligible: bool = True) -> Seat:
    return Seat(node=node, tenure=tenure, version=1, boot_id="b", mode="Leased", state=state, eligible=eligible)


def segment(*seats: Seat, groups: tuple[Group, ...] = ()) -> Segment:
    table = SegmentStatus(revision=12, next_tenure=9, seats=seats, groups=groups)
    return Segment(metadata=Meta(name="10.60.0.0-24"), status=table)


def group(name: str, tenure: int) -> Group:
    return Group(name=name, tenure=tenure, epoch=1)


def agent(
    name: str, *, maintenance: str = "None", exceptions: tuple[VIPException, ...] = (), more: int = 0
) -> NodeAgent:
    vips = AgentVIPs(summary="1/2" if exceptions else "2/2", exceptions=exceptions, more_exceptions=more)
    return NodeAgent(
        metadata=Meta(name=name),
        spec=NodeAgentSpec(maintenance=maintenance),
        status=NodeAgentStatus(version="0.1.0", vips=vips, conditions=(condition("Ready", "True", "Running"),)),
    )


def pool(name: str, *conditions: Condition) -> AddressPool:
    said = conditions or (condition("Ready", "True", "Parsed"),)
    return AddressPool(
        metadata=Meta(name=name),
        spec=AddressPoolSpec(addresses=("192.0.2.0/28",)),
        status=AddressPoolStatus(ranges="192.0.2.0/28", used="2", free="12", conditions=said),
    )


def well() -> Snapshot:
    """All as it should be: two seats, two groups, one VIP of each family, one pool, two Services with addresses."""
    return Snapshot(
        vips=(vip("2001:db8::7", holder="n2"), vip("192.0.2.7")),
        segments=(
            segment(seat("n1", 1), seat("n2", 2), groups=(group("b-1-7", 1), group("b-1-8", 2), group("b-1-9", 1))),
        ),
        agents=(agent("n2"), agent("n1")),
        pools=(pool("prod"),),
        services=(service("web", address="192.0.2.7", said=condition("roost.dev/Allocated", "True", "Allocated")),),
    )
