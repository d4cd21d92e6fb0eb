"""Which VIPs the links of this node should carry, the steps to get there, and what events say of links. No I/O."""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from roost.frames.ethernet import Mac

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

_WITH_PORTS = {"bridge", "bond", "team"}
LOCAL = {"veth", "tun", "netkit"}  # a pod or a virtual machine is at the other end
UNTAGGED = {"macvlan", "macvtap", "ipvlan"}  # on the same wire as the device below, as it is
_DEEPEST = 8  # devices above one another, as the kernel has it (MAX_NEST_DEV, linux/netdevice.h)

MARK = 82  # IFA_PROTO of what we add: we never touch an address without it
OLDEST_KERNEL = (5, 18)  # the first that keeps IFA_PROTO


class Unsupported(Exception):
    """No address can carry our mark on this machine; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long an address outlives the agent that put it there."""

    address_lifetime: int = 60
    """Seconds that an address stays on the interface when the agent is gone. House-keeping: the gate is the fence."""

    address_refresh: int = 20
    """Seconds after which a VIP's address is given its full lifetime again."""

    def __post_init__(self) -> None:
        if not 0 < self.address_refresh < self.address_lifetime:
            raise ValueError("address-refresh must lie between 0 and address-lifetime")


@dataclass(frozen=True, slots=True)
class Link:
    """A network device; *up* means switched on and with carrier, *prefixes* are its own, without VIPs of ours.

    *kind* is the kernel's word (`bond`, `vlan`, `bridge`, `veth` …), and empty for hardware. *mac* is None where the
    device has no Ethernet address. *master* is the index of the device that it is a port of, *lower* of the one that it
    stands on (as a VLAN does), and 0 where there is none, or none in this network namespace.
    """

    name: str
    index: int
    mac: Mac | None
    mtu: int
    kind: str
    up: bool
    prefixes: tuple[Interface, ...] = ()
    master: int = 0
    lower: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """A VIP on a device."""

    address: Address
    device: str


@dataclass(frozen=True, slots=True)
class Present:
    """An address that the kernel has; *mark* is its IFA_PROTO (0: none), *seconds_left* None when it stays for ever."""

    at: Placed
    prefix_length: int
    mark: int
    seconds_left: int | None


@dataclass(frozen=True, slots=True)
class Add:
    """Put the VIP on its device: /32 or /128, scope host, deprecated, no prefix route, no DAD, with our mark."""

    at: Placed


@dataclass(frozen=True, slots=True)
class Refresh:
    """Give the VIP that is there its full lifetime again."""

    at: Placed


@dataclass(frozen=True, slots=True)
class Remove:
    """Take the VIP away."""

    at: Placed
    prefix_length: int


Step = Add | Refresh | Remove


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


def steps(have: Set[Present], want: Set[Placed], *, synced: bool, settings: Settings) -> tuple[Step, ...]:
    """Adds, then refreshes that are due, then removals; removals only after the first full list (*synced*).

    A wanted VIP that its device carries without our mark stays as it is: foreign() tells of it.
    """
    ours = {present for present in have if present.mark == MARK}
    right = {present.at: present for present in ours if present.prefix_length == present.at.address.max_prefixlen}
    untouchable = {present.at for present in have - ours}
    adds = [Add(at) for at in _ordered(want - right.keys() - untouchable)]
    refreshes = [Refresh(at) for at in _ordered(want & right.keys()) if _due(right[at], settings) <= 0]
    removes = [present for present in ours if present.at not in want or right.get(present.at) != present]
    if not synced:
        return (*adds, *refreshes)
    removes.sort(key=lambda present: (_key(present.at), present.prefix_length))
    return (*adds, *refreshes, *(Remove(present.at, present.prefix_length) for present in removes))


def foreign(have: Set[Present], want: Iterable[Placed]) -> frozenset[Placed]:
    """Where this node carries wanted VIPs that somebody else put there.

    On the wanted device we leave them alone. Elsewhere (kube-ipvs0 has every VIP) they do not hinder ours.
    """
    vips = {at.address for at in want}
    return frozenset(present.at for present in have if present.mark != MARK and present.at.address in vips)


def next_refresh(have: Set[Present], want: Set[Placed], settings: Settings) -> float | None:
    """In how many seconds the next refresh is due; None when there is nothing to refresh."""
    return min(
        (_due(present, settings) for present in have if present.mark == MARK and present.at in want), default=None
    )


def _due(present: Present, settings: Settings) -> float:
    """Seconds until *present* must be refreshed; an address of ours that would stay for ever gets its lifetime now."""
    if present.seconds_left is None:
        return 0.0
    return max(0.0, float(present.seconds_left - (settings.address_lifetime - settings.address_refresh)))


