"""The resolved intent: what agents need to know of a VIP, so that they never parse what a tenant wrote."""

from hashlib import sha256

import msgspec

from cloudprovider.model import Directions, Granted, Wish
from roost import words
from roost.kube.wire import Claim, PoolAnnounce, Selector, Service, VirtualIPAnnounce, VirtualIPSpec

BUNDLES = 128  # groups per announce profile: all VIPs of one move together
NO_DIRECTIONS = Directions()


def spec_of(granted: Granted, wish: Wish, service: Service, others: tuple[Claim, ...] = ()) -> VirtualIPSpec:
    """The VirtualIP.spec that gives this address to this Service; *others* are claims that stay beside its own."""
    announce = announce_of(granted.announce, service, wish.directions)
    mine = Claim(namespace=wish.key.namespace, name=wish.key.name, uid=wish.uid, ports=wish.ports)
    return VirtualIPSpec(
        address=str(granted.address),
        pool_name=granted.pool,
        group=group_of(announce, str(wish.key), wish.directions),
        claims=(*others, mine),
        announce=announce,
    )


def announce_of(pool: PoolAnnounce, service: Service, directions: Directions = NO_DIRECTIONS) -> VirtualIPAnnounce:
    """How an address of such a pool is announced for this Service."""
    local = service.spec.external_traffic_policy == "Local"
    without = words.truthy(service.metadata.annotations, words.KUBE_VIP_WITHOUT_ENDPOINTS) and not local
    return VirtualIPAnnounce(
        protocols=pool.protocols,
        interfaces=(directions.interface,) if directions.interface else pool.interfaces,
        traffic_policy="Local" if local else "Cluster",
        without_endpoints="Announce" if without else "Withdraw",
        health_check_node_port=service.spec.health_check_node_port if local else 0,
        include_excluded_nodes=pool.include_excluded_nodes,
        node_selector=pool.node_selector,
    )


def group_of(announce: VirtualIPAnnounce, service: str, directions: Directions = NO_DIRECTIONS) -> str:
    """The group of a VIP: one of 128 bundles of its announce profile, or with policy Local the Service's own.

    Both families of a Service fall into one group, as long as their pools are announced alike. A lease that a Service
    names is the group of all Services that name it.
    """
    if directions.lease:
        return f"l-{_digest(directions.lease)[:16]}"
    if directions.alone or announce.traffic_policy == "Local":
        return f"s-{_digest(service)[:16]}"
    return f"b-{_digest(canonical(announce))[:8]}-{int(_digest(service)[:8], 16) % BUNDLES}"


def canonical(announce: VirtualIPAnnounce) -> str:
    """The announce block as one text: what means the same reads the same, whatever its order."""
    block = {
        "protocols": sorted(announce.protocols),
        "interfaces": sorted(announce.interfaces),
        "trafficPolicy": announce.traffic_policy,
        "withoutEndpoints": announce.without_endpoints,
        "includeExcludedNodes": announce.include_excluded_nodes,
        "nodeSelector": _selector(announce.node_selector),
    }
    return msgspec.json.encode(block, order="sorted").decode()


def _selector(selector: Selector | None) -> list[object]:
    if selector is None:
        return []
    labels = [[key, "In", [value]] for key, value in selector.match_labels.items()]
    expressions = [[item.key, item.operator, sorted(item.values)] for item in selector.match_expressions]
    return sorted([*labels, *expressions], key=str)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
