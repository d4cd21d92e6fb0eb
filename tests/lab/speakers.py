"""A node with the gobgpd under test, and a router with one that is asked: two machines with a cable, no Kubernetes."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from lab import build
from lab.run import LabError, Process, run, wait_for
from nodeagent.bgp.alive import Alive
from nodeagent.bgp.apply import Daemon
from nodeagent.bgp.client import Client, Endpoint
from nodeagent.bgp.fake import Heard
from nodeagent.bgp.gobgp import connected
from nodeagent.bgp.values import Attributes, Prefix, Session, Speaker, Timers, Treatment, Want
from roost.process import RealClock

PROGRAMS = {3: "gobgpd", 4: "gobgpd-v4"}
ORIGIN, PATH, HOP, MED, PREFERENCE, COMMUNITIES, REACH, LARGE = 1, 2, 3, 4, 5, 8, 14, 32  # attributes (IANA)
ROUTER_SOCKET = "router.sock"
UP = 20.0  # seconds that a session may take: GoBGP 3 waits 5 s before it tries, and 5 s after each failure

FAST = Timers(hold=9, keepalive=3, connect_retry=1)
SPEAKER = Speaker(65001, ip_address("10.1.0.1"))  # type: ignore[arg-type]
ROUTER = Session(
    "router", ip_address("10.1.0.2"), 65002, 65001, families=frozenset({4, 6}), timers=FAST, graceful_restart=40
)
V4, V6, MORE = ip_network("192.0.2.1/32"), ip_network("2001:db8::1/128"), ip_network("192.0.2.2/32")
PLAIN: Treatment = {ROUTER.key: Attributes()}
WANT = Want(SPEAKER, {ROUTER.key: ROUTER}, {V4: PLAIN, V6: PLAIN})


def program(version: int) -> str:
    """The gobgpd of *version*: Debian's 3.10, or the 4 that the lab builds."""
    found = shutil.which(PROGRAMS[version]) if version == 3 else str(build.ensure() / PROGRAMS[version])
    assert found, "gobgpd is missing: make setup"
    return found


class Machines:
    """The namespaces `node` and `router` on a cable `fabric`: 10.1.0.1, .3 and fd01::1; 10.1.0.2, .4 and fd01::2."""

    def __init__(self, work: Path, number: str = "") -> None:
        self.work = work
        self.node, self.router = f"node{number}", f"router{number}"
        for name in (self.node, self.router):
            run(["ip", "netns", "add", name])
        ends = ["ip", "-n", self.node, "link", "add", "fabric", "type", "veth", "peer", "name", "fabric"]
        run([*ends, "netns", self.router])
        for last, name in enumerate((self.node, self.router), 1):
            for command in (
                "link set lo up",
                "link set fabric addrgenmode none",
                f"addr add fe80::{last}/64 dev fabric nodad",
                f"addr add 10.1.0.{last}/24 dev fabric",
                f"addr add 10.1.0.{last + 2}/24 dev fabric",
                f"addr add fd01::{last}/64 dev fabric nodad",
                "link set fabric up",
            ):
                run(["ip", "-n", name, *command.split()])
        self.gobgpd: Process | None = None
        self.asked: Process | None = None
        self._version = 0
        self.socket = work / "gobgpd.sock"

    # -- the node -----------------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"unix://{self.socket}")

    def start(self, version: int = 0) -> None:
        """Start the gobgpd under test, after a former one ended; again in the same version, if none is said."""
        version = self._version = version or self._version
        self.gobgpd = self._start(self.node, program(version), self.socket)
        wait_for("gobgpd listens", self.socket.exists, 10, alive=[self.gobgpd])

    def kill(self) -> None:
        if self.gobgpd is not None:
            self.gobgpd.sigkill()

    def connect(self) -> AbstractAsyncContextManager[Client]:
        return connected(self.endpoint)

    # -- the router ---------------------------------------------------------------------------------------------------

    def start_router(self) -> None:
        """Start the router's gobgpd: AS 65002, and to 10.1.0.3 AS 65001; it keeps the paths that 10.1.0.1 told it."""
        neighbours = [
            neighbour("10.1.0.1", restart=40),
            neighbour("10.1.0.3", local=65001),
            neighbour("fd01::1", password="right"),
            neighbour("fe80::1%fabric"),
        ]
        config = self.work / "router.toml"
        config.write_text("\n".join(['[global.config]\nas=65002\nrouter-id="10.1.0.2"', *neighbours]))
        self.asked = self._start(self.router, program(3), self.work / ROUTER_SOCKET, "-f", str(config))
        wait_for("the router listens", self._asked_answers, 10, alive=[self.asked])

    def _asked_answers(self) -> bool:
        with suppress(LabError):
            return bool(self.gobgp("neighbor"))
        return False

    def gobgp(self, *arguments: str) -> Any:
        """What the router says."""
        return json.loads(run(["gobgp", "--target", f"unix://{self.work / ROUTER_SOCKET}", "-j", *arguments]) or "{}")

    def heard(self) -> dict[Prefix, Heard]:
        """What the router has, by prefix."""
        found: dict[Prefix, Heard] = {}
        for family in ("ipv4", "ipv6"):
            for prefix, paths in self.gobgp("global", "rib", "-a", family).items():
                found[ip_network(prefix)] = _heard(paths[0]["attrs"])
        return found

    def prefixes(self) -> set[str]:
        return {str(prefix) for prefix in self.heard()}

    # -- both ---------------------------------------------------------------------------------------------------------

    def _start(self, where: str, path: str, socket: Path, *arguments: str) -> Process:
        socket.unlink(missing_ok=True)
        command = ["ip", "netns", "exec", where, path, "--api-hosts", f"unix://{socket}", "--pprof-disable"]
        log = ["--log-plain", "--log-level", "info"]
        return Process(f"{where}/gobgpd", [*command, *log, *arguments], self.work / f"{where}.log", dict(os.environ))

    def close(self) -> None:
        for process in (self.gobgpd, self.asked):
            if process is not None:
                process.sigkill()
        for name in (self.node, self.router):
            run(["ip", "netns", "delete", name])


