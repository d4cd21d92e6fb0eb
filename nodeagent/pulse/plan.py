"""The pulse of one segment as a pure step: who is heard, who is silent, and until when this node may claim. No I/O.

It keeps going while the agent is busy, stopped or away: it lives by the newest orders that it was given. Two promises
are all that the protocol needs of it. A permit is never fed beyond what the orders' rules allow; and a tenure that was
called gone, by this pulse, is never echoed again.
"""

import operator
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, fields
from typing import Any

from nodeagent.model import (
    DRIFT,
    LEAVES,
    PROFILES,
    Done,
    Echoed,
    Echoing,
    Here,
    News,
    Orders,
    Over,
    Passed,
    Peer,
    Returned,
    Until,
    Vote,
    Wrote,
    feeders,
)
from nodeagent.pulse.messages import Ask, Echo, Gone, Hello, Message, Silent, Told

LATE = 2.5  # hellos; a tick later than this says that we were stalled, and may have missed what others said
EARLY = 0.5  # hellos; who is awake anyway says hello so early, and those who hear each other come to beat together
ECHO_FADES = 4.0  # hellos without an echo until a witness is taken for silent
REMEMBERED = 16  # hellos whose time of sending is kept: more than a permit lasts
LONGEST = DRIFT * max(profile.permit for profile in PROFILES.values()) + LEAVES  # seconds that any permit may stand
KEPT = 600.0  # seconds that the record of a tenure's last echo is kept


# -- what goes in, and what comes out --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class AgentCame:
    """A new agent listens. *permitted_until*: when the kernel's permit ends (0: there is none)."""

    permitted_until: float


@dataclass(frozen=True, slots=True)
class AgentLost:
    """No agent for so long that this node is better taken for dead."""


