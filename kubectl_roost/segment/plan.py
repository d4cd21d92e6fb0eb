"""Reads tables and says who sits, who holds what, who is outwaited by asking whom, and who would be next."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from roost.kube.wire import Ended, Group, NodeAgent, Seat, Segment, SegmentStatus, VirtualIP
from roost.rendezvous import line, shared
from roost.words import order, vip_address

VACANT = "(vacant)"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read; *unread* says of a kind that could not be, why."""

    segments: tuple[Segment, ...] = ()
    vips: tuple[VirtualIP, ...] = ()
    agents: tuple[NodeAgent, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeatRow:
    """A node's place. *since*: when its agent became ready, or ceased to be (RFC 3339); "" if it never said."""

    node: str
    tenure: int
    mode: str
    state: str
    eligible: bool
    witnesses: tuple[str, ...]
    groups: int
    interface: str
    fence: str
    since: str


@dataclass(frozen=True, slots=True)
class Holding:
    """What one tenure holds, and who would inherit how much of it if its node died now."""

    holder: str
    tenure: int
    groups: int
    vips: int
    heirs: dict[str, int]


@dataclass(frozen=True, slots=True)
class Wait:
    """Groups that are not claimed before a former tenure is outwaited.

    *ask*: how many of *witnesses* must say that it is gone; 0: nobody is asked, its time must run out.
    """

    groups: tuple[str, ...]
    holder: str
    tenure: int  # that is outwaited
    node: str
    mode: str
    ask: int
    witnesses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """One segment. *revision* 0: it has no table yet."""

    name: str
    profile: str
    when_cut_off: str
    revision: int
    seats: tuple[SeatRow, ...]
    holdings: tuple[Holding, ...]
    waits: tuple[Wait, ...]
    vacant: int


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group. *next*: who inherits it, in this order, where they may hold it and are not crowded."""

    segment: str
    name: str
    vips: tuple[str, ...]
    services: tuple[str, ...]
    holder: str
    tenure: int
    epoch: int
    since: str
    waits: tuple[Wait, ...]
    next: tuple[str, ...]
    not_eligible: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be drawn: one segment or all, or of those one group, named by itself or by one of its VIPs."""

    segment: str = ""
    vip: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class NotThere:
    """Nothing to draw, and why."""

    message: str


def find(now: Snapshot, wanted: Wanted) -> tuple[View, ...] | tuple[GroupView, ...] | NotThere:
    """All that is wanted, in the order of names."""
    segments = sorted(now.segments, key=lambda segment: segment.metadata.name)
    if wanted.segment:
        segments = [segment for segment in segments if segment.metadata.name == wanted.segment]
    if not segments:
        return NotThere(f"there is no Segment {wanted.segment}" if wanted.segment else "there is no Segment")
    if not wanted.vip and not wanted.group:
        return tuple(_view(segment, now) for segment in segments)
    group = wanted.group or _group_of(now.vips, wanted.vip)
    found = tuple(
        _group(segment.metadata.name, segment.status, row, now)
        for segment in segments
        if segment.status is not None
        for row in segment.status.groups
        if row.name == group
    )
    if found:
        return found
    return NotThere(f"no segment has a group {group}" if group else f"there is no VIP {wanted.vip} with a group")


def _group_of(vips: Iterable[VirtualIP], address: str) -> str:
    """The group of the VIP with this address, however that is written; "" if there is none."""
    try:
        wanted = ip_address(address)
    except ValueError:
        return ""
    return next((vip.spec.group for vip in vips if vip_address(vip.metadata.name) == wanted), "")


# -- one segment -----------------------------------------------------------------------------------------------------


def _view(segment: Segment, now: Snapshot) -> View:
    spec, table = segment.spec, segment.status or SegmentStatus(revision=0, next_tenure=1)
    held = Counter(group.tenure for group in table.groups)
    seats = sorted(table.seats, key=lambda seat: seat.node)
    agents = {agent.metadata.name: agent for agent in now.agents}
    live = {seat.tenure for seat in seats if seat.state == "Live"}
    return View(
        name=segment.metadata.name,
        profile=spec.profile,
        when_cut_off=spec.when_cut_off,
        revision=table.revision,
        seats=tuple(_seat(seat, held[seat.tenure], agents.get(seat.node), segment.metadata.name) for seat in seats),
        holdings=tuple(_holding(seat, table, now.vips) for seat in seats if held[seat.tenure]),
        waits=_waits(table, table.groups),
        vacant=sum(count for tenure, count in held.items() if tenure not in live),
    )


def _seat(seat: Seat, groups: int, agent: NodeAgent | None, segment: str) -> SeatRow:
    said = agent.status if agent else None
    own = next((row for row in said.segments if row.name == segment), None) if said else None
    ready = next((one for one in said.conditions if one.type == "Ready"), None) if said else None
    return SeatRow(
        node=seat.node,
        tenure=seat.tenure,
        mode=seat.mode,
        state=seat.state,
        eligible=seat.eligible,
        witnesses=tuple(sorted(seat.witnesses)),
        groups=groups,
        interface=own.interface if own else "",
        fence=own.fence if own else "",
        since=ready.last_transition_time if ready else "",
    )


def _holding(seat: Seat, table: SegmentStatus, vips: Iterable[VirtualIP]) -> Holding:
    mine = {group.name for group in table.groups if group.tenure == seat.tenure}
    heirs = Counter(inherit(table, mine, seat.node).values())
    return Holding(
        holder=seat.node,
        tenure=seat.tenure,
        groups=len(mine),
        vips=sum(vip.spec.group in mine for vip in vips),
        heirs={node: heirs[node] for node in sorted(heirs)},
    )


def inherit(table: SegmentStatus, groups: Iterable[str], dead: str) -> dict[str, str]:
    """Who would get each of *groups* if *dead* died now, as agents choose, if every eligible node may hold them."""
    groups = list(groups)
    fit = {seat.node: seat.tenure for seat in table.seats if _fit(seat) and seat.node != dead}
    held = Counter(group.tenure for group in table.groups)
    load = {node: held[tenure] for node, tenure in fit.items()}
    return shared(groups, load, dict.fromkeys(groups, load.keys()))


def _fit(seat: Seat) -> bool:
    return seat.state == "Live" and seat.eligible


# -- whom an heir waits for ------------------------------------------------------------------------------------------


def _waits(table: SegmentStatus, groups: Iterable[Group]) -> tuple[Wait, ...]:
    """Each pair of an heir and a tenure that it outwaits."""
    nodes = {seat.tenure: seat.node for seat in table.seats}
    ended = {row.tenure: row for row in table.ended}
    waiting: dict[tuple[str, int], list[str]] = {}
    for group in groups:
        for tenure in group.after:
            waiting.setdefault((nodes.get(group.tenure, VACANT), tenure), []).append(group.name)
    return tuple(
        _wait(tuple(sorted(names)), holder, tenure, ended) for (holder, tenure), names in sorted(waiting.items())
    )


def _wait(groups: tuple[str, ...], holder: str, tenure: int, ended: Mapping[int, Ended]) -> Wait:
    row = ended.get(tenure)
    if row is None:
        return Wait(groups, holder, tenure, "", "", 0, ())
    witnesses = tuple(sorted(row.witnesses))
    ask = proofs(len(witnesses)) if row.mode == "Witnessed" else 0
    return Wait(groups, holder, tenure, row.node, row.mode, ask, witnesses)


def proofs(witnesses: int) -> int:
    """How many of so many witnesses end a permit: with k of them, ceil(k/2) feed it, and k - ceil(k/2) + 1 end it."""
    return witnesses // 2 + 1 if witnesses else 0


# -- one group -------------------------------------------------------------------------------------------------------


def _group(segment: str, table: SegmentStatus, row: Group, now: Snapshot) -> GroupView:
    vips = sorted(
        (vip for vip in now.vips if vip.spec.group == row.name), key=lambda vip: order(vip_address(vip.metadata.name))
    )
    holder = next((seat.node for seat in table.seats if seat.tenure == row.tenure and seat.state == "Live"), "")
    claims = {f"{claim.namespace}/{claim.name}" for vip in vips for claim in vip.spec.claims}
    fit = {seat.node for seat in table.seats if _fit(seat)}
    return GroupView(
        segment=segment,
        name=row.name,
        vips=tuple(vip.spec.address for vip in vips),
        services=tuple(sorted(claims)),
        holder=holder,
        tenure=row.tenure,
        epoch=row.epoch,
        since=next((vip.status.holder_since or "" for vip in vips if vip.status.holder == holder), ""),
        waits=_waits(table, [row]),
        next=tuple(line(row.name, fit - {holder})),
        not_eligible=tuple(sorted(seat.node for seat in table.seats if seat.state == "Live" and not seat.eligible)),
    )
