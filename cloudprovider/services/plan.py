"""The next writes for one Service, in the order in which a crash between any two of them leaks nothing.

Giving: finalizer on the Service → VirtualIP (the claim) → status. Taking back runs the other way: the claim loses its
uid, the announcers withdraw, the status is cleared, the finalizer goes; the VirtualIP rests before it is deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from cloudprovider.model import NORMAL, WARNING, Answer, Grant, Granted, Key, NotOurs, Refused, Say, Wish
from cloudprovider.services import status
from cloudprovider.services.intent import spec_of
from cloudprovider.services.wish import shown
from roost.kube.wire import Claim, Condition, Ingress, Service, VirtualIP, VirtualIPSpec
from roost.words import FINALIZER, VIP_FINALIZER, Reason, vip_address

REST_SECONDS = 60


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    service: Service
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    service: Service
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """Claim an address: succeeds for one only, whoever else tries."""

    spec: VirtualIPSpec
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """Make the spec of a VirtualIP that is there say *spec*."""

    vip: VirtualIP
    spec: VirtualIPSpec
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Rest:
    """Take the claim away; the address stays reserved for the same namespace and name until *until*."""

    vip: VirtualIP
    claims: tuple[Claim, ...]
    until: datetime
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Unpin:
    """Take our finalizer off a VirtualIP that nobody announces any more."""

    vip: VirtualIP
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a VirtualIP: the address is free for everybody."""

    vip: VirtualIP
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteStatus:
    service: Service
    ingress: tuple[Ingress, ...]
    conditions: tuple[Condition, ...]
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirm:
    """Ask the server whether the Service is really gone, before anything is taken from it."""

    key: Key
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Identify:
    """Ask the server who put the finalizer on a Service that shows no other sign of ours."""

    service: Service
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Await:
    """Nothing to write now: the announcers of these VirtualIPs have not all said that they withdrew."""

    names: tuple[str, ...]
    says: tuple[Say, ...] = ()


