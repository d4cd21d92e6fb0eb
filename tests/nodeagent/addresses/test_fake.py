"""Links and addresses in memory keep the contract of those in the kernel."""

import asyncio
from ipaddress import ip_address

import pytest

from nodeagent.addresses.fake import FakeAddresses
from nodeagent.addresses.plan import Link, Settings
from roost.frames import Mac
from tests.nodeagent.addresses.contract import DEVICE, AddressesContract, Stage

LINK = Link(DEVICE, 2, Mac.parse("02:00:00:00:00:01"), 1500, "veth", up=True)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def stage() -> Stage:
    time = Time()
    addresses = FakeAddresses(Settings(address_lifetime=2, address_refresh=1), [LINK], lambda: time.now)

    def route(gateway: str) -> None:
        hops = {ip_address(gateway), *addresses.next_hops.get(DEVICE, ())}
        addresses.next_hops[DEVICE] = tuple(sorted(hops, key=lambda hop: (hop.version, int(hop))))

    return Stage(addresses, time.pass_, route)


class TestFakeAddresses(AddressesContract):
    pass


async def test_changes_of_links_are_told() -> None:
    addresses = FakeAddresses(Settings(), [LINK], lambda: 0.0)
    told = list[tuple[Link, ...]]()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(addresses.watch(told.append))
        await asyncio.sleep(0)
        addresses.set_links([])
        for _ in range(3):
            await asyncio.sleep(0)
        watching.cancel()
    assert told == [(LINK,), ()]
