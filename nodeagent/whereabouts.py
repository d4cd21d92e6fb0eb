"""Where this node takes part: one presence on each segment that is its own, and none where Segments leave it out."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Any, NoReturn

from nodeagent.addresses.plan import Link, subnets
from nodeagent.addresses.uplink import Choice, NoUplink, Survey, Uplink
from nodeagent.presence import Presence
from nodeagent.pulse.link import Pulses
from nodeagent.segment import events as ev
from nodeagent.services.vips import Vip
from roost.logs import decision
from roost.process import Clock
from roost.words import Address, Reason

log = logging.getLogger(__name__)

LEAVE_SECONDS = 8.0  # how long whoever leaves a segment tries to hand its groups over, or to say that it rests
SEAT_SECONDS = 8.0  # how long it waits to have a seat first
LOOK_SECONDS = 0.05  # between two looks whether it has

UNREAD = NoUplink(Reason.NO_INTERFACE, "not all that has a say in it has been read yet")


class Whereabouts:
    """The presences of this node, by segment. *linger*: seconds that addresses stay after a segment was left."""

    def __init__(self, pulse: Pulses, clock: Clock, linger: float) -> None:
        self.presences: dict[str, Presence] = {}
        self.choice = Choice((), (), UNREAD)
        self.changed = asyncio.Event()  # a segment was left
        self._pulse, self._clock, self._linger = pulse, clock, linger
        self._links: tuple[Link, ...] = ()
        self._tasks: dict[str, list[asyncio.Task[Any]]] = {}
        self._leaving: dict[str, str] = {}  # segments to leave, and why
        self._left = set[str]()
        self._leave = asyncio.Event()

    @property
    def why(self) -> NoUplink | None:
        """Why this node is nowhere; None where it is somewhere."""
        return None if self.presences else self.choice.why or UNREAD

    def choose(self, survey: Survey, setting: str, vips: Iterable[Address]) -> tuple[Uplink, ...]:
        """Where this node should be, and is not yet. What it may not be in any more is left, later."""
        former, self.choice = self.choice, survey.choose(setting, vips, self._left)
        taken = {presence.link.name for presence in self.presences.values()}
        known = {out.link.name: out.message for out in former.left_out}
        for out in self.choice.left_out:
            device = out.link.name
            if device not in known and device not in taken:
                self._pulse.vacate(device)
            if out.message != known.get(device):
                decision(log, Reason.NOT_SELECTED, f"interface/{device}", message=out.message)
        for name, presence in self.presences.items():
            if name not in self._leaving and (why := survey.displaced(presence.link.name, name)):
                self._leaving[name] = why
                self._leave.set()
        several = self.choice.uplinks
        return tuple(up for up in several if up.segment not in self.presences and up.link.name not in taken)

    def add(self, presence: Presence) -> None:
        self.presences[presence.name] = presence
        self._left.discard(presence.name)
        self.links_are(self._links)

    def works(self, name: str, tasks: list[asyncio.Task[Any]]) -> None:
        """*tasks* are the presence at work; they end with it."""
        self._tasks[name] = tasks

    def links_are(self, links: tuple[Link, ...]) -> None:
        """Links have changed, or the presences; of uplinks the first is the one whose segment comes first by name."""
        self._links = links
        uplinks = [presence.link.name for _, presence in sorted(self.presences.items())]
        for presence in self.presences.values():
            presence.links_are(links, uplinks)

    def seating(self) -> list[str]:
        """The segments on which this node wants a seat and has none."""
        several = self.presences.items()
        return [name for name, one in several if name not in self._leaving and not one.seat.state.seated]

    # -- leaving

    async def keep_leaving(self) -> NoReturn:
        """Leave what this node may not be in any more."""
        while True:
            self._leave.clear()
            for name in list(self._leaving):
                await self._depart(name)
            await self._leave.wait()

    async def _depart(self, name: str) -> None:
        """Hand over what is held on one segment, and leave nothing there but the fence."""
        presence = self.presences[name]
        decision(log, Reason.NOT_SELECTED, f"segment/{name}", message=f"leaves: {self._leaving[name]}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEAT_SECONDS):
                while not presence.seat.state.seated:
                    await self._clock.sleep(LOOK_SECONDS)
        had_any = bool(presence.claims.claimed)
        presence.seat.tell(ev.Stop())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await presence.seat.left.wait()
        presence.claims.silence()
        if had_any:
            await self._clock.sleep(self._linger)
        await presence.claims.clear()
        self._pulse.close(name)
        tasks = self._tasks.pop(name, [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        presence.close()
        del self.presences[name], self._leaving[name]
        self._left.add(name)
        self.links_are(self._links)
        self.changed.set()

    # -- the report

    def left_out(self) -> str:
        """Where this node takes no part though VIPs could go there; empty: nowhere."""
        return "; ".join(out.message for out in self.choice.left_out)

    def exceptions(self, vips: Iterable[Vip]) -> dict[str, tuple[Reason, str]]:
        """Those of *vips* that would belong where this node takes no part."""
        if not self.choice.left_out:
            return {}
        out = {one.link.index: one.message for one in self.choice.left_out}
        ground = [(network, out.get(link.index)) for network, link in subnets(self._links)]
        found = dict[str, tuple[Reason, str]]()
        for vip in vips:
            why = next((message for network, message in ground if vip.address in network), None)
            if why is not None:
                found[str(vip.address)] = Reason.NOT_SELECTED, why
        return found