Step = (
    AddFinalizer | RemoveFinalizer | Create | Update | Rest | Unpin | Delete | WriteStatus | Confirm | Identify | Await
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A Service and its VirtualIPs as they are now.

    *finalizer_by_us* says who the server remembers to have put the finalizer there (None: not asked yet).
    *withdrawn* names the VIPs let go that no live node announces any more; *confirmed* says that the server was asked
    and has no such Service; *rests* is how long an address of a pool rests, in seconds, where not the usual time.
    """

    key: Key
    service: Service | None
    vips: tuple[VirtualIP, ...]
    now: datetime
    ours_by_class: bool = False
    wish: Wish | None = None
    withdrawn: frozenset[str] = frozenset()
    confirmed: bool = False
    finalizer_by_us: bool | None = None
    rest_seconds: float = REST_SECONDS
    rests: Mapping[str, float] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        return self.service.metadata.uid if self.service else ""

    def claim(self, vip: VirtualIP) -> Claim:
        return next(
            claim for claim in vip.spec.claims if (claim.namespace, claim.name) == (self.key.namespace, self.key.name)
        )

    def claimed(self) -> tuple[VirtualIP, ...]:
        """The VIPs that this Service, or an older one of its name, claims by uid."""
        return tuple(vip for vip in self.vips if self.claim(vip).uid)


def steps(standing: Standing, answer: Answer) -> tuple[Step, ...]:
    """What is left to do, in order; nothing once all is as it should be."""
    match answer:
        case Grant():
            return _give(standing, answer)
        case Refused():
            return _refuse(standing, answer)
        case NotOurs():
            return _take_back(standing)


# -- giving -----------------------------------------------------------------------------------------------------------


def _give(standing: Standing, grant: Grant) -> tuple[Step, ...]:
    service, wish = standing.service, standing.wish
    assert service is not None  # a grant is the answer
    assert wish is not None  # to a wish, and only a Service has one
    doomed = tuple(step for vip in standing.vips if vip.metadata.deletion_timestamp for step in _discard(vip))
    if doomed:  # somebody deleted it by hand: let it go, and claim the address anew
        return doomed
    out: list[Step] = []
    if FINALIZER not in service.metadata.finalizers:
        out.append(AddFinalizer(service, (Say(NORMAL, "EnsuringLoadBalancer", "Ensuring load balancer"),)))
    by_address = {vip_address(vip.metadata.name): vip for vip in standing.vips}
    for granted in grant.addresses:
        out += _hold(standing, granted, by_address.get(granted.address), wish)
    before = shown(service)
    addresses = tuple(granted.address for granted in grant.addresses)
    condition, says = _told(service, status.allocated(grant, before, standing.now), wish.directions.ignored)
    out += _write_status(
        service,
        status.ingress_of(addresses, service),
        _steady(service, condition, changed=set(before) != set(addresses)),
        says + status.grant_events(grant, before),
    )
    out += [
        _rest(standing, vip)
        for address, vip in by_address.items()
        if address not in addresses and standing.claim(vip).uid
    ]
    out += _discards(standing, tuple(vip for address, vip in by_address.items() if address not in addresses))
    return tuple(sorted(out, key=lambda step: isinstance(step, Await)))  # nothing else waits meanwhile


def _hold(standing: Standing, granted: Granted, vip: VirtualIP | None, wish: Wish) -> tuple[Step, ...]:
    service = standing.service
    assert service is not None  # as above
    if vip is None:
        return (Create(spec_of(granted, wish, service)),)
    uid = standing.claim(vip).uid
    others = tuple(claim for claim in vip.spec.claims if claim != standing.claim(vip))
    want = spec_of(granted, wish, service, others)
    if uid not in {"", wish.uid}:  # restored from a backup, or deleted and made again: the old Service is gone
        told = status.note(f"{granted.address} was claimed by an earlier Service of this name (uid {uid})")
        return (replace(_rest(standing, vip), says=(Say(NORMAL, Reason.CLAIM_REBOUND, told),)), Update(vip, want))
    if vip.spec == want and VIP_FINALIZER in vip.metadata.finalizers:
        return ()
    return _regroup(standing, vip, want)


def _regroup(standing: Standing, vip: VirtualIP, want: VirtualIPSpec) -> tuple[Step, ...]:
    """Another group may have another holder, which asks nobody: first the VIP leaves the old one, and all follow."""
    if vip.spec.group == want.group or (is_let_go(vip) and vip.metadata.name in standing.withdrawn):
        return (Update(vip, want),)
    nowhere = msgspec.structs.replace(want, group="")
    return (Await((vip.metadata.name,)),) if vip.spec == nowhere else (Update(vip, nowhere),)


def _told(service: Service, condition: Condition, ignored: str) -> tuple[Condition, tuple[Say, ...]]:
    """The condition with what is not followed of the annotations, and the Event of it, which comes once."""
    if not ignored:
        return condition, ()
    have = next((item.message for item in service.status.conditions if item.type == condition.type), "")
    says = () if ignored in have else (Say(WARNING, "AnnotationRefused", status.note(ignored)),)
    return msgspec.structs.replace(condition, message=f"{condition.message}; {ignored}"), says


def _steady(service: Service, condition: Condition, *, changed: bool) -> tuple[Condition, ...]:
    """The conditions with *condition* among them; "moved from … to …" stays until the next change says otherwise."""
    have = next((item for item in service.status.conditions if item.type == condition.type), None)
    if have and not changed and have.reason == Reason.MOVED and have.status == "True":
        return service.status.conditions
    return status.with_condition(service.status.conditions, condition)


def _write_status(
    service: Service, ingress: tuple[Ingress, ...], conditions: tuple[Condition, ...], says: tuple[Say, ...] = ()
) -> tuple[Step, ...]:
    if service.status.load_balancer.ingress == ingress and service.status.conditions == conditions:
        return ()
    return (WriteStatus(service, ingress, conditions, says),)


# -- refusing ---------------------------------------------------------------------------------------------------------


def _refuse(standing: Standing, why: Refused) -> tuple[Step, ...]:
    """A Service keeps what it has been shown to have; what it was never shown goes back."""
    service = standing.service
    assert service is not None  # only a Service can be refused
    before = shown(service)
    held = {
        vip_address(vip.metadata.name): vip
        for vip in standing.claimed()
        if standing.claim(vip).uid == standing.uid and not vip.metadata.deletion_timestamp
    }
    kept = tuple(address for address in before if address in held)
    condition = status.refused(why, kept, standing.now)
    have = next((item for item in service.status.conditions if item.type == condition.type), None)
    news = have is None or (have.reason, have.message) != (condition.reason, condition.message)
    out: list[Step] = []
    out += _write_status(
        service,
        status.ingress_of(kept, service),
        status.with_condition(service.status.conditions, condition),
        (status.refusal_event(why),) if news else (),
    )
    gone = tuple(vip for vip in standing.vips if vip_address(vip.metadata.name) not in kept)
    out += [_rest(standing, vip) for vip in gone if standing.claim(vip).uid]
    out += _discards(standing, gone)
    return tuple(out)


# -- taking back ------------------------------------------------------------------------------------------------------


def _take_back(standing: Standing) -> tuple[Step, ...]:
    claimed, service = standing.claimed(), standing.service
    if claimed and service is None and not standing.confirmed:
        return (Confirm(standing.key),)
    out: list[Step] = []
    if claimed and service and not status.is_marked(service):  # else nothing would tell later that it was ours
        conditions = status.with_condition(service.status.conditions, status.releasing(standing.now))
        out += _write_status(service, service.status.load_balancer.ingress, conditions)
    out += [_rest(standing, vip) for vip in claimed]
    waiting = tuple(
        vip.metadata.name for vip in standing.vips if _is_resting(vip) and vip.metadata.name not in standing.withdrawn
    )
    if waiting or claimed:
        return (*out, Await(waiting)) if waiting else tuple(out)
    if service and _is_marked_ours(standing, service):
        out += _let_go(service)
    elif service and _is_orphaned(standing, service):
        out.append(Identify(service))
    return (*out, *_discards(standing, standing.vips))


def _is_marked_ours(standing: Standing, service: Service) -> bool:
    """The finalizer is shared by all implementations, so it proves nothing by itself."""
    return status.is_marked(service) or standing.ours_by_class or standing.finalizer_by_us is True


def _is_orphaned(standing: Standing, service: Service) -> bool:
    """A Service turned away from type LoadBalancer while we were dead, between our first write and our second."""
    return (
        service.spec.type != "LoadBalancer"
        and FINALIZER in service.metadata.finalizers
        and standing.finalizer_by_us is None
    )


def _let_go(service: Service) -> tuple[Step, ...]:
    """Clear the ingress, take the finalizer off, and only then our conditions: until then they say that it was ours."""
    finalizers = service.metadata.finalizers
    if service.metadata.deletion_timestamp and finalizers == (FINALIZER,):  # the status goes with the Service
        return (RemoveFinalizer(service),)
    out = _write_status(service, (), service.status.conditions)
    if FINALIZER in finalizers:
        out += (RemoveFinalizer(service),)
    return out + _write_status(service, (), status.without_ours(service.status.conditions))


def _rest(standing: Standing, vip: VirtualIP) -> Rest:
    seconds = max(standing.rest_seconds, standing.rests.get(vip.spec.pool_name, 0))
    mine = standing.claim(vip)
    kept = tuple(
        Claim(namespace=claim.namespace, name=claim.name, ports=claim.ports) if claim == mine else claim
        for claim in vip.spec.claims
    )
    return Rest(vip, kept, standing.now + timedelta(seconds=seconds))


def _is_resting(vip: VirtualIP) -> bool:
    return bool(vip.spec.retain_until) and not any(claim.uid for claim in vip.spec.claims)


def rested_until(vip: VirtualIP) -> datetime | None:
    """When the rest of a released address ends; None if it does not rest, or is kept until somebody says otherwise."""
    return datetime.fromisoformat(vip.spec.retain_until) if vip.spec.retain_until and _is_resting(vip) else None


def is_let_go(vip: VirtualIP) -> bool:
    """Whether no node may announce it: it rests, or is on its way to another group."""
    return rested_until(vip) is not None or not vip.spec.group


def _discards(standing: Standing, vips: tuple[VirtualIP, ...]) -> tuple[Step, ...]:
    """The rests that are over. A VIP that is still announced somewhere goes on resting."""
    return tuple(
        step
        for vip in vips
        if (until := rested_until(vip))
        and vip.metadata.name in standing.withdrawn
        and (until <= standing.now or vip.metadata.deletion_timestamp)
        for step in _discard(vip)
    )


def _discard(vip: VirtualIP) -> tuple[Step, ...]:
    """The next of two writes: the finalizer goes first, so that whatever happens between, nothing hangs."""
    if VIP_FINALIZER in vip.metadata.finalizers:
        return (Unpin(vip),)
    return () if vip.metadata.deletion_timestamp else (Delete(vip),)
