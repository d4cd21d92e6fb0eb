"""What lies between an agent and the API server: requests that may be lost or late, and watches that may lag."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nodeagent.segment import events as ev

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

TIMEOUT = 1.5  # seconds of one request, at the client
RETRY = 0.5  # until a read of the table that got no answer is sent again
RECONNECT = 0.25


class Requests:
    """Each kind of request of an agent in a line of its own; each leg takes its time, and may never arrive."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.slow: tuple[float, float] | None = None  # seconds that a leg may take at most, and how many do
        self.late: dict[str, float] = {}  # node -> how late its writes are done, unanswered

    def ask(self, node: "Node", wanted: Any) -> None:
        agent = node.agent
        kind = {ev.PutTable: "table", ev.PutLease: "lease"}.get(type(wanted), "question")
        if kind == "question":
            if wanted in agent.asked:
                return
            agent.asked.add(wanted)
        line = agent.lines.setdefault(kind, deque())
        line.append(wanted)
        if len(line) == 1:
            self._send(node, agent.life, line)

    def _send(self, node: "Node", life: int, line: deque[Any]) -> None:
        """The first of the line goes out; the next when it is answered, or given up."""
        if node.agent.life != life:
            return
        if node.agent.paused:
            self.world.after(0.01, self._send, node, life, line)
            return
        wanted = line[0]
        do, answered, lost = self._meaning(node, wanted, node.raw(), self.world.now)
        done = [False]

        def finish(happened: Any) -> None:
            if not done[0] and node.agent.life == life:
                done[0] = True
                self._finish(node, life, line, happened)

        self._carry(node, wanted, do, lambda answer: finish(answered(answer)))
        # A connection that is refused fails at once, one that hangs after a while.
        world = self.world
        world.after(world.random.uniform(0.01, TIMEOUT) if world.apart(node) else TIMEOUT, finish, lost)

    def _carry(self, node: "Node", wanted: Any, do: Callable[[], Any], finish: Callable[[Any], None]) -> None:
        """There, done, and back again."""
        world = self.world
        late = self.late.get(node.name) if isinstance(wanted, ev.PutTable | ev.PutLease | ev.MarkLease) else None

        def execute() -> None:
            if world.apart(node) and world.random.random() < 0.7:
                return
            answer = do()
            if not world.apart(node) and late is None:
                world.after(self._leg(), arrive, answer)

        def arrive(answer: Any) -> None:
            if not world.apart(node):
                finish(answer)

        world.after(self._leg() if late is None else world.random.uniform(late / 2, late), execute)

    def _finish(self, node: "Node", life: int, line: deque[Any], happened: Any) -> None:
        wanted = line[0]
        if happened is None and isinstance(wanted, ev.AskTable):
            self.world.after(RETRY, self._send, node, life, line)
            return
        line.popleft()
        node.agent.asked.discard(wanted)
        if line:
            self._send(node, life, line)
        if happened is not None:
            node.agent.post(life, happened)

    def _leg(self) -> float:
        random = self.world.random
        if self.slow is not None and random.random() < self.slow[1]:
            return random.uniform(0.0, self.slow[0])
        return random.uniform(0.001, 0.02)

    def _meaning(
        self, node: "Node", wanted: Any, sent_raw: float, sent_at: float
    ) -> tuple[Callable[[], Any], Callable[[Any], Any], Any]:
        """What is done at the server, what its answer tells the agent, and what the agent makes of no answer."""
        store, checks, unknown = self.world.store, self.world.checks, ev.Answer.UNKNOWN
        match wanted:
            case ev.PutTable(table):

                def put() -> Any:
                    checks.table_sent_at = sent_at
                    return store.put_table(node.name, table)

                return put, lambda a: ev.TablePut(*a), ev.TablePut(unknown)
            case ev.PutLease(tenure, over):

                def renew() -> Any:
                    answer, view = store.put_lease(node.name, tenure, over)
                    if answer is ev.Answer.OK:
                        checks.renewed(node.name, tenure, sent_at)
                    return answer, view

                lost = ev.LeasePut(unknown, sent_raw, tenure)
                return renew, lambda a: ev.LeasePut(a[0], sent_raw, tenure, a[1]), lost
            case ev.MarkLease(name, tenure, version):
                mark = lambda: store.mark(node.name, name, tenure, version)  # noqa: E731  # beside its reading
                return mark, lambda a: ev.MarkPut(name, *a), ev.MarkPut(name, unknown)
            case ev.AskLease(name):
                return lambda: store.view(name), lambda a: ev.LeaseSeen(name, a, fresh=True), ev.NoAnswer()
            case ev.AskLeases(version):
                views = lambda: {name: lease.view for name, lease in store.leases.items()}  # noqa: E731  # as above
                return views, lambda found: ev.LeasesRead(version, found), ev.NoAnswer()
        return store.read_table, lambda table: ev.TableSeen(table, fresh=True), None


