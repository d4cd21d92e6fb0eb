"""The lab's routers and speakers by themselves: what is announced arrives, is seen whole, and is forwarded by."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from lab.cluster import Lab
from lab.routers.router import Router
from lab.routers.values import Neighbour, Setup
from lab.run import wait_for
from lab.speaker import Dial

VIP4, VIP6 = "10.97.0.1", "fd97::1"
OF = {4: {"n1": "10.60.0.11", "n2": "10.60.0.12", "n3": "10.60.0.13"},
      6: {"n1": "fd60::11", "n2": "fd60::12", "n3": "fd60::13"}}  # fmt: skip
VERSIONS = {"n1": 3, "n2": 4, "n3": 4}  # of GoBGP
ASN = 65001
SECRET = "s3cret"
BOTH = [pytest.param("frr", id="FRR"), pytest.param("bird", id="BIRD")]
COUNT = 90
ATTRIBUTES = ("community", "65001:100,no-export", "large-community", "65001:1:2", "med", "5", "local-pref", "300")


def dials(lab: Lab, password: str = SECRET) -> list[Dial]:
    return [Dial(str(router.address4), router.asn, password) for router in lab.routers.values()]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three nodes with a speaker and a backend each, and both routers, which know the nodes by their password."""
    known = (Neighbour("10.60.0.0/24", ASN, SECRET),)
    with Lab(nodes=3) as opened:
        opened.add_router("frr", Setup(neighbours=known, announce=("10.200.0.0/24",)))
        opened.add_router("bird", Setup(asn=ASN, neighbours=known, announce=("10.200.0.0/24",)))  # iBGP
        for node in opened.nodes:
            opened.start_speaker(node, VERSIONS[node], asn=ASN, sessions=dials(opened))
            opened.add_backend(f"web-{node}", node)
        serve(opened)
        for router in opened.routers.values():
            router.wait_established(*OF[4].values())
        yield opened