Input = Tick | AgentCame | AgentLost | Orders | Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send *message* to each of *nodes*; their addresses are in the orders."""

    nodes: tuple[str, ...]
    message: Message


@dataclass(frozen=True, slots=True)
class Permit:
    """Have the kernel's permit end at *deadline*, sooner or later than it would; None: at once.

    *anew*: make one where it has lapsed.
    """

    deadline: float | None
    anew: bool = True


@dataclass(frozen=True, slots=True)
class Tell:
    """News for the agent."""

    news: News


Output = Send | Permit | Tell


@dataclass(frozen=True, slots=True)
class Sent:
    """A hello of ours: when it was sent, and until when it feeds the permit if it is echoed."""

    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Fed:
    """The last hello of a tenure that we echoed, for how long its permit stands, and until when any may that we fed."""

    at: float
    permit: float
    until: float


NO_ORDERS = Orders()


@dataclass(slots=True)
class State:
    """What the pulse of a segment knows. Nobody changes it but the step that makes it, of a copy."""

    me: str
    life: int  # told apart from former lives of this node's pulse: their hellos are not ours
    born: float
    orders: Orders = NO_ORDERS  # serial 0: none yet, and the kernel stays as it is
    live: Set[tuple[str, int]] = frozenset()  # the tenures of the orders' peers
    due: float = 0.0  # the next tick
    sequence: int = 0
    sent: Mapping[int, Sent] = field(default_factory=dict)  # by sequence
    echoed: Mapping[str, Sent] = field(default_factory=dict)  # by witness: the newest hello that it echoed
    echoing: frozenset[str] = frozenset()
    fed: Mapping[tuple[str, int], Fed] = field(default_factory=dict)
    gone: Mapping[tuple[str, int], float] = field(default_factory=dict)  # never echoed again: until when it may claim
    watched: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)  # tenure, version, first seen
    fresh: float = 0.0  # silence counts from here
    over: int = 0  # the own tenure that others ended
    orphaned: bool = False

    @property
    def wake(self) -> float:
        return self.due

    @property
    def welcome(self) -> float:
        """From when on a tick is welcome, if there is another cause to be awake."""
        return self.due - EARLY * self.orders.profile.hello


_VALUES: Callable[[State], tuple[Any, ...]] = operator.attrgetter(*(each.name for each in fields(State)))


def start(me: str, life: int, now: float) -> State:
    """The pulse of node *me* begins at *now*; *life* must differ from that of every former pulse of this node."""
    return State(me, life, now, due=now, fresh=now)


def step(state: State, now: float, happened: Input) -> tuple[State, tuple[Output, ...]]:
    """What *happened* at *now* (raw seconds): the next state, and what to do, in this order.

    Call it again with ``Tick`` at ``state.wake``, or from ``state.welcome`` on when something else happened.
    """
    turn = _Turn(state, now)
    match happened:
        case Tick():
            turn.tick()
        case Orders():
            turn.obey(happened)
        case AgentCame(permitted_until):
            turn.change(orphaned=False)
            orders = state.orders
            turn.tell(Here(orders.serial, orders.tenure, permitted_until, orders.rules))
            if state.over:
                turn.tell(Over(state.over))
            turn.tell(Echoing(state.echoing))
        case AgentLost():
            turn.change(orphaned=True)
        case _:
            turn.receive(happened)
    return turn.state, tuple(turn.out)


class _Turn:
    """One step while it is being taken."""

    def __init__(self, state: State, now: float) -> None:
        self.state, self.now = state, now
        self.out: list[Output] = []
        self._given = state

    def change(self, **fields: object) -> None:
        """The state that was given stays as it is; one copy of it a step is enough."""
        if self.state is self._given:
            self.state = State(*_VALUES(self._given))
        for name, value in fields.items():
            setattr(self.state, name, value)

    def tell(self, news: News) -> None:
        self.out.append(Tell(news))

    # -- orders

    def obey(self, orders: Orders) -> None:
        former = self.state.orders
        if orders.serial < former.serial:
            return
        watched = {peer.node: self._first_seen(peer) for peer in orders.peers}
        live = frozenset((peer.node, peer.tenure) for peer in orders.peers)
        self.change(orphaned=False, orders=orders, live=live, watched=watched)
        for peer in former.peers if orders.ready else ():
            if (peer.node, peer.tenure) not in live:
                self.bury(peer.node, peer.tenure)
        if orders.tenure != former.tenure:
            self.change(sent={}, echoed={}, due=self.now)
        for node, tenure in orders.ended:
            self.bury(node, tenure)
        self.feed()
        self.tell(Done(orders.serial))
        if orders.wrote != former.wrote and orders.wrote:
            told = Told(self.state.me, orders.wrote, orders.ended)
            self.out.append(Send(tuple(peer.node for peer in orders.peers), told))
        self.ask()

    def _first_seen(self, peer: Peer) -> tuple[int, int, float]:
        known = self.state.watched.get(peer.node)
        if known is not None and known[:2] == (peer.tenure, peer.version):
            return known
        return peer.tenure, peer.version, self.now

    # -- time

    def tick(self) -> None:
        state, profile = self.state, self.state.orders.profile
        if self.now < state.welcome:
            return
        if self.now - state.due > LATE * profile.hello:
            self.change(fresh=self.now)
        self.change(due=max(min(state.due, self.now) + profile.hello, self.now + profile.hello / 2))
        self.greet()
        self.vote()
        self.ask()
        self.notice_echoes()
        self.feed()
        self.forget()

    def greet(self) -> None:
        state, orders = self.state, self.state.orders
        if not orders.tenure or state.over == orders.tenure or state.orphaned or not orders.greeted:
            return
        sequence = state.sequence + 1
        kept = {number: sent for number, sent in state.sent.items() if number > sequence - REMEMBERED}
        permit = orders.profile.permit
        self.change(sequence=sequence, sent={**kept, sequence: Sent(self.now, self.now + permit)})
        hello = Hello(state.me, orders.tenure, state.life, sequence, permit)
        self.out.append(Send(orders.greeted, hello))

    def vote(self) -> None:
        """Speak up for every silent seat that names us as its witness: to all live seats, once a hello."""
        state, orders = self.state, self.state.orders
        for peer in orders.peers:
            if not peer.mine:
                continue  # of a seat that is over, but lives in a table that was restored, nothing is heard either
            fed = state.fed.get((peer.node, peer.tenure))
            last = max(fed.at if fed else 0.0, state.watched[peer.node][2], state.fresh)
            # A seat of another profile is judged by the slower of the two.
            if self.now - last <= max(orders.profile.silence, fed.permit / 2 if fed else 0.0):
                continue
            others = tuple(other.node for other in orders.peers if other.node != peer.node)
            self.out.append(Send(others, Silent(state.me, peer.node, peer.tenure, peer.version)))
            self.tell(Vote(peer.node, peer.tenure, peer.version, state.me, self.now))

    def ask(self) -> None:
        for question in self.state.orders.questions:
            others = tuple(witness for witness in question.witnesses if witness != self.state.me)
            if others:
                self.out.append(Send(others, Ask(self.state.me, question.node, question.tenure)))
            if self.state.me in question.witnesses:
                until = self.bury(question.node, question.tenure)
                self.tell(Passed(question.node, question.tenure, self.state.me, until))

    def notice_echoes(self) -> None:
        state = self.state
        oldest = self.now - ECHO_FADES * state.orders.profile.hello
        echoing = frozenset(
            node for node, sent in state.echoed.items() if sent.at >= oldest and node in state.orders.greeted
        )
        if echoing != state.echoing:
            self.change(echoing=echoing)
            self.tell(Echoing(echoing))

    def forget(self) -> None:
        """What is long over is known by the table: it is below the next tenure, and no live seat's."""
        oldest, state = self.now - KEPT, self.state
        if any(fed.at < oldest for fed in state.fed.values()):
            self.change(fed={key: fed for key, fed in state.fed.items() if fed.at >= oldest})
        if any(until < oldest for until in state.gone.values()):
            self.change(gone={key: until for key, until in state.gone.items() if until >= oldest})

    # -- the permit

    def deadline(self) -> float | None:
        """When the permit must end by all rules; None: there must be none."""
        state, orders = self.state, self.state.orders
        if not orders.tenure or not orders.rules or state.over == orders.tenure:
            return None
        ends = [self._end(rule) for rule in orders.rules]
        return min(ends) if min(ends) > self.now else None

    def _end(self, rule: Echoed | Until) -> float:
        match rule:
            case Until(deadline):
                return deadline
            case Echoed(witnesses):
                known = self.state.echoed
                ends = sorted((known[witness].until for witness in witnesses if witness in known), reverse=True)
                needed = feeders(len(witnesses))
                return ends[needed - 1] if 0 < needed <= len(ends) else 0.0

    def feed(self) -> None:
        if self.state.orders.serial:
            anew = all(rule.anew for rule in self.state.orders.rules if isinstance(rule, Until))
            self.out.append(Permit(self.deadline(), anew))

    # -- messages

    def receive(self, message: Message) -> None:
        match message:
            case Hello():
                self.answer(message)
            case Echo(sender, tenure, life, sequence):
                self.heed(sender, tenure, life, sequence)
            case Silent(sender, node, tenure, version):
                if self._live(sender):
                    self.tell(Vote(node, tenure, version, sender, self.now))
            case Ask(sender, node, tenure):
                if self.is_over(node, tenure):
                    self.out.append(Send((sender,), self.gone(node, tenure)))
            case Gone(sender, node, tenure, left):
                self.learn(node, tenure)
                self.tell(Passed(node, tenure, sender, self.now + left))
            case Told(sender, version, ended):
                for node, tenure in ended:
                    self.learn(node, tenure)
                self.tell(Wrote(sender, version))

    def learn(self, node: str, tenure: int) -> None:
        """Somebody says that a tenure is over."""
        if node != self.state.me:
            self.bury(node, tenure)
        elif tenure == self.state.orders.tenure and self.state.over != tenure:
            self.change(over=tenure)
            self.feed()
            self.tell(Over(tenure))

    def gone(self, node: str, tenure: int) -> Gone:
        return Gone(self.state.me, node, tenure, max(0.0, self.bury(node, tenure) - self.now))

    def answer(self, hello: Hello) -> None:
        """Echo the hello of a live seat; tell a tenure that is over that it is."""
        state = self.state
        key = (hello.sender, hello.tenure)
        if self.is_over(*key):
            self.out.append(Send((hello.sender,), self.gone(*key)))
            self.tell(Returned(*key))
        elif state.orders.ready and key in state.live:
            former = state.fed.get(key)
            until = self.now + DRIFT * hello.permit + LEAVES
            fed = Fed(self.now, hello.permit, max(until, former.until if former else 0.0))
            self.change(fed={**state.fed, key: fed})
            self.out.append(Send((hello.sender,), Echo(state.me, hello.tenure, hello.life, hello.sequence)))

    def heed(self, witness: str, tenure: int, life: int, sequence: int) -> None:
        state = self.state
        if tenure != state.orders.tenure or life != state.life or sequence not in state.sent:
            return
        sent, former = state.sent[sequence], state.echoed.get(witness)
        if former is None or sent.at > former.at:
            self.change(echoed={**state.echoed, witness: sent})
            self.feed()
            if witness not in state.echoing:
                self.notice_echoes()

    def is_over(self, node: str, tenure: int) -> bool:
        """Whether that tenure is known to be over: it is no live seat's, and not newer than the table we know."""
        orders = self.state.orders
        if (node, tenure) in self.state.gone:
            return True
        if not orders.ready or tenure >= orders.next_tenure or node == self.state.me:
            return False
        return (node, tenure) not in self.state.live

    def bury(self, node: str, tenure: int) -> float:
        """Never echo that tenure again. Returns until when a permit may stand that an echo of ours fed.

        Without a record in this life it counts from the beginning of this life: before, a former one may have echoed,
        whatever the profile.
        """
        key, state = (node, tenure), self.state
        if key not in state.gone:
            until = state.fed[key].until if key in state.fed else state.born + LONGEST
            self.change(gone={**state.gone, key: until})
        return self.state.gone[key]

    def _live(self, node: str) -> bool:
        return any(peer.node == node for peer in self.state.orders.peers)
