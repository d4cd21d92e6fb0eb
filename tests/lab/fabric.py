"""A shop with routers in front of it: peers, advertisements and pools as people write them, and what routers hear."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from itertools import count, product

from lab.api import Json
from lab.cluster import Lab
from lab.routers.values import Path
from lab.run import LabError, wait_for
from tests.lab.shop import REST, ROOST, Shop, Wanted, path

ASN = 65000  # of the nodes
TIMERS = {"holdSeconds": 9, "keepaliveSeconds": 3, "connectRetrySeconds": 1}
BOTH = ("IPv4", "IPv6")
WIDTH = {4: 32, 6: 128}


def thing(kind: str, name: str, spec: Mapping[str, object]) -> Json:
    return {"apiVersion": "roost.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def pool(name: str, *addresses: str, protocols: Collection[str] = ("BGP",), **announce: object) -> Json:
    told = {"protocols": list(protocols), **announce}
    return thing("AddressPool", name, {"addresses": list(addresses), "allocation": {"auto": False}, "announce": told})


def peer(
    name: str, remote: object, asn: int | str, *, local: Mapping[str, object] | None = None, **spec: object
) -> Json:
    """*remote*: an address or an interface; *asn*: a number, Internal or External; families: by default both."""
    text = str(remote)
    where = {"address": text} if "." in text or ":" in text else {"interface": text}
    whose = {"asnType": asn} if isinstance(asn, str) else {"asn": asn}
    usual = {"timers": TIMERS, "families": list(BOTH)}
    return thing("BGPPeer", name, {"local": {"asn": ASN, **(local or {})}, "remote": where | whose, **usual, **spec})


def advertisement(name: str, **spec: object) -> Json:
    return thing("BGPAdvertisement", name, spec)


def labels(**wanted: str) -> Json:
    """A selector."""
    return {"matchLabels": wanted}


def hosts(*names: str) -> Json:
    """A selector of nodes by name."""
    return {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(names)}]}


def prefix(address: str) -> str:
    return f"{address}/{WIDTH[ip_address(address).version]}"


@dataclass(frozen=True, slots=True)
class Said:
    """What a path says of itself; of what is None nothing is asked."""

    communities: frozenset[str] = frozenset()
    large: frozenset[str] = frozenset()
    local_preference: int | None = None
    med: int | None = None
    as_path: tuple[int, ...] | None = None

    def of(self, one: Path) -> bool:
        return (
            (one.communities, one.large_communities) == (self.communities, self.large)
            and self.local_preference in {None, one.local_preference}
            and self.med in {None, one.med}
            and self.as_path in {None, one.as_path}
        )


class Fabric(Shop):
    """What people do in a cluster whose nodes speak with routers, and what the routers say."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._numbers = count(1)

    # -- hands

    @contextlib.contextmanager
    def having(self, *objects: Json) -> Iterator[None]:
        """These objects of Roost's are there."""
        made = []
        try:
            for one in objects:
                kind = f"{ROOST}/{one['kind'].lower()}s"
                self.lab.api("POST", kind, one)
                made.append(f"{kind}/{one['metadata']['name']}")
            yield
        finally:
            for where in reversed(made):
                if self.lab.admin.find(where) is not None:
                    self.lab.api("DELETE", where)

    @contextlib.contextmanager
    def serving(self, pool: str, wanted: Wanted, labels: Mapping[str, str] | None = None) -> Iterator[list[str]]:
        """A Service with addresses of *pool*; at the end it is deleted, and withdrawn."""
        body = wanted.object()
        body["metadata"]["annotations"].setdefault("roost.dev/pool", pool)
        body["metadata"]["labels"] = dict(labels or {})
        self.wait_deleted(wanted.name)  # one of that name before
        self.lab.api("POST", "/api/v1/namespaces/default/services", body)
        try:
            found = self.wait_addresses(wanted.name, len(wanted.families))
            yield found
        except LabError as error:
            error.add_note(f"Service {wanted.name}: {self.service(wanted.name)['status']}")
            raise
        finally:
            self.lab.api("DELETE", path(wanted.name))
        for router, address in product(self.lab.routers, found):
            self.wait_heard(router, address)

    def edit(self, kind: str, name: str, **spec: object) -> None:
        """Merge *spec* into an object of Roost's; None takes a field away."""
        self.lab.api("PATCH", f"{ROOST}/{kind}s/{name}", {"spec": spec})

    def relabel(self, service: str, **wanted: str | None) -> None:
        self.lab.api("PATCH", path(service), {"metadata": {"labels": wanted}})

    @contextlib.contextmanager
    def labelled(self, *nodes: str, **wanted: str) -> Iterator[None]:
        for node in nodes:
            self.label(node, **wanted)
        try:
            yield
        finally:
            for node in nodes:
                self.label(node, **dict.fromkeys(wanted))

    def label(self, node: str, **wanted: str | None) -> None:
        self.lab.api("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": wanted}})

    # -- eyes

    def status(self, kind: str, name: str) -> Json:
        return dict((self.lab.admin.find(f"{ROOST}/{kind}s/{name}") or {}).get("status", {}))

    def ready(self, kind: str, name: str) -> tuple[str, str]:
        """Status and reason of its condition Ready."""
        found = self.status(kind, name).get("conditions", [])
        return next(((str(c["status"]), str(c["reason"])) for c in found if c["type"] == "Ready"), ("", ""))

    def problems(self, node: str) -> set[tuple[str, str]]:
        """By peer why a node does not speak with it."""
        told = self.status("nodeagent", node).get("bgp", {}).get("problems", [])
        return {(one.get("peer", ""), one["reason"]) for one in told}

    def heard(self, router: str, what: str) -> dict[str, Path]:
        """The paths of a prefix that came in at *router*, by node."""
        return {self.node_of(one.neighbour): one for one in self.lab.routers[router].routes(what)}

    def node_of(self, neighbour: str) -> str:
        return self._names().get(neighbour, neighbour)

    def _names(self) -> dict[str, str]:
        legs = {name: node.leg("data") for name, node in self.lab.nodes.items()}
        return {str(a): name for name, leg in legs.items() for a in (leg.address4, leg.address6)}

    def established(self, router: str) -> set[str]:
        """The nodes whose session with *router* is up; two sessions of one node are one."""
        return {self.node_of(neighbour) for neighbour in self.lab.routers[router].established()}

    # -- waiting

    def wait_served(self, *addresses: str, port: int = 80) -> None:
        """Until kube-proxy of every node has its rules: before that a connection may time out wherever it arrives."""
        for address, node in product(addresses, self.lab.nodes):
            self.until(f"{node} serves {address}", partial(self._serves, node, address, port))

    def _serves(self, node: str, address: str, port: int) -> bool:
        host = f"[{address}]" if ":" in address else address
        try:
            return bool(self.lab.fetch(node, f"http://{host}:{port}/", timeout=1))
        except OSError:
            return False

    def until(self, what: str, true: Callable[[], object], seconds: float = 20) -> None:
        alive = [agent for agent in self.lab.agents.values() if agent.running]
        wait_for(what, true, seconds, alive=alive, every=0.05)

    def wait_sessions(self, router: str, *nodes: str, seconds: float = 30) -> None:
        """Until exactly *nodes* have a session with *router*."""
        told = ", ".join(nodes) or "nobody"
        self.until(f"{router} has sessions with {told}", lambda: self.established(router) == set(nodes), seconds)

    def wait_heard(self, router: str, what: str, *nodes: str, said: Said | None = None) -> dict[str, Path]:
        """Until exactly *nodes* announce *what* (an address is its own prefix) to *router*, and say what is *said*."""
        wanted = what if "/" in what else prefix(what)

        def true() -> bool:
            found = self.heard(router, wanted)
            return set(found) == set(nodes) and (said is None or all(said.of(one) for one in found.values()))

        self.until(f"{router} hears of {wanted} from {', '.join(nodes) or 'nobody'}", true)
        return self.heard(router, wanted)

    def wait_told(self, pool: str, *routers: str) -> None:
        """Until all that nodes have to say is said: one more VIP of *pool* arrives everywhere, and is gone again."""
        name = f"last-{next(self._numbers)}"
        with self.serving(pool, Wanted(name)) as (address,):
            for router in routers:
                self.wait_heard(router, address, *self.lab.nodes)

    def wait_ready(self, kind: str, name: str, status: str, reason: str) -> None:
        what = f"{kind} {name} is Ready={status} ({reason})"
        self.until(what, lambda: self.ready(kind, name) == (status, reason))


def open_fabric(lab: Lab, versions: Mapping[str, int], *flags: str) -> Fabric:
    """Start gobgpd of these versions with its keeper, the controller and the agents; a backend web-N on each node."""
    for node, version in versions.items():
        lab.start_keeper(node, version)
    lab.start_controller("a", REST)
    for node in versions:
        lab.start_agent(node, *flags)
        lab.add_backend(f"web-{node}", node)
    return Fabric(lab)
