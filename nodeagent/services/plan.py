"""From VirtualIPs, EndpointSlices and Nodes to groups, the nodes that may hold them, and the VIPs to claim. No I/O."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from ipaddress import ip_address

from roost.kube.wire import EndpointSlice, Node, Selector, VirtualIP
from roost.selectors import selects
from roost.words import EXCLUDE_LABEL, SERVICE_NAME_LABEL, Address, Reason, vip_address

BUNDLES = 128  # groups of an announce profile
BUNDLE = "b-"  # b-<8 hex of the profile>-<number>; a group of one Service alone begins with "s-"
LAYER2 = "Layer2"

ServiceKey = tuple[str, str]  # namespace, name
Candidates = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Fitness:
    """Which nodes may announce, by their labels."""

    selector: Selector | None
    include_excluded: bool

    def admits(self, labels: Mapping[str, str]) -> bool:
        if not self.include_excluded and excluded(labels):
            return False
        return selects(self.selector, labels)


@dataclass(frozen=True, slots=True)
class Vip:
    """A VIP as the controller resolved it, as far as layer 2 needs it."""

    address: Address
    group: str
    services: frozenset[ServiceKey]
    local: bool  # externalTrafficPolicy Local: only nodes with an endpoint of their own
    without_endpoints: bool  # announced even where no endpoint is ready
    interfaces: frozenset[str]
    fitness: Fitness


@dataclass(frozen=True, slots=True)
class Ready:
    """The nodes where one EndpointSlice has a ready endpoint."""

    version: int
    nodes: frozenset[str]


def resolve(vip: VirtualIP) -> Vip | None:
    """The VIP to announce on layer 2; None where nothing is: it rests, is reserved, or goes another way."""
    spec = vip.spec
    services = frozenset((claim.namespace, claim.name) for claim in spec.claims if claim.uid)
    if spec.purpose != "Service" or not services or not spec.group or LAYER2 not in spec.announce.protocols:
        return None
    announce = spec.announce
    return Vip(
        ip_address(spec.address),
        spec.group,
        services,
        announce.traffic_policy == "Local",
        announce.without_endpoints == "Announce",
        frozenset(announce.interfaces),
        Fitness(announce.node_selector, announce.include_excluded_nodes),
    )


def excluded(labels: Mapping[str, str]) -> bool:
    """The label that keeps load balancers off a node; any value but a plain false counts (k8s.io/cloud-provider)."""
    value = labels.get(EXCLUDE_LABEL)
    return value is not None and value not in {"false", "False", "FALSE", "f", "F", "0"}


def ready(piece: EndpointSlice) -> Ready:
    """The nodes with a ready endpoint; unset means ready (discovery.k8s.io/v1)."""
    nodes = {e.node_name or "" for e in piece.endpoints or () if e.conditions.ready is not False}
    return Ready(6 if piece.address_type == "IPv6" else 4, frozenset(nodes))


class Index:
    """Everything known of VIPs, endpoints and nodes, kept so that one change costs little however many there are."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.vips: dict[str, Vip] = {}  # by name of the VirtualIP
        self.guarded: set[Address] = set()  # every address of a VirtualIP, whatever its state
        self.labels: dict[str, Mapping[str, str]] = {}
        self._groups: dict[str, set[str]] = {}
        self._by_service: dict[ServiceKey, set[str]] = {}
        self._ready: dict[ServiceKey, dict[str, Ready]] = {}
        self._service_of: dict[str, ServiceKey] = {}  # by key of the EndpointSlice; its label may change
        self._candidates: dict[str, frozenset[str]] | None = None
        self.touched: set[str] = set()  # names of VIPs whose claim may have to change

    # -- taking in

    def put_vip(self, name: str, vip: VirtualIP | None) -> None:
        old = self.vips.pop(name, None)
        self.guarded.discard(vip_address(name))
        if old is not None:
            self._groups[old.group].discard(name)
            if not self._groups[old.group]:
                del self._groups[old.group]
            for service in old.services:
                self._by_service[service].discard(name)
                if not self._by_service[service]:
                    del self._by_service[service]
        new = None
        if vip is not None:
            self.guarded.add(vip_address(name))
            new = resolve(vip)
        if new is not None:
            self.vips[name] = new
            self._groups.setdefault(new.group, set()).add(name)
            for service in new.services:
                self._by_service.setdefault(service, set()).add(name)
        self.touched.add(name)
        self._regroup(old, new)

    def _regroup(self, old: Vip | None, new: Vip | None) -> None:
        """Candidates change with the groups there are, and with what the VIPs of a group say of nodes."""
        if _about_nodes(old) == _about_nodes(new):
            return
        known = self._candidates
        if known is not None and new is not None and old is None and new.group in known and not new.local:
            return  # one more in a bundle of a profile that is known
        if new is None and old is not None and not old.local and self._profile_lives(old.group):
            return
        self._candidates = None

    def _profile_lives(self, group: str) -> bool:
        profile = profile_of(group)
        return any(profile_of(other) == profile for other in self._groups)

    def put_slice(self, key: str, new: EndpointSlice | None) -> None:
        service = None if new is None else (new.metadata.namespace, new.metadata.labels.get(SERVICE_NAME_LABEL, ""))
        former = self._service_of.get(key)
        if former is not None and former != service:
            del self._service_of[key]
            self._put_ready(former, key, None)
        if new is not None and service is not None:
            self._service_of[key] = service
            self._put_ready(service, key, ready(new))

    def _put_ready(self, service: ServiceKey, key: str, now: Ready | None) -> None:
        slices = self._ready.setdefault(service, {})
        before = slices.pop(key, None)
        if now is not None:
            slices[key] = now
        if not slices:
            del self._ready[service]
        if now == before:
            return
        names = self._by_service.get(service, set())
        self.touched |= names
        if any(self.vips[name].local for name in names):
            self._candidates = None

    def put_node(self, name: str, node: Node | None) -> None:
        labels = None if node is None else node.metadata.labels
        if labels == self.labels.get(name):
            return
        if labels is None:
            self.labels.pop(name, None)
        else:
            self.labels[name] = labels
        self._candidates = None

    # -- telling

    def endpoints(self, vip: Vip) -> frozenset[str]:
        """The nodes with a ready endpoint of the VIP's own family."""
        pieces = [piece for service in vip.services for piece in self._ready.get(service, {}).values()]
        return frozenset().union(*(piece.nodes for piece in pieces if piece.version == vip.address.version))

    def may_claim(self, vip: Vip) -> Reason | None:
        """Why a holder must not claim the VIP now; None: it may."""
        if vip.without_endpoints:
            return None
        nodes = self.endpoints(vip)
        if not nodes:
            return Reason.NO_ENDPOINTS
        return Reason.NO_LOCAL_ENDPOINT if vip.local and self.node not in nodes else None

    def candidates(self, uplink: Set[str]) -> Candidates:
        """For each group the nodes that may hold it. VIPs that ask for other interfaces than *uplink* are left out."""
        if self._candidates is None:
            self._candidates = self._reckon(uplink)
        return self._candidates

    def _reckon(self, uplink: Set[str]) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        fit: list[tuple[Fitness, frozenset[str]]] = []  # few, and a selector has no hash
        for group, names in self._groups.items():
            if group in found:
                continue
            vips = [self.vips[name] for name in names if fits_uplink(self.vips[name], uplink)]
            if not vips:
                continue
            fitness = vips[0].fitness
            nodes = next((known for other, known in fit if other == fitness), None)
            if nodes is None:
                nodes = frozenset(name for name, labels in self.labels.items() if fitness.admits(labels))
                fit.append((fitness, nodes))
            if all(vip.local for vip in vips) and not all(vip.without_endpoints for vip in vips):
                nodes &= frozenset().union(*(self.endpoints(vip) for vip in vips))
            for name in bundle(group):
                found[name] = nodes
        return found

    def in_groups(self, groups: Iterable[str]) -> Iterable[str]:
        """Names of the VIPs of *groups*."""
        for group in groups:
            yield from self._groups.get(group, ())


def _about_nodes(vip: Vip | None) -> tuple[object, ...]:
    """What of a VIP decides which nodes may hold its group."""
    if vip is None:
        return ()
    of_its_own = (vip.services, vip.without_endpoints) if vip.local else ()
    return (vip.group, vip.fitness, vip.local, vip.interfaces, of_its_own)


def profile_of(group: str) -> str:
    """The announce profile that a bundle belongs to; of a Service's own group, the group itself."""
    return group.rpartition("-")[0] if group.startswith(BUNDLE) else group


def bundle(group: str) -> list[str]:
    """All groups that come into being with this one: the bundles of its profile, or it alone."""
    if not group.startswith(BUNDLE):
        return [group]
    return [f"{profile_of(group)}-{number}" for number in range(BUNDLES)]


def fits_uplink(vip: Vip, uplink: Set[str]) -> bool:
    return not vip.interfaces or bool(vip.interfaces & uplink)
