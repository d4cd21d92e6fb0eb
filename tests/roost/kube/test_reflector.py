"""A reflector keeps its copy right whatever the API server does, and never storms it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roost.kube.client import Denied
from roost.kube.reflector import Reflector
from roost.kube.wire import LEASES, VIRTUALIPS, Lease, LeaseSpec, Meta
from tests.fakes.api import FakeApi, Fault, Refuse
from tests.fakes.clock import FakeClock, settle

Said = list[tuple[str, str | None, str | None]]


class Watched:
    """A reflector of Leases, and what it said: (key, old holder, new holder)."""

    def __init__(self, api: FakeApi, **where: str) -> None:
        self.api, self.clock = api, FakeClock()
        self.said: Said = []
        self.reflector: Reflector[Lease] = Reflector(
            api.kube(), LEASES, self._changed, self.clock, chance=lambda: 0.5, **where
        )

    def _changed(self, key: str, old: Lease | None, new: Lease | None) -> None:
        self.said.append((key, holder(old), holder(new)))

    def news(self) -> Said:
        said, self.said = self.said, []
        return said

    @property
    def watches(self) -> int:
        return sum(("watch", "true") in request.query for request in self.api.requests)

    @property
    def lists(self) -> int:
        return len(self.api.requests) - self.watches


def holder(lease: Lease | None) -> str | None:
    return None if lease is None else lease.spec.holder_identity


def put(api: FakeApi, name: str, holder_: str, **labels: str) -> Lease:
    meta = Meta(name=name, namespace="ns", labels=labels)
    return api.put(LEASES, Lease(metadata=meta, spec=LeaseSpec(holder_identity=holder_)))


@contextlib.asynccontextmanager
async def running(watched: Watched) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(watched.reflector.run())
    await settle()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_lists_then_follows() -> None:
    api = FakeApi()
    put(api, "a", "1")
    watched = Watched(api)
    async with running(watched):
        assert watched.reflector.synced.is_set()
        assert watched.news() == [("ns/a", None, "1")]
        put(api, "b", "1")
        put(api, "a", "2")
        api.remove(LEASES, "b", namespace="ns")
        await settle()
        assert watched.news() == [("ns/b", None, "1"), ("ns/a", "1", "2"), ("ns/b", "1", None)]
        assert set(watched.reflector.items) == {"ns/a"}
        assert watched.reflector.resource_version == str(api.server.version)
    assert (watched.lists, watched.watches) == (1, 1)


async def test_a_list_in_pages_is_one_list() -> None:
    api = FakeApi()
    api.pages(2)
    for number in range(7):
        put(api, f"l{number}", "1")
    watched = Watched(api)
    async with running(watched):
        assert len(watched.reflector.items) == 7


async def test_a_broken_watch_goes_on_where_it_was() -> None:
    api = FakeApi()
    put(api, "a", "1")
    watched = Watched(api)
    async with running(watched):
        watched.news()
        api.break_watches()
        await settle()
        put(api, "a", "2")
        api.remove(LEASES, "a", namespace="ns")
        await watched.clock.advance(1)
        assert watched.news() == [("ns/a", "1", "2"), ("ns/a", "2", None)]
    assert watched.lists == 1


async def test_after_410_only_differences_are_said() -> None:
    api = FakeApi()
    for name in "abc":
        put(api, name, "1")
    watched = Watched(api)
    async with running(watched):
        watched.news()
        api.break_watches()
        await settle()
        put(api, "b", "2")
        api.remove(LEASES, "c", namespace="ns")
        put(api, "d", "1")
        api.forget()
        await watched.clock.advance(2)
        assert watched.news() == [("ns/b", "1", "2"), ("ns/d", None, "1"), ("ns/c", "1", None)]
        put(api, "d", "2")
        await settle()
        assert watched.news() == [("ns/d", "1", "2")]
    assert watched.lists == 2


async def test_a_bookmark_spares_the_next_list() -> None:
    api = FakeApi()
    put(api, "a", "1")
    watched = Watched(api)
    async with running(watched):
        api.forget()
        api.bookmark()
        await settle()
        api.break_watches()
        await watched.clock.advance(1)
        put(api, "a", "2")
        await settle()
        assert holder(watched.reflector.items["ns/a"]) == "2"
    assert (watched.lists, watched.watches) == (1, 2)


async def test_a_bookmark_of_the_past_does_not_turn_the_clock_back(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    put(api, "a", "1")
    watched = Watched(api)
    monkeypatch.setattr(api, "_quiet", lambda target, at: 1)
    async with running(watched):
        before = watched.reflector.resource_version
        api.bookmark()
        await settle()
        assert watched.reflector.resource_version == before


@pytest.mark.parametrize("down", [True, "hangs"])
async def test_while_the_server_is_away_what_was_known_stays(down: Any) -> None:
    api = FakeApi()
    put(api, "a", "1")
    watched = Watched(api)
    async with running(watched) as task:
        watched.news()
        api.down = down
        api.break_watches()
        await watched.clock.advance(600)
        assert not task.done()
        assert set(watched.reflector.items) == {"ns/a"}
        assert watched.news() == []
        assert watched.watches < 600 / 2.5 + 10
        if down == "hangs":  # the client's own time-out ends that; the fake hangs for good
            return
        api.down = False
        await watched.clock.advance(5)
        put(api, "a", "2")
        await settle()
        assert watched.news() == [("ns/a", "1", "2")]


@pytest.mark.parametrize("busy", [False, True])
async def test_a_server_that_ends_every_watch_is_not_stormed(busy: bool) -> None:
    api = FakeApi()
    put(api, "a", "0")
    api.ends_watches = True
    watched = Watched(api)
    async with running(watched):
        for number in range(600):
            if busy:
                put(api, "a", str(number))
            await watched.clock.advance(0.1)
    assert watched.watches <= 25  # in a minute
    assert watched.lists == 1


async def test_a_server_that_expires_everything_is_not_stormed() -> None:
    api = FakeApi()
    watched = Watched(api)
    async with running(watched):
        for _ in range(600):
            api.forget()
            api.fail(Refuse(410, "Expired"), "WATCH")
            await watched.clock.advance(0.1)
    assert len(api.requests) <= 60


async def test_a_missing_right_is_raised_and_nothing_is_lost() -> None:
    api = FakeApi()
    put(api, "a", "1")
    watched = Watched(api)
    async with running(watched) as task:
        watched.news()
        api.fail(Refuse(403, "Forbidden", 'User "x" cannot watch'), "WATCH")
        api.break_watches()
        await watched.clock.advance(2)
        assert isinstance(task.exception(), Denied)
        assert "apply the chart's roles" in str(task.exception())
    assert set(watched.reflector.items) == {"ns/a"}
    async with running(watched):
        assert watched.news() == []
        assert watched.reflector.synced.is_set()


async def test_a_missing_crd_is_named_with_its_remedy() -> None:
    api = FakeApi(served=[LEASES])
    reflector = Reflector(api.kube(), VIRTUALIPS, lambda *_: None, FakeClock())
    with pytest.raises(Denied, match=r"virtualips.roost.dev: the API server has no .* apply the CRDs"):
        await reflector.run()


async def test_selectors_follow_what_enters_and_leaves_them() -> None:
    api = FakeApi()
    watched = Watched(api, namespace="ns", labels="x=1")
    async with running(watched):
        put(api, "a", "1")
        put(api, "a", "2", x="1")
        put(api, "a", "3")
        await settle()
        assert watched.news() == [("ns/a", None, "2"), ("ns/a", "2", None)]


async def test_an_object_that_does_not_fit_is_left_as_it_was_known(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    put(api, "a", "1")
    put(api, "b", "1")
    watched = Watched(api)
    async with running(watched):
        watched.news()
        broken = api.server.objects["leases", "ns", "a"]
        broken["spec"] = {"holderIdentity": 7}
        put(api, "b", "2")
        api.break_watches()
        api.forget()
        await watched.clock.advance(2)
        assert watched.news() == [("ns/b", "1", "2")]
        assert holder(watched.reflector.items["ns/a"]) == "1"
    assert "Lease ns/a does not fit" in caplog.text


async def test_a_recreated_object_is_told_even_if_unseen() -> None:
    api = FakeApi()
    put(api, "a", "1")
    watched = Watched(api)
    async with running(watched):
        watched.news()
        api.break_watches()
        await settle()
        old = watched.reflector.items["ns/a"]
        api.remove(LEASES, "a", namespace="ns")
        put(api, "a", "1")
        api.forget()
        await watched.clock.advance(2)
        assert watched.news() == [("ns/a", "1", "1")]
        assert watched.reflector.items["ns/a"].metadata.uid != old.metadata.uid


async def test_the_first_list_is_tried_until_it_works() -> None:
    api = FakeApi()
    put(api, "a", "1")
    api.fail(Fault.LOST, "GET", LEASES, times=3)
    watched = Watched(api)
    async with running(watched):
        assert not watched.reflector.synced.is_set()
        await watched.clock.advance(10)
        assert watched.news() == [("ns/a", None, "1")]
