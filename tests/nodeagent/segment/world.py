"""A small world for the step function: nodes that stall and die, a slow API, and kernels that outlive processes."""

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from nodeagent.segment import events as ev
from nodeagent.segment.plan import start, step
from nodeagent.segment.state import Me, Settings, State
from nodeagent.segment.table import Table

TIMEOUT = 1.5  # of one request, at the client


@dataclass
class Kernel:
    """What outlives a process: the groups that may be claimed, and the permit. Gone with the power."""

    held: frozenset[str] = frozenset()
    permit_until: float = 0.0

    def claims(self, now: float) -> frozenset[str]:
        return self.held if now < self.permit_until else frozenset()


@dataclass
class StoredLease:
    version: int
    tenure: int
    ended: int


@dataclass
class Api:
    """A linearizable store. Requests and answers travel apart, and a write may land after its sender gave up."""

    revision: int = 0
    table: Table = field(default_factory=lambda: Table("uid", "0"))
    leases: dict[str, StoredLease] = field(default_factory=dict)

    def next(self) -> int:
        self.revision += 1
        return self.revision

    def put_table(self, table: Table) -> tuple[ev.Answer, Table | None]:
        if table.resource_version != self.table.resource_version:
            return ev.Answer.CONFLICT, None
        self.check(table)
        self.table = replace(table, resource_version=str(self.next()))
        return ev.Answer.OK, self.table

    def check(self, new: Table) -> None:
        """What the server's schema checks (helm/roost, CRD Segment)."""
        old = self.table
        assert new.revision == old.revision + 1
        assert new.next_tenure >= old.next_tenure
        assert all(seat.tenure < new.next_tenure for seat in new.seats)
        assert all(group.tenure < new.next_tenure for group in new.groups)
        rows = {row.name: row for row in old.groups}
        for row in new.groups:
            if row.name in rows:
                grown = row.epoch - rows[row.name].epoch
                assert grown == (0 if row.tenure == rows[row.name].tenure else 1), (
                    f"epoch of {row.name} grew by {grown}"
                )
        seats = {row.node: row for row in old.seats}
        for seat in new.seats:
            before = seats.get(seat.node)
            if before is not None:
                assert seat.tenure >= before.tenure
                assert seat.tenure > before.tenure or seat.version >= before.version
                assert seat.tenure > before.tenure or before.live or not seat.live

    def put_lease(self, node: str, tenure: int, version: str) -> tuple[ev.Answer, ev.LeaseView | None]:
        stored = self.leases.get(node)
        if stored is None and version:
            return ev.Answer.MISSING, None
        if stored is not None and str(stored.version) != version:
            return ev.Answer.CONFLICT, None
        if stored is not None and stored.ended and tenure <= stored.tenure:
            return ev.Answer.REFUSED, None
        self.leases[node] = StoredLease(self.next(), tenure, 0)
        return ev.Answer.OK, self.view(node)

    def mark(self, node: str, tenure: int, version: str) -> tuple[ev.Answer, ev.LeaseView | None]:
        stored = self.leases.get(node)
        if stored is None:
            return ev.Answer.MISSING, None
        if str(stored.version) != version:
            return ev.Answer.CONFLICT, None
        self.leases[node] = StoredLease(self.next(), stored.tenure, tenure)
        return ev.Answer.OK, self.view(node)

    def delete_lease(self, node: str) -> None:
        self.leases.pop(node, None)

    def view(self, node: str) -> ev.LeaseView | None:
        stored = self.leases.get(node)
        return None if stored is None else ev.LeaseView(str(stored.version), stored.tenure, stored.ended)


@dataclass
class Node:
    name: str
    kernel: Kernel = field(default_factory=Kernel)
    state: State | None = None  # None: no process
    life: int = 0
    boot: int = 0
    paused_until: float = 0.0
    cut_until: float = 0.0
    watch_lag: float = 0.01
    link: bool = True
    powered: bool = True
    rate: float = 1.0  # its clock against the world's
    inbox: list[ev.Input] = field(default_factory=list)
    logged: list[ev.Say] = field(default_factory=list)
    left: bool = False
    shown: dict[str, ev.LeaseView | None] = field(default_factory=dict)
    shown_table: str = ""


