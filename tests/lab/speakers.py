"""A node with the gobgpd under test, and a router with one that is asked: two machines with a cable, no Kubernetes."""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from lab import build
from lab.run import Process, run, wait_for
from nodeagent.bgp.client import Client, Endpoint
from nodeagent.bgp.fake import Heard
from nodeagent.bgp.gobgp import connected
from nodeagent.bgp.values import Prefix

PROGRAMS = {3: "gobgpd", 4: "gobgpd-v4"}
ORIGIN, PATH, HOP, MED, PREFERENCE, COMMUNITIES, REACH, LARGE = 1, 2, 3, 4, 5, 8, 14, 32  # attributes (IANA)
ROUTER_SOCKET = "router.sock"


def program(version: int) -> str:
    """The gobgpd of *version*: Debian's 3.10, or the 4 that the lab builds."""
    found = shutil.which(PROGRAMS[version]) if version == 3 else str(build.ensure() / PROGRAMS[version])
    assert found, "gobgpd is missing: make setup"
    return found


class Machines:
    """The namespaces `node` and `router`, joined by `fabric`: 10.1.0.1 and .2, fd01::1 and ::2."""

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
                f"addr add 10.1.0.{last}/24 dev fabric",
                f"addr add fd01::{last}/64 dev fabric nodad",
                "link set fabric up",
            ):
                run(["ip", "-n", name, *command.split()])
        self.gobgpd: Process | None = None
        self.asked: Process | None = None
        self.socket = work / "gobgpd.sock"

    # -- the node -----------------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"unix://{self.socket}")

    def start(self, version: int) -> None:
        """Start the gobgpd under test, after a former one ended."""
        self.gobgpd = self._start(self.node, program(version), self.socket)
        wait_for("gobgpd listens", self.socket.exists, 10, alive=[self.gobgpd])

    def kill(self) -> None:
        if self.gobgpd is not None:
            self.gobgpd.sigkill()

    def connect(self) -> AbstractAsyncContextManager[Client]:
        return connected(self.endpoint)

    # -- the router ---------------------------------------------------------------------------------------------------

    def start_router(self, *neighbours: str, asn: int = 65002) -> None:
        """Start the router's gobgpd; *neighbours* as in gobgpd.toml, those of `neighbour`."""
        config = self.work / "router.toml"
        config.write_text("\n".join([f'[global.config]\nas={asn}\nrouter-id="10.1.0.2"', *neighbours]))
        self.asked = self._start(self.router, program(3), self.work / ROUTER_SOCKET, "-f", str(config))
        wait_for("the router listens", (self.work / ROUTER_SOCKET).exists, 10, alive=[self.asked])

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
        log = ["--log-plain", "--log-level", "debug"]
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


def neighbour(
    address: str, *, asn: int = 65001, password: str = "", restart: int = 0, families: tuple[int, ...] = (4, 6)
) -> str:
    """A session that the router takes; *restart* seconds it keeps the paths of one that restarts."""
    lines = ["[[neighbors]]", "[neighbors.config]", f'neighbor-address="{address}"', f"peer-as={asn}"]
    lines += [f'auth-password="{password}"'] if password else []
    lines += ["[neighbors.transport.config]", "passive-mode=true"]
    lines += ["[neighbors.timers.config]", "hold-time=9", "keepalive-interval=3"]
    if restart:
        lines += ["[neighbors.graceful-restart.config]", "enabled=true", f"restart-time={restart}"]
    for family in families:
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


async def until(condition: Any, what: str, seconds: float = 30.0) -> None:
    """Wait for *condition*, which others in this loop bring about. Raises AssertionError after *seconds*."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.03)
