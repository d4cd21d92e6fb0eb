"""Routes are kept in the kernel's table, and another program's are left alone there."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from nodeagent.routes.kernel import Kernel
from nodeagent.routes.plan import Kind, Route
from tests.lab.pair import Pair, ip, pair
from tests.nodeagent.routes.contract import DEVICE, FOUR, SETTINGS, SIX, RoutesContract, Stage, kept

PROTOCOLS = {"boot": 3, "static": 4}


@pytest.fixture
def node() -> Iterator[Pair]:
    with pair() as made:
        ip("link", "set", "uplink", "down")
        ip("link", "set", "uplink", "name", DEVICE, "up")
        ip("link", "add", "eth1", "type", "veth", "peer", "name", "far")
        ip("link", "set", "eth1", "up")
        yield made


@pytest.fixture
def stage(node: Pair) -> Stage:
    def make(route: Route) -> None:
        ip(*_family(route), "route", "add", *_words(route))

    def remove(route: Route) -> None:
        ip(*_family(route), "route", "del", *_words(route))

    def link(state: str) -> Callable[[], None]:
        def change() -> None:
            ip("link", "set", DEVICE, state)

        return change

    return Stage(lambda: Kernel(SETTINGS), make, remove, shown, link("down"), link("up"))


def shown() -> set[Route]:
    """All of table 198, as the ip program has it."""
    found = set[Route]()
    for family in ("-4", "-6"):
        made = subprocess.run(
            ["ip", "-j", "-N", family, "route", "show", "table", "198"], capture_output=True, text=True, check=False
        )
        if made.returncode == 0:  # else there is no such table
            found |= {_route(each) for each in json.loads(made.stdout or "[]")}
    return found


def _route(each: dict[str, Any]) -> Route:
    kind = Kind.from_text(str(each.get("type", "unicast")))
    return Route(ip_network(each["dst"]), each["dev"], 198, int(each.get("protocol", 3)), each.get("metric", 0), kind)


def _family(route: Route) -> tuple[str]:
    return (f"-{route.prefix.version}",)


def _words(route: Route) -> list[str]:
    place = [str(route.prefix), "dev", route.device, "table", str(route.table)]
    return [*place, "proto", str(route.protocol), "metric", str(route.metric)]


class TestRoutesInTheKernel(RoutesContract):
    pass


async def test_a_link_that_is_made_anew_gets_its_routes(stage: Stage) -> None:
    async with kept(stage) as keeper:
        await keeper.want(FOUR, SIX)
        ip("link", "del", DEVICE)
        await keeper.when(lambda: len(keeper.routes.problems) == 2)
        ip("link", "add", DEVICE, "type", "veth", "peer", "name", "far0")
        ip("link", "set", DEVICE, "up")
        await keeper.when(lambda: shown() == {FOUR, SIX})


async def test_the_last_address_takes_ipv4_routes_along_without_a_word(stage: Stage) -> None:
    async with kept(stage) as keeper:
        await keeper.want(FOUR, SIX)
        ip("-4", "addr", "flush", "dev", DEVICE)
        await keeper.when(lambda: shown() == {FOUR, SIX})


async def test_lost_events_lead_to_reading_again(stage: Stage) -> None:
    """More happens while the loop stands still than the kernel remembers for us."""
    flood, back = (
        "".join(f"route {verb} 10.{n // 250}.{n % 250}.1 dev lo table 198\n" for n in range(2000))
        for verb in ("add", "del")
    )
    async with kept(stage) as keeper:
        await keeper.want(FOUR, SIX)
        for _ in range(3):
            for commands in (flood, back):
                subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)  # noqa: ASYNC221 - this is the stall
        ip("route", "del", str(FOUR.prefix), "table", "198")
        await keeper.when(lambda: shown() == {FOUR, SIX})


async def test_no_file_and_no_task_stays_open(stage: Stage) -> None:
    def count() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())

    before = count()
    for _ in range(3):
        async with kept(stage) as keeper:
            await keeper.want(FOUR)
            await keeper.want()
    for _ in range(10):
        await asyncio.sleep(0)  # transports close in the next turn of the loop
    assert count() == before
