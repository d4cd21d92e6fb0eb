"""Service.status as it should be: ingress, conditions, and the Events that go with a change of them."""

from datetime import UTC, datetime

from cloudprovider.model import NORMAL, WARNING, Grant, Refused, Say
from roost.kube.wire import Condition, Ingress, IngressPort, Service
from roost.words import ALLOCATED, ANNOUNCED, CONFLICT, REACHABLE, Address, Reason, order

OURS = frozenset({ALLOCATED, ANNOUNCED, REACHABLE, CONFLICT})
EVENT_NOTE = 1024  # characters that an Event's note may have (events.k8s.io/v1)


def stamp(now: datetime) -> str:
    """A time as the API writes it (RFC 3339, whole seconds)."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise(now: datetime) -> str:
    """A time to the millisecond, for what ends at a moment."""
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ingress_of(addresses: tuple[Address, ...], service: Service) -> tuple[Ingress, ...]:
    ports = tuple(IngressPort(port=port.port, protocol=port.protocol) for port in service.spec.ports)
    return tuple(Ingress(ip=str(address), ip_mode="VIP", ports=ports) for address in addresses)


def with_condition(have: tuple[Condition, ...], want: Condition) -> tuple[Condition, ...]:
    """The conditions with *want* among them. While the status stays, so does its time; others are left alone."""
    out: list[Condition] = []
    found = False
    for item in have:
        if item.type != want.type:
            out.append(item)
            continue
        found = True
        same = (item.status, item.reason, item.message) == (want.status, want.reason, want.message)
        since = item.last_transition_time if item.status == want.status else want.last_transition_time
        out.append(
            item
            if same
            else Condition(
                type=want.type,
                status=want.status,
                reason=want.reason,
                message=want.message,
                last_transition_time=since,
            )
        )
    return tuple(out) if found else (*out, want)


def without_ours(have: tuple[Condition, ...]) -> tuple[Condition, ...]:
    return tuple(item for item in have if item.type not in OURS)


def is_marked(service: Service) -> bool:
    """Whether we have said something on this Service: then it is, or was, ours."""
    return any(item.type in OURS for item in service.status.conditions)


def allocated(grant: Grant, before: tuple[Address, ...], now: datetime) -> Condition:
    """Condition Allocated of a Service that has what it may have."""
    told = told_of(grant)
    reason = Reason.ALLOCATED
    if moved := moves(grant, before):
        reason, told = Reason.MOVED, f"{moved}: {grant.left}" if grant.left else moved
    if grant.missing:
        told += f"; nothing else for now: {grant.missing.message}"
    return Condition(type=ALLOCATED, status="True", reason=reason, message=told, last_transition_time=stamp(now))


def refused(why: Refused, kept: tuple[Address, ...], now: datetime) -> Condition:
    told = why.message + (f"; keeps {_listed(kept)} meanwhile" if kept else "")
    return Condition(type=ALLOCATED, status="False", reason=why.reason, message=told, last_transition_time=stamp(now))


def with_refusal(service: Service, why: Refused, now: datetime) -> tuple[Condition, ...]:
    """The conditions of a Service that is refused for a reason which no plan gives."""
    return with_condition(service.status.conditions, refused(why, (), now))


def releasing(now: datetime) -> Condition:
    told = "its addresses are being taken back"
    return Condition(
        type=ALLOCATED, status="False", reason=Reason.RELEASING, message=told, last_transition_time=stamp(now)
    )


def told_of(grant: Grant) -> str:
    """``192.0.2.7 and 2001:db8::7 from pool prod``."""
    by_pool: dict[str, list[Address]] = {}
    for granted in grant.addresses:
        by_pool.setdefault(granted.pool, []).append(granted.address)
    return ", ".join(f"{_listed(tuple(addresses))} from pool {pool}" for pool, addresses in by_pool.items())


def moves(grant: Grant, before: tuple[Address, ...]) -> str:
    """``192.0.2.7 → 198.51.100.7`` for each family whose address changes; "" if none does."""
    old = {address.version: address for address in before}
    new = {granted.address.version: granted.address for granted in grant.addresses}
    changed = [
        f"{old[version]} → {new[version]}"
        for version in sorted(old.keys() & new.keys())
        if old[version] != new[version]
    ]
    return ", ".join(changed)


def grant_events(grant: Grant, before: tuple[Address, ...]) -> tuple[Say, ...]:
    """The Events of a grant that changes the addresses shown; none if they stay."""
    if set(before) == {granted.address for granted in grant.addresses}:
        return ()
    if moved := moves(grant, before):
        return (Say(WARNING, "AddressChanged", note(f"{moved}: {grant.left or 'as asked for'}")),)
    return (
        Say(NORMAL, "AddressAllocated", note(told_of(grant))),
        Say(NORMAL, "EnsuredLoadBalancer", "Ensured load balancer"),
    )


def refusal_event(why: Refused) -> Say:
    """Upstream's reason, so that existing alerts match; the message begins with our word."""
    return Say(WARNING, "SyncLoadBalancerFailed", note(f"{why.reason}: {why.message}"))


def note(text: str) -> str:
    return text if len(text) <= EVENT_NOTE else text[: EVENT_NOTE - 1] + "…"


def _listed(addresses: tuple[Address, ...]) -> str:
    return " and ".join(str(address) for address in sorted(addresses, key=order))
