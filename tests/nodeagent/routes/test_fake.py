"""Routes are kept in a table in memory as they are in the kernel."""

import pytest

from nodeagent.routes.fake import FakeTable
from nodeagent.routes.plan import Add, Delete, Missed, Route, RouteGone, RouteSeen
from tests.nodeagent.routes.contract import DEVICE, FOUR, OTHER, SETTINGS, SIX, RoutesContract, Stage, kept


@pytest.fixture
def table() -> FakeTable:
    return FakeTable(SETTINGS, [DEVICE, "eth1"])


@pytest.fixture
def stage(table: FakeTable) -> Stage:
    def make(route: Route) -> None:
        table.routes.add(route)
        table.tell(RouteSeen(route))

    def remove(route: Route) -> None:
        table.routes.remove(route)
        table.tell(RouteGone(route))

    def link_up() -> None:
        table.devices.add(DEVICE)
        table.tell(Missed())

    return Stage(lambda: table, make, remove, lambda: set(table.routes), lambda: table.drop(DEVICE), link_up)


class TestRoutesInMemory(RoutesContract):
    pass


async def test_what_was_lost_and_is_back_is_made_once_more(table: FakeTable, stage: Stage) -> None:
    """FRR may have missed that it is back; IPv6 needs nothing."""
    async with kept(stage) as keeper:
        await keeper.want(FOUR, SIX)
        table.done.clear()
        stage.remove(FOUR)
        stage.remove(SIX)
        await keeper.when(lambda: len(table.done) == 4)
        assert table.done == [Add(FOUR), Add(SIX), Delete(FOUR), Add(FOUR)]
        assert stage.shown() == {FOUR, SIX}


async def test_what_is_new_is_made_once(table: FakeTable, stage: Stage) -> None:
    async with kept(stage) as keeper:
        await keeper.want(FOUR)
        await keeper.want(FOUR, OTHER)
        await keeper.want(OTHER)
        await keeper.want(FOUR, OTHER)
        assert table.done == [Add(FOUR), Add(OTHER), Delete(FOUR), Add(FOUR)]
