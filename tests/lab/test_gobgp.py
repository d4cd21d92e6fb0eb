"""What a router hears of a real gobgpd that is kept by the agent, of both versions of the API, whatever happens."""

import asyncio
import os
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from pyroute2 import netns

from lab.run import Process, run
from nodeagent.bgp.fake import Heard
from nodeagent.bgp.values import Attributes, NextHops, Prefix, Session, Treatment, Want
from tests.lab.speakers import MORE, PLAIN, ROUTER, SPEAKER, UP, V4, V6, WANT, Machines, kept, machines, until


@pytest.fixture(scope="module", params=[3, 4])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Each test is another agent on the same node; what the one before it left, it changes."""
    with machines(tmp_path_factory.mktemp("machines")) as machine:
        machine.start(request.param)
        machine.start_router()
        yield machine


def beside(session: Session, paths: dict[Prefix, Treatment]) -> Want:
    """*session* and its paths beside those of the others."""
    return Want(SPEAKER, {**WANT.sessions, session.key: session}, {**WANT.paths, **paths})


async def test_routers_hear_what_is_said_to_them(made: Machines) -> None:
    said = {
        V4: Attributes(frozenset({"65000:7", "no-export", "65000:1:2", "4200000000:3:4"}), 200, 0, 2),
        V6: Attributes(med=70),
        MORE: Attributes(frozenset({"graceful-shutdown"})),
    }
    want = replace(WANT, paths={prefix: {ROUTER.key: one} for prefix, one in said.items()})
    want = replace(want, paths={**want.paths, ip_network("192.0.2.9/32"): {"10.9.9.9": Attributes()}})  # not for it
    ours = "10.1.0.1"
    async with kept(made, want) as node:
        await node.hears(
            {
                V4: Heard(("65000:7", "65535:65281"), ("4200000000:3:4", "65000:1:2"), None, 0, (65001,) * 3, ours),
                V6: Heard((), (), None, 70, (65001,), ours),
                MORE: Heard(("65535:0",), (), None, None, (65001,), ours),
            }
        )
        await until(lambda: [s.advertised for s in node.daemon.sessions()] == [3], "three paths went out", 5)
        hops = NextHops(ip_address("10.1.0.7"), ip_address("fd01::7"))  # type: ignore[arg-type]
        session = replace(ROUTER, next_hops=hops)
        before = since(made)
        node.daemon.want(replace(want, sessions={ROUTER.key: session}), complete=True)
        await until(lambda: {heard.next_hop for heard in made.heard().values()} == {"10.1.0.7", "fd01::7"}, "new hops")
        assert since(made) == before  # the session went on


async def test_a_router_of_our_own_as_hears_preferences_and_no_path(made: Machines) -> None:
    inside = replace(ROUTER, asn=65001, remote=ip_address("10.1.0.4"), source_address=ip_address("10.1.0.3"))
    five, six = ip_network("192.0.2.5/32"), ip_network("192.0.2.6/32")
    paths: dict[Prefix, Treatment] = {
        five: {inside.key: Attributes(local_preference=250, prepend=3)},
        six: {inside.key: Attributes()},
    }
    async with kept(made, beside(inside, paths)) as node:
        await node.hears({V4, V6, five, six})
        heard = made.heard()
        assert heard[five] == Heard(local_preference=250, next_hop="10.1.0.3")
        assert heard[six] == Heard(local_preference=100, next_hop="10.1.0.3")


async def test_what_the_router_says_is_not_taken(made: Machines) -> None:
    foreign = ["203.0.113.0/24", "nexthop", "10.1.0.2"]
    target = f"unix://{made.work}/router.sock"
    async with kept(made, WANT) as node:
        await node.hears({V4, V6})
        run(["gobgp", "--target", target, "global", "rib", "add", *foreign])
        node.daemon.want(replace(WANT, paths={**WANT.paths, MORE: PLAIN}), complete=True)
        await until(lambda: str(MORE) in made.prefixes(), "the router has heard more")
        async with made.connect() as client:
            assert set((await client.have()).paths) == {V4, V6, MORE}
        run(["gobgp", "--target", target, "global", "rib", "del", *foreign])


async def test_attributes_change_without_a_withdrawal(made: Machines) -> None:
    async with kept(made, WANT) as node:
        await node.hears({V4, V6})
        before = withdrawn(made)
        for med in range(1, 6):
            said = {prefix: {ROUTER.key: Attributes(med=med)} for prefix in (V4, V6)}
            node.daemon.want(replace(WANT, paths=said), complete=True)
            await until(lambda med=med: [heard.med for heard in made.heard().values()] == [med] * 2, "it changed")
        assert withdrawn(made) == before
        node.daemon.want(replace(WANT, paths={V4: PLAIN}), complete=True)
        await node.hears({V4})
        assert withdrawn(made) == before + 1


def withdrawn(made: Machines) -> int:
    """Prefixes that the router lost by an UPDATE."""
    return int(made.gobgp("neighbor", "10.1.0.1")["state"]["messages"]["received"].get("withdraw_prefix", 0))


def since(made: Machines, neighbour: str = "10.1.0.1") -> object:
    """When the router's session began."""
    return made.gobgp("neighbor", neighbour)["timers"]["state"]["uptime"]


