"""Which host routes this node should have for its VIPs, and the steps to get there. No I/O."""

import errno
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network
from typing import Protocol

from roost.values import also

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

BOOT = 3  # linux/rtnetlink.h, RTPROT_BOOT: a route that somebody made by hand, and said no more of it
MAIN = 254  # linux/rtnetlink.h, RT_TABLE_MAIN
_METRIC6 = 1024  # linux/ipv6_route.h, IP6_RT_PRIO_USER: what the kernel makes of no metric
_CABLES = {"veth", "tun", "netkit"}  # a pod or a virtual machine is at the other end
_TABLES, _PROTOCOLS, _METRICS = range(1, 1 << 32), range(BOOT + 2, 256), range(1 << 32)
_LOCAL = 255  # RT_TABLE_LOCAL: the kernel's own


class Kind(StrEnum):
    """The type of a route (linux/rtnetlink.h, RTN_UNICAST and RTN_LOCAL)."""

    UNICAST = "unicast"
    LOCAL = "local"

    @classmethod
    def from_text(cls, text: str) -> "Kind":
        """By name, or by the kernel's number as kube-vip has it. ValueError for any other."""
        named = {"1": cls.UNICAST, "2": cls.LOCAL, cls.UNICAST.value: cls.UNICAST, cls.LOCAL.value: cls.LOCAL}
        try:
            return named[text.lower()]
        except KeyError:
            raise ValueError(f"the type of a route is unicast (1) or local (2), not {text}") from None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the routes are like. All of them with this protocol in this table are ours, and no other route is."""

    routing_table: int = field(default=198, metadata=also("vip_routingtableid"))
    """Number of the kernel's table that the routes of VIPs go into; 254 is the main table."""

    routing_protocol: int = field(default=248, metadata=also("vip_routingprotocol"))
    """The kernel's protocol number of these routes. Routes with another are never touched."""

    routing_type: Kind = field(default=Kind.UNICAST, metadata=also("vip_routingtabletype"))
    """unicast (1) or local (2): what a packet that takes the route meets. FRR and BIRD pass on unicast routes only."""

    routing_metric: int = 0
    """Metric of the routes. 0: none, which for IPv6 the kernel makes 1024."""

    clean_routing_table: bool = field(default=True, metadata=also("vip_cleanroutingtable"))
    """Remove routes that a former life of this program left, once all that could be wanted has been listed."""

    def __post_init__(self) -> None:
        if self.routing_table not in _TABLES or self.routing_table == _LOCAL:
            raise ValueError(f"routing-table must be a number from 1 to {_TABLES[-1]}, and not 255, the kernel's own")
        if self.routing_protocol not in _PROTOCOLS:
            raise ValueError("routing-protocol must be a number from 5 to 255: those below are the kernel's own")
        if self.routing_metric not in _METRICS:
            raise ValueError(f"routing-metric must be a number from 0 to {_METRICS[-1]}")


