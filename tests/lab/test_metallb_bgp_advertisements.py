"""MetalLB's cases of BGPAdvertisements: attributes, aggregation, and which peers, nodes and Services they select.

GoBGP 3 beside every agent; FRR is another AS (eBGP, over IPv4), BIRD our own (iBGP, over IPv6), which sees local
preference.
The cases by MetalLB's titles, and those that do not apply: ``docs/bgp-parity.md``.
"""

from collections.abc import Iterator

import pytest

from lab.api import ApiError
from lab.cluster import Lab
from lab.routers.values import Neighbour, Setup
from tests.lab.fabric import ASN, Fabric, Said, advertisement, hosts, labels, open_fabric, peer, pool, thing
from tests.lab.shop import FOUR, ROOST, SIX, Wanted

NODES = ("n1", "n2", "n3")
FRR, BIRD = "frr", "bird"
ROUTERS = (FRR, BIRD)
FAMILIES = (FOUR, SIX)
BY_DEFAULT = 100  # local preference
DEFAULTS = {FRR: Said(as_path=(ASN,)), BIRD: Said(as_path=(), local_preference=BY_DEFAULT)}


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    """Sessions of three nodes with both routers, and two pools that no advertisement speaks of."""
    with Lab(nodes=3) as lab:
        lab.install()
        frr = lab.add_router(FRR)
        bird = lab.add_router(BIRD, Setup(asn=ASN, neighbours=(Neighbour("fd60::/64", ASN),)))
        fabric = open_fabric(lab, dict.fromkeys(NODES, 3))
        lab.apply(
            [
                peer(FRR, frr.address4, frr.asn, drainSeconds=0),
                peer(BIRD, bird.address6, ASN, drainSeconds=0),
                pool("open", "10.90.0.0/24", "fd90::/120"),
                pool("a", "10.91.0.0/24", "fd91::/112"),
                pool("b", "10.92.0.0/24", "fd92::/112"),
            ]
        )
        for router in ROUTERS:
            fabric.wait_sessions(router, *NODES)
        yield fabric


def everywhere(fabric: Fabric, addresses: list[str], said: dict[str, Said], *nodes: str) -> None:
    for address in addresses:
        for router in ROUTERS:
            fabric.wait_heard(router, address, *nodes or NODES, said=said[router])


def nowhere(fabric: Fabric, *addresses: str) -> None:
    """Nobody hears of them, once all that there is to say was said."""
    fabric.wait_told("open", *ROUTERS)
    for address in addresses:
        for router in ROUTERS:
            fabric.wait_heard(router, address)


def communities(*standard: str, large: tuple[str, ...] = (), local: int = BY_DEFAULT) -> dict[str, Said]:
    common = frozenset(standard), frozenset(large)
    return {FRR: Said(*common, as_path=(ASN,)), BIRD: Said(*common, local, as_path=())}


# -- attributes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param(
            {"communities": ["65001:100", "65535:65282"], "localPreference": 50},
            communities("65001:100", "no-advertise", local=50),
            id="community and localpref",
        ),
        pytest.param(
            {"communities": ["123:456:7890", "4294967295:0:1"], "localPreference": 150},
            communities(large=("123:456:7890", "4294967295:0:1"), local=150),
            id="large community and localpref",
        ),
        pytest.param({"localPreference": 150}, communities(local=150), id="localpref"),
        pytest.param(
            {"communities": ["graceful-shutdown", "no-export", "1:1", "1:2:3"]},
            communities("graceful-shutdown", "no-export", "1:1", large=("1:2:3",)),
            id="community by name, and both kinds at once",
        ),
        pytest.param(
            {"med": 7, "prependASPath": 2},
            {FRR: Said(med=7, as_path=(ASN, ASN, ASN)), BIRD: Said(med=7, as_path=(), local_preference=BY_DEFAULT)},
            id="med, and the AS path prepended towards other ASes only",
        ),
    ],
)
def test_configure_bgp_advertisement_and_verify_it_gets_propagated(
    fabric: Fabric, spec: dict[str, object], said: dict[str, Said]
) -> None:
    with fabric.having(advertisement("adv", poolNames=["a"], **spec)):
        with fabric.serving("a", Wanted("attributes", FAMILIES)) as addresses:
            everywhere(fabric, addresses, said)
        nowhere(fabric, *addresses)


