"""What may break between nodes and their router, and what happens meanwhile to connections that go through it."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lab.api import Json
from lab.cluster import Lab
from lab.network import Leg
from lab.probes import ClientProbe
from lab.routers.mrt import Watch
from lab.routers.router import Router
from lab.routers.values import DATA, Bfd, Neighbour, Setup
from lab.run import wait_for

POOL = "far"
FOUR, SIX = "10.99.0.0/24", "fd99::/120"
VIPS = ("10.99.0.1", "fd99::1")
NODES = 3
EVERY = 0.02  # seconds between two connections to each VIP
STEADY = 50  # connections that succeed before a fault
AFTER = 2.0  # seconds that are watched after all is well again
LIFETIME = 4.0  # seconds for which gobgpd goes on without an agent
AGENTS = "/apis/roost.dev/v1alpha1/nodeagents"


@dataclass(frozen=True, slots=True)
class Way:
    """How nodes and router speak with each other."""

    version: int = 4  # of GoBGP's API
    restart: int = 30  # seconds of graceful restart; 0: none
    hold: int = 9  # seconds
    bfd: bool = False

    def peer(self, name: str, router: str) -> Json:
        """A BGPPeer that is the router at that address, for its own family."""
        spec: Json = {
            "local": {"asn": 65000},
            "remote": {"address": router, "asn": 64512},
            "families": ["IPv6" if ":" in router else "IPv4"],
            "timers": {"holdSeconds": self.hold, "keepaliveSeconds": self.hold // 3, "connectRetrySeconds": 1},
            "gracefulRestartSeconds": self.restart,
            "drainSeconds": 1,
        }
        if self.bfd:
            spec["bfd"] = {"receiveMilliseconds": 100, "transmitMilliseconds": 100, "detectMultiplier": 3}
        return {"apiVersion": "roost.dev/v1alpha1", "kind": "BGPPeer", "metadata": {"name": name}, "spec": spec}

    def setup(self, legs: Iterable[Leg]) -> Setup:
        """The router's side. With BFD it names each node: for callers from a network FRR begins BFD anew each time."""
        neighbours: Sequence[Neighbour] = DATA
        if self.bfd:
            both = ((leg.address4, leg.address6) for leg in legs)
            neighbours = [Neighbour(str(one), bfd=Bfd(100, 100, 3)) for pair in both for one in pair]
        return Setup(hold=self.hold, keepalive=self.hold // 3, neighbours=neighbours)


@dataclass(slots=True)
class Scene:
    """Three nodes, each with an agent, GoBGP and an endpoint, that announce one dual-stack Service to one FRR."""

    lab: Lab
    router: Router
    way: Way

    def hops(self, *without: str) -> dict[str, set[str]]:
        """By VIP what the router should forward to, less the nodes *without*."""
        legs = [node.leg("data") for name, node in self.lab.nodes.items() if name not in without]
        return {VIPS[0]: {str(leg.address4) for leg in legs}, VIPS[1]: {str(leg.address6) for leg in legs}}

    def wait(self, *without: str, seconds: float = 40) -> None:
        """Until the router forwards to all nodes but these."""
        for vip, hops in self.hops(*without).items():
            self.router.wait_next_hops(vip, *sorted(hops), seconds=seconds)

    def maintain(self, node: str, word: str) -> None:
        self.lab.api("PATCH", f"{AGENTS}/{node}", {"spec": {"maintenance": word}})


@dataclass(frozen=True, slots=True)
class Fault:
    """How to break something of *node*, and how to mend it. *strike* returns when nothing more is to be expected."""

    name: str
    strike: Callable[[Scene, str], None]
    mend: Callable[[Scene, str], None] = lambda _scene, _node: None


@dataclass(frozen=True, slots=True)
class Seen:
    """What connections met with; seconds.

    *trouble*: from the first that failed to the last; *gap*: the longest time without any success, of the worse family.
    *wrong*: paths of the router's table that should never have been there.
    """

    trouble: float
    failed: int
    gap: float
    wrong: tuple[str, ...]
    resets: int  # sessions that went down meanwhile


@contextmanager
def scene(way: Way) -> Iterator[Scene]:
    """All of it running, and the VIPs answering through every node."""
    with Lab(nodes=NODES) as lab:
        lab.install()
        for node in lab.nodes:
            lab.start_keeper(node, way.version, lifetime=LIFETIME)
        router = lab.add_router("frr", way.setup(node.leg("data") for node in lab.nodes.values()))
        lab.start_controller("--rest-seconds=1.5")
        for node in lab.nodes:
            lab.start_agent(node)
            lab.add_backend(f"web-{node}", node)
        announce = {"protocols": ["BGP"]}
        pool = {"metadata": {"name": POOL}, "spec": {"addresses": [FOUR, SIX], "announce": announce}}
        lab.apply([{"apiVersion": "roost.dev/v1alpha1", "kind": "AddressPool", **pool}])
        lab.apply([way.peer("tor4", str(router.address4)), way.peer("tor6", str(router.address6))])
        lab.apply([_service()])
        found = Scene(lab, router, way)
        found.wait()
        yield found


def _service() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "far", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080}],
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack",
            "externalTrafficPolicy": "Local",
        },
    }


