"""What a pulse says, whom it echoes, and how long the permit stands, by its plan alone."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    Profile,
    Question,
    Returned,
    Rule,
    Until,
    Vote,
    Wrote,
    enders,
    feeders,
)
from nodeagent.pulse.messages import Ask, Echo, Gone, Hello, Message, Silent, Told
from nodeagent.pulse.plan import (
    AgentCame,
    AgentLost,
    Input,
    Output,
    Permit,
    Send,
    State,
    Tell,
    Tick,
    start,
    step,
)

ME, LIFE, BORN = "n1", 77, 1000.0
T = Profile().permit
WAITS = DRIFT * T + LEAVES
FORGOT = DRIFT * PROFILES["Relaxed"].permit + LEAVES  # of a former life nothing is known, not even its profile


def about(seconds: float) -> Any:
    """Decimal fractions are not exact in binary."""
    return pytest.approx(seconds)


PEERS = tuple(Peer(f"n{number}", number, 1, (), mine=number <= 3) for number in (2, 3, 4))
ORDERS = Orders(1, tenure=1, rules=(Echoed(("n2", "n3", "n4")),), ready=True, next_tenure=5, peers=PEERS)
ORDERS = replace(ORDERS, greeted=("n2", "n3", "n4"))


@dataclass
class Pulse:
    """One pulse, step by step; what it put out last is in *out*."""

    now: float = BORN
    state: State = field(default_factory=lambda: start(ME, LIFE, BORN))
    out: tuple[Output, ...] = ()

    def happen(self, what: Input, after: float = 0.0) -> tuple[Output, ...]:
        self.now += after
        former, copy = self.state, deepcopy(self.state)
        self.state, self.out = step(former, self.now, what)
        assert former == copy, "a step changes nothing that it was given"
        return self.out

    def tick(self, times: int = 1) -> tuple[Output, ...]:
        """Tick as often, each when it is due."""
        for _ in range(times):
            self.happen(Tick(), max(0.0, self.state.wake - self.now))
        return self.out

    def echo(self, *witnesses: str) -> tuple[Output, ...]:
        """These echo our newest hello."""
        for witness in witnesses:
            self.happen(Echo(witness, self.state.orders.tenure, LIFE, self.state.sequence))
        return self.out

    @property
    def sent(self) -> list[Message]:
        return [output.message for output in self.out if isinstance(output, Send)]

    @property
    def news(self) -> list[News]:
        return [output.news for output in self.out if isinstance(output, Tell)]

    @property
    def permit(self) -> float | None:
        """As last put out."""
        return [output.deadline for output in self.out if isinstance(output, Permit)][-1]


def pulse(orders: Orders = ORDERS) -> Pulse:
    """One that got *orders* and has said its first hello."""
    made = Pulse()
    made.happen(orders)
    made.tick()
    return made


def hello(number: int, tenure: int | None = None, sequence: int = 1) -> Hello:
    return Hello(f"n{number}", number if tenure is None else tenure, 5, sequence, T)


# -- the beat


@pytest.mark.parametrize(
    ("after", "says", "next_after"),
    [
        pytest.param(0.4, False, 1.0, id="too early: nothing"),
        pytest.param(0.6, True, 1.6, id="early: the next one a whole interval later"),
        pytest.param(1.0, True, 2.0, id="when it is due"),
        pytest.param(1.3, True, 2.0, id="late: the next one when it would have been"),
        pytest.param(1.9, True, 2.4, id="so late that the next one is due: not at once"),
    ],
)
def test_when_a_hello_is_said(after: float, says: bool, next_after: float) -> None:
    """In hellos since the last one was due."""
    made = pulse()
    began, interval = made.now, ORDERS.profile.hello
    made.happen(Tick(), after * interval)
    assert any(isinstance(message, Hello) for message in made.sent) == says
    assert made.state.wake == pytest.approx(began + next_after * interval)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=5))
def test_pulses_that_wake_each_other_come_to_beat_together(phases: list[float]) -> None:
    """Each is awake, and says hello if it is welcome, whenever another says hello."""
    several = [pulse() for _ in phases]
    for one, phase in zip(several, phases, strict=True):
        one.happen(Tick(), ORDERS.profile.hello * (1 + phase))
    for _ in phases:
        now = min(one.state.wake for one in several)
        for one in several:
            one.happen(Tick(), now - one.now)
    assert max(one.state.wake for one in several) == pytest.approx(min(one.state.wake for one in several))


# -- the permit


@pytest.mark.parametrize("witnesses", range(1, 8))
def test_whoever_ends_a_permit_has_one_witness_in_common_with_whoever_feeds_it(witnesses: int) -> None:
    assert feeders(witnesses) + enders(witnesses) == witnesses + 1


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        pytest.param((0.1, 0.3, 0.6, 0.09), "margin", id="a margin that clocks can use up"),
        pytest.param((0.1, 0.2, 0.6, 0.1), "silence", id="a vote after two lost hellos"),
        pytest.param((0.1, 0.4, 0.6, 0.1), "permit", id="a permit that ends before anybody may vote twice"),
    ],
)
def test_profiles_under_which_the_proof_would_not_hold_are_refused(profile: tuple[float, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Profile(*profile)


@pytest.mark.parametrize(
    ("witnesses", "echoes", "fed"),
    [
        pytest.param(("n2",), (), False, id="one witness, silent"),
        pytest.param(("n2",), ("n2",), True, id="one witness echoes"),
        pytest.param(("n2", "n3"), ("n3",), True, id="one of two is enough"),
        pytest.param(("n2", "n3", "n4"), ("n3",), False, id="one of three is not"),
        pytest.param(("n2", "n3", "n4"), ("n3", "n4"), True, id="two of three are"),
        pytest.param(("n2", "n3", "n4"), ("n3", "n3"), False, id="the same one twice counts once"),
        pytest.param(("n2", "n3"), ("n4",), False, id="who is no witness feeds nothing"),
        pytest.param((), ("n2",), False, id="no witnesses, no permit"),
    ],
)
def test_who_feeds_a_permit(witnesses: tuple[str, ...], echoes: tuple[str, ...], fed: bool) -> None:
    made = pulse(replace(ORDERS, rules=(Echoed(witnesses),)))
    sent = made.now
    made.now += 0.02
    made.echo(*echoes)
    made.tick()
    assert made.permit == (pytest.approx(sent + T) if fed else None)


def test_the_permit_counts_from_the_sending_of_the_newest_hello_that_enough_echoed() -> None:
    made = pulse()
    first = made.now
    made.echo("n2", "n3")
    made.tick()
    made.echo("n2")
    made.tick()
    assert made.permit == pytest.approx(first + T)


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(Echo("n2", 1, LIFE - 1, 1), id="to a former life"),
        pytest.param(Echo("n2", 9, LIFE, 1), id="to another tenure"),
        pytest.param(Echo("n2", 1, LIFE, 2), id="to a hello that was never said"),
    ],
)
def test_echoes_that_feed_nothing(echo: Echo) -> None:
    made = pulse(replace(ORDERS, rules=(Echoed(("n2",)),)))
    made.happen(echo)
    made.tick()
    assert made.permit is None


def test_of_two_rules_the_shorter_holds() -> None:
    made = pulse()
    made.echo("n2", "n3", "n4")
    made.happen(replace(ORDERS, serial=2, rules=(*ORDERS.rules, Until(made.now + 0.2))))
    assert made.permit == made.now + 0.2
    assert made.out.index(Permit(made.now + 0.2)) < made.out.index(Tell(Done(2)))  # first the kernel, then the word


def test_orders_older_than_those_in_force_are_none() -> None:
    made = pulse(replace(ORDERS, serial=5))
    assert made.happen(replace(ORDERS, serial=4, rules=())) == ()
    assert made.state.orders.serial == 5


def test_before_any_orders_the_kernel_is_left_as_it_is() -> None:
    made = Pulse()
    made.happen(AgentCame(BORN + 5))
    assert made.news == [Here(0, 0, BORN + 5), Echoing(frozenset())]
    assert made.tick(3) == ()


def test_a_new_tenure_is_fed_by_none_of_the_echoes_of_the_old() -> None:
    made = pulse()
    made.echo("n2", "n3", "n4")
    made.happen(replace(ORDERS, serial=2, tenure=9))
    assert made.permit is None


# -- the end of the own tenure


def test_who_hears_that_its_own_tenure_is_over_stops_at_once_and_for_good() -> None:
    made = pulse()
    made.echo("n2", "n3")
    assert made.happen(Gone("n4", ME, 1, 0.4)) == (
        Permit(None),
        Tell(Over(1)),
        Tell(Passed(ME, 1, "n4", made.now + 0.4)),
    )
    made.tick()
    assert not [message for message in made.sent if isinstance(message, Hello)]
    made.echo("n2", "n3")
    made.tick()
    assert made.permit is None
    made.happen(AgentCame(0.0))
    assert made.news[:2] == [Here(1, 1, 0.0, ORDERS.rules), Over(1)]  # a new agent is told as well


def test_the_end_of_another_tenure_of_ours_changes_nothing() -> None:
    made = pulse()
    made.echo("n2", "n3")
    made.happen(Told("n4", 5, ((ME, 99),)))
    assert made.news == [Wrote("n4", 5)]
    made.tick()
    assert made.permit is not None


# -- hellos and echoes


def test_hellos_go_to_those_who_are_greeted_until_there_is_no_agent_for_long() -> None:
    made = pulse()
    made.tick()
    assert made.out[0] == Send(("n2", "n3", "n4"), Hello(ME, 1, LIFE, 2, T))
    made.happen(AgentLost())
    made.tick()
    assert not [message for message in made.sent if isinstance(message, Hello)]
    made.happen(AgentCame(0.0))
    made.tick()
    assert made.sent[0] == Hello(ME, 1, LIFE, 3, T)


@pytest.mark.parametrize(
    ("orders", "heard", "answer"),
    [
        pytest.param(ORDERS, hello(2), Echo(ME, 2, 5, 1), id="a live seat is echoed"),
        pytest.param(
            ORDERS, hello(2, 1), Gone(ME, "n2", 1, about(FORGOT)), id="a former seat of it hears that it is over"
        ),
        pytest.param(ORDERS, hello(9, 4), Gone(ME, "n9", 4, about(FORGOT)), id="so does one who has none any more"),
        pytest.param(ORDERS, hello(9, 5), None, id="a tenure newer than the table that we know is let be"),
        pytest.param(replace(ORDERS, ready=False), hello(2), None, id="nobody is echoed before the table was read"),
        pytest.param(replace(ORDERS, ready=False), hello(2, 1), None, id="nor called gone"),
    ],
)
def test_who_is_echoed(orders: Orders, heard: Hello, answer: Message | None) -> None:
    made = Pulse()
    made.happen(orders)
    made.happen(heard)
    assert made.sent == ([] if answer is None else [answer])
    assert [news for news in made.news if isinstance(news, Returned)] == (
        [Returned(heard.sender, heard.tenure)] if isinstance(answer, Gone) else []
    )


def test_those_who_echo_are_told_as_they_come_and_go() -> None:
    made = pulse()
    made.echo("n3")
    assert made.news == [Echoing(frozenset({"n3"}))]
    told = list[News]()
    for _ in range(6):
        made.tick()
        told += [news for news in made.news if isinstance(news, Echoing)]
    assert told == [Echoing(frozenset())]


# -- votes


def silent(*numbers: int) -> list[Message]:
    return [Silent(ME, f"n{number}", number, 1) for number in numbers]


def test_a_witness_votes_once_a_hello_for_each_seat_of_its_own_that_is_silent() -> None:
    made = pulse()
    for number in (2, 3, 4):
        made.happen(hello(number))
    made.tick(2)
    assert [message for message in made.sent if isinstance(message, Silent)] == []
    made.happen(hello(2, sequence=2))
    made.tick(2)
    assert [message for message in made.sent if isinstance(message, Silent)] == silent(3)  # it is no witness of n4
    assert Vote("n3", 3, 1, ME, made.now) in made.news
    assert any(isinstance(output, Send) and output.nodes == ("n2", "n4") for output in made.out)
    made.tick(2)
    assert [message for message in made.sent if isinstance(message, Silent)] == silent(2, 3)


def test_who_was_stalled_itself_starts_to_listen_anew() -> None:
    made = pulse()
    made.now += 10
    made.tick(3)
    assert [message for message in made.sent if isinstance(message, Silent)] == []
    made.tick(2)
    assert [message for message in made.sent if isinstance(message, Silent)] == silent(2, 3)


def test_a_new_version_of_a_seat_is_given_its_time_to_be_heard() -> None:
    made = pulse()
    made.tick(6)
    newer = tuple(replace(peer, version=2) if peer.node == "n2" else peer for peer in PEERS)
    made.happen(replace(ORDERS, serial=2, peers=newer))
    made.tick(2)
    assert [message for message in made.sent if isinstance(message, Silent)] == silent(3)


def test_a_vote_counts_of_live_seats_only() -> None:
    made = pulse()
    made.happen(Silent("n2", "n3", 3, 1))
    assert made.news == [Vote("n3", 3, 1, "n2", made.now)]
    assert made.happen(Silent("n9", "n3", 3, 1)) == ()


# -- what is over


def test_an_heir_asks_every_witness_once_a_hello_and_answers_for_itself() -> None:
    made = pulse()
    made.happen(hello(2))
    heard = made.now
    asked = replace(ORDERS, serial=2, peers=PEERS[1:], questions=(Question("n2", 2, ("n3", ME)),))
    for out in (made.happen(asked), made.tick()):
        assert Send(("n3",), Ask(ME, "n2", 2)) in out
        assert Tell(Passed("n2", 2, ME, about(heard + WAITS))) in out
    assert made.happen(Gone("n3", "n2", 2, 0.25))[-1] == Tell(Passed("n2", 2, "n3", made.now + 0.25))


def test_a_witness_without_a_record_answers_for_a_former_life() -> None:
    made = pulse(replace(ORDERS, questions=(Question("n9", 4, (ME,)),)))
    assert Passed("n9", 4, ME, about(BORN + FORGOT)) in made.news


def test_what_this_node_wrote_is_told_to_all_once_and_known_here_at_once() -> None:
    made = pulse()
    out = made.happen(replace(ORDERS, serial=2, wrote=7, ended=(("n2", 2),)))
    assert Send(("n2", "n3", "n4"), Told(ME, 7, (("n2", 2),))) in out
    made.happen(hello(2))
    assert [type(message) for message in made.sent] == [Gone]
    assert not [
        m for m in made.sent + [m for _ in range(3) for m in (made.tick() and made.sent)] if isinstance(m, Told)
    ]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(Told("n3", 9, (("n2", 2),)), id="told"),
        pytest.param(Gone("n3", "n2", 2, 0.1), id="called gone by a witness"),
        pytest.param(replace(ORDERS, serial=2, peers=PEERS[1:]), id="no longer in the table"),
        pytest.param(replace(ORDERS, serial=2, questions=(Question("n2", 2, (ME,)),)), id="asked for by the agent"),
    ],
)
def test_a_tenure_that_is_over_is_never_echoed_again(end: Input) -> None:
    made = pulse()
    made.happen(end)
    for sequence in range(1, 20):
        made.happen(hello(2, sequence=sequence))
        assert [type(message) for message in made.sent] == [Gone]
        made.tick()
    made.happen(replace(ORDERS, serial=9))  # though an agent says that it is live
    made.happen(hello(2, sequence=99))
    assert [type(message) for message in made.sent] == [Gone]


def test_only_a_yes_is_answered() -> None:
    made = pulse()
    assert made.happen(Ask("n3", "n2", 2)) == ()
    assert made.happen(Ask("n3", "n2", 1)) == (Send(("n3",), Gone(ME, "n2", 1, about(BORN + FORGOT - made.now))),)


# -- the two promises, whatever happens

witness_sets = st.lists(st.sampled_from(["n2", "n3", "n4"]), unique=True, max_size=3).map(tuple)
rules: st.SearchStrategy[Rule] = st.one_of(
    st.builds(Echoed, witness_sets), st.builds(Until, st.floats(BORN, BORN + 20, allow_nan=False))
)
nodes, tenures = st.sampled_from(["n1", "n2", "n3"]), st.integers(1, 6)
received: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello, nodes, tenures, st.just(5), st.integers(1, 9), st.sampled_from([p.permit for p in PROFILES.values()])
    ),
    st.builds(Echo, st.sampled_from(["n2", "n3", "n4"]), tenures, st.just(LIFE), st.integers(1, 40)),
    st.builds(Gone, nodes, nodes, tenures, st.floats(0, 1)),
    st.builds(Told, nodes, tenures, st.lists(st.tuples(nodes, tenures), max_size=2).map(tuple)),
    st.builds(Ask, nodes, nodes, tenures),
    st.builds(Silent, nodes, nodes, tenures, st.integers(1, 2)),
)
orders = st.builds(
    Orders,
    serial=st.integers(1, 5),
    profile=st.sampled_from(list(PROFILES.values())),
    tenure=st.integers(0, 2),
    rules=st.lists(rules, max_size=2).map(tuple),
    ready=st.booleans(),
    next_tenure=st.integers(0, 6),
    peers=st.lists(st.builds(Peer, st.sampled_from(["n2", "n3"]), tenures, st.just(1), st.just(()), st.booleans()),
                   unique_by=lambda peer: peer.node, max_size=2).map(tuple),
    greeted=witness_sets,
)  # fmt: skip
happenings: st.SearchStrategy[Input] = st.one_of(
    st.just(Tick()), received, orders, st.just(AgentLost()), st.just(AgentCame(0.0))
)


def longest(state: State, sent: dict[int, float], echoes: set[tuple[str, int]]) -> float:
    """Until when a permit may stand by the rules: worked out anew, from all that was ever said."""
    ends = []
    for rule in state.orders.rules:
        if isinstance(rule, Until):
            ends.append(rule.deadline)
            continue
        newest = [
            max([sent[s] for w, s in echoes if w == witness and s in sent], default=0.0) for witness in rule.witnesses
        ]
        ends.append([0.0, *sorted(newest)][-feeders(len(newest))] if newest else 0.0)
    return min(ends, default=0.0)


@settings(max_examples=300)
@given(st.lists(st.tuples(happenings, st.floats(0, 0.3)), max_size=60))
def test_a_permit_never_outlasts_the_rules_and_nothing_that_was_called_gone_is_echoed(
    happened: list[tuple[Input, float]],
) -> None:
    made = Pulse()
    sent: dict[int, float] = {}  # when our hellos of this tenure would end, by sequence
    echoes: set[tuple[str, int]] = set()
    gone: set[tuple[str, int]] = set()
    for what, after in happened:
        tenure = made.state.orders.tenure
        made.happen(what, after)
        if made.state.orders.tenure != tenure:
            sent.clear()
        if isinstance(what, Echo) and what.tenure == made.state.orders.tenure:
            echoes.add((what.sender, what.sequence))
        for output in made.out:
            match output:
                case Send(message=Hello(sequence=sequence, permit=permit)):
                    sent[sequence] = made.now + permit
                case Send(message=Echo() as echo, nodes=(node,)):
                    assert (node, echo.tenure) not in gone
                case Send(message=Gone(node=node, tenure=over)) | Tell(Passed(node=node, tenure=over, witness="n1")):
                    gone.add((node, over))
                case Permit(float() as deadline):
                    assert made.now < deadline <= longest(made.state, sent, echoes) + 1e-9
                    assert made.state.orders.tenure
                    assert made.state.over != made.state.orders.tenure
