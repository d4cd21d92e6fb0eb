"""The agent from end to end: event → snapshot → the seat's step → kernel and API server → report.

Read :meth:`Agent.run` first. Reflectors fold what they see into the index and wake the seat, whose one task decides
(``seat.Seat.decide``); what it decides to claim goes through ``claims.Claims``, which keeps kernel and wire in order.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from nodeagent.addresses import plan as addresses
from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.uplink import NoUplink, Uplink, choose
from nodeagent.claims import Claims
from nodeagent.gate import plan as gate
from nodeagent.gate.apply import Gate
from nodeagent.neighbours.apply import Announcer, PacketSocket
from nodeagent.seat import Seat
from nodeagent.segment import events as ev
from nodeagent.segment.apply import SegmentApi, table, view
from nodeagent.segment.plan import start
from nodeagent.segment.state import Me
from nodeagent.services.plan import Index
from nodeagent.settings import Settings
from nodeagent.status.apply import Report
from nodeagent.status.plan import Facts
from roost import health, metrics
from roost.kube import wire
from roost.kube.client import Kube
from roost.kube.events import Events
from roost.kube.reflector import Reflector
from roost.logs import decision
from roost.process import RealClock, Unreachable, keep
from roost.words import AGENT, NODE_LEASE_NAMESPACE, VERSION, Reason, order

log = logging.getLogger(__name__)

GIVE_SECONDS = 8.0  # how long a program that stops tries to hand its groups over
REPORT_SECONDS = 1.0  # between two writes of the NodeAgent's status
SLICES = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"  # as kube-proxy asks for them
ADDRESSES_OF_A_SEAT = 4


class Agent:
    """One node's agent."""

    def __init__(self, settings: Settings, kube: Kube, links: Addresses) -> None:
        self.settings, self.kube, self.addresses = settings, kube, links
        self.clock = RealClock()
        self.node = settings.node.node_name
        self.index = Index(self.node)
        self.links: tuple[addresses.Link, ...] = ()
        self.maintenance = "None"
        self.no_uplink = self.told = NoUplink(Reason.NO_INTERFACE, "not all that has a say in it has been read yet")
        self.claims: Claims | None = None
        self.seat: Seat | None = None
        self.segment = ""
        self.wish: ev.Wish | None = None
        self.listed = self.vips_changed = False
        self.applied = ""
        self.changed, self.report_due = asyncio.Event(), asyncio.Event()
        self.report = Report(kube, self.node)
        self.events = Events(kube, self.clock, AGENT, self.node)
        self.heart = health.Heartbeat(self.clock)
        reflect = Reflector[Any]
        self.vips = reflect(kube, wire.VIRTUALIPS, self.vip_changed, self.clock)
        self.slices = reflect(kube, wire.ENDPOINTSLICES, self.slice_changed, self.clock, labels=SLICES)
        self.nodes = reflect(kube, wire.NODES, self.node_changed, self.clock)
        self.segments = reflect(kube, wire.SEGMENTS, self.segment_changed, self.clock)
        self.leases = reflect(kube, wire.LEASES, self.lease_changed, self.clock, namespace=NODE_LEASE_NAMESPACE)
        self.own = reflect(kube, wire.NODEAGENTS, self.own_changed, self.clock, fields=f"metadata.name={self.node}")

    # -- from start to end

    async def run(self, stop: asyncio.Event) -> None:
        """Work until *stop*; then give everything away and leave nothing behind."""
        async with asyncio.TaskGroup() as tasks:
            kept: list[asyncio.Task[NoReturn]] = []

            def go(**works: Callable[[], Coroutine[Any, Any, NoReturn]]) -> None:
                kept.extend(tasks.create_task(keep(name, work, self.clock)) for name, work in works.items())

            go(virtualips=self.vips.run, endpointslices=self.slices.run, nodes=self.nodes.run)
            go(segments=self.segments.run, leases=self.leases.run, nodeagent=self.own.run)
            go(links=self.watch_links, heart=self.heart.run, events=self.events.run, report=self.keep_reporting)
            uplink = await self.find_uplink(stop)
            if uplink is not None:
                await self.serve(uplink, go, stop)
            for task in kept:
                task.cancel()

    async def find_uplink(self, stop: asyncio.Event) -> Uplink | None:
        """Wait for the interface to announce on; None: stopped before there was one.

        Not before everything is known that has a say: two nodes that name their segment differently would share no
        table, and so fence each other from nothing.
        """
        for reflector in (self.segments, self.nodes, self.vips):
            await _either(reflector.synced, stop)
        while not stop.is_set():
            self.changed.clear()
            if self.links:
                labels = dict(self.index.labels.get(self.node, {}))
                vips = sorted(self.index.guarded, key=order)
                found = choose(self.settings.node.interface, self.links, self.segments.items.values(), labels, vips)
                if isinstance(found, Uplink):
                    decision(log, "UplinkFound", f"segment/{found.segment}", message=f"VIPs go on {found.link.name}")
                    return found
                self.complain(found)
            await _either(self.changed, stop)
        return None

    def complain(self, why: NoUplink) -> None:
        if why != self.no_uplink:
            self.no_uplink = why
            level = logging.INFO if self.is_idle() else logging.WARNING
            log.log(level, "%s", why.message, extra={"reason": why.reason, "object": f"nodeagent/{self.node}"})
            self.report_due.set()

    def tell_trouble(self) -> None:
        """An Event for who looks at the NodeAgent; only now is it sure to be there, and its uid known."""
        why = self.no_uplink
        if self.claims is None and why != self.told and not self.is_idle():
            self.told = why
            regarding = wire.ObjectReference(
                kind="NodeAgent", name=self.node, uid=self.report.uid, api_version=wire.NODEAGENTS.api_version
            )
            self.events.say(regarding, "Warning", why.reason, why.message, "ChooseInterface")

    async def serve(self, uplink: Uplink, go: Callable[..., None], stop: asyncio.Event) -> None:
        """Gate first, then the table; and all of it backwards."""
        barrier = Gate(uplink.link.name)
        barrier.install()
        wire_ = PacketSocket(uplink.link.name)
        wire_.open()
        assert uplink.link.mac is not None  # choose() takes Ethernet only
        announcer = Announcer(wire_, uplink.link.mac, self.clock, self.settings.neighbours)
        self.claims = Claims(self.index, uplink.link, barrier, announcer, self.addresses, self.clock)
        self.claims.link_is(self.links)
        self.segment = uplink.segment
        api = SegmentApi(self.kube, uplink.segment, self.node, self.clock.now)
        self.seat = Seat(start(self.me()), api, self.claims, self.leases.items, self.look, self.clock)
        self.show_what_was_seen(self.seat)
        go(renew=self.seat.renew, write=self.seat.write, ask=self.seat.ask, decide=self.seat.decide)
        go(announce=announcer.announce, addresses=self.claims.keep_addresses, gate=self.claims.watch_gate)
        try:
            if await self.all_listed(stop):
                self.listed = True
                self.seat.tell(ev.LeasesListed())
                await stop.wait()
            await self.give(self.seat, self.claims)
        finally:
            wire_.close()
            barrier.close()

    async def all_listed(self, stop: asyncio.Event) -> bool:
        for reflector in (self.vips, self.slices, self.nodes, self.leases):
            await _either(reflector.synced, stop)
        return not stop.is_set()

    def show_what_was_seen(self, seat: Seat) -> None:
        """The table and the own Lease, by consistent reads (a seat to adopt has little time); and all known Leases."""
        seat.ask_table()
        seat.ask_own_lease()
        for lease in self.leases.items.values():
            seat.tell(ev.LeaseSeen(lease.metadata.name, view(lease)))

    async def give(self, seat: Seat, claims: Claims) -> None:
        """Hand everything over, serve on for a while those who have not heard of it, and clean up."""
        had_any = bool(claims.claimed)
        seat.tell(ev.Stop())
        try:
            async with asyncio.timeout(GIVE_SECONDS):
                await seat.left.wait()
        except TimeoutError:
            log.warning(
                "the API server takes no write: leaving without handing over", extra={"reason": Reason.API_LOST}
            )
        claims.silence()
        if had_any:
            await self.clock.sleep(self.settings.node.linger)
        await claims.clear()
        decision(
            log, Reason.STOPPING, f"segment/{self.segment}", message="left; nothing of this program is on the node"
        )

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

    # -- what reflectors and links tell

    def vip_changed(self, key: str, _old: wire.VirtualIP | None, new: wire.VirtualIP | None) -> None:
        self.vips_changed = True
        self.one_object("services", f"virtualip/{key}", lambda: self.index.put_vip(key, new))

    def slice_changed(self, key: str, _old: wire.EndpointSlice | None, new: wire.EndpointSlice | None) -> None:
        self.one_object("services", f"endpointslice/{key}", lambda: self.index.put_slice(key, new))

    def node_changed(self, key: str, _old: wire.Node | None, new: wire.Node | None) -> None:
        self.one_object("services", f"node/{key}", lambda: self.index.put_node(key, new))

    def one_object(self, room: str, name: str, take: Callable[[], None]) -> None:
        """The one place where a bug costs one object and not the node: that object is set aside, all others go on."""
        try:
            take()
        except Exception:
            log.exception("bug while taking in %s; others go on", name, extra={"reason": Reason.INTERNAL_ERROR})
            metrics.INTERNAL_ERRORS.labels(room).inc()
        self.wake()

    def segment_changed(self, key: str, _old: wire.Segment | None, new: wire.Segment | None) -> None:
        if self.seat is not None and key == self.segment:
            if new is None:
                self.seat.ask_table()
            else:
                self.seat.tell(ev.TableSeen(table(new)))
        self.wake()

    def lease_changed(self, _key: str, old: wire.Lease | None, new: wire.Lease | None) -> None:
        lease = new or old
        if self.seat is not None and lease is not None:
            self.seat.tell(ev.LeaseSeen(lease.metadata.name, None if new is None else view(new)))

    def own_changed(self, _key: str, _old: wire.NodeAgent | None, new: wire.NodeAgent | None) -> None:
        self.maintenance = "None" if new is None else new.spec.maintenance
        if new is None:
            self.report.forget()
        self.wake()

    async def watch_links(self) -> NoReturn:
        await self.addresses.watch(self.links_changed)

    def links_changed(self, links: tuple[addresses.Link, ...]) -> None:
        self.links = links
        if self.claims is not None:
            self.claims.link_is(links)
        self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.report_due.set()
        if self.seat is not None:
            self.seat.tell()

    # -- the snapshot, as the seat wants it

    def look(self) -> ev.Wish | None:
        """Follow what changed of the VIPs; the new wish, if the seat must know of it."""
        claims = self.claims
        if claims is None or not self.listed:
            return None
        claims.refresh()
        if self.vips_changed and claims.decided:
            self.vips_changed, self.applied = False, self.vips.resource_version
            self.report_due.set()
        link = claims.link
        own = tuple(str(p.ip) for p in link.prefixes if not p.ip.is_link_local)[:ADDRESSES_OF_A_SEAT]
        candidates = self.index.candidates({link.name})
        wish = ev.Wish(link.up and self.maintenance == "None", str(link.mac), own, candidates)
        if self.wish is not None and wish.candidates is self.wish.candidates and wish == self.wish:
            return None
        self.wish = wish
        return wish

    # -- the report

    def unready(self) -> str | None:
        """None: ready. Does not depend on the API server answering now, only on the seat having been taken."""
        if self.claims is None:
            return None if self.is_idle() else self.no_uplink.message
        return None if self.seat is not None and self.seat.state.seated else "not seated yet"

    def is_idle(self) -> bool:
        """Whether all is well though there is no interface: nothing says which, and there is nothing to announce."""
        nothing = self.vips.synced.is_set() and not self.index.guarded
        return self.claims is None and not self.settings.node.interface and nothing

    async def keep_reporting(self) -> NoReturn:
        """Raises Unreachable; what is to be said is said when the API server is back."""
        self.report_due.set()
        while True:
            await self.report_due.wait()
            self.report_due.clear()
            try:
                await self.report.write(self.facts())
            except Unreachable:
                self.report_due.set()
                raise
            self.tell_trouble()
            await self.clock.sleep(REPORT_SECONDS)

    def facts(self) -> Facts:
        claims = self.claims
        links = tuple(
            wire.AgentLink(
                name=link.name,
                kind=link.kind,
                mac=str(link.mac or ""),
                mtu=link.mtu,
                up=link.up,
                subnets=tuple(str(prefix.network) for prefix in link.prefixes),
            )
            for link in ([claims.link] if claims is not None else [])
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        ready, message = self.readiness()
        rows = claims.rows() if claims is not None else []
        metrics.show_vips(self.node, rows)
        self.count_seats()
        announced = sum(row[2] for row in rows)
        exceptions = claims.exceptions if claims is not None else {}
        return Facts(boot, self.applied, len(rows), announced, exceptions, links, ready, message)

    def count_seats(self) -> None:
        known = self.seat.state.table if self.seat is not None else None
        if known is not None:
            live = len(known.live())
            metrics.SEGMENT_SEATS.labels(self.segment, "Live").set(live)
            metrics.SEGMENT_SEATS.labels(self.segment, "Gone").set(len(known.seats) - live)

    def readiness(self) -> tuple[Reason, str]:
        if self.is_idle():
            return Reason.RUNNING, "there is no VIP yet; the first says which interface they go on"
        if self.claims is None or self.seat is None:
            return self.no_uplink.reason, self.no_uplink.message
        link = self.claims.link
        if not link.up:
            return Reason.LINK_DOWN, f"{link.name} is down"
        if self.maintenance != "None":
            return Reason.DRAINING, f"spec.maintenance is {self.maintenance}"
        return Reason.RUNNING, f"segment {self.segment} on {link.name}"


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the agent; raises Unreachable with the remedy where it cannot even begin."""
    try:
        kernel = Addresses(settings.addresses)
        kube = await Kube.connect(settings.kube, user_agent=f"roost-nodeagent/{VERSION}")
        agent = Agent(settings, kube, kernel)
        live, ready = {"loop": agent.heart.check}, {"seat": agent.unready}
        async with health.serving(settings.health, live=live, ready=ready):
            await agent.run(stop)
        await kube.close()
        await kernel.close()
    except* (gate.Unsupported, addresses.Unsupported) as errors:
        raise Unreachable("; ".join(map(str, errors.exceptions))) from errors


async def _either(*events: asyncio.Event) -> None:
    """Return as soon as one of *events* is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
