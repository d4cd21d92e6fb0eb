"""The pulse as a process: it waits for datagrams, for its agent and for the next hello, and ends as the agent ends.

Read :meth:`Pulse.run` first. Nothing here imports what an agent needs, so that nothing but the sockets, the permit and
the clock can make it late.
"""

import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Hashable, Set

from nodeagent.gate.permits import Permits
from nodeagent.gate.plan import Unsupported
from nodeagent.pulse.apply import be_prompt, now
from nodeagent.pulse.child import SIGNALS, Agent
from nodeagent.pulse.packets import Begin, Close, Given, Keys, Open, Packet, Ready, Trouble, Vacate
from nodeagent.pulse.plan import AgentLost
from nodeagent.pulse.segment import Segment

LOST = 30.0  # seconds without a word of an agent after which the node is better taken for dead
HUNG = 2 / 3  # of that time; then it is killed, so that the next one has the rest of it to begin
SETTLED = 5.0  # seconds after which an agent that gives no orders (the API server is away) is one all the same
STOPPING = 15.0  # seconds that an agent has to hand over, or to rest
STALLED = 5.0  # seconds that this process did not run, so that it cannot say whether the agent did
LOOKED = 1.0  # seconds after which all is looked at though nothing happened
USAGE, SIGNALLED = 2, 128  # exit codes: the settings are wrong; ended by a signal, from here on

PROGRAM = "roost-nodeagent"
LOCK = f"\0{PROGRAM}"
TAKEN = "another roost-nodeagent runs on this node; end it first"


