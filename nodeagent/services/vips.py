"""A VIP as the controller resolved it, and the group it moves with. No I/O."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from ipaddress import ip_address

from nodeagent.services.endpoints import ServiceKey
from roost.kube.wire import Selector, VirtualIP, VirtualIPAnnounce
from roost.nodes import excluded
from roost.selectors import selects
from roost.words import EXCLUDE_LABEL, Address, Reason

BUNDLES = 128  # groups of an announce profile
BUNDLE = "b-"  # b-<8 hex of the profile>-<number>; "s-": of one Service alone; "l-": of a kube-vip.io/leaseName
LAYER2, BGP, ROUTES = "Layer2", "BGP", "RoutingTable"  # protocols of a pool
LAYER3 = frozenset({BGP, ROUTES})
HOLDER_ONLY = "HolderOnly"  # of all nodes that may announce on layer 3, the one that holds the group does


@dataclass(frozen=True, slots=True)
class Selection:
    """Which nodes may announce, by their labels."""

    selector: Selector | None
    include_excluded: bool

    def why_not(self, labels: Mapping[str, str]) -> tuple[Reason, str] | None:
        if not self.include_excluded and excluded(labels):
            return Reason.EXCLUDED, f"label {EXCLUDE_LABEL}"
        return None if selects(self.selector, labels) else (Reason.NOT_SELECTED, "its pool does not select this node")


@dataclass(frozen=True, slots=True)
class Vip:
    """A VIP as far as those who announce it need to know it."""

    address: Address
    group: str
    services: frozenset[ServiceKey]
    local: bool  # externalTrafficPolicy Local: only nodes with an endpoint of their own
    without_endpoints: bool  # announced even where no endpoint is ready
    interfaces: frozenset[str]
    selection: Selection
    health_port: int = 0  # where kube-proxy says whether this node has an endpoint; 0: nowhere
    protocols: frozenset[str] = frozenset({LAYER2})
    holder_only: bool = False  # on layer 3 too, only the holder of its group announces it
    pool: str = ""
    advertisements: frozenset[str] = frozenset()  # BGPAdvertisements that select one of its Services by labels

    @property
    def bound(self) -> bool:
        """Whether the endpoints decide which nodes may hold it."""
        return self.local and not self.without_endpoints

    @property
    def layer2(self) -> bool:
        """Whether its holder claims it; else the holder only announces it on layer 3."""
        return LAYER2 in self.protocols

    def about_nodes(self) -> tuple[object, ...]:
        """All that decides which nodes may hold its group."""
        return (self.group, self.selection, self.interfaces, (self.address.version, self.services) * self.bound)


def concerns_layer2(announce: VirtualIPAnnounce) -> bool:
    """Whether its group has a place in the tables: it is claimed, or the holder is to announce it on layer 3."""
    protocols = set(announce.protocols)
    return LAYER2 in protocols or (announce.announcers == HOLDER_ONLY and bool(protocols & LAYER3))


def concerns_layer3(announce: VirtualIPAnnounce) -> bool:
    return not LAYER3.isdisjoint(announce.protocols)


def resolve(vip: VirtualIP) -> Vip | None:
    """The VIP as it is to be announced; None where nothing is: it rests, or is reserved."""
    spec, announce = vip.spec, vip.spec.announce
    services = frozenset((claim.namespace, claim.name) for claim in spec.claims if claim.uid)
    if spec.purpose != "Service" or not services or not spec.group:
        return None
    return Vip(
        ip_address(spec.address),
        spec.group,
        services,
        announce.traffic_policy == "Local",
        announce.without_endpoints == "Announce",
        frozenset(announce.interfaces),
        Selection(announce.node_selector, announce.include_excluded_nodes),
        announce.health_check_node_port,
        frozenset(announce.protocols),
        announce.announcers == HOLDER_ONLY,
        spec.pool_name,
        frozenset(announce.advertisements),
    )


def profile_of(group: str) -> str:
    """The announce profile that a bundle belongs to; of any other group, the group itself."""
    return group.rpartition("-")[0] if group.startswith(BUNDLE) else group


def bundle(group: str) -> list[str]:
    """All groups that come into being with this one: the bundles of its profile, or it alone."""
    if not group.startswith(BUNDLE):
        return [group]
    return [f"{profile_of(group)}-{number}" for number in range(BUNDLES)]


def fits_uplink(vip: Vip, uplink: Set[str]) -> bool:
    return not vip.interfaces or bool(vip.interfaces & uplink)
