"""One heap of events, one source of randomness, no waiting: machines, a segment between them, and an API server."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

from nodeagent.model import PROFILES, Profile
from nodeagent.segment import events as ev
from nodeagent.segment.table import Table
from tests.simulation.api import Store, StoredLease
from tests.simulation.checks import Checks
from tests.simulation.client import Requests, Watch
from tests.simulation.faults import Schedule
from tests.simulation.node import Node
from tests.simulation.quick import hurry
from tests.simulation.strikes import Strikes

BEGIN = 100.0  # world seconds
DELAYS = (0.0003, 0.0003, 0.001, 0.001, 0.003, 0.02)  # of a frame
PROBES = 3  # questions, and after each the same time for answers
APART = 0.04  # where a step does not say how far
SPAN = PROBES * APART
ANCHOR = 2.0  # seconds between two questions to the anchors


@dataclass(eq=False, slots=True)
class Asking:
    """A question of *node* that waits for answers, and which other nodes were heard to ask it meanwhile."""

    node: Node
    group: str
    answers: list[str] = field(default_factory=list)
    rivals: list[str] = field(default_factory=list)


class World:
    """Events in order of time; the same schedule gives the same run."""

    def __init__(self, schedule: Schedule) -> None:
        hurry()
        self.schedule = schedule
        self.random = Random(schedule.seed)
        self.now = BEGIN
        self.queue: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self.number = itertools.count()
        self.log: list[tuple[float, str, str]] = []
        self.profile: Profile = PROFILES[schedule.profile]
        self.names = [f"n{number}" for number in range(1, schedule.nodes + 1)]
        self.groups = [f"g{number}" for number in range(schedule.groups)]
        self.candidates = {group: frozenset(self.names) for group in self.groups}
        self.store = Store(table_written=self._table_written, lease_written=self._lease_written)
        self.tables: list[tuple[float, Table | None]] = [(0.0, None)]
        self.leases: list[tuple[float, str, StoredLease | None]] = []
        # faults in force
        self.blocked: set[tuple[str, str]] = set()  # source, target
        self.cuts: Counter[tuple[str, str]] = Counter()
        self.dead_ports: Counter[str] = Counter()
        self.unanchored: Counter[str] = Counter()
        self.apart_from_api: Counter[str] = Counter()  # "": all
        self.deaf = 0
        self.loss = self.late = self.stale_age = self.rewired_at = 0.0
        self.strangers: Counter[str] = Counter()
        self.asking: list[Asking] = []  # who listens for answers just now
        # everything else
        self.checks = Checks(self)
        self.requests = Requests(self)
        self.nodes = {name: Node(self, name) for name in self.names}
        self.watches = {name: Watch(self, node) for name, node in self.nodes.items()}
        self.strikes = Strikes(self)
        for node in self.nodes.values():
            self.after(self.random.uniform(0.0, 0.3), node.start)
        for fault in schedule.faults:
            self.push(BEGIN + fault.at, self.strikes.strike, (fault,))

    # -- time

    def push(self, when: float, what: Callable[..., Any], args: tuple[Any, ...] = ()) -> None:
        heapq.heappush(self.queue, (max(when, self.now), next(self.number), what, args))

    def after(self, seconds: float, what: Callable[..., Any], *args: Any) -> None:
        self.push(self.now + seconds, what, args)

    def run(self, seconds: float) -> "World":
        """Go on for so long, or until something is wrong."""
        queue, until, pop, wrong = self.queue, self.now + seconds, heapq.heappop, self.checks.violations
        while queue and queue[0][0] <= until and not wrong:
            self.now, _, what, args = pop(queue)
            what(*args)
        if not wrong:
            self.now = until
        return self

    def say(self, who: str, what: str) -> None:
        self.log.append((self.now, who, what))

    def tail(self, lines: int = 60) -> str:
        return "\n".join(
            f"{when - BEGIN:8.3f} {who:4} {what}" for when, who, what in self.log[max(0, len(self.log) - lines) :]
        )

    def hash(self) -> str:
        """Of all that was said, when, and of how much happened besides."""
        digest = sha256()
        for line in self.log:
            digest.update(repr(line).encode())
        digest.update(repr((next(self.number), self.random.random())).encode())
        return digest.hexdigest()

    # -- the wire

    def rewire(self) -> None:
        """Work out who does not hear whom, as far as hellos go."""
        self.rewired_at = self.now
        names = self.names
        self.blocked = {
            (a, b)
            for a in names
            for b in names
            if a != b and (self.deaf or not self.hears(self.nodes[a], self.nodes[b]))
        }

    def hears(self, a: Node, b: Node) -> bool:
        """Whether a frame of *a* reaches *b* at all."""
        ports = self.dead_ports
        return a.link and b.link and not ports[a.name] and not ports[b.name] and not self.cuts[(a.name, b.name)]

    def carry(self, source: str, target: str, message: Any) -> None:
        if (source, target) in self.blocked:
            return
        random = self.random.random
        delay = DELAYS[int(random() * 6)]
        if self.loss:
            chance = random()
            if chance < self.loss:
                return
            if chance < 2 * self.loss:
                self.push(self.now + delay + self.late * random(), self._arrive, (target, message))
            delay += self.late * random() * random()
        heapq.heappush(self.queue, (self.now + delay, next(self.number), self._arrive, (target, message)))

    def _arrive(self, target: str, message: Any) -> None:
        pulse = self.nodes[target].pulse
        if pulse.alive:
            pulse.post(pulse.life, message)

    def anchor_answers(self, node: Node) -> bool:
        return node.link and not self.dead_ports[node.name] and not self.unanchored[node.name]

    def ask_around(self, node: Node, wanted: Any) -> None:
        """Frames that an agent sends, and what it makes of the answers."""
        life, asked_at = node.agent.life, node.raw()
        match wanted:
            case ev.Probe(group, epoch, apart):
                asking = Asking(node, group)
                self.asking.append(asking)
                for number in range(PROBES):
                    self.after(number * apart, self._probe, node, group, asking.answers)

                def asked_all() -> None:
                    self.asking.remove(asking)
                    by, too = min(asking.answers, default=""), min(asking.rivals, default="")
                    node.agent.post(life, ev.Probed(group, epoch, asked_at, by, too))

                self.after(PROBES * apart, asked_all)
            case ev.AskAnchor():
                self._ask_anchor(node, life)
            case ev.LookRound():
                others: list[str] = []
                asked = self.now
                for number in range(PROBES):
                    for group in sorted(node.kernel.held):
                        self.after(number * APART, self._probe, node, group, others)

                def looked() -> None:
                    fine = self.anchor_answers(node) and not others
                    if fine:
                        self.checks.alone(node.name, asked)
                    node.agent.post(life, ev.Alone(fine, asked_at))

                self.after(SPAN, looked)

    def _ask_anchor(self, node: Node, life: int) -> None:
        asked_at = node.raw()
        answer = lambda: node.agent.post(life, ev.Anchored(self.anchor_answers(node), asked_at))  # noqa: E731
        self.after(self.random.uniform(0.005, SPAN), answer)

    def keep_asking_anchor(self, node: Node, life: int) -> None:
        if node.agent.life == life:
            if not node.agent.paused:
                self._ask_anchor(node, life)
            self.after(ANCHOR, self.keep_asking_anchor, node, life)

    def _probe(self, node: Node, group: str, answers: list[str]) -> None:
        """Who has the VIPs of *group*? Asked and answered by broadcast, each of which may be lost.

        Whoever asks the same just then hears the question too.
        """
        for asking in self.asking:
            if asking.group != group or asking.node is node or not self.hears(node, asking.node):
                continue
            if not self.loss or self.random.random() >= self.loss:
                asking.rivals.append(node.name)
        for other in self.nodes.values():
            if other is node or not other.claims() or group not in other.kernel.held:
                continue
            if self.hears(node, other) and self.hears(other, node) and self.random.random() >= self.loss:
                answers.append(other.name)

    # -- the API server

    def apart(self, node: Node) -> bool:
        """Whether the node does not reach the API server now."""
        return not node.powered or bool(self.apart_from_api[""] or self.apart_from_api[node.name])

    def wish(self, node: Node) -> ev.Wish:
        mac = f"02:{node.machine}"
        return ev.Wish(node.link, mac, (f"10.60.0.{node.name[1:]}",), self.candidates, self.profile, self.schedule.hold)

    def rewish(self) -> None:
        for node in self.nodes.values():
            watch = self.watches[node.name]
            if node.agent.alive and watch.began:
                self.after(0.0 if watch.lag < 0.1 else watch.lag, node.agent.post, node.agent.life, self.wish(node))

    def cached(self, age: float) -> tuple[Table | None, dict[str, Any], list[Any]]:
        """Table and Leases as they were so long ago, and what a watch from there on shows."""
        then = self.now - age
        table = next(table for when, table in reversed(self.tables) if when <= then)
        leases: dict[str, Any] = {}
        for when, node, lease in self.leases:
            if when <= then:
                leases[node] = None if lease is None else lease.view
        later: list[tuple[float, Any]] = [
            (when, ev.TableSeen(t) if t is not None else None) for when, t in self.tables if when > then
        ]
        later += [(w, ev.LeaseSeen(n, None if s is None else s.view)) for w, n, s in self.leases if w > then]
        later.sort(key=lambda item: item[0])
        return table, {n: v for n, v in leases.items() if v is not None}, [item for _, item in later]

    def _table_written(self, old: Table | None, new: Table | None, writer: str) -> None:
        self.tables.append((self.now, new))
        self.say(writer, _change(old, new))
        self.checks.table_written(old, new, writer)
        for name in self.names:
            self.watches[name].note(None if new is None else ev.TableSeen(new))

    def _lease_written(self, node: str, lease: StoredLease | None, writer: str) -> None:
        self.leases.append((self.now, node, lease))
        if lease is None:
            self.say(writer, f"the Lease of {node} is deleted")
        elif lease.ended:
            self.say(writer, f"marks tenure {lease.ended} on the Lease of {node}")
        for name in self.names:
            self.watches[name].note(ev.LeaseSeen(node, None if lease is None else lease.view))


def _change(old: Table | None, new: Table | None) -> str:
    """What a write changed in the table, for the log."""
    if new is None:
        return "the table is deleted"
    seats = {row.node: row for row in old.seats} if old is not None else {}
    groups = {row.name: row for row in old.groups} if old is not None else {}
    said = [f"table {new.revision}"]
    for seat in new.seats:
        if seats.get(seat.node) != seat:
            fit = "" if seat.eligible else " unfit"
            said.append(
                f"{seat.node}/{seat.tenure}.{seat.version} {seat.state.value} {seat.mode.value}"
                f" {','.join(seat.witnesses)}{fit}"
            )
    said += [f"without {node}" for node in seats if new.seat(node) is None]
    for group in new.groups:
        if groups.get(group.name) != group:
            after = f" after {list(group.after)}" if group.after else ""
            said.append(f"{group.name}={group.tenure}@{group.epoch}{after}")
    said += [f"without {name}" for name in groups if name not in {row.name for row in new.groups}]
    return " ".join(said)
