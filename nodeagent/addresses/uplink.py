"""Which interface the VIPs are announced on, and what its segment is called. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from nodeagent.addresses.plan import LOCAL, Link, beneath, containing, named, subnets, upper
from roost.kube.wire import Segment
from roost.selectors import selects
from roost.words import Reason

LOOPBACK = "lo"
UNTAGGED = {"macvlan", "macvtap", "ipvlan"}


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface to announce on, and the name of the table of its segment."""

    link: Link
    segment: str


@dataclass(frozen=True, slots=True)
class NoUplink:
    """There is none (yet), and why."""

    reason: Reason
    message: str


_NONE = NoUplink(
    Reason.NO_INTERFACE,
    "no interface has a subnet with a VIP in it; name one by the setting interface, or make a Segment",
)


def choose(
    setting: str,
    links: Sequence[Link],
    segments: Iterable[Segment],
    labels: dict[str, str],
    vips: Iterable[IPv4Address | IPv6Address],
) -> Uplink | NoUplink:
    """By the setting; else by the first Segment (in order of name) that selects this node; else by a VIP's subnet."""
    fitting = sorted((s for s in segments if _selects(s, labels)), key=lambda s: s.metadata.name)
    if setting:
        link = named(links, setting)
        if link is None:
            # Only those that VIPs could go on: the cables of pods come and go, and would make this news each time.
            there = ", ".join(sorted(link.name for link in links if _could_be(link)))
            why = f"interface {setting} is not there (there are: {there}); mend the setting interface"
            return NoUplink(Reason.NO_SUCH_INTERFACE, why)
        return _named(link, fitting)
    for segment in fitting:
        for name in sorted(segment.spec.interfaces):
            if (link := named(links, name)) is not None:
                return _named(link, [segment])
    for vip in vips:
        if (link := containing(links, vip)) is not None:
            return _named(link, fitting)
    return _NONE


def choose_all(
    setting: str,
    links: Sequence[Link],
    segments: Iterable[Segment],
    labels: dict[str, str],
    vips: Iterable[IPv4Address | IPv6Address],
) -> tuple[Uplink, ...] | NoUplink:
    """All interfaces to announce on, no two of them on one segment.

    The setting is the only one. Else each Segment that selects this node has the first of its interfaces that is here,
    and each further interface with a VIP in its subnet has one too. Whoever names a port of a bridge or bond gets the
    bridge or bond.
    """
    fitting = sorted((s for s in segments if _selects(s, labels)), key=lambda s: s.metadata.name)
    by_index = {link.index: link for link in links}
    if setting:
        link = named(links, setting)
        one = choose(upper(by_index, link).name if link else setting, links, fitting, labels, ())
        return (one,) if isinstance(one, Uplink) else one
    found, refused = dict[str, Uplink](), list[NoUplink]()
    for link, named_by in _candidates(by_index, fitting, vips):
        if all(link.name != uplink.link.name for uplink in found.values()):
            one = _named(link, fitting, named_by)
            if isinstance(one, NoUplink):
                refused.append(one)
            else:
                found.setdefault(one.segment, one)
    return tuple(found.values()) or next(iter(refused), _NONE)


def homes(uplinks: Sequence[Uplink], links: Sequence[Link]) -> Callable[[IPv4Address | IPv6Address], Uplink | None]:
    """Which uplink a VIP belongs on: the one with a subnet that contains it, be it one of several there.

    A VIP that no interface of this node has a subnet for is routed here by somebody, and goes on the first. None: it
    belongs on an interface that is no uplink.
    """
    by_index = {uplink.link.index: uplink for uplink in uplinks}
    ours = [(network, by_index[link.index]) for network, link in subnets(uplink.link for uplink in uplinks)]
    others = [network for network, link in subnets(links) if link.index not in by_index]

    def home(vip: IPv4Address | IPv6Address) -> Uplink | None:
        here = next((uplink for network, uplink in ours if vip in network), None)
        if here is not None or any(vip in network for network in others):
            return here
        return next(iter(uplinks), None)

    return home