def run_once(scene: Scene, fault: Fault, node: str = "n2") -> Seen:
    """Strike once, watch, mend, and wait until all is as it was."""
    with ExitStack() as stack:
        clients = [stack.enter_context(scene.lab.client(vip, where=scene.router.client, every=EVERY)) for vip in VIPS]
        for client in clients:
            client.wait_for_success(count=STEADY)
        watch = stack.enter_context(scene.router.watch())
        since = time.time()
        fault.strike(scene, node)
        _settle(clients)
        reports = [client.report() for client in clients]
        fault.mend(scene, node)
        scene.wait()
        failures = [moment for report in reports for moment, _ in report.failures if moment >= since]
        return Seen(
            max(failures) - min(failures) + EVERY if failures else 0.0,
            len(failures),
            max(report.gap(since) for report in reports),
            _wrong(scene, watch),
            sum(1 for change in watch.changes if change.prefix is None and not change.up),
        )


def _settle(clients: list[ClientProbe]) -> None:
    """Until no connection has failed for a while."""

    def calm() -> bool:
        reports = [client.report() for client in clients]
        return all(not report.failures or report.now - report.failures[-1][0] > AFTER for report in reports)

    time.sleep(AFTER)
    wait_for("connections succeed again", calm, 60, every=0.2)


def _wrong(scene: Scene, watch: Watch) -> tuple[str, ...]:
    """Announcements of anything but the VIPs, or with anybody's next hop but the announcer's own."""
    wanted = {f"{VIPS[0]}/32", f"{VIPS[1]}/128"}
    found = []
    for change in watch.changes:
        if change.prefix is None or change.path is None:
            continue
        hop = str(change.path.next_hop)
        if str(change.prefix) not in wanted or hop != change.neighbour:
            found.append(f"{change.prefix} from {change.neighbour} by {hop}")
    return tuple(found)


# -- faults ------------------------------------------------------------------------------------------------------------


def _gobgpd_sigkill(scene: Scene, node: str) -> None:
    scene.lab.speakers[node].gobgpd_signal(signal.SIGKILL)


def _agent_sigkill(scene: Scene, node: str) -> None:
    scene.lab.agents[node].agent_signal(signal.SIGKILL)


def _agent_for_good(scene: Scene, node: str) -> None:
    """Nobody is left who would see to gobgpd: it must not announce for ever."""
    scene.lab.agents[node].sigkill()
    scene.wait(node)


def _agent_again(scene: Scene, node: str) -> None:
    scene.lab.start_agent(node)


def _pod_restarts(scene: Scene, node: str) -> None:
    """Agent and GoBGP are told to stop, as for an upgrade, and are back a second later."""
    agent, keeper = scene.lab.agents[node], scene.lab.speakers[node]
    agent.sigterm()
    keeper.sigterm()
    agent.wait()
    keeper.wait()
    scene.lab.start_keeper(node, scene.way.version, lifetime=LIFETIME)
    scene.lab.start_agent(node)


def _router_restarts(scene: Scene, _node: str) -> None:
    scene.router.restart()
    scene.wait()


def _link_down(scene: Scene, node: str) -> None:
    scene.lab.link_down(node)
    scene.wait(node)


def _link_up(scene: Scene, node: str) -> None:
    scene.lab.link_up(node)


def _power_off(scene: Scene, node: str) -> None:
    scene.lab.power_off(node)
    scene.wait(node)


def _power_on(scene: Scene, node: str) -> None:
    scene.lab.power_on(node)
    scene.lab.wait_for_proxies(node)


def _api_outage(scene: Scene, _node: str) -> None:
    scene.lab.api_outage()
    time.sleep(5)
    scene.lab.api_back()


def _drain(scene: Scene, node: str) -> None:
    scene.maintain(node, "Drain")
    scene.wait(node)


def _end_of_drain(scene: Scene, node: str) -> None:
    scene.maintain(node, "None")


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("gobgpd-sigkill", _gobgpd_sigkill),
        Fault("agent-sigkill", _agent_sigkill),
        Fault("agent-for-good", _agent_for_good, _agent_again),
        Fault("pod-restart", _pod_restarts),
        Fault("router-restart", _router_restarts),
        Fault("link-down", _link_down, _link_up),
        Fault("power-off", _power_off, _power_on),
        Fault("api-outage", _api_outage),
        Fault("drain", _drain, _end_of_drain),
    )
}
