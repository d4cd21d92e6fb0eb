"""All that the controller knows, folded from what it watches and from the answers to its own writes.

Both arrive in any order: of two states of one object the one with the higher resourceVersion counts (comparable since
Kubernetes 1.35, and in practice always), and an object that we deleted does not come back by a late event.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import TypeVar

from cloudprovider.announcers import Announcer, Rules, announcer, by_labels
from cloudprovider.model import BGP, HOLDER_ONLY, Key
from cloudprovider.pools.book import Book
from cloudprovider.pools.pool import parsed
from roost.kube.wire import (
    AddressPool,
    Node,
    NodeAgent,
    Segment,
    Service,
    ServiceCIDR,
    Stored,
    VirtualIP,
)
from roost.kube.wire_bgp import BGPAdvertisement, BGPPeer
from roost.words import Address, vip_address

S = TypeVar("S", bound=Stored)


class Picture:
    """One writer: everything happens in the event loop, and no method waits."""

    def __init__(self) -> None:
        self.services: dict[Key, Service] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.pools: dict[str, AddressPool] = {}
        self.segments: dict[str, Segment] = {}
        self.agents: dict[str, NodeAgent] = {}
        self.nodes: dict[str, Node] = {}
        self.cidrs: dict[str, ServiceCIDR] = {}
        self.peers: dict[str, BGPPeer] = {}
        self.advertisements: dict[str, BGPAdvertisement] = {}
        self.book = Book()
        self.announcers: dict[str, Announcer] = {}  # by node
        self._deleted: set[str] = set()  # uids that we know to be gone, although an event may still speak of them
        self._groups: dict[str, set[str]] = {}  # group → names of its VirtualIPs

    def service(self, new: Service) -> bool:
        """Enter a Service; False if it is no news."""
        key = Key(new.metadata.namespace, new.metadata.name)
        if not self._is_news(self.services.get(key), new):
            return False
        self.services[key] = new
        return True

    def no_service(self, key: Key, old: Service | None) -> bool:
        """The Service *old* is gone; False if that is no news, because another has its name by now."""
        known = self.services.get(key)
        return self._is_gone(known, old) and self.services.pop(key, None) is not None

    def vip(self, new: VirtualIP) -> bool:
        name = new.metadata.name
        before = self.book.vips.get(name)
        if not self._is_news(before, new):
            return False
        if before and before.spec.group != new.spec.group:
            self._leave(before)
        if new.metadata.deletion_timestamp and not new.metadata.finalizers:  # the answer that says it is deleted
            self._deleted.add(new.metadata.uid)
            self._leave(new)
            return self.book.drop(name) is not None
        self.book.put(new)
        self._groups.setdefault(new.spec.group, set()).add(name)
        return True

    def no_vip(self, name: str, old: VirtualIP | None) -> VirtualIP | None:
        """The VirtualIP *old* is gone. Returns what was known of it, or None if that is no news."""
        known = self.book.vips.get(name)
        if not self._is_gone(known, old) or known is None:
            return None
        self._leave(known)
        return self.book.drop(name)

    def settled(self, uid: str) -> None:
        """The watch has said itself that the object is gone: no event can speak of it any more."""
        self._deleted.discard(uid)

    def pool(self, name: str, new: AddressPool | None) -> None:
        if new is None:
            self.pools.pop(name, None)
            self.book.pools.pop(name, None)
        else:
            before = self.pools.get(name)
            if before is None or self._is_news(before, new):
                self.pools[name] = new
                self.book.pools[name] = parsed(new)

    def peer(self, name: str, new: BGPPeer | None) -> None:
        if new is None:
            self.peers.pop(name, None)
        elif self._is_news(self.peers.get(name), new):
            self.peers[name] = new

    def advertisement(self, name: str, new: BGPAdvertisement | None) -> None:
        if new is None:
            self.advertisements.pop(name, None)
        elif self._is_news(self.advertisements.get(name), new):
            self.advertisements[name] = new

    def node(self, name: str, new: Node | None) -> bool:
        """Enter a node; True if an address of the nodes changed."""
        if new is None:
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = new
        addresses = {
            address: node
            for node, value in sorted(self.nodes.items())
            for address in _addresses(entry.address for entry in value.status.addresses)
        }
        changed = addresses != self.book.nodes
        if changed:
            self.book.block(addresses)
        return changed

    def selecting(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The names of the BGPAdvertisements whose serviceSelector selects these labels of a Service."""
        return tuple(name for name, item in sorted(self.advertisements.items()) if by_labels(item, labels))

    def held_pools(self, selected: tuple[str, ...]) -> frozenset[str]:
        """The pools whose VIPs go out by BGP from their holder alone, as every BGPAdvertisement about them says.

        *selected*: those that select the VIP's Service by its labels.
        """
        if not any(item.spec.announcers == HOLDER_ONLY for item in self.advertisements.values()):
            return frozenset()
        rules = self.rules()
        return frozenset(
            name
            for name, pool in self.pools.items()
            if BGP in pool.spec.announce.protocols and rules.holder_only(name, selected)
        )

    def in_groups(self, groups: frozenset[str]) -> frozenset[str]:
        """The names of the VirtualIPs of these groups."""
        return frozenset(name for group in groups for name in self._groups.get(group, ()))

    def resting(self, pool: str) -> Mapping[int, int]:
        """How many addresses of a pool rest, by IP version."""
        return Counter(
            vip_address(name).version
            for name, vip in self.book.vips.items()
            if vip.spec.pool_name == pool and vip.spec.retain_until
        )

    def announcer(self, node: str) -> tuple[Announcer | None, Announcer | None]:
        """Look anew at a node as one that announces on layer 3: what it was, and what it is."""
        before = self.announcers.pop(node, None)
        after = announcer(self.nodes.get(node), self.agents.get(node), seated=self._seated(node))
        if after:
            self.announcers[node] = after
        return before, after

    def rules(self) -> Rules:
        """What people say of routers, now."""
        return Rules(tuple(self.peers.values()), tuple(self.advertisements.values()))

    def _seated(self, node: str) -> bool | None:
        """Whether a node has a live seat at any table; None if it has no seat."""
        states = {
            seat.state
            for segment in self.segments.values()
            if segment.status
            for seat in segment.status.seats
            if seat.node == node
        }
        return "Live" in states if states else None

    def live_nodes(self) -> frozenset[str]:
        """The nodes with a live seat at any table, and those that speak BGP without one."""
        seated = frozenset(
            seat.node
            for segment in self.segments.values()
            if segment.status
            for seat in segment.status.seats
            if seat.state == "Live"
        )
        return seated | {name for name, one in self.announcers.items() if one.up and one.bgp}

    def applied(self) -> float:
        """The resourceVersion up to which every live node has applied VirtualIPs; infinite if none is live."""
        return min((self._applied(node) for node in self.live_nodes()), default=float("inf"))

    def _applied(self, node: str) -> int:
        agent = self.agents.get(node)
        return version(agent.status.applied.resource_version) if agent and agent.status.applied else 0

    def _leave(self, vip: VirtualIP) -> None:
        members = self._groups.get(vip.spec.group, set())
        members.discard(vip.metadata.name)
        if not members:
            self._groups.pop(vip.spec.group, None)

    def _is_news(self, known: S | None, new: S) -> bool:
        if new.metadata.uid in self._deleted:
            return False
        return known is None or version(new.metadata.resource_version) > version(known.metadata.resource_version)

    def _is_gone(self, known: S | None, old: S | None) -> bool:
        """Whether the deletion of *old* (None: of whatever there was) speaks of the object that is known."""
        if known is None or (old is not None and old.metadata.uid != known.metadata.uid):
            return False
        self._deleted.add(known.metadata.uid)
        return True


def version(text: str) -> int:
    """A resourceVersion as a number; 0 if it is none."""
    return int(text) if text.isdecimal() else 0


def _addresses(texts: Iterable[str]) -> list[Address]:
    found: list[Address] = []
    for text in texts:
        try:
            found.append(ip_address(text))
        except ValueError:  # a host name
            continue
    return found
