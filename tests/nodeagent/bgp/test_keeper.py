"""The keeper of gobgpd, with programs that stand in for it; the real one is in tests/lab."""

import asyncio
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodeagent.bgp import keeper
from nodeagent.bgp.alive import Alive
from nodeagent.bgp.orders import ANEW, GIVE, REST
from tests.fakes.clock import FakeClock

PATIENCE = 20.0  # seconds
STAND_IN = """#!/bin/sh
echo $$ >> {place}/began
trap 'echo term >> {place}/ended; exit 0' TERM
while :; do sleep 0.05; done
"""


class Stage:
    """A keeper that runs, and what became of its children."""

    def __init__(self, place: Path, *arguments: str) -> None:
        self.place, self.socket = place, place / "run" / "keeper.sock"
        program = place / "gobgpd"
        program.write_text(STAND_IN.format(place=place))
        program.chmod(0o755)
        command = [sys.executable, "-m", "nodeagent.bgp.keeper", "--gobgpd", str(program), "--socket", str(self.socket)]
        self.process = subprocess.Popen(
            [*command, "--api", f"unix://{place}/run/gobgpd.sock", *arguments], stderr=subprocess.PIPE, text=True
        )

    def began(self) -> list[int]:
        file = self.place / "began"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def said_goodbye(self) -> int:
        file = self.place / "ended"
        return len(file.read_text().split()) if file.exists() else 0

    def agent(self) -> socket.socket:
        agent = socket.socket(socket.AF_UNIX)
        agent.connect(str(self.socket))
        return agent


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def unread(agent: socket.socket) -> int:
    """Bytes that nobody read yet (SIOCOUTQ, unix(7))."""
    return int(struct.unpack("i", fcntl.ioctl(agent, termios.TIOCOUTQ, bytes(4)))[0])


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@contextmanager
def running(place: Path, *arguments: str) -> Iterator[Stage]:
    stage = Stage(place, *arguments)
    try:
        until(lambda: len(stage.began()) == 1 and stage.socket.exists(), "gobgpd began")
        yield stage
    finally:
        stage.process.kill()
        stage.process.communicate()
        for pid in stage.began():
            until(lambda pid=pid: not lives(pid), "nothing is left")  # type: ignore[misc]


def test_gobgpd_that_dies_is_started_again(tmp_path: Path) -> None:
    with running(tmp_path) as stage:
        for number in (1, 2, 3):
            os.kill(stage.began()[-1], signal.SIGKILL)
            until(lambda number=number: len(stage.began()) == number + 1, "it began again")  # type: ignore[misc]


def test_gobgpd_never_outlives_its_keeper(tmp_path: Path) -> None:
    with running(tmp_path) as stage:
        stage.process.kill()
        until(lambda: not lives(stage.began()[0]), "gobgpd died too")


def test_without_a_living_agent_gobgpd_ends_its_sessions_until_one_is_back(tmp_path: Path) -> None:
    with running(tmp_path, "--lifetime", "0.5") as stage:
        until(lambda: stage.said_goodbye() == 1, "gobgpd was ended")
        assert len(stage.began()) == 1
        with stage.agent() as agent:
            agent.send(GIVE)
            until(lambda: len(stage.began()) == 2, "gobgpd began again")


def test_a_living_agent_keeps_gobgpd_going(tmp_path: Path) -> None:
    with running(tmp_path, "--lifetime", "0.6") as stage, stage.agent() as agent:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            agent.send(GIVE)
            time.sleep(0.05)
        assert stage.said_goodbye() == 0


def test_an_agent_asks_for_a_new_gobgpd(tmp_path: Path) -> None:
    with running(tmp_path) as stage, stage.agent() as agent:
        deadline = time.monotonic() + PATIENCE
        while len(stage.began()) < 2:
            assert time.monotonic() < deadline
            agent.send(ANEW)
            time.sleep(0.1)


def test_told_to_end_it_has_gobgpd_say_goodbye(tmp_path: Path) -> None:
    with running(tmp_path) as stage:
        stage.process.terminate()
        assert stage.process.wait(PATIENCE) == 0
        assert stage.said_goodbye() == 1


def test_told_to_end_while_an_agent_gives_it_waits_for_the_agent(tmp_path: Path) -> None:
    with running(tmp_path) as stage:
        agent = stage.agent()
        agent.send(GIVE)
        stage.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            stage.process.wait(0.5)
        assert lives(stage.began()[0])
        agent.close()
        assert stage.process.wait(PATIENCE) == 0
        assert stage.said_goodbye() == 1


def test_told_to_end_while_an_agent_rests_it_kills_gobgpd_without_a_word(tmp_path: Path) -> None:
    with running(tmp_path) as stage, stage.agent() as agent:
        agent.send(REST)
        until(lambda: not unread(agent), "it is heard")
        stage.process.terminate()
        assert stage.process.wait(PATIENCE) == 0
        assert stage.said_goodbye() == 0
        assert not lives(stage.began()[0])


def test_a_program_that_is_not_there_is_named_with_its_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert keeper.main(["--gobgpd", "/nowhere/gobgpd"]) == 1
    assert "package is gobgpd" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--lifetime", "0"], ["--lifetime", "soon"], ["--nonsense"]])
def test_what_makes_no_sense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        keeper.main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        keeper.main(["--help"])
    assert ended.value.code == 0
    assert "--lifetime" in capsys.readouterr().out


# -- the agent's end --------------------------------------------------------------------------------------------------


async def test_an_agent_says_every_second_that_it_lives(tmp_path: Path) -> None:
    clock, rests = FakeClock(), False
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "keeper.sock"))
        alive = Alive(tmp_path / "keeper.sock", clock, lambda: rests)
        assert not alive.restart()  # nobody listens yet
        listener.listen()
        task = asyncio.ensure_future(alive.run())
        await clock.advance(2.5)
        rests = True
        await clock.advance(1)
        assert alive.restart()
        keeper_end, _ = listener.accept()
        with keeper_end:
            assert keeper_end.recv(100) == GIVE * 3 + REST + ANEW
        await clock.advance(5)  # the keeper went, and nothing breaks
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
