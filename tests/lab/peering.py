"""Routers that wait for sessions, agents that nobody told of any router yet, and what a router says of its sessions.

GoBGP 3 on n1 and 4 on n2 and n3. FRR is another AS, and wants a password over IPv6; BIRD is of the AS that the nodes
are of by default.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab.api import Json
from lab.cluster import Lab
from lab.routers.mrt import Watch
from lab.routers.router import wire_end
from lab.routers.values import Bfd, Neighbour, Setup
from tests.lab.fabric import ASN, Fabric, open_fabric, peer, pool
from tests.lab.shop import FOUR, SIX, Wanted

VERSIONS = {"n1": 3, "n2": 4, "n3": 4}  # of GoBGP
NODES = tuple(VERSIONS)
FRR, BIRD = "frr", "bird"
FRR_ASN = 64512
PASSWORD, SECRET = "right", "tor-password"
SECRETS = "/api/v1/namespaces/roost-system/secrets"
ORIGINATED = ("10.200.0.0/24", "fd20::/64")
LONG = {"holdSeconds": 90, "keepaliveSeconds": 30, "connectRetrySeconds": 1}
WIRED = ("n1", "n2")


@contextmanager
def waiting() -> Iterator[Fabric]:
    """Routers that wait for sessions; agents that nobody told of any; a Service that they may announce."""
    with Lab(nodes=3) as lab:
        lab.install(values=[f"bgp.passwordSecrets={{{SECRET}}}"])
        neighbours = (
            Neighbour("10.60.0.0/24"),
            *(Neighbour(address, bfd=Bfd(150, 150, 4)) for address in ("10.60.0.12", "10.60.0.13")),
            Neighbour("fd60::/64", password=PASSWORD),
            *(Neighbour(wire_end(0, node), bfd=Bfd(), extended_next_hop=True) for node in WIRED),
        )
        frr = lab.add_router(FRR, Setup(FRR_ASN, neighbours, hold=180, keepalive=60, announce=ORIGINATED))
        lab.add_router(BIRD, Setup(ASN, (Neighbour("10.60.0.0/24", ASN), Neighbour("fd60::/64", ASN))))
        for node in WIRED:
            assert frr.wire(node)[0] == "to-frr"
        fabric = open_fabric(lab, VERSIONS)
        lab.apply([pool("open", "10.90.0.0/24", "fd90::/120")])
        with fabric.serving("open", Wanted("web", (FOUR, SIX))):
            yield fabric


def wait_alone(fabric: Fabric) -> None:
    """Until there is no session any more, as the next case begins."""
    for router in (FRR, BIRD):
        fabric.wait_sessions(router)


def frr_peer(fabric: Fabric, name: str = FRR, asn: int | str = FRR_ASN, **spec: Any) -> Json:
    return peer(name, fabric.lab.routers[FRR].address4, asn, **spec)


def bird_peer(fabric: Fabric, name: str = BIRD, asn: int | str = ASN, **spec: Any) -> Json:
    return peer(name, fabric.lab.routers[BIRD].address6, asn, **spec)


def neighbours(fabric: Fabric) -> dict[str, Json]:
    """What FRR says of each session that is up, by node (or by link-local address)."""
    daemon = fabric.lab.routers[FRR].daemon
    told: dict[str, Json] = json.loads(daemon.ask("show bgp neighbors json"))
    return {fabric.node_of(key): one for key, one in told.items() if one.get("bgpState") == "Established"}


def resets(watch: Watch) -> set[str]:
    """The neighbours whose session came or went."""
    return {change.neighbour for change in watch.changes if change.prefix is None}


def wait_neighbours(fabric: Fabric, what: str, true: Callable[[dict[str, Json]], bool]) -> None:
    fabric.until(what, lambda: true(neighbours(fabric)))
