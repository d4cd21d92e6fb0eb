"""A machine of the simulation: its clocks, its kernel, and the two processes that run the product's own steps."""

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from nodeagent import model
from nodeagent.gate.plan import MOMENT_MS, SHORTEST_MS
from nodeagent.pulse import messages
from nodeagent.pulse import plan as pulse_plan
from nodeagent.segment import events as ev
from nodeagent.segment import plan as segment_plan
from nodeagent.segment.state import Me

if TYPE_CHECKING:
    from tests.simulation.world import World

SHORTEST = SHORTEST_MS / 1000
MOMENT = MOMENT_MS / 1000
AGENT_RESTART = 1.0  # seconds after which a pulse starts a lost agent again
AGENT_LOST = 30.0
PULSE_TICK = pulse_plan.Tick()
AGENT_TICK = ev.Tick()

Action = Callable[[], None]


class Kernel:
    """What outlives the processes: the groups that may be claimed, and the permit, on a clock that is slewed."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.off()

    def off(self) -> None:
        self.held: frozenset[str] = frozenset()
        self.epochs: dict[str, int] = {}  # of the groups held, by the newest table that the agent knew
        self.until = 0.0  # world seconds
        self.staged = 0.0  # until when a decision about the permit is good
        self.tenure = 0  # by whose orders the permit was last fed


class Process:
    """Input queue, pausable, killable in the midst of doing what a step decided."""

    kind = ""

    def __init__(self, node: "Node") -> None:
        self.node, self.world = node, node.world
        self.alive = False
        self.life = 0
        self.paused = 0
        self.inbox: deque[Any] = deque()
        self.todo: deque[Action] = deque()
        self.trap: tuple[int, Action] | None = None  # after how many things done, and what happens then
        self.tick_at = inf
        self.state: Any = None

    def die(self) -> None:
        self.alive = False
        self.life += 1
        self.paused = 0
        self.tick_at = inf
        self.trap = None
        self.inbox.clear()
        self.todo.clear()

    def live(self, state: Any) -> None:
        self.die()
        self.alive, self.state = True, state

    def post(self, life: int, happened: Any) -> None:
        if life != self.life or not self.alive:
            return
        if self.paused or self.todo:
            self.inbox.append(happened)
        else:
            self.handle(happened)

    def handle(self, happened: Any) -> None:
        raise NotImplementedError

    def act(self, output: Any) -> None:
        raise NotImplementedError

    def split(self, output: Any) -> list[Action]:
        """The things that *output* is made of, between which a process may be stopped."""
        return [partial(self.act, output)]

    def perform(self, outputs: tuple[Any, ...]) -> None:
        if self.trap is None:
            for output in outputs:
                self.act(output)
            return
        actions = [action for output in outputs for action in self.split(output)]
        after, spring = self.trap
        if len(actions) <= after:
            for action in actions:
                action()
            return
        life = self.life
        for action in actions[:after]:
            action()
        if self.life == life:
            self.trap, self.todo = None, deque(actions[after:])
            spring()

    def pause(self) -> None:
        self.paused += 1

    def resume(self, life: int) -> None:
        if life != self.life or not self.paused:
            return
        self.paused -= 1
        while self.todo and not self.paused:
            self.todo.popleft()()
        while self.inbox and not self.paused and not self.todo:
            self.handle(self.inbox.popleft())

    def set_timer(self) -> None:
        when = max(self.node.when(self.state.wake), self.world.now + 0.0002)
        if when < self.tick_at:
            self.tick_at = when
            self.world.push(when, self.tick, (self.life,))

    def tick(self, life: int) -> None:
        if life != self.life or self.world.now < self.tick_at:
            return
        self.tick_at = inf
        if self.node.raw() < self.state.wake:
            self.set_timer()
        else:
            self.post(life, PULSE_TICK if self.kind == "pulse" else AGENT_TICK)


class Pulse(Process):
    kind = "pulse"

    def handle(self, happened: Any) -> None:
        self._step(happened)
        if self.alive and not self.todo and not self.paused and self.node.raw() >= self.state.welcome:
            self._step(PULSE_TICK)  # who is awake anyway says hello
        if self.alive:
            self.set_timer()

    def _step(self, happened: Any) -> None:
        self.state, outputs = pulse_plan.step(self.state, self.node.raw(), happened)
        if outputs:
            self.perform(outputs)

    def act(self, output: Any) -> None:
        kind = type(output)
        if kind is pulse_plan.Send:
            self.send(output.nodes, output.message)
        elif kind is pulse_plan.Permit:
            self.permit(output.deadline, anew=output.anew)
        else:
            if type(output.news) is model.Passed and output.news.witness == self.node.name:
                self.world.checks.promised(self.node.name, output.news.node, output.news.tenure)
            self.node.to_agent(output.news)

    def send(self, nodes: tuple[str, ...], message: messages.Message) -> None:
        name, world = self.node.name, self.world
        kind = type(message)
        if kind is messages.Hello:
            self.node.hellos[(message.life, message.sequence)] = (world.now, message.permit)  # type: ignore[union-attr]
        elif kind is messages.Echo:
            world.checks.echoed(name, nodes[0], message)  # type: ignore[arg-type]
        elif kind is messages.Gone:
            world.checks.promised(name, message.node, message.tenure)  # type: ignore[union-attr]
        for target in nodes:
            world.carry(name, target, message)

    # -- the permit, as nodeagent.gate.plan.feed has the kernel keep it

    def split(self, output: Any) -> list[Action]:
        if type(output) is not pulse_plan.Permit or output.deadline is None:
            return [partial(self.act, output)]
        read: list[float] = []
        look = partial(self._look, output.deadline, read)
        return [self._stage, look, partial(self._give, output.deadline, read, anew=output.anew)]

    def _stage(self) -> None:
        self.node.kernel.staged = self.world.now + MOMENT / self.node.kernel.rate

    def _look(self, deadline: float, read: list[float]) -> None:
        read.append(int((deadline - self.node.raw()) * 1000) / 1000 - MOMENT)

    def _give(self, deadline: float, read: list[float], *, anew: bool) -> None:
        (left,) = read
        if left < SHORTEST:
            self.node.revoke()
        elif self.node.kernel.staged <= self.world.now:
            self.permit(deadline, anew=anew)  # late; again, and not stopped this time
        else:
            self.node.kernel.staged = 0.0
            self.node.grant(left, anew=anew)

    def permit(self, deadline: float | None, *, anew: bool) -> None:
        if deadline is None:
            self.node.revoke()
            return
        read: list[float] = []
        self._stage()
        self._look(deadline, read)
        self._give(deadline, read, anew=anew)


class Agent(Process):
    kind = "agent"

    def __init__(self, node: "Node") -> None:
        super().__init__(node)
        self.table: Any = None
        self.asked: set[Any] = set()
        self.lines: dict[str, deque[Any]] = {}
        self.stopping = self.resting = False

    def die(self) -> None:
        super().die()
        self.table, self.asked, self.lines = None, set(), {}
        self.stopping = self.resting = False

    def handle(self, happened: Any) -> None:
        life = self.life
        self.state, outputs = segment_plan.step(self.state, self.node.raw(), happened)
        if self.state.table is not self.table:
            self.table = self.state.table
            self.node.know_epochs(self.table)
        if outputs:
            self.perform(outputs)
        if self.alive and life == self.life:
            self.set_timer()

    def act(self, output: Any) -> None:
        node, world = self.node, self.world
        match output:
            case ev.Order(orders):
                node.to_pulse(orders)
            case ev.Hold(groups):
                node.hold(groups, self.table)
            case ev.PutTable() | ev.PutLease() | ev.MarkLease() | ev.AskTable() | ev.AskLease() | ev.AskLeases():
                world.requests.ask(node, output)
            case ev.Probe() | ev.AskAnchor() | ev.LookRound():
                world.ask_around(node, output)
            case ev.Say(cause, message, groups):
                about = f" {sorted(groups)}" if groups else ""
                world.say(node.name, f"{cause.value}: {message}{about}")
            case ev.Left():
                node.ended(rest=self.resting)
            case ev.AnnounceAgain():
                pass


class Node:
    """One machine. *raw* seconds are those of its processes; the world's seconds are nobody's."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.rate = 1 + world.random.uniform(-0.0002, 0.0002)
        self.kernel = Kernel(1 + world.random.uniform(-0.09, 0.09))
        self.zero = world.now - world.random.uniform(5, 30)  # when it booted
        self.boot, self.machine = 0, f"machine-{name}"
        self.powered, self.link = True, True
        self.pulses = 0
        self.pulse, self.agent = Pulse(self), Agent(self)
        self.hellos: dict[tuple[int, int], tuple[float, float]] = {}  # life, sequence -> sent at, permit
        self.local_at = [0.0, 0.0]
        self.excused_until = 0.0

    # -- clocks

    def raw(self) -> float:
        return (self.world.now - self.zero) * self.rate

    def when(self, raw: float) -> float:
        return self.zero + raw / self.rate

    # -- the kernel

    def claims(self) -> bool:
        return self.kernel.until > self.world.now and self.powered

    def hold(self, groups: frozenset[str], table: Any) -> None:
        former, self.kernel.held = self.kernel.held, groups
        rows = {} if table is None else {row.name: row.epoch for row in table.groups}
        self.kernel.epochs = {name: rows.get(name, self.kernel.epochs.get(name, 0)) for name in groups}
        self.world.say(self.name, f"holds {sorted(groups)}")
        self.world.checks.held(self, former)

    def know_epochs(self, table: Any) -> None:
        if self.kernel.held and table is not None:
            held = self.kernel.held
            self.kernel.epochs.update({row.name: row.epoch for row in table.groups if row.name in held})

    def grant(self, seconds: float, *, anew: bool) -> bool:
        """The permit is to end so many of the kernel's seconds from now; one that has lapsed is only made *anew*."""
        now, kernel = self.world.now, self.kernel
        stands = kernel.until > now
        if not stands and not anew:
            return False
        kernel.until, kernel.tenure = now + seconds / kernel.rate, self.pulse.state.orders.tenure
        self.world.checks.fed(self)
        if not stands:
            self.world.say(self.name, "permit")
            self.world.checks.opened(self)
        return True

    def revoke(self) -> None:
        if self.kernel.until > self.world.now:
            self.world.checks.closing(self)
            self.kernel.until = self.world.now
            self.world.say(self.name, "permit revoked")

    def excuse(self, seconds: float) -> None:
        """For so long this node may claim beside another: a bound that is promised, and no more."""
        self.excused_until = max(self.excused_until, self.world.now + seconds)
        self.world.push(self.excused_until + 1e-6, self.world.checks.opened, (self,))

    # -- the processes

    def boot_up(self) -> None:
        self.powered = True
        self.zero = self.world.now - self.world.random.uniform(5, 30)
        self.start()

    def start(self) -> None:
        """The container starts: the pulse, and the agent as its child."""
        if self.pulse.alive or not self.powered:
            return
        self.pulses += 1
        self.pulse.live(pulse_plan.start(self.name, self.pulses, self.raw()))
        self.pulse.set_timer()
        self.world.say(self.name, f"pulse {self.pulses} starts")
        self.world.after(self.world.random.uniform(0.02, 0.3), self.start_agent, self.pulse.life)

    def start_agent(self, pulse_life: int) -> None:
        if self.pulse.life != pulse_life or not self.pulse.alive or self.agent.alive:
            return
        if self.pulse.paused:
            self.world.after(0.1, self.start_agent, pulse_life)
            return
        self.agent.live(segment_plan.start(Me(self.name, f"boot-{self.boot}-{self.machine}", self.machine)))
        self.world.say(self.name, "agent starts")
        left = max(0.0, self.kernel.until - self.world.now) * self.kernel.rate
        self.pulse.post(pulse_life, pulse_plan.AgentCame(self.raw() + left if left else 0.0))
        self.world.watches[self.name].begin(self.agent.life)
        self.world.keep_asking_anchor(self, self.agent.life)

    def kill(self, part: str, back: float) -> None:
        """SIGKILL. With the pulse goes its child; the container, or the pulse, starts it again after *back* seconds."""
        self.world.say(self.name, f"{part} killed")
        self.agent.die()
        if part == "agent" and self.pulse.alive:
            self.world.after(back, self.start_agent, self.pulse.life)
            self.world.after(AGENT_LOST, self.agent_lost, self.agent.life)
            return
        self.pulse.die()
        self.world.after(back, self.start)

    def agent_lost(self, life: int) -> None:
        if self.agent.life == life and self.pulse.alive:
            self.pulse.post(self.pulse.life, pulse_plan.AgentLost())

    def terminate(self, *, rest: bool) -> None:
        """SIGTERM: the agent does what it must first, for a while."""
        if self.agent.alive and not self.agent.stopping:
            self.agent.stopping, self.agent.resting = True, rest
            self.agent.post(self.agent.life, ev.Stop(rest))
            self.world.after(8.0, self._lose_patience, self.agent.life, rest)

    def _lose_patience(self, life: int, rest: bool) -> None:
        if self.agent.life == life and self.agent.alive:
            self.ended(rest=rest)

    def ended(self, *, rest: bool) -> None:
        self.world.say(self.name, "ends" if not rest else "ends, to come back")
        self.agent.die()
        self.pulse.die()
        if not rest:
            self.hold(frozenset(), None)
            self.revoke()

    def power_off(self) -> None:
        self.world.checks.closing(self)
        self.agent.die()
        self.pulse.die()
        self.kernel.off()
        self.powered = False
        self.boot += 1

    # -- between the two processes: in order, and what was sent arrives even if its sender is gone

    def to_pulse(self, orders: Any) -> None:
        self.world.push(self._local(0), self.pulse.post, (self.pulse.life, orders))

    def to_agent(self, news: Any) -> None:
        self.world.push(self._local(1), self.agent.post, (self.agent.life, news))

    def _local(self, direction: int) -> float:
        when = max(self.local_at[direction], self.world.now + self.world.random.uniform(0.0001, 0.0008))
        self.local_at[direction] = when
        return when
