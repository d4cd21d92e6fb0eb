"""Keeps the mirrors: who announces a VIP (VirtualIP.status, condition on the Service), and how full the pools are.

Nobody waits for a mirror. Changes are gathered for a second, and while Services wait for addresses for longer.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from cloudprovider.announcers import Announcer
from cloudprovider.grants import reference
from cloudprovider.keys import Alarms
from cloudprovider.model import FAMILY, HOLDER_ONLY, EventType, Key
from cloudprovider.picture import Picture
from cloudprovider.pools import apply as pools_apply
from cloudprovider.pools import report
from cloudprovider.quiet import Calm, Quiet
from cloudprovider.services import announced, apply, layer3, reached
from cloudprovider.services.wish import shown
from roost import metrics
from roost.kube.client import Kube, Ok
from roost.kube.wire import AddressPool, NodeAgent, ObjectReference, Segment, VirtualIP
from roost.process import Clock
from roost.words import vip_address

log = logging.getLogger(__name__)

GATHER = 1.0  # seconds between a change and its mirror, so that many changes make one write
LONGEST = 30.0  # seconds that a mirror waits for Services that wait for addresses
CALM = 3.0  # seconds that nodes say nothing new before VIPs that many of them announce are looked at
TRY_AGAIN = 5.0  # seconds after a write that failed; a conflict mostly wakes us sooner


@dataclass(slots=True)
class Mirror:
    """Works only while this program leads; :meth:`touch` may be called at any time."""

    kube: Kube
    picture: Picture
    say: Callable[[ObjectReference, EventType, str, str, str], None]  # an Event, which may wait as well
    clock: Clock
    wall: Callable[[], datetime]
    quiet: Quiet
    taken: Callable[[Key], bool]  # whether somebody writes to this Service right now
    active: bool = False  # this program leads: others' changes are theirs to mirror
    _services: Alarms[Key] = field(init=False)
    _pools: Alarms[str] = field(init=False)
    _tables: dict[str, announced.Table] = field(default_factory=dict)
    _calm: Calm = field(init=False)

    def __post_init__(self) -> None:
        self._calm = Calm(self.clock, CALM, LONGEST)
        self._services, self._pools = Alarms(self.clock), Alarms(self.clock)

    def touch(self, key: Key) -> None:
        """This Service or one of its VIPs changed."""
        if self.active:
            self._services.set(key, GATHER)

    def touch_pool(self, name: str) -> None:
        if self.active:
            self._pools.set(name, GATHER)

    def start(self) -> None:
        """This program leads from now on: everything is looked at once."""
        self.active = True
        for key in self.picture.book.claimants():
            self.touch(key)
        for name in self.picture.pools:
            self.touch_pool(name)

    def segment(self, name: str, before: Segment | None, after: Segment | None) -> None:
        """A table changed: only the VIPs of the groups that changed hands are looked at."""
        if after:
            self._tables[name] = announced.Table.of(after)
        else:
            self._tables.pop(name, None)
        for vip in self.picture.in_groups(announced.changed_groups(before, after)):
            self._touch_vip(vip)
        if _seated(before) != _seated(after):  # who could be asked whether a VIP answers
            self._touch_all()
        elif _live(before) != _live(after):  # what nobody holds is explained by who could
            for vip in self._unheld():
                self._touch_vip(vip)

    def agent(self, before: NodeAgent | None, after: NodeAgent | None) -> None:
        """A node says something else: only the VIPs that it speaks of are looked at."""
        if reached.probing_changed(before, after):
            self._touch_all()
            return
        by_address = reached.changed_vips(before, after)
        for name, vip in self.picture.book.vips.items() if by_address else ():
            if vip.spec.address in by_address:
                self._touch_vip(name)

    def announcer(self, before: Announcer | None, after: Announcer | None) -> None:
        """A node that may announce on layer 3 is not what it was: its sessions, its labels, whether it lives.

        With every node that comes up each VIP is announced by one more; all of that makes one write of it.
        """
        if before is None or not before.same_but_for_vips(after):
            self.touch_layer3()
        elif after and before.exceptions != after.exceptions:
            self._calm.stir()  # which VIPs it is about, :meth:`agent` has seen

    def touch_layer3(self) -> None:
        """All VIPs that are announced on layer 3: what routers are told of them has changed, or who tells them."""
        self._calm.stir()
        for name, vip in self.picture.book.vips.items():
            if layer3.is_announced_here(vip):
                self._touch_vip(name)

    def _is_restless(self, key: Key) -> bool:
        """Whether VIPs of this Service wait for nodes that come and go."""
        return self._calm.remaining() > 0 and any(map(layer3.is_announced_here, self.picture.book.claimed_by(key)))

    def _touch_all(self) -> None:
        for name in self.picture.book.vips:
            self._touch_vip(name)

    def _unheld(self) -> list[str]:
        return [name for name, vip in self.picture.book.vips.items() if not vip.status.holder]

    def _touch_vip(self, name: str) -> None:
        vip = self.picture.book.vips.get(name)
        for claim in vip.spec.claims if vip else ():
            self.touch(Key(claim.namespace, claim.name))

    # -- services

    async def mirror_services(self) -> NoReturn:
        while True:
            key = await self._services.next()
            await self.quiet.wait(LONGEST)
            if self.taken(key):
                self.touch(key)
            elif self._is_restless(key):
                self._services.set(key, self._calm.remaining())
            else:
                # Where nothing is to be written nothing else waits; of thousands, others are to have their turn.
                await asyncio.sleep(0)
                await self._mirror(key)

    async def _mirror(self, key: Key) -> None:
        """Write what is seen of one Service's VIPs; a write that fails is done again with the next change, or later."""
        tables = [self._tables[name] for name in sorted(self._tables)]
        vips = self.picture.book.claimed_by(key)
        sights = {vip.metadata.name: self._sight(vip, tables) for vip in vips}
        for vip in vips:
            if not await self._mirror_vip(vip, sights[vip.metadata.name]):
                self._services.set(key, TRY_AGAIN)
        service = self.picture.services.get(key)
        if service is None:
            return
        addresses = shown(service)
        seen = tuple(sights[vip.metadata.name] for vip in vips if vip_address(vip.metadata.name) in addresses)
        conditions = announced.service_conditions(service.status.conditions, seen, self.wall())
        if conditions == service.status.conditions:
            return
        outcome = await apply.write_conditions(self.kube, service, conditions)
        if not isinstance(outcome, Ok):
            self._services.set(key, TRY_AGAIN)
            return
        self.picture.service(outcome.value)
        for said in announced.service_events(service, conditions):
            self.say(reference(service), said.type, said.reason, said.note, "Announce")

    def _sight(self, vip: VirtualIP, tables: list[announced.Table]) -> announced.Sight:
        if not layer3.is_announced_here(vip):
            return announced.look(vip, tables, self.picture.agents)
        seen, among = None, self.picture.announcers
        if layer3.has_holder(vip):
            seen = announced.look(vip, tables, self.picture.agents)
        if vip.spec.announce.announcers == HOLDER_ONLY:
            among = {name: one for name, one in among.items() if seen and name == seen.holder}
        holder = seen.holder if seen else ""
        return layer3.look(vip, seen, layer3.spread(vip, among.values(), self.picture.rules(), holder))

    async def _mirror_vip(self, vip: VirtualIP, sight: announced.Sight) -> bool:
        want = announced.vip_status(vip, sight, self.wall())
        if want == vip.status:
            return True
        outcome = await apply.write_vip_status(self.kube, vip, want)
        if not isinstance(outcome, Ok):
            return self.picture.book.vips.get(vip.metadata.name) is None
        self.picture.vip(outcome.value)
        if said := announced.vip_event(vip, sight):
            meta = vip.metadata
            about = ObjectReference(kind="VirtualIP", name=meta.name, uid=meta.uid, api_version="roost.dev/v1alpha1")
            self.say(about, said.type, said.reason, said.note, "Announce")
        return True

    # -- pools

    async def mirror_pools(self) -> NoReturn:
        while True:
            name = await self._pools.next()
            await self.quiet.wait(LONGEST)
            pool = self.picture.pools.get(name)
            if pool is None:
                _forget(name)
            else:
                await self._mirror_pool(pool)

    async def _mirror_pool(self, pool: AddressPool) -> None:
        book = self.picture.book
        full = report.fills(book.pools[pool.metadata.name], book)
        _count(pool.metadata.name, full, self.picture.resting(pool.metadata.name))
        around = report.cluster(self._cluster_cidrs(), self.picture.advertisements.values())
        want = report.status_of(pool, book, around, self.wall())
        if want == pool.status:
            return
        outcome = await pools_apply.write_status(self.kube, pool, want)
        if not isinstance(outcome, Ok):
            self._pools.set(pool.metadata.name, TRY_AGAIN)
            return
        self.picture.pool(pool.metadata.name, outcome.value)
        meta = pool.metadata
        about = ObjectReference(kind="AddressPool", name=meta.name, uid=meta.uid, api_version="roost.dev/v1alpha1")
        for said in report.events(pool, want):
            self.say(about, said.type, said.reason, said.note, "Report")

    def _cluster_cidrs(self) -> list[tuple[str, str]]:
        services = [
            (f"ServiceCIDR {name}", text) for name, cidr in self.picture.cidrs.items() for text in cidr.spec.cidrs
        ]
        pods = [
            (f"pods of node {name}", text) for name, node in self.picture.nodes.items() for text in node.spec.pod_cidrs
        ]
        return [*services, *pods]


def _seated(segment: Segment | None) -> frozenset[str]:
    return frozenset(node for node, _ in _live(segment))


def _live(segment: Segment | None) -> frozenset[tuple[str, bool]]:
    seats = segment.status.seats if segment and segment.status else ()
    return frozenset((seat.node, seat.eligible) for seat in seats if seat.state == "Live")


def _count(pool: str, full: tuple[report.Fill, ...], resting: Mapping[int, int]) -> None:
    for fill in full:
        family = FAMILY[fill.version]
        metrics.POOL_ADDRESSES.labels(pool, family, "total").set(fill.total)
        metrics.POOL_ADDRESSES.labels(pool, family, "used").set(fill.used)
        metrics.POOL_ADDRESSES.labels(pool, family, "resting").set(resting.get(fill.version, 0))


def _forget(pool: str) -> None:
    for family in FAMILY.values():
        for state in ("total", "used", "resting"):
            try:
                metrics.POOL_ADDRESSES.remove(pool, family, state)
            except KeyError:
                continue
