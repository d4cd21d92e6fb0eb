"""This node's presence on one segment: its seat, its claims there, and what it hears from its neighbours."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice
from typing import NoReturn

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.plan import Link
from nodeagent.addresses.uplink import Uplink
from nodeagent.claims import Claims, Way
from nodeagent.fence import Fence
from nodeagent.gate.apply import Gate
from nodeagent.model import PROFILES, Profile
from nodeagent.neighbours.apply import Announcer, PacketSocket
from nodeagent.neighbours.hearing import Heard, Others, anchors
from nodeagent.neighbours.listening import Listener, PacketEar
from nodeagent.neighbours.plan import Settings as Announcing
from nodeagent.neighbours.probing import Prober
from nodeagent.pulse.link import Pulses
from nodeagent.seat import Far, Seat
from nodeagent.segment import events as ev
from nodeagent.segment.apply import SegmentApi
from nodeagent.segment.plan import start
from nodeagent.segment.state import Me
from nodeagent.services.plan import Index
from roost import metrics, rendezvous
from roost.frames import Mac
from roost.kube import wire
from roost.kube.client import Kube
from roost.process import Clock, Unreachable, jitter
from roost.words import Address, Reason, order

log = logging.getLogger(__name__)

ANCHOR = 2.0  # seconds between two questions whether this node is cut off
ROUTES = 10.0  # seconds for which gateways that were read are believed
STRANGERS = 5.0  # seconds between two questions whether a stranger still has a VIP
FOUGHT = 60.0  # seconds that a conflict is reported after its last frame
NEXT = 30.0  # seconds between two looks whether the VIPs answer that this node would hold next
SAMPLE = 8  # VIPs that are asked for at a time while this node is cut off
MOST_ASKED = 256  # VIPs that are asked for because this node is next in line
FRESH_WAIT = 0.025  # seconds to wait for whoever has a VIP that is new in the cluster
ADDRESSES_OF_A_SEAT = 4
DEFAULT = wire.SegmentSpec()
BUG = {"reason": Reason.INTERNAL_ERROR}

Work = Callable[[], Awaitable[NoReturn]]


@dataclass(frozen=True, slots=True)
class Node:
    """What all presences of a node share."""

    me: Me
    kube: Kube
    clock: Clock
    addresses: Addresses
    fence: Fence
    pulse: Pulses
    leases: Mapping[str, wire.Lease]
    segments: Mapping[str, wire.Segment]
    racks: Callable[[], Mapping[str, str]]
    announcing: Announcing
    linger: float
    changed: Callable[[], None]  # there is something new to report


class Presence:
    """One segment: from what is heard and wanted there to what is claimed."""

    def __init__(self, node: Node, uplink: Uplink, index: Index) -> None:
        self.name, self.index = uplink.segment, index
        self._node, self._clock = node, node.clock
        self.conflicts: dict[Address, tuple[Mac, float]] = {}  # claimed here and by a stranger: who, and when last
        self.unreachable: dict[str, str] = {}  # VIPs of others that do not answer
        self.probed = 0
        self.listed = False
        self._gateways: tuple[float, tuple[Address, ...]] = (-ROUTES, ())
        self._round = 0
        self._broken: frozenset[str] = frozenset()
        self._wish: ev.Wish | None = None
        device, mac = uplink.link.name, uplink.link.mac
        assert mac is not None  # an uplink is an Ethernet
        node.fence.with_device(device)
        self._wire = PacketSocket(device)
        self._wire.open()
        self.listener = Listener(PacketEar(device), frozenset({mac}), self._clock)
        self.listener.tell_in_time(self.heard)
        self._prober = Prober(self._wire, self.listener, mac, self._clock, node.announcing.announce_first_rate)
        gate = Gate(device, node.fence.gates)
        # Only where frames of our own making pass the gate unseen must each be asked about.
        may = gate.may_claim if node.fence.gates.weakness else _always
        self._announcer = Announcer(self._wire, mac, self._clock, node.announcing, may)
        way = Way(node.fence, gate, node.addresses, self._announcer, self.ask_once, node.linger)
        self.claims = Claims(index, uplink.link, way, self._clock)
        self.claims.changed_hands = node.changed
        self.api = SegmentApi(node.kube, self.name, node.me.node, self._clock.now)
        far = Far(self.api, lambda orders: node.pulse.order(self.name, orders), self)
        self.seat = Seat(start(node.me), far, self.claims, node.leases, self.look, self._clock)

    def works(self) -> dict[str, Work]:
        """The tasks of this presence."""
        seat, claims = self.seat, self.claims
        of_seat = {"renew": seat.renew, "write": seat.write, "ask": seat.ask, "decide": seat.decide}
        of_seat |= {"probe": seat.probe, "look-round": seat.look_round}
        of_claims = {"announce": self._announcer.announce, "addresses": claims.keep_addresses}
        own = {"listen": self.listener.listen, "anchor": self.watch_anchor, "strangers": self.watch_strangers}
        return {f"{k} {self.name}": v for k, v in (of_seat | of_claims | own | {"next": self.watch_next}).items()}

    def close(self) -> None:
        self._wire.close()

    # -- what is wanted

    @property
    def spec(self) -> wire.SegmentSpec:
        found = self._node.segments.get(self.name)
        return found.spec if found is not None else DEFAULT

    @property
    def link(self) -> Link:
        return self.claims.link

    def links_are(self, links: tuple[Link, ...], uplinks: Sequence[str]) -> None:
        """*uplinks*: the devices of all presences, in the order that all nodes have them in."""
        self.claims.link_is(links, uplinks)
        link = self.claims.link
        own = frozenset(other.mac for other in links if other.mac is not None)
        self.listener.own = own
        self._prober.prefixes = tuple(prefix for prefix in link.prefixes)
        if link.mac is not None:
            self._prober.mac = link.mac

    def look(self) -> ev.Wish | None:
        """Follow what changed of the VIPs; the new wish, if the seat must know of it."""
        if not self.listed:
            return None
        self.claims.refresh()
        link, spec = self.link, self.spec
        candidates = self.index.candidates({link.name})
        self._tell_bugs()
        own = tuple(str(p.ip) for p in link.prefixes if not p.ip.is_link_local)[:ADDRESSES_OF_A_SEAT]
        wish = ev.Wish(
            link.up and self.index.own_fitness.eligible,
            str(link.mac),
            own,
            candidates,
            profile_of(spec),
            spec.when_cut_off == "Hold",
            self._node.racks(),
            self.index.last,
        )
        if self._wish is not None and wish.candidates is self._wish.candidates and wish == self._wish:
            return None
        self._wish = wish
        return wish

    def _tell_bugs(self) -> None:
        """A bug while a group is reckoned costs that group; said once for each."""
        for group, bug in self.index.broken.items():
            if group not in self._broken:
                log.error("bug while reckoning group %s: %r; others go on", group, bug, exc_info=bug, extra=BUG)
                metrics.INTERNAL_ERRORS.labels("services").inc()
        self._broken = frozenset(self.index.broken)

    # -- what is heard

    def heard(self, who: Heard) -> None:
        """Somebody else claims an address. If it is held here, it is defended; only the table takes it away."""
        if who.address not in self.claims.claimed:
            return
        metrics.DUPLICATE_OWNER.inc()
        self._announcer.defend([who.address])
        known = self.conflicts.get(who.address)
        if known is None or known[0] != who.mac:
            why = f"{who.address} is also claimed by {who.mac}"
            log.warning("%s; it goes on being announced", why, extra={"reason": Reason.ADDRESS_CONFLICT})
            self._node.changed()
        self.conflicts[who.address] = who.mac, who.at

    def heard_back(self) -> None:
        self._announcer.heard_back()

    async def watch_strangers(self) -> NoReturn:
        """Ask again for VIPs that strangers have; and forget conflicts that nothing was heard of for long."""
        while True:
            await self._clock.sleep(STRANGERS)
            oldest = self._clock.now() - FOUGHT
            if over := [vip for vip, (_, at) in self.conflicts.items() if at < oldest]:
                for vip in over:
                    del self.conflicts[vip]
                self._node.changed()
            if contested := sorted(self.claims.contested, key=order):
                found = await self._prober.probe(contested)
                self.claims.contest(found)
                self.claims.uncontest(vip for vip in contested if vip not in found)
                self._node.changed()

    # -- questions (seat.Surroundings)

    async def who_has(self, vips: Sequence[Address], *, times: int, every: float) -> Others:
        return await self._prober.others(vips, times=times, every=every)

    async def ask_once(self, vips: Sequence[Address]) -> Mapping[Address, Mac]:
        try:
            return await self._prober.probe(vips, times=1, every=FRESH_WAIT)
        except Unreachable:
            return {}  # nor can anybody be told a claim

    async def anchored(self) -> bool:
        """Whether an anchor answers; True where there is none to ask."""
        table = self.seat.state.table
        seats = frozenset(Mac.parse(row.mac) for row in table.seats if row.mac) if table is not None else frozenset()
        configured = tuple(ip_address(text) for text in self.spec.anchors)
        known = self.listener.stations.recent(self._clock.now())
        whom = anchors(configured, await self._routes(), known, seats)
        return whom is None or await self._prober.answers(whom)

    async def _routes(self) -> tuple[Address, ...]:
        read_at, known = self._gateways
        if self._clock.now() < read_at + ROUTES:
            return known
        try:
            known = await self._node.addresses.gateways(self.link.name)
        except Unreachable as error:
            log.warning("gateways of %s: %s", self.link.name, error)
        self._gateways = self._clock.now(), known
        return known

    async def alone(self) -> bool:
        """Whether an anchor answers, and nobody claims what is held here: of many VIPs, some at a time."""
        vips = sorted(self.claims.claimed, key=order)
        self._round = (self._round + SAMPLE) % max(1, len(vips))
        some = tuple(islice([*vips[self._round :], *vips[: self._round]], SAMPLE))
        try:
            return await self.anchored() and not await self._prober.probe(some, times=2)
        except Unreachable:
            return False

    async def watch_anchor(self) -> NoReturn:
        while True:
            asked_at = self._clock.now()
            if self.link.up:
                self.seat.tell(ev.Anchored(await self.anchored(), asked_at))
            await self._clock.sleep(jitter(ANCHOR, 0.2))

    async def watch_next(self) -> NoReturn:
        """Where this node would hold next, look whether the present holder answers."""
        while True:
            await self._clock.sleep(jitter(NEXT, 0.2))
            vips = tuple(islice(self._next(), MOST_ASKED))
            silent = await self._silent(vips)
            silent = await self._silent(silent)  # once may be a frame that was lost
            now = {str(vip): f"no answer on {self.link.name} to three questions, twice" for vip in silent}
            news = now != self.unreachable or bool(vips) is not bool(self.probed)
            self.unreachable, self.probed = now, len(vips)
            if news:
                self._node.changed()

    async def _silent(self, vips: Sequence[Address]) -> tuple[Address, ...]:
        if not vips:
            return ()
        try:
            found = await self._prober.probe(vips)
        except Unreachable:
            return ()
        return tuple(vip for vip in vips if vip not in found)

    def _next(self) -> Iterator[Address]:
        """VIPs that somebody else should be answering for, and this node would be the next to hold."""
        state = self.seat.state
        if state.table is None or not self.claims.decided:
            return
        seats = {seat.tenure: seat.node for seat in state.table.live() if seat.eligible}
        candidates = self.index.candidates({self.link.name})
        for group in state.table.groups:
            holder = seats.get(group.tenure)
            able = candidates.get(group.name, frozenset()) & set(seats.values()) - {holder}
            if holder is None or group.after or rendezvous.line(group.name, able)[:1] != [self._node.me.node]:
                continue
            for name in self.index.in_groups([group.name]):
                vip = self.index.vips[name]
                here = vip.layer2 and self.claims.belongs(vip.address)
                if here and (vip.without_endpoints or self.index.endpoints(vip)):
                    yield vip.address

    # -- the report

    def row(self) -> wire.AgentSegment:
        """This presence, for the NodeAgent's status."""
        row = self.seat.row()
        return wire.AgentSegment(
            name=self.name,
            interface=self.link.name,
            mode=row.mode.value if row is not None else "",
            tenure=row.tenure if row is not None else 0,
            witnesses=row.witnesses if row is not None else (),
            fence=self._node.fence.gates.weakness,
        )

    def count_seats(self) -> None:
        table = self.seat.state.table
        if table is not None:
            live = len(table.live())
            metrics.SEGMENT_SEATS.labels(self.name, "Live").set(live)
            metrics.SEGMENT_SEATS.labels(self.name, "Gone").set(len(table.seats) - live)


def profile_of(spec: wire.SegmentSpec) -> Profile:
    return PROFILES.get(spec.profile, PROFILES["Default"])


def _always(_vip: Address) -> bool:
    return True