class Watch:
    """An agent's watches: what was written arrives in order, some time later; after a break it may be listed again."""

    def __init__(self, world: "World", node: "Node") -> None:
        self.world, self.node = world, node
        self.lag = 0.01
        self.stalled_until = 0.0
        self.age = 0.0  # of the cache that the next list comes from
        self.began = False
        self.last = 0.0
        self.missed: list[Any] = []
        self.recovering = False

    def begin(self, life: int) -> None:
        """A new agent: two consistent reads, and then lists and watches."""
        self.began, self.missed, self.recovering, self.last = False, [], False, 0.0
        self.world.after(0.01, self._read, life)
        self.world.after(self.world.random.uniform(0.02, 0.2), self._list, life)

    def _read(self, life: int) -> None:
        if self.node.agent.life == life:
            self.node.agent.act(ev.AskTable())
            self.node.agent.act(ev.AskLease(self.node.name))

    def _list(self, life: int) -> None:
        node, world = self.node, self.world
        agent = node.agent
        if agent.life != life:
            return
        if world.apart(node):
            world.after(RETRY, self._list, life)
            return
        age = max(self.age, world.stale_age)
        table, leases, later = world.cached(age)
        self.began = True
        if table is not None:
            agent.post(life, ev.TableSeen(table))
        for name in sorted(leases):
            agent.post(life, ev.LeaseSeen(name, leases[name]))
        agent.post(life, ev.LeasesListed())
        agent.post(life, world.wish(node))
        for item in later:
            self.note(item)

    def note(self, item: Any) -> None:
        if not self.began or not self.node.agent.alive:
            return
        self.last = max(self.last, self.world.now + self.lag * self.world.random.uniform(0.5, 1.5))
        self.world.push(self.last, self._deliver, (self.node.agent.life, item))

    def _deliver(self, life: int, item: Any) -> None:
        if self.node.agent.life != life:
            return
        if self.missed or self._broken():
            self.missed.append(item)
            if not self.recovering:
                self.recovering = True
                self.world.after(RECONNECT, self._recover, life)
        else:
            self._show(life, item)

    def _broken(self) -> bool:
        return self.world.now < self.stalled_until or self.world.apart(self.node)

    def _recover(self, life: int) -> None:
        if self.node.agent.life != life:
            return
        if self._broken():
            self.world.after(RECONNECT, self._recover, life)
            return
        missed, self.missed, self.recovering = self.missed, [], False
        if self.world.random.random() < 0.5:
            missed = list({item.node if isinstance(item, ev.LeaseSeen) else "": item for item in missed}.values())
        if self.age:
            table, _, _ = self.world.cached(self.age)
            if table is not None:
                self._show(life, ev.TableSeen(table))
        for item in missed:
            self._show(life, item)

    def _show(self, life: int, item: Any) -> None:
        if item is None:  # the Segment was deleted
            self.node.agent.act(ev.AskTable())
        else:
            self.node.agent.post(life, item)