async def test_gobgpd_killed_everything_is_back_and_the_router_never_loses_a_path(made: Machines) -> None:
    lost: list[set[str]] = []

    async def look() -> None:
        while True:
            if (now := await asyncio.to_thread(made.prefixes)) != {str(V4), str(V6)}:
                lost.append(now)
            await asyncio.sleep(0.02)

    async with kept(made, WANT) as node:
        await node.hears({V4, V6})
        looking = asyncio.ensure_future(look())
        made.kill()
        await until(lambda: node.daemon.problem is not None, "its death is noticed")
        assert node.daemon.announced() == frozenset()
        await asyncio.to_thread(made.start)
        await until(lambda: node.daemon.announced() == {V4, V6}, "everything is back", 5)
        await until(lambda: node.established, "the session is back", UP)
        await asyncio.sleep(2)  # longer than the deferral: what was stale would be gone now
        looking.cancel()
        assert lost == []


async def test_an_agent_killed_and_started_again_changes_nothing(made: Machines, tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(AGENT)
    command = [sys.executable, str(program), str(made.socket), "true"]
    first = Process("agent", command, tmp_path / "agent.log", dict(os.environ))
    await until(lambda: made.prefixes() == {str(V4), str(V6)}, f"announced\n{first.tail()}", UP)
    before, gone = since(made), withdrawn(made)
    first.sigkill()
    again = [
        Process("agent", [*command[:3], complete], tmp_path / "again.log", dict(os.environ))
        for complete in ("false", "true")
    ]
    await until(lambda: all("announced 2" in process.log() for process in again), again[0].tail())
    await asyncio.sleep(1)  # time for a mistake
    for process in again:
        process.sigkill()
    assert (made.prefixes(), since(made), withdrawn(made)) == ({str(V4), str(V6)}, before, gone)
    assert "gobgpd at" not in again[0].log()  # no step was taken


AGENT = textwrap.dedent("""
    import asyncio, logging, sys
    from nodeagent.bgp.apply import Daemon
    from nodeagent.bgp.client import Endpoint
    from roost.process import RealClock
    from tests.lab.speakers import WANT

    async def main():
        daemon = Daemon(Endpoint("unix://" + sys.argv[1]), RealClock(), said)
        daemons.append(daemon)
        daemon.want(WANT, complete=sys.argv[2] == "true")
        await daemon.run()

    daemons = []
    def said():
        print("announced", len(daemons[0].announced()), flush=True)

    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
""")


async def test_a_wrong_password_is_mended_without_touching_anything_else(made: Machines) -> None:
    six = replace(ROUTER, name="six", remote=ip_address("fd01::2"), password="wr0ng", graceful_restart=0)
    five = ip_network("192.0.2.5/32")
    want = beside(six, {five: {six.key: Attributes()}})
    async with kept(made, want) as node:
        await node.hears({V4, V6})
        await until(lambda: len(node.daemon.sessions()) == 2, "both are seen")
        before = since(made)
        states = {session.key: session.state for session in node.daemon.sessions()}
        assert (states[ROUTER.key], states[six.key] == "Established") == ("Established", False)
        right = {**want.sessions, six.key: replace(six, password="right")}
        node.daemon.want(replace(want, sessions=right), complete=True)
        await until(lambda: node.established, "both are up", UP)
        await node.hears({V4, V6, five})
        assert since(made) == before
        assert "wr0ng" not in "".join(node.changes)


async def test_what_others_change_by_hand_is_repaired(made: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodeagent.bgp.apply.REREAD", 1.0)
    async with kept(made, WANT) as node:
        await node.hears({V4, V6})
        async with made.connect() as client:
            await client.announce([(MORE, "0:9:9")])
            await client.withdraw([V4])
            await client.set_rules(frozenset())
            await until(lambda: node.daemon.announced() == {V4, V6}, "it is as it was", 5)
            await node.hears({V4, V6})
            await client.delete_peer(ROUTER.key)
        await until(lambda: not node.established, "it is seen", 5)
        await until(lambda: node.established, "the session is back", UP)
        await node.hears({V4, V6})


async def test_unnumbered_sessions_find_their_router(made: Machines) -> None:
    fabric = replace(ROUTER, name="fabric", remote=None, asn=None, interface="fabric", graceful_restart=0)
    five, six = ip_network("192.0.2.5/32"), ip_network("2001:db8::6/128")
    said: Treatment = {"fabric": Attributes()}
    netns.pushns(made.node)  # where the agent runs
    try:
        async with kept(made, beside(fabric, {five: said, six: said})) as node:
            await node.hears({V4, V6, five, six})
            heard = made.heard()
            assert {heard[five].next_hop[:4], heard[six].next_hop[:4]} == {"fe80"}  # RFC 8950
            await until(lambda: node.established, "it is seen")
    finally:
        netns.popns()


async def test_ten_thousand_paths_come_and_go(made: Machines) -> None:
    many: dict[Prefix, Treatment] = {ip_network((0x0A60_0000 + number, 32)): PLAIN for number in range(10_000)}
    async with kept(made, replace(WANT, paths={V4: PLAIN})) as node:
        await node.hears({V4})

        def count() -> int:
            return int(made.gobgp("global", "rib", "summary").get("num_destination", 0))

        node.daemon.want(replace(WANT, paths={V4: PLAIN, **many}), complete=True)
        await until(lambda: count() == 10_001, "the router has them all")
        node.daemon.want(replace(WANT, paths={V4: PLAIN}), complete=True)
        await node.hears({V4})
