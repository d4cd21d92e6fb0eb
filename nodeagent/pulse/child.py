"""The agent as the child of the pulse: started as a program of its own, and started again."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

from nodeagent.pulse.apply import die_with_parent
from nodeagent.pulse.ends import End, Ended
from nodeagent.pulse.packets import Packet

DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 10.0)  # seconds between an agent's death and the next agent
WORKED = 30.0  # seconds after which an agent that died is taken to have worked: the next comes at once
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGCHLD)


class Agent:
    """The agent's process and the socket to it; *command* gets the number of the agent's end."""

    def __init__(self, command: Callable[[int], list[str]]) -> None:
        self.began = self.heard = 0.0  # when it was started, and when it last said something
        self.end: End | None = None
        self._command = command
        self._pid = 0
        self._deaths = 0

    @property
    def runs(self) -> bool:
        return self._pid > 0

    def start(self, moment: float) -> None:
        """Raises OSError where there can be no more processes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._become(theirs, parent)
        theirs.close()
        self.end = End(ours)
        self.began = self.heard = moment

    def _become(self, end: socket.socket, parent: int) -> None:
        """In the child: never to return."""
        try:
            die_with_parent(parent)
            os.setpgid(0, 0)  # Ctrl-C at a terminal is for the pulse, which passes it on, once
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            end.set_inheritable(True)
            sys.stdout.flush()
            command = self._command(end.fileno())
            os.execv(command[0], command)
        finally:
            os._exit(127)

    def receive(self, moment: float) -> Iterator[Packet]:
        if self.end is not None:
            try:
                for packet in self.end.receive():
                    self.heard = moment
                    yield packet
            except Ended:
                self._hang_up()

    def signal(self, number: int) -> None:
        if self.runs:
            os.kill(self._pid, number)

    def ended(self) -> int | None:
        """Its exit code (128 + n for signal n), told once; None: it goes on."""
        while self.runs:
            # In a container this is process 1, and buries the orphans of dead agents as well.
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == self._pid:
                self._pid = 0
                self._hang_up()
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if not pid:
                break
        return None

    def pause(self, moment: float) -> float:
        """How many seconds to wait before the next one, after one ended at *moment*."""
        if moment - self.began > WORKED:
            self._deaths = 0
        self._deaths += 1
        return DELAYS[min(self._deaths, len(DELAYS)) - 1]

    def _hang_up(self) -> None:
        if self.end is not None:
            self.end.close()
            self.end = None