def test_ip_pool_selector(fabric: Fabric) -> None:
    with (
        fabric.having(advertisement("adv", poolNames=["a"], communities=["1:1"])),
        fabric.serving("a", Wanted("selected", FAMILIES)) as selected,
        fabric.serving("b", Wanted("other", FAMILIES)) as other,
    ):
        everywhere(fabric, selected, communities("1:1"))
        everywhere(fabric, other, DEFAULTS)


def test_overlapping_bgp_advertisements_union_communities_for_the_same_prefix(fabric: Fabric) -> None:
    with (
        fabric.having(
            advertisement("first", poolNames=["a"], communities=["1:1", "1:2:3"], localPreference=50),
            advertisement("second", poolNames=["a"], communities=["2:2"]),
            advertisement("third", poolNames=["a"], localPreference=60),
        ),
        fabric.serving("a", Wanted("united", FAMILIES)) as addresses,
    ):
        everywhere(fabric, addresses, communities("1:1", "2:2", large=("1:2:3",), local=50))
        fabric.wait_ready("bgpadvertisement", "third", "False", "AttributesConflict")
        fabric.wait_ready("bgpadvertisement", "second", "True", "AsExpected")


def test_bgp_advertisement_updates_of_communities_and_localpref_and_aggregation_length(fabric: Fabric) -> None:
    with (
        fabric.having(advertisement("adv", poolNames=["a"], communities=["1:1"], localPreference=50)),
        fabric.serving("a", Wanted("changing", FAMILIES)) as addresses,
        fabric.lab.routers[FRR].watch() as watch,
    ):
        everywhere(fabric, addresses, communities("1:1", local=50))
        fabric.edit("bgpadvertisement", "adv", communities=["2:2", "2:3"], localPreference=70)
        everywhere(fabric, addresses, communities("2:2", "2:3", local=70))
        fabric.edit("bgpadvertisement", "adv", communities=None, localPreference=None)
        everywhere(fabric, addresses, DEFAULTS)
        assert all(change.path is not None for change in watch.changes), "neither a path nor a session is lost for it"
        fabric.edit("bgpadvertisement", "adv", aggregation={"ipv4": 26, "ipv6": 122})
        everywhere(fabric, ["10.91.0.0/26", "fd91::/122"], DEFAULTS)
        for address in addresses:
            for router in ROUTERS:
                fabric.wait_heard(router, address)
    nowhere(fabric, "10.91.0.0/26", "fd91::/122")


# -- peers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("families", [(FOUR,), (SIX,), FAMILIES], ids=["IPV4", "IPV6", "DUALSTACK"])
def test_a_service_ip_will_not_be_advertised_to_peers_outside_the_list(
    fabric: Fabric, families: tuple[str, ...]
) -> None:
    with (
        fabric.having(advertisement("adv", poolNames=["a"], peerNames=[BIRD])),
        fabric.lab.routers[FRR].watch() as watch,
        fabric.serving("a", Wanted("limited", families)) as addresses,
    ):
        for address in addresses:
            fabric.wait_heard(BIRD, address, *NODES, said=DEFAULTS[BIRD])
        fabric.wait_told("open", *ROUTERS)
        assert not any(watch.of(address) for address in addresses)


