"""A router of the lab: its namespace on the data segment, the client behind it, and the daemon that runs in it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path as File

from lab.network import NO_DAD, ROUTER, Leg, ip, link_local, make_namespace, plug, remove_namespace, unplug
from lab.routers.bird import Bird
from lab.routers.daemon import Daemon
from lab.routers.frr import Frr
from lab.routers.mrt import Watch
from lab.routers.values import Address, Kind, Path, Prefix, Session, Setup
from lab.run import kill_all_in, run, wait_for

DAEMONS: Mapping[Kind, type[Daemon]] = {Kind.FRR: Frr, Kind.BIRD: Bird}
FIRST_HOST = 150  # its last byte on the data segment
BY_CONNECTION = {"ipv4.fib_multipath_hash_policy": 1, "ipv6.fib_multipath_hash_policy": 1}  # ports count for ECMP too


@dataclass(frozen=True, slots=True)
class Place:
    """Where the *number*-th router of a lab is, and the client behind it."""

    name: str
    number: int

    @property
    def leg(self) -> Leg:
        return Leg(self.name, "data", FIRST_HOST + self.number)

    @property
    def client(self) -> str:
        """The namespace behind it."""
        return f"{self.name}-client"

    @property
    def behind4(self) -> str:
        return f"10.{71 + self.number}.0"

    @property
    def behind6(self) -> str:
        return f"fd{71 + self.number}:"

    @property
    def loopback4(self) -> IPv4Address:
        """An address of its own that is on no link (for sessions over several hops)."""
        return IPv4Address(f"10.79.0.{1 + self.number}")

    @property
    def loopback6(self) -> IPv6Address:
        return IPv6Address(f"fd79::{1 + self.number}")

    def ways(self, *, ipv6: bool) -> list[str]:
        """The routes of a node to all that is behind it."""
        four = [f"{self.behind4}.0/24", str(self.loopback4)]
        six = [f"{self.behind6}:/64", str(self.loopback6)] if ipv6 else []
        return [
            *(f"route add {prefix} via {self.leg.address4} dev data" for prefix in four),
            *(f"route add {prefix} via {self.leg.address6} dev data" for prefix in six),
        ]


def _wire_mac(number: int, node: str) -> str:
    return f"02:01:00:00:{number:02x}:{int(node.removeprefix('n')):02x}"


def wire_end(number: int, node: str) -> str:
    """The link-local address of *node* on its own cable to the *number*-th router, as that router's Neighbour."""
    return f"{link_local(_wire_mac(number, node))}%to-{node}"


