"""Commands, long-running programs with their logs, and waiting for conditions with a deadline."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TAIL = 30  # lines of a log that an error shows


class LabError(Exception):
    """Something of the lab did not do what it should; the message has the end of its log."""


def run(command: Sequence[str], *, text: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run *command* to its end, with *text* as its input, and return what it printed. Raises LabError."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env=None if env is None else {**env}
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def cpu_of(pid: int) -> float:
    """Seconds of CPU that process *pid* has used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int, kind: str = "Pss") -> int:
    """Bytes of memory of process *pid*: its share (Pss), or what it shares with others included (Rss; proc(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))


def children(pid: int) -> list[int]:
    """The processes that any thread of *pid* started and that live (proc(5)); none if it is gone."""
    found = list[int]()
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return found
    return sorted(found)


class Process:
    """A program of the lab that runs until it is stopped; what it prints goes to a file."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.command = tuple(command)
        self.log_file = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if env is None else {**env},
                start_new_session=True,  # Ctrl-C at the terminal is for the driver, which decides what stops when
            )

    def __repr__(self) -> str:
        return f"<Process {self.name} {self.pid}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended; a stopped (SIGSTOP) program runs."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """None while it runs; -n if signal n ended it."""
        return self._process.poll()

    def log(self) -> str:
        """All that it printed so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def tail(self, lines: int = TAIL) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def pids(self) -> list[int]:
        """Its own number and those of the processes below it that live."""
        return [self.pid]

    def cpu(self) -> float:
        """Seconds of CPU that it has used with all that live below it; those that ended are not included (proc(5))."""
        return sum(cpu_of(pid) for pid in self.pids())

    def memory(self) -> int:
        """Bytes of memory that are its own share, and of all below it (PSS, proc(5))."""
        return sum(memory_of(pid) for pid in self.pids())

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    def sigterm(self) -> None:
        self.signal(signal.SIGTERM)

    def sigkill(self) -> None:
        """Kill it, and return when it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def sigstop(self) -> None:
        self.signal(signal.SIGSTOP)

    def sigcont(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, seconds: float = 15) -> int:
        """Wait for its end and return its code. Raises LabError when it takes longer than *seconds*."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} has not ended after {seconds:g} s; its log ends:\n{self.tail()}") from None

    def stop(self, seconds: float = 15) -> int:
        """SIGTERM and wait for the end."""
        self.sigcont()
        self.sigterm()
        return self.wait(seconds)


def wait_for(
    what: str,
    condition: Callable[[], T | None],
    seconds: float = 30,
    *,
    alive: Iterable[Process] = (),
    every: float = 0.02,
) -> T:
    """Ask *condition* every *every* seconds until its answer is true, and return that.

    Raises LabError after *seconds*, or at once when a program of *alive* ends meanwhile.
    """
    watched, deadline = tuple(alive), time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        for process in watched:
            if not process.running:
                raise LabError(
                    f"{process.name} ended ({process.returncode}) while the lab waited: {what}\n{process.tail()}"
                )
        if time.monotonic() > deadline:
            logs = "".join(f"\n{process.name} says:\n{process.tail()}" for process in watched)
            raise LabError(f"not within {seconds:g} s: {what}{logs}")
        time.sleep(every)


def kill_all_in(netns: str) -> None:
    """SIGKILL every process of the network namespace *netns*, as pulling the plug does; no namespace, no process."""
    namespace = Path(f"/run/netns/{netns}")
    if not namespace.exists():
        return
    inode = namespace.stat().st_ino
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "ns/net").stat().st_ino == inode:
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