def test_a_service_advertised_through_two_different_bgpadvertisements_to_two_different_peers(fabric: Fabric) -> None:
    with (
        fabric.having(
            advertisement("to-frr", poolNames=["a"], peerNames=[FRR], communities=["1:1"]),
            advertisement("to-bird", poolNames=["a"], peerNames=[BIRD], localPreference=30, nodeSelector=hosts("n2")),
        ),
        fabric.serving("a", Wanted("twice", FAMILIES)) as addresses,
    ):
        for address in addresses:
            fabric.wait_heard(FRR, address, *NODES, said=Said(frozenset({"1:1"})))
            fabric.wait_heard(BIRD, address, "n2", said=Said(local_preference=30))


# -- nodes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(("n1", "n2"), ("n2", "n3"), id="two on first, two on second"),
        pytest.param(("n1",), ("n1", "n2"), id="one on first, two on second"),
        pytest.param((), ("n1", "n2"), id="zero on first, two on second"),
    ],
)
def test_two_services_two_distinct_advertisements_with_different_node_selectors(
    fabric: Fabric, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    with (
        fabric.having(
            advertisement("first", poolNames=["a"], nodeSelector=hosts(*first or ("nowhere",))),
            advertisement("second", poolNames=["b"], nodeSelector=hosts(*second)),
        ),
        fabric.serving("a", Wanted("one", FAMILIES)) as one,
        fabric.serving("b", Wanted("two", FAMILIES)) as two,
    ):
        everywhere(fabric, two, DEFAULTS, *second)
        if first:
            everywhere(fabric, one, DEFAULTS, *first)
        else:
            nowhere(fabric, *one)
            fabric.wait_condition("one", "Announced", "False", "NoEligibleNode")


def test_single_service_two_advertisements_with_different_node_selectors(fabric: Fabric) -> None:
    with (
        fabric.having(
            advertisement("first", poolNames=["a"], nodeSelector=hosts("n1", "n2"), communities=["1:1"]),
            advertisement("second", poolNames=["a"], nodeSelector=hosts("n2", "n3"), communities=["2:2"]),
        ),
        fabric.serving("a", Wanted("single", FAMILIES)) as addresses,
    ):
        for address in addresses:
            for router in ROUTERS:
                found = fabric.wait_heard(router, address, *NODES)
                assert {node: set(one.communities) for node, one in found.items()} == {
                    "n1": {"1:1"},
                    "n2": {"1:1", "2:2"},
                    "n3": {"2:2"},
                }
        fabric.edit("bgpadvertisement", "first", nodeSelector=hosts("nowhere"))
        everywhere(fabric, addresses, communities("2:2"), "n2", "n3")


def test_one_service_one_advertisement_with_node_selector_labeling_node(fabric: Fabric) -> None:
    with (
        fabric.having(advertisement("adv", poolNames=["a"], nodeSelector=labels(bgp="yes"))),
        fabric.serving("a", Wanted("labelled", FAMILIES)) as addresses,
    ):
        nowhere(fabric, *addresses)
        with fabric.labelled("n1", "n3", bgp="yes"):
            everywhere(fabric, addresses, DEFAULTS, "n1", "n3")
            fabric.label("n1", bgp="no")
            everywhere(fabric, addresses, DEFAULTS, "n3")
        for address in addresses:
            for router in ROUTERS:
                fabric.wait_heard(router, address)


def test_updating_one_node_selector_to_non_matching_withdraws_its_service_without_affecting_the_other(
    fabric: Fabric,
) -> None:
    with (
        fabric.having(
            advertisement("first", poolNames=["a"], nodeSelector=hosts("n1")),
            advertisement("second", poolNames=["b"], nodeSelector=hosts("n1")),
        ),
        fabric.serving("a", Wanted("goes", FAMILIES)) as goes,
        fabric.serving("b", Wanted("stays", FAMILIES)) as stays,
    ):
        everywhere(fabric, goes + stays, DEFAULTS, "n1")
        with fabric.lab.routers[FRR].watch() as watch:
            fabric.edit("bgpadvertisement", "first", nodeSelector=hosts("nowhere"))
            for address in goes:
                for router in ROUTERS:
                    fabric.wait_heard(router, address)
            everywhere(fabric, stays, DEFAULTS, "n1")
        assert not any(watch.of(address) for address in stays)


# -- Services ----------------------------------------------------------------------------------------------------------


def test_pool_and_service_selectors_together(fabric: Fabric) -> None:
    with (
        fabric.having(
            advertisement("adv", poolNames=["a"], serviceSelector=labels(expose="true")),
            advertisement("other", poolNames=["b"], serviceSelector=labels(expose="never")),
        ),
        fabric.serving("a", Wanted("matching", FAMILIES), {"expose": "true"}) as matching,
        fabric.serving("b", Wanted("wrong-pool", FAMILIES), {"expose": "true"}) as wrong_pool,
        fabric.serving("a", Wanted("no-label", FAMILIES), {"expose": "false"}) as no_label,
        fabric.serving("b", Wanted("neither", FAMILIES), {"expose": "false"}) as neither,
    ):
        everywhere(fabric, matching, DEFAULTS)
        nowhere(fabric, *wrong_pool, *no_label, *neither)
        everywhere(fabric, matching, DEFAULTS)


def test_multiple_service_selectors(fabric: Fabric) -> None:
    either = {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["frontend", "backend"]}]}
    with (
        fabric.having(advertisement("adv", poolNames=["a"], serviceSelector=either)),
        fabric.serving("a", Wanted("frontend", FAMILIES), {"tier": "frontend"}) as frontend,
        fabric.serving("a", Wanted("backend", FAMILIES), {"tier": "backend"}) as backend,
        fabric.serving("a", Wanted("other", FAMILIES), {"tier": "other"}) as other,
    ):
        everywhere(fabric, frontend + backend, DEFAULTS)
        nowhere(fabric, *other)


