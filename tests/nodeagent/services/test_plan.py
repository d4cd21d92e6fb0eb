"""Which VIPs there are to announce, where their endpoints are, and which nodes may hold them."""

from collections.abc import Mapping
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.services.drain import excluded
from nodeagent.services.endpoints import ready
from nodeagent.services.plan import Index
from nodeagent.services.vips import BUNDLES, bundle, resolve
from roost.kube.wire import (
    Claim,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Meta,
    Node,
    Requirement,
    Selector,
    VirtualIP,
    VirtualIPAnnounce,
    VirtualIPSpec,
)
from roost.words import EXCLUDE_LABEL, SERVICE_NAME_LABEL, Reason, vip_name

UPLINK = {"data"}
SSD = Selector(match_labels={"disk": "ssd"})


Value = VirtualIP | EndpointSlice | Node


def vip(address: str, group: str, *services: str, announce: VirtualIPAnnounce | None = None) -> VirtualIP:
    claims = tuple(Claim(namespace="shop", name=name, uid=f"uid of {name}") for name in services)
    spec = VirtualIPSpec(address=address, group=group, claims=claims, announce=announce or VirtualIPAnnounce())
    return VirtualIP(metadata=Meta(name=vip_name(ip_address(address))), spec=spec)


def piece(service: str, *nodes: str, version: int = 4, ready: bool | None = None) -> EndpointSlice:
    ends = tuple(Endpoint(node_name=node, conditions=EndpointConditions(ready=ready)) for node in nodes)
    labels = {SERVICE_NAME_LABEL: service}
    meta = Meta(name=f"{service}-x", namespace="shop", labels=labels)
    return EndpointSlice(metadata=meta, address_type=f"IPv{version}", endpoints=ends)


def node(name: str, **labels: str) -> Node:
    return Node(metadata=Meta(name=name, labels={key.replace("_", "-"): value for key, value in labels.items()}))


LOCAL = VirtualIPAnnounce(traffic_policy="Local")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(VirtualIPSpec(address="192.0.2.1", group="g"), id="nobody claims it"),
        pytest.param(
            VirtualIPSpec(address="192.0.2.1", group="g", claims=(Claim(namespace="a", name="b"),)),
            id="it rests: its claim has no uid",
        ),
        pytest.param(
            VirtualIPSpec(address="192.0.2.1", claims=(Claim(namespace="a", name="b", uid="u"),)), id="it has no group"
        ),
        pytest.param(
            VirtualIPSpec(
                address="192.0.2.1",
                group="g",
                claims=(Claim(namespace="a", name="b", uid="u"),),
                announce=VirtualIPAnnounce(protocols=("BGP",)),
            ),
            id="it is announced by BGP only",
        ),
    ],
)
def test_what_is_not_announced_on_layer_2_is_fenced_all_the_same(other: VirtualIPSpec) -> None:
    value = VirtualIP(metadata=Meta(name="192.0.2.1"), spec=other)
    assert resolve(value) is None
    index = Index("n1")
    index.put_vip("192.0.2.1", value)
    assert index.vips == {}
    assert index.guarded == {ip_address("192.0.2.1")}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({}, False, id="no label"),
        pytest.param({EXCLUDE_LABEL: ""}, True, id="a label without a value"),
        pytest.param({EXCLUDE_LABEL: "true"}, True, id="true"),
        pytest.param({EXCLUDE_LABEL: "perhaps"}, True, id="what is no boolean"),
        pytest.param({EXCLUDE_LABEL: "false"}, False, id="false"),
    ],
)
def test_excluded_nodes(labels: dict[str, str], expected: bool) -> None:
    assert excluded(labels) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(None, {"n1"}, id="unset means ready"),
        pytest.param(True, {"n1"}, id="ready"),
        pytest.param(False, set(), id="not ready"),
    ],
)
def test_ready_endpoints(state: bool | None, expected: set[str]) -> None:
    assert ready(piece("web", "n1", ready=state)).nodes == expected


