"""Tables and groups as a page of at most 120 columns for people, and as JSON for programs."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from kubectl_roost.ages import age
from kubectl_roost.columns import columns
from kubectl_roost.segment.plan import GroupView, Holding, SeatRow, View, Wait

WIDE = 120  # characters a line
NAMED = 3  # groups that one line names
TWO = 2  # witnesses


def as_json(found: Sequence[View] | Sequence[GroupView]) -> str:
    """A list of objects, indented."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def page(found: Sequence[View] | Sequence[GroupView], now: datetime) -> str:
    """All of them, one below the other; without a line break at the end."""
    return "\n\n".join(_segment(one, now) if isinstance(one, View) else _group(one, now) for one in found)


# -- one segment -----------------------------------------------------------------------------------------------------


def _segment(view: View, now: datetime) -> str:
    head = f"Segment {view.name}: profile {view.profile}, when cut off {view.when_cut_off}, revision {view.revision}"
    if not view.revision:
        return f"{head}\nno table: no agent has sat down yet"
    live = sum(seat.state == "Live" for seat in view.seats)
    total = sum(holding.groups for holding in view.holdings) + view.vacant
    counts = f"{live} of {len(view.seats)} seats live, {total} groups" + (f", {view.vacant} vacant" * bool(view.vacant))
    parts = [f"{head}\n{counts}", columns(_seats(view.seats, now), WIDE)]
    if view.holdings:
        parts.append("Who holds what, and who would get it if that node died now\n" + columns(_holdings(view), WIDE))
    if view.waits:
        parts.append("Not claimed yet: a former holder is outwaited first\n" + columns(_waits(view.waits), WIDE))
    weak = [f"{seat.node}: {seat.fence}" for seat in view.seats if seat.fence]
    if weak:
        parts.append("\n".join(["The gate of these nodes does not keep everything back", *weak]))
    return "\n\n".join(parts)


def _seats(seats: Iterable[SeatRow], now: datetime) -> list[tuple[str, ...]]:
    heads = ("NODE", "TENURE", "MODE", "STATE", "ELIGIBLE", "WITNESSES", "GROUPS", "INTERFACE", "SINCE")
    return [
        heads,
        *(
            (
                seat.node,
                str(seat.tenure),
                seat.mode,
                seat.state,
                "yes" if seat.eligible else "no",
                ", ".join(seat.witnesses),
                str(seat.groups),
                seat.interface,
                age(seat.since, now),
            )
            for seat in seats
        ),
    ]


def _holdings(view: View) -> list[tuple[str, ...]]:
    return [("HOLDER", "TENURE", "GROUPS", "VIPS", "HEIRS"), *(_holding(one) for one in view.holdings)]


def _holding(one: Holding) -> tuple[str, ...]:
    heirs = ", ".join(f"{node} {count}" for node, count in one.heirs.items())
    return one.holder, str(one.tenure), str(one.groups), str(one.vips), heirs or "nobody"


def _waits(waits: Iterable[Wait]) -> list[tuple[str, ...]]:
    return [
        ("HOLDER", "GROUPS", "OUTWAITS", "UNTIL"),
        *((w.holder, _some(w.groups), _who(w), _until(w)) for w in waits),
    ]


def _some(groups: tuple[str, ...]) -> str:
    more = f" and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
    return ", ".join(groups[:NAMED]) + more


def _who(wait: Wait) -> str:
    return f"tenure {wait.tenure}" + (f" ({wait.node})" if wait.node else "")


def _until(wait: Wait) -> str:
    if wait.ask:
        count = "both" if wait.ask == len(wait.witnesses) == TWO else f"{wait.ask} of {len(wait.witnesses)}"
        verb = "says" if wait.ask == 1 else "say"
        return f"{count} {verb} gone: {', '.join(wait.witnesses)}"
    return "its rest has run out" if wait.mode == "Resting" else "it is known to be over"


# -- one group -------------------------------------------------------------------------------------------------------


def _group(view: GroupView, now: datetime) -> str:
    since = age(view.since, now)
    held = f"{view.holder}, tenure {view.tenure}, epoch {view.epoch}" + (f", since {since}" if since else "")
    lines = [
        ("VIPs", ", ".join(view.vips) or "none"),
        ("Services", ", ".join(view.services) or "none"),
        ("Holder", held if view.holder else f"nobody, epoch {view.epoch}"),
        *(("Waits for", f"{_who(wait)}: until {_until(wait)}") for wait in view.waits),
        ("Next", ", ".join(view.next) + " (the first that may hold it and is not crowded)" if view.next else "nobody"),
    ]
    if view.not_eligible:
        lines.append(("Not eligible", ", ".join(view.not_eligible)))
    size = max(len(name) for name, _ in lines) + 2
    return "\n".join([f"Group {view.name} on segment {view.segment}", *(f"{k.ljust(size)}{v}" for k, v in lines)])
