"""What fifty agents and a thousand VIPs make the API server write, when nodes come and go: by its own audit log."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from lab.api import STRATEGIC, Json
from lab.bench import load
from lab.bench.agents import FarAgent, connected, far_node, make_nodes
from lab.bench.figures import Budget, Figure
from lab.bench.stage import NAMESPACE
from lab.cluster import Lab
from lab.probes import Request
from lab.programs import AGENT, CONTROLLER
from lab.run import LabError, wait_for
from roost.kube.reflector import Reflector
from roost.kube.wire import VIRTUALIPS, VirtualIP
from roost.process import RealClock

Say = Callable[[str], None]

AGENTS, VIPS, FEW_VIPS = 50, 1000, 100
WRITES = ("create", "update", "patch", "delete")
VIP_STATUS, NODE_STATUS = "virtualips/status", "nodeagents/status"
VERSION = "roost.dev/v1alpha1"
PEER, ROUTER = "tor", "10.80.0.254"
ALONE = 12.0  # seconds between two restarts that are events of their own
PATIENCE = 240.0  # seconds for any step
LOOK = 6.0  # seconds without a write that count as rest; more than the controller waits for nodes to calm down
SHOWN = 6  # kinds of writes that a note names


@dataclass(frozen=True, slots=True)
class Ground:
    """A cluster with a controller, whose other nodes only seem to be there."""

    lab: Lab
    vips: int


def pool() -> Json:
    spec = {"addresses": ["10.99.0.0/20"], "announce": {"protocols": ["BGP"]}}
    return {"apiVersion": VERSION, "kind": "AddressPool", "metadata": {"name": "far"}, "spec": spec}


def peer() -> Json:
    spec = {"local": {"asn": 65000}, "remote": {"address": ROUTER, "asn": 64512}}
    return {"apiVersion": VERSION, "kind": "BGPPeer", "metadata": {"name": PEER}, "spec": spec}


@contextmanager
def place(*, small: bool) -> Iterator[Ground]:
    """A pool for BGP, a BGPPeer and the Nodes. Kubernetes' controllers stand still: no kubelet speaks for Nodes."""
    with Lab(nodes=1) as lab:
        lab.install()
        lab.apply(pool())
        lab.apply(peer())
        load.make_namespace(lab, NAMESPACE)
        account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
        wait_for("the namespace has its account", lambda: lab.admin.find(account))
        make_nodes(lab, range(1, AGENTS + 1))
        lab.start_controller()
        lab.control.processes["kube-controller-manager"].sigstop()
        yield Ground(lab, FEW_VIPS if small else VIPS)


# -- counting ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """All writes of one event. *most*: how often the status of one VIP changed, at most."""

    requests: Mapping[Request, int]
    most: int
    seconds: float

    def of(self, user: str) -> Counter[str]:
        """The writes of one account, by resource; Leases are no news."""
        found: Counter[str] = Counter()
        for request, times in self.requests.items():
            if request.user.endswith(f":{user}") and request.verb in WRITES and request.resource != "leases":
                found[request.resource] += times
        return found

    def by_node(self) -> Counter[str]:
        """How often each agent wrote its NodeAgent."""
        found: Counter[str] = Counter()
        for request, times in self.requests.items():
            if request.resource == NODE_STATUS and request.verb in WRITES:
                found[request.node] += times
        return found

    def told(self) -> str:
        """All of it in a few words."""
        kinds = Counter({f"{what} of the {who}": n for who, user in USERS.items() for what, n in self.of(user).items()})
        return ", ".join(f"{times} {what}" for what, times in kinds.most_common(SHOWN)) or "none"


USERS = {"controller": CONTROLLER, "agents": AGENT}


def figures(what: str, written: Written, vips: int, touched: Iterable[str]) -> Iterator[Figure]:
    """Of one event that touched these nodes."""
    nodes = frozenset(touched)
    per_vip = written.of(CONTROLLER)[VIP_STATUS] / vips
    by_node = written.by_node()
    others = sum(times for node, times in by_node.items() if node not in nodes)
    yield Figure(f"{what}: writes of a VIP's status", "", (per_vip,), Budget(1.0), written.told())
    yield Figure(f"{what}: changes of one VIP's status, at most", "", (float(written.most),))
    if nodes:
        counts = tuple(float(by_node[node]) for node in sorted(nodes))
        yield Figure(f"{what}: writes of the NodeAgent of a touched node", "", counts, Budget(1.0))
    yield Figure(f"{what}: writes of other NodeAgents, by VIP", "", (others / vips,))


@dataclass(slots=True)
class Seen:
    """What all agents see of the VIPs, watched once for all of them."""

    agents: list[FarAgent] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)  # of the status, by VIP
    reflector: Reflector[Any] | None = None

    def changed(self, name: str, old: VirtualIP | None, new: VirtualIP | None) -> None:
        if new is None:
            self.addresses.pop(name, None)
        else:
            self.addresses[name] = new.spec.address
            if old is not None and old.status != new.status:
                self.changes[name] += 1
        only_told = old is not None and new is not None and old.spec == new.spec  # nothing to apply
        for agent in self.agents:
            if agent.listed and not only_told:
                agent.applied = self.version()
                agent.due.set()

    def version(self) -> str:
        return self.reflector.resource_version if self.reflector is not None else ""

    def ready(self) -> Counter[int]:
        """By number of announcers: how many VIPs have so many."""
        vips = self.reflector.items.values() if self.reflector is not None else ()
        return Counter(vip.status.announcers.ready if vip.status.announcers else 0 for vip in vips)


