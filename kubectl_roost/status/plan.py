"""Reads a snapshot of the cluster's objects and says how its VIPs are, and what needs attention."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from roost.kube.wire import AddressPool, Condition, NodeAgent, Seat, Segment, Service, VirtualIP
from roost.kube.wire_bgp import BGPPeer
from roost.words import GROUP, KUBE_VIP_CLASS, KUBE_VIP_IGNORE, ROOST_CLASS, Reason, order, truthy, vip_address

ALLOCATED = f"{GROUP}/Allocated"
OUR_CLASSES = {"", ROOST_CLASS, KUBE_VIP_CLASS}
NO_ENDPOINT = frozenset({Reason.NO_ENDPOINTS, Reason.NO_LOCAL_ENDPOINT})  # nobody to answer: the Service's own affair
AS_MEANT = NO_ENDPOINT | {Reason.EXCLUDED, Reason.NOT_SELECTED, Reason.DRAINING}  # why a node does not announce
UNSEEN = "NotSeen"  # no controller or agent has said anything of the object
UNSEEN_MESSAGE = "the controller has not said anything of it yet: does roost-cloudprovider run?"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read; *unread* says of a kind that could not be, why."""

    vips: tuple[VirtualIP, ...] = ()
    segments: tuple[Segment, ...] = ()
    agents: tuple[NodeAgent, ...] = ()
    pools: tuple[AddressPool, ...] = ()
    services: tuple[Service, ...] = ()
    peers: tuple[BGPPeer, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Vip:
    """One address. *ready* is True, False or Unknown; of a Reserved or resting address nothing is expected."""

    address: str
    services: str
    pool: str
    group: str
    holder: str
    epoch: int
    ready: str
    reason: str
    message: str = ""
    doubts: tuple[Condition, ...] = ()  # a stranger claims it too, or the next in line gets no answer
    announced_by: str = ""  # the node, or on layer 3 how many of how many
    on_segment: bool = True  # its group has a holder at a segment's table


@dataclass(frozen=True, slots=True)
class SeatRow:
    node: str
    tenure: int
    mode: str
    state: str
    eligible: bool
    groups: int


@dataclass(frozen=True, slots=True)
class Table:
    """One segment: its seats, and how many groups are held and vacant."""

    name: str
    revision: int
    seats: tuple[SeatRow, ...]
    held: int
    vacant: int


@dataclass(frozen=True, slots=True)
class Exempt:
    """A VIP that a node should announce and does not."""

    vip: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Agent:
    node: str
    ready: str
    reason: str
    message: str
    maintenance: str
    version: str
    vips: str
    seat: str  # Live, Gone, or empty: it sits nowhere
    exceptions: tuple[Exempt, ...]
    more: int  # exceptions beyond those that the node lists


@dataclass(frozen=True, slots=True)
class Pool:
    name: str
    ranges: str
    used: str
    free: str
    ready: str
    reason: str
    message: str
    warnings: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Router:
    """A BGPPeer; *established* is "11/12": on how many of the nodes that should have a session."""

    name: str
    remote: str
    established: str
    ready: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A Service of type LoadBalancer without an address."""

    service: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    vips: tuple[Vip, ...]
    waiting: tuple[Waiting, ...]
    segments: tuple[Table, ...]
    nodes: tuple[Agent, ...]
    pools: tuple[Pool, ...]
    routers: tuple[Router, ...]
    unread: dict[str, str]  # kinds that could not be read, and why
    attention: tuple[str, ...]  # a sentence each; empty: all is well


def report(now: Snapshot) -> Report:
    """All that a person wants to know first, in the order of the page."""
    vips = tuple(_vip(vip) for vip in sorted(now.vips, key=lambda vip: order(vip_address(vip.metadata.name))))
    waiting = tuple(_waiting(now.services))
    segments = tuple(_table(segment) for segment in sorted(now.segments, key=lambda s: s.metadata.name))
    nodes = tuple(_agent(agent, now.segments) for agent in sorted(now.agents, key=lambda a: a.metadata.name))
    pools = tuple(_pool(pool) for pool in sorted(now.pools, key=lambda p: p.metadata.name))
    routers = tuple(_router(peer) for peer in sorted(now.peers, key=lambda p: p.metadata.name))
    attention = (
        *(f"{kind}: {why}" for kind, why in now.unread.items()),
        *(f"Service {one.service}: {one.reason}: {one.message}" for one in waiting),
        *(f"VIP {vip.address}: {_because(vip.reason, vip.message)}" for vip in vips if _troubles(vip)),
        *(f"VIP {v.address}: {_because(d.reason, d.message)}" for v in vips for d in v.doubts if d.reason != v.reason),
        *_about_segments(segments, vips),
        *_about_nodes(nodes),
        *_about_pools(pools),
        *(f"BGPPeer {r.name}: {_because(r.reason, r.message)}" for r in routers if r.ready != "True"),
    )
    return Report(vips, waiting, segments, nodes, pools, routers, now.unread, attention)


# -- VIPs and Services -----------------------------------------------------------------------------------------------


def _vip(vip: VirtualIP) -> Vip:
    spec, status = vip.spec, vip.status
    ready, reason, message = _ready(status.conditions)
    resting = bool(spec.retain_until) and not any(claim.uid for claim in spec.claims)
    if vip.metadata.deletion_timestamp:
        ready, reason, message = "", "Releasing", "waits until every node has withdrawn it"
    elif resting:
        ready, reason, message = "", "Resting", f"kept for {_claimants(vip)} until {spec.retain_until}"
    elif spec.purpose != "Service":
        ready, reason, message = "", spec.purpose, ""
    return Vip(
        address=spec.address,
        services=status.services or _claimants(vip),
        pool=spec.pool_name,
        group=spec.group,
        holder=status.holder,
        epoch=status.epoch,
        ready=ready,
        reason=reason,
        message=message,
        doubts=_doubts(status.conditions) if ready else (),
        announced_by=status.announced_by,
        on_segment="Layer2" in spec.announce.protocols or spec.announce.announcers == "HolderOnly",
    )


def _doubts(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    bad = {("AddressConflict", "True"), ("Reachable", "False")}
    return tuple(condition for condition in conditions if (condition.type, condition.status) in bad)


def _claimants(vip: VirtualIP) -> str:
    """The first claimant and how many more, as the controller writes it into status.services."""
    names = [f"{claim.namespace}/{claim.name}" for claim in vip.spec.claims]
    return "" if not names else names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"


def _troubles(vip: Vip) -> bool:
    return vip.ready in {"False", "Unknown"} and vip.reason not in NO_ENDPOINT


def _waiting(services: Iterable[Service]) -> Iterable[Waiting]:
    for service in sorted(services, key=lambda s: (s.metadata.namespace, s.metadata.name)):
        meta = service.metadata
        name = f"{meta.namespace}/{meta.name}"
        if service.spec.type != "LoadBalancer" or meta.deletion_timestamp or truthy(meta.annotations, KUBE_VIP_IGNORE):
            continue
        said = _condition(service.status.conditions, ALLOCATED)
        if said is not None and said.status != "True":
            yield Waiting(name, said.reason, said.message)
        elif said is None and not service.status.load_balancer.ingress and _may_be_ours(service):
            yield Waiting(name, UNSEEN, UNSEEN_MESSAGE)


def _may_be_ours(service: Service) -> bool:
    return (service.spec.load_balancer_class or "") in OUR_CLASSES


# -- segments and nodes ----------------------------------------------------------------------------------------------


def _table(segment: Segment) -> Table:
    status = segment.status
    if status is None:
        return Table(segment.metadata.name, 0, (), 0, 0)
    held: dict[int, int] = {}
    for group in status.groups:
        held[group.tenure] = held.get(group.tenure, 0) + 1
    vacant = held.pop(0, 0)
    seats = sorted(status.seats, key=lambda seat: seat.node)
    rows = tuple(SeatRow(s.node, s.tenure, s.mode, s.state, s.eligible, held.get(s.tenure, 0)) for s in seats)
    return Table(segment.metadata.name, status.revision, rows, sum(held.values()), vacant)


def _agent(agent: NodeAgent, segments: Iterable[Segment]) -> Agent:
    name, status = agent.metadata.name, agent.status
    ready, reason, message = _ready(status.conditions)
    seat = _seated(seat for s in segments for seat in (s.status.seats if s.status else ()) if seat.node == name)
    if seat == "Gone":  # what its agent said last is old
        ready, reason, message = "Unknown", "SeatGone", "the agent, the node or its link is down"
    said = status.vips
    listed = said.exceptions if said else ()
    return Agent(
        node=name,
        ready=ready,
        reason=reason,
        message=message,
        maintenance=agent.spec.maintenance,
        version=status.version,
        vips=said.summary if said else "",
        seat=seat,
        exceptions=tuple(Exempt(one.vip, one.reason, one.message) for one in listed),
        more=said.more_exceptions if said else 0,
    )


def _seated(seats: Iterable[Seat]) -> str:
    states = {seat.state for seat in seats}
    return "Live" if "Live" in states else "Gone" if states else ""


def _about_segments(segments: Iterable[Table], vips: tuple[Vip, ...]) -> Iterable[str]:
    expected = any(vip.ready and vip.on_segment for vip in vips)
    for segment in segments:
        if expected and not any(seat.state == "Live" for seat in segment.seats):
            yield f"segment {segment.name}: no live seat, nobody announces on it"
        elif segment.vacant and not any(seat.state == "Live" and seat.eligible for seat in segment.seats):
            yield f"segment {segment.name}: {segment.vacant} groups are vacant and no live seat is eligible"


def _about_nodes(nodes: Iterable[Agent]) -> Iterable[str]:
    for node in nodes:
        if node.ready != "True":
            yield f"node {node.node}: {_because(node.reason, node.message)}"
        elif node.maintenance == "None" and (
            troubles := [one for one in node.exceptions if one.reason not in AS_MEANT]
        ):
            first, more = troubles[0], len(troubles) - 1 + node.more
            others = f" (and {more} more)" if more else ""
            yield f"node {node.node}: does not announce {first.vip}: {_because(first.reason, first.message)}{others}"


# -- pools and conditions --------------------------------------------------------------------------------------------


def _pool(pool: AddressPool) -> Pool:
    status = pool.status
    ready, reason, message = _ready(status.conditions)
    abnormal = (c for c in status.conditions if c.type in {"Overlapping", "Exhausted"})
    warnings = tuple(c for c in abnormal if c.status == "True" or c.reason == Reason.NEARLY_FULL)
    ranges = status.ranges or ", ".join(pool.spec.addresses)
    return Pool(pool.metadata.name, ranges, status.used, status.free, ready, reason, message, warnings)


def _about_pools(pools: Iterable[Pool]) -> Iterable[str]:
    for pool in pools:
        if pool.ready != "True":
            yield f"pool {pool.name}: {_because(pool.reason, pool.message)}"
        yield from (f"pool {pool.name}: {_because(warning.reason, warning.message)}" for warning in pool.warnings)


def _router(peer: BGPPeer) -> Router:
    remote, status = peer.spec.remote, peer.status
    ready, reason, message = _ready(status.conditions)
    return Router(peer.metadata.name, remote.address or remote.interface, status.established, ready, reason, message)


def _condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def _ready(conditions: Iterable[Condition]) -> tuple[str, str, str]:
    """Status, reason and message of condition Ready."""
    said = _condition(conditions, "Ready")
    return (said.status, said.reason, said.message) if said else ("Unknown", UNSEEN, "nothing has been said of it yet")


def _because(reason: str, message: str) -> str:
    return f"{reason}: {message}" if message else reason
