"""Which interface the VIPs are announced on, and what its segment is called. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from itertools import islice

from nodeagent.addresses.plan import LOCAL, UNTAGGED, Address, Link, named, subnets, upper
from roost.kube.wire import Segment
from roost.selectors import selects
from roost.words import Reason

LOOPBACK = "lo"
LIVE = "Live"  # the state of a seat


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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An interface on which this node takes no part, though VIPs could go there, and why. It is fenced all the same."""

    link: Link
    message: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Where this node should be present. *why*: there is nowhere, and this is the reason."""

    uplinks: tuple[Uplink, ...]
    left_out: tuple[LeftOut, ...] = ()
    why: NoUplink | None = None


_NONE = NoUplink(
    Reason.NO_INTERFACE,
    "no interface has a subnet with a VIP in it; name one by the setting interface, or make a Segment",
)


class Survey:
    """The links and Segments as they are, seen from *node*, whose *labels* the Segments' node selectors are asked of.

    On one wire there must be one table: two would have a holder each. A Segment that names an interface of this node
    has that interface's wire to itself, also when it selects other nodes only (docs/decisions/0013).
    """

    def __init__(
        self, links: Iterable[Link], segments: Iterable[Segment], labels: Mapping[str, str], node: str
    ) -> None:
        self.links = {link.index: link for link in links}
        self._segments = {s.metadata.name: s for s in sorted(segments, key=lambda s: s.metadata.name)}
        self._labels, self._node = dict(labels), node

    def choose(self, setting: str, vips: Iterable[Address], left: Set[str] = frozenset()) -> Choice:
        """All interfaces to announce on, no two of them on one segment.

        The *setting* is the only one. Else each Segment that selects this node has the first of its interfaces that is
        here, and each further interface with a VIP in its subnet is one too. Whoever names a port of a bridge or bond
        gets the bridge or bond. Where this node has a seat from a former life it goes on, if only to leave; *left* are
        the segments that it did leave.
        """
        candidates = self._by_setting(setting) if setting else list(self._candidates(vips))
        if isinstance(candidates, NoUplink):
            return Choice((), (), candidates)
        found, left_out, refused = dict[str, Uplink](), list[LeftOut](), list[NoUplink]()
        seen = set[str]()
        for link, named_by in candidates:
            if link.name in seen:
                continue
            seen.add(link.name)
            match self._seat_left_behind(link, left) or self._at(link, named_by):
                case Uplink() as uplink:
                    found.setdefault(uplink.segment, uplink)
                case LeftOut() as out:
                    left_out.append(out)
                case NoUplink() as none:
                    refused.append(none)
        refused += [NoUplink(Reason.NOT_SELECTED, out.message) for out in left_out]
        why = None if found else next(iter(refused), _NONE)
        return Choice(tuple(found.values()), tuple(left_out), why)

    def displaced(self, device: str, segment: str) -> str:
        """Why this node may not go on with the table of *segment* on *device*, where it is; empty: it may.

        A table named by a prefix stays, though by other prefixes it would now be named otherwise.
        """
        link = named(self.links.values(), device)
        own = self._segments.get(segment)
        if link is None or own is None:
            return ""
        naming = self._naming(link)
        fitting = [name for name in naming if self._selects(name)]
        if segment in fitting:
            return ""
        if fitting:
            return f"Segment {fitting[0]} names {device}"
        if naming:
            return _others(naming[0], device)
        return self._displaced_by_subnet(link, segment)

    def _displaced_by_subnet(self, link: Link, segment: str) -> str:
        """The same where no Segment names *link*: of two tables of one subnet the first by name stays."""
        if self._names_any(segment):
            return f"Segment {segment} does not name {link.name} any more"
        if not self._selects(segment):
            return f"Segment {segment} selects other nodes only"
        first = next((table for table, nodes in self._seated(link) if nodes != {self._node}), segment)
        return f"{first} is a table of the same subnet" if first < segment and not self._names_any(first) else ""

    # -- one interface

    def _seat_left_behind(self, link: Link, left: Set[str]) -> Uplink | None:
        """Where this node has a seat that it may not keep, and nobody might be left who says that it is over."""
        for table, nodes in self._seated(link):
            if self._node in nodes and table not in left and self.displaced(link.name, table):
                return Uplink(link, table)
        return None

    def _at(self, link: Link, named_by: str) -> Uplink | LeftOut | NoUplink:
        """The uplink with the name of its table: that of a Segment that names it, or by its subnet."""
        if link.mac is None:
            why = f"interface {link.name} is no Ethernet: VIPs cannot be announced there"
            return NoUplink(Reason.NO_INTERFACE, why)
        if link.kind in UNTAGGED and (below := self.links.get(link.lower)) is not None:
            return NoUplink(Reason.NO_INTERFACE, _second_voice(link, below))
        naming = self._naming(link)
        fitting = [name for name in naming if self._selects(name)]
        if naming and not fitting:
            return LeftOut(link, _others(naming[0], link.name))
        if fitting:
            name = named_by if named_by in fitting else fitting[0]
            former = [(table, nodes) for table, nodes in self._seated(link) if not self._names_any(table)]
            for table, nodes in former:
                if others := nodes - {self._node}:
                    return LeftOut(link, _moving(name, table, others))
            return Uplink(link, name)
        return self._by_subnet(link)

    def _by_subnet(self, link: Link) -> Uplink | LeftOut | NoUplink:
        """A table that is in use in a subnet of *link*; else the one that is named by its lowest."""
        seated = [table for table, _ in self._seated(link)]
        if taken := [table for table in seated if self._names_any(table)]:
            why = f"Segment {taken[0]} has seats in a subnet of {link.name}, which it does not name"
            return LeftOut(link, why)
        name = next(iter(seated), None) or segment_name(link)
        if name is None:
            why = f"interface {link.name} has no address of a subnet yet; give it one, or make a Segment that names it"
            return NoUplink(Reason.NO_INTERFACE, why)
        if name in self._segments and not self._selects(name):
            return LeftOut(link, _others(name, link.name))
        return Uplink(link, name)

    def _by_setting(self, setting: str) -> list[tuple[Link, str]] | NoUplink:
        link = named(self.links.values(), setting)
        if link is not None:
            return [(upper(self.links, link), "")]
        # Only those that VIPs could go on: the cables of pods come and go, and would make this news each time.
        there = ", ".join(sorted(link.name for link in self.links.values() if _could_be(link)))
        why = f"interface {setting} is not there (there are: {there}); mend the setting interface"
        return NoUplink(Reason.NO_SUCH_INTERFACE, why)

    def _candidates(self, vips: Iterable[Address]) -> Iterator[tuple[Link, str]]:
        """Interfaces in order of their right to be uplinks, and the Segment that names each, if one does."""
        several = self.links.values()
        for name, segment in self._segments.items():
            if self._names_any(name) and self._selects(name):
                here = (link for text in sorted(segment.spec.interfaces) if (link := named(several, text)) is not None)
                yield from ((upper(self.links, link), name) for link in islice(here, 1))
        there = [(network, link) for network, link in subnets(several) if not network.is_link_local]
        for vip in vips:
            where = next((link for network, link in there if vip in network), None)
            if where is not None:
                yield where, ""

    # -- Segments

    def _naming(self, link: Link) -> list[str]:
        """The Segments that name *link*, or a port of it."""
        found = list[str]()
        for name, segment in self._segments.items():
            here = [one for text in segment.spec.interfaces if (one := named(self.links.values(), text)) is not None]
            if any(upper(self.links, one).index == link.index for one in here):
                found.append(name)
        return found

    def _names_any(self, segment: str) -> bool:
        return bool(self._segments[segment].spec.interfaces)

    def _selects(self, segment: str) -> bool:
        return selects(self._segments[segment].spec.node_selector, self._labels)

    def _seated(self, link: Link) -> list[tuple[str, frozenset[str]]]:
        """The tables with live seats that have an address in a subnet of *link*, and whose seats these are."""
        shared = [prefix.network for prefix in link.prefixes if _shared(prefix)]
        found = list[tuple[str, frozenset[str]]]()
        for name, segment in self._segments.items():
            seats = segment.status.seats if segment.status is not None else ()
            near = frozenset(
                seat.node
                for seat in seats
                if seat.state == LIVE and any(ip_address(text) in net for text in seat.addresses for net in shared)
            )
            if near:
                found.append((name, near))
        return found


def homes(uplinks: Sequence[Link], links: Iterable[Link]) -> Callable[[Address], Link | None]:
    """Which uplink a VIP belongs on: the one with a subnet that contains it, be it one of several there.

    A VIP that no interface of this node has a subnet for is routed here by somebody, and goes on the first. None: it
    belongs on an interface that is no uplink.
    """
    by_index = {uplink.index: uplink for uplink in uplinks}
    ours = [(network, by_index[link.index]) for network, link in subnets(uplinks)]
    others = [network for network, link in subnets(links) if link.index not in by_index]

    def home(vip: Address) -> Link | None:
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


def _others(segment: str, device: str) -> str:
    return f"Segment {segment} has {device} for other nodes, and its nodeSelector leaves this one out"


def _second_voice(link: Link, below: Link) -> str:
    """What leaves a macvlan leaves the device below as it is, whose kernel answers for the VIP as well, with its own
    MAC: neighbours would learn two, and a gate that opens for the one opens for the other.
    """
    return (
        f"{link.name} is a {link.kind} on {below.name}, and both would answer for a VIP, with two MACs;"
        f" have the node's address on {below.name}, and VIPs announced there"
    )


def _moving(segment: str, table: str, nodes: Set[str]) -> str:
    several = ", ".join(sorted(nodes))
    return (
        f"before this node joins Segment {segment}, {several} must leave table {table} of the same subnet;"
        f" what is down for good is forgotten with: kubectl delete segment {table}"
    )


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
