"""kube-vip's tests with BGP and a DaemonSet that is deleted (testing/e2e/e2e_bgp_ds_test.go), and node annotations.

Those with the control plane enabled are about its own VIP. The switch is turned to Exclude first, as an uninstall does:
an agent that is merely restarted keeps what it announces for its successor.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network

import pytest

from lab.cluster import Lab
from lab.routers.router import Router, wire_end
from lab.routers.values import Neighbour, Path, Setup
from lab.run import wait_for
from tests.lab.kube_vip import FORCED, start_again, stop_for_good
from tests.lab.routed import ALL, ASN, FAR, OWN, ROUTERS_ASN, Routed, Way, peer, prefix_of, start_speakers
from tests.lab.shop import FOUR, REST, SIX, Wanted, seats

KINDS = ("frr", "bird")
HERE = ("n1", "n2")  # nodes with a backend of their own
PREFIX = "metal.equinix.com"
SECRET = "s3cret"
FLAGS = ("--bgp-drain=0", "--linger=0.5", f"--bgp-annotations={PREFIX}")
PLAIN = [Way(kind, session, (session,)) for kind in KINDS for session in (4, 6)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(nodes=3) as opened:
        opened.install(values=["bgp.passwordSecrets={tor}"])
        yield opened


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Routed:
    """Routers that know nodes by a password over IPv4, without over IPv6, and at the end of a cable of their own."""
    for number, kind in enumerate(KINDS):
        wires = (Neighbour(wire_end(number, node), extended_next_hop=True) for node in ALL)
        known = (Neighbour("10.60.0.0/24", password=SECRET), Neighbour("fd60::/64"), *wires)
        router = lab.add_router(kind, Setup(neighbours=known))
        for node in ALL:
            router.wire(node)
    start_speakers(lab)
    lab.start_controller("a", REST)
    for node in lab.nodes:
        lab.start_agent(node, *FLAGS)
    lab.apply(FAR)
    for node in HERE:
        lab.add_backend(f"web-{node}", node)
    wait_for("every agent has its seat", lambda: sorted(set(seats(lab))) == sorted(ALL), alive=lab.agents.values())
    return Routed(lab)


# -- node annotations


@pytest.fixture
def annotated(shop: Routed) -> Iterator[None]:
    """The nodes say who their peers are; the password is in base64."""
    routers = ",".join(str(router.address4) for router in shop.lab.routers.values())
    said = {
        "node-asn": ASN,
        "peer-asn": ROUTERS_ASN,
        "peer-ip": routers,
        "bgp-pass": "czNjcmV0",
        "peer-multi-hop": "false",
    }
    for node in ALL:
        words = {**said, "src-ip": OWN[4][node]}
        _annotate(shop.lab, node, {f"{PREFIX}/{word}": str(value) for word, value in words.items()})
    for kind in KINDS:
        shop.lab.routers[kind].wait_established(*OWN[4].values(), seconds=60)
    yield
    for node in ALL:
        _annotate(shop.lab, node, {f"{PREFIX}/{word}": None for word in (*said, "src-ip")})
    for kind in KINDS:
        wait_for(f"{kind} has no session", partial(_alone, shop, kind))


def _annotate(lab: Lab, node: str, annotations: Mapping[str, str | None]) -> None:
    lab.api("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"annotations": dict(annotations)}})


def _alone(shop: Routed, kind: str) -> bool:
    return not shop.lab.routers[kind].established()


@pytest.mark.usefixtures("annotated")
def test_e2e_bgp_configuration_via_node_annotations(shop: Routed) -> None:
    """BGP configuration via node annotations: advertise IPv4 routes (Cluster, Local)."""
    for traffic, nodes in (("Cluster", ALL), ("Local", HERE)):
        shop.make(Wanted("whoami", (FOUR,), traffic))
        (address,) = shop.wait_addresses("whoami")
        shop.wait_announced(address, nodes, [Way(kind, 4, (4,)) for kind in KINDS])
        shop.delete("whoami")
        shop.wait_withdrawn(address)


# -- the DaemonSet's end: all agents go at once, with Services of every kind announced, and come back


@dataclass(frozen=True, slots=True)
class Case:
    """A Service that is announced when the agents go."""

    name: str
    families: tuple[str, ...]
    annotations: Mapping[str, str]


CASES = {
    f"{family}, {election}": Case(f"s{number}-{election.rpartition('=')[2]}", families, annotations)
    for number, (family, families) in enumerate({"IPv4": (FOUR,), "IPv6": (SIX,), "DualStack": (FOUR, SIX)}.items())
    for election, annotations in (("svc_election=false", {}), ("svc_election=true", FORCED))
}


@pytest.fixture(scope="module")
def addresses(shop: Routed) -> dict[str, list[str]]:
    """By case; announced in sessions over IPv4 with a password, over IPv6, and unnumbered ones over the cables."""
    secret = {"metadata": {"name": "tor"}, "stringData": {"password": SECRET}}
    shop.lab.api("POST", "/api/v1/namespaces/roost-system/secrets", secret)
    for kind in KINDS:
        router = shop.lab.routers[kind]
        link = {"remote": {"interface": f"to-{kind}", "asn": ROUTERS_ASN}}
        shop.lab.apply(
            [
                peer(f"{kind}-4", str(router.address4), {"passwordSecret": {"name": "tor"}}),
                peer(f"{kind}-6", str(router.address6)),
                peer(f"{kind}-link", "", link),
            ]
        )
    for case in CASES.values():
        shop.make(Wanted(case.name, case.families, annotations=case.annotations))
    for kind in KINDS:
        ends = map(str, shop.lab.routers[kind].wires.values())
        shop.lab.routers[kind].wait_established(*OWN[4].values(), *OWN[6].values(), *ends, seconds=60)
    return {key: shop.wait_addresses(case.name, len(case.families)) for key, case in CASES.items()}


def wait_heard(shop: Routed, case: Case, addresses: list[str]) -> None:
    """Until the routers hear of a case's addresses from whom they should, in each kind of session."""
    for address in addresses:
        nodes = (shop.wait_held(address, ALL),) if case.annotations else ALL
        shop.wait_announced(address, nodes, PLAIN)
        for kind in KINDS:
            wait_for(
                f"{kind} hears of {address} over the cables of {nodes}",
                partial(_heard_over_cables, shop, kind, address, nodes),
                every=0.05,
            )


