"""A daemon is kept doing what is wanted, whatever happens to it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from nodeagent.bgp.alive import Alive
from nodeagent.bgp.apply import REREAD, Daemon
from nodeagent.bgp.client import Endpoint
from nodeagent.bgp.fake import FakeGobgpd
from nodeagent.bgp.steps import Have
from nodeagent.bgp.values import Attributes, Bfd, Prefix, Session, Speaker, Treatment, Want
from tests.fakes.clock import FakeClock

ONE = Session("one", ip_address("10.0.0.2"), 65002, 65001, password="s3cret", graceful_restart=30)
TWO = Session("two", ip_address("10.0.0.3"), 65003, 65001)
VIP, OTHER = ip_network("192.0.2.1/32"), ip_network("192.0.2.2/32")
PLAIN: Treatment = {ONE.key: Attributes(), TWO.key: Attributes()}
SPEAKER = Speaker(65001, ip_address("10.0.0.1"))  # type: ignore[arg-type]
WANT = Want(SPEAKER, {ONE.key: ONE}, {VIP: PLAIN})


@dataclass
class FakeRouters:
    """Routers by interface."""

    seen: dict[str, str] = field(default_factory=dict)

    async def find(self, interface: str) -> str | None:
        return self.seen.get(interface)


class FakeAlive(Alive):
    """Restarts the daemon when it is asked to."""

    def __init__(self, gobgpd: FakeGobgpd, clock: FakeClock) -> None:
        super().__init__(Path("/nowhere"), clock, lambda: False)
        self.gobgpd, self.asked = gobgpd, 0

    def restart(self) -> bool:
        self.asked += 1
        self.gobgpd.die()
        self.gobgpd.come_back()
        return True


class Stage:
    """A daemon in memory, the agent's end of it, and the time."""

    def __init__(self, where: Endpoint, version: int = 3) -> None:
        self.gobgpd, self.clock, self.routers = FakeGobgpd(version=version), FakeClock(), FakeRouters()
        self.keeper = FakeAlive(self.gobgpd, self.clock)
        self.said = 0
        self.daemon = Daemon(
            where,
            self.clock,
            self.changed,
            connect=self.gobgpd.connect,
            routers=self.routers,
            alive=self.keeper,
        )

    def changed(self) -> None:
        self.said += 1

    async def pass_(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        await self.clock.advance(seconds)

    def states(self) -> list[tuple[str, str]]:
        return [(session.key, session.state) for session in self.daemon.sessions()]


@asynccontextmanager
async def running(where: Endpoint, want: Want | None = WANT, *, version: int = 3) -> AsyncIterator[Stage]:
    stage = Stage(where, version)
    task = asyncio.ensure_future(stage.daemon.run())
    if want is not None:
        stage.daemon.want(want, complete=True)
    await stage.pass_()
    yield stage
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def where(tmp_path: Path) -> Endpoint:
    socket = tmp_path / "gobgpd.sock"
    socket.touch()
    return Endpoint(f"unix://{socket}")


async def test_what_is_wanted_is_done_and_said(where: Endpoint) -> None:
    async with running(where) as stage:
        assert set(stage.gobgpd.heard(ONE.key)) == stage.daemon.announced() == {VIP}
        assert stage.states() == [(ONE.key, "Established")]
        assert (stage.daemon.problem, stage.daemon.refused()) == (None, ())
        assert stage.said


async def test_a_vip_more_and_a_vip_less_do_not_wait(where: Endpoint) -> None:
    async with running(where) as stage:
        stage.daemon.want(replace(WANT, paths={VIP: PLAIN, OTHER: PLAIN}), complete=True)
        await stage.pass_()
        assert stage.daemon.announced() == set(stage.gobgpd.heard(ONE.key)) == {VIP, OTHER}
        stage.daemon.want(replace(WANT, paths={OTHER: PLAIN}), complete=True)
        await stage.pass_()
        assert stage.daemon.announced() == set(stage.gobgpd.heard(ONE.key)) == {OTHER}


async def test_the_same_want_again_does_nothing(where: Endpoint) -> None:
    async with running(where) as stage:
        calls = len(stage.gobgpd.calls)
        stage.daemon.want(replace(WANT), complete=True)
        await stage.pass_(REREAD * 3)
        assert len(stage.gobgpd.calls) == calls


async def test_an_agent_that_starts_again_changes_nothing(where: Endpoint) -> None:
    async with running(where) as stage:
        stage.gobgpd.calls.clear()
        again = Daemon(where, stage.clock, lambda: None, connect=stage.gobgpd.connect)
        task = asyncio.ensure_future(again.run())
        await stage.pass_(60)
        again.want(Want(SPEAKER), complete=False)  # it has not seen everything yet
        await stage.pass_(60)
        again.want(WANT, complete=True)
        await stage.pass_(60)
        assert stage.gobgpd.calls == []
        assert again.announced() == {VIP}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_daemon_that_died_gets_everything_back(where: Endpoint) -> None:
    async with running(where) as stage:
        stage.gobgpd.die()
        await stage.pass_()
        assert stage.daemon.problem == "gobgpd is away"
        assert (stage.daemon.announced(), stage.states()) == (frozenset(), [(ONE.key, "Idle")])
        await stage.pass_(100)
        stage.gobgpd.come_back()
        await stage.pass_(0.3)
        assert stage.daemon.problem is None
        assert (stage.daemon.announced(), stage.states()) == ({VIP}, [(ONE.key, "Established")])
        assert stage.gobgpd.routers[ONE.key].updates.count((VIP, None)) == 0  # the router kept it


async def test_a_daemon_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    async with running(Endpoint(f"unix://{tmp_path}/none.sock")) as stage:
        assert "roost-gobgpd" in (stage.daemon.problem or "")
        said = stage.said
        await stage.pass_(100)
        assert stage.said == said  # once
        (tmp_path / "none.sock").touch()
        await stage.pass_(0.3)
        assert stage.daemon.announced() == {VIP}


async def test_without_anything_wanted_nobody_connects(where: Endpoint) -> None:
    async with running(where, None) as stage:
        await stage.pass_(100)
        assert stage.gobgpd.connections == 0


async def test_what_a_former_agent_left_goes_once_nothing_is_wanted(where: Endpoint) -> None:
    async with running(where) as stage:
        stage.daemon.want(Want(), complete=False)
        await stage.pass_(100)
        assert stage.gobgpd.heard(ONE.key)
        stage.daemon.want(Want(), complete=True)
        await stage.pass_()
        assert (stage.gobgpd.heard(ONE.key), stage.gobgpd.peers, stage.daemon.sessions()) == ({}, {}, ())


@pytest.mark.parametrize("what", ["a path that went", "a path too many", "rules", "a session that went"])
async def test_what_others_changed_by_hand_is_repaired(where: Endpoint, what: str) -> None:
    async with running(where) as stage:
        before = await have(stage)
        match what:
            case "a path that went":
                stage.gobgpd.paths.clear()
            case "a path too many":
                stage.gobgpd.paths[OTHER] = "0:1:1"
            case "rules":
                stage.gobgpd.rules = None
            case _:
                stage.gobgpd.peers.clear()
        assert await have(stage) != before
        await stage.pass_(REREAD * 1.1)
        assert await have(stage) == before


async def have(stage: Stage) -> Have:
    async with stage.gobgpd.connect(Endpoint()) as client:
        return await client.have()


async def test_a_session_that_vanishes_under_our_eyes_is_back_at_once(where: Endpoint) -> None:
    async with running(where) as stage:
        stage.gobgpd.peers.clear()
        stage.gobgpd.move()
        await stage.pass_(1)
        assert stage.states() == [(ONE.key, "Established")]


async def test_a_session_that_is_not_taken_leaves_the_others_alone(where: Endpoint) -> None:
    async with running(where, None) as stage:
        stage.gobgpd.refuses[TWO.key] = "no such interface"
        stage.daemon.want(replace(WANT, sessions={ONE.key: ONE, TWO.key: TWO}), complete=True)
        await stage.pass_()
        assert stage.states() == [(ONE.key, "Established"), (TWO.key, "Idle")]
        (refused,) = stage.daemon.refused()
        assert (refused.key, refused.whole) == (TWO.key, True)
        assert "no such interface" in refused.reason
        assert "no such interface" in stage.daemon.sessions()[1].last_error
        stage.gobgpd.refuses.clear()
        await stage.pass_(2)
        assert stage.states() == [(ONE.key, "Established"), (TWO.key, "Established")]
        assert stage.daemon.refused() == ()


async def test_a_router_of_our_own_as_where_another_is_asked_for_is_left_and_tried_again(where: Endpoint) -> None:
    anybody = replace(TWO, asn=None)
    async with running(where, None) as stage:
        stage.gobgpd.asns[TWO.key] = TWO.local_asn
        stage.daemon.want(replace(WANT, sessions={ONE.key: ONE, TWO.key: anybody}), complete=True)
        await stage.pass_()
        for _ in range(10):
            await stage.pass_(1)
            assert stage.states() == [(ONE.key, "Established"), (TWO.key, "Idle")]
            assert "own AS" in stage.daemon.sessions()[1].last_error
            assert [refused.key for refused in stage.daemon.refused()] == [TWO.key]
        assert stage.gobgpd.calls.count(f"add_peer {TWO.key}") == 1
        stage.gobgpd.asns.clear()
        await stage.pass_(31)
        await stage.pass_(2)
        assert stage.states() == [(ONE.key, "Established"), (TWO.key, "Established")]
        assert stage.daemon.refused() == ()


async def test_bfd_where_there_is_none_is_refused_and_the_session_runs(where: Endpoint) -> None:
    fast = replace(ONE, bfd=Bfd())
    async with running(where, replace(WANT, sessions={ONE.key: fast})) as stage:
        (refused,) = stage.daemon.refused()
        assert not refused.whole
        assert "4.5" in refused.reason
        assert stage.states() == [(ONE.key, "Established")]


async def test_bfd_where_there_is_one_is_not(where: Endpoint) -> None:
    async with running(where, replace(WANT, sessions={ONE.key: replace(ONE, bfd=Bfd())}), version=4) as stage:
        assert stage.daemon.refused() == ()


async def test_an_unnumbered_session_begins_once_its_router_is_seen(where: Endpoint) -> None:
    fabric = Session("fabric", None, None, 65001, interface="eth1")
    async with running(where, Want(SPEAKER, {"eth1": fabric}, {VIP: {"eth1": Attributes()}})) as stage:
        (refused,) = stage.daemon.refused()
        assert "eth1" in refused.key
        stage.routers.seen["eth1"] = "fe80::1%eth1"
        await stage.pass_(2)
        assert stage.states() == [("eth1", "Established")]
        assert set(stage.gobgpd.heard("fe80::1%eth1")) == {VIP}
        stage.routers.seen.clear()  # the kernel forgot the neighbour; the session lives
        await stage.pass_(REREAD * 2)
        assert stage.states() == [("eth1", "Established")]


@pytest.mark.parametrize("version", [3, 4])
async def test_another_router_id_begins_anew(where: Endpoint, version: int) -> None:
    async with running(where, version=version) as stage:
        other = Speaker(65001, ip_address("10.0.0.9"))  # type: ignore[arg-type]
        stage.daemon.want(replace(WANT, speaker=other), complete=True)
        await stage.pass_(1)
        assert stage.gobgpd.speaker == other
        assert stage.daemon.announced() == {VIP}
        assert stage.keeper.asked == (1 if version == 4 else 0)


async def test_while_paths_are_read_again_they_are_still_announced(where: Endpoint) -> None:
    async with running(where) as stage:
        seen: list[frozenset[Prefix]] = []

        async def look() -> None:
            while True:
                seen.append(stage.daemon.announced())
                await asyncio.sleep(0)

        looking = asyncio.ensure_future(look())
        await stage.pass_(REREAD * 3)
        looking.cancel()
        assert set(seen) == {frozenset({VIP})}


async def test_a_daemon_that_says_no_to_everything_is_not_asked_all_the_time(where: Endpoint) -> None:
    async with running(where, None, version=4) as stage:
        stage.gobgpd.speaker, stage.gobgpd.stopped = SPEAKER, True
        stage.daemon._alive = Alive(Path("/nowhere"), stage.clock, lambda: False)  # and nobody restarts it
        stage.daemon.want(WANT, complete=True)
        await stage.pass_(60)
        assert stage.gobgpd.connections < 30
        assert "please restart it" in (stage.daemon.problem or "")


async def test_no_password_is_ever_logged(where: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with running(where) as stage:
        stage.daemon.want(replace(WANT, sessions={ONE.key: replace(ONE, password="an0ther")}), complete=True)
        await stage.pass_(1)
        stage.gobgpd.die()
        await stage.pass_(1)
        assert caplog.text
        assert not [
            word for word in ("s3cret", "an0ther") if word in caplog.text or word in repr(stage.daemon.sessions())
        ]


def test_grpc_is_not_loaded_before_it_is_needed() -> None:
    program = "import sys, nodeagent.bgp.apply; sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
