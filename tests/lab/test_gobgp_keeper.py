"""The keeper of real daemons: what routers hear when agent or keeper is gone."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lab.run import Process, run
from nodeagent.bgp.alive import Alive
from nodeagent.bgp.values import Speaker
from roost.process import RealClock
from tests.lab.speakers import SPEAKER, V4, V6, WANT, Machines, kept, machines, program, until


@pytest.fixture(scope="module", params=[3, 4])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def made(version: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("machines")) as machine:
        machine.start_router()
        yield machine


@pytest.fixture
def keeper(made: Machines, version: int, tmp_path: Path) -> Iterator[Process]:
    """A keeper that waits two seconds for an agent."""
    options = ["--gobgpd", program(version), "--lifetime", "2", "--api", made.endpoint.target]
    netns = ["ip", "netns", "exec", made.node]
    module = [sys.executable, "-m", "nodeagent.bgp.keeper", *options, "--socket", str(tmp_path / "k")]
    process = Process("keeper", [*netns, *module], tmp_path / "keeper.log", dict(os.environ))
    yield process
    process.sigkill()


async def test_without_a_living_agent_the_router_drops_the_paths_at_once(
    made: Machines, keeper: Process, tmp_path: Path
) -> None:
    def live() -> asyncio.Task[None]:
        return asyncio.ensure_future(Alive(tmp_path / "k", RealClock(), lambda: False).run())

    async with kept(made, WANT) as node:
        alive = live()
        await node.hears({V4, V6})
        await end(alive)  # the agent hangs
        await node.hears(set(), 6)  # by graceful restart the router would have kept them for 40 s
        alive = live()
        await node.hears({V4, V6})
        keeper.signal(signal.SIGTERM)  # a living agent has 15 s to leave
        await end(alive)
        await node.hears(set(), 6)
        assert await asyncio.to_thread(keeper.wait) == 0


async def test_another_router_id_takes_a_new_gobgpd_where_it_must(
    made: Machines, keeper: Process, tmp_path: Path, version: int
) -> None:
    alive = Alive(tmp_path / "k", RealClock(), lambda: False)
    async with kept(made, WANT, alive) as node:
        saying = asyncio.ensure_future(node.daemon.keepalive())
        await node.hears({V4, V6})
        speaker = Speaker(SPEAKER.asn, ip_address("10.1.0.3"))  # type: ignore[arg-type]
        node.daemon.want(replace(WANT, speaker=speaker), complete=True)

        def known() -> bool:
            return bool(made.gobgp("neighbor", "10.1.0.1")["state"].get("router_id") == "10.1.0.3")

        await until(known, "the router has heard of it")
        await node.hears({V4, V6})
        assert ("asks for a new gobgpd" in keeper.log()) == (version == 4)  # 3 begins anew by itself
        await end(saying)


async def test_a_killed_keeper_leaves_no_gobgpd(made: Machines, keeper: Process) -> None:
    async with kept(made, WANT) as node:
        await until(lambda: node.daemon.announced() == {V4, V6}, "gobgpd runs")
        inside = set(run(["ip", "netns", "pids", made.node]).split())
        keeper.sigkill()
        await until(lambda: not set(run(["ip", "netns", "pids", made.node]).split()) & inside, "nothing is left")


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
