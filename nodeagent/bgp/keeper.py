"""roost-gobgpd: starts gobgpd, starts it again when it dies, and ends it when no agent has been alive for a while.

Nothing but the standard library, so that it costs little and outlives whatever befalls the agent. The agent is a client
of its socket and sends a byte a second: REST or GIVE (what to do with gobgpd when this program is told to end), or ANEW
(restart gobgpd). Routers must not send to a node on which nobody minds the paths: after the lifetime without a byte
gobgpd gets SIGTERM, upon which it closes its sessions with a NOTIFICATION, and routers drop its paths at once, whatever
graceful restart was agreed on (RFC 4724, section 4).
"""

import argparse
import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodeagent.bgp.orders import ANEW, REST, SOCKET

API = "unix:///run/roost/gobgpd.sock"
LIFETIME = 30.0  # seconds
DELAYS = (0.0, 0.2, 1.0, 2.0, 5.0)  # seconds between a death of gobgpd and the next start
WORKED = 10.0  # seconds after which one that died is taken to have worked: the next comes at once
ENDING = 5.0  # seconds from SIGTERM to SIGKILL
LEAVING = 15.0  # seconds that the agent has to leave, once this program is told to end
TICK = 0.1  # seconds
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    api: str = API
    socket: str = SOCKET
    lifetime: float = LIFETIME
    gobgpd: str = "gobgpd"
    arguments: tuple[str, ...] = ()


def say(text: str) -> None:
    print(f"roost-gobgpd: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the program's log


class Gobgpd:
    """The process of gobgpd, one after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._libc = ctypes.CDLL(None)
        self.began = 0.0
        self._deaths = 0

    @property
    def runs(self) -> bool:
        return self._process is not None

    def start(self, moment: float) -> None:
        """It dies with this process, by the kernel's hand. Raises OSError."""
        path = _path(self._settings.api)
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # of one that was killed
        command = [self._settings.gobgpd, "--api-hosts", self._settings.api, "--pprof-disable", "--log-plain"]
        parent = os.getpid()
        self._process = subprocess.Popen(
            [*command, *self._settings.arguments],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this program, which decides
            preexec_fn=lambda: self._bind(parent),  # noqa: PLW1509 - there are no threads here
        )
        self.began = moment

    def _bind(self, parent: int) -> None:
        self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    def ended(self) -> int | None:
        """Its status, told once; None: it runs, or there is none."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            self._process = None
        return status

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def end(self, seconds: float = ENDING) -> None:
        """By SIGTERM, so that it says goodbye to its routers; by SIGKILL if that takes too long."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            self.kill()

    def kill(self) -> None:
        """Without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self, moment: float) -> float:
        """Seconds until the next start, after a death at *moment*."""
        if moment - self.began > WORKED:
            self._deaths = 0
        self._deaths += 1
        return DELAYS[min(self._deaths, len(DELAYS)) - 1]


class Ears:
    """The socket that agents write to."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._selector = selectors.DefaultSelector()
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(path).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)

    @property
    def agents(self) -> int:
        """How many are connected."""
        return len(self._selector.get_map()) - 1

    def hear(self, seconds: float) -> bytes:
        """What agents said within *seconds*."""
        said = b""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                agent, _ = self._listener.accept()
                self._selector.register(agent, selectors.EVENT_READ)
            else:
                said += self._read(key.fileobj)
        return said

    def _read(self, agent: object) -> bytes:
        assert isinstance(agent, socket.socket)
        said = b""
        with contextlib.suppress(ConnectionError):
            said = agent.recv(4096)
        if not said:
            self._selector.unregister(agent)
            agent.close()
        return said


class Keeper:
    """Decides when gobgpd runs."""

    def __init__(self, settings: Settings, gobgpd: Gobgpd, ears: Ears) -> None:
        self._settings, self._gobgpd, self._ears = settings, gobgpd, ears
        self._heard = time.monotonic()  # at the start an agent has its time to come
        self._next: float | None = 0.0  # when gobgpd is started; None: once an agent is back
        self._order = b""
        self._told_to_end = 0

    def stop(self, *_: object) -> None:
        """SIGTERM. A second one ends the waiting."""
        self._told_to_end += 1

    def run(self) -> None:
        """Until SIGTERM. Raises OSError."""
        while not self._told_to_end:
            self._turn(time.monotonic(), self._ears.hear(TICK))
        if self._order == REST:
            say("told to end: gobgpd ends without a word, routers keep its paths as long as graceful restart says")
            self._gobgpd.kill()
            return
        until = time.monotonic() + LEAVING
        while self._told_to_end == 1 and self._ears.agents and time.monotonic() < until:
            self._ears.hear(TICK)
        say("told to end: gobgpd ends its sessions")
        self._gobgpd.end()

    def _turn(self, now: float, said: bytes) -> None:
        if said:
            self._heard = now
            self._order = next((said[i : i + 1] for i in range(len(said) - 1, -1, -1) if said[i : i + 1] != ANEW), b"")
        status = self._gobgpd.ended()
        if status is not None:
            pause = self._gobgpd.pause(now)
            say(f"gobgpd ended ({_cause(status)}); it is started again" + (f" in {pause:g} s" if pause else ""))
            self._next = now + pause
        if ANEW in said and self._gobgpd.runs and now - self._gobgpd.began > 1:
            say("the agent asks for a new gobgpd")
            self._gobgpd.end()
            self._next = now
        if self._gobgpd.runs and now - self._heard > self._settings.lifetime:
            say(f"no agent was alive for {self._settings.lifetime:g} s: gobgpd ends its sessions, and waits for one")
            self._gobgpd.end()
            self._next = None
        if self._next is None and said:
            say("an agent is back")
            self._next = now
        if not self._gobgpd.runs and self._next is not None and now >= self._next:
            self._gobgpd.start(now)


def _cause(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


def _path(api: str) -> Path | None:
    kind, _, path = api.partition(":")
    return Path("/" + path.lstrip("/")) if kind == "unix" else None


def settings(arguments: Sequence[str]) -> Settings:
    parser = argparse.ArgumentParser(
        prog="roost-gobgpd",
        description="Starts gobgpd, starts it again when it dies, and ends its sessions when no agent lives.",
        epilog="Arguments after -- go to gobgpd as they are, for example: -- --tls --tls-cert-file=… --tls-key-file=…",
    )
    parser.add_argument("--api", default=API, help="where gobgpd listens: unix:///PATH or HOST:PORT (%(default)s)")
    parser.add_argument("--socket", default=SOCKET, help="where the agent says that it is alive (%(default)s)")
    parser.add_argument(
        "--lifetime",
        type=_seconds,
        default=LIFETIME,
        help="seconds without a living agent after which gobgpd ends its sessions (%(default)g)",
    )
    parser.add_argument("--gobgpd", default="gobgpd", help="the program, of version 3 or 4 (%(default)s)")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="for gobgpd")
    found = parser.parse_args(arguments)
    return Settings(found.api, found.socket, found.lifetime, found.gobgpd, tuple(found.arguments))


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script."""
    chosen = settings(sys.argv[1:] if arguments is None else arguments)
    if shutil.which(chosen.gobgpd) is None:
        say(f"{chosen.gobgpd}: not found; install it (Debian's package is gobgpd) or name it with --gobgpd")
        return 1
    os.umask(0o077)  # whoever may write to the sockets may announce
    gobgpd = Gobgpd(chosen)
    try:
        keeper = Keeper(chosen, gobgpd, Ears(chosen.socket))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, keeper.stop)
        keeper.run()
    except OSError as error:
        say(str(error))
        gobgpd.end()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
