"""Real routing daemons pass the routes of VIPs on to a router, whatever happens to the program that keeps them."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from lab.routers.daemon import Daemon
from lab.routers.router import DAEMONS
from lab.routers.values import Kind, Neighbour, Setup
from tests.lab.pair import CLIENT4, CLIENT6, NODE4, NODE6, UPLINK, Pair, ip, pair, until

FOUR, OTHER, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
ROUTE_GROUPS = 0x40 | 0x400  # linux/rtnetlink.h: RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
PROTOCOL = 248
V4, V6 = frozenset({4}), frozenset({6})
PATIENCE = 30.0  # seconds: a daemon may take some to try a session again
ROOT = Path(__file__).parent.parent.parent

HOW = [  # FRR's import-table knows IPv4 only
    pytest.param((Kind.FRR, 198, [FOUR]), id="FRR, import-table 198"),
    pytest.param((Kind.FRR, 254, [FOUR, SIX]), id="FRR, redistribute kernel"),
    pytest.param((Kind.BIRD, 198, [FOUR, SIX]), id="BIRD, kernel table 198"),
]


class Writer:
    """The program that keeps the routes."""

    def __init__(self, table: int) -> None:
        command = [sys.executable, "-m", "tests.lab.routes_writer", str(table)]
        self.program = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def want(self, *vips: str) -> None:
        """Returns when the kernel has their routes, and no others."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        line = " ".join(vips) + "\n"
        self.program.stdin.write(line)
        assert self.program.stdout.readline() == line

    def sigkill(self) -> None:
        self.program.kill()
        self._end()

    def leave(self) -> None:
        assert self.program.stdin is not None
        self.program.stdin.close()
        self._end()
        assert self.program.returncode == 0

    def _end(self) -> None:
        self.program.wait(PATIENCE)
        for stream in (self.program.stdin, self.program.stdout):
            assert stream is not None
            stream.close()


@dataclass
class Scene:
    """A node with a routing daemon of its own, and a router beyond it that runs the other make."""

    node: Pair
    table: int
    vips: list[str]
    daemon: Daemon
    router: Daemon

    def start(self) -> None:
        for each in (self.router, self.daemon):
            each.start()

    def learned(self) -> set[str]:
        """What the router has from the node, by the right next hops; not what it only keeps for a daemon to return."""
        return {
            str(path.prefix.network_address)
            for path in self.router.rib()
            if path.next_hop in {NODE4, NODE6} and path.prefix.num_addresses == 1 and not path.stale
        }

    def wait_learned(self, *vips: str) -> None:
        wanted = set(vips)
        until(lambda: self.learned() == wanted, f"the router has {wanted}", PATIENCE)

    def flap(self) -> None:
        """The link goes down and up at once, as a driver's reset does; an administrator's network comes back."""
        ip("link", "set", UPLINK, "down")
        ip("link", "set", UPLINK, "up")
        ip("-6", "addr", "replace", f"{NODE6}/64", "dev", UPLINK, "nodad")


@pytest.fixture(params=HOW)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    kind, table, vips = request.param
    with pair() as node:
        calls = (
            Neighbour(str(CLIENT4), asn=64512, families=V4, passive=False),
            Neighbour(str(CLIENT6), asn=64512, families=V6, passive=False),
        )
        waits = (Neighbour("10.1.0.0/24", asn=65001, families=V4), Neighbour("fd01::/64", asn=65001, families=V6))
        here = Setup(asn=65001, neighbours=calls, redistribute=table, router_id=str(NODE4))
        there = Setup(asn=64512, neighbours=waits, router_id=str(CLIENT4))
        made = Scene(
            node,
            table,
            vips,
            _daemon(kind, node.node, tmp_path, here),
            _daemon(_other(kind), node.client, tmp_path, there),
        )
        try:
            yield made
        finally:
            for each in (made.daemon, made.router):
                each.stop()


def _daemon(kind: Kind, namespace: str, logs: Path, setup: Setup) -> Daemon:
    return DAEMONS[kind](namespace, ["ip", "netns", "exec", namespace], Path("/run"), logs, setup)


def _other(kind: Kind) -> Kind:
    return Kind.BIRD if kind is Kind.FRR else Kind.FRR


def test_the_router_learns_what_the_node_has(scene: Scene) -> None:
    writer = Writer(scene.table)
    writer.want(*scene.vips)  # before there is a daemon
    scene.start()
    scene.wait_learned(*scene.vips)

    writer.want(*scene.vips, OTHER)
    scene.wait_learned(*scene.vips, OTHER)
    writer.want(OTHER)
    scene.wait_learned(OTHER)

    writer.want(*scene.vips)
    scene.flap()
    scene.wait_learned(*scene.vips)

    writer.leave()
    scene.wait_learned()


def test_a_writer_that_is_killed_leaves_its_routes_to_the_next(scene: Scene) -> None:
    scene.start()
    writer = Writer(scene.table)
    writer.want(*scene.vips, OTHER)
    scene.wait_learned(*scene.vips, OTHER)
    with IPRoute() as monitor:
        monitor.bind(groups=ROUTE_GROUPS)
        writer.sigkill()
        again = Writer(scene.table)
        again.want(*scene.vips, OTHER)
        assert scene.learned() == {*scene.vips, OTHER}
        again.want(*scene.vips)  # it is told to remove one: the first word that the kernel has to say
        said: list[tuple[str, str]] = []
        while not said:
            said = [
                (message["event"], message.get("dst")) for message in monitor.get() if message.get("proto") == PROTOCOL
            ]
        assert said == [("RTM_DELROUTE", OTHER)]
    scene.wait_learned(*scene.vips)
    again.leave()