def supported(release: str) -> bool:
    """Whether a kernel of this release (as `uname -r` says it) keeps our mark on an address."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_KERNEL


def containing(links: Iterable[Link], address: Address) -> Link | None:
    """The link with the subnet that contains *address*; the longest prefix wins, then the lowest index.

    A port of a bridge or bond is none: nothing that is sent to it arrives at an address of its own. A device that
    stands on another with the same subnet is chosen before that one, but a macvlan after it.
    """
    return next((link for network, link in subnets(links) if address in network), None)


def subnets(links: Iterable[Link]) -> tuple[tuple[Network, Link], ...]:
    """The subnets of *links* in the order in which containing() tries them."""
    by_index = {link.index: link for link in links}
    found = [
        (-prefix.network.prefixlen, _depth(by_index, link), link.index, prefix.network, link)
        for link in by_index.values()
        for prefix in link.prefixes
        if prefix.network.prefixlen < prefix.max_prefixlen and upper(by_index, link) is link
    ]
    return tuple((network, link) for *_, network, link in sorted(found, key=lambda subnet: subnet[:3]))


def _depth(links: Mapping[int, Link], link: Link) -> int:
    """On how many devices *link* stands, counted down; a macvlan is no better than what is below."""
    below = len(beneath(links, link))
    return below if link.kind in UNTAGGED else -below


def upper(links: Mapping[int, Link], link: Link) -> Link:
    """The device that has the addresses: the bridge or bond that *link* is a port of, else itself."""
    for _ in range(_DEEPEST):
        master = links.get(link.master)
        if (
            master is None or master.kind not in _WITH_PORTS
        ):  # the master of a VRF's devices leaves them their addresses
            break
        link = master
    return link


def beneath(links: Mapping[int, Link], link: Link) -> tuple[Link, ...]:
    """The devices that *link* stands on, the next first."""
    found = list[Link]()
    while (link.lower in links) and len(found) < _DEEPEST:
        link = links[link.lower]
        found.append(link)
    return tuple(found)


def works(links: Mapping[int, Link], link: Link, depth: int = 0) -> bool:
    """Whether the whole path of *link* is up, down to the cable.

    A VLAN needs what it stands on; a bond one of its ports. A bridge needs one of those ports that lead out of the
    machine, if it has any: its own carrier is there for as long as a pod or a virtual machine hangs on it.
    """
    if not link.up or depth > _DEEPEST:
        return False
    ports = [port for port in links.values() if port.master == link.index] if link.kind in _WITH_PORTS else []
    leading_out = [port for port in ports if port.kind not in LOCAL] or ports
    if leading_out:
        return any(works(links, port, depth + 1) for port in leading_out)
    lower = links.get(link.lower)
    return lower is None or works(links, lower, depth + 1)


def own(link: Link) -> frozenset[Address]:
    """The addresses by which this node itself is known on *link*: never to be fenced, whatever a pool says.

    An address without a subnet is not counted: it may be a VIP that another program left behind.
    """
    return frozenset(prefix.ip for prefix in link.prefixes if prefix.network.num_addresses > 1)


def named(links: Iterable[Link], name: str) -> Link | None:
    """The link called *name*."""
    return next((link for link in links if link.name == name), None)


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A link as it is now; its prefixes are told apart, and stay."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkGone:
    index: int


@dataclass(frozen=True, slots=True)
class PrefixSeen:
    index: int
    prefix: Interface


@dataclass(frozen=True, slots=True)
class PrefixGone:
    index: int
    prefix: Interface


@dataclass(frozen=True, slots=True)
class VipGone:
    """An address with our mark went: we removed it, or its time was up, or somebody else did."""

    index: int


Event = LinkSeen | LinkGone | PrefixSeen | PrefixGone | VipGone


def fold(links: Mapping[int, Link], event: Event) -> Mapping[int, Link]:
    """The links after *event*, by index. Hearing an event twice does no harm."""
    match event:
        case LinkSeen(link):
            known = links.get(link.index)
            return {**links, link.index: replace(link, prefixes=known.prefixes if known else ())}
        case LinkGone(index):
            return {key: link for key, link in links.items() if key != index}
        case PrefixSeen(index, prefix) if index in links and prefix not in links[index].prefixes:
            return _with(links, index, (*links[index].prefixes, prefix))
        case PrefixGone(index, prefix) if index in links:
            return _with(links, index, tuple(other for other in links[index].prefixes if other != prefix))
        case _:
            return links


def listed(links: Mapping[int, Link]) -> tuple[Link, ...]:
    """The links in order of their index; *up* says that their whole path is."""
    return tuple(replace(links[index], up=works(links, links[index])) for index in sorted(links))


def _with(links: Mapping[int, Link], index: int, prefixes: tuple[Interface, ...]) -> Mapping[int, Link]:
    in_order = tuple(sorted(prefixes, key=lambda prefix: (prefix.version, int(prefix), prefix.network.prefixlen)))
    return {**links, index: replace(links[index], prefixes=in_order)}


def _ordered(places: Set[Placed]) -> list[Placed]:
    return sorted(places, key=_key)


def _key(at: Placed) -> tuple[int, int, str]:
    return at.address.version, int(at.address), at.device
