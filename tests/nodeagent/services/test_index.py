"""However it came about, the index says what one made from the final objects says."""

from collections.abc import Mapping
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.services.plan import Index
from roost.kube.wire import (
    EndpointSlice,
    Meta,
    Node,
    NodeAgent,
    NodeAgentSpec,
    NodeSpec,
    Taint,
    VirtualIP,
    VirtualIPAnnounce,
)
from roost.words import EXCLUDE_LABEL, Reason, vip_name
from tests.nodeagent.services.objects import GOING, LOCAL, SSD, UPLINK, piece, vip

Value = VirtualIP | EndpointSlice | Node | NodeAgent | bool

ADDRESSES = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
NODES = ["n1", "n2", "n3"]
PROFILES = [
    ("b-1", VirtualIPAnnounce()),
    ("b-2", VirtualIPAnnounce(node_selector=SSD)),
    ("b-3", VirtualIPAnnounce(interfaces=("eth9",))),
    ("s", LOCAL),
    ("s", VirtualIPAnnounce(traffic_policy="Local", without_endpoints="Announce")),
    ("s", VirtualIPAnnounce(node_selector=SSD)),
    ("l", VirtualIPAnnounce()),
    ("l", LOCAL),
    ("l", VirtualIPAnnounce(node_selector=SSD)),
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
    group = f"s-{service}" if prefix == "s" else f"{prefix}-{draw(st.integers(0, 1))}"  # of l-: one lease, several
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
    spec = NodeSpec(taints=draw(st.sampled_from([(), (Taint(key=GOING),)])), unschedulable=draw(st.booleans()))
    return ("node", name, None if labels is None else Node(metadata=Meta(name=name, labels=labels), spec=spec))


@st.composite
def agents(draw: st.DrawFn) -> tuple[str, str, NodeAgent | None]:
    maintenance = draw(st.sampled_from(["None", "Drain", "Exclude"]))
    return ("agent", "n1", NodeAgent(metadata=Meta(name="n1"), spec=NodeAgentSpec(maintenance=maintenance)))


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, str, bool | None]:
    return ("health", draw(st.sampled_from(["web/4", "web/6", "api/4"])), draw(st.sampled_from([None, True, False])))


def put(index: Index, what: str, key: str, value: Value | None) -> None:
    match what, value:
        case "vip", VirtualIP() | None:
            index.put_vip(key, value)
        case "slice", EndpointSlice() | None:
            index.put_slice(key, value)
        case "node", Node() | None:
            index.put_node(key, value)
        case "agent", NodeAgent() | None:
            index.put_own(value)
        case "health", bool() | None:
            service, _, version = key.partition("/")
            index.put_health(("shop", service), int(version), value)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.one_of(vips(), slices(), nodes(), agents(), answers()), st.booleans()), max_size=30))
def test_the_index_is_as_one_made_from_the_final_objects(
    changes: list[tuple[tuple[str, str, Value | None], bool]],
) -> None:
    index, final = Index("n1"), dict[tuple[str, str], Value | None]()
    claims = dict[str, Reason | None]()
    hoped, missed = dict[str, tuple[Reason, str] | None](), set[str]()
    for (what, key, value), looked_at in changes:
        index.touched.clear()
        put(index, what, key, value)
        final[what, key] = value
        now = {name: index.may_claim(one) for name, one in index.vips.items()}
        assert {name for name in now.keys() | claims.keys() if now.get(name, 1) != claims.get(name, 1)} <= index.touched
        claims = now
        if looked_at:
            assert_same(index, made_of(final))
            hopes = {name: index.hopeless(one, UPLINK) for name, one in index.vips.items()}
            assert {n for n in hopes.keys() & hoped.keys() if hopes[n] != hoped[n]} <= index.touched | missed
            hoped, missed = hopes, set()
        else:
            missed |= index.touched
    assert_same(index, made_of(final))


def made_of(final: Mapping[tuple[str, str], Value | None]) -> Index:
    fresh = Index("n1")
    for (what, key), value in final.items():
        if value is not None:
            put(fresh, what, key, value)
    return fresh


def assert_same(index: Index, fresh: Index) -> None:
    assert index.candidates(UPLINK) == fresh.candidates(UPLINK)
    assert index.checks(UPLINK) == fresh.checks(UPLINK)
    assert (index.last, index.own_fitness) == (fresh.last, fresh.own_fitness)
    assert index.vips == fresh.vips
    assert index.guarded == fresh.guarded
    for name, one in fresh.vips.items():
        assert index.may_claim(index.vips[name]) is fresh.may_claim(one)
    groups = {one.group for one in fresh.vips.values()}
    assert set(index.in_groups(groups)) == set(fresh.in_groups(groups)) == fresh.vips.keys()