class Pulse:
    """The pulse of a node, and its agent, which *command* starts: it gets the number of the agent's end of a socket."""

    def __init__(self, command: Callable[[int], list[str]], patience: float = LOST) -> None:
        """*patience*: seconds without a word of the agent."""
        self.code: int | None = None  # the exit code, once all is over
        self.agent = Agent(command)
        self._patience = patience
        self._segments: dict[str, Segment] = {}
        self._keys: list[bytes] = []
        self._permits: Permits | None = None
        self._poll: select.poll | None = None  # None: to be made anew
        self._lock: socket.socket | None = None
        self._refused: tuple[str, ...] = ()
        self._restart = self._attended = self._looked = now()
        self._gave_orders = self._lost = False
        self._stop = float("inf")  # when patience with an agent that was told to end is over
        self._signals: list[int] = []
        self._life = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # grows from pulse to pulse within a boot

    def run(self) -> int:
        """Go on until the agent ends for good; its exit code. The permit is left as it is: a rest outlives us."""
        woken = _waker(self._signals)
        while self.code is None:
            self._turn(self._wait(woken))
        return self.code

    def _wait(self, woken: socket.socket) -> Set[int]:
        """Until something happens or is due; the numbers of what can be read."""
        if self._poll is None:
            self._poll = self._all(woken)
        if self.agent.end is not None:
            self.agent.end.flush()
        wake = self._looked + LOOKED if self.agent.runs else min(self._looked + LOOKED, self._restart)
        for segment in self._segments.values():
            wake = min(wake, segment.beat.state.wake)
        ready = {number for number, _ in self._poll.poll(max(0.0, wake - now()) * 1000)}
        if woken.fileno() in ready:
            woken.recv(64)
        return ready

    def _all(self, woken: socket.socket) -> select.poll:
        """All that may have something to read."""
        made = select.poll()
        made.register(woken, select.POLLIN)
        for segment in self._segments.values():
            for number in segment.filenos():
                made.register(number, select.POLLIN)
        if self.agent.end is not None:
            made.register(self.agent.end, select.POLLIN)
        return made

    def _turn(self, ready: Set[int]) -> None:
        """Do what is due, and what *ready* has; what is not about hellos may open or close something."""
        moment = now()
        for segment in self._segments.values():
            segment.tick(moment)
            if ready:
                segment.receive(ready)
        if self.agent.end is not None and self.agent.end.fileno() in ready:
            for packet in self.agent.receive(moment):
                self._take(packet)
            self._poll = None
        if self._signals or not self.agent.runs or moment - self._looked > LOOKED / 2:
            self._pass_on_signals(moment)
            self._look_after(moment)
            self._poll = None

    # -- what the agent says

    def _take(self, packet: Packet) -> None:
        match packet:
            case Begin():
                self._welcome()
            case Keys(keys):
                self._keys[:] = keys
            case Open():
                self._lost = False  # if this one too ends before it gives orders, the node falls silent again
                self._open(packet)
            case Close(name) if name in self._segments:
                self._close(name)
            case Vacate(device):
                self._vacate(device)
            case Given(name, orders) if name in self._segments:
                self._segments[name].obey(orders)
                self._gave_orders = True

    def _welcome(self) -> None:
        """An agent whose settings are right. Not before: who only asks for help disturbs nobody."""
        if self._lock is None:
            try:
                self._lock = _alone()
            except OSError:
                print(f"{PROGRAM}: {TAKEN}", file=sys.stderr)  # noqa: T201 - there is no log in this process
                self.agent.signal(signal.SIGKILL)
                self.code = 1
                return
            self._refused = tuple(be_prompt())
        self._tell(Ready(self._refused))

    def _open(self, asked: Open) -> None:
        self._vacate(asked.device, but=asked.segment)  # a device is on one wire, and has one permit
        known = self._segments.get(asked.segment)
        if known is not None and known.asked != asked:
            self._close(asked.segment)
            known = None
        try:
            self._permits = self._permits or Permits()
        except Unsupported as error:
            self._tell(Trouble(asked.segment, str(error)))
            return
        if known is None:
            known = Segment(asked, self._life, self._permits, self._keys, self._tell)
            self._segments[asked.segment] = known
        known.came()
        known.open(now())

    def _vacate(self, device: str, but: str = "") -> None:
        for name in [name for name, one in self._segments.items() if one.asked.device == device and name != but]:
            self._close(name)

    def _close(self, name: str) -> None:
        segment = self._segments.pop(name)
        segment.beat.permission.end(None)
        segment.close()

    def _tell(self, packet: Packet, key: Hashable = None) -> None:
        if self.agent.end is not None:
            self.agent.end.put(packet, key)

    # -- how the agent fares

    def _pass_on_signals(self, moment: float) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGCHLD:
                continue
            self.agent.signal(number)
            if number != signal.SIGUSR2:
                self._stop = min(self._stop, moment + STOPPING)
                if not self.agent.runs:
                    self.code = 128 + number

    def _look_after(self, moment: float) -> None:
        for segment in self._segments.values():
            segment.look_after(moment)
        code = self.agent.ended()
        if code is not None:
            self._ended(code, moment)
        if self.code is not None:
            return
        if not self.agent.runs and moment >= self._restart:
            self.agent.start(moment)
            self._gave_orders = False
            for segment in self._segments.values():
                segment.listened = False
        if moment - self._looked > STALLED:
            self._attended = self.agent.heard = moment
        self._looked = moment
        self._miss(moment)

    def _ended(self, code: int, moment: float) -> None:
        """Start it again, unless it ended as it was told, or cannot begin."""
        hopeless = not self._segments and code < SIGNALLED  # it says why, and there is nothing yet to keep up
        if code in (0, USAGE) or hopeless or self._stop < float("inf"):
            self.code = code
        self._restart = moment + self.agent.pause(moment)

    def _miss(self, moment: float) -> None:
        """See that the agent is there, and speaks."""
        if self.agent.runs and (self._gave_orders or moment - self.agent.began >= SETTLED):
            self._attended, self._lost = self.agent.heard, False
        if moment - self._attended > self._patience and not self._lost:
            self._lost = True
            for segment in self._segments.values():
                segment.beat.happen(moment, AgentLost())
        if moment - self.agent.heard > self._patience * HUNG:
            self.agent.signal(signal.SIGKILL)
        if moment > self._stop:
            self.agent.signal(signal.SIGKILL)
            self.code = 1


def _waker(signals: list[int]) -> socket.socket:
    """A socket that is readable when a signal came, which is then in *signals*."""
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: signals.append(number))
    signal.set_wakeup_fd(waker.detach(), warn_on_full_buffer=False)
    return woken


def _alone() -> socket.socket:
    """What only one pulse of a network namespace can have: two would pull one permit to and fro. Raises OSError."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(LOCK)
    except OSError:
        lock.close()
        raise
    return lock
