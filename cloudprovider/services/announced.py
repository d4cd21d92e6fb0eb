"""Who answers for a VIP, read from the tables of the segments: the mirror in VirtualIP.status and on the Service."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cloudprovider.model import NORMAL, WARNING, Say
from cloudprovider.services import reached
from cloudprovider.services.reached import NOT_ANNOUNCED, Reach
from cloudprovider.services.status import note, stamp, with_condition
from roost.kube.wire import (
    Announcers,
    Claim,
    Condition,
    Group,
    NodeAgent,
    Seat,
    Segment,
    Service,
    VIPException,
    VirtualIP,
    VirtualIPStatus,
)
from roost.words import ANNOUNCED, CONFLICT, REACHABLE, Reason

SHORT = 256  # characters of services, announcedBy and via (the schema's maxLength)
WITHOUT_ENDPOINT = frozenset({Reason.NO_ENDPOINTS, Reason.NO_LOCAL_ENDPOINT})
TOLD = {
    Reason.EXCLUDED: "excluded by label",
    Reason.LINK_DOWN: "link down",
    Reason.DRAINING: "draining",
    Reason.NOT_SELECTED: "not selected",
    Reason.NOT_IN_SUBNET: "not in its subnet",
    Reason.NO_INTERFACE: "without an interface for it",
    Reason.NO_SUCH_INTERFACE: "without that interface",
}


@dataclass(frozen=True, slots=True)
class Table:
    """The table of one segment, ready to be asked for a group."""

    interfaces: tuple[str, ...]
    groups: Mapping[str, Group]
    seats: Mapping[int, Seat]

    @classmethod
    def of(cls, segment: Segment) -> "Table":
        status = segment.status
        return cls(
            interfaces=segment.spec.interfaces,
            groups={group.name: group for group in status.groups} if status else {},
            seats={seat.tenure: seat for seat in status.seats} if status else {},
        )

    def holder(self, group: str) -> Seat | None:
        row = self.groups.get(group)
        seat = self.seats.get(row.tenure) if row and row.tenure else None
        return seat if seat and seat.state == "Live" else None


@dataclass(frozen=True, slots=True)
class Sight:
    """Who holds a VIP, or why nobody does."""

    status: str  # of condition Announced: True, False, Unknown
    reason: str
    message: str
    holder: str = ""
    epoch: int = 0
    announced_by: str = ""
    via: str = ""
    reach: Reach = NOT_ANNOUNCED
    conflict: str = ""  # which stranger claims it too; empty: none
    announcers: Announcers | None = None  # on layer 3
    brief: str = ""  # the message for its Service, without what changes with every node; empty: the message itself


def changed_groups(before: Segment | None, after: Segment | None) -> frozenset[str]:
    """The groups whose holder another look at this table shows differently."""
    old, new = (Table.of(segment) if segment else Table((), {}, {}) for segment in (before, after))
    return frozenset(
        name
        for name in old.groups.keys() | new.groups.keys()
        if old.groups.get(name) != new.groups.get(name) or _face(old.holder(name)) != _face(new.holder(name))
    )


def _face(seat: Seat | None) -> tuple[str, str] | None:
    return (seat.node, seat.mac) if seat else None


def look(vip: VirtualIP, tables: Iterable[Table], agents: Mapping[str, NodeAgent]) -> Sight:
    """Who answers for *vip* now."""
    known = [table for table in tables if table.seats]
    live = {seat.node for table in known for seat in table.seats.values() if seat.state == "Live"}
    sight = _look(vip, known, agents)
    if not sight.holder:
        return replace(sight, conflict=reached.conflict(vip.spec.address, live, agents))
    others = {
        seat.node
        for table in known
        if table.holder(vip.spec.group)
        for seat in table.seats.values()
        if seat.state == "Live" and seat.node != sight.holder
    }
    found = reached.reach(vip.spec.address, sight.holder, others, agents) if sight.status == "True" else NOT_ANNOUNCED
    return replace(sight, reach=found, conflict=reached.conflict(vip.spec.address, live, agents))


def _look(vip: VirtualIP, known: list[Table], agents: Mapping[str, NodeAgent]) -> Sight:
    spec = vip.spec
    if not any(claim.uid for claim in spec.claims):
        until = f" until {spec.retain_until}" if spec.retain_until else ""
        return Sight("False", Reason.RELEASING, f"{spec.address} is kept{until}; nobody announces it")
    said = {
        node: item
        for node, agent in agents.items()
        for item in reached.vips(agent).exceptions
        if item.vip == spec.address
    }
    held = [(table, seat) for table in known if (seat := table.holder(spec.group))]
    if not held:
        return _nobody(vip, known, said)
    table, seat = held[0]
    link = _link(vip, table, seat, agents.get(seat.node))
    by = ", ".join(sorted({seat.node for _, seat in held}))[:SHORT]
    via = " ".join(part for part in ("Layer2", link, seat.mac) if part)[:SHORT]
    epoch = table.groups[spec.group].epoch
    if exception := said.get(seat.node):
        told = exception.message or f"{seat.node} holds {spec.address} and does not announce it"
        return Sight("False", exception.reason, told, seat.node, epoch, "", via)
    where = ", ".join(part for part in (link, seat.mac) if part)
    told = f"{spec.address} is answered by {seat.node}" + (f" ({where})" if where else "")
    return Sight("True", Reason.ANNOUNCED, told, seat.node, epoch, by, via)


def _link(vip: VirtualIP, table: Table, seat: Seat, agent: NodeAgent | None) -> str:
    """The interface that the holder announces on, as far as it can be told from here."""
    links = [link.name for link in agent.status.links if link.mac == seat.mac] if agent else []
    return next(iter(links or vip.spec.announce.interfaces or table.interfaces), "")


def _nobody(vip: VirtualIP, tables: list[Table], said: Mapping[str, VIPException]) -> Sight:
    spec = vip.spec
    live = {seat.node: seat for table in tables for seat in table.seats.values() if seat.state == "Live"}
    if not live:
        return Sight(
            "False", Reason.NO_ELIGIBLE_NODE, f"no node is there to announce {spec.address}: no agent is seated"
        )
    reasons = Counter(item.reason for node, item in said.items() if node in live)
    if reasons and reasons.keys() <= WITHOUT_ENDPOINT:
        policy = spec.announce.traffic_policy
        return Sight("False", Reason.NO_ENDPOINTS, f"no ready endpoint (policy {policy})")
    for seat in live.values():
        if not seat.eligible and seat.node not in said:
            reasons[Reason.NOT_ELIGIBLE] += 1
    if sum(reasons.values()) < len(live):
        return Sight("Unknown", Reason.NO_HOLDER, f"no node has taken {spec.address} yet")
    told = ", ".join(
        f"{count} {TOLD.get(Reason(why), why) if why in set(Reason) else why}" for why, count in sorted(reasons.items())
    )
    message = f"none of {len(live)} nodes may announce {spec.address}" + (f": {told}" if told else "")
    return Sight("False", Reason.NO_ELIGIBLE_NODE, message)


# -- the mirror on the VirtualIP ----------------------------------------------------------------------------------


def vip_status(vip: VirtualIP, sight: Sight, now: datetime) -> VirtualIPStatus:
    """VirtualIP.status as it should be; equal to what is there if nothing is to be written."""
    have = vip.status
    same = bool(sight.holder) and (have.holder, have.epoch) == (sight.holder, sight.epoch)
    conditions = have.conditions
    for kind in ("Announced", "Ready"):
        conditions = with_condition(conditions, _condition(kind, sight, now))
    conditions = with_condition(conditions, _condition("Reachable", sight.reach, now))
    conditions = _with_conflict(conditions, "AddressConflict", [sight], now)
    return VirtualIPStatus(
        observed_generation=vip.metadata.generation,
        holder=sight.holder,
        epoch=sight.epoch,
        holder_since=have.holder_since if same else stamp(now) if sight.holder else None,
        services=_services(vip.spec.claims),
        announced_by=sight.announced_by,
        via=sight.via,
        announcers=sight.announcers,
        conditions=conditions,
    )


def vip_event(vip: VirtualIP, sight: Sight) -> Say | None:
    """The Event of a VIP that changes hands."""
    old = vip.status.holder
    if not old or not sight.holder or old == sight.holder:
        return None
    return Say(NORMAL, "HolderChanged", note(f"{old} → {sight.holder}, epoch {sight.epoch}"))


def _services(claims: tuple[Claim, ...]) -> str:
    first = next((claim for claim in claims if claim.uid), claims[0] if claims else None)
    if first is None:
        return ""
    more = f" +{len(claims) - 1}" if len(claims) > 1 else ""
    return f"{first.namespace}/{first.name}{more}{'' if first.uid else ' (resting)'}"[:SHORT]


def _condition(kind: str, sight: Sight | Reach, now: datetime) -> Condition:
    return Condition(
        type=kind,
        status=sight.status,
        reason=str(sight.reason),
        message=sight.message,
        last_transition_time=stamp(now),
    )


def _with_conflict(
    have: tuple[Condition, ...], kind: str, sights: Iterable[Sight], now: datetime
) -> tuple[Condition, ...]:
    """The conditions with the abnormal one that says which strangers claim a VIP; without it while none does."""
    told = "; ".join(sight.conflict for sight in sights if sight.conflict)
    if not told:
        return tuple(item for item in have if item.type != kind)
    return with_condition(have, _condition(kind, Sight("True", Reason.ADDRESS_CONFLICT, told), now))


# -- the conditions on the Service -----------------------------------------------------------------------------------


def service_conditions(have: tuple[Condition, ...], sights: tuple[Sight, ...], now: datetime) -> tuple[Condition, ...]:
    """The conditions of a Service with what is seen of its addresses; without addresses nothing is said of them."""
    if not sights:
        return tuple(item for item in have if item.type not in {ANNOUNCED, REACHABLE, CONFLICT})
    told = [replace(sight, message=sight.brief or sight.message) for sight in sights]
    have = with_condition(have, _condition(ANNOUNCED, _worst(told), now))
    have = with_condition(have, _condition(REACHABLE, _worst([sight.reach for sight in sights]), now))
    return _with_conflict(have, CONFLICT, sights, now)


def _worst(seen: Sequence[Sight | Reach]) -> Sight:
    """What holds for all of them: true if all are, else that of the first that is false, else of the first unknown."""
    rank = ["False", "Unknown", "True"]
    first = min(seen, key=lambda one: rank.index(one.status))
    return Sight(first.status, first.reason, "; ".join(one.message for one in seen if one.status == first.status))


def service_events(service: Service, want: tuple[Condition, ...]) -> tuple[Say, ...]:
    """The Events that a change of these conditions deserves; none while they are unknown, or say the same."""
    before = {item.type: item for item in service.status.conditions}
    after = {item.type: item for item in want}
    said = (
        _about_announced(before.get(ANNOUNCED), after.get(ANNOUNCED)),
        _about_reachable(before.get(REACHABLE), after.get(REACHABLE)),
        _about_conflict(before.get(CONFLICT), after.get(CONFLICT)),
    )
    return tuple(event for event in said if event is not None)


def _about_announced(have: Condition | None, want: Condition | None) -> Say | None:
    if want is None or _same(have, want):
        return None
    if want.status == "True":
        return Say(NORMAL, "Announced", note(want.message))
    if want.status == "Unknown" or (have and (have.status, have.reason) == (want.status, want.reason)):
        return None
    if want.reason == Reason.NO_ENDPOINTS:
        return Say(NORMAL, "NoEndpoints", note(want.message))
    if want.reason == Reason.ADDRESS_CONFLICT:
        return None  # the condition of that name tells it
    return Say(WARNING, "UnAvailableLoadBalancer", note(f"{want.reason}: {want.message}"))


def _about_reachable(have: Condition | None, want: Condition | None) -> Say | None:
    if want is None or (have and have.status == want.status):
        return None
    if want.status == "False":
        return Say(WARNING, "NotReachable", note(want.message))
    if want.status == "True" and have and have.status == "False":
        return Say(NORMAL, "ProbeAnswered", note(want.message))
    return None


def _about_conflict(have: Condition | None, want: Condition | None) -> Say | None:
    if want is not None:
        return None if have and have.message == want.message else Say(WARNING, "AddressConflict", note(want.message))
    return Say(NORMAL, "AddressConflictEnded", note(f"it is over: {have.message}")) if have else None


def _same(have: Condition | None, want: Condition) -> bool:
    return have is not None and (have.status, have.reason, have.message) == (want.status, want.reason, want.message)
