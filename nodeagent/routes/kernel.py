"""The routes of one table in the kernel, by rtnetlink."""

import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from ipaddress import IPv4Network, ip_network
from typing import Any, NoReturn

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nodeagent.routes.plan import (
    BOOT,
    Add,
    Delete,
    DeviceChanged,
    Done,
    Event,
    Failed,
    Kind,
    Missed,
    Outcome,
    Replace,
    Route,
    RouteGone,
    RouteSeen,
    Settings,
    Step,
)
from roost.process import Unreachable

Message = Any  # pyroute2 ships no types

# linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
_GROUPS = 0x1 | 0x10 | 0x40 | 0x400
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_TYPES = {Kind.UNICAST: 1, Kind.LOCAL: 2}  # RTN_UNICAST, RTN_LOCAL
_CLONED = 0x200  # RTM_F_CLONED: an entry of a cache
_KINDS = {number: kind for kind, number in _TYPES.items()}
_SCOPES = {Kind.UNICAST: 253, Kind.LOCAL: 254}  # RT_SCOPE_LINK; RT_SCOPE_HOST, the only one that the kernel takes there
_COMMANDS: Mapping[type[Step], str] = {Add: "add", Replace: "replace", Delete: "del"}


class Kernel:
    """Reads and writes routes in the network namespace where it is made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._netlink = AsyncIPRoute(strict_check=True)  # the kernel filters: other programs may have a million routes

    async def close(self) -> None:
        """Close the socket; the routes stay."""
        self._netlink.close()

    async def read(self) -> frozenset[Route]:
        """The host routes of our table that have our protocol or none, of both families. Raises Unreachable."""
        found = set[Route]()
        async with _reachable():
            for family in _FAMILIES.values():
                for protocol in {self._settings.routing_protocol, BOOT}:
                    found |= await self._dump(family, protocol)
        return frozenset(found)

    async def do(self, steps: Iterable[Step]) -> tuple[Outcome, ...]:
        """Take *steps* in their order; one that fails keeps none of the others back. Raises Unreachable."""
        return tuple([await self._one(step) for step in steps])

    async def watch(self, heard: Callable[[Event], None]) -> NoReturn:
        """Call *heard* with all that happens to routes and devices from now on. Raises Unreachable."""
        while True:
            monitor = AsyncIPRoute()
            try:
                async with _reachable():
                    await monitor.bind(groups=_GROUPS)
                    heard(Missed())  # until now, or since the events before were lost
                    await self._follow(monitor, heard)
            finally:
                monitor.close()

    async def _follow(self, monitor: Message, heard: Callable[[Event], None]) -> None:
        """Tell events until some are lost."""
        try:
            while True:
                async with aclosing(monitor.get()) as burst:
                    async for message in burst:
                        if event := self._event(message):
                            heard(event)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise

    async def _dump(self, family: int, protocol: int) -> set[Route]:
        table = self._settings.routing_table
        try:
            messages = await self._netlink.route(
                "dump", family=family, table=table, proto=protocol, dump_filter=_anything
            )
            return {route async for message in messages if (route := _route(message)) is not None}
        except NetlinkError as error:
            if error.code == errno.ENOENT:  # no such table, which the kernel makes with the first route
                return set()
            raise

    async def _one(self, step: Step) -> Outcome:
        try:
            index = socket.if_nametoindex(step.route.device)
        except OSError:  # there is no such device, and so no such route
            return Done(step) if isinstance(step, Delete) else Failed(step, errno.ENODEV)
        try:
            async with _reachable(but=NetlinkError):
                await self._netlink.route(_COMMANDS[type(step)], **_message(step.route, index))
        except NetlinkError as error:
            gone = isinstance(step, Delete) and error.code in {errno.ESRCH, errno.ENOENT}
            return Done(step) if gone else Failed(step, error.code)
        return Done(step)

    def _event(self, message: Message) -> Event | None:
        """What a message says; None when it is nothing to us."""
        match message["event"]:
            case "RTM_NEWROUTE" | "RTM_DELROUTE" as what:
                if message.get("table") != self._settings.routing_table or (route := _route(message)) is None:
                    return None
                return RouteSeen(route) if what == "RTM_NEWROUTE" else RouteGone(route)
            case "RTM_NEWLINK" | "RTM_DELLINK" if message["family"] == socket.AF_UNSPEC:
                return DeviceChanged(message.get("ifname"))
            case "RTM_DELADDR":
                return DeviceChanged(_name(message["index"]))  # with the last one the kernel drops all routes there
            case _:
                return None


def _message(route: Route, index: int) -> dict[str, object]:
    return {
        "family": _FAMILIES[route.prefix.version],
        "dst": str(route.prefix),
        "table": route.table,
        "proto": route.protocol,
        "priority": route.metric,
        "oif": index,
        "type": _TYPES[route.kind],
        "scope": _SCOPES[route.kind] if isinstance(route.prefix, IPv4Network) else 0,  # IPv6 has none
    }


def _route(message: Message) -> Route | None:
    """The route that *message* is about; None where it is for more than one address, or is of a kind we do not make."""
    destination, kind = message.get("dst"), _KINDS.get(message["type"])
    if destination is None or kind is None or message["flags"] & _CLONED:
        return None
    prefix = ip_network(f"{destination}/{message['dst_len']}")
    if prefix.num_addresses > 1:
        return None
    index = message.get("oif")
    return Route(
        prefix=prefix,
        device=_name(index) if index else "",
        table=message.get("table"),
        protocol=message["proto"],
        metric=message.get("priority") or 0,
        kind=kind,
    )


def _name(index: int) -> str:
    """The device's name; empty when it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def _anything(_message: Message) -> bool:
    return True


@asynccontextmanager
async def _reachable(but: type[Exception] | tuple[()] = ()) -> AsyncIterator[None]:
    try:
        yield
    except but:
        raise
    except (OSError, NetlinkError) as error:
        raise Unreachable(f"rtnetlink: {error}") from error
