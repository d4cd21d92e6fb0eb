"""What keeps routes does, over a table in memory and over the kernel's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from nodeagent.routes.apply import Routes, Table
from nodeagent.routes.plan import BOOT, Address, Kind, Route, Settings
from roost.process import RealClock

DEVICE = "eth0"
SETTINGS = Settings()
STATIC = 4  # RTPROT_STATIC
PATIENCE = 10.0  # seconds


def route(vip: str) -> Route:
    prefix = ip_network(vip)
    return Route(prefix, DEVICE, 198, 248, 1024 if prefix.version == 6 else 0)


FOUR, OTHER, SIX = route("192.0.2.1"), route("192.0.2.2"), route("2001:db8::1")


@dataclass
class Stage:
    """A node with the link `eth0`, and ways to meddle: other programs make and remove routes, the link comes and goes.

    *shown*: all routes of table 198, whoever made them.
    """

    table: Callable[[], Table]
    make: Callable[[Route], None]
    remove: Callable[[Route], None]
    shown: Callable[[], set[Route]]
    link_down: Callable[[], None]
    link_up: Callable[[], None]


@dataclass
class Kept:
    """Routes that are kept, and waiting for them."""

    routes: Routes
    woken: asyncio.Event

    async def when(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.woken.clear()
                with_timeout = asyncio.wait_for(self.woken.wait(), 0.05)
                await asyncio.gather(with_timeout, return_exceptions=True)

    async def want(self, *routes: Route, complete: bool = True) -> None:
        self.routes.want(frozenset(routes), complete=complete)
        await self.when(lambda: self.routes.settled)


@asynccontextmanager
async def kept(stage: Stage, settings: Settings = SETTINGS) -> AsyncIterator[Kept]:
    woken = asyncio.Event()
    routes = Routes(settings, RealClock(), woken.set, stage.table())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(routes.run())
        yield Kept(routes, woken)
        running.cancel()


class RoutesContract:
    """Classes that inherit this give a fixture `stage`."""

    async def test_routes_come_and_go(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            await keeper.want(FOUR, SIX)
            assert stage.shown() == {FOUR, SIX} == keeper.routes.present()
            await keeper.want(OTHER)
            assert stage.shown() == {OTHER}
            await keeper.want()
            assert stage.shown() == set() == keeper.routes.present()

    async def test_a_former_lifes_routes_stay_until_all_is_listed(self, stage: Stage) -> None:
        """A program that starts knows nothing yet: what it finds with its mark is not its to remove."""
        stage.make(FOUR)
        stage.make(OTHER)
        async with kept(stage) as keeper:
            await keeper.want(complete=False)
            assert stage.shown() == {FOUR, OTHER} == keeper.routes.present()
            await keeper.want(FOUR, complete=False)
            assert stage.shown() == {FOUR, OTHER}
            await keeper.want(FOUR)
            assert stage.shown() == {FOUR}

    async def test_routes_outlive_the_program(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            await keeper.want(FOUR, SIX)
        assert stage.shown() == {FOUR, SIX}

    async def test_it_is_told_when_what_is_wanted_is_there_already(self, stage: Stage) -> None:
        stage.make(FOUR)
        async with kept(stage) as keeper:
            await keeper.when(lambda: keeper.routes.present() == {FOUR})
            keeper.woken.clear()
            keeper.routes.want({FOUR}, complete=True)
            assert not keeper.routes.settled
            async with asyncio.timeout(PATIENCE):
                await keeper.woken.wait()
            assert keeper.routes.settled

    async def test_clear_takes_them_along(self, stage: Stage) -> None:
        static = replace(OTHER, protocol=STATIC)
        stage.make(static)
        async with kept(stage) as keeper:
            await keeper.want(FOUR, SIX)
        await Routes(SETTINGS, RealClock(), lambda: None, stage.table()).clear()
        assert stage.shown() == {static}

    async def test_what_somebody_removes_is_back(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            await keeper.want(FOUR, SIX)
            for each in (FOUR, SIX):
                stage.remove(each)
                await keeper.when(lambda: stage.shown() == {FOUR, SIX})

    async def test_what_a_link_takes_along_is_back_with_it(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            await keeper.want(FOUR, SIX)
            stage.link_down()
            await keeper.when(lambda: set(keeper.routes.problems) == addresses(FOUR, SIX))
            assert stage.shown() == set()
            stage.link_up()
            await keeper.when(lambda: stage.shown() == {FOUR, SIX} and not keeper.routes.problems)

    async def test_another_programs_route_is_left_alone_and_told(self, stage: Stage) -> None:
        static = [replace(each, protocol=STATIC) for each in (FOUR, SIX)]
        for each in static:
            stage.make(each)
        async with kept(stage) as keeper:
            await keeper.want(FOUR, OTHER, SIX)
            assert stage.shown() == {*static, OTHER}
            assert set(keeper.routes.problems) == addresses(FOUR, SIX)
            assert "another program has a route to 192.0.2.1/32" in keeper.routes.problems[ip_address("192.0.2.1")]
            for each in static:
                stage.remove(each)
            await keeper.when(lambda: stage.shown() == {FOUR, OTHER, SIX} and not keeper.routes.problems)

    async def test_a_route_of_protocol_boot_is_taken_over(self, stage: Stage) -> None:
        for each in (FOUR, SIX):
            stage.make(replace(each, protocol=BOOT))
        async with kept(stage) as keeper:
            await keeper.want(FOUR, SIX)
            assert stage.shown() == {FOUR, SIX}
            assert not keeper.routes.problems

    async def test_a_route_of_ours_on_another_device_moves(self, stage: Stage) -> None:
        for each in (FOUR, SIX):
            stage.make(replace(each, device="eth1"))
        async with kept(stage) as keeper:
            await keeper.want(FOUR, SIX)
            assert stage.shown() == {FOUR, SIX}

    async def test_routes_of_type_local(self, stage: Stage) -> None:
        local = [replace(each, kind=Kind.LOCAL) for each in (FOUR, SIX)]
        async with kept(stage) as keeper:
            await keeper.want(*local)
            assert stage.shown() == set(local)
            await keeper.want(FOUR, SIX)
            assert stage.shown() == {FOUR, SIX}
            await keeper.want()
            assert stage.shown() == set()

    async def test_a_device_that_is_not_there_hinders_no_other(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            await keeper.want(FOUR, replace(OTHER, device="missing"), replace(SIX, device=""))
            assert stage.shown() == {FOUR}
            assert set(keeper.routes.problems) == addresses(OTHER, SIX)


def addresses(*routes: Route) -> set[Address]:
    return {each.prefix.network_address for each in routes}
