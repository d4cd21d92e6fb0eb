"""kube-vip's tests with BGP (testing/e2e/e2e_bgp_test.go), as far as they are about Services: routes come and go.

Every node has sessions with ten routers, five that run FRR and five BIRD, each over IPv4 and over IPv6: for each way in
which kube-vip can be told what the other family's next hop is, one of each make. So every case is seen in all of them
at once. Not here: "only stops advertising route if it was referenced by multiple services" needs addresses that
Services share.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from lab.cluster import Lab
from lab.nodes import ProxySettings
from lab.run import wait_for
from tests.lab.kube_vip import ELECTIONS, FORCED, POLICIES, THREE_FAMILIES, group, lease, trust
from tests.lab.routed import ALL, ASN, FAR, OWN, ROUTERS_ASN, Routed, Way, peer, prefix_of, start_speakers, version_of
from tests.lab.shop import FOUR, REST, SIX, Wanted

HERE = ("n1", "n2")  # nodes with a backend of their own
KINDS = ("frr", "bird")

# By what a router is told, and over which session: the families that are announced there.
WAYS: dict[str, dict[int, tuple[int, ...]]] = {
    "plain": {4: (4,), 6: (6,)},
    "fix": {4: (4, 6), 6: (4, 6)},  # mpbgp_nexthop=fixed
    "if": {4: (4, 6), 6: (4, 6)},  # mpbgp_nexthop=auto_sourceif, with a source interface
    "auto": {4: (4, 6), 6: (4, 6)},  # auto_sourceif, with the interface that the source address is on
    "bad": {4: (4,), 6: (6,)},  # misconfigured: nothing says what the next hop is
}
EVERY = [
    Way(f"{kind}-{how}", session, families)
    for kind in KINDS
    for how, sessions in WAYS.items()
    for session, families in sessions.items()
]


def settings(lab: Lab, node: str) -> dict[str, str]:
    """kube-vip's own words, in the environment as its manifests have them."""
    four, six = OWN[4][node], OWN[6][node]
    options = {
        "plain": "",
        "fix": f"mpbgp_nexthop=fixed;mpbgp_ipv4={four};mpbgp_ipv6={six}",
        "bad": "mpbgp_nexthop=fixed",
    }
    peers = []
    for kind in KINDS:
        for how, said in options.items():
            router = lab.routers[f"{kind}-{how}"]
            end = f":{ROUTERS_ASN}::false:179" + (f":{said}" if said else "")
            peers += [f"{router.address4}{end}", f"[{router.address6}]{end}"]
    return {
        "bgp_enable": "true",
        "bgp_as": str(ASN),
        "bgp_routerid": four,
        "bgp_peers": ",".join(peers),
        "bgp_hold_time": "9",
        "bgp_keepalive_interval": "3",
    }


def objects(lab: Lab) -> Iterator[dict[str, object]]:
    """What kube-vip can say of all its peers together only: the source interface, and the source address."""
    for kind in KINDS:
        for version in (4, 6):
            router = lab.routers[f"{kind}-if"]
            local = {"asn": ASN, "interface": "data"}
            spec = {"local": local, "nextHop": {"mode": "SourceInterface"}}
            yield peer(f"{kind}-if-{version}", _remote(lab, router.name, version), spec)
            for node in ALL:
                local = {"asn": ASN, "address": OWN[version][node]}
                only = {"matchLabels": {"kubernetes.io/hostname": node}}
                spec = {"local": local, "nextHop": {"mode": "SourceInterface"}, "nodeSelector": only}
                yield peer(f"{kind}-auto-{version}-{node}", _remote(lab, f"{kind}-auto", version), spec)


def _remote(lab: Lab, router: str, version: int) -> str:
    return str(lab.routers[router].address4 if version == 4 else lab.routers[router].address6)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(nodes=3, kube_proxy=ProxySettings(min_sync_period="100ms")) as opened:
        opened.install()
        yield opened


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Routed:
    for kind in KINDS:
        for how in WAYS:
            lab.add_router(kind, name=f"{kind}-{how}")
    start_speakers(lab)
    lab.start_controller("a", REST)
    for node in lab.nodes:
        lab.start_agent(node, env=settings(lab, node))
    lab.apply([FAR, *objects(lab)])
    for node in HERE:
        lab.add_backend(f"web-{node}", node)
    trust(lab)
    sessions = [*OWN[4].values(), *OWN[6].values()]
    for router in lab.routers.values():
        router.wait_established(*sessions, seconds=60)
    return Routed(lab)


def announcers(shop: Routed, address: str, traffic: str, annotations: dict[str, str]) -> tuple[str, ...]:
    """Who is to announce it: the holder alone, or all that may."""
    may = HERE if traffic == "Local" else ALL
    return (shop.wait_held(address, may),) if annotations else may


def advertise(shop: Routed, wanted: Wanted) -> list[str]:
    """Make a Service, and wait until every router hears of it from the right nodes, by the right next hops."""
    shop.make(wanted)
    addresses = shop.wait_addresses(wanted.name, len(wanted.families))
    for address in addresses:
        shop.wait_announced(address, announcers(shop, address, wanted.traffic, dict(wanted.annotations)), EVERY)
    return addresses


