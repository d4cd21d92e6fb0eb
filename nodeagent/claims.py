"""What this node claims: the VIPs of the groups it holds, kept in step between gate, addresses and announcements.

The order is the point. Fence first, then hold, then put the address on the link, and then announce; and backwards: fall
silent, let go, and take the address away last, so that a client that still sends here is served until the new holder's
announcement moves it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.plan import Add, Failed, Link, Placed, Present, containing, named, own, steps, subnets
from nodeagent.addresses.uplink import homes
from nodeagent.fence import Fence
from nodeagent.gate.apply import Gate
from nodeagent.neighbours.apply import Announcer
from nodeagent.services.plan import Index
from nodeagent.services.vips import Vip, fits_uplink
from nodeagent.status.plan import conflict
from roost.frames import Mac
from roost.process import Clock
from roost.words import Address, Reason, order, vip_name

log = logging.getLogger(__name__)

RECONCILE = 10.0  # seconds between two looks at what the kernel has, while nothing changes
REST = 20.0  # a look is followed by a rest so many times as long, or one with 5,000 VIPs would do nothing else
AT_LATEST = 0.15  # seconds after which new VIPs are announced though the kernel has not put them on yet
AT_ONCE = 64  # addresses that are put on the link before they are announced together

Ask = Callable[[Sequence[Address]], Awaitable[Mapping[Address, Mac]]]


@dataclass(frozen=True, slots=True)
class Way:
    """What a claim goes through on its way out. *ask* says who else has addresses (once asked, for some 25 ms)."""

    fence: Fence
    gate: Gate
    addresses: Addresses
    announcer: Announcer
    ask: Ask
    linger: float = 5.0  # seconds that an address stays after its VIP was given away


class Claims:
    """The VIPs this node claims on its uplink."""

    def __init__(self, index: Index, link: Link, way: Way, clock: Clock) -> None:
        self.link = link
        self.links: tuple[Link, ...] = (link,)
        self._home = homes([link], self.links)
        self._ground: object = None  # what that follows from
        self.groups: frozenset[str] = frozenset()
        self._exceptions: dict[str, tuple[Address, Reason, str]] = {}  # by name of the VirtualIP
        self._fence, self._gate, self._ask = way.fence, way.gate, way.ask
        self._addresses, self._announcer = way.addresses, way.announcer
        self._index, self._clock, self._linger = index, clock, way.linger
        self.claimed: frozenset[Address] = frozenset()
        self.contested: dict[Address, Mac] = {}  # VIPs that a stranger has: not claimed
        self._claimed: dict[str, Address] = {}  # the same, by name of the VirtualIP
        self._leaving: dict[Address, float] = {}
        self._new: set[Address] = set()
        self._unasked: set[Address] = set()  # of the new: nobody was asked who has them
        self._changed = asyncio.Event()
        # Between a look at the addresses and what follows from it nobody else may change them: to refresh one that has
        # just been removed puts it on again.
        self._on_link = asyncio.Lock()
        self._look_owed, self._no_look_before = True, 0.0
        self._held_once = False
        self.decided = False  # before the first decision what a forerunner left stays as it is
        self.changed_hands: Callable[[], None] = lambda: None  # called when other groups are held than before
        way.fence.again.append(self._hold_again)

    @property
    def exceptions(self) -> dict[str, tuple[Reason, str]]:
        """By VIP: why it is not announced from here though it should be."""
        return {str(address): (reason, message) for address, reason, message in self._exceptions.values()}

    def belongs(self, address: Address) -> bool:
        """Whether *address* is no other uplink's business: of two each has the VIPs of its own subnets."""
        home = self._home(address)
        return home is None or home.index == self.link.index

    # -- what the seat decides

    def hold(self, groups: frozenset[str]) -> None:
        """Claim the VIPs of *groups* and no others; in force in the kernel when this returns."""
        came_or_went = groups ^ self.groups
        self._index.touched.update(self._index.in_groups(came_or_went))
        gained = groups - self.groups
        self.groups, self.decided = groups, True
        self.refresh()
        self._unasked.difference_update(self._index.vips[name].address for name in self._index.in_groups(gained))
        if came_or_went:
            self.changed_hands()

    def contest(self, found: Mapping[Address, Mac]) -> None:
        """Strangers have these addresses: they are not claimed until nobody has them."""
        if new := {vip: mac for vip, mac in found.items() if self.contested.get(vip) != mac}:
            self.contested |= new
            self._reconsider(new)

    def uncontest(self, free: Iterable[Address]) -> None:
        """The strangers are gone."""
        gone = [vip for vip in free if self.contested.pop(vip, None) is not None]
        self._reconsider(gone)

    def _reconsider(self, vips: Iterable[Address]) -> None:
        self._index.touched.update(vip_name(vip) for vip in vips)
        self.refresh()

    # -- what Services, endpoints and links change

    def refresh(self) -> None:
        """Follow what changed of the VIPs: fence, then hold, then announce."""
        self._fence.follow()
        touched, self._index.touched = self._index.touched, set()
        before, gone, come = self.claimed, set[Address](), set[Address]()
        for name in touched:
            vip = self._index.vips.get(name)
            was = self._claimed.pop(name, None)
            self._exceptions.pop(name, None)
            if vip is not None and self.belongs(vip.address):
                why = self._why_not(vip)
                if why is not None:
                    self._exceptions[name] = (vip.address, *why)
                elif vip.group in self.groups and vip.layer2:
                    self._claimed[name] = vip.address
                    come.add(vip.address)
            if was is not None and name not in self._claimed:
                gone.add(was)
                if name in self._index.vips:
                    self._leaving[was] = self._clock.now() + self._linger
        self.claimed = now = (before - gone) | come  # not made anew: with thousands of VIPs most changes touch one
        if now != before or (self.decided and not self._held_once):
            self._held_once = True
            self._claim(before, now)

    def _why_not(self, vip: Vip) -> tuple[Reason, str] | None:
        """Why this node should say that it does not claim a VIP; None: it does, another does, or nobody should."""
        if vip.group in self.groups:
            return self._refusal(vip) if vip.layer2 else None
        return self._index.hopeless(vip, {self.link.name})

    def _refusal(self, vip: Vip) -> tuple[Reason, str] | None:
        """Why a VIP of a group that is held here is not claimed."""
        if vip.address in self.contested:
            return Reason.ADDRESS_CONFLICT, conflict(str(vip.address), str(self.contested[vip.address]))
        if not fits_uplink(vip, {self.link.name}):
            wanted = ", ".join(sorted(vip.interfaces))
            return Reason.NO_SUCH_INTERFACE, f"its pool announces on {wanted}, this node on {self.link.name}"
        if self._home(vip.address) is None:
            where = containing(self.links, vip.address)
            there = where.name if where is not None else "another interface"
            return Reason.NOT_IN_SUBNET, f"{vip.address} is in the subnet of {there}, not of {self.link.name}"
        if vip.address in own(self.link):
            return Reason.NODE_ADDRESS, f"{vip.address} is this node's own address"
        reason = self._index.may_claim(vip)
        return (
            None if reason is None else (reason, "no ready endpoint" if reason is Reason.NO_ENDPOINTS else "none here")
        )

    def _claim(self, before: frozenset[Address], now: frozenset[Address]) -> None:
        if not before <= now:
            self._announcer.want(before & now)
        self._fence.in_kernel(lambda: self._gate.hold(now))
        self._new = (self._new | (now - before)) & now
        self._unasked = (self._unasked | (now - before)) & now
        self._announcer.want(now - self._new)
        for address in self._leaving.keys() & now:
            del self._leaving[address]
        self._changed.set()

    def link_is(self, links: tuple[Link, ...], uplinks: Sequence[str]) -> None:
        """Links have changed, or the devices that are *uplinks*; a link that comes back is told of all VIPs anew."""
        self.links = links
        link = next((link for link in links if link.name == self.link.name), None)
        if link is None or link.mac is None:
            link = replace(self.link, up=False, prefixes=())
        back = link.up and not self.link.up
        moved = link.mac != self.link.mac
        self.link = link
        self._belong(links, uplinks)
        if moved and link.mac is not None:
            self._announcer.mac = link.mac
        if back or moved:
            self._announcer.again(self.claimed - self._new)
        self._index.touched.update(self._index.in_groups(self.groups))
        self._changed.set()

    def _belong(self, links: tuple[Link, ...], uplinks: Sequence[str]) -> None:
        """Find out anew which VIPs belong here; the cables of pods, which come and go, change nothing in that."""
        several = [one for name in uplinks if (one := self.link if name == self.link.name else named(links, name))]
        ground = tuple(one.index for one in several), tuple((net, link.index) for net, link in subnets(links))
        if ground != self._ground:
            self._ground, self._home = ground, homes(several, links)
            self._index.touched.update(self._index.vips)

    # -- keeping the kernel as it should be

    def _hold_again(self) -> None:
        self._gate.hold(self.claimed)

    async def keep_addresses(self) -> NoReturn:
        """Have each claimed VIP on the link, and none longer than it lingers after it was given. Raises Unreachable."""
        while True:
            self._changed.clear()
            while self._new:
                await self._place(sorted(self._new, key=order)[:AT_ONCE])
            self._look_owed = True
            if not self._changed.is_set() and self._clock.now() >= self._no_look_before:
                began = self._clock.now()
                async with self._on_link:
                    await self._reconcile()
                ended = self._clock.now()
                self._look_owed, self._no_look_before = False, ended + min(RECONCILE, REST * (ended - began))
            await self._pause()

    async def _place(self, vips: Sequence[Address]) -> None:
        """Put new VIPs on the link, without asking what is there, and announce them. Raises Unreachable.

        Announced before, they draw traffic while the kernel is putting the IPv6 address on: it then asks for the client
        from an address whose replies it does not take yet, and asks again a second later (seen with Linux 6.18).
        Announced they are whatever becomes of it: iptables and nftables kube-proxy need no address. A VIP that is
        new in the cluster, and not only here, is asked for before: a machine that is none of ours may have it.
        A kernel that takes too long (other interfaces come and go) is not waited for.
        """
        unasked = [vip for vip in vips if vip in self._unasked]
        self._unasked.difference_update(unasked)
        if unasked and (found := await self._ask(unasked)):
            self.contest(found)
            vips = [vip for vip in vips if vip not in found]
        placing = asyncio.ensure_future(self._put_on(vips))
        try:
            await asyncio.wait([placing], timeout=AT_LATEST)
        finally:
            self._new.difference_update(vips)
            self._announcer.want(self.claimed - self._new)
            await placing  # whoever cancels this waits, too: a thread cannot be called back

    async def _put_on(self, vips: Sequence[Address]) -> None:
        async with self._on_link:
            await self._addresses.do([Add(Placed(vip, self.link.name)) for vip in vips])

    async def _pause(self) -> None:
        """Until something changes, an address may go, or it is time to look again."""
        now = self._clock.now()
        due = max(self._no_look_before, now if self._look_owed else min([now + RECONCILE, *self._leaving.values()]))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.05, due - self._clock.now())):
                await self._changed.wait()

    async def _reconcile(self) -> None:
        now = self._clock.now()
        self._leaving = {vip: until for vip, until in self._leaving.items() if until > now}
        want = frozenset(Placed(vip, self.link.name) for vip in self.claimed | self._leaving.keys())
        have = await self._here()
        outcomes = await self._addresses.do(steps(have, want, synced=self.decided, settings=self._addresses.settings))
        for failed in (outcome for outcome in outcomes if isinstance(outcome, Failed)):
            log.warning("address %s: errno %d", failed.step, failed.errno, extra={"reason": Reason.KERNEL_REFUSED})

    # -- the end

    def silence(self) -> None:
        """No claim leaves from now on; addresses stay."""
        self._announcer.want(frozenset())
        self._fence.in_kernel(lambda: self._gate.hold(frozenset()))
        self.claimed, self._claimed, self.groups = frozenset(), {}, frozenset()
        self._new.clear()

    async def clear(self) -> None:
        """Take all our addresses away: nothing of ours is left on this device."""
        async with self._on_link:
            self._leaving.clear()
            self._new.clear()
            gone = steps(await self._here(), frozenset(), synced=True, settings=self._addresses.settings)
            await self._addresses.do(gone)

    async def _here(self) -> frozenset[Present]:
        """What is on this device; another uplink has addresses of its own."""
        return frozenset(p for p in await self._addresses.present() if p.at.device == self.link.name)

    def vips_of(self, group: str) -> list[Address]:
        """The VIPs of *group* that are claimed here by whoever holds it."""
        found = (self._index.vips[name] for name in self._index.in_groups([group]))
        return [vip.address for vip in found if vip.layer2 and self.belongs(vip.address)]

    def rows(self) -> list[tuple[str, str, bool]]:
        """Every VIP of the groups held here: its address, its group, whether it would be announced now."""
        vips = [(name, self._index.vips[name]) for name in self._index.in_groups(self.groups)]
        return [
            (str(vip.address), vip.group, self.link.up and name in self._claimed)
            for name, vip in vips
            if vip.layer2 and self.belongs(vip.address)
        ]