def test_service_selector_updates_propagate_by_updating_service_selectors_and_service_labels(fabric: Fabric) -> None:
    with (
        fabric.having(advertisement("adv", poolNames=["a"], serviceSelector=labels(environment="production"))),
        fabric.serving("a", Wanted("prod-1", FAMILIES), {"environment": "production"}) as production,
        fabric.serving("a", Wanted("staged-1", FAMILIES), {"environment": "staged"}) as staged,
    ):
        everywhere(fabric, production, DEFAULTS)
        nowhere(fabric, *staged)
        fabric.edit("bgpadvertisement", "adv", serviceSelector=labels(environment="staged"))
        everywhere(fabric, staged, DEFAULTS)
        nowhere(fabric, *production)
        fabric.relabel("prod-1", environment="staged")
        fabric.relabel("staged-1", environment="production")
        everywhere(fabric, production, DEFAULTS)
        nowhere(fabric, *staged)


def test_service_selectors_with_split_aggregation_length_advertisements(fabric: Fabric) -> None:
    with (
        fabric.having(
            advertisement("selector-only", poolNames=["a"], serviceSelector=labels(environment="production")),
            advertisement("aggregation-only", poolNames=["a"], aggregation={"ipv4": 24, "ipv6": 120}),
        ),
        fabric.serving("a", Wanted("prod-2", FAMILIES), {"environment": "production"}) as production,
        fabric.serving("a", Wanted("staged-2", FAMILIES), {"environment": "staged"}) as staged,
    ):
        everywhere(fabric, [*production, "10.91.0.0/24", "fd91::/120"], DEFAULTS)
        nowhere(fabric, *staged)
    nowhere(fabric, "10.91.0.0/24", "fd91::/120")


