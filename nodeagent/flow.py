"""The agent from end to end: event → snapshot → the seat's step → pulse, kernel and API server → report.

Read :meth:`Agent.run` first. Reflectors fold what they see into the index and wake the seats, whose one task each
decides (``seat.Seat.decide``); what they decide to claim goes through ``claims.Claims``, which keeps kernel and wire in
order. A node has a presence on each of its segments (``presence.Presence``). The pulse, of which this program is the
child, keeps hellos and permits going by itself (``pulse.process``).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from nodeagent.account import Account
from nodeagent.addresses import plan as addresses
from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.uplink import Survey, Uplink, speaking
from nodeagent.fence import Fence
from nodeagent.gate import plan as gate
from nodeagent.gate.apply import Gates
from nodeagent.gate.plan import Range
from nodeagent.layer3 import Ground, Layer3
from nodeagent.model import News
from nodeagent.presence import Node, Presence
from nodeagent.pulse.link import Pulses, segment_keys
from nodeagent.segment import events as ev
from nodeagent.segment.apply import table, view
from nodeagent.segment.state import Me
from nodeagent.services.apply import HealthChecks
from nodeagent.services.plan import Index
from nodeagent.services.vips import Vip
from nodeagent.settings import Settings
from nodeagent.whereabouts import LEAVE_SECONDS, Whereabouts
from roost import health, metrics
from roost.kube import wire
from roost.kube.client import Kube
from roost.kube.reflector import Reflector
from roost.logs import decision
from roost.process import RealClock, Unreachable, either, keep
from roost.ranges import ranges
from roost.words import (
    NAMESPACE,
    NODE_LEASE_NAMESPACE,
    RACK_LABELS,
    SEGMENT_KEY,
    VERSION,
    Reason,
    order,
)

log = logging.getLogger(__name__)

SLICES = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"  # as kube-proxy asks for them
CANCEL_AGAIN = 0.5  # seconds until a task that did not end is told once more
SWITCH_SECONDS = 1.0  # that a program which stops waits to read its switch once more
GIVE = "Give"

# Have each of these done, under its name.
Go = Callable[[dict[str, Callable[[], Awaitable[NoReturn]]]], list[asyncio.Task[Any]]]


class Agent:
    """One node's agent."""

    def __init__(self, settings: Settings, kube: Kube, links: Addresses, pulse: Pulses) -> None:
        self.settings, self.kube, self.addresses, self.pulse = settings, kube, links, pulse
        self.clock = RealClock()
        self.node = settings.node.node_name
        self.index = Index(self.node)  # of the first presence; of what concerns the node as a whole in any case
        self.links: tuple[addresses.Link, ...] = ()
        self.maintenance = "None"
        self.where = Whereabouts(pulse, self.clock, settings.node.linger)
        self.presences = self.where.presences
        self.account = Account(kube, self.clock, settings.node, self.where, self.index)
        self.fence: Fence | None = None
        self.listed = self.vips_changed = self.indexed = False
        self.changed, self.linked = asyncio.Event(), asyncio.Event()
        self.heart = health.Heartbeat(self.clock)
        reflect = Reflector[Any]
        self.vips = reflect(kube, wire.VIRTUALIPS, self.vip_changed, self.clock)
        self.slices = reflect(kube, wire.ENDPOINTSLICES, self.slice_changed, self.clock, labels=SLICES)
        self.nodes = reflect(kube, wire.NODES, self.node_changed, self.clock)
        self.pools = reflect(kube, wire.ADDRESSPOOLS, self.pool_changed, self.clock)
        self.segments = reflect(kube, wire.SEGMENTS, self.segment_changed, self.clock)
        self.leases = reflect(kube, wire.LEASES, self.lease_changed, self.clock, namespace=NODE_LEASE_NAMESPACE)
        self.own = reflect(kube, wire.NODEAGENTS, self.own_changed, self.clock, fields=f"metadata.name={self.node}")
        by_name = f"metadata.name={SEGMENT_KEY}"
        self.keys = reflect(kube, wire.SECRETS, self.key_changed, self.clock, namespace=NAMESPACE, fields=by_name)
        self.layer3 = Layer3(
            kube, self.clock, settings, Ground(self.holds, self.decided, self.rests, self.account.due.set)
        )
        self.account.layer3 = self.layer3.seen
        self.checks = HealthChecks(self.wanted_checks, self.health_seen, self.clock)

    # -- from start to end

    async def run(self, stop: asyncio.Event) -> None:
        """Work until *stop*; then rest, or give everything away and leave nothing behind."""
        async with asyncio.TaskGroup() as tasks:
            kept: list[asyncio.Task[NoReturn]] = []

            def go(works: dict[str, Callable[[], Awaitable[NoReturn]]]) -> list[asyncio.Task[Any]]:
                made = [tasks.create_task(keep(name, work, self.clock)) for name, work in works.items()]
                kept.extend(made)
                return list(made)

            go({"virtualips": self.vips.run, "endpointslices": self.slices.run, "nodes": self.nodes.run})
            go({"segments": self.segments.run, "leases": self.leases.run, "nodeagent": self.own.run})
            go({"addresspools": self.pools.run, "key": self.keys.run, "checks": self.checks.run})
            go({"links": self.watch_links, "heart": self.heart.run} | self.account.works())
            go({"pulse": lambda: self.pulse.run(self.news)} | self.layer3.works())
            await self.serve(go, stop)
            await end(kept)

    async def serve(self, go: Go, stop: asyncio.Event) -> None:
        """Gate first, then the tables; and all of it backwards.

        Not before everything is known that has a say: two nodes that name their segment differently would share no
        table, and so fence each other from nothing.
        """
        for known in (self.segments.synced, self.nodes.synced, self.vips.synced, self.pools.synced, self.linked):
            await either(known, stop)
        self.account.listed = True
        listed = asyncio.create_task(self.all_listed())
        gates = Gates(speaking(self.links))  # a device left out now would stand open until it is fenced again
        try:
            gates.install()
            self.fence = Fence(gates, self.index, self.clock)
            self.fence.ranges = self.pool_ranges()
            go({"gate": self.fence.watch})
            (leaving,) = go({"leaving": self.where.keep_leaving})
            while not stop.is_set():
                self.changed.clear()
                self.where.changed.clear()
                self.fence.links_are(self.links)
                for uplink in self.uplinks():
                    self.appear(uplink, go)
                if listed.done():
                    self.show_listed()
                await either(self.changed, self.where.changed, stop)
            leaving.cancel()  # the whole node does
            await asyncio.wait([leaving])
            await self.leave()
        finally:
            listed.cancel()
            for presence in self.presences.values():
                presence.close()
            gates.close()

    def uplinks(self) -> tuple[Uplink, ...]:
        """Where this node should be present; those where it is stay."""
        if not self.links:
            return ()
        labels = self.index.labels.get(self.node, {})
        survey = Survey(self.links, self.segments.items.values(), labels, self.node)
        before = self.where.choice
        vips = sorted(self.index.guarded - self.index.elsewhere, key=order)
        missing = self.where.choose(survey, self.settings.node.interface, vips)
        if self.where.choice != before and not missing:
            self.account.complain()
        return missing

    def appear(self, uplink: Uplink, go: Go) -> None:
        """Take part in one more segment."""
        decision(log, "UplinkFound", f"segment/{uplink.segment}", message=f"VIPs go on {uplink.link.name}")
        assert self.fence is not None  # it stands before anything is put on a device
        node = Node(
            self.me(),
            self.kube,
            self.clock,
            self.addresses,
            self.fence,
            self.pulse,
            self.leases.items,
            self.segments.items,
            self.racks,
            self.settings.neighbours,
            self.settings.node.linger,
            self.heard,
        )
        presence = Presence(node, uplink, self.index_anew() if self.indexed else self.index)
        self.indexed = True
        self.where.add(presence)
        self.pulse.open(uplink.segment, uplink.link.name, self.node, self.settings.pulse.pulse_port)
        self.show_what_was_seen(presence)
        presence.listed = self.listed
        self.where.works(uplink.segment, go(presence.works()))
        self.account.due.set()

    def index_anew(self) -> Index:
        """An index of everything known, for one more presence: what changed is told to each once."""
        index = Index(self.node)
        for name, node in self.nodes.items.items():
            index.put_node(name, node)
        index.put_own(self.own.items.get(self.node))
        for name, vip in self.vips.items.items():
            index.put_vip(name, vip)
        for key, piece in self.slices.items.items():
            index.put_slice(key, piece)
        return index

    async def all_listed(self) -> None:
        for reflector in (self.vips, self.slices, self.nodes, self.leases, self.own):
            await reflector.synced.wait()
        self.changed.set()

    def show_listed(self) -> None:
        self.listed = True
        for presence in self.presences.values():
            if not presence.listed:
                presence.listed = True
                presence.seat.tell(ev.LeasesListed())
        self.layer3.listed = True
        self.layer3.wake()

    def show_what_was_seen(self, presence: Presence) -> None:
        """The table and the own Lease, by consistent reads (a seat to adopt has little time); and all known Leases."""
        presence.seat.ask_table()
        presence.seat.ask_own_lease()
        for lease in self.leases.items.values():
            if node := presence.api.seen(lease):
                presence.seat.tell(ev.LeaseSeen(node, view(lease)))
        if self.listed:
            presence.seat.tell(ev.LeasesListed())

    async def leave(self) -> None:
        """Rest, to come back and go on; or hand everything over, serve on for a while, and clean up."""
        await self.read_switch()
        rest = self.rests()
        if not rest:
            self.layer3.leave()
        had_any = any(presence.claims.claimed for presence in self.presences.values())
        for presence in self.presences.values():
            presence.seat.tell(ev.Stop(rest))
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                for presence in self.presences.values():
                    await presence.seat.left.wait()
        except TimeoutError:
            why = "the API server takes no write: leaving without a word"
            log.warning("%s", why, extra={"reason": Reason.API_LOST})
        if rest:
            decision(log, Reason.STOPPING, f"nodeagent/{self.node}", message="at rest: the kernel goes on for a while")
            return
        for presence in self.presences.values():
            presence.claims.silence()
        if had_any:
            await self.clock.sleep(self.settings.node.linger)
        for name, presence in self.presences.items():
            await presence.claims.clear()
            self.pulse.close(name)
        if self.fence is not None:
            self.fence.gates.remove()
        await self.layer3.left()
        message = "left; nothing of this program is on the node"
        decision(log, Reason.STOPPING, f"nodeagent/{self.node}", message=message)

    async def read_switch(self) -> None:
        """Who sets the switch and stops the program at once need not know that a watch takes its time."""
        try:
            async with asyncio.timeout(SWITCH_SECONDS):
                self.own_changed(self.node, None, await self.kube.get(wire.NODEAGENTS, self.node))
        except (TimeoutError, Unreachable) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else error
            log.warning("NodeAgent %s: %s; it counts as it was seen last", self.node, why)

    def rests(self) -> bool:
        """Whether this program, told to stop, is to come back and find all as it was."""
        return self.settings.node.on_exit != GIVE and self.maintenance != "Exclude" and self.index.own_fitness.eligible

    def me(self) -> Me:
        """Who this is: the node's name, this boot, and the machine."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        file = self.settings.node.machine_id_file
        try:
            machine = file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise Unreachable(f"the machine id cannot be read: {error} (setting machine-id-file)") from error
        # Hashed, as machine-id(5) asks: the id itself is not to be shown around.
        return Me(self.node, boot, sha256(f"roost:{machine}".encode()).hexdigest()[:32])

    # -- what reflectors, links and the pulse tell

    def indices(self) -> list[Index]:
        own = (presence.index for presence in self.presences.values() if presence.index is not self.index)
        return [self.index, self.layer3.index, *own]

    def vip_changed(self, key: str, old: wire.VirtualIP | None, new: wire.VirtualIP | None) -> None:
        if not only_told(old, new):
            self.vips_changed = True
        self.one_object(f"virtualip/{key}", lambda index: index.put_vip(key, new))

    def slice_changed(self, key: str, _old: wire.EndpointSlice | None, new: wire.EndpointSlice | None) -> None:
        self.one_object(f"endpointslice/{key}", lambda index: index.put_slice(key, new))

    def node_changed(self, key: str, _old: wire.Node | None, new: wire.Node | None) -> None:
        self.one_object(f"node/{key}", lambda index: index.put_node(key, new))
        if key == self.node:
            self.layer3.node_is(new)

    def one_object(self, name: str, take: Callable[[Index], None]) -> None:
        """The one place where a bug costs one object and not the node: that object is set aside, all others go on."""
        for index in self.indices():
            try:
                take(index)
            except Exception:
                log.exception("bug while taking in %s; others go on", name, extra={"reason": Reason.INTERNAL_ERROR})
                metrics.INTERNAL_ERRORS.labels("services").inc()
        self.wake()

    def pool_changed(self, _key: str, _old: wire.AddressPool | None, _new: wire.AddressPool | None) -> None:
        if self.fence is not None:
            self.fence.ranges = self.pool_ranges()
        self.wake()

    def pool_ranges(self) -> tuple[Range, ...]:
        """Every address that may be given out, where no other program announces from the same pools."""
        if not self.settings.node.fence_pools:
            return ()
        texts = [text for pool in self.pools.items.values() for text in pool.spec.addresses]
        return tuple(Range(first, last) for first, last in ranges(texts))

    def segment_changed(self, key: str, _old: wire.Segment | None, new: wire.Segment | None) -> None:
        presence = self.presences.get(key)
        if presence is not None and new is None:
            presence.seat.ask_table()
        elif presence is not None and new is not None:
            presence.seat.tell(ev.TableSeen(table(new)))
        self.wake()

    def lease_changed(self, _key: str, old: wire.Lease | None, new: wire.Lease | None) -> None:
        lease = new or old
        for presence in self.presences.values():
            if lease is not None and (node := presence.api.seen(lease)):
                presence.seat.tell(ev.LeaseSeen(node, None if new is None else view(new)))

    def own_changed(self, _key: str, _old: wire.NodeAgent | None, new: wire.NodeAgent | None) -> None:
        self.maintenance = "None" if new is None else new.spec.maintenance
        for index in self.indices():
            index.put_own(new)
        if new is None:
            self.account.report.forget()
        self.wake()

    def key_changed(self, _key: str, _old: wire.Secret | None, new: wire.Secret | None) -> None:
        """A former key beside the one that signs is still good, so that it can be changed while all goes on."""
        found = segment_keys(new)
        if not found:
            log.warning("Secret %s/%s has no key: no hellos, and so leased mode", NAMESPACE, SEGMENT_KEY)
        self.pulse.key(found)

    def news(self, segment: str, news: News) -> None:
        if segment in self.presences:
            self.presences[segment].seat.tell(news)

    async def watch_links(self) -> NoReturn:
        await self.addresses.watch(self.links_changed)

    def links_changed(self, links: tuple[addresses.Link, ...]) -> None:
        self.links = links
        self.linked.set()
        self.where.links_are(links)
        self.layer3.links_are(links)
        self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.account.due.set()
        if self.vips_changed and self.listed and all(p.claims.decided for p in self.presences.values()):
            self.vips_changed = False
            for presence in self.presences.values():
                presence.claims.refresh()
            self.account.applied = self.vips.resource_version
        for presence in self.presences.values():
            presence.seat.tell()
        self.layer3.follow()

    def heard(self) -> None:
        """A presence has news."""
        self.account.due.set()
        self.layer3.wake()

    def holds(self, vip: Vip) -> bool:
        """Whether this node holds the group of *vip*, on the segment that it belongs on."""
        several = self.presences.values()
        return any(vip.group in one.claims.groups and one.claims.belongs(vip.address) for one in several)

    def decided(self) -> bool:
        """Whether it is known of each segment what this node holds there."""
        return all(presence.claims.decided for presence in self.presences.values())

    def racks(self) -> dict[str, str]:
        """Where nodes stand, as far as labels tell."""
        found = {}
        for name, labels in self.index.labels.items():
            rack = next((labels[label] for label in RACK_LABELS if label in labels), "")
            if rack:
                found[name] = rack
        return found

    def wanted_checks(self) -> tuple[Any, ...]:
        on_layer2 = {check: None for p in self.presences.values() for check in p.index.checks({p.link.name})}
        return tuple(on_layer2 | dict.fromkeys(self.layer3.index.checks(None)))

    def health_seen(self, service: tuple[str, str], version: int, serves: bool | None) -> None:
        if any([index.put_health(service, version, serves) for index in self.indices()]):  # noqa: C419 - each is told
            self.wake()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks*, and again until all have ended.

    Before Python 3.13 a TaskGroup forgets that it was cancelled where a task of it fails in the same moment (as those
    do whose daemon ends with this program), and who tries again after such a failure would go on for ever.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN)


def only_told(old: wire.VirtualIP | None, new: wire.VirtualIP | None) -> bool:
    """Whether all that changed of a VIP is what is told of it: nothing to apply, so no node writes that it did.

    Else every write of a VIP's status would make every node write its own.
    """
    if old is None or new is None:
        return False
    same = old.spec == new.spec and old.metadata.deletion_timestamp == new.metadata.deletion_timestamp
    let_go = not new.spec.group or not any(claim.uid for claim in new.spec.claims)
    return same and not let_go  # of one let go somebody may wait for any version to be applied


async def serve(settings: Settings, pulse: Pulses, stop: asyncio.Event) -> None:
    """Run the agent; raises Unreachable with the remedy where it cannot even begin."""
    try:
        kernel = Addresses(settings.addresses)
        kube = await Kube.connect(settings.kube, user_agent=f"roost-nodeagent/{VERSION}")
        agent = Agent(settings, kube, kernel, pulse)
        live, ready = {"loop": agent.heart.check}, {"seat": agent.account.unready}
        async with health.serving(settings.health, live=live, ready=ready):
            await agent.run(stop)
        await kube.close()
        await kernel.close()
    except* (gate.Unsupported, addresses.Unsupported) as errors:
        raise Unreachable("; ".join(map(str, errors.exceptions))) from errors
