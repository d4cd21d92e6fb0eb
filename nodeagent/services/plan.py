"""From VirtualIPs, EndpointSlices and Nodes to groups, the nodes that may hold them, and the VIPs to claim. No I/O."""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from nodeagent.services.drain import Fitness, fitness
from nodeagent.services.endpoints import NOWHERE, Endpoints, ServiceKey
from nodeagent.services.vips import (
    BUNDLE,
    Selection,
    Vip,
    bundle,
    concerns_layer2,
    fits_uplink,
    profile_of,
    resolve,
)
from roost.kube.wire import EndpointSlice, Node, NodeAgent, NodeAgentSpec, VirtualIP, VirtualIPAnnounce
from roost.words import Address, Reason, vip_address

__all__ = ["Candidates", "Check", "Fitness", "Index", "Vip", "fits_uplink"]

LOOPBACK: Mapping[int, Address] = {4: ip_address("127.0.0.1"), 6: ip_address("::1")}

Candidates = Mapping[str, frozenset[str]]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Check:
    """A question to kube-proxy on this node: has this Service an endpoint of this family here?"""

    service: ServiceKey
    version: int
    port: int
    addresses: tuple[Address, ...]  # where it may listen, to be tried in this order


class Index:
    """Everything known of VIPs, endpoints and nodes, kept so that one change costs little however many there are."""

    def __init__(self, node: str, concerns: Callable[[VirtualIPAnnounce], bool] = concerns_layer2) -> None:
        self.node, self._concerns = node, concerns
        self.vips: dict[str, Vip] = {}  # by name of the VirtualIP
        self.guarded: set[Address] = set()  # every address of a VirtualIP, whatever its state
        self.elsewhere: set[Address] = set()  # those of them that only concern others: announced in another way
        self.labels: dict[str, Mapping[str, str]] = {}
        self.fitness: dict[str, Fitness] = {}
        self.touched: set[str] = set()  # names of VIPs whose claim may have to change
        self.changes = 0  # a number that grows with all that may matter to anybody
        self.broken: dict[str, Exception] = {}  # groups that a bug set aside when candidates were reckoned last
        self._own: tuple[Node | None, NodeAgentSpec | None] = (None, None)
        self.addresses: tuple[Address, ...] = ()  # this node's own, as its Node object has them
        self._groups: dict[str, set[str]] = {}
        self._asked: set[str] = set()  # names of VIPs that kube-proxy has a say in
        self._by_service: dict[ServiceKey, set[str]] = {}
        self._endpoints = Endpoints(node)
        self._checks: tuple[Check, ...] | None = None
        self._candidates: dict[str, frozenset[str]] = {}
        self._selections: list[tuple[Selection, frozenset[str]]] = []  # few, and a selector has no hash
        self._stale = True  # all of that; or only these groups, none of them a bundle
        self._stale_groups: set[str] = set()

    # -- taking in

    def put_vip(self, name: str, vip: VirtualIP | None) -> None:
        old = self.vips.pop(name, None)
        self.guarded.discard(vip_address(name))
        if old is not None:
            _leave(self._groups, old.group, name)
            for service in old.services:
                _leave(self._by_service, service, name)
        self.elsewhere.discard(vip_address(name))
        self._asked.discard(name)
        new = None
        if vip is not None:
            self.guarded.add(vip_address(name))
            if self._concerns(vip.spec.announce):
                new = resolve(vip)
            else:
                self.elsewhere.add(vip_address(name))
        if new is not None:
            self.vips[name] = new
            self._groups.setdefault(new.group, set()).add(name)
            for service in new.services:
                self._by_service.setdefault(service, set()).add(name)
            if new.bound and new.health_port:
                self._asked.add(name)
        self.touched.add(name)
        self.changes += old != new
        self._checks = None
        self._regroup(old, new)

    def _regroup(self, old: Vip | None, new: Vip | None) -> None:
        """Candidates change with the groups there are, and with what the VIPs of a group say of nodes."""
        if old is not None and new is not None and old.about_nodes() == new.about_nodes():
            return
        for vip in (old, new):
            if vip is not None and not vip.group.startswith(BUNDLE):
                self._stale_groups.add(vip.group)
        if new is not None and new.group.startswith(BUNDLE):  # one more of a profile that is known changes nothing
            self._stale |= old is not None or new.group not in self._candidates
        elif old is not None and old.group.startswith(BUNDLE):
            self._stale |= new is not None or not self._profile_lives(old.group)

    def _profile_lives(self, group: str) -> bool:
        profile = profile_of(group)
        return any(profile_of(other) == profile for other in self._groups)

    def put_slice(self, key: str, new: EndpointSlice | None) -> None:
        for service in self._endpoints.put_slice(key, new):
            self._serving_changed(service)
            self._checks = None

    def put_health(self, service: ServiceKey, version: int, serves: bool | None) -> bool:
        """What kube-proxy here answered to a check (None: nothing that counts). True: it is news."""
        news = self._endpoints.put_health(service, version, serves)
        if news:
            self._serving_changed(service)
        return news

    def _serving_changed(self, service: ServiceKey) -> None:
        names = self._by_service.get(service, set())
        self.touched |= names
        self.changes += bool(names)
        self._stale_groups |= {self.vips[name].group for name in names if self.vips[name].bound}

    def put_node(self, name: str, node: Node | None) -> None:
        if name == self.node:
            self.addresses = _addresses(node)
            self._own_is(node, self._own[1])
        else:
            self._node_is(name, node, None if node is None else fitness(node))

    def put_own(self, agent: NodeAgent | None) -> None:
        """This node's NodeAgent: its spec may have the node drained."""
        self._own_is(self._own[0], None if agent is None else agent.spec)

    def _own_is(self, node: Node | None, spec: NodeAgentSpec | None) -> None:
        before, self._own, self._checks = self.own_fitness, (node, spec), None
        self._stale |= self.own_fitness != before
        self.changes += self.own_fitness != before
        self._node_is(self.node, node, self.own_fitness)

    def _node_is(self, name: str, node: Node | None, now: Fitness | None) -> None:
        if node is None or now is None:
            self.changes += name in self.labels
            self._stale |= self.labels.pop(name, None) is not None
            self.fitness.pop(name, None)
        elif (node.metadata.labels, now) != (self.labels.get(name), self.fitness.get(name)):
            self._stale = True
            self.changes += 1
            self.labels[name], self.fitness[name] = node.metadata.labels, now

    # -- telling: this node

    @property
    def own_fitness(self) -> Fitness:
        return fitness(*self._own)

    def drain_reason(self) -> tuple[Reason, str] | None:
        """Why this node is not one to announce from, for the report. It may hold VIPs all the same: see Fitness."""
        return self.own_fitness.why

    def endpoints(self, vip: Vip) -> frozenset[str]:
        """The nodes with a usable endpoint of the VIP's own family."""
        return NOWHERE.union(*(self._endpoints.usable(service, vip.address.version) for service in vip.services))

    def _serving(self, vip: Vip) -> frozenset[str]:
        return NOWHERE.union(*(self._endpoints.serving(service, vip.address.version) for service in vip.services))

    def may_claim(self, vip: Vip) -> Reason | None:
        """Why a holder must not claim the VIP now; None: it may."""
        if vip.without_endpoints:
            return None
        if not self.endpoints(vip):
            return Reason.NO_ENDPOINTS
        return Reason.NO_LOCAL_ENDPOINT if vip.local and self.node not in self._serving(vip) else None

    def hopeless(self, vip: Vip, uplink: Set[str]) -> tuple[Reason, str] | None:
        """Why this node cannot hold a VIP that, for all it knows, no node can hold; None: some node can.

        Every node says so then, for there is no holder who would.
        """
        if self.candidates(uplink).get(vip.group):
            return None
        if not fits_uplink(vip, uplink):
            there = ", ".join(sorted(uplink))
            return Reason.NO_SUCH_INTERFACE, f"it is for {', '.join(sorted(vip.interfaces))}, this node is on {there}"
        if (leaving := self.own_fitness.leaving) is not None:
            return leaving
        if (why := vip.selection.why_not(self.labels.get(self.node, {}))) is not None:
            return why
        reason = self.may_claim(vip) if vip.bound else None
        return None if reason is None else (reason, "no ready endpoint" + " here" * (reason != Reason.NO_ENDPOINTS))

    def checks(self, uplink: Set[str] | None) -> tuple[Check, ...]:
        """What to ask kube-proxy: about VIPs that this node could hold as far as is known without it.

        *uplink* None: whatever interface they ask for, as on layer 3.
        """
        if self._checks is None:
            self._checks = self._find_checks(uplink) if self._asked and self.own_fitness.eligible else ()
        return self._checks

    def _find_checks(self, uplink: Set[str] | None) -> tuple[Check, ...]:
        labels = self.labels.get(self.node, {})
        found: dict[tuple[ServiceKey, int], Check] = {}
        for vip in (self.vips[name] for name in self._asked):
            version = vip.address.version
            here = [service for service in vip.services if self._endpoints.is_here(service, version)]
            if (
                not here
                or (uplink is not None and not fits_uplink(vip, uplink))
                or vip.selection.why_not(labels) is not None
            ):
                continue
            at = (LOOPBACK[version], *(own for own in self.addresses if own.version == version))
            found |= {(service, version): Check(service, version, vip.health_port, at) for service in here}
        return tuple(found[key] for key in sorted(found))

    # -- telling: all nodes

    @property
    def last(self) -> frozenset[str]:
        """The nodes to choose only where no other candidate is: cordoned ones. They keep what they hold."""
        return frozenset(name for name, known in self.fitness.items() if known.last)

    def candidates(self, uplink: Set[str]) -> Candidates:
        """For each group the nodes that may hold it. VIPs that ask for other interfaces than *uplink* are left out.

        A bug while a group is reckoned sets that group aside (``broken``): it stays as it was reckoned before.
        """
        if self._stale or self._stale_groups:
            former, groups = self._candidates, self._stale_groups
            if self._stale:
                groups, self._selections, self._candidates, self.broken = set(self._groups), [], {}, {}
            else:
                self._candidates = {group: nodes for group, nodes in former.items() if group not in groups}
                self.broken = {group: bug for group, bug in self.broken.items() if group not in groups}
            self._stale, self._stale_groups = False, set()
            self._reckon(groups & self._groups.keys(), uplink, former)
            for group in groups & self._groups.keys():
                if not self._candidates.get(group) or not former.get(group):
                    self.touched |= self._groups[group]  # why nobody can hold it may have changed
        return self._candidates

    def _reckon(self, groups: Set[str], uplink: Set[str], former: Candidates) -> None:
        for group in groups:
            if group in self._candidates:
                continue
            nodes: frozenset[str] | None
            try:
                nodes = self._holders([vip for n in self._groups[group] if fits_uplink(vip := self.vips[n], uplink)])
            except Exception as bug:  # the boundary of its blast: one group, and no other
                self.broken[group], nodes = bug, former.get(group)
            if nodes is not None:
                self._candidates.update(dict.fromkeys(bundle(group), nodes))

    def _holders(self, vips: list[Vip]) -> frozenset[str] | None:
        """The nodes that may hold all of *vips*; None: there is none."""
        if not vips:
            return None
        if vips[0].group.startswith(BUNDLE):  # all of a bundle are announced alike
            return self._selected(vips[0].selection)
        nodes = frozenset.intersection(*(self._selected(vip.selection) for vip in vips))
        served: dict[frozenset[ServiceKey], frozenset[str]] = {}
        for vip in vips:
            if vip.bound:
                served[vip.services] = served.get(vip.services, NOWHERE) | self._serving(vip)
        if not served:
            return nodes
        # Services with one lease stay together: where no node can serve them all, one that serves some.
        return nodes & frozenset.intersection(*served.values()) or nodes & NOWHERE.union(*served.values())

    def _selected(self, selection: Selection) -> frozenset[str]:
        for other, nodes in self._selections:
            if other == selection:
                return nodes
        nodes = frozenset(
            name
            for name, labels in self.labels.items()
            if self.fitness[name].eligible and selection.why_not(labels) is None
        )
        self._selections.append((selection, nodes))
        return nodes

    def others(self, vip: Vip) -> frozenset[str]:
        """The other nodes that may announce *vip*, as far as is known here."""
        nodes = frozenset(
            name
            for name, labels in self.labels.items()
            if name != self.node and self.fitness[name].eligible and vip.selection.why_not(labels) is None
        )
        return nodes & self._serving(vip) if vip.bound else nodes

    def in_groups(self, groups: Iterable[str]) -> Iterable[str]:
        """Names of the VIPs of *groups*."""
        for group in groups:
            yield from self._groups.get(group, ())


def _leave(members: dict[K, set[str]], key: K, name: str) -> None:
    """Take *name* out of the set at *key*; an empty set goes."""
    members[key].discard(name)
    if not members[key]:
        del members[key]


def _addresses(node: Node | None) -> tuple[Address, ...]:
    """The addresses that a Node object names; host names are left out."""
    found: list[Address] = []
    for entry in node.status.addresses if node is not None else ():
        try:
            found.append(ip_address(entry.address))
        except ValueError:
            continue
    return tuple(found)