def serve(lab: Lab) -> None:
    """A Service whose addresses somebody else gave it, as far as kube-proxy knows."""
    spec = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "ipFamilyPolicy": "RequireDualStack",
        "ipFamilies": ["IPv4", "IPv6"],
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080}],
    }
    metadata = {"name": "web", "namespace": "default"}
    services = "/api/v1/namespaces/default/services"
    lab.api("POST", services, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    given = {"loadBalancer": {"ingress": [{"ip": VIP4}, {"ip": VIP6}]}}
    lab.api("PATCH", f"{services}/web/status", {"status": given})


def announce(lab: Lab, *nodes: str) -> None:
    for node in nodes:
        for vip in (f"{VIP4}/32", f"{VIP6}/128"):
            lab.speakers[node].announce(vip, *ATTRIBUTES)


def wait_arrived(router: Router, *nodes: str) -> None:
    router.wait_next_hops(f"{VIP4}/32", *(OF[4][node] for node in nodes))
    router.wait_next_hops(f"{VIP6}/128", *(OF[6][node] for node in nodes))


@pytest.mark.parametrize("kind", BOTH)
def test_a_session_says_what_both_sides_agreed_on(lab: Lab, kind: str) -> None:
    session = lab.routers[kind].sessions()[OF[4]["n1"]]
    assert (session.state, session.asn, session.families) == ("Established", ASN, frozenset({4, 6}))
    assert (session.hold, session.keepalive, session.bfd, session.graceful_restart) == (9, 3, "", None)


@pytest.mark.parametrize("kind", BOTH)
def test_one_path_arrives_with_its_attributes(lab: Lab, kind: str) -> None:
    announce(lab, "n2")
    router = lab.routers[kind]
    wait_arrived(router, "n2")
    for vip, family in ((f"{VIP4}/32", 4), (f"{VIP6}/128", 6)):
        (path,) = router.routes(vip)
        assert (path.neighbour, path.next_hop) == (OF[4]["n2"], ip_address(OF[family]["n2"]))
        assert path.communities == {"65001:100", "no-export"}
        assert path.large_communities == {"65001:1:2"}
        assert path.med == 5
        assert path.as_path == ((ASN,) if kind == "frr" else ())
        assert path.local_preference == (None if kind == "frr" else 300)
        assert path.used
        assert not path.stale
    assert {str(path.prefix) for path in router.rib()} >= {f"{VIP4}/32", f"{VIP6}/128"}


@pytest.mark.parametrize("kind", BOTH)
def test_what_a_router_originates_arrives_at_the_speakers_and_nothing_of_the_others(lab: Lab, kind: str) -> None:
    announce(lab, "n2")
    wait_arrived(lab.routers[kind], "n2")

    def told() -> list[str]:
        words = lab.speakers["n1"].gobgp("neighbor", str(lab.routers[kind].address4), "adj-in").split()
        return [word for word in words if "/" in word]

    wait_for("the router's own prefix arrives", lambda: told() == ["10.200.0.0/24"])


@pytest.mark.parametrize("kind", BOTH)
def test_connections_are_spread_over_three_nodes_and_follow_a_withdrawal(lab: Lab, kind: str) -> None:
    router = lab.routers[kind]
    announce(lab, "n1", "n2", "n3")
    wait_arrived(router, "n1", "n2", "n3")
    for vip in (VIP4, VIP6):
        spread = lab.spread(router.client, vip, count=COUNT)
        assert not spread.failures
        assert set(spread.nodes) == {"n1", "n2", "n3"}
        assert all(count > COUNT / 6 for count in spread.nodes.values())
        assert {f"web-{node}": count for node, count in spread.nodes.items()} == dict(spread.backends)
    for vip in (VIP4, VIP6):
        lab.speakers["n3"].withdraw(vip + ("/32" if vip == VIP4 else "/128"))
    wait_arrived(router, "n1", "n2")
    for vip in (VIP4, VIP6):
        spread = lab.spread(router.client, vip, count=30)
        assert not spread.failures
        assert set(spread.nodes) == {"n1", "n2"}


@pytest.mark.parametrize("kind", BOTH)
def test_a_watch_has_every_change_and_who_announced_when(lab: Lab, kind: str) -> None:
    router = lab.routers[kind]
    announce(lab, "n1", "n2")
    lab.speakers["n3"].announce("10.97.0.9/32")
    router.wait_next_hops("10.97.0.9/32", OF[4]["n3"])
    with router.watch() as watch:
        lab.speakers["n1"].announce("10.97.0.9/32", "community", "65001:3")
        router.wait_next_hops("10.97.0.9/32", OF[4]["n1"], OF[4]["n3"])
        lab.speakers["n1"].withdraw("10.97.0.9/32")
        router.wait_next_hops("10.97.0.9/32", OF[4]["n3"])
        lab.speakers["n3"].withdraw("10.97.0.9/32")
        router.wait_next_hops("10.97.0.9/32")
    states = watch.states("10.97.0.9/32")
    assert [set(state.paths) for state in states] == [{OF[4]["n1"]}, set(), set()]
    (path,) = states[0].paths.values()
    assert path.communities == {"65001:3"}
    assert path.prefix == ip_network("10.97.0.9/32")
    assert sorted(state.time for state in states) == [state.time for state in states]


def test_a_wrong_password_keeps_a_session_down(lab: Lab) -> None:
    speaker = lab.speakers["n3"]
    with lab.routers["frr"].watch() as frr, lab.routers["bird"].watch() as bird:
        speaker.sigkill()
        for router in lab.routers.values():
            wait_for(f"{router.name} notices", lambda router=router: OF[4]["n3"] not in router.established())  # type: ignore[misc]
    for watch in (frr, bird):
        assert [(change.neighbour, change.up) for change in watch.changes] == [(OF[4]["n3"], False)]
    wrong = [Dial(dial.remote, dial.asn, SECRET if dial.asn == ASN else "wrong") for dial in dials(lab)]
    lab.start_speaker("n3", 4, asn=ASN, sessions=wrong)
    lab.routers["bird"].wait_established(OF[4]["n3"])
    assert OF[4]["n3"] not in lab.routers["frr"].established()
    lab.speakers["n3"].sigkill()
    lab.start_speaker("n3", 4, asn=ASN, sessions=dials(lab))
    lab.routers["frr"].wait_established(OF[4]["n3"])


def test_a_router_that_restarts_and_one_that_dies_are_told_all_again(lab: Lab) -> None:
    frr, bird = lab.routers["frr"], lab.routers["bird"]
    announce(lab, "n2")
    with frr.watch() as watch:
        bird.kill()
        frr.restart()
        assert not lab.spread(bird.client, VIP4, count=1).nodes
        bird.start()
        for router in (frr, bird):
            router.wait_established(*OF[4].values(), seconds=40)
            wait_for(f"{router.name} has the path", lambda router=router: len(router.rib()) >= 2)  # type: ignore[misc]
    assert {change.neighbour for change in watch.changes if change.up} == set(OF[4].values())
    assert lab.spread(bird.client, VIP4, count=1).nodes