@pytest.mark.parametrize("annotations", ELECTIONS)
@pytest.mark.parametrize("traffic", POLICIES)
@pytest.mark.parametrize("families", THREE_FAMILIES)
def test_e2e_advertise_routes_for_services(
    shop: Routed, families: tuple[str, ...], traffic: str, annotations: dict[str, str]
) -> None:
    """advertise … routes for services: the prefix, by the right next hop; nothing of it once the Service is deleted."""
    may = {OWN[version][node] for version in (4, 6) for node in (HERE if traffic == "Local" else ALL)}
    with ExitStack() as stack:
        watches = [stack.enter_context(shop.lab.routers[f"{kind}-fix"].watch()) for kind in KINDS]
        addresses = advertise(shop, Wanted("whoami", families, traffic, annotations))
        for address in addresses:
            for kind in KINDS:
                wait_for("it is answered", partial(_answered, shop, f"{kind}-plain-client", address, 1))
        shop.delete("whoami")
        for address in addresses:
            shop.wait_withdrawn(address)
    for watch in watches:
        assert {change.neighbour for change in watch.changes if change.path} <= may
        assert all(str(change.path.next_hop) in may for change in watch.changes if change.path)


@pytest.mark.parametrize(
    ("traffic", "annotations"),
    [
        pytest.param("Cluster", {}, id="policy Cluster, every node"),
        pytest.param("Local", {}, id="policy Local, nodes with endpoints"),
        pytest.param("Cluster", FORCED, id="policy Cluster, the holder"),
    ],
)
def test_connections_are_spread_over_the_nodes_that_announce(
    shop: Routed, traffic: str, annotations: dict[str, str]
) -> None:
    """By counting what arrives where, from behind an FRR and a BIRD, for both families."""
    shop.make(Wanted("spread", (FOUR, SIX), traffic, annotations))
    addresses = shop.wait_addresses("spread", 2)
    for address in addresses:
        nodes = announcers(shop, address, traffic, annotations)
        for kind in KINDS:
            router = shop.lab.routers[f"{kind}-plain"]
            router.wait_next_hops(prefix_of(address), *(OWN[version_of(address)][node] for node in nodes))
            found = wait_for("all is answered", partial(_answered, shop, router.client, address, 60))
            assert set(found) == set(nodes)
            assert all(count > 60 / len(nodes) / 4 for count in found.values())
    shop.delete("spread")
    for address in addresses:
        shop.wait_withdrawn(address)


def _answered(shop: Routed, client: str, address: str, count: int) -> dict[str, int]:
    """At which nodes connections came in; nothing if one failed, for kube-proxy may be late."""
    spread = shop.lab.spread(client, address, count=count)
    return {} if spread.failures else dict(spread.nodes)


@pytest.mark.parametrize("families", THREE_FAMILIES)
def test_e2e_only_stops_advertising_a_route_with_its_own_service_while_using_common_lease(
    shop: Routed, families: tuple[str, ...]
) -> None:
    """… while using common lease: two Services of one lease have one announcer, and each its own route."""
    common = {**lease("common"), "roost.dev/announcers": "HolderOnly"}
    first = advertise(shop, Wanted("first", families, annotations=common))
    second = advertise(shop, Wanted("second", families, annotations=common))
    assert len({shop.holder(address) for address in (*first, *second)}) == 1
    shop.delete("first")
    for address in first:
        shop.wait_withdrawn(address)
    for address in second:
        shop.wait_announced(address, [shop.holder(address)], EVERY)
    shop.delete("second")
    for address in second:
        shop.wait_withdrawn(address)


@pytest.mark.parametrize("families", THREE_FAMILIES[:2])
def test_e2e_mixed_election(shop: Routed, families: tuple[str, ...]) -> None:
    """mixed election: one normal and one forced Service; the forced one has a group of its own, and one announcer."""
    usual = advertise(shop, Wanted("usual", families))
    forced = advertise(shop, Wanted("forced", families, annotations=FORCED))
    assert {group(shop, address)[:2] for address in usual} == {"b-"}
    assert {group(shop, address)[:2] for address in forced} == {"s-"}
    shop.delete("usual")
    for address in usual:
        shop.wait_withdrawn(address)
    for address in forced:
        shop.wait_announced(address, [shop.holder(address)], EVERY)
    shop.delete("forced")
    for address in forced:
        shop.wait_withdrawn(address)


def test_e2e_withdraws_a_route_if_all_endpoints_were_deleted_and_announces_it_again(shop: Routed) -> None:
    """As its watchers of endpoints do without an election: Cluster any endpoint, Local one of the node's own."""
    shop.lab.add_backend("lone-n1", "n1")
    shop.make(Wanted("lone", (FOUR, SIX), app="lone"))
    shop.make(Wanted("near", (FOUR, SIX), "Local", app="lone"))
    far, near = shop.wait_addresses("lone", 2), shop.wait_addresses("near", 2)
    for address in far:
        shop.wait_announced(address, ALL, EVERY)
    for address in near:
        shop.wait_announced(address, ["n1"], EVERY)
    shop.lab.remove_backend("lone-n1")
    for address in (*far, *near):
        shop.wait_withdrawn(address)
    shop.lab.add_backend("lone-n3", "n3")
    for address in far:
        shop.wait_announced(address, ALL, EVERY)
    for address in near:
        shop.wait_announced(address, ["n3"], EVERY)
    shop.delete("lone", "near")
    for address in (*far, *near):
        shop.wait_withdrawn(address)
    shop.lab.remove_backend("lone-n3")