@pytest.mark.parametrize(
    ("announce", "slices", "expected"),
    [
        pytest.param(VirtualIPAnnounce(), [], Reason.NO_ENDPOINTS, id="no endpoint: nobody announces"),
        pytest.param(VirtualIPAnnounce(), [piece("web", "n2")], None, id="Cluster: an endpoint anywhere will do"),
        pytest.param(
            VirtualIPAnnounce(), [piece("web", "n1", version=6)], Reason.NO_ENDPOINTS, id="of the other family only"
        ),
        pytest.param(VirtualIPAnnounce(), [piece("other", "n1")], Reason.NO_ENDPOINTS, id="of another Service only"),
        pytest.param(VirtualIPAnnounce(without_endpoints="Announce"), [], None, id="none, and that is wanted"),
        pytest.param(LOCAL, [piece("web", "n2")], Reason.NO_LOCAL_ENDPOINT, id="Local: none here"),
        pytest.param(LOCAL, [piece("web", "n1", "n2")], None, id="Local: one here"),
        pytest.param(LOCAL, [], Reason.NO_ENDPOINTS, id="Local: none at all"),
    ],
)
def test_may_claim(announce: VirtualIPAnnounce, slices: list[EndpointSlice], expected: Reason | None) -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web", announce=announce))
    for number, one in enumerate(slices):
        index.put_slice(f"shop/{number}", one)
    assert index.may_claim(index.vips["192.0.2.1"]) is expected


@pytest.mark.parametrize(
    ("announce", "expected"),
    [
        pytest.param(VirtualIPAnnounce(), {"n1", "n3"}, id="every node but excluded ones"),
        pytest.param(VirtualIPAnnounce(include_excluded_nodes=True), {"n1", "n2", "n3"}, id="excluded ones as well"),
        pytest.param(VirtualIPAnnounce(node_selector=SSD), {"n3"}, id="those the pool selects"),
        pytest.param(LOCAL, {"n1"}, id="Local: with an endpoint, and not excluded"),
        pytest.param(
            VirtualIPAnnounce(traffic_policy="Local", without_endpoints="Announce"),
            {"n1", "n3"},
            id="Local that needs no endpoint",
        ),
    ],
)
def test_candidates(announce: VirtualIPAnnounce, expected: set[str]) -> None:
    index = Index("n1")
    index.put_node("n1", node("n1"))
    index.put_node("n2", Node(metadata=Meta(name="n2", labels={EXCLUDE_LABEL: ""})))
    index.put_node("n3", node("n3", disk="ssd"))
    index.put_slice("shop/x", piece("web", "n1", "n2"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "s-1", "web", announce=announce))
    assert index.candidates(UPLINK) == {"s-1": expected}


def test_a_vip_for_other_interfaces_makes_no_group_here() -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "b-1-7", "web", announce=VirtualIPAnnounce(interfaces=("eth9",))))
    assert index.candidates(UPLINK) == {}


def test_all_bundles_of_a_profile_come_with_the_first_vip_and_stay_the_same_with_the_next() -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "b-1-7", "web"))
    first = index.candidates(UPLINK)
    assert sorted(first) == sorted(bundle("b-1-7"))
    assert len(first) == BUNDLES
    index.put_vip("192.0.2.2", vip("192.0.2.2", "b-1-9", "other"))
    assert index.candidates(UPLINK) is first, "what is the same object needs no comparison"


def test_a_slice_that_changes_its_service_leaves_the_old_one() -> None:
    index = Index("n1")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web"))
    index.put_slice("shop/x", piece("web", "n1"))
    index.put_slice("shop/x", piece("other", "n1"))
    assert index.may_claim(index.vips["192.0.2.1"]) is Reason.NO_ENDPOINTS


# -- the property: however it came about, the index says what one made from the final objects says

ADDRESSES = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
NODES = ["n1", "n2", "n3"]
PROFILES = [
    ("b-1", VirtualIPAnnounce()),
    ("b-2", VirtualIPAnnounce(node_selector=SSD)),
    ("b-3", VirtualIPAnnounce(interfaces=("eth9",))),
    ("s", LOCAL),
    ("s", VirtualIPAnnounce(traffic_policy="Local", without_endpoints="Announce")),
]


