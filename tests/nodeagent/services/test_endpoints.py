"""Which nodes can serve a Service, by its EndpointSlices and by what kube-proxy here says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.services.endpoints import Endpoints, Ready, ready
from roost.kube.wire import Endpoint, EndpointConditions, EndpointSlice, Meta
from roost.words import SERVICE_NAME_LABEL

WEB = ("shop", "web")


def end(
    node: str | None, ready: bool | None = None, serving: bool | None = None, terminating: bool | None = None
) -> Endpoint:
    return Endpoint(
        node_name=node, conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating)
    )


def piece(*ends: Endpoint, version: int = 4, name: str = "web") -> EndpointSlice:
    meta = Meta(name="x", namespace="shop", labels={SERVICE_NAME_LABEL: name})
    return EndpointSlice(metadata=meta, address_type=f"IPv{version}", endpoints=ends)


def ending(node: str) -> Endpoint:
    return end(node, ready=False, serving=True, terminating=True)


@pytest.mark.parametrize(
    ("one", "nodes", "serving"),
    [
        pytest.param(end("n1"), {"n1"}, set(), id="no condition: ready"),
        pytest.param(end("n1", ready=True, serving=True, terminating=False), {"n1"}, set(), id="ready"),
        pytest.param(end("n1", ready=False, serving=False), set(), set(), id="not ready"),
        pytest.param(end("n1", ready=False, serving=True), set(), set(), id="serving without terminating is no state"),
        pytest.param(ending("n1"), set(), {"n1"}, id="terminating, and serves to its end"),
        pytest.param(end("n1", ready=False, terminating=True), set(), {"n1"}, id="terminating, of unknown service"),
        pytest.param(
            end("n1", ready=False, serving=False, terminating=True),
            set(),
            set(),
            id="terminating, and no longer serves",
        ),
        pytest.param(
            end("n1", ready=True, terminating=True), {"n1"}, set(), id="terminating, but its readiness is not asked for"
        ),
        pytest.param(end(None), {""}, set(), id="on no node: somewhere"),
    ],
)
def test_conditions_are_read_as_kube_proxy_reads_them(one: Endpoint, nodes: set[str], serving: set[str]) -> None:
    assert ready(piece(one)) == Ready(4, frozenset(nodes), frozenset(serving))


def test_a_slice_without_endpoints_has_none() -> None:
    none = EndpointSlice(metadata=Meta(name="x"), address_type="IPv6", endpoints=None)
    assert ready(none) == Ready(6, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("ends", "health", "usable", "serving"),
    [
        pytest.param([], None, set(), set(), id="none"),
        pytest.param([end("n1"), ending("n2")], None, {"n1"}, {"n1"}, id="a ready one: it alone counts"),
        pytest.param(
            [ending("n1"), ending("n2")], None, {"n1", "n2"}, {"n1", "n2"}, id="none is ready: those that end"
        ),
        pytest.param([end("n1"), end("n2")], True, {"n1", "n2"}, {"n1", "n2"}, id="kube-proxy says yes"),
        pytest.param([end("n2")], True, {"n2"}, {"n2"}, id="kube-proxy says yes, and is behind the slices"),
        pytest.param([end("n1"), end("n2")], False, {"n1", "n2"}, {"n2"}, id="kube-proxy says no"),
        pytest.param([end("n1")], False, {"n1"}, set(), id="kube-proxy says no, and there is no other node"),
        pytest.param([ending("n1")], False, {"n1"}, {"n1"}, id="kube-proxy has no say about endpoints that end"),
        pytest.param([end("n1"), ending("n1")], False, {"n1"}, set(), id="it has, while one is ready"),
    ],
)
def test_who_serves(ends: list[Endpoint], health: bool | None, usable: set[str], serving: set[str]) -> None:
    known = Endpoints("n1")
    known.put_slice("shop/x", piece(*ends))
    known.put_health(WEB, 4, health)
    assert known.usable(WEB, 4) == usable
    assert known.serving(WEB, 4) == serving
    assert not known.usable(WEB, 6) | known.serving(WEB, 6)


def test_what_kube_proxy_says_is_news_once() -> None:
    known = Endpoints("n1")
    assert not known.put_health(WEB, 4, None)
    assert known.put_health(WEB, 4, True)
    assert not known.put_health(WEB, 4, True)
    assert known.put_health(WEB, 6, True)
    assert known.put_health(WEB, 4, False)
    assert known.put_health(WEB, 4, None)


def test_a_slice_tells_whose_endpoints_changed() -> None:
    known = Endpoints("n1")
    assert known.put_slice("shop/x", piece(end("n1"))) == {WEB}
    assert known.put_slice("shop/x", piece(end("n1"), end("n1"))) == set()
    assert known.put_slice("shop/x", piece(end("n1"), name="api")) == {WEB, ("shop", "api")}
    assert known.put_slice("shop/x", None) == {("shop", "api")}
    assert known.put_slice("shop/x", None) == set()


states = st.sampled_from([None, True, False])
ends = st.builds(end, st.sampled_from(["n1", "n2", "n3"]), states, states, states)


@given(st.lists(st.lists(ends, max_size=3), max_size=4))
def test_it_does_not_matter_how_endpoints_are_spread_over_slices(pieces: list[list[Endpoint]]) -> None:
    many, one = Endpoints("n1"), Endpoints("n1")
    for number, some in enumerate(pieces):
        many.put_slice(f"shop/{number}", piece(*some))
    one.put_slice("shop/all", piece(*(end for some in pieces for end in some)))
    assert many.usable(WEB, 4) == one.usable(WEB, 4)
    assert many.serving(WEB, 4) == one.serving(WEB, 4)