@contextmanager
def machines(work: Path, number: str = "") -> Iterator[Machines]:
    made = Machines(work, number)
    try:
        yield made
    finally:
        made.close()


def neighbour(address: str, *, local: int = 65002, password: str = "", restart: int = 0) -> str:
    """A session that the router takes; *restart* seconds it keeps the paths of one that restarts."""
    lines = [
        "[[neighbors]]",
        "[neighbors.config]",
        f'neighbor-address="{address}"',
        "peer-as=65001",
        f"local-as={local}",
    ]
    lines += [f'auth-password="{password}"'] if password else []
    lines += ["[neighbors.transport.config]", "passive-mode=true"]
    lines += ["[neighbors.timers.config]", "hold-time=9", "keepalive-interval=3"]
    if restart:
        lines += ["[neighbors.graceful-restart.config]", "enabled=true", f"restart-time={restart}"]
    for family in (4, 6):
        lines += ["[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]", f'afi-safi-name="ipv{family}-unicast"']
        lines += ["[neighbors.afi-safis.mp-graceful-restart.config]", "enabled=true"] if restart else []
    return "\n".join(lines)


def _heard(attributes: list[dict[str, Any]]) -> Heard:
    by = {one["type"]: one for one in attributes}
    standard = by.get(COMMUNITIES, {}).get("communities", [])
    large = by.get(LARGE, {}).get("value", [])
    return Heard(
        tuple(sorted(f"{value >> 16}:{value & 0xFFFF}" for value in standard)),
        tuple(sorted(f"{one['ASN']}:{one['LocalData1']}:{one['LocalData2']}" for one in large)),
        by.get(PREFERENCE, {}).get("value"),
        by.get(MED, {}).get("metric"),
        tuple(asn for segment in by.get(PATH, {}).get("as_paths", []) for asn in segment["asns"]),
        by.get(HOP, {}).get("nexthop") or by.get(REACH, {}).get("nexthop", ""),
    )


@dataclass
class Kept:
    """A daemon that is kept by an agent."""

    daemon: Daemon
    machines: Machines
    changes: list[str]  # the sessions, each time they were said to be others

    @property
    def established(self) -> bool:
        sessions = self.daemon.sessions()
        return bool(sessions) and all(session.state == "Established" for session in sessions)

    async def hears(self, wanted: Mapping[Prefix, Heard] | set[Prefix], seconds: float = UP) -> None:
        """Wait until the router has just this."""

        def so() -> bool:
            heard = self.machines.heard()
            return set(heard) == wanted if isinstance(wanted, set) else heard == wanted

        with suppress(AssertionError):
            return await until(so, "", seconds)
        heard = self.machines.heard()
        assert (set(heard) if isinstance(wanted, set) else heard) == wanted
        return None


@asynccontextmanager
async def kept(made: Machines, want: Want, alive: Alive | None = None) -> AsyncIterator[Kept]:
    """An agent that lives for a while. What gobgpd does goes on after it."""
    changes: list[str] = []
    daemon = Daemon(made.endpoint, RealClock(), lambda: changes.append(repr(daemon.sessions())), alive=alive)
    task = asyncio.ensure_future(daemon.run())
    daemon.want(want, complete=True)
    try:
        yield Kept(daemon, made, changes)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Any, what: str, seconds: float = 30.0) -> None:
    """Wait for *condition*, which others in this loop bring about. Raises AssertionError after *seconds*."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.03)