def test_overlapping_advertisements_selected_service_gets_all_communities_and_staged_gets_shared_only(
    fabric: Fabric,
) -> None:
    with (
        fabric.having(
            advertisement(
                "merge-prod", poolNames=["a"], serviceSelector=labels(env="production"), communities=["65000:300"]
            ),
            advertisement("merge-all", poolNames=["a"], communities=["65000:400"]),
        ),
        fabric.serving("a", Wanted("prod-3", FAMILIES), {"env": "production"}) as production,
        fabric.serving("a", Wanted("staged-3", FAMILIES), {"env": "staged"}) as staged,
    ):
        everywhere(fabric, production, communities("65000:300", "65000:400"))
        everywhere(fabric, staged, communities("65000:400"))


def test_non_overlapping_advertisements_apply_distinct_communities_by_service_selector(fabric: Fabric) -> None:
    with (
        fabric.having(
            advertisement("prod", poolNames=["a"], serviceSelector=labels(env="production"), communities=["65000:100"]),
            advertisement("staged", poolNames=["b"], serviceSelector=labels(env="staged"), communities=["65000:200"]),
        ),
        fabric.serving("a", Wanted("prod-4", FAMILIES), {"env": "production"}) as production,
        fabric.serving("b", Wanted("staged-4", FAMILIES), {"env": "staged"}) as staged,
    ):
        everywhere(fabric, production, communities("65000:100"))
        everywhere(fabric, staged, communities("65000:200"))


# -- what is refused ---------------------------------------------------------------------------------------------------

LOCAL = {"asn": ASN}
REMOTE = {"address": "10.60.0.9", "asn": 64512}


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        pytest.param("BGPAdvertisement", {"aggregation": {"ipv4": 33}}, "aggregation.ipv4", id="aggregation too long"),
        pytest.param("BGPAdvertisement", {"aggregation": {"ipv6": 12}}, "aggregation.ipv6", id="aggregation too short"),
        pytest.param(
            "BGPAdvertisement",
            {"serviceSelector": labels(a="b"), "aggregation": {"ipv4": 24}},
            "cannot be combined with serviceSelector",
            id="serviceSelector with non-default aggregation",
        ),
        pytest.param("BGPAdvertisement", {"communities": ["99999:1"]}, "must be N:N", id="community out of range"),
        pytest.param("BGPAdvertisement", {"communities": ["1:2:3:4"]}, "must be N:N", id="community of four parts"),
        pytest.param("BGPAdvertisement", {"communities": ["1:1", "1:1"]}, "Duplicate", id="the same community twice"),
        pytest.param(
            "BGPPeer", {"local": LOCAL, "remote": {"address": "10.60.0", "asn": 1}}, "IP address", id="invalid address"
        ),
        pytest.param(
            "BGPPeer", {"local": LOCAL, "remote": {"address": "10.60.0.9"}}, "exactly one of", id="no AS of the router"
        ),
        pytest.param(
            "BGPPeer",
            {"local": LOCAL, "remote": {"asn": 1, "asnType": "External", "address": "10.60.0.9"}},
            "exactly one of",
            id="asn and asnType",
        ),
        pytest.param(
            "BGPPeer", {"local": LOCAL | {"routerID": "fd60::1"}, "remote": REMOTE}, "form of an IPv4", id="router id"
        ),
        pytest.param(
            "BGPPeer",
            {"local": LOCAL, "remote": REMOTE, "timers": {"holdSeconds": 9, "keepaliveSeconds": 4}},
            "three keepalives",
            id="hold time shorter than three keepalives",
        ),
        pytest.param(
            "BGPPeer",
            {"local": LOCAL, "remote": REMOTE, "timers": {"holdSeconds": 2, "keepaliveSeconds": 0}},
            "at least 3",
            id="hold time of two seconds",
        ),
    ],
)
def test_webhooks_should_recognize_and_reject(fabric: Fabric, kind: str, spec: dict[str, object], why: str) -> None:
    with pytest.raises(ApiError, match=why) as refused:
        fabric.lab.api("POST", f"{ROOST}/{kind.lower()}s", thing(kind, "wrong", spec))
    assert refused.value.status == 422