@st.composite
def vips(draw: st.DrawFn) -> tuple[str, str, VirtualIP | None]:
    address = draw(st.sampled_from(ADDRESSES))
    name = vip_name(ip_address(address))
    if draw(st.booleans()) and draw(st.booleans()):
        return ("vip", name, None)
    prefix, announce = draw(st.sampled_from(PROFILES))
    service = draw(st.sampled_from(["web", "api"]))
    claimed = [service] if draw(st.integers(0, 4)) else []
    group = f"s-{service}" if prefix == "s" else f"{prefix}-{draw(st.integers(0, 1))}"
    return ("vip", name, vip(address, group, *claimed, announce=announce))


@st.composite
def slices(draw: st.DrawFn) -> tuple[str, str, EndpointSlice | None]:
    key = draw(st.sampled_from(["shop/a", "shop/b"]))
    if not draw(st.integers(0, 3)):
        return ("slice", key, None)
    service, version = draw(st.sampled_from(["web", "api"])), draw(st.sampled_from([4, 6]))
    where = draw(st.lists(st.sampled_from(NODES), unique=True))
    return ("slice", key, piece(service, *where, version=version, ready=draw(st.sampled_from([None, True, False]))))


@st.composite
def nodes(draw: st.DrawFn) -> tuple[str, str, Node | None]:
    name = draw(st.sampled_from(NODES))
    labels = draw(st.sampled_from([None, {}, {"disk": "ssd"}, {EXCLUDE_LABEL: ""}]))
    return ("node", name, None if labels is None else Node(metadata=Meta(name=name, labels=labels)))


def put(index: Index, what: str, key: str, value: Value | None) -> None:
    match what, value:
        case "vip", VirtualIP() | None:
            index.put_vip(key, value)
        case "slice", EndpointSlice() | None:
            index.put_slice(key, value)
        case "node", Node() | None:
            index.put_node(key, value)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.one_of(vips(), slices(), nodes()), st.booleans()), max_size=30))
def test_the_index_is_as_one_made_from_the_final_objects(
    changes: list[tuple[tuple[str, str, Value | None], bool]],
) -> None:
    index, final = Index("n1"), dict[tuple[str, str], Value | None]()
    claims = dict[str, Reason | None]()
    for (what, key, value), looked_at in changes:
        index.touched.clear()
        put(index, what, key, value)
        final[what, key] = value
        now = {name: index.may_claim(one) for name, one in index.vips.items()}
        assert {name for name in now.keys() | claims.keys() if now.get(name, 1) != claims.get(name, 1)} <= index.touched
        claims = now
        if looked_at:
            assert_same(index, made_of(final))
    assert_same(index, made_of(final))


def made_of(final: Mapping[tuple[str, str], Value | None]) -> Index:
    fresh = Index("n1")
    for (what, key), value in final.items():
        if value is not None:
            put(fresh, what, key, value)
    return fresh


def assert_same(index: Index, fresh: Index) -> None:
    assert index.candidates(UPLINK) == fresh.candidates(UPLINK)
    assert index.vips == fresh.vips
    assert index.guarded == fresh.guarded
    for name, one in fresh.vips.items():
        assert index.may_claim(index.vips[name]) is fresh.may_claim(one)
    groups = {one.group for one in fresh.vips.values()}
    assert set(index.in_groups(groups)) == set(fresh.in_groups(groups)) == fresh.vips.keys()


def test_expressions_of_a_selector_count() -> None:
    slow = Selector(match_expressions=(Requirement(key="disk", operator="NotIn", values=("ssd",)),))
    index = Index("n1")
    index.put_node("n1", node("n1", disk="ssd"))
    index.put_node("n2", node("n2"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "g", "web", announce=VirtualIPAnnounce(node_selector=slow)))
    assert index.candidates(UPLINK) == {"g": {"n2"}}


def test_candidates_follow_a_local_vip_that_comes_to_need_no_endpoint() -> None:
    index = Index("n1")
    index.put_node("n1", node("n1"))
    index.put_vip("192.0.2.1", vip("192.0.2.1", "s-1", "web", announce=LOCAL))
    assert index.candidates(UPLINK) == {"s-1": set()}
    anyway = VirtualIPAnnounce(traffic_policy="Local", without_endpoints="Announce")
    index.put_vip("192.0.2.1", vip("192.0.2.1", "s-1", "web", announce=anyway))
    assert index.candidates(UPLINK) == {"s-1": {"n1"}}
