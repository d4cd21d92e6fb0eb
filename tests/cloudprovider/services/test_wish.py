from typing import Any

import pytest

from cloudprovider.model import Refused, Wish
from cloudprovider.services.wish import Settings, is_ours, read
from roost.kube.wire import Meta, Service, ServicePort, ServiceSpec
from roost.words import Reason


def service(annotations: dict[str, str] | None = None, **spec: Any) -> Service:
    spec = {"type": "LoadBalancer", "ip_families": ("IPv4",), "ports": (ServicePort(port=80),)} | spec
    meta = Meta(name="web", namespace="shop", uid="u1", annotations=annotations or {})
    return Service(metadata=meta, spec=ServiceSpec(**spec))


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        pytest.param(service(), Settings(), True, id="no class, and we are the default"),
        pytest.param(service(), Settings(default=False), False, id="no class, and we are not"),
        pytest.param(service(type="ClusterIP"), Settings(), False, id="another type"),
        pytest.param(service(load_balancer_class="roost.dev/load-balancer"), Settings(default=False), True, id="ours"),
        pytest.param(service(load_balancer_class="kube-vip.io/kube-vip-class"), Settings(), True, id="kube-vip's"),
        pytest.param(service(load_balancer_class="other"), Settings(), False, id="another's"),
        pytest.param(service({"kube-vip.io/ignore": "true"}), Settings(), False, id="to be ignored"),
        pytest.param(service({"kube-vip.io/ignore": "no"}), Settings(), True, id="not to be ignored"),
    ],
)
def test_is_ours(given: Service, settings: Settings, expected: bool) -> None:
    assert is_ours(given, settings) is expected


@pytest.mark.parametrize(
    ("given", "families", "everything"),
    [
        pytest.param(service(), (4,), False, id="no policy"),
        pytest.param(service(ip_families=()), (4,), False, id="no family is IPv4"),
        pytest.param(
            service(ip_families=("IPv6", "IPv4"), ip_family_policy="PreferDualStack"), (6, 4), False, id="prefer both"
        ),
        pytest.param(
            service(ip_families=("IPv4", "IPv6"), ip_family_policy="RequireDualStack"), (4, 6), True, id="require both"
        ),
        pytest.param(service(ip_families=("IPv6",), ip_family_policy="SingleStack"), (6,), False, id="single stack"),
        pytest.param(
            service(ip_families=("IPv4",), ip_family_policy="PreferDualStack"), (4,), False, id="a cluster with one"
        ),
    ],
)
def test_families(given: Service, families: tuple[int, ...], everything: bool) -> None:
    wish = read(given, {})
    assert isinstance(wish, Wish)
    assert (wish.families, wish.all_families) == (families, everything)


@pytest.mark.parametrize(
    "text",
    ["", " ", "192.0.2.1", " 192.0.2.1 ", "192.0.2.1,192.0.2.1"],
)
def test_what_is_read_without_complaint(text: str) -> None:
    assert isinstance(read(service({"roost.dev/addresses": text}), {}), Wish)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "192.0.2.1,",
        "192.0.2.1;192.0.2.2",
        "192.0.2.0/24",
        "300.1.1.1",
        "web.example",
        "\x00",
        "9" * 5000,
        "fe80::1%x",
    ],
)
def test_rubbish_is_refused_in_one_short_sentence(text: str) -> None:
    answer = read(service({"roost.dev/addresses": text}, ip_families=("IPv6",)), {})
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.INVALID_REQUEST
    assert len(answer.message) < 200
