"""What this node says of itself: readiness, the NodeAgent's status, and an Event where nothing can be announced."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from nodeagent.layer3 import Seen
from nodeagent.presence import Presence
from nodeagent.services.plan import Index
from nodeagent.settings import Node
from nodeagent.status.apply import Report
from nodeagent.status.plan import Facts
from nodeagent.whereabouts import UNREAD, Whereabouts
from roost import metrics
from roost.kube import wire
from roost.kube.client import Kube
from roost.kube.events import Events
from roost.process import Clock, Unreachable
from roost.words import AGENT, EXCLUDE_LABEL, Reason

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0  # between two writes of the NodeAgent's status
START_SECONDS = 5.0  # after which a start that is not over yet is told of as it is
ESTABLISHED = "Established"  # RFC 4271, section 8.2.2

Work = Callable[[], Awaitable[NoReturn]]


class Account:
    """Reads what the node's parts have come to, and writes it down; *due* is set where there may be news."""

    def __init__(self, kube: Kube, clock: Clock, node: Node, where: Whereabouts, index: Index) -> None:
        self._clock, self._settings, self._where, self._index = clock, node, where, index
        self._node = node.node_name
        self.layer3: Callable[[], Seen] = Seen
        self.listed = False  # the VirtualIPs are known
        self.applied = ""  # resourceVersion up to which they are applied
        self.due = asyncio.Event()
        self.report = Report(kube, self._node)
        self._events = Events(kube, clock, AGENT, self._node)
        self._logged = self._told = UNREAD
        self._begun = False

    def works(self) -> dict[str, Work]:
        return {"events": self._events.run, "report": self._keep_reporting}

    # -- without an interface

    def complain(self) -> None:
        """Log why this node is on no segment, once for each reason."""
        why = self._where.why
        self.due.set()
        if why is not None and why != self._logged:
            self._logged = why
            level = logging.INFO if self._is_idle() else logging.WARNING
            log.log(level, "%s", why.message, extra={"reason": why.reason, "object": f"nodeagent/{self._node}"})

    def _tell_trouble(self) -> None:
        """An Event for who looks at the NodeAgent; only now is it sure to be there, and its uid known."""
        why = self._where.why
        if why is not None and why != self._told and not self._is_idle():
            self._told = why
            regarding = wire.ObjectReference(
                kind="NodeAgent", name=self._node, uid=self.report.uid, api_version=wire.NODEAGENTS.api_version
            )
            self._events.say(regarding, "Warning", why.reason, why.message, "ChooseInterface")

    def _is_idle(self) -> bool:
        """Whether all is well without an interface: there is nothing to announce, or not from here."""
        index = self._index
        nothing = self.listed and not index.guarded - index.elsewhere and not self._settings.interface
        why = self._where.why
        return why is not None and (nothing or why.reason is Reason.NOT_SELECTED)

    # -- readiness

    def unready(self) -> str | None:
        """None: ready. Does not depend on the API server answering now, only on the seats having been taken."""
        why, missing = self._where.why, self._where.seating()
        if why is not None:
            return None if self._is_idle() else why.message
        return f"not seated yet on {', '.join(missing)}" if missing else None

    def _readiness(self) -> tuple[Reason, str]:
        why = self._where.why
        if why is not None and self._is_idle() and why.reason is not Reason.NOT_SELECTED:
            return Reason.RUNNING, "there is no VIP yet; the first says which interface they go on"
        if why is not None:
            return why.reason, why.message
        presences = self._where.presences
        down = [presence.link.name for presence in presences.values() if not presence.link.up]
        if down:
            return Reason.LINK_DOWN, f"{', '.join(down)} is down"
        fitness = self._index.own_fitness
        if fitness.leaving is not None:
            return fitness.leaving
        where = ", ".join(f"segment {name} on {presence.link.name}" for name, presence in presences.items())
        excluded = f"holds nothing by label {EXCLUDE_LABEL}, but for pools that want it" if fitness.excluded else ""
        return Reason.RUNNING, "; ".join(filter(None, [where, excluded, self._where.left_out()]))

    # -- the report

    async def _keep_reporting(self) -> NoReturn:
        """Raises Unreachable; what is to be said is said when the API server is back."""
        if not self._begun:
            await self.report.begin()
            await self._start_is_over()
            self._begun = True
        self.due.set()
        while True:
            await self.due.wait()
            self.due.clear()
            try:
                await self.report.write(self._facts())
            except Unreachable:
                self.due.set()
                raise
            self._tell_trouble()
            await self._clock.sleep(REPORT_SECONDS)

    async def _start_is_over(self) -> None:
        """Let what changes within moments become one write: a restart that changes nothing is not to look like news."""
        until = self._clock.now() + START_SECONDS
        while self._clock.now() < until:
            await self._clock.sleep(REPORT_SECONDS)
            bgp = self.layer3().bgp
            if self.listed and all(session.state == ESTABLISHED for session in (bgp.sessions if bgp else ())):
                return

    def _facts(self) -> Facts:
        several = list(self._where.presences.values())
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        ready, message = self._readiness()
        rows = [
            (vip, group, announced and presence.seat.permitted())
            for presence in several
            for vip, group, announced in presence.claims.rows()
        ]
        metrics.show_vips(self._node, rows)
        for presence in several:
            presence.count_seats()
        routed = self.layer3()
        return Facts(
            boot,
            self.applied,
            len(rows) + routed.desired,
            sum(row[2] for row in rows) + routed.announced,
            {**routed.exceptions, **self._exceptions(several)},
            tuple(_link(presence) for presence in several),
            ready,
            message,
            tuple(presence.row() for presence in several),
            {str(vip): str(mac) for presence in several for vip, (mac, _) in presence.conflicts.items()},
            sum(presence.probed for presence in several),
            {vip: why for presence in several for vip, why in presence.unreachable.items()},
            routed.bgp,
        )

    def _exceptions(self, several: list[Presence]) -> dict[str, tuple[Reason, str]]:
        """By VIP: why it is not announced from here."""
        found = self._where.exceptions(self._index.vips.values())
        for presence in several:
            found |= presence.claims.exceptions
        return found


def _link(presence: Presence) -> wire.AgentLink:
    link = presence.link
    return wire.AgentLink(
        name=link.name,
        kind=link.kind,
        mac=str(link.mac or ""),
        mtu=link.mtu,
        up=link.up,
        subnets=tuple(str(prefix.network) for prefix in link.prefixes),
    )