class Router:
    """A running router; its daemon is FRR or BIRD. Addresses: those of ``place``."""

    def __init__(self, place: Place, kind: Kind, setup: Setup, work: File, *, ipv6: bool) -> None:
        self.place = place
        self.name = place.name
        self.client = place.client
        self.ipv6 = ipv6
        self.wires: dict[
            str, IPv6Address
        ] = {}  # the link-local addresses of nodes that have a cable of their own to it
        work.mkdir(parents=True, exist_ok=True)
        setup = replace(setup, router_id=setup.router_id or str(place.leg.address4))
        where = ["ip", "netns", "exec", self.name]
        self.daemon = DAEMONS[kind](self.name, where, File("/run"), work, setup)

    @property
    def address4(self) -> IPv4Address:
        """On the data segment."""
        return self.place.leg.address4

    @property
    def address6(self) -> IPv6Address:
        return self.place.leg.address6

    @property
    def asn(self) -> int:
        return self.daemon.setup.asn

    # -- life

    def boot(self) -> None:
        """Make its namespaces and start its daemon."""
        self._wire()
        self.daemon.start()

    def _wire(self) -> None:
        make_namespace(self.name, ROUTER | NO_DAD | BY_CONNECTION)
        make_namespace(self.client, NO_DAD)
        plug(self.place.leg, ipv6=self.ipv6)
        ip([f"link add client netns {self.name} type veth peer name data netns {self.client}"])
        four, six = self.place.behind4, self.place.behind6
        ip([f"address add {self.place.loopback4}/32 dev lo", f"address add {four}.1/24 dev client"], self.name)
        ip([f"address add {four}.2/24 dev data", "link set data up"], self.client)
        ip(["link set client up"], self.name)
        ip([f"route add default via {four}.1"], self.client)
        if self.ipv6:
            ip(
                [f"address add {self.place.loopback6}/128 dev lo", f"address add {six}:1/64 dev client nodad"],
                self.name,
            )
            ip([f"address add {six}:2/64 dev data nodad", f"route add default via {six}:1"], self.client)

    def wire(self, node: str) -> tuple[str, str]:
        """Lay a cable of their own between *node* and the router: the names of its ends there and here (unnumbered)."""
        there, here = f"to-{self.name}", f"to-{node}"
        mac = _wire_mac(self.place.number, node)
        ip([f"link add {here} netns {self.name} type veth peer name {there} address {mac} netns {node}"])
        ip([f"link set {here} up"], self.name)
        ip([f"link set {there} up"], node)
        self.wires[node] = link_local(mac)
        return there, here

    def set_up(self, setup: Setup) -> None:
        """Restart the daemon with another configuration."""
        self.daemon.stop()
        self.daemon.setup = replace(setup, router_id=setup.router_id or str(self.address4))
        self.daemon.start()

    def restart(self) -> None:
        """End the daemon as an administrator does, and start it again: sessions end with a notification."""
        self.daemon.stop()
        self.daemon.start()

    def kill(self) -> None:
        """Let the whole router die: no word to anybody, and nothing is forwarded."""
        self.daemon.sigkill()
        ip(["link set data down"], self.name)

    def start(self) -> None:
        """Start it again after :meth:`kill` or :meth:`stop`, with an empty kernel."""
        for prefix, hops in self.kernel().items():
            for _ in hops:
                ip([f"route flush {prefix}"], self.name)
                break
        six = f"address replace {self.address6}/64 dev data nodad" if self.ipv6 else ""
        ip([six, "link set data up"], self.name)
        self.daemon.start()

    def stop(self) -> None:
        """End the daemon as an administrator does."""
        self.daemon.stop()

    def close(self) -> None:
        """Take it away with all that it had."""
        self.daemon.sigkill()
        kill_all_in(self.name)
        unplug(self.place.leg)
        remove_namespace(self.name)
        remove_namespace(self.client)

    # -- what it knows

    def routes(self, prefix: str | Prefix) -> list[Path]:
        """Every path of *prefix* that came in, by neighbour."""
        return sorted(self.daemon.routes(ip_network(prefix)), key=lambda path: path.neighbour)

    def rib(self) -> list[Path]:
        """Every path that came in."""
        return self.daemon.rib()

    def next_hops(self, prefix: str | Prefix) -> set[Address]:
        """Of all paths of *prefix*."""
        return {path.next_hop for path in self.routes(prefix)}

    def sessions(self) -> dict[str, Session]:
        """By the neighbour's address."""
        return {session.neighbour: session for session in self.daemon.sessions()}

    def established(self) -> set[str]:
        """The neighbours whose session is up."""
        return {session.neighbour for session in self.daemon.sessions() if session.up}

    def kernel(self) -> dict[Prefix, frozenset[Address]]:
        """What its kernel forwards for others: next hops by prefix, several where connections are spread.

        A station's link-local address on the data segment, which routers prefer, is given as its global one.
        """
        found: dict[Prefix, frozenset[Address]] = {}
        for family in ("-4", "-6"):
            for route in json.loads(run(["ip", family, "-netns", self.name, "-json", "route"])):
                if route.get("protocol") in {"bgp", "bird"} and route["dst"] != "default":
                    prefix = ip_network(route["dst"])
                    found[prefix] = found.get(prefix, frozenset()) | frozenset(map(_global, _hops(route)))
        return found

    def watch(self) -> Watch:
        """A record of every message of its neighbours from now on (a context manager)."""
        return Watch(self.daemon.updates, self.established)

    # -- waiting

    def wait_established(self, *neighbours: str, seconds: float = 30) -> None:
        """Until the sessions with all *neighbours* are up."""
        wanted = set(neighbours)
        wait_for(
            f"{self.name} has its sessions with {', '.join(sorted(wanted))}",
            lambda: wanted <= self.established(),
            seconds,
            alive=self.daemon.processes,
            every=0.05,
        )

    def wait_next_hops(self, prefix: str | Prefix, *hops: str | Address, seconds: float = 30) -> None:
        """Until its kernel forwards *prefix* to exactly *hops*; none: until it does not know it."""
        wanted, network = {ip_address(hop) for hop in hops}, ip_network(prefix)
        wait_for(
            f"{self.name} forwards {prefix} to {', '.join(map(str, hops)) or 'nobody'}",
            lambda: set(self.kernel().get(network, frozenset())) == wanted,
            seconds,
            alive=self.daemon.processes,
            every=0.05,
        )


_STATIONS = {leg.link_local: leg.address6 for leg in (Leg("", "data", host) for host in range(1, 255))}


def _global(hop: Address) -> Address:
    return _STATIONS.get(hop, hop) if isinstance(hop, IPv6Address) else hop


def _hops(route: dict[str, object]) -> list[Address]:
    several = route.get("nexthops")
    entries: Sequence[dict[str, object]] = several if isinstance(several, list) else [route]
    found = []
    for entry in entries:
        via = entry.get("via")
        gateway = via.get("host") if isinstance(via, dict) else entry.get("gateway")
        if gateway is not None:
            found.append(ip_address(str(gateway)))
    return found