class World:
    """Events in order of time; the same seed gives the same run."""

    def __init__(
        self, names: list[str], candidates: Mapping[str, frozenset[str]], seed: int, settings: Settings
    ) -> None:
        self.random = Random(seed)
        self.settings = settings
        self.candidates = dict(candidates)
        self.now = 100.0
        self.api = Api()
        self.outage_until = 0.0
        self.slow = 0.02
        self.nodes = {name: Node(name, rate=self.random.uniform(0.96, 1.04)) for name in names}
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.number = itertools.count()
        self.doubles: list[str] = []
        self.moves: list[tuple[float, str, str]] = []
        self.last: dict[str, str] = {}

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (max(when, self.now), next(self.number), what))

    def run(self, until: float) -> None:
        while self.queue and self.queue[0][0] <= until:
            when, _, what = heapq.heappop(self.queue)
            self.now = when
            what()
            self.look()
        self.now = until
        self.look()

    def look(self) -> None:
        """The invariant: at no time do two kernels claim one group."""
        for group in self.candidates:
            claim = [
                node.name for node in self.nodes.values() if node.powered and group in node.kernel.claims(self.now)
            ]
            if len(claim) > 1:
                self.doubles.append(f"{self.now:.3f} {group}: {claim}")
            elif claim and self.last.get(group) != claim[0]:
                self.last[group] = claim[0]
                self.moves.append((self.now, group, claim[0]))

    def holders(self) -> dict[str, list[str]]:
        return {
            group: [node.name for node in self.nodes.values() if node.powered and group in node.kernel.claims(self.now)]
            for group in self.candidates
        }

    # -- a node's process --

    def boot_up(self, name: str) -> None:
        node = self.nodes[name]
        node.life += 1
        life = node.life
        node.powered, node.left, node.inbox = True, False, []
        node.shown, node.shown_table = {}, ""
        node.state = start(Me(name, f"boot-{node.boot}", f"machine-{name}"), self.settings)
        self.feed(node, life, self.wish(node))
        self.at(self.now + self.delay(), lambda: self.read_all(node, life))
        self.watch(node, life)

    def read_all(self, node: Node, life: int) -> None:
        if self.unreachable(node):
            self.at(self.now + 0.5, lambda: self.read_all(node, life))
            return
        self.feed(node, life, ev.TableSeen(self.api.table))
        for name in sorted(self.api.leases):
            self.feed(node, life, ev.LeaseSeen(name, self.api.view(name)))
        self.feed(node, life, ev.LeasesListed())

    def watch(self, node: Node, life: int) -> None:
        """The watches, as polls of a lagging copy."""
        if node.life != life or node.state is None:
            return
        if not self.unreachable(node):
            views = {name: self.api.view(name) for name in sorted(self.api.leases)}
            news: list[ev.Input] = [ev.LeaseSeen(n, v) for n, v in views.items() if node.shown.get(n) != v]
            news += [ev.LeaseSeen(name, None) for name in node.shown.keys() - views.keys()]
            if node.shown_table != self.api.table.resource_version:
                news.append(ev.TableSeen(self.api.table))
            node.shown, node.shown_table = views, self.api.table.resource_version
            for happened in news:
                self.at(self.now + node.watch_lag, lambda happened=happened: self.feed(node, life, happened))  # type: ignore[misc]
        self.at(self.now + 0.05, lambda: self.watch(node, life))

    def wish(self, node: Node) -> ev.Wish:
        return ev.Wish(node.link, f"02:{node.name}", ("10.60.0.9",), self.candidates)

    def rewish(self) -> None:
        for node in self.nodes.values():
            if node.state is not None:
                self.feed(node, node.life, self.wish(node))

    def feed(self, node: Node, life: int, happened: ev.Input) -> None:
        if node.life != life or node.state is None:
            return
        if self.now < node.paused_until:
            node.inbox.append(happened)
            if len(node.inbox) == 1:
                self.at(node.paused_until, lambda: self.thaw(node, life))
            return
        state, out = step(node.state, self.now * node.rate, happened)
        node.state = state
        for output in out:
            self.act(node, life, output)
        self.at(state.wake / node.rate + 1e-6, lambda: self.tick(node, life, state))

    def tick(self, node: Node, life: int, state: State) -> None:
        if node.state is state:
            self.feed(node, life, ev.Tick())

    def thaw(self, node: Node, life: int) -> None:
        if self.now < node.paused_until:
            self.at(node.paused_until, lambda: self.thaw(node, life))
            return
        waiting, node.inbox = node.inbox, []
        for happened in waiting:
            self.feed(node, life, happened)

    # -- what a process does --

    def act(self, node: Node, life: int, output: ev.Output) -> None:
        match output:
            case ev.Hold(groups):
                node.kernel.held = groups
            case ev.Revoke():
                node.kernel.permit_until = 0.0
            case ev.Feed(deadline):
                node.kernel.permit_until = deadline / node.rate
            case ev.PutTable() | ev.PutLease() | ev.MarkLease() | ev.AskLease() | ev.AskTable():
                self.ask(node, life, output)
            case ev.Say():
                node.logged.append(output)
            case ev.Left():
                node.left = True
                node.state = None
                node.life += 1

    def ask(self, node: Node, life: int, output: ev.Output) -> None:
        api = self.api
        match output:
            case ev.PutTable(table):
                self.request(
                    node, life, lambda: api.put_table(table), lambda a: ev.TablePut(*a), ev.TablePut(ev.Answer.UNKNOWN)
                )
            case ev.PutLease(tenure, over):
                sent = self.now * node.rate
                self.request(
                    node,
                    life,
                    lambda: api.put_lease(node.name, tenure, over.resource_version if over else ""),
                    lambda a: ev.LeasePut(a[0], sent, tenure, a[1]),
                    ev.LeasePut(ev.Answer.UNKNOWN, sent, tenure),
                )
            case ev.MarkLease(name, tenure, version):
                self.request(
                    node,
                    life,
                    lambda: api.mark(name, tenure, version),
                    lambda a: ev.MarkPut(name, *a),
                    ev.MarkPut(name, ev.Answer.UNKNOWN),
                )
            case ev.AskLease(name):
                self.request(node, life, lambda: api.view(name), lambda a: ev.LeaseSeen(name, a, fresh=True), None)
            case ev.AskTable():
                self.request(node, life, lambda: api.table, ev.TableSeen, None)

    def request(self, node: Node, life: int, do: Callable, back: Callable, lost: ev.Input | None) -> None:  # type: ignore[type-arg]
        """There, done, and back again; each leg may be slow, and the client waits TIMEOUT only."""
        answered = [False]
        sent = self.now

        def execute() -> None:
            if self.unreachable(node) and self.random.random() < 0.7:
                return
            answer = do()
            self.at(self.now + self.delay(), lambda: reply(answer))

        def reply(answer: object) -> None:
            if answered[0] or self.unreachable(node):
                return
            answered[0] = True
            self.feed(node, life, back(answer))

        def give_up() -> None:
            if not answered[0] and lost is not None:
                answered[0] = True
                self.feed(node, life, lost)

        self.at(sent + self.delay(), execute)
        self.at(sent + TIMEOUT, give_up)

    def delay(self) -> float:
        late = self.random.random() < 0.03
        return self.random.uniform(0.5, 4.0) if late and self.slow > 0.05 else self.random.uniform(0.001, self.slow)

    def unreachable(self, node: Node) -> bool:
        return not node.powered or self.now < self.outage_until or self.now < node.cut_until

    # -- faults --

    def kill(self, name: str) -> None:
        node = self.nodes[name]
        node.state, node.life, node.paused_until = None, node.life + 1, 0.0

    def power_off(self, name: str) -> None:
        self.kill(name)
        node = self.nodes[name]
        node.powered, node.kernel, node.boot = False, Kernel(), node.boot + 1

    def pause(self, name: str, seconds: float) -> None:
        self.nodes[name].paused_until = self.now + seconds

    def stop(self, name: str) -> None:
        node = self.nodes[name]
        self.feed(node, node.life, ev.Stop())

    def link_down(self, name: str, *, up: bool = False) -> None:
        self.nodes[name].link = up
        self.rewish()
