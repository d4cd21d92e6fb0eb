"""Links and addresses in the kernel, by rtnetlink."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import reduce
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_address
from pathlib import Path
from typing import Any, NoReturn

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nodeagent.addresses import rtnetlink
from nodeagent.addresses.plan import (
    MARK,
    OLDEST_KERNEL,
    Add,
    Address,
    Done,
    Event,
    Failed,
    Link,
    LinkGone,
    LinkSeen,
    Outcome,
    Placed,
    PrefixGone,
    PrefixSeen,
    Present,
    Refresh,
    Remove,
    Settings,
    Step,
    Unsupported,
    VipGone,
    fold,
    listed,
    supported,
)
from nodeagent.addresses.rtnetlink import Standing
from roost.frames.ethernet import MAC_LENGTH, Mac
from roost.frames.ndp import solicited_node
from roost.process import Unreachable

_LOOKS, _LOOK = 50, 0.002  # how often, and how many seconds apart, it is looked for a group that the kernel joins

Message = Any  # pyroute2 ships no types

_SCOPE_HOST = 254  # linux/rtnetlink.h; docs/decisions/0001: never a source for the node's own packets
_FLAGS = {4: 0x200, 6: 0x200 | 0x02}  # linux/if_addr.h: NOPREFIXROUTE; NODAD, which is IPv6's
_FOREVER = 0xFFFFFFFF
_STANDING = {"vlan", "macvlan", "macvtap", "ipvlan", "macsec"}  # on another device, IFLA_LINK; a veth's is its peer
_UP = 0x1  # linux/if.h: IFF_UP
_GROUPS = 0x1 | 0x10 | 0x100  # linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR


class Addresses:
    """Reads links and addresses, and puts VIPs on and off, in the network namespace where it is made."""

    def __init__(self, settings: Settings) -> None:
        """Raises Unsupported where the kernel is too old to keep our mark."""
        if not supported(release := os.uname().release):
            wanted = ".".join(map(str, OLDEST_KERNEL))
            raise Unsupported(f"kernel {release} keeps no mark on an address: {wanted} or newer is needed")
        self.settings = settings
        self._netlink, self._putting = AsyncIPRoute(), rtnetlink.Putting()
        self._one_at_a_time = threading.Lock()  # of the threads that put addresses on and off
        self._turn = asyncio.Lock()  # the kernel takes one dump of a socket at a time, and calls a second one busy

    async def close(self) -> None:
        """Close the socket; what is on the links stays until its lifetime ends."""
        self._netlink.close()
        self._putting.close()

    async def links(self) -> tuple[Link, ...]:
        """All links with their own prefixes, in order of their index."""
        return listed(await self._links())

    async def present(self) -> frozenset[Present]:
        """All addresses of all links, whoever put them there."""
        async with _reachable():
            names = {link["index"]: link.get("ifname") for link in await self._dump(self._netlink.link)}
            found = await self._dump(self._netlink.addr)
        return frozenset(_present(message, names[message["index"]]) for message in found if message["index"] in names)

    async def gateways(self, device: str) -> tuple[Address, ...]:
        """The next hops of the default routes over *device*, of all tables and both families; none where it is not.

        The kernel picks the routes of the device: a node may have thousands. Raises Unreachable.
        """
        try:
            index = socket.if_nametoindex(device)
        except OSError:
            return ()
        asking = AsyncIPRoute(strict_check=True)
        found = set[Address]()
        try:
            async with _reachable():
                for family in (socket.AF_INET, socket.AF_INET6):
                    # pyroute2 by itself would have all routes sent, and filter them here
                    routes = await asking.route("dump", family=family, oif=index, type="unicast", dump_filter=_anything)
                    found |= {hop async for route in routes for hop in _gateways(route, index)}
        finally:
            asking.close()
        return tuple(sorted(found, key=lambda address: (address.version, int(address))))

    async def do(self, steps: Iterable[Step]) -> tuple[Outcome, ...]:
        """Take *steps* in their order; one that fails keeps none of the others back.

        An IPv6 address that was added is asked for by multicast, and the kernel joins that group a moment later, in a
        task of its own (addrconf_dad_work() in net/ipv6/addrconf.c): until then it would not hear the first question,
        and whoever asks does so again after a second only.

        In a thread: the kernel does it within the call, under a lock that the whole machine shares (RTNL), and where
        many interfaces come and go it may wait for seconds. Nothing else here is to wait with it.
        """
        done = await asyncio.to_thread(self._all, tuple(steps))
        added = [each.step.at for each in done if isinstance(each, Done) and isinstance(each.step, Add)]
        wanted = {(at.device, solicited_node(at.address)) for at in added if isinstance(at.address, IPv6Address)}
        for _ in range(_LOOKS):
            if not wanted or wanted <= _groups_joined():
                break
            await asyncio.sleep(_LOOK)
        return done

    async def watch(self, changed: Callable[[tuple[Link, ...]], None]) -> NoReturn:
        """Call *changed* with all links now, whenever they change, and whenever an address with our mark went.

        Where events were lost (ENOBUFS) everything is read again.
        """
        while True:
            monitor = AsyncIPRoute()
            try:
                async with _reachable():
                    await monitor.bind(groups=_GROUPS)
                    links = await self._links()  # events were recorded before this: what we hear twice does no harm
                    changed(listed(links))
                    await self._follow(monitor, links, changed)
            finally:
                monitor.close()

    async def _follow(
        self, monitor: Message, links: Mapping[int, Link], changed: Callable[[tuple[Link, ...]], None]
    ) -> None:
        """Fold events into *links* until some are lost."""
        try:
            while True:
                before, lost = links, False
                async with aclosing(monitor.get()) as burst:
                    async for message in burst:
                        event = _event(message)
                        lost |= isinstance(event, VipGone)
                        links = fold(links, event) if event else links
                if lost or links != before:
                    changed(listed(links))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise

    async def _links(self) -> Mapping[int, Link]:
        async with _reachable():
            messages = [*await self._dump(self._netlink.link), *await self._dump(self._netlink.addr)]
        events = [event for message in messages if (event := _event(message))]
        return reduce(fold, events, dict[int, Link]())

    async def _dump(self, of: Message) -> list[Message]:
        async with self._turn:
            return [message async for message in await of("dump")]

    def _all(self, steps: tuple[Step, ...]) -> tuple[Outcome, ...]:
        with self._one_at_a_time:
            return tuple(self._one(step) for step in steps)

    def _one(self, step: Step) -> Outcome:
        try:
            index = socket.if_nametoindex(step.at.device)
        except OSError:  # there is no such device
            return Done(step) if _is_as_wanted(step, errno.ENODEV) else Failed(step, errno.ENODEV)
        try:
            code = self._putting.do(_KINDS[type(step)], index, step.at.address, *self._wish(step))
        except OSError as error:
            raise Unreachable(f"rtnetlink: {error}") from error
        return Done(step) if not code or _is_as_wanted(step, code) else Failed(step, code)

    def _wish(self, step: Step) -> tuple[int, Standing | None]:
        address = step.at.address
        match step:
            case Remove():
                return step.prefix_length, None
            case Add() | Refresh():
                lifetime = self.settings.address_lifetime
                return address.max_prefixlen, Standing(_SCOPE_HOST, _FLAGS[address.version], MARK, lifetime)


_KINDS: Mapping[type[Step], int] = {Add: rtnetlink.ADD, Refresh: rtnetlink.REFRESH, Remove: rtnetlink.REMOVE}


def _is_as_wanted(step: Step, code: int) -> bool:
    """Whether a refusal means that somebody else did it: what is to be removed is not there."""
    return isinstance(step, Remove) and code in {errno.EADDRNOTAVAIL, errno.ENODEV}


@asynccontextmanager
async def _reachable() -> AsyncIterator[None]:
    try:
        yield
    except (OSError, NetlinkError) as error:
        raise Unreachable(f"rtnetlink: {error}") from error


def _anything(_message: Message) -> bool:
    return True


def _gateways(route: Message, index: int) -> Iterator[Address]:
    """The next hops of a default route on the device of that *index*."""
    if route["dst_len"] == 0:
        for oif, hop in [(route.get("oif"), route), *((hop["oif"], hop) for hop in route.get("multipath") or ())]:
            via = hop.get("via")  # a next hop of the other family (RFC 9229)
            gateway = hop.get("gateway") or (via and via["addr"])
            if oif == index and gateway:
                yield ip_address(gateway)


def _groups_joined() -> set[tuple[str, IPv6Address]]:
    """The IPv6 multicast groups that each device is a member of; none where the kernel has no IPv6."""
    try:
        lines = Path("/proc/self/net/igmp6").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return set()
    fields = (line.split() for line in lines)
    return {(device, IPv6Address(int(group, 16))) for _, device, group, *_ in fields}


def _present(message: Message, device: str) -> Present:
    address = ip_address(message.get("local") or message.get("address"))
    left = message.get("cacheinfo")["ifa_valid"]
    return Present(
        Placed(address, device), message["prefixlen"], message.get("proto") or 0, None if left == _FOREVER else left
    )


def _event(message: Message) -> Event | None:
    """What a message of rtnetlink says, from a dump as well as from a group; None when it is nothing to us."""
    match message["event"]:
        case "RTM_NEWLINK" if message["family"] == socket.AF_UNSPEC:  # bridges speak of their ports as AF_BRIDGE
            return LinkSeen(_link(message))
        case "RTM_DELLINK" if message["family"] == socket.AF_UNSPEC:
            return LinkGone(message["index"])
        case "RTM_NEWADDR" if message.get("proto") != MARK:
            return PrefixSeen(message["index"], _prefix(message))
        case "RTM_DELADDR":
            index = message["index"]
            return VipGone(index) if message.get("proto") == MARK else PrefixGone(index, _prefix(message))
        case _:
            return None


def _link(message: Message) -> Link:
    mac = message.get("address") or ""
    info = message.get("linkinfo")
    kind = (info.get("kind") if info else None) or ""
    stands = kind in _STANDING and message.get("link_netnsid") is None  # else the index is that of another namespace
    return Link(
        name=message.get("ifname"),
        index=message["index"],
        mac=Mac.parse(mac) if mac.count(":") == MAC_LENGTH - 1 else None,
        mtu=message.get("mtu"),
        kind=kind,
        up=bool(message["flags"] & _UP and message.get("carrier")),
        master=message.get("master") or 0,
        lower=(message.get("link") or 0) if stands else 0,
    )


def _prefix(message: Message) -> IPv4Interface | IPv6Interface:
    """The link's own address with its prefix; on a point-to-point link the prefix is the other end's, not ours."""
    own, far = message.get("local"), message.get("address")
    if message["family"] == socket.AF_INET6:
        return IPv6Interface(f"{far if own is None else own}/{message['prefixlen'] if own is None else 128}")
    return IPv4Interface(f"{own or far}/{message['prefixlen'] if own in (None, far) else 32}")
