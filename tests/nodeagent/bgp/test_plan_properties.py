"""What holds of every plan, whatever BGPPeers, BGPAdvertisements and VIPs there are."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.bgp.plan import Plan, Situation, wanted
from nodeagent.bgp.values import Prefix
from roost.kube.wire import Selector
from roost.kube.wire_bgp import Aggregation, LocalEnd
from roost.words import Address
from tests.nodeagent.bgp.objects import EDGE, advertisement, offer, peer, situation

ELSEWHERE = Selector(match_labels={"edge": "no"})
PUBLIC = Selector(match_labels={"public": "yes"})
ROUTER_IDS = ["10.9.9.1", "10.9.9.2"]
Asking = st.SearchStrategy[dict[str, dict[str, Any]]]

names = st.sampled_from(["a", "b", "c"])
some = st.lists(names, max_size=2, unique=True).map(tuple)
peers: Asking = st.dictionaries(
    names,
    st.builds(
        dict,
        remote=st.sampled_from(["10.0.0.2", "10.0.0.3", "fd00::2", "eth1", "10.9.9.9"]),
        families=st.sampled_from([(), ("IPv4",), ("IPv6",), ("IPv4", "IPv6")]),
        node_selector=st.sampled_from([None, EDGE, ELSEWHERE]),
        local=st.builds(LocalEnd, asn=st.integers(65000, 65002), router_id=st.sampled_from(["", *ROUTER_IDS])),
        asn=st.integers(65000, 65002),
        drain_seconds=st.integers(0, 20),
    ),
    max_size=3,
)
advertisements: Asking = st.dictionaries(
    names,
    st.builds(
        dict,
        pool_names=some,
        peer_names=some,
        service_selector=st.sampled_from([None, PUBLIC]),
        node_selector=st.sampled_from([None, EDGE, ELSEWHERE]),
        announcers=st.sampled_from(["EveryEligibleNode", "HolderOnly"]),
        aggregation=st.builds(Aggregation, ipv4=st.integers(8, 32), ipv6=st.integers(32, 128)),
        communities=st.lists(st.sampled_from(["65000:1", "no-export", "x"]), unique=True).map(tuple),
        local_preference=st.sampled_from([None, 0, 100]),
        med=st.sampled_from([None, 0, 1]),
        prepend_as_path=st.integers(0, 2),
    ),
    max_size=3,
)
offers = st.lists(
    st.builds(
        offer,
        st.sampled_from(["192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:db8:1::1"]),
        names,
        advertisements=st.frozensets(names),
        holder_only=st.booleans(),
        held=st.booleans(),
        alone=st.booleans(),
    ),
    max_size=6,
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    objects: list[Any] = [
        *(peer(name, **spec) for name, spec in draw(peers).items()),
        *(advertisement(name, **spec) for name, spec in draw(advertisements).items()),
        *draw(offers),
    ]
    since = draw(st.sampled_from([None, 0.0]))
    return situation(*objects, draining_since=since, now=draw(st.floats(0, 30, width=16)))


def covers(prefix: Prefix, address: Address) -> bool:
    return prefix.version == address.version and address in prefix


@given(situations())
def test_every_prefix_covers_an_offer_of_its_family(given: Situation) -> None:
    for prefix in wanted(given).want.paths:
        assert any(covers(prefix, one.address) for one in given.offers)


@given(situations())
def test_every_treatment_is_of_sessions_that_there_are_and_that_carry_its_family(given: Situation) -> None:
    want = wanted(given).want
    assert (want.speaker is None) == (not want.sessions)
    for prefix, treatment in want.paths.items():
        assert treatment, "a path that goes nowhere is none"
        assert all(prefix.version in want.sessions[key].families for key in treatment)


@given(situations())
def test_every_peer_of_this_node_has_a_session_or_a_reason(given: Situation) -> None:
    found = wanted(given)
    mine = {name for name, one in given.peers.items() if one.spec.node_selector != ELSEWHERE}
    refused = {problem.name for problem in found.problems if problem.refused}
    assert set(found.sessions_of) | refused == mine
    assert not set(found.sessions_of) & refused
    assert {key: session.name for key, session in found.want.sessions.items()} == {
        key: name for name, key in found.sessions_of.items()
    }


@given(situations(), st.randoms())
def test_the_order_in_which_things_are_known_does_not_matter(given: Situation, random: Any) -> None:
    def shuffled(things: Any) -> Any:
        mixed = list(things)
        random.shuffle(mixed)
        return mixed

    other = replace(
        given,
        peers=dict(shuffled(given.peers.items())),
        advertisements=dict(shuffled(given.advertisements.items())),
        offers=tuple(shuffled(given.offers)),
    )
    assert wanted(other) == wanted(given)


def at(given: Situation, now: float) -> Plan:
    return wanted(replace(given, now=now))


@given(situations())
def test_nothing_changes_by_itself_before_it_is_due(given: Situation) -> None:
    found = wanted(given)
    later = 1e9 if found.due is None else found.due
    assert later > given.now
    assert at(given, (given.now + later) / 2) == found
    while found.due is not None:
        found = at(given, found.due)
    if given.draining_since is not None:
        alone = [one.address for one in given.offers if one.alone]
        assert all(any(covers(prefix, address) for address in alone) for prefix in found.want.paths)
