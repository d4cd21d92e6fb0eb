"""A lab whose nodes announce VIPs to routers by BGP: GoBGP of both versions beside the agents, and what routers see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from lab.api import Json
from lab.cluster import Lab
from lab.routers.router import Router
from lab.routers.values import Path
from lab.run import wait_for
from tests.lab.shop import ROOST, Shop

VERSIONS = {"n1": 3, "n2": 4, "n3": 3}  # of GoBGP
OWN = {
    4: {"n1": "10.60.0.11", "n2": "10.60.0.12", "n3": "10.60.0.13"},
    6: {"n1": "fd60::11", "n2": "fd60::12", "n3": "fd60::13"},
}
ALL = ("n1", "n2", "n3")
ASN, ROUTERS_ASN = 65000, 64512
FAR = {
    "apiVersion": "roost.dev/v1alpha1",
    "kind": "AddressPool",
    "metadata": {"name": "far"},
    "spec": {"addresses": ["10.99.0.0/24", "fd99::/120"], "announce": {"protocols": ["BGP"]}},
}


def prefix_of(address: str) -> str:
    return f"{address}/{32 if version_of(address) == 4 else 128}"


def version_of(address: str) -> int:
    return ip_address(address).version


@dataclass(frozen=True, slots=True)
class Way:
    """How a router hears of VIPs: the session of *session* (an address family) tells it of those of *families*."""

    router: str
    session: int
    families: tuple[int, ...]


class Routed(Shop):
    """A tenant's hands and eyes, and those of who runs the routers."""

    def next_hops(self, way: Way, address: str) -> dict[str, list[str]]:
        """By node that announces it in the session of that way: the next hop, or several if there are."""
        nodes = {own: node for node, own in OWN[way.session].items()}
        found: dict[str, list[str]] = {}
        for path in self.lab.routers[way.router].routes(prefix_of(address)):
            if path.neighbour in nodes:
                found.setdefault(nodes[path.neighbour], []).append(str(path.next_hop))
        return found

    def wait_announced(self, address: str, nodes: Iterable[str], ways: Iterable[Way]) -> None:
        """Until in each of *ways* exactly *nodes* announce *address*, each with its own address as next hop."""
        version = version_of(address)
        expected = {node: [OWN[version][node]] for node in nodes}
        for way in ways:
            wanted = expected if version in way.families else {}
            wait_for(
                f"{way.router} hears of {address} over IPv{way.session} from {sorted(wanted)}",
                partial(self._is_announced, way, address, wanted),
                alive=self.lab.agents.values(),
                every=0.05,
            )

    def _is_announced(self, way: Way, address: str, wanted: Mapping[str, list[str]]) -> bool:
        return self.next_hops(way, address) == wanted

    def wait_withdrawn(self, address: str, routers: Iterable[str] = ()) -> None:
        """Until no router has heard of *address*."""
        for name in list(routers) or self.lab.routers:
            router = self.lab.routers[name]
            wait_for(f"{name} has forgotten {address}", partial(_knows_nothing, router, address), every=0.05)


def _knows_nothing(router: Router, address: str) -> bool:
    return not router.routes(prefix_of(address))


def peer(name: str, remote: str, spec: Mapping[str, object] | None = None, *, asn: int = ASN) -> Json:
    """A BGPPeer whose sessions come quickly and end without a drain."""
    timers = {"holdSeconds": 9, "keepaliveSeconds": 3, "connectRetrySeconds": 1}
    usual: Json = {"local": {"asn": asn}, "remote": {"address": remote, "asn": ROUTERS_ASN}}
    given = {"timers": timers, "drainSeconds": 0, **usual, **(spec or {})}
    return {"apiVersion": "roost.dev/v1alpha1", "kind": "BGPPeer", "metadata": {"name": name}, "spec": given}


def start_speakers(lab: Lab) -> None:
    for node, version in VERSIONS.items():
        lab.start_speaker(node, version)


def paths(router: Router, address: str) -> list[Path]:
    return router.routes(prefix_of(address))


def exceptions(lab: Lab, node: str) -> list[Json]:
    status: Json = lab.api("GET", f"{ROOST}/nodeagents/{node}").get("status", {})
    found: Sequence[Json] = status.get("vips", {}).get("exceptions", [])
    return list(found)
