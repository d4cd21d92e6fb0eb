"""The NodeAgent's status from the facts, and whether it is worth a write. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from roost.kube.wire import (
    AgentBGP,
    AgentLink,
    AgentSegment,
    AgentVIPs,
    Applied,
    Condition,
    NodeAgentStatus,
    VIPConflict,
    VIPException,
    VIPUnreachable,
)
from roost.words import VERSION, Reason

LONGEST = 512  # characters of a message (the CRD's limit)
ESTABLISHED = "Established"  # RFC 4271, section 8.2.2
MOST = 64  # rows of each list (the CRD's limit); of exceptions the rest is counted
NAMED = 4  # conflicts that the condition spells out


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
    segments: tuple[AgentSegment, ...] = ()
    conflicts: Mapping[str, str] = field(default_factory=dict)  # VIP -> MAC of a stranger that claims it too
    probed: int = 0  # VIPs of others that this node asks for, being next in line
    unreachable: Mapping[str, str] = field(default_factory=dict)  # those of them that do not answer -> what was tried
    bgp: AgentBGP | None = None  # None: this node speaks no BGP


def conflict(vip: str, mac: str) -> str:
    """How a conflict is told, wherever it is told: exception, condition and log."""
    return f"{vip} is also claimed by {mac}"


def status(facts: Facts, before: NodeAgentStatus, now: str) -> NodeAgentStatus:
    """The new status; times of what did not change stay as they were. *now* is RFC 3339.

    How many paths went out, and how far a session is on its way, is told along with other news: that alone is no reason
    to write, for it changes with every try.
    """
    new = _status(facts, before, now)
    return before if _uncounted(new) == _uncounted(before) else new


def _uncounted(status: NodeAgentStatus) -> NodeAgentStatus:
    if status.bgp is None:
        return status
    sessions = tuple(
        msgspec.structs.replace(one, advertised=0, state=one.state if one.state == ESTABLISHED else "")
        for one in status.bgp.sessions
    )
    return msgspec.structs.replace(status, bgp=msgspec.structs.replace(status.bgp, sessions=sessions))


def _status(facts: Facts, before: NodeAgentStatus, now: str) -> NodeAgentStatus:
    return NodeAgentStatus(
        version=VERSION,
        boot_id=facts.boot_id,
        applied=Applied(resource_version=facts.applied) if facts.applied else None,
        vips=_vips(facts, before.vips or AgentVIPs(), now),
        segments=facts.segments,
        bgp=None if facts.bgp is None else _bgp(facts.bgp, before.bgp or AgentBGP(), now),
        links=facts.links,
        conditions=(_ready(facts, before.conditions, now), _conflicting(facts, before.conditions, now)),
    )


def _vips(facts: Facts, before: AgentVIPs, now: str) -> AgentVIPs:
    since = {e.vip: (e.reason, e.since) for e in before.exceptions}
    fought = {c.vip: (c.mac, c.since) for c in before.conflicts}
    silent = {u.vip: ("", u.since) for u in before.unreachable}
    rows = [
        VIPException(vip=vip, reason=reason, message=message[:LONGEST], since=_since(since.get(vip), reason, now))
        for vip, (reason, message) in sorted(facts.exceptions.items())
    ]
    return AgentVIPs(
        summary=f"{facts.announced}/{facts.desired}",
        desired=facts.desired,
        announced=facts.announced,
        exceptions=tuple(rows[:MOST]),
        more_exceptions=max(0, len(rows) - MOST),
        conflicts=tuple(
            VIPConflict(vip=vip, mac=mac, since=_since(fought.get(vip), mac, now))
            for vip, mac in sorted(facts.conflicts.items())[:MOST]
        ),
        probed=facts.probed,
        unreachable=tuple(
            VIPUnreachable(vip=vip, message=message[:LONGEST], since=_since(silent.get(vip), "", now))
            for vip, message in sorted(facts.unreachable.items())[:MOST]
        ),
    )


def _bgp(bgp: AgentBGP, before: AgentBGP, now: str) -> AgentBGP:
    """The sessions with the time of their last change."""
    known = {(one.peer, one.remote): one for one in before.sessions}
    rows = []
    for session in bgp.sessions[:MOST]:
        old = known.get((session.peer, session.remote))
        since = now
        if old is not None and (old.state == ESTABLISHED) == (session.state == ESTABLISHED):
            since = old.since or now
        rows.append(msgspec.structs.replace(session, since=since))
    problems = tuple(msgspec.structs.replace(one, message=one.message[:LONGEST]) for one in bgp.problems[:MOST])
    return AgentBGP(summary=bgp.summary, sessions=tuple(rows), problems=problems)


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


def _since(known: tuple[str, str | None] | None, what: str, now: str) -> str:
    return known[1] if known is not None and known[0] == what and known[1] else now


def _ready(facts: Facts, before: Sequence[Condition], now: str) -> Condition:
    value = "True" if facts.ready is Reason.RUNNING else "False"
    return _condition("Ready", value, facts.ready, facts.message, before, now)


def _conflicting(facts: Facts, before: Sequence[Condition], now: str) -> Condition:
    """Abnormal if true: somebody who is no seat of ours claims a VIP that this node holds, or should."""
    told = {vip: message for vip, (why, message) in facts.exceptions.items() if why is Reason.ADDRESS_CONFLICT}
    told |= {vip: conflict(vip, mac) for vip, mac in facts.conflicts.items()}
    if not told:
        return _condition("AddressConflict", "False", Reason.AS_EXPECTED, "", before, now)
    sentences = [told[vip] for vip in sorted(told)]
    more = f"; and {len(told) - NAMED} more" if len(told) > NAMED else ""
    message = "; ".join(sentences[:NAMED]) + more
    return _condition("AddressConflict", "True", Reason.ADDRESS_CONFLICT, message, before, now)


def _condition(
    type_: str, value: str, reason: Reason, message: str, before: Sequence[Condition], now: str
) -> Condition:
    old = next((c for c in before if c.type == type_), None)
    changed = old is None or old.status != value
    return Condition(
        type=type_,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=now if changed or old is None else old.last_transition_time,
    )
