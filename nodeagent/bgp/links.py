"""Finds the router at the other end of a link by its link-local address, for sessions that name an interface only."""

import contextlib
import logging
import socket
import struct
from ipaddress import IPv6Address
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

log = logging.getLogger(__name__)

ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
ECHO_REQUEST, ROUTER_SOLICITATION = 128, 133  # ICMPv6 (RFC 4443; RFC 4861, section 4.1)
HOPS = 255  # Neighbor Discovery takes nothing that passed a router
NTF_ROUTER = 0x80  # linux/neighbour.h: the neighbour said that it is a router
NUD_FAILED = 0x20


class Links:
    """The links of this node."""

    async def find(self, interface: str) -> str | None:
        """The router's link-local address with zone; None as long as there is none, or more than one.

        Where several stations are on the link, the one that says it is a router is meant. Asks the link, if nobody is
        known; the answer is there at the next call.
        """
        try:
            index = socket.if_nametoindex(interface)
        except OSError:
            return None
        stations = await self._stations(index)
        routers = [address for address, router in stations.items() if router]
        for found in (routers, list(stations)):
            if len(found) == 1:
                return f"{found[0]}%{interface}"
            if found:
                return None
        _ask(index)
        return None

    async def _stations(self, index: int) -> dict[str, bool]:
        """Link-local neighbours, and whether each is a router. Raises nothing: no answer is no neighbour."""
        found: dict[str, bool] = {}
        with contextlib.suppress(NetlinkError, OSError):
            async with AsyncIPRoute() as route:
                async for message in await route.get_neighbours(family=socket.AF_INET6, ifindex=index):
                    _station(message, index, found)
        return found


def _station(message: Any, index: int, found: dict[str, bool]) -> None:
    text = message.get("dst")
    if text is None or message["ifindex"] != index or message["state"] & NUD_FAILED:
        return
    address = IPv6Address(text)
    if address.is_link_local:
        found[str(address)] = bool(message["flags"] & NTF_ROUTER)


def _ask(index: int) -> None:
    """Have whoever is on the link say something: a station that answers looks us up, and so is known itself."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6) as asking:
            asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
            asking.sendto(struct.pack("!BBHI", ROUTER_SOLICITATION, 0, 0, 0), (ALL_ROUTERS, 0, 0, index))
            asking.sendto(struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 0, 1), (ALL_NODES, 0, 0, index))
    except OSError as error:
        log.debug("no question to the link %d: %s", index, error)
