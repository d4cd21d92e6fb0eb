"""A node and a client, each in a network namespace of its own, joined by one wire: the smallest segment there is."""

import itertools
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from pyroute2 import netns

from roost.frames import Claim, Mac, arp, claim, ndp

Address = IPv4Address | IPv6Address

UPLINK = "uplink"
NODE4, NODE6 = IPv4Address("10.1.0.1"), IPv6Address("fd01::1")
CLIENT4, CLIENT6 = IPv4Address("10.1.0.2"), IPv6Address("fd01::2")
VIP4, VIP6 = IPv4Address("10.1.0.100"), IPv6Address("fd01::100")
OTHER4, OTHER6 = IPv4Address("10.1.0.101"), IPv6Address("fd01::101")
NODE_MAC, CLIENT_MAC = Mac.parse("02:00:00:00:00:01"), Mac.parse("02:00:00:00:00:02")

QUIET = 0.12  # seconds without a claim that count as silence; answers take a millisecond
PATIENCE = 5.0  # seconds after which something awaited will not come any more

_ALL = 0x0003  # ETH_P_ALL
_numbers = itertools.count()


@dataclass
class Pair:
    """The node's namespace is that of the test; the client is reached through these verbs."""

    node: str
    client: str
    wire: socket.socket  # the client's end: it hears everything, and asks
    targets: Iterator[int] = field(default_factory=lambda: itertools.count(0x20))

    def hears(self, vip: Address, seconds: float = PATIENCE) -> Claim | None:
        """The first claim for *vip* that reaches the client within *seconds*."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.wire], [], [], left)[0]:
                break
            frame, (_, _, direction, *_) = self.wire.recvfrom(2048)
            heard = claim(frame) if direction != socket.PACKET_OUTGOING else None
            if heard and heard.vip == vip:
                return heard
        return None

    def replug(self, device: str = UPLINK) -> None:
        """Take another device of the client in hand, or the same after it was made anew."""
        self.wire.close()
        self.wire = _plugged(self.client, device)

    def forget(self) -> None:
        """Drop what the client heard so far."""
        while select.select([self.wire], [], [], 0)[0]:
            self.wire.recv(2048)

    def ask(self, target: Address) -> None:
        """The client asks who *target* is."""
        if isinstance(target, IPv4Address):
            self.wire.send(arp.question(target, CLIENT_MAC, CLIENT4))
        else:
            self.wire.send(ndp.question(target, CLIENT_MAC, CLIENT6))

    def unknown(self, version: int) -> Address:
        """An address on the segment that the node has never asked for."""
        number = next(self.targets)
        return IPv4Address(int(NODE4) - 1 + number) if version == 4 else IPv6Address(int(NODE6) + 0xD000 + number)

    def send_from(self, vip: Address, target: Address) -> None:
        """The node's kernel sends data from *vip*, and asks who *target* is if it does not know."""
        family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.bind((str(vip), 0))
            sender.sendto(b"data", (str(target), 9))


def _plugged(client: str, device: str) -> socket.socket:
    """The client's end of the wire."""
    netns.pushns(client)
    try:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    finally:
        netns.popns()
    wire.bind((device, _ALL))
    return wire


@contextmanager
def pair() -> Iterator[Pair]:
    """Make the segment, move this thread into the node, and take everything away in the end."""
    number = f"{os.getpid()}-{next(_numbers)}"
    node, client = f"node-{number}", f"client-{number}"
    for name in (node, client):
        ip("netns", "add", name)
    try:
        ip("-n", client, "link", "add", "uplink", "type", "veth", "peer", "name", UPLINK, "netns", node)
        for name, mac, *addresses in ((node, NODE_MAC, NODE4, NODE6), (client, CLIENT_MAC, CLIENT4, CLIENT6)):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", UPLINK, "address", str(mac), "up")
            for address, length in zip(addresses, (24, 64), strict=True):
                ip("-n", name, "addr", "add", f"{address}/{length}", "dev", UPLINK, *nodad(address))
        made = Pair(node, client, _plugged(client, UPLINK))
        netns.pushns(node)
        try:
            yield made
        finally:
            netns.popns()
            made.wire.close()
    finally:
        for name in (node, client):
            ip("netns", "delete", name)


def ip(*arguments: str) -> str:
    """The ip program; its complaint is in the error."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def nodad(address: object) -> list[str]:
    return ["nodad"] if ":" in str(address) else []


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for *condition*, looking at it again and again."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        select.select([], [], [], 0.005)
