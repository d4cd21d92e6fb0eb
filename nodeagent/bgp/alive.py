"""The agent's end of the keeper's socket: says every second that the agent lives, and what to do when it must end."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from nodeagent.bgp.orders import ANEW, GIVE, REST
from roost.process import Clock

EVERY = 1.0  # seconds


class Alive:
    """Needs no keeper: where there is none, nothing is said. All calls return at once."""

    def __init__(self, path: Path, clock: Clock, resting: Callable[[], bool]) -> None:
        """*resting*: whether routers should keep the paths when keeper and gobgpd end now."""
        self._path, self._clock, self._resting = path, clock, resting
        self._socket: socket.socket | None = None

    async def run(self) -> NoReturn:
        """Say it for ever. What blocks the agent's loop stops this too, as it should."""
        try:
            while True:
                self._say(REST if self._resting() else GIVE)
                await self._clock.sleep(EVERY)
        finally:
            self._hang_up()

    def restart(self) -> bool:
        """Ask for a new gobgpd; False: there is nobody to ask."""
        self._say(ANEW)
        return self._socket is not None

    def _say(self, word: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                self._socket.connect(str(self._path))
            self._socket.send(word)
        except BlockingIOError:
            pass  # it does not read: it hangs, and what was written already says the same
        except OSError:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None
