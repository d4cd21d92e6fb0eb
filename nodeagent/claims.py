"""What this node claims: the VIPs of the groups it holds, kept in step between gate, addresses and announcements.

The order is the point. Fence first, then hold, then put the address on the link, and then announce; and backwards: fall
silent, let go, and take the address away last, so that a client that still sends here is served until the new holder's
announcement moves it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.plan import Add, Failed, Link, Placed, own, steps
from nodeagent.gate.apply import Gate
from nodeagent.gate.plan import KernelRefused
from nodeagent.neighbours.apply import Announcer
from nodeagent.services.plan import Index, Vip, fits_uplink
from roost.process import Clock
from roost.words import Address, Reason, order

log = logging.getLogger(__name__)

LINGER = 5.0  # seconds that an address stays after its VIP was given away
RECONCILE = 10.0  # seconds between two looks at what the kernel has, while nothing changes
REST = 20.0  # a look is followed by a rest so many times as long, or one with 5,000 VIPs would do nothing else
AT_ONCE = 64  # addresses that are put on the link before they are announced together
CHECK = 2.0  # seconds between two looks whether the gate still stands


class Claims:
    """The VIPs this node claims on its uplink."""

    def __init__(
        self, index: Index, link: Link, gate: Gate, announcer: Announcer, addresses: Addresses, clock: Clock
    ) -> None:
        self.link = link
        self.links: tuple[Link, ...] = (link,)
        self.groups: frozenset[str] = frozenset()
        self._exceptions: dict[str, tuple[Address, Reason, str]] = {}  # by name of the VirtualIP
        self._index, self._gate, self._announcer, self._addresses, self._clock = (
            index,
            gate,
            announcer,
            addresses,
            clock,
        )
        self.claimed: frozenset[Address] = frozenset()
        self._claimed: dict[str, Address] = {}  # the same, by name of the VirtualIP
        self._leaving: dict[Address, float] = {}
        self._new: set[Address] = set()
        self._guarded: frozenset[Address] | None = None
        self._changed = asyncio.Event()
        self._look_owed, self._no_look_before = True, 0.0
        self._fed_until = 0.0
        self._held_once = False
        self.decided = False  # before the first decision what a forerunner left stays as it is

    @property
    def exceptions(self) -> dict[str, tuple[Reason, str]]:
        """By VIP: why it is not announced from here though it should be."""
        return {str(address): (reason, message) for address, reason, message in self._exceptions.values()}

    # -- what the seat decides

    def hold(self, groups: frozenset[str]) -> None:
        """Claim the VIPs of *groups* and no others; in force in the kernel when this returns."""
        self._index.touched.update(self._index.in_groups(groups ^ self.groups))
        self.groups, self.decided = groups, True
        self.refresh()

    def feed(self, deadline: float) -> None:
        self._fed_until = deadline
        self._in_kernel(lambda: self._gate.feed(deadline, self._clock.now))

    def revoke(self) -> None:
        self._fed_until = 0.0
        self._in_kernel(self._gate.permit_revoke)

    # -- what Services, endpoints and links change

    def guard(self) -> None:
        """Fence every VIP there is, but never an address of this node's own."""
        vips = frozenset(self._index.guarded - own(self.link))
        if vips != self._guarded:
            self._in_kernel(lambda: self._gate.guard(vips))
            self._guarded = vips

    def refresh(self) -> None:
        """Follow what changed of the VIPs: fence, then hold, then announce."""
        self.guard()
        touched, self._index.touched = self._index.touched, set()
        before, gone, come = self.claimed, set[Address](), set[Address]()
        for name in touched:
            vip = self._index.vips.get(name)
            was = self._claimed.pop(name, None)
            self._exceptions.pop(name, None)
            if vip is not None:
                why = self._refusal(vip) if vip.group in self.groups else self._hopeless(vip)
                if why is not None:
                    self._exceptions[name] = (vip.address, *why)
                elif vip.group in self.groups:
                    self._claimed[name] = vip.address
                    come.add(vip.address)
            if was is not None and name not in self._claimed:
                gone.add(was)
                if name in self._index.vips:
                    self._leaving[was] = self._clock.now() + LINGER
        self.claimed = now = (before - gone) | come  # not made anew: with thousands of VIPs most changes touch one
        if now != before or (self.decided and not self._held_once):
            self._held_once = True
            self._claim(before, now)

    def _refusal(self, vip: Vip) -> tuple[Reason, str] | None:
        """Why a VIP of a group that is held here is not claimed."""
        if not fits_uplink(vip, {self.link.name}):
            wanted = ", ".join(sorted(vip.interfaces))
            return Reason.NO_SUCH_INTERFACE, f"its pool announces on {wanted}, this node on {self.link.name}"
        here = any(vip.address in prefix.network for prefix in self.link.prefixes)
        elsewhere = [link.name for link in self.links if any(vip.address in p.network for p in link.prefixes)]
        if not here and elsewhere:
            return Reason.NOT_IN_SUBNET, f"{vip.address} is in the subnet of {elsewhere[0]}, not of {self.link.name}"
        if vip.address in own(self.link):
            return Reason.NODE_ADDRESS, f"{vip.address} is this node's own address"
        reason = self._index.may_claim(vip)
        return (
            None if reason is None else (reason, "no ready endpoint" if reason is Reason.NO_ENDPOINTS else "none here")
        )

    def _hopeless(self, vip: Vip) -> tuple[Reason, str] | None:
        """Why a VIP is held by nobody, if no node can: every node says so, for there is no holder who would."""
        if vip.local and self._index.may_claim(vip) is Reason.NO_ENDPOINTS:
            return Reason.NO_ENDPOINTS, "no ready endpoint"
        return None

    def _claim(self, before: frozenset[Address], now: frozenset[Address]) -> None:
        if not before <= now:
            self._announcer.want(before & now)
        self._in_kernel(lambda: self._gate.hold(now))
        self._new = (self._new | (now - before)) & now
        self._announcer.want(now - self._new)
        for address in self._leaving.keys() & now:
            del self._leaving[address]
        self._changed.set()

    def link_is(self, links: tuple[Link, ...]) -> None:
        """Links have changed; a link that comes back is told of all VIPs anew."""
        self.links = links
        link = next((link for link in links if link.name == self.link.name), None)
        if link is None or link.mac is None:
            link = replace(self.link, up=False, prefixes=())
        back = link.up and not self.link.up
        moved = link.mac != self.link.mac
        another = link.index != self.link.index
        self.link = link
        if another:  # the former took its chain of the gate along
            self._put_back()
        if moved and link.mac is not None:
            self._announcer.mac = link.mac
        if back or moved:
            self._announcer.again(self.claimed - self._new)
        self._index.touched.update(self._index.in_groups(self.groups))
        self._changed.set()

    # -- keeping the kernel as it should be

    def _in_kernel(self, call: Callable[[], object]) -> None:
        """Do *call*; if somebody took the gate away, put it back first, with all that it must fence and let pass."""
        try:
            call()
        except KernelRefused as refused:
            log.warning(
                "gate on %s: %s; putting it back", self.link.name, refused, extra={"reason": Reason.KERNEL_REFUSED}
            )
            self._put_back()
            call()

    def _put_back(self) -> None:
        self._gate.install()
        self._gate.guard(self._index.guarded - own(self.link))
        self._gate.hold(self.claimed)
        if self._fed_until > self._clock.now():
            self._gate.feed(self._fed_until, self._clock.now)

    async def watch_gate(self) -> NoReturn:
        """Put the gate back when somebody flushes the ruleset."""
        while True:
            await self._clock.sleep(CHECK)
            if not self._gate.standing():
                log.warning("the gate on %s was taken away; putting it back", self.link.name)
                self._put_back()

    async def keep_addresses(self) -> NoReturn:
        """Have each claimed VIP on the link, and none longer than LINGER after it was given. Raises Unreachable."""
        while True:
            self._changed.clear()
            while self._new:
                await self._place(sorted(self._new, key=order)[:AT_ONCE])
            self._look_owed = True
            if not self._changed.is_set() and self._clock.now() >= self._no_look_before:
                began = self._clock.now()
                await self._reconcile()
                ended = self._clock.now()
                self._look_owed, self._no_look_before = False, ended + min(RECONCILE, REST * (ended - began))
            await self._pause()

    async def _place(self, vips: Sequence[Address]) -> None:
        """Put new VIPs on the link, without asking what is there, and announce them. Raises Unreachable.

        Announced before, they draw traffic while the kernel is putting the IPv6 address on: it then asks for the client
        from an address whose replies it does not take yet, and asks again a second later (seen with Linux 6.18).
        Announced they are whatever becomes of it: iptables and nftables kube-proxy need no address.
        """
        try:
            await self._addresses.do([Add(Placed(vip, self.link.name)) for vip in vips])
        finally:
            self._new.difference_update(vips)
            self._announcer.want(self.claimed - self._new)

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
        have = await self._addresses.present()
        outcomes = await self._addresses.do(steps(have, want, synced=self.decided, settings=self._addresses.settings))
        for failed in (outcome for outcome in outcomes if isinstance(outcome, Failed)):
            log.warning("address %s: errno %d", failed.step, failed.errno, extra={"reason": Reason.KERNEL_REFUSED})

    # -- the end

    def silence(self) -> None:
        """No claim leaves from now on; addresses stay."""
        self._announcer.want(frozenset())
        self._in_kernel(self._gate.permit_revoke)
        self._in_kernel(lambda: self._gate.hold(frozenset()))
        self.claimed, self._claimed, self.groups, self._fed_until = frozenset(), {}, frozenset(), 0.0
        self._new.clear()

    async def clear(self) -> None:
        """Take all our addresses and then the gate away: nothing of ours is left on this node."""
        have = await self._addresses.present()
        await self._addresses.do(steps(have, frozenset(), synced=True, settings=self._addresses.settings))
        self._gate.remove()

    def vips_of(self, group: str) -> list[Address]:
        return [self._index.vips[name].address for name in self._index.in_groups([group])]

    def rows(self) -> list[tuple[str, str, bool]]:
        """Every VIP of the groups held here: its address, its group, whether it is announced now."""
        fed = self.link.up and self._fed_until > self._clock.now()
        vips = [(name, self._index.vips[name]) for name in self._index.in_groups(self.groups)]
        return [(str(vip.address), vip.group, fed and name in self._claimed) for name, vip in vips]
