"""The page to read first: what is watched, what that changes in the picture, and who does something about it.

    watch → picture → keys of Services → plan (pools, services) → step → outcome → picture …
                                                              mirrors and Events follow when it is quiet

Everybody watches; only the leader plans and writes. All of it happens in one event loop: the picture has one writer.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from cloudprovider.announcers import by_labels
from cloudprovider.grants import Grants, Says
from cloudprovider.mirror import Mirror
from cloudprovider.model import HOLDER_ONLY, Key
from cloudprovider.nodes import apply as nodes_apply
from cloudprovider.nodes import plan as nodes_plan
from cloudprovider.picture import Picture
from cloudprovider.quiet import Quiet, Voice
from cloudprovider.routers import Routers
from cloudprovider.services.directions import is_trusted
from cloudprovider.settings import Settings
from roost.kube.client import Kube, Ok
from roost.kube.election import Election
from roost.kube.reflector import Reflector
from roost.kube.wire import (
    ADDRESSPOOLS,
    NAMESPACES,
    NODEAGENTS,
    NODES,
    SEGMENTS,
    SERVICECIDRS,
    SERVICES,
    VIRTUALIPS,
    AddressPool,
    Namespace,
    Node,
    NodeAgent,
    Segment,
    Service,
    ServiceCIDR,
    VirtualIP,
)
from roost.kube.wire_bgp import BGPADVERTISEMENTS, BGPPEERS, BGPAdvertisement, BGPPeer
from roost.process import Clock, keep

log = logging.getLogger(__name__)

CALM = 1.0  # seconds without a write for a Service after which it counts as quiet


def utc_now() -> datetime:
    return datetime.now(UTC)


def _seats(segment: Segment | None) -> frozenset[tuple[str, str]]:
    """Who sits at a table, and whether it lives."""
    return (
        frozenset((seat.node, seat.state) for seat in segment.status.seats)
        if segment and segment.status
        else frozenset()
    )


@dataclass(slots=True)
class Controller:
    """The whole program but for its start: give it an API server and let it :meth:`run`."""

    kube: Kube
    settings: Settings
    identity: str
    clock: Clock
    says: Says
    wall: Callable[[], datetime] = utc_now
    picture: Picture = field(default_factory=Picture)
    grants: Grants = field(init=False)
    mirror: Mirror = field(init=False)
    routers: Routers = field(init=False)
    voice: Voice = field(init=False)
    election: Election = field(init=False)
    reflectors: tuple[Reflector[Any], ...] = field(init=False)
    _node_gone: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        quiet = Quiet(self.clock, self._is_busy)
        self.voice = Voice(self.says, quiet)
        self.mirror = Mirror(
            self.kube,
            self.picture,
            self.voice.later,
            self.clock,
            self.wall,
            quiet,
            lambda key: key in self.grants.keys,
        )
        self.routers = Routers(self.kube, self.picture, self.voice.say, self.clock, self.wall, quiet)
        self.grants = Grants(
            self.kube,
            self.picture,
            self.voice,
            self.clock,
            self.wall,
            self.settings.services,
            self._touched,
            self.mirror.touch_pool,
        )
        self.election = Election(self.kube, self.clock, self.settings.leader.election(self.identity))
        self.reflectors = (
            Reflector(self.kube, NAMESPACES, self._namespace, self.clock),
            Reflector(self.kube, NODES, self._node, self.clock),
            Reflector(self.kube, SERVICECIDRS, self._cidr, self.clock),
            Reflector(self.kube, ADDRESSPOOLS, self._pool, self.clock),
            Reflector(self.kube, VIRTUALIPS, self._vip, self.clock),
            Reflector(self.kube, SEGMENTS, self._segment, self.clock),
            Reflector(self.kube, NODEAGENTS, self._agent, self.clock),
            Reflector(self.kube, BGPPEERS, self._peer, self.clock),
            Reflector(self.kube, BGPADVERTISEMENTS, self._advertisement, self.clock),
            Reflector(self.kube, SERVICES, self._service, self.clock),
        )

    def _is_busy(self) -> bool:
        """Whether Services wait for addresses, or did a moment ago: bursts come with gaps."""
        return len(self.grants.keys) > 0 or self.clock.now() - self.grants.last_write < CALM

    def ready(self) -> bool:
        """Whether everything has been listed: a leader can plan, and a standby can take over at once."""
        return all(reflector.synced.is_set() for reflector in self.reflectors)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until *stop* is set; then the Lease is given back."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(keep("watch", reflector.run, self.clock)) for reflector in self.reflectors]
            running.append(tasks.create_task(keep("good news", self.voice.run, self.clock)))
            running.append(tasks.create_task(keep("election", self._stand, self.clock)))
            await stop.wait()
            for task in running:
                task.cancel()

    async def _stand(self) -> NoReturn:
        for reflector in self.reflectors:  # nothing is given or taken before the first full lists
            await reflector.synced.wait()
        await self.election.lead(self._lead)

    async def _lead(self) -> NoReturn:
        self.mirror.start()
        self.routers.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.mirror.mirror_services())
                tasks.create_task(self.mirror.mirror_pools())
                tasks.create_task(self.routers.mirror_peers())
                tasks.create_task(self.routers.mirror_advertisements())
                tasks.create_task(keep("leases of nodes", self._bury, self.clock))
                await self.grants.lead()
        finally:
            self.mirror.active = self.routers.active = False
        raise AssertionError("grants end only by being cancelled")

    # -- what is watched, and whom it concerns

    def _service(self, name: str, old: Service | None, new: Service | None) -> None:
        key = Key.of(name)
        news = self.picture.service(new) if new else self.picture.no_service(key, old)
        if new is None and old:
            self.picture.settled(old.metadata.uid)
        if news:
            self.grants.look_at(key)
            if self.picture.book.claimed_by(key):
                self.mirror.touch(key)

    def _vip(self, name: str, old: VirtualIP | None, new: VirtualIP | None) -> None:
        before = self.picture.book.vips.get(name)
        if new:
            if self.picture.vip(new):
                self.grants.changed(before, self.picture.book.vips.get(name))
            return
        gone = self.picture.no_vip(name, old)
        if old:
            self.picture.settled(old.metadata.uid)
        if gone:
            self.grants.changed(gone, None)

    def _touched(self, key: Key) -> None:
        """A Service, or one of its VIPs, changed: by somebody's hand or by our own."""
        self.mirror.touch(key)
        self.routers.touch_advertisements()

    def _pool(self, name: str, old: AddressPool | None, new: AddressPool | None) -> None:
        self.picture.pool(name, new)
        if old and new and old.spec == new.spec:
            return
        self.grants.look_at_all()
        for pool in (*self.picture.pools, name):  # they may overlap
            self.mirror.touch_pool(pool)
        self.routers.touch_advertisements()

    def _namespace(self, name: str, old: Namespace | None, new: Namespace | None) -> None:
        if new is None:
            self.picture.namespaces.pop(name, None)
            return
        self.picture.namespaces[name] = new.metadata.labels
        if old is None or old.metadata.labels != new.metadata.labels:
            self.grants.wake(name)
        if old is not None and is_trusted(old.metadata.labels) != is_trusted(new.metadata.labels):
            for key in self.picture.services:
                if key.namespace == name:
                    self.grants.look_at(key)

    def _node(self, name: str, old: Node | None, new: Node | None) -> None:
        if self.picture.node(name, new):
            self.grants.wake()
            for pool in self.picture.pools:
                self.mirror.touch_pool(pool)
        self._announcer(name)
        if new is None:
            self._node_gone.set()

    def _cidr(self, name: str, old: ServiceCIDR | None, new: ServiceCIDR | None) -> None:
        if new:
            self.picture.cidrs[name] = new
        else:
            self.picture.cidrs.pop(name, None)
        for pool in self.picture.pools:
            self.mirror.touch_pool(pool)

    def _segment(self, name: str, old: Segment | None, new: Segment | None) -> None:
        if new:
            self.picture.segments[name] = new
        else:
            self.picture.segments.pop(name, None)
        self.mirror.segment(name, old, new)
        for node in _seats(old) ^ _seats(new):
            self._announcer(node[0])
        self.grants.applied()

    def _agent(self, name: str, old: NodeAgent | None, new: NodeAgent | None) -> None:
        if new:
            self.picture.agents[name] = new
        else:
            self.picture.agents.pop(name, None)
        self.mirror.agent(old, new)
        self._announcer(name)
        self.grants.applied()

    def _announcer(self, node: str) -> None:
        """What a node is on layer 3 may have changed."""
        before, after = self.picture.announcer(node)
        if before == after:
            return
        self.mirror.announcer(before, after)
        if before is None or not before.same_but_for_vips(after):
            self.routers.touch_peers()
            self.routers.touch_advertisements()

    def _peer(self, name: str, old: BGPPeer | None, new: BGPPeer | None) -> None:
        self.picture.peer(name, new)
        if old and new and old.spec == new.spec:
            return
        self.routers.touch_peer(name)
        self.mirror.touch_layer3()
        if old is None or new is None:
            self.routers.touch_advertisements()

    def _advertisement(self, name: str, old: BGPAdvertisement | None, new: BGPAdvertisement | None) -> None:
        self.picture.advertisement(name, new)
        if old and new and old.spec == new.spec:
            return
        self.routers.touch_advertisement(name)
        self.mirror.touch_layer3()
        for pool in self.picture.pools:  # which of them nobody speaks of
            self.mirror.touch_pool(pool)
        everybody = HOLDER_ONLY in {
            item.spec.announcers for item in (old, *self.picture.advertisements.values()) if item
        }
        for key, service in self.picture.services.items():
            if everybody or by_labels(old, service.metadata.labels) is not by_labels(new, service.metadata.labels):
                self.grants.look_at(key)

    # -- Leases of nodes that are gone

    async def _bury(self) -> NoReturn:
        """Delete what dead nodes left in roost-node-lease. Nothing is asked while every Lease has its node."""
        suspects: dict[str, nodes_plan.Suspect] = {}
        while True:
            self._node_gone.clear()
            leases = await nodes_apply.leases(self.kube)
            suspects = nodes_plan.suspects(leases, self.picture.nodes, suspects, self.clock.now())
            for lease in nodes_plan.dead(leases, suspects, self.clock.now()):
                outcome = await nodes_apply.delete(self.kube, lease)
                if isinstance(outcome, Ok):
                    log.info("the Lease of a node that is gone is deleted", extra={"object": lease.metadata.name})
                suspects.pop(lease.metadata.name, None)
            if suspects:
                await self.clock.sleep(nodes_plan.QUIET)
            else:
                await self._node_gone.wait()