class Link(Protocol):
    """As much of a network device as is needed to choose one."""

    @property
    def name(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def up(self) -> bool: ...
    @property
    def prefixes(self) -> tuple[IPv4Interface | IPv6Interface, ...]: ...


@dataclass(frozen=True, slots=True)
class Route:
    """A host route. The kernel has one for each prefix, table and metric; *device* empty: there is none for it."""

    prefix: Network
    device: str
    table: int
    protocol: int
    metric: int
    kind: Kind = Kind.UNICAST

    @property
    def place(self) -> tuple[Network, int, int]:
        """What two routes cannot both have, unless somebody appends one."""
        return self.prefix, self.table, self.metric


@dataclass(frozen=True, slots=True)
class Add:
    """Make the route, where there is none with its prefix, table and metric."""

    route: Route


@dataclass(frozen=True, slots=True)
class Replace:
    """Put the route in the place of another, in one step: there is always one of the two."""

    route: Route


@dataclass(frozen=True, slots=True)
class Delete:
    """Take this very route away."""

    route: Route


Step = Add | Replace | Delete


@dataclass(frozen=True, slots=True)
class Done:
    """The kernel has it so."""

    step: Step


@dataclass(frozen=True, slots=True)
class Failed:
    """The kernel refused the step; it is planned anew from what the kernel has then."""

    step: Step
    errno: int


Outcome = Done | Failed


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A route was made, or changed into this."""

    route: Route


@dataclass(frozen=True, slots=True)
class RouteGone:
    route: Route


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """A device went up or down, came or went, or lost an address: IPv4 routes on it may be gone without a word."""

    name: str


@dataclass(frozen=True, slots=True)
class Missed:
    """Something may have happened that was not heard."""


Event = RouteSeen | RouteGone | DeviceChanged | Missed


def wanted(vips: Iterable[Address], links: Iterable[Link], settings: Settings, interface: str = "") -> frozenset[Route]:
    """A route for each of *vips*: on *interface* (a setting), else on the device that chosen() has for it."""
    several = tuple(links)
    return frozenset(
        Route(
            prefix=ip_network(vip),
            device=interface or chosen(vip, several),
            table=settings.routing_table,
            protocol=settings.routing_protocol,
            metric=settings.routing_metric or (0 if isinstance(vip, IPv4Address) else _METRIC6),
            kind=settings.routing_type,
        )
        for vip in vips
    )


def chosen(vip: Address, links: Sequence[Link]) -> str:
    """The device with a subnet that contains *vip*, else the first with any subnet of its family, else with any.

    Devices that are up come first, then the lower index: routers are what matters here, and all of them lead to one.
    """
    subnets = [
        (not link.up, vip not in prefix.network, prefix.version != vip.version, link.index, link.name)
        for link in links
        if link.kind not in _CABLES
        for prefix in link.prefixes
        if prefix.network.num_addresses > 1 and not prefix.is_loopback and not prefix.is_link_local
    ]
    return min(subnets)[-1] if subnets else ""


def steps(
    have: Set[Route], want: Set[Route], *, complete: bool, settings: Settings, known: Set[Route] = frozenset()
) -> tuple[Step, ...]:
    """Additions, then replacements, then deletions; these only when *want* is *complete*.

    *have* are the routes of the table that are ours, and those of protocol BOOT: one of these in a place that we want
    is taken over, as every other program's route there is not: adding ours fails, with EEXIST. *known* are the routes
    that this program wanted at some time: without clean_routing_table no others are removed.
    """
    ours = frozenset(route for route in have if owned(route, settings))
    made_by_hand = {route.place for route in have if route.protocol == BOOT and route.table == settings.routing_table}
    occupied = made_by_hand | {route.place for route in ours}
    missing = _ordered(want - ours)
    adds = [Add(route) for route in missing if route.place not in occupied]
    replacements = [Replace(route) for route in missing if route.place in occupied]
    if not complete:
        return (*adds, *replacements)
    replaced = {step.route.place for step in replacements}
    surplus = [route for route in _ordered(ours - want) if route.place not in replaced]
    removed = [route for route in surplus if settings.clean_routing_table or route in known]
    return (*adds, *replacements, *(Delete(route) for route in removed))


def again(lost: Set[Route], settings: Settings) -> tuple[Step, ...]:
    """What makes FRR see routes that were gone with their link and are back: they are taken away and made once more.

    Its `ip import-table` (8.4; there is none for IPv6) forgets a route when its link goes down, and where it hears of
    down and up at one go it takes the same route, when it is back, for the one that it had, and passes it on no more.
    A change of the route's realm or scope does not move it; BIRD, and FRR's `redistribute kernel`, need nothing.
    """
    if settings.routing_table == MAIN:
        return ()
    return tuple(
        step
        for route in _ordered(lost)
        if isinstance(route.prefix, IPv4Network)
        for step in (Delete(route), Add(route))
    )


def matters(event: Event, want: Set[Route], settings: Settings) -> bool:
    """Whether the routes must be looked at again after *event*."""
    match event:
        case Missed():
            return True
        case DeviceChanged(name):
            return any(route.device == name for route in want)
        case RouteSeen(route) if route in want:
            return False
        case RouteSeen(route) if owned(route, settings):
            return True
        case RouteSeen(route) | RouteGone(route):
            return route.table == settings.routing_table and any(route.prefix == other.prefix for other in want)


def said(failed: Failed) -> str:
    """Why a route is not there, in words."""
    route = failed.step.route
    match failed.errno:
        case errno.EEXIST:
            where = f"table {route.table}" + (f" metric {route.metric}" if route.metric else "")
            return (
                f"another program has a route to {route.prefix} in {where}, and ours does not take its place;"
                f" see: ip route show table {route.table} {route.prefix}"
            )
        case errno.ENODEV if not route.device:
            return "no interface of this node has a subnet; name one by the setting interface"
        case errno.ENODEV:
            return f"there is no interface {route.device}"
        case errno.ENETDOWN:
            return f"interface {route.device} is down"
        case number:
            return f"the kernel takes no route to {route.prefix}: {errno.errorcode.get(number, number)}"


def owned(route: Route, settings: Settings) -> bool:
    """Whether *route* is one of ours: by table, protocol, and that it is for a single address."""
    mine = (settings.routing_table, settings.routing_protocol)
    return (route.table, route.protocol) == mine and route.prefix.num_addresses == 1


def _ordered(routes: Set[Route]) -> list[Route]:
    return sorted(routes, key=_key)


def _key(route: Route) -> tuple[int, int, int, str, str]:
    return (
        route.prefix.version,
        int(route.prefix.network_address),
        route.metric,
        route.device,
        route.kind,
    )
