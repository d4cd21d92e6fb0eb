"""What a daemon does, the one in memory and the real ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Protocol

import pytest

from nodeagent.bgp.client import Client, NotAccepted, Stopped
from nodeagent.bgp.rules import Rule
from nodeagent.bgp.steps import Have, Peer, digest
from nodeagent.bgp.values import NextHops, Prefix, Session, Speaker
from roost.process import Unreachable

PATIENCE = 10.0  # seconds
SPEAKER = Speaker(65001, ip_address("10.1.0.1"))  # type: ignore[arg-type]
AWAY = Session(
    "away",
    ip_address("10.1.0.99"),
    65002,
    65001,
    password="s3cret",
    multihop_ttl=5,
    families=frozenset({4, 6}),
    next_hops=NextHops(ipv4=ip_address("10.1.0.1")),  # type: ignore[arg-type]
    graceful_restart=30,
)
TAG, OTHER = "0:1:2", f"0:{2**32 - 1}:0"
V4, V6 = ip_network("192.0.2.1/32"), ip_network("2001:db8::/64")
RULES = frozenset(
    {
        Rule(TAG, "10.1.0.2", 0, ("65000:1", "65535:65281"), ("65000:1:2", "4200000000:0:7"), 200, 0, (65001, 2)),
        Rule(TAG, "fd01::2", med=4_000_000_000),
        Rule(OTHER, "10.1.0.2"),
        Rule(session="10.1.0.2", family=6, next_hop="fd01::1"),
        Rule(session="fd01::2", family=4, next_hop="10.1.0.1"),
    }
)
RULES = frozenset(replace(rule, large_communities=tuple(sorted(rule.large_communities))) for rule in RULES)


class Stage(Protocol):
    """A daemon that was just started, and nobody at 10.1.0.99."""

    @property
    def connect(self) -> Callable[[], AbstractAsyncContextManager[Client]]: ...

    async def die(self) -> None: ...
    async def come_back(self) -> None: ...


class GobgpdContract:
    """Classes that inherit this give a fixture `stage`."""

    @pytest.fixture
    async def client(self, stage: Stage) -> AsyncIterator[Client]:
        async with stage.connect() as client:
            yield client

    @pytest.fixture
    async def speaking(self, client: Client) -> Client:
        await client.start(SPEAKER)
        return client

    async def test_a_new_daemon_does_nothing(self, client: Client) -> None:
        assert await client.have() == Have()

    async def test_it_speaks_once_it_is_told_to(self, speaking: Client) -> None:
        have = await speaking.have()
        assert (have.speaker, dict(have.peers), dict(have.paths)) == (SPEAKER, {}, {})

    async def test_without_rules_of_ours_it_says_so(self, speaking: Client) -> None:
        assert (await speaking.have()).rules is None

    async def test_rules_are_read_as_they_were_written(self, speaking: Client) -> None:
        await speaking.set_rules(RULES)
        assert (await speaking.have()).rules == RULES
        some = frozenset(sorted(RULES)[:2])
        await speaking.set_rules(some)
        assert (await speaking.have()).rules == some
        await speaking.set_rules(frozenset())
        assert (await speaking.have()).rules == frozenset()

    async def test_paths_come_change_and_go(self, speaking: Client) -> None:
        await speaking.set_rules(frozenset())
        await speaking.announce([(V4, TAG), (V6, TAG)])
        assert (await speaking.have()).paths == {V4: TAG, V6: TAG}
        await speaking.announce([(V4, OTHER)])
        assert (await speaking.have()).paths == {V4: OTHER, V6: TAG}
        await speaking.withdraw([V6, ip_network("198.51.100.0/24")])  # the second was never there
        assert (await speaking.have()).paths == {V4: OTHER}

    async def test_thousands_of_paths_go_at_once(self, speaking: Client) -> None:
        await speaking.set_rules(frozenset())
        many: dict[Prefix, str] = {ip_network((0x0A60_0000 + 16 * number, 28)): TAG for number in range(2500)}
        await speaking.announce(many.items())
        assert (await speaking.have()).paths == many
        await speaking.withdraw(many)
        assert (await speaking.have()).paths == {}

    async def test_paths_that_were_given_are_not_read_again(self, speaking: Client) -> None:
        assert (await speaking.have({V4: TAG})).paths == {V4: TAG}

    async def test_a_session_is_known_again(self, speaking: Client) -> None:
        await speaking.add_peer(AWAY, AWAY.key, restarting=False)
        peer = Peer(AWAY.key, AWAY.key, digest(AWAY, AWAY.key), 65002, "s3cret", enabled=True, established=False)
        assert (await speaking.have()).peers == {AWAY.key: peer}
        (status,) = await speaking.statuses()
        assert (status.key, status.advertised, status.bfd) == (AWAY.key, 0, False)
        assert status.state in ("Idle", "Connect", "Active")
        await speaking.delete_peer(AWAY.key)
        assert (await speaking.have()).peers == {}

    async def test_what_it_does_not_accept_it_says(self, speaking: Client) -> None:
        with pytest.raises(NotAccepted):
            await speaking.delete_peer("10.1.0.98")
        await speaking.add_peer(AWAY, AWAY.key, restarting=False)
        with pytest.raises(NotAccepted, match="existing"):
            await speaking.add_peer(AWAY, AWAY.key, restarting=False)

    async def test_before_it_speaks_it_takes_nothing(self, client: Client) -> None:
        with pytest.raises(NotAccepted):
            await client.add_peer(AWAY, AWAY.key, restarting=False)

    async def test_whoever_watches_hears_of_sessions(self, speaking: Client) -> None:
        watch = speaking.watch()
        heard = asyncio.ensure_future(anext(aiter(watch)))
        await asyncio.sleep(0.05)  # the daemon has the question
        await speaking.add_peer(AWAY, AWAY.key, restarting=False)
        await asyncio.wait_for(heard, PATIENCE)
        await watch.aclose()  # type: ignore[attr-defined]

    async def test_its_death_is_noticed_and_it_comes_back_empty(self, stage: Stage) -> None:
        async with stage.connect() as client:
            await client.start(SPEAKER)
            await client.announce([(V4, TAG)])
            watch = asyncio.ensure_future(_all(client.watch()))
            await asyncio.sleep(0.05)  # the daemon has the question
            await stage.die()
            with pytest.raises(Unreachable):
                await asyncio.wait_for(watch, PATIENCE)
            with pytest.raises(Unreachable):
                await client.have()
        with pytest.raises(Unreachable):
            async with stage.connect():
                pass
        await stage.come_back()
        async with stage.connect() as client:
            assert await client.have() == Have()

    async def test_what_was_stopped_forgets_and_begins_anew_if_it_can(self, speaking: Client) -> None:
        await speaking.set_rules(RULES)
        await speaking.announce([(V4, TAG)])
        await speaking.add_peer(AWAY, AWAY.key, restarting=False)
        await speaking.stop()
        other = replace(SPEAKER, asn=65009)
        if speaking.restartable:
            await speaking.start(other)
            have = await speaking.have()
            assert (have.speaker, have.rules, dict(have.peers), dict(have.paths)) == (other, None, {}, {})
        else:
            with pytest.raises(Stopped):
                await speaking.start(other)


async def _all(watch: AsyncIterator[None]) -> None:
    async for _ in watch:
        pass
