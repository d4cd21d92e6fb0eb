"""One Service's turn: plan, do the first step, fold its outcome, plan again, until nothing is left to do.

Every step is decided on the newest picture, so a crash, a lost answer or somebody else's write between two steps needs
no code of its own: the next plan starts from what is there.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import ip_address
from typing import NoReturn, Protocol, assert_never

from prometheus_client import Counter

from cloudprovider.keys import Alarms, Keys
from cloudprovider.model import MANAGER, WARNING, Answer, EventType, Grant, Key, NotOurs, Refused, Say
from cloudprovider.picture import Picture
from cloudprovider.pools.plan import decide
from cloudprovider.quarrels import STOPPED, Quarrels, Verdict
from cloudprovider.services import apply, plan, wish
from cloudprovider.services.status import note, refusal_event, with_refusal
from cloudprovider.waiting import Waiting
from cloudprovider.withdrawals import Withdrawals
from roost import metrics
from roost.kube.client import Conflict, Kube, Ok, Outcome, Unknown
from roost.kube.wire import SERVICES, VIRTUALIPS, Condition, ObjectReference, Service, VirtualIP
from roost.process import Clock, Unreachable
from roost.words import FINALIZER, Reason, vip_name

log = logging.getLogger(__name__)

ROUNDS = 40  # steps in one turn; whoever needs more is in a quarrel, and waits a second
WORKERS = 16  # Services worked on at a time
LONGEST_RETRY = 60.0  # seconds

SYNCS = Counter(
    "service_controller_loadbalancer_sync_total",
    "Services planned; the name is that of Kubernetes' own service controller, for alerts that use it.",
    registry=metrics.REGISTRY,
)


class Says(Protocol):
    """Where Events go (:class:`roost.kube.events.Events`)."""

    def say(self, regarding: ObjectReference, type_: EventType, reason: str, message: str, action: str) -> None: ...


@dataclass(slots=True)
class Grants:
    """Gives Services their addresses and takes them back. Works only while this program leads."""

    kube: Kube
    picture: Picture
    events: Says
    clock: Clock
    wall: Callable[[], datetime]
    settings: wish.Settings
    touched: Callable[[Key], None]  # somebody mirrors who announces: this Service or its VIPs changed
    touched_pool: Callable[[str], None]  # and how full the pools are
    keys: Keys[Key] = field(default_factory=Keys)
    leading: bool = False
    last_write: float = float("-inf")
    _confirmed: set[Key] = field(default_factory=set)
    _finalizers: dict[str, bool] = field(default_factory=dict)  # by uid: whether a finalizer without a sign is ours
    _failures: dict[Key, int] = field(default_factory=dict)
    _since: dict[Key, float] = field(default_factory=dict)
    _alarms: Alarms[Key] = field(init=False)
    _waiting: Waiting = field(init=False)
    _withdrawals: Withdrawals = field(init=False)
    _quarrels: Quarrels = field(init=False)

    def __post_init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Nothing is remembered from an earlier time as the leader: others have written since."""
        self.keys, self._alarms = Keys(), Alarms(self.clock)
        self._waiting = Waiting(self.clock, self._alarms)
        self._withdrawals = Withdrawals(self.picture, self.clock, self._alarms)
        self._quarrels = Quarrels(self.clock)
        for memory in (self._confirmed, self._finalizers, self._failures, self._since):
            memory.clear()
        metrics.CLAIMS_WAITING.clear()

    async def lead(self) -> NoReturn:
        """Work until somebody else leads."""
        self._forget()
        self.leading = True
        self.look_at_all()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WORKERS):
                    tasks.create_task(self._work())
                await self._ring()
        finally:
            self.leading = False
        raise AssertionError("the group never ends")

    # -- what wakes a Service

    def look_at(self, key: Key) -> None:
        if self.leading:
            self.keys.put(key)

    def look_at_all(self) -> None:
        """Everything may have changed: a new leader, or another pool. Every Service and every claim is planned anew."""
        for key in self.picture.services:
            self.look_at(key)
        for key in self.picture.book.claimants():
            self.look_at(key)

    def wake(self, namespace: str = "") -> None:
        """Something that a Service may wait for has changed: an address, a pool, a label of its *namespace*."""
        for key in self._waiting.of(namespace=namespace):
            self.look_at(key)

    def applied(self) -> None:
        """Nodes have applied more, or there are fewer of them: releases may go on."""
        for key in self._withdrawals.resolved():
            self.look_at(key)

    def changed(self, before: VirtualIP | None, after: VirtualIP | None, by: Key | None = None) -> None:
        """A VirtualIP is not what it was; *by* is the Service whose turn did it, and which looks at it anyway."""
        for vip in (before, after):
            if vip:
                self.touched_pool(vip.spec.pool_name)
            for claim in vip.spec.claims if vip else ():
                key = Key(claim.namespace, claim.name)
                self.touched(key)
                if key != by:
                    self.look_at(key)
        if before and (after is None or not plan.is_let_go(after)):
            self._withdrawals.forget(before.metadata.name)
        if before and after is None:
            self.wake()
        elif before and after and after.spec.claims != before.spec.claims:  # no address is free, but a quota may be
            for key in self._waiting.of(reason=Reason.QUOTA_EXCEEDED):
                self.look_at(key)

    # -- the turn

    async def _work(self) -> NoReturn:
        while True:
            key = await self.keys.get()
            try:
                await self._turn(key)
            except Unreachable as error:
                self._again(key, str(error))
            except Exception as error:  # the one boundary: a bug sets this Service aside, and no other
                await self._set_aside(key, error)
            finally:
                self._confirmed.discard(key)  # an answer of the server is good for one turn
                self.keys.done(key)
            await asyncio.sleep(0)  # many turns need no request: others must come to their turn as well

    async def _ring(self) -> NoReturn:
        while True:
            self.look_at(await self._alarms.next())

    async def _turn(self, key: Key) -> None:
        SYNCS.inc()
        for _ in range(ROUNDS):
            if self._is_early(key):
                return
            standing, answer = self._plan(key)
            self._remember(standing, answer)
            step = next(iter(plan.steps(standing, answer)), None)
            if step is None or isinstance(step, plan.Await) or await self._is_quarrel(key, step):
                self._failures.pop(key, None)
                return
            if not await self._do(standing, step):
                return
        self._alarms.set(key, 1.0)

    def _is_early(self, key: Key) -> bool:
        """Whether the Service's namespace is not known yet: its labels decide, and its event wakes the Service."""
        service = self.picture.services.get(key)
        if service is None or service.metadata.deletion_timestamp or key.namespace in self.picture.namespaces:
            return False
        if not wish.is_ours(service, self.settings):
            return False
        if key not in self._waiting:
            self._waiting.put(key, Refused(Reason.NO_MATCHING_POOL, f"namespace {key.namespace} is not known yet"))
        return True

    def _plan(self, key: Key) -> tuple[plan.Standing, Answer]:
        picture, now = self.picture, self.wall()
        service, vips = picture.services.get(key), picture.book.claimed_by(key)
        if service and FINALIZER not in service.metadata.finalizers:
            self._finalizers.pop(service.metadata.uid, None)
        standing = plan.Standing(
            key,
            service,
            vips,
            now,
            ours_by_class=service is not None and wish.is_ours(service, self.settings),
            withdrawn=frozenset(vip.metadata.name for vip in vips if self._withdrawals.is_done(key, vip)),
            confirmed=key in self._confirmed,
            finalizer_by_us=self._finalizers.get(service.metadata.uid) if service else None,
            rest_seconds=self.settings.rest_seconds,
            rests={name: pool.allocation.retain_seconds for name, pool in picture.book.pools.items()},
        )
        for vip in vips:
            if until := plan.rested_until(vip):
                self._alarms.set(key, max(0.05, (until - now).total_seconds()))
        if service is None or service.metadata.deletion_timestamp or not standing.ours_by_class:
            return standing, NotOurs()
        asked = wish.read(service, picture.namespaces[key.namespace])
        if isinstance(asked, Refused):
            return standing, asked
        selected = picture.selecting(service.metadata.labels)
        held = picture.held_pools(selected)
        asked = replace(asked, announcers=self.settings.announcers, advertisements=selected, held_pools=held)
        return replace(standing, wish=asked), decide(picture.book, asked)

    def _remember(self, standing: plan.Standing, answer: Answer) -> None:
        """Keep the list of those who wait; a refusal that lasts is said again before its Event expires."""
        key, service = standing.key, standing.service
        granted = {item.address for item in answer.addresses} if isinstance(answer, Grant) else set()
        for address in self.picture.book.pending_of(key):
            if address not in granted:  # it asks for something else by now; should the creation succeed, we shall see
                self.picture.book.release(address)
        why = answer if isinstance(answer, Refused) else answer.missing if isinstance(answer, Grant) else None
        if why is None:
            self._waiting.drop(key)
        elif self._waiting.put(key, why) and service and isinstance(answer, Refused):
            self._say(service, refusal_event(answer))
        if isinstance(answer, NotOurs):
            self._quarrels.forget(key)
            self._since.pop(key, None)
        elif not standing.vips:
            self._since.setdefault(key, self.clock.now())

    async def _is_quarrel(self, key: Key, step: plan.Step) -> bool:
        """Whether this write would only go on with a quarrel; that it came to one is said once."""
        if not isinstance(step, plan.WriteStatus):
            return False
        verdict = self._quarrels.verdict(key, step)
        if verdict is Verdict.STOP:
            await self._give_up(step.service)
        return verdict is not Verdict.WRITE

    async def _give_up(self, service: Service) -> None:
        log.warning("%s", STOPPED.message, extra={"object": _name(service), "reason": STOPPED.reason})
        self._say(service, refusal_event(STOPPED))
        await self._write_conditions(service, with_refusal(service, STOPPED, self.wall()))

    async def _write_conditions(self, service: Service, conditions: tuple[Condition, ...]) -> None:
        if conditions != service.status.conditions:
            outcome = await apply.write_conditions(self.kube, service, conditions)
            if isinstance(outcome, Ok):
                self.picture.service(outcome.value)

    # -- steps and their outcomes

    async def _do(self, standing: plan.Standing, step: plan.Step) -> bool:
        """Do one step and fold what came of it. False: nothing more for now."""
        key = standing.key
        self.last_write = self.clock.now()
        match step:
            case plan.Await():
                return False
            case plan.Confirm():
                if await self._read_service(key) is None:
                    self._confirmed.add(key)
                return True
            case plan.Identify(service):
                by_us = await apply.finalizer_is_ours(self.kube, service, MANAGER)
                self._finalizers[service.metadata.uid] = by_us
                return by_us
            case plan.AddFinalizer() | plan.RemoveFinalizer() | plan.WriteStatus():
                written = await apply.write_service(self.kube, step)
                if isinstance(written, Ok):
                    self.picture.service(written.value)
                    self._shown(key, step)
                return await self._settled(standing, step, written)
            case plan.Create(spec):
                address = ip_address(spec.address)
                self.picture.book.reserve(address, key, spec.pool_name)
                created = await apply.write_vip(self.kube, step)
                if not isinstance(created, Unknown):  # else it may still come: the address stays this Service's
                    self.picture.book.release(address)
                self._fold_vip(key, step, created)
                return await self._settled(standing, step, created)
            case plan.Update() | plan.Rest() | plan.Unpin() | plan.Delete():
                changed = await apply.write_vip(self.kube, step)
                self._fold_vip(key, step, changed)
                return await self._settled(standing, step, changed)
            case _:
                assert_never(step)

    def _fold_vip(self, key: Key, step: apply.VirtualIPStep, outcome: Outcome[VirtualIP | None]) -> None:
        match outcome:
            case Ok(VirtualIP() as value):
                before = self.picture.book.vips.get(value.metadata.name)
                if self.picture.vip(value):
                    self.changed(before, self.picture.book.vips.get(value.metadata.name), by=key)
            case Ok(None) if isinstance(step, plan.Delete):
                self.changed(self.picture.no_vip(step.vip.metadata.name, step.vip), None, by=key)
            case _:
                pass

    async def _settled(self, standing: plan.Standing, step: plan.Step, outcome: Outcome[object]) -> bool:
        """Draw the consequence of a write: go on, or read back what is there, or wait."""
        key, what = standing.key, type(step).__name__
        match outcome:
            case Ok():
                log.info("%s", what, extra={"object": str(key), **_about(step)})
                self._failures.pop(key, None)
                for said in step.says:
                    self._say(standing.service, said)
                return True
            case Conflict(code=404 | 409):  # somebody was there before: look again
                await self._read_back(key, step)
                return True
            case Conflict(code=429):
                self._alarms.set(key, 1.0)
                return False
            case Conflict(code, reason, message):
                self._refused(standing, f"{what}: {code} {reason}: {message}")
                return False
            case Unknown(why):
                log.warning("%s: outcome unknown: %s", what, why, extra={"object": str(key)})
                await self._read_back(key, step)
                self._again(key, why)  # it may still arrive: not at once
                return False

    async def _read_back(self, key: Key, step: plan.Step) -> None:
        match step:
            case plan.Create(spec):
                await self._read_vip(vip_name(ip_address(spec.address)))
            case plan.Update(vip) | plan.Rest(vip) | plan.Unpin(vip) | plan.Delete(vip):
                await self._read_vip(vip.metadata.name)
            case _:
                await self._read_service(key)

    async def _read_service(self, key: Key) -> Service | None:
        known = self.picture.services.get(key)
        value = await self.kube.get(SERVICES, key.name, namespace=key.namespace)
        if value:
            self.picture.service(value)
        elif known:
            self.picture.no_service(key, known)
        return value

    async def _read_vip(self, name: str) -> None:
        known = self.picture.book.vips.get(name)
        value = await self.kube.get(VIRTUALIPS, name)
        if value is None and known:
            self.changed(self.picture.no_vip(name, known), None)
        elif value and self.picture.vip(value):
            self.picture.book.release(ip_address(value.spec.address))
            self.changed(known, self.picture.book.vips.get(name))

    def _shown(self, key: Key, step: plan.Step) -> None:
        """A status was written: whoever mirrors announcers has news, and the time it took counts."""
        if not isinstance(step, plan.WriteStatus):
            return
        self.touched(key)
        since = self._since.pop(key, None)
        if since is not None and step.ingress:
            metrics.ALLOCATION_SECONDS.observe(self.clock.now() - since)

    # -- what went wrong

    def _again(self, key: Key, why: str) -> None:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(2.0 ** (count - 2), LONGEST_RETRY)
        log.warning("%s; again in %.1f s", why, delay, extra={"object": str(key)})
        self._alarms.set(key, delay)

    def _refused(self, standing: plan.Standing, why: str) -> None:
        """The server refuses a write for good reasons: a right is missing, or a value does not fit."""
        self._again(standing.key, why)
        self._say(standing.service, Say(WARNING, "SyncLoadBalancerFailed", note(why)))

    async def _set_aside(self, key: Key, error: Exception) -> None:
        log.exception("bug while planning; others are unaffected", extra={"object": str(key)})
        metrics.INTERNAL_ERRORS.labels("services").inc()
        service = self.picture.services.get(key)
        if service is None:
            return
        why = Refused(Reason.INTERNAL_ERROR, f"bug while planning {key}: {error!r}; others unaffected")
        self._say(service, Say(WARNING, Reason.INTERNAL_ERROR, note(why.message)))
        if not service.status.load_balancer.ingress:  # an address that was given stays what it is
            await self._write_conditions(service, with_refusal(service, why, self.wall()))

    def _say(self, service: Service | None, said: Say) -> None:
        if service:
            self.events.say(reference(service), said.type, said.reason, said.note, "Reconcile")


def _name(service: Service) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"


def reference(service: Service) -> ObjectReference:
    meta = service.metadata
    return ObjectReference(kind="Service", name=meta.name, namespace=meta.namespace, uid=meta.uid, api_version="v1")


def _about(step: plan.Step) -> dict[str, str]:
    """What the log line of a step says besides its name."""
    match step:
        case plan.Create(spec):
            return {"vip": spec.address, "pool": spec.pool_name}
        case plan.Update(vip) | plan.Rest(vip) | plan.Unpin(vip) | plan.Delete(vip):
            return {"vip": vip.spec.address}
        case plan.WriteStatus():
            reason = next((item.reason for item in step.conditions if item.type.endswith("Allocated")), "")
            return {"addresses": ",".join(item.ip for item in step.ingress), "reason": reason}
        case _:
            return {}
