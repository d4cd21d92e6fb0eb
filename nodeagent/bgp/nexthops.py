"""Which families a session carries, and what stands as next hop in the paths of each. No I/O."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from nodeagent.bgp.notation import NextHopMode
from nodeagent.bgp.situation import Here
from nodeagent.bgp.values import NextHops
from roost.words import Address

BOTH = frozenset({4, 6})


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. No *families*: what the session's address and *mode* need."""

    mode: NextHopMode = NextHopMode.SELF
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    families: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Ends:
    """Between what a session is. *remote* None: unnumbered."""

    remote: Address | None
    source_address: Address | None = None
    source_interface: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """*problem*: what of the wish could not be met. No *families*: nothing can be announced in that session."""

    families: frozenset[int]
    next_hops: NextHops = NextHops()
    problem: str = ""


def choose(wish: Wish, ends: Ends, here: Here, vips: Collection[Address]) -> Choice:
    """The families and next hops of one session; a VIP is never a next hop.

    What cannot be met costs the other family, not the session: its own family needs no address of ours. An unnumbered
    session carries both by itself (RFC 8950).
    """
    plain = BOTH if ends.remote is None else frozenset({ends.remote.version})
    given: dict[int, Address] = {hop.version: hop for hop in (wish.ipv4, wish.ipv6) if hop is not None}
    fixed = given if wish.mode is NextHopMode.FIXED else {}
    usual = plain if wish.mode is NextHopMode.SELF else BOTH
    if wish.mode is NextHopMode.FIXED:
        usual = plain | frozenset(fixed)
    families = wish.families or usual
    if wish.mode is NextHopMode.FIXED and not fixed:
        return Choice(families & plain, problem="next hop Fixed names neither an IPv4 nor an IPv6 address")
    hops = dict(fixed)
    problem = ""
    for version in sorted(families - plain - fixed.keys()):
        found = _found(wish, ends, here, vips, version)
        if isinstance(found, str):
            problem = f"IPv{version} is not announced there: {found}"
            families -= frozenset({version})
        else:
            hops[version] = found
    ipv4, ipv6 = hops.get(4), hops.get(6)
    assert not isinstance(ipv4, IPv6Address)
    assert not isinstance(ipv6, IPv4Address)
    return Choice(families, NextHops(ipv4, ipv6), problem)


def _found(wish: Wish, ends: Ends, here: Here, vips: Collection[Address], version: int) -> Address | str:
    """The address of this node that stands for a family; or what is missing for that."""
    by_address = None if ends.source_address is None else owner(here, ends.source_address)
    missing = "it is not known through which interface the session goes, so give its next hop"
    match wish.mode:
        case NextHopMode.FIXED:
            interface, missing = None, f"next hop Fixed names no IPv{version} address"
        case NextHopMode.SOURCE_ADDRESS if ends.source_address is None:
            interface, missing = None, "next hop SourceAddress, and no source address is given"
        case NextHopMode.SOURCE_ADDRESS:
            interface, missing = by_address, f"source address {ends.source_address} is on no interface of this node"
        case NextHopMode.SOURCE_INTERFACE:
            interface = ends.source_interface or by_address
            missing = "next hop SourceInterface, and no source interface is given"
        case _:
            interface = ends.source_interface or by_address or towards(here, ends.remote)
    if not interface:
        return missing
    return address_on(here, interface, version, vips) or f"{interface} has no IPv{version} address"


def owner(here: Here, address: Address) -> str | None:
    """The interface that has *address*."""
    return next((name for name, own in sorted(here.interfaces.items()) if any(a.ip == address for a in own)), None)


def towards(here: Here, remote: Address | None) -> str | None:
    """The interface with a subnet that *remote* is in."""
    found = [
        (-own.network.prefixlen, name)
        for name, addresses in here.interfaces.items()
        for own in addresses
        if remote is not None and remote.version == own.version and remote in own.network
    ]
    return min(found)[1] if found else None


def address_on(here: Here, interface: str, version: int, vips: Collection[Address] = ()) -> Address | None:
    """The address of *interface*: one that the Node object names, else the first. Link-local ones are none."""
    found = [
        own.ip
        for own in here.interfaces.get(interface, ())
        if own.version == version and not own.ip.is_link_local and own.ip not in vips
    ]
    return next((address for address in found if address in here.addresses), found[0] if found else None)