def speaking(links: Sequence[Link]) -> tuple[str, ...]:
    """The devices on which this node's kernel may claim a VIP to others, in order of their index: all to be fenced.

    Linux answers ARP on every device for every address it has: on the one below a macvlan with another MAC, and on a
    second one that hangs on the same switch. Not on the ports of a bridge or bond; and cables to pods, which have no
    subnet, lead to nobody else.
    """
    by_index = {link.index: link for link in links}
    below = {link.lower for link in links}
    return tuple(
        link.name
        for link in sorted(links, key=lambda link: link.index)
        if link.mac is not None and upper(by_index, link) is link and link.name != LOOPBACK
        if link.kind not in LOCAL or link.index in below or _could_be(link)
    )


def passed(links: Sequence[Link], uplink: Link) -> tuple[str, ...]:
    """The devices whose gates a claim from *uplink* passes, itself first: hold and permit on each.

    What leaves a macvlan leaves the device below as it is, which a gate cannot tell from that one's own (whose kernel
    then answers as well: one node with two MACs, both of which serve). What leaves a VLAN bears a tag there.
    """
    by_index = {link.index: link for link in links}
    names = [uplink.name]
    for below in beneath(by_index, uplink):
        if uplink.kind not in UNTAGGED:
            break
        names.append(below.name)
        uplink = below
    return tuple(names)


def _candidates(
    links: Mapping[int, Link], fitting: Iterable[Segment], vips: Iterable[IPv4Address | IPv6Address]
) -> Iterator[tuple[Link, str]]:
    """Interfaces in order of their right to be uplinks, and the Segment that names each, if one does."""
    for segment in fitting:
        here = (link for name in sorted(segment.spec.interfaces) if (link := named(links.values(), name)) is not None)
        for link in here:
            yield upper(links, link), segment.metadata.name
            break
    there = [(network, link) for network, link in subnets(links.values()) if not network.is_link_local]
    for vip in vips:
        where = next((link for network, link in there if vip in network), None)
        if where is not None:
            yield where, ""


def _selects(segment: Segment, labels: dict[str, str]) -> bool:
    return bool(segment.spec.interfaces) and selects(segment.spec.node_selector, labels)


def _named(link: Link, segments: Iterable[Segment], named_by: str = "") -> Uplink | NoUplink:
    """The uplink with the name of its table: that of the Segment it is *named_by*, or of one that names it."""
    if link.mac is None:
        why = f"interface {link.name} is no Ethernet: VIPs cannot be announced there"
        return NoUplink(Reason.NO_INTERFACE, why)
    ours = (segment.metadata.name for segment in segments if link.name in segment.spec.interfaces)
    name = named_by or next(ours, None) or segment_name(link)
    if name is None:
        why = f"interface {link.name} has no address of a subnet yet; give it one, or make a Segment that names it"
        return NoUplink(Reason.NO_INTERFACE, why)
    return Uplink(link, name)


def _could_be(link: Link) -> bool:
    return link.mac is not None and any(not p.ip.is_loopback and _shared(p) for p in link.prefixes)


def _shared(prefix: IPv4Interface | IPv6Interface) -> bool:
    """Whether others have addresses of its network as well, and not only beside us."""
    return prefix.network.prefixlen < prefix.max_prefixlen and not prefix.ip.is_link_local


def segment_name(link: Link) -> str | None:
    """The lowest IPv4 prefix with '-' for '/': 10.60.0.0-24; without IPv4 the lowest global IPv6 prefix written out."""
    shared = [prefix for prefix in link.prefixes if _shared(prefix)]
    four = min((p.network for p in shared if isinstance(p, IPv4Interface)), default=None)
    six = min((p.network for p in shared if isinstance(p, IPv6Interface)), default=None)
    if four is not None:
        return str(four).replace("/", "-")
    return None if six is None else f"{six.network_address.exploded.replace(':', '-')}-{six.prefixlen}"
