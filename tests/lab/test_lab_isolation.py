"""Nothing is left of a program that ran isolated, however it ended; and a build that is there is not made again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import build
from lab.probe import python_environment
from lab.run import run, wait_for

# isolate.run, not enter: the tests are isolated already, and this is another one within.
INNER = "from lab import isolate; import sys; isolate.run(sys.argv[1:])"


def isolated(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", INNER, *command], env=python_environment())


def sleeping(seconds: str) -> bool:
    """Whether a process sleeps that long; their number is the test's mark."""
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    return any(line.split(b"\0")[:2] == [b"sleep", seconds.encode()] for line in lines)


def test_the_status_of_the_program_is_passed_on() -> None:
    assert isolated("sh", "-c", "exit 7").wait(10) == 7
    assert isolated("sh", "-c", "kill -9 $$").wait(10) == 128 + 9


def test_the_network_inside_is_another() -> None:
    program = "ip netns add mine; ls /run/netns; ip -brief link"
    output = run([sys.executable, "-c", INNER, "sh", "-c", program], env=python_environment())
    assert output.split()[0] == "mine"
    assert len(output.splitlines()) == 2  # the namespace, and lo
    assert not Path("/run/netns/mine").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_all_is_gone_with_the_program(number: signal.Signals) -> None:
    mark = f"{1000 + number}.{os.getpid()}"
    inner = isolated("sh", "-c", f"setsid sleep {mark} & exec sleep {mark}")
    wait_for("it runs", lambda: sleeping(mark))
    inner.send_signal(number)
    assert inner.wait(10) != 0
    wait_for("nothing sleeps any more", lambda: not sleeping(mark), 10)


def test_what_is_built_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    there = build.ensure()
    monkeypatch.setenv("PATH", "/nowhere")  # no Go
    assert build.ensure() == there


def test_without_go_the_message_has_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(build, "ELSEWHERE", "/nowhere/go")
    with pytest.raises(build.BuildError, match=r"go is Go 1\.19: .*go\.dev/doc/install"):
        build.find_go()
    old.unlink()
    with pytest.raises(build.BuildError, match="Go is not installed: the lab builds"):
        build.find_go()
