"""The report as a page for people, and as JSON for programs."""

from collections.abc import Iterable, Sequence

import msgspec

from kubectl_roost.columns import columns
from kubectl_roost.status.plan import Agent, Pool, Report, Router, SeatRow, Table, Vip, Waiting


def as_json(report: Report) -> str:
    """One object with the keys vips, waiting, segments, nodes, pools, routers, unread, attention; indented."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def page(report: Report) -> str:
    """The whole page, without a line break at its end."""
    none = {
        "VirtualIP": "no VirtualIP: no Service of type LoadBalancer has an address",
        "Segment": "no Segment: no agent has sat down yet",
        "NodeAgent": "no NodeAgent: no agent has run yet",
        "AddressPool": "no AddressPool: there is nothing to give out",
    } | {kind: f"{kind} could not be read, see below" for kind in report.unread}
    parts = [
        _section("VIPs", _vips(report.vips), none["VirtualIP"]),
        _section("Services that wait for an address", _waiting(report.waiting)),
        *(_section(_title(table), _seats(table.seats), "no seats") for table in report.segments),
        "" if report.segments else f"Segments\n{none['Segment']}",
        _section("Nodes", _nodes(report.nodes), none["NodeAgent"]),
        _section("Pools", _pools(report.pools), none["AddressPool"]),
        _section("Routers", _routers(report.routers)),
        _attention(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _section(title: str, rows: Sequence[Sequence[str]], otherwise: str = "") -> str:
    """A titled table; without rows the line *otherwise*, or nothing at all."""
    if len(rows) > 1:
        return f"{title}\n{columns(rows)}"
    return f"{title}\n{otherwise}" if otherwise else ""


def _vips(vips: Iterable[Vip]) -> list[tuple[str, ...]]:
    heads = ("ADDRESS", "SERVICES", "POOL", "ANNOUNCED-BY", "EPOCH", "READY", "REASON")
    return [
        heads,
        *((v.address, v.services, v.pool, _by(v), str(v.epoch or ""), v.ready, v.reason) for v in vips),
    ]


def _by(vip: Vip) -> str:
    """Its holder, though that may announce it to nobody just now; on layer 3 who does."""
    return vip.holder or vip.announced_by


def _waiting(waiting: Iterable[Waiting]) -> list[tuple[str, ...]]:
    return [("SERVICE", "REASON", "MESSAGE"), *((one.service, one.reason, one.message) for one in waiting)]


def _title(table: Table) -> str:
    live = sum(seat.state == "Live" for seat in table.seats)
    seats, groups = len(table.seats), table.held + table.vacant
    vacant = f", {table.vacant} of them vacant" if table.vacant else ""
    return f"Segment {table.name}: {live} of {seats} seats live, {groups} groups{vacant}, revision {table.revision}"


def _seats(seats: Iterable[SeatRow]) -> list[tuple[str, ...]]:
    heads = ("NODE", "TENURE", "STATE", "MODE", "ELIGIBLE", "GROUPS")
    return [
        heads,
        *((s.node, str(s.tenure), s.state, s.mode, "yes" if s.eligible else "no", str(s.groups)) for s in seats),
    ]


def _nodes(nodes: Iterable[Agent]) -> list[tuple[str, ...]]:
    heads = ("NODE", "READY", "REASON", "SEAT", "MAINTENANCE", "VIPS", "EXCEPTIONS", "VERSION")
    return [
        heads,
        *(
            (n.node, n.ready, n.reason, n.seat, n.maintenance, n.vips, str(len(n.exceptions) + n.more), n.version)
            for n in nodes
        ),
    ]


def _pools(pools: Iterable[Pool]) -> list[tuple[str, ...]]:
    heads = ("POOL", "RANGES", "USED", "FREE", "READY", "REASON")
    return [heads, *((p.name, p.ranges, p.used, p.free, p.ready, p.reason) for p in pools)]


def _routers(routers: Iterable[Router]) -> list[tuple[str, ...]]:
    heads = ("PEER", "REMOTE", "ESTABLISHED", "READY", "REASON")
    return [heads, *((r.name, r.remote, r.established, r.ready, r.reason) for r in routers)]


def _attention(report: Report) -> str:
    if not report.attention:
        return "Nothing needs attention."
    hint = ["  (to read everything takes the chart's ClusterRole roost-view)"] if report.unread else []
    return "\n".join(["Needs attention", *(f"  {sentence}" for sentence in report.attention), *hint])