def _heard_over_cables(shop: Routed, kind: str, address: str, nodes: tuple[str, ...]) -> bool:
    router = shop.lab.routers[kind]
    ends = {str(end): node for node, end in router.wires.items()}
    told = {path.neighbour: str(path.next_hop) for path in router.routes(prefix_of(address)) if path.neighbour in ends}
    return {ends[neighbour] for neighbour in told} == set(nodes) and all(end == hop for end, hop in told.items())


@pytest.fixture(scope="module")
def left(shop: Routed, addresses: dict[str, list[str]]) -> dict[str, list[Path]]:
    """What routers still have, by case, once every agent has ended well; gobgpd lives on. Then the agents are back."""
    for key, case in CASES.items():
        wait_heard(shop, case, addresses[key])
    stop_for_good(shop.lab)
    found = {}
    for key, given in addresses.items():
        wait_for(f"nobody announces {key}", lambda given=given: not remains(shop, given), every=0.1)  # type: ignore[misc]
        found[key] = remains(shop, given)
    start_again(shop.lab, *FLAGS)
    return found


def remains(shop: Routed, addresses: list[str]) -> list[Path]:
    routers = [shop.lab.routers[kind] for kind in KINDS]
    return [path for router in routers for address in addresses for path in router.routes(prefix_of(address))]


@pytest.mark.parametrize("key", CASES)
def test_ds_exits_gracefully(
    shop: Routed, addresses: dict[str, list[str]], left: dict[str, list[Path]], key: str
) -> None:
    """exits gracefully when only services / services with leader election are enabled / with unnumbered BGP peers."""
    assert not left[key]
    wait_heard(shop, CASES[key], addresses[key])


@pytest.mark.parametrize("kind", KINDS)
def test_ds_routers_forward_over_cables_of_unnumbered_peers(
    shop: Routed, addresses: dict[str, list[str]], kind: str
) -> None:
    """… when unnumbered BGP peers are configured: IPv4 too goes to link-local next hops (RFC 8950)."""
    router = shop.lab.routers[kind]
    for address in addresses["DualStack, svc_election=false"]:
        wait_for(f"{kind} uses the cables", partial(_forwards_over_cables, router, address), every=0.1)
        spread = wait_for(
            "all is answered",
            lambda address=address: (
                None  # type: ignore[misc]
                if (found := shop.lab.spread(router.client, address, count=30)).failures
                else found
            ),
        )
        assert set(spread.nodes) == set(ALL)


def _forwards_over_cables(router: Router, address: str) -> bool:
    return set(router.wires.values()) <= router.kernel().get(ip_network(prefix_of(address)), frozenset())
