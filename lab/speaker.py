"""GoBGP beside the agent of a node: gobgpd of version 3 or 4 by itself, with the command that asks it."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.nodes import Node
from lab.probe import python_environment
from lab.run import LabError, Process, children, run, wait_for

SOCKET = "/run/roost/gobgpd.sock"  # in the node's own /run; the agents' default
API = f"--api-hosts=unix://{SOCKET}"
PROGRAMS = {3: ("/usr/bin/gobgpd", "/usr/bin/gobgp"), 4: ("gobgpd-v4", "gobgp-v4")}


@dataclass(frozen=True, slots=True)
class Dial:
    """A session that a speaker without an agent begins."""

    remote: str
    asn: int
    password: str = ""
    families: Sequence[int] = (4, 6)
    multihop: int = 0
    restart: int = 0  # seconds that the router is asked to keep the paths when the speaker restarts


def configuration(asn: int, router_id: str, sessions: Sequence[Dial]) -> str:
    """The text of gobgpd.toml, with timers for those who cannot wait."""
    lines = ["[global.config]", f"as = {asn}", f'router-id = "{router_id}"', "port = -1"]
    for dial in sessions:
        lines += ["[[neighbors]]", "[neighbors.config]", f'neighbor-address = "{dial.remote}"', f"peer-as = {dial.asn}"]
        lines += [f'auth-password = "{dial.password}"'] if dial.password else []
        if dial.multihop:
            lines += ["[neighbors.ebgp-multihop.config]", "enabled = true", f"multihop-ttl = {dial.multihop}"]
        if dial.restart:
            lines += ["[neighbors.graceful-restart.config]", "enabled = true", f"restart-time = {dial.restart}"]
        timers = ["connect-retry = 1", "idle-hold-time-after-reset = 1", "hold-time = 9", "keepalive-interval = 3"]
        lines += ["[neighbors.timers.config]", *timers]
        for family in dial.families:
            lines += [
                "[[neighbors.afi-safis]]",
                "[neighbors.afi-safis.config]",
                f'afi-safi-name = "ipv{family}-unicast"',
            ]
            lines += ["[neighbors.afi-safis.mp-graceful-restart.config]", "enabled = true"] if dial.restart else []
    return "\n".join([*lines, ""])


def plain(binaries: Path, version: int) -> list[str]:
    """The command of a gobgpd by itself."""
    return [str(binaries / PROGRAMS[version][0]), API, "--pprof-disable", "--log-plain"]


def kept(binaries: Path, version: int, lifetime: float) -> list[str]:
    """The command of a gobgpd that lives as long as an agent does, and *lifetime* seconds more."""
    keeper = [sys.executable, "-m", "nodeagent.bgp.keeper", f"--lifetime={lifetime:g}"]
    return [*keeper, f"--api=unix://{SOCKET}", f"--gobgpd={binaries / PROGRAMS[version][0]}"]


class Speaker(Process):
    """A gobgpd that runs on a node: by itself, or as the child of *keeper*, which ends it when no agent lives."""

    def __init__(self, node: Node, command: Sequence[str], gobgp: str, *, kept: bool) -> None:
        self.node, self.kept = node, kept
        self._gobgp = gobgp
        self.socket = node.run_directory / Path(SOCKET).relative_to("/run")
        """Where its API is, as the driver sees it; on the node: SOCKET."""
        self.socket.parent.mkdir(exist_ok=True)
        self.socket.unlink(missing_ok=True)  # of a life that was killed
        log = node.work / "gobgpd.log"
        super().__init__(f"{node.name}/gobgpd", node.command(*command), log, python_environment())

    @property
    def gobgpd(self) -> int:
        """The process that speaks BGP; 0 while there is none."""
        return next(iter(children(self.pid)), 0) if self.kept else self.pid

    def gobgpd_signal(self, number: signal.Signals) -> None:
        """Send *number* to gobgpd alone, once there is one."""
        os.kill(wait_for(f"{self.name} has its gobgpd", lambda: self.gobgpd, 15, alive=[self]), number)

    def pids(self) -> list[int]:
        return [self.pid, *children(self.pid)]

    def wait_ready(self) -> None:
        wait_for(f"{self.name} answers", self.answers, 15, alive=[self], every=0.02)

    def answers(self) -> bool:
        try:
            self.gobgp("global")
        except LabError:
            return False
        return True

    def gobgp(self, *arguments: str) -> str:
        """What the command gobgp says to *arguments*. Raises LabError."""
        return run([self._gobgp, "--target", f"unix://{self.socket}", *arguments])

    def announce(self, prefix: str, *attributes: str, next_hop: str = "") -> None:
        """Add a path; *attributes* as gobgp writes them: community 65000:1, med 5, …"""
        six = ["-a", "ipv6"] if ":" in prefix else ["-a", "ipv4"]
        leg = self.node.leg("data")
        hop = next_hop or str(leg.address6 if ":" in prefix else leg.address4)
        self.gobgp("global", "rib", *six, "add", prefix, "nexthop", hop, *attributes)

    def withdraw(self, prefix: str) -> None:
        self.gobgp("global", "rib", "-a", "ipv6" if ":" in prefix else "ipv4", "del", prefix)
