"""Agents of nodes that do not exist: they speak BGP, and say so in their NodeAgents as real ones do."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lab.api import Json
from lab.cluster import Lab
from nodeagent.status.apply import Report
from nodeagent.status.plan import Facts
from roost.kube import wire
from roost.kube.client import Kube, Settings
from roost.process import Unreachable
from roost.words import Reason

REPORT_SECONDS, START_SECONDS = 1.0, 5.0  # between two writes of a NodeAgent's status, and of a start: as in the agent
LISTED, FOUND = 0.5, 0.7  # seconds from an agent's start until it knows all VIPs, and until it has read GoBGP
CONNECTED = 2.5  # seconds from an agent's start until a session that was not there is established
ESTABLISHED, ACTIVE = "Established", "Active"  # RFC 4271, section 8.2.2
ROUTERS_ASN = 64512
BOOT = "00000000-0000-4000-8000-{:012d}"


def far_node(number: int) -> Json:
    """A Node that is Ready, as kubelet of a large cluster's node *number* would have made it."""
    name = f"far-{number:03d}"
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": f"10.80.0.{number}"}]
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab says so"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {"addresses": addresses, "conditions": [ready]},
    }


def exceptions(vips: Iterable[str], peer: str) -> dict[str, tuple[Reason, str]]:
    """What an agent says of all its VIPs while its only session is not established."""
    return dict.fromkeys(vips, (Reason.PEER_DOWN, f"no session with {peer}"))


@dataclass(slots=True)
class FarAgent:
    """One of them. *vips*: addresses of all VirtualIPs; *version*: up to which change they were seen."""

    number: int
    kube: Kube
    peer: str
    router: str
    vips: dict[str, str]  # shared by all: name → address
    version: Callable[[], str]  # resourceVersion of what a list would be now
    listed: bool = False
    applied: str = ""  # up to which resourceVersion
    state: str = ""  # of its session; "": GoBGP was not read yet
    due: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"far-{self.number:03d}"

    @property
    def runs(self) -> bool:
        return bool(self._tasks)

    def start(self, *, gobgpd_lives: bool) -> None:
        """Begin a life: what it knows it has to find out anew."""
        self.listed, self.state = False, ""
        self._tasks = [asyncio.ensure_future(self._live(gobgpd_lives)), asyncio.ensure_future(self._report())]

    async def stop(self) -> None:
        """End this life without a word; GoBGP goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _live(self, gobgpd_lives: bool) -> None:
        await asyncio.sleep(LISTED)
        self.applied, self.listed = self.version(), True
        self.state = "" if gobgpd_lives else ACTIVE
        self.due.set()
        await asyncio.sleep((FOUND if gobgpd_lives else CONNECTED) - LISTED)
        self.state = ESTABLISHED
        self.due.set()

    async def _report(self) -> None:
        """As the agent's account does it."""
        report = Report(self.kube, self.name)
        await report.begin()
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.state != ESTABLISHED:  # noqa: ASYNC110 - as the agent does
            await asyncio.sleep(REPORT_SECONDS)
        self.due.set()
        while True:
            await self.due.wait()
            self.due.clear()
            try:
                await report.write(self._facts())
            except Unreachable:
                self.due.set()
            await asyncio.sleep(REPORT_SECONDS)

    def _facts(self) -> Facts:
        up = self.state == ESTABLISHED
        vips = list(self.vips.values()) if self.listed else []
        state = self.state or "Idle"
        return Facts(
            boot_id=BOOT.format(self.number),
            applied=self.applied if self.listed else "",
            desired=len(vips),
            announced=len(vips) if up else 0,
            exceptions={} if up else exceptions(vips, self.peer),
            links=(),
            ready=Reason.RUNNING,
            message="there is no VIP yet; the first says which interface they go on",
            bgp=self._bgp(state) if self.listed else None,
        )

    def _bgp(self, state: str) -> wire.AgentBGP:
        up = state == ESTABLISHED
        advertised = len(self.vips) if up else 0
        row = wire.AgentSession(peer=self.peer, remote=self.router, state=state, asn=ROUTERS_ASN, advertised=advertised)
        return wire.AgentBGP(summary=f"{int(up)}/1", sessions=(row,))


def make_nodes(lab: Lab, numbers: Iterable[int]) -> None:
    """Their Node objects. Nobody renews their Leases: the node controller must not run."""
    for number in numbers:
        lab.api("POST", "/api/v1/nodes", far_node(number))
        name = f"far-{number:03d}"
        lab.api("PATCH", f"/api/v1/nodes/{name}/status", {"status": far_node(number)["status"]})


async def connected(lab: Lab, number: int) -> Kube:
    """The API server as the agent of that node reaches it, with its rights."""
    file = lab.agent_kubeconfig(f"far-{number:03d}")
    return await Kube.connect(Settings(kubeconfig=str(file), timeout=30), user_agent="roost-nodeagent/bench")
