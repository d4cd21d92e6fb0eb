"""The NodeAgent's status from the facts, and whether it is worth a write. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roost.kube.wire import (
    AgentLink,
    AgentVIPs,
    Applied,
    Condition,
    NodeAgentStatus,
    VIPException,
)
from roost.words import VERSION, Reason

MOST = 64  # exceptions in the list (the CRD's limit); the rest is counted


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to report. *exceptions*: VIPs that this node should announce and does not, with the reason."""

    boot_id: str
    applied: str  # resourceVersion up to which VirtualIPs are applied
    desired: int
    announced: int
    exceptions: Mapping[str, tuple[Reason, str]]
    links: tuple[AgentLink, ...]
    ready: Reason  # Running, or why not
    message: str


def status(facts: Facts, before: NodeAgentStatus, now: str) -> NodeAgentStatus:
    """The new status; times of what did not change stay as they were. *now* is RFC 3339."""
    since = {e.vip: (e.reason, e.since) for e in before.vips.exceptions} if before.vips is not None else {}
    rows = [
        VIPException(vip=vip, reason=reason, message=message, since=_since(since.get(vip), reason, now))
        for vip, (reason, message) in sorted(facts.exceptions.items())
    ]
    vips = AgentVIPs(
        summary=f"{facts.announced}/{facts.desired}",
        desired=facts.desired,
        announced=facts.announced,
        exceptions=tuple(rows[:MOST]),
        more_exceptions=max(0, len(rows) - MOST),
    )
    return NodeAgentStatus(
        version=VERSION,
        boot_id=facts.boot_id,
        applied=Applied(resource_version=facts.applied) if facts.applied else None,
        vips=vips,
        links=facts.links,
        conditions=(_ready(facts, before.conditions, now),),
    )


def patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch (RFC 7396) that makes *before* read as *after*: what is no longer said is null."""
    changes: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if inner := patch(old, value):
                changes[key] = inner
        elif value != old:
            changes[key] = value
    return changes


def _since(known: tuple[str, str | None] | None, reason: str, now: str) -> str:
    return known[1] if known is not None and known[0] == reason and known[1] else now


def _ready(facts: Facts, before: Sequence[Condition], now: str) -> Condition:
    value = "True" if facts.ready is Reason.RUNNING else "False"
    old = next((c for c in before if c.type == "Ready"), None)
    changed = old is None or old.status != value
    return Condition(
        type="Ready",
        status=value,
        reason=facts.ready,
        message=facts.message,
        last_transition_time=now if changed or old is None else old.last_transition_time,
    )
