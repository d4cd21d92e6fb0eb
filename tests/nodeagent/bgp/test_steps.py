"""What has to be done to a daemon: tables, and the properties that every plan keeps."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.bgp import steps as plan
from nodeagent.bgp.client import Endpoint
from nodeagent.bgp.fake import FakeGobgpd, Heard
from nodeagent.bgp.rules import UnknownCommunity, parse, tag_of
from nodeagent.bgp.steps import Have, describe, described, digest, steps, told
from nodeagent.bgp.values import Attributes, NextHops, Prefix, Session, Speaker, Treatment, Want

SPEAKER = Speaker(65001, ip_address("10.0.0.1"))  # type: ignore[arg-type]
ONE = Session("one", ip_address("10.0.0.2"), 65002, 65001, password="s3cret")
TWO = Session("two", ip_address("10.0.0.3"), 65001, 65001, families=frozenset({4, 6}))
VIP, OTHER = ip_network("192.0.2.1/32"), ip_network("2001:db8::1/128")
PLAIN: Treatment = {ONE.key: Attributes(), TWO.key: Attributes()}
ADDRESSES = {ONE.key: ONE.key, TWO.key: TWO.key}


def wanting(*sessions: Session, paths: Mapping[Prefix, Treatment] | None = None) -> Want:
    return Want(SPEAKER, {session.key: session for session in sessions}, paths or {})


async def do(daemon: FakeGobgpd, want: Want, *, complete: bool = True) -> list[plan.Step]:
    """Have *daemon* do what is wanted; what that took."""
    addresses = {key: str(session.remote) for key, session in want.sessions.items()}
    async with daemon.connect(Endpoint()) as client:
        todo = list(steps(want, await client.have(), addresses, complete=complete))
        for step in todo:
            match step:
                case plan.Restart():
                    await client.stop()
                case plan.Start(speaker):
                    await client.start(speaker)
                case plan.SetRules(rules):
                    await client.set_rules(rules)
                case plan.Announce(paths):
                    await client.announce(paths)
                case plan.Withdraw(prefixes):
                    await client.withdraw(prefixes)
                case plan.AddPeer(session, address, restarting):
                    await client.add_peer(session, address, restarting=restarting)
                case plan.DeletePeer(address):
                    await client.delete_peer(address)
                case plan.EnablePeer(address):
                    await client.enable_peer(address)
    return todo


def done(before: Want, after: Want, *, complete: bool = True) -> tuple[list[str], FakeGobgpd]:
    """The kinds of steps from *before* to *after*."""
    daemon = FakeGobgpd()

    async def both() -> list[plan.Step]:
        await do(daemon, before)
        return await do(daemon, after, complete=complete)

    return [type(step).__name__ for step in asyncio.run(both())], daemon


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        pytest.param(Want(), Want(), [], id="nothing is wanted of a daemon that does nothing"),
        pytest.param(
            Want(),
            wanting(ONE, paths={VIP: PLAIN}),
            ["Start", "SetRules", "Announce", "AddPeer"],
            id="a router that listens gets all paths at once: rules, paths, then sessions",
        ),
        pytest.param(
            wanting(ONE, paths={VIP: PLAIN}), wanting(ONE, paths={VIP: PLAIN}), [], id="what is there is left alone"
        ),
        pytest.param(
            wanting(ONE, paths={VIP: PLAIN}),
            wanting(ONE, paths={VIP: PLAIN, OTHER: PLAIN}),
            ["Announce"],
            id="a VIP more is one path more",
        ),
        pytest.param(
            wanting(ONE, paths={VIP: PLAIN, OTHER: PLAIN}),
            wanting(ONE, paths={VIP: PLAIN}),
            ["Withdraw"],
            id="a VIP less is one path less",
        ),
        pytest.param(
            wanting(ONE, paths={VIP: PLAIN}),
            wanting(ONE, paths={VIP: {ONE.key: Attributes(med=5)}}),
            ["SetRules", "Announce", "SetRules"],
            id="changed attributes: new rules, the path anew, and only then the old rules go",
        ),
        pytest.param(
            wanting(ONE, TWO, paths={VIP: PLAIN}),
            wanting(replace(ONE, password="other"), TWO, paths={VIP: PLAIN}),
            ["DeletePeer", "AddPeer"],
            id="another password touches only that session",
        ),
        pytest.param(
            wanting(ONE, paths={VIP: PLAIN}),
            wanting(replace(ONE, name="renamed"), paths={VIP: PLAIN}),
            [],
            id="another name is no reason to end a session",
        ),
        pytest.param(
            wanting(ONE, paths={VIP: PLAIN}),
            wanting(replace(ONE, next_hops=NextHops(ipv4=ip_address("10.0.0.9"))), paths={VIP: PLAIN}),  # type: ignore[arg-type]
            ["SetRules", "Announce", "SetRules"],
            id="another next hop is told without ending the session",
        ),
        pytest.param(
            wanting(ONE),
            Want(Speaker(65009, SPEAKER.router_id)),
            ["Restart", "Start", "SetRules"],
            id="another AS begins anew",
        ),
        pytest.param(
            wanting(ONE, paths={VIP: PLAIN}),
            Want(),
            ["DeletePeer", "Withdraw", "SetRules"],
            id="when nothing is wanted any more the daemon falls silent",
        ),
    ],
)
def test_steps(before: Want, after: Want, kinds: list[str]) -> None:
    assert done(before, after)[0] == kinds


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(wanting(TWO, paths={OTHER: PLAIN}), id="another session and path"),
        pytest.param(Want(), id="nothing"),
        pytest.param(Want(Speaker(65009, SPEAKER.router_id)), id="another AS"),
    ],
)
def test_nothing_is_taken_away_before_all_is_known(after: Want) -> None:
    _, daemon = done(wanting(ONE, paths={VIP: PLAIN}), after, complete=False)
    assert VIP in daemon.heard(ONE.key)
    assert ONE.key in daemon.peers


def test_a_router_that_is_not_found_yet_waits() -> None:
    unnumbered = Session("fabric", None, None, 65001, interface="eth1")
    todo = list(steps(wanting(unnumbered), Have(), {}, complete=True))
    assert [type(step).__name__ for step in todo] == ["Start", "SetRules"]


def test_a_session_that_was_disabled_by_hand_is_enabled() -> None:
    peer = plan.Peer(ONE.key, ONE.key, digest(ONE, ONE.key), 65002, ONE.password, enabled=False)
    have = Have(SPEAKER, frozenset(), {ONE.key: peer})
    assert list(steps(wanting(ONE), have, ADDRESSES, complete=True)) == [plan.EnablePeer(ONE.key)]


def test_paths_with_unreadable_communities_are_not_announced() -> None:
    paths = {VIP: {ONE.key: Attributes(frozenset({"65536:1"}))}, OTHER: PLAIN}
    todo = list(steps(wanting(ONE, paths=paths), Have(), ADDRESSES, complete=True))
    assert [p for step in todo if isinstance(step, plan.Announce) for p, _ in step.paths] == [OTHER]


# -- communities and tags ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("65000:100", (("65000:100",), ())),
        ("65000:1:2", ((), ("65000:1:2",))),
        ("4200000000:1:4294967295", ((), ("4200000000:1:4294967295",))),
        ("no-export", (("65535:65281",), ())),
        ("Graceful-Shutdown", (("65535:0",), ())),
        ("065:01", (("65:1",), ())),
    ],
)
def test_communities_are_read(text: str, read: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    assert parse([text]) == read


@pytest.mark.parametrize("text", ["", "1", "65536:1", "1:2:3:4", "a:b", "-1:2", "1:2:4294967296", "²:1", ".*:.*"])
def test_what_is_no_community_is_refused(text: str) -> None:
    with pytest.raises(UnknownCommunity, match="community"):
        parse([text])


def test_a_tag_says_all_that_shapes_what_routers_hear_and_nothing_else() -> None:
    sessions = {ONE.key: ONE, TWO.key: TWO}
    tag = tag_of(PLAIN, sessions)
    assert tag == tag_of({**PLAIN, "10.0.0.4": Attributes(med=1)}, sessions)  # nobody speaks to that one
    assert tag != tag_of({ONE.key: Attributes()}, sessions)
    assert tag != tag_of({**PLAIN, ONE.key: Attributes(frozenset({"1:1"}))}, sessions)
    assert tag.startswith("0:")


# -- descriptions -----------------------------------------------------------------------------------------------------


def test_a_session_is_known_again_by_its_description() -> None:
    assert described(describe(ONE, ONE.key)) == (digest(ONE, ONE.key), ONE.key)
    assert described("a router of mine") is None


def test_no_password_is_ever_written_down() -> None:
    other = replace(ONE, password="another")
    assert describe(ONE, ONE.key) == describe(other, ONE.key)
    todo = list(steps(wanting(ONE), Have(), ADDRESSES, complete=True))
    texts = [told(step) for step in todo] + [repr(step) for step in todo] + [describe(ONE, ONE.key)]
    assert not [text for text in texts if "s3cret" in text]


# -- properties -------------------------------------------------------------------------------------------------------

attributes = st.builds(
    Attributes,
    communities=st.frozensets(st.sampled_from(["65000:1", "65000:1:2", "no-export"])),
    local_preference=st.none() | st.integers(1, 300),
    med=st.none() | st.integers(0, 9),
    prepend=st.integers(0, 3),
)
sessions = st.builds(
    Session,
    name=st.just("router"),
    remote=st.sampled_from([ip_address(text) for text in ("10.0.0.2", "10.0.0.3", "fd00::2")]),
    asn=st.sampled_from([65001, 65002]),
    local_asn=st.just(65001),
    password=st.sampled_from(["", "a", "b"]),
    families=st.sampled_from([frozenset({4}), frozenset({6}), frozenset({4, 6})]),
    next_hops=st.builds(NextHops, ipv4=st.sampled_from([None, ip_address("10.0.0.7")])),
    graceful_restart=st.sampled_from([0, 30]),
)
prefixes = st.sampled_from([ip_network(f"192.0.2.{n}/32") for n in range(4)] + [OTHER])


@st.composite
def wants(draw: st.DrawFn) -> Want:
    speaker = draw(st.sampled_from([SPEAKER, SPEAKER, SPEAKER, Speaker(65009, SPEAKER.router_id), None]))
    some = {session.key: session for session in draw(st.lists(sessions, max_size=3))} if speaker else {}
    keys = st.sampled_from(sorted(some) or ["10.0.0.99"])
    paths = draw(st.dictionaries(prefixes, st.dictionaries(keys, attributes, max_size=3), max_size=4))
    return Want(speaker, some, paths if speaker else {})


def expected(want: Want, session: Session) -> dict[Prefix, Heard]:
    """What the router of *session* should have."""
    found = {}
    for prefix, treatment in want.paths.items():
        said = treatment.get(session.key)
        if said is not None and prefix.version in session.families:
            standard, large = parse(said.communities)
            internal = session.asn == session.local_asn
            hop = session.next_hops.ipv4 if prefix.version == 4 else session.next_hops.ipv6
            found[prefix] = Heard(
                standard,
                large,
                (said.local_preference or 100) if internal else None,
                said.med,
                () if internal else (session.local_asn,) * (1 + said.prepend),
                str(hop) if hop else "10.0.0.1",
            )
    return found


async def test_a_path_that_kept_a_tag_is_told_anew_when_its_own_treatment_has_that_tag() -> None:
    """Said to nobody, then to a router that came, then to nobody again: all that time it stays in the daemon."""
    nobody: Treatment = {}
    daemon = FakeGobgpd()
    for want, heard in (
        (wanting(paths={VIP: nobody}), set()),
        (wanting(ONE, paths={VIP: PLAIN}), {VIP}),
        (wanting(ONE, paths={VIP: nobody}), set()),
        (wanting(ONE, paths={VIP: PLAIN}), {VIP}),
    ):
        await do(daemon, want)
        assert await do(daemon, want) == []
        assert set(daemon.heard(ONE.key) if want.sessions else {}) == heard


@settings(max_examples=300)
@given(st.lists(wants(), min_size=1, max_size=4))
def test_routers_have_what_is_wanted_and_then_nothing_is_left_to_do(history: list[Want]) -> None:
    async def play() -> None:
        daemon = FakeGobgpd()
        for want in history:
            await do(daemon, want)
            assert await do(daemon, want) == []
            for session in want.sessions.values():
                assert daemon.heard(str(session.remote)) == expected(want, session)
            assert set(daemon.peers) == {str(session.remote) for session in want.sessions.values()}

    asyncio.run(play())


@settings(max_examples=300)
@given(wants(), wants())
def test_a_router_loses_only_what_is_not_for_it_any_more(before: Want, after: Want) -> None:
    async def play() -> None:
        daemon = FakeGobgpd()
        await do(daemon, before)
        for router in daemon.routers.values():
            router.updates.clear()
        todo = await do(daemon, after)
        ended = {step.address for step in todo if isinstance(step, plan.DeletePeer)}
        if any(isinstance(step, plan.Restart) for step in todo):
            return
        for key, session in after.sessions.items():
            if key in before.sessions and key not in ended:
                updates = daemon.routers[key].updates
                assert {prefix for prefix, heard in updates if heard is None} == (
                    set(expected(before, session)) - set(expected(after, session))
                )
                said = [heard for _, heard in updates if heard is not None]
                assert all(heard in expected(after, session).values() for heard in said)

    asyncio.run(play())


@settings(max_examples=300)
@given(wants(), wants())
def test_a_router_for_which_nothing_changes_is_told_nothing(before: Want, after: Want) -> None:
    async def play() -> None:
        daemon = FakeGobgpd()
        await do(daemon, before)
        for router in daemon.routers.values():
            router.updates.clear()
        # Only the sessions change: those that stay hear of the same paths as before.
        sessions = {key: before.sessions.get(key, session) for key, session in after.sessions.items()}
        await do(daemon, replace(before, sessions=sessions if before.speaker else {}))
        for key in set(sessions) & set(before.sessions):
            assert daemon.routers[key].updates == []

    asyncio.run(play())


@given(wants(), wants())
def test_nothing_is_ever_lost_before_all_is_known(before: Want, after: Want) -> None:
    async def play() -> None:
        daemon = FakeGobgpd()
        await do(daemon, before)
        for router in daemon.routers.values():
            router.updates.clear()
        await do(daemon, after, complete=False)
        for router in daemon.routers.values():
            assert [prefix for prefix, heard in router.updates if heard is None] == []
        assert set(before.sessions) <= set(daemon.peers)

    asyncio.run(play())
