"""The agent of a node as the lab sees it: the pulse, which is started, and the agent proper, which is its child."""

import os
import signal

from lab.run import Process, children, wait_for

ALONE = 0  # no process


class Agent(Process):
    """What runs in the container of ``roost-nodeagent``; SIGTERM goes to the pulse alone, as from kubelet."""

    @property
    def pulse(self) -> int:
        """The process that was started."""
        return self.pid

    @property
    def agent(self) -> int:
        """The child of the pulse; 0 while there is none."""
        return next(iter(children(self.pid)), ALONE)

    def pids(self) -> list[int]:
        """Of the whole container, the pulse first."""
        found = [self.pid]
        for pid in found:  # it grows meanwhile
            found += children(pid)
        return found

    def agent_signal(self, number: signal.Signals) -> None:
        """Send *number* to the agent proper, once there is one."""
        os.kill(wait_for(f"{self.name} has its agent", lambda: self.agent, 15, alive=[self]), number)

    def everybody(self, number: signal.Signals) -> None:
        """Send *number* to the whole container."""
        for pid in self.pids() if self.running else []:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def sigstop(self) -> None:
        """Freeze the whole container."""
        self.everybody(signal.SIGSTOP)

    def sigcont(self) -> None:
        """Thaw the whole container."""
        self.everybody(signal.SIGCONT)

    def sigkill(self) -> None:
        """Kill the whole container, and return when the pulse is gone."""
        self.everybody(signal.SIGKILL)
        super().sigkill()
