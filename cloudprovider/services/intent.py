"""The resolved intent: what agents need to know of a VIP, so that they never parse what a tenant wrote."""

from hashlib import sha256

import msgspec

from cloudprovider.model import BGP, EVERY_NODE, HOLDER_ONLY, LAYER3, Directions, Granted, Wish
from roost import words
from roost.kube.wire import Claim, PoolAnnounce, Selector, Service, VirtualIPAnnounce, VirtualIPSpec

BUNDLES = 128  # groups per announce profile: all VIPs of one move together
NO_DIRECTIONS = Directions()
MOST_ADVERTISEMENTS = 64  # of one VIP (the schema's maxItems)


def spec_of(granted: Granted, wish: Wish, service: Service, others: tuple[Claim, ...] = ()) -> VirtualIPSpec:
    """The VirtualIP.spec that gives this address to this Service; *others* are claims that stay beside its own."""
    announcers = HOLDER_ONLY if granted.pool in wish.held_pools else wish.announcers
    announce = announce_of(granted.announce, service, wish.directions, announcers)
    if BGP in announce.protocols:
        announce = msgspec.structs.replace(announce, advertisements=wish.advertisements[:MOST_ADVERTISEMENTS])
    mine = Claim(namespace=wish.key.namespace, name=wish.key.name, uid=wish.uid, ports=wish.ports)
    return VirtualIPSpec(
        address=str(granted.address),
        pool_name=granted.pool,
        group=group_of(announce, str(wish.key), wish.directions),
        claims=(*others, mine),
        announce=announce,
    )


def announce_of(
    pool: PoolAnnounce, service: Service, directions: Directions = NO_DIRECTIONS, announcers: str = EVERY_NODE
) -> VirtualIPAnnounce:
    """How an address of such a pool is announced for this Service; *announcers* where neither of them says.

    Who announces on layer 3 is said of VIPs that are announced there: no other changes its group for it.
    """
    local = service.spec.external_traffic_policy == "Local"
    without = words.truthy(service.metadata.annotations, words.KUBE_VIP_WITHOUT_ENDPOINTS) and not local
    layer3 = not LAYER3.isdisjoint(pool.protocols)
    return VirtualIPAnnounce(
        protocols=pool.protocols,
        interfaces=(directions.interface,) if directions.interface else pool.interfaces,
        traffic_policy="Local" if local else "Cluster",
        without_endpoints="Announce" if without else "Withdraw",
        health_check_node_port=service.spec.health_check_node_port if local else 0,
        include_excluded_nodes=pool.include_excluded_nodes,
        node_selector=pool.node_selector,
        announcers=directions.announcers or pool.announcers or announcers if layer3 else EVERY_NODE,
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
    """The announce block as one text: what means the same reads the same, whatever its order.

    A key that came later is in it only with another value than its default, or groups that exist would change. Which
    BGPAdvertisements select a VIP says nothing of the nodes that may hold it.
    """
    block: dict[str, object] = {
        "protocols": sorted(announce.protocols),
        "interfaces": sorted(announce.interfaces),
        "trafficPolicy": announce.traffic_policy,
        "withoutEndpoints": announce.without_endpoints,
        "includeExcludedNodes": announce.include_excluded_nodes,
        "nodeSelector": _selector(announce.node_selector),
    }
    if announce.announcers != EVERY_NODE:
        block["announcers"] = announce.announcers
    return msgspec.json.encode(block, order="sorted").decode()


def _selector(selector: Selector | None) -> list[object]:
    if selector is None:
        return []
    labels = [[key, "In", [value]] for key, value in selector.match_labels.items()]
    expressions = [[item.key, item.operator, sorted(item.values)] for item in selector.match_expressions]
    return sorted([*labels, *expressions], key=str)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