# -- what happens ------------------------------------------------------------------------------------------------------


def measure(ground: Ground, say: Say) -> Iterator[Figure]:
    """The Services come, the agents come, all of them restart, one restarts alone, and one node is lost."""
    for number in range(1, AGENTS + 1):
        ground.lab.agent_kubeconfig(far_node(number)["metadata"]["name"])
    return iter(asyncio.run(_measure(ground, say)))


async def _measure(ground: Ground, say: Say) -> list[Figure]:
    async with _far_side(ground) as seen:
        run = Run(ground, seen, say)
        names = [agent.name for agent in seen.agents]
        one = seen.agents[0]
        found = [*figures("Services created", await run.event(run.create), ground.vips, [])]
        found += figures("all agents come up", await run.event(run.come_up), ground.vips, names)
        found += figures("all agents restart in a row", await run.event(run.restart_all), ground.vips, names)
        found += figures("one agent restarts", await run.event(run.restart_one), ground.vips, [one.name])
        found += figures("one node is lost", await run.event(run.lose_one), ground.vips, [])
        began = await run.event(run.nothing)
        idle = sum(began.of(user).total() for user in USERS.values()) / began.seconds
        return [*found, Figure("idle: writes", "1/s", (idle,), Budget(0.0), f"over {began.seconds:.0f} s")]


@asynccontextmanager
async def _far_side(ground: Ground) -> AsyncIterator[Seen]:
    """The agents, none of which lives yet, and their watch."""
    lab, seen = ground.lab, Seen()
    kubes = [await connected(lab, number) for number in range(1, AGENTS + 1)]
    seen.reflector = Reflector[Any](kubes[0], VIRTUALIPS, seen.changed, RealClock())
    seen.agents = [
        FarAgent(number, kube, PEER, ROUTER, seen.addresses, seen.version) for number, kube in enumerate(kubes, 1)
    ]
    watch = asyncio.ensure_future(seen.reflector.run())
    try:
        yield seen
    finally:
        for agent in seen.agents:
            await agent.stop()
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        for kube in kubes:
            await kube.close()


@dataclass(slots=True)
class Run:
    """What can happen to the nodes."""

    ground: Ground
    seen: Seen
    say: Say

    async def event(self, what: Callable[[], Awaitable[None]]) -> Written:
        """Let it happen, and count what is written until all is at rest."""
        await self._rest()
        self.seen.changes.clear()
        meter, began = self.ground.lab.api_requests(), time.monotonic()
        await what()
        await self._rest()
        most = max(self.seen.changes.values(), default=0)
        counted = await asyncio.to_thread(meter.count)
        written = Written(counted, most, time.monotonic() - began)
        self.say(f"{what.__name__}: {written.told()}; announcers of VIPs {dict(self.seen.ready())}")
        return written

    async def create(self) -> None:
        services = [load.lone(f"far-{number}") for number in range(self.ground.vips)]
        await asyncio.to_thread(load.create, self.ground.lab, NAMESPACE, services)
        await self._until("all Services have a VIP", lambda: len(self.seen.addresses) == self.ground.vips)

    async def come_up(self) -> None:
        for agent in self.seen.agents:
            agent.start(gobgpd_lives=False)
        await self._all_announced(AGENTS)

    async def restart_all(self) -> None:
        """Each as soon as the one before it is there again, as an impatient rollout does it."""
        for agent in self.seen.agents:
            await self._restart(agent)

    async def restart_one(self) -> None:
        await self._restart(self.seen.agents[0])
        await asyncio.sleep(ALONE)

    async def lose_one(self) -> None:
        """Its agent falls silent, and its kubelet does."""
        agent = self.seen.agents[-1]
        await agent.stop()
        unknown = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "nothing is heard"}]
        path = f"/api/v1/nodes/{agent.name}/status"
        self.ground.lab.api("PATCH", path, {"status": {"conditions": unknown}}, kind=STRATEGIC)
        await self._all_announced(AGENTS - 1)

    async def nothing(self) -> None:
        await asyncio.sleep(LOOK)

    async def _restart(self, agent: FarAgent) -> None:
        await agent.stop()
        agent.start(gobgpd_lives=True)
        await self._until(f"{agent.name} is back", lambda: agent.state == "Established")

    async def _all_announced(self, count: int) -> None:
        await self._until(
            f"all VIPs are announced by {count}", lambda: self.seen.ready() == {count: self.ground.vips}, 0.5
        )

    async def _until(self, what: str, condition: Callable[[], bool], every: float = 0.05) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(f"not within {PATIENCE:g} s: {what}; announcers of VIPs: {dict(self.seen.ready())}")
            await asyncio.sleep(every)

    async def _rest(self) -> None:
        """Until nobody writes any more."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            meter = self.ground.lab.api_requests()
            await asyncio.sleep(LOOK)
            counted = Written(await asyncio.to_thread(meter.count), 0, LOOK)
            if not any(counted.of(user) for user in USERS.values()):
                return
        self.say(f"no rest after {PATIENCE:g} s")
