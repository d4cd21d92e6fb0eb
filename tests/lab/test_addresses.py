"""Links and addresses of a real kernel: what we put there is ours alone, and goes by itself."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.plan import Add, Link, Placed, Settings, foreign, named, steps
from tests.lab.pair import NODE4, NODE6, NODE_MAC, PATIENCE, UPLINK, VIP4, VIP6, Address, Pair, ip, pair, until
from tests.nodeagent.addresses.contract import AddressesContract, Stage


@pytest.fixture
def segment() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.fixture
async def addresses(segment: Pair) -> AsyncIterator[Addresses]:
    addresses = Addresses(Settings(address_lifetime=2, address_refresh=1))
    yield addresses
    await addresses.close()


@pytest.fixture
def stage(addresses: Addresses) -> Stage:
    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds
        until(lambda: time.monotonic() >= end, "time passes", seconds + 1)

    def route(gateway: str) -> None:
        ip("-6" if ":" in gateway else "-4", "route", "add", "default", "via", gateway, "dev", UPLINK)

    return Stage(addresses, wait, route)


class TestAddressesInTheKernel(AddressesContract):
    pass


def shown(address: object) -> dict[str, Any]:
    """What the ip program says of an address of the uplink."""
    (link,) = json.loads(ip("-j", "addr", "show", "dev", UPLINK))
    (found,) = [info for info in link["addr_info"] if info["local"] == str(address)]
    assert isinstance(found, dict)
    return found


async def test_a_vip_has_the_shape_that_harms_nobody(addresses: Addresses) -> None:
    routes = ip("route") + ip("-6", "route")
    await addresses.do([Add(Placed(VIP4, UPLINK)), Add(Placed(VIP6, UPLINK))])
    four, six = shown(VIP4), shown(VIP6)
    assert (four["prefixlen"], four["scope"], four["deprecated"], four["noprefixroute"]) == (32, "host", True, True)
    assert (six["prefixlen"], six["deprecated"], six["noprefixroute"], six["nodad"]) == (128, True, True, True)
    assert four["valid_life_time"] <= 2
    assert ip("route") + ip("-6", "route") == routes
    assert "tentative" not in six


@pytest.mark.parametrize("vip", [pytest.param(VIP4, id="ARP"), pytest.param(VIP6, id="Neighbour Discovery")])
async def test_a_vip_answers_from_its_first_moment(segment: Pair, addresses: Addresses, vip: Address) -> None:
    """The only question there is comes as soon as the address is there: no time to look for duplicates."""
    segment.forget()
    await addresses.do([Add(Placed(vip, UPLINK))])
    segment.ask(vip)
    answered = segment.hears(vip)
    assert answered is not None
    assert answered.mac == NODE_MAC


async def test_the_nodes_own_addresses_are_told_and_stay(addresses: Addresses) -> None:
    want = {Placed(NODE4, UPLINK), Placed(NODE6, UPLINK)}
    have = await addresses.present()
    assert foreign(have, want) == want
    assert steps(have, want, synced=True, settings=addresses.settings) == ()
    assert steps(have, set(), synced=True, settings=addresses.settings) == ()


async def test_links_are_read_with_their_own_prefixes(segment: Pair, addresses: Addresses) -> None:
    ip("addr", "add", "10.9.0.1", "peer", "10.9.0.2/32", "dev", UPLINK)
    link = named(await addresses.links(), UPLINK)
    assert link is not None
    assert replace(link, index=0, prefixes=()) == Link(UPLINK, 0, NODE_MAC, 1500, "veth", up=True)
    expected = {ip_interface(f"{NODE4}/24"), ip_interface("10.9.0.1/32"), ip_interface(f"{NODE6}/64")}
    assert {prefix for prefix in link.prefixes if not prefix.is_link_local} == expected


async def test_gateways_of_every_kind_of_route_are_found_and_no_others(segment: Pair, addresses: Addresses) -> None:
    ip("link", "add", "second", "type", "veth", "peer", "name", "far")
    for name in ("second", "far"):
        ip("link", "set", name, "up")
    ip("addr", "add", "10.2.0.1/24", "dev", "second")
    ip("route", "add", "default", "via", "10.1.0.10", "table", "100")
    ip(
        "route",
        "add",
        "default",
        "nexthop",
        "via",
        "10.1.0.11",
        "nexthop",
        "via",
        "10.2.0.11",
        "nexthop",
        "via",
        "10.1.0.12",
    )
    ip("-4", "route", "add", "default", "via", "inet6", "fe80::13", "dev", UPLINK, "metric", "9")
    ip("nexthop", "add", "id", "7", "via", "10.1.0.14", "dev", UPLINK)
    ip("route", "add", "default", "nhid", "7", "metric", "10")
    ip("route", "add", "10.9.0.0/16", "via", "10.1.0.99")
    ip("-6", "route", "add", "default", "via", "fe80::15", "dev", UPLINK)
    ip("route", "add", "unreachable", "default", "metric", "11")
    found = await addresses.gateways(UPLINK)
    assert [str(gateway) for gateway in found] == [
        "10.1.0.10",
        "10.1.0.11",
        "10.1.0.12",
        "10.1.0.14",
        "fe80::13",
        "fe80::15",
    ]
    assert [str(gateway) for gateway in await addresses.gateways("second")] == ["10.2.0.11"]


class Told:
    """What was told of the uplink, and waiting for it."""

    def __init__(self) -> None:
        self.links: tuple[Link, ...] = ()
        self.times = 0
        self.woken = asyncio.Event()

    def __call__(self, links: tuple[Link, ...]) -> None:
        self.links, self.times = links, self.times + 1
        self.woken.set()

    async def when(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.woken.clear()
                await self.woken.wait()

    def uplink(self) -> Link | None:
        return named(self.links, UPLINK)

    def is_up(self) -> bool:
        link = self.uplink()
        return link is not None and link.up


@pytest.fixture
async def told(addresses: Addresses) -> AsyncIterator[Told]:
    told = Told()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(addresses.watch(told))
        await told.when(lambda: told.times > 0)
        yield told
        watching.cancel()


async def test_the_far_end_going_down_and_up_is_told(segment: Pair, told: Told) -> None:
    assert told.is_up()
    ip("-n", segment.client, "link", "set", UPLINK, "down")
    await told.when(lambda: not told.is_up())
    ip("-n", segment.client, "link", "set", UPLINK, "up")
    await told.when(told.is_up)


async def test_prefixes_and_links_that_come_and_go_are_told(told: Told) -> None:
    prefix = ip_interface("10.7.0.1/24")
    ip("addr", "add", str(prefix), "dev", UPLINK)
    await told.when(lambda: prefix in (link.prefixes if (link := told.uplink()) else ()))
    ip("addr", "del", str(prefix), "dev", UPLINK)
    await told.when(lambda: prefix not in (link.prefixes if (link := told.uplink()) else ()))
    ip("link", "del", UPLINK)
    await told.when(lambda: told.uplink() is None)


async def test_a_vip_that_is_lost_is_told(addresses: Addresses, told: Told) -> None:
    await addresses.do([Add(Placed(VIP4, UPLINK)), Add(Placed(VIP6, UPLINK))])
    times = told.times
    ip("addr", "del", f"{VIP4}/32", "dev", UPLINK)
    await told.when(lambda: told.times > times)
    assert {present.at.address for present in await addresses.present()} >= {VIP6}


async def test_lost_events_lead_to_reading_everything_again(segment: Pair, told: Told) -> None:
    """More happens while the loop stands still than the kernel remembers for us."""
    places = [f"10.{8 + n // 250}.{n % 250}.1/24 dev {UPLINK}" for n in range(1000)]
    flood, back = ("".join(f"addr {verb} {place}\n" for place in places) for verb in ("add", "del"))
    for commands in (flood, back) * 3:
        subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)  # noqa: ASYNC221 - this is the stall
    ip("-n", segment.client, "link", "set", UPLINK, "down")
    await told.when(lambda: not told.is_up())
    link = told.uplink()
    assert link is not None
    assert {prefix for prefix in link.prefixes if prefix.version == 4} == {ip_interface(f"{NODE4}/24")}


async def test_no_file_and_no_task_stays_open(segment: Pair) -> None:
    def count() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())

    async def work() -> None:
        addresses, told = Addresses(Settings()), Told()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(addresses.watch(told))
            await told.when(lambda: told.times > 0)
            watching.cancel()
        await addresses.present()
        await addresses.close()

    before = count()
    for _ in range(3):
        await work()
    for _ in range(10):
        await asyncio.sleep(0)  # transports close in the next turn of the loop
    assert count() == before
