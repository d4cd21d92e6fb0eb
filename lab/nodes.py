"""A node of the lab: its namespaces, its identity, its kube-proxy, and its object in the API."""

import json
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from lab.agent import Agent
from lab.api import STRATEGIC, Api, ApiError, Json
from lab.isolate import INSIDE
from lab.network import (
    FIRST_NODE,
    GATEWAY,
    NO_DAD,
    PODS4,
    PODS6,
    ROUTER,
    SEGMENTS,
    Leg,
    ip,
    make_namespace,
    plug,
    pod_cidr4,
    pod_cidr6,
    remove_namespace,
    unplug,
)  # fmt: skip
from lab.run import Process, kill_all_in, run, wait_for

P = TypeVar("P", bound=Process)

BOOT_ID = "/proc/sys/kernel/random/boot_id"

# In the node's own namespace, as a firewall of the machine would do it. All nodes have it, so nothing gets through.
DEAF = """table inet lab {{
  chain input {{ type filter hook input priority -300; iifname "data*" udp dport {port} drop; }}
}}
"""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What of kube-proxy can be chosen; *min_sync_period* is Kubernetes' own default."""

    mode: str = "nftables"
    min_sync_period: str = "1s"


@dataclass(slots=True)
class Node:
    """Node *number* (1, 2, …), called n1, n2, …; *work* is a directory of its own."""

    number: int
    work: Path
    ipv6: bool
    deaf_to: int = 0  # UDP port of which nothing comes in on its data links; 0: all does
    segments: tuple[str, ...] = SEGMENTS
    machine_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    boot_id: str = ""
    powered: bool = False
    anchor: Process | None = None
    processes: list[Process] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)  # its routes to what is behind the lab's routers, for ip(8)

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def pid_file(self) -> Path:
        """Has the number of the process whose namespaces are the node's, in this life of it."""
        return self.work / "pid"

    @property
    def run_directory(self) -> Path:
        """Its /run in this life, as the driver sees it."""
        return self.work / f"run-{self.boot_id}"

    def leg(self, segment: str) -> Leg:
        return Leg(self.name, segment, FIRST_NODE - 1 + self.number)

    def boot(self, numbers: range) -> None:
        """Make its namespaces, with nothing of a former life in the kernel but the machine id; *numbers*: all nodes."""
        self.work.mkdir(parents=True, exist_ok=True)
        self.boot_id = str(uuid.uuid4())
        make_namespace(self.name, ROUTER | NO_DAD)
        self._anchor()
        for segment in self.segments:
            plug(self.leg(segment), ipv6=self.ipv6)
        ip(self._routes(numbers), self.name)
        if self.deaf_to:
            run(["ip", "netns", "exec", self.name, "nft", "-f", "-"], text=DEAF.format(port=self.deaf_to))
        self.powered = True

    def _anchor(self) -> None:
        """A process that keeps the node's own files: machine id, boot id, and a /run that is empty after each boot."""
        machine, boot, ready = self.work / "machine-id", self.work / "boot-id", self.work / "ready"
        machine.write_text(f"{self.machine_id}\n")
        boot.write_text(f"{self.boot_id}\n")
        ready.unlink(missing_ok=True)
        run = self.run_directory
        (run / INSIDE.name).mkdir(parents=True)
        binds = [(machine, "/etc/machine-id"), (boot, BOOT_ID), (INSIDE, run / INSIDE.name), (run, "/run")]
        mounts = [f"mount --rbind {source} {target}" for source, target in binds]
        script = "; ".join([*mounts, f"touch {ready}", "exec sleep infinity"])
        command = ["ip", "netns", "exec", self.name, "sh", "-ec", script]
        self.anchor = Process(f"{self.name}/anchor", command, self.work / "anchor.log")
        wait_for(f"{self.name} has its own boot id", ready.exists, 10, alive=[self.anchor], every=0.005)
        self.pid_file.write_text(f"{self.anchor.pid}\n")

    def _routes(self, numbers: range) -> list[str]:
        gateway = Leg("gateway", "data", GATEWAY)
        lines = [f"route add default via {gateway.address4} dev data"]
        if self.ipv6:
            lines.append(f"route add default via {gateway.address6} dev data")
        for number in numbers:
            if number != self.number:
                leg = Node(number, self.work, self.ipv6).leg("mgmt")
                lines.append(f"route add {pod_cidr4(number)} via {leg.address4} dev mgmt")
                if self.ipv6:
                    lines.append(f"route add {pod_cidr6(number)} via {leg.address6} dev mgmt")
        return lines + self.beyond

    def restore(self, segment: str, numbers: range) -> None:
        """Give *segment* back what a link that was down at this end has lost: IPv6 addresses and all routes over it."""
        six = f"address replace {self.leg(segment).address6}/64 dev {segment} nodad" if self.ipv6 else ""
        routes = [
            line.replace("route add", "route replace") for line in self._routes(numbers) if line.endswith(segment)
        ]
        ip([six, *routes], self.name)

    def command(self, *arguments: str) -> list[str]:
        """*arguments* as a command that runs on this node."""
        if self.anchor is None or not self.powered:
            raise ValueError(f"{self.name} is switched off")
        return ["nsenter", f"--target={self.anchor.pid}", "--net", "--mount", "--", *arguments]

    def start(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> Process:
        """Run a program on this node; its log is NODE/NAME.log, also over several lives."""
        return self._keep(Process(f"{self.name}/{name}", self.command(*arguments), self._log(name), env))

    def start_agent(self, *arguments: str, env: dict[str, str] | None = None) -> Agent:
        """Run Roost's agent on this node."""
        return self._keep(Agent(f"{self.name}/nodeagent", self.command(*arguments), self._log("nodeagent"), env))

    def _log(self, name: str) -> Path:
        return self.work / f"{name}.log"

    def _keep(self, process: P) -> P:
        self.processes.append(process)
        return process

    def start_kube_proxy(self, binaries: Path, kubeconfig: Path, settings: ProxySettings) -> Process:
        """Start kube-proxy; its rules live in the node's namespace."""
        sync = {"minSyncPeriod": settings.min_sync_period}
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": settings.mode,
            "hostnameOverride": self.name,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": f"{PODS4},{PODS6}" if self.ipv6 else f"{PODS4}",
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "iptables": sync,
            "nftables": sync,
        }
        file = self.work / "kube-proxy.yaml"
        file.write_text(json.dumps(config))
        return self.start("kube-proxy", str(binaries / "kube-proxy"), f"--config={file}")

    def cut_power(self) -> None:
        """Dead at once: its links at the switch, then every process. What its kernel still holds reaches nobody.

        The way to the API server goes first: an agent that sees its data link go could hand over in the moment between.
        """
        ip((f"link set {self.leg(segment).port} down" for segment in self.segments), "switch")
        self.kill_all()

    def kill_all(self) -> None:
        """SIGKILL all that runs on it, though it was never started whole."""
        self.powered = False
        kill_all_in(self.name)
        for process in (*self.processes, self.anchor):
            if process is not None:
                process.sigkill()
        self.processes.clear()

    def scrap(self) -> None:
        """Throw the kernel state of a dead node away."""
        for segment in self.segments:
            unplug(self.leg(segment))
        remove_namespace(self.name)

    def addresses(self) -> list[Json]:
        data = self.leg("data")
        found = [{"type": "Hostname", "address": self.name}, {"type": "InternalIP", "address": str(data.address4)}]
        if self.ipv6:
            found.append({"type": "InternalIP", "address": str(data.address6)})
        return found

    def register(self, api: Api) -> None:
        """Make its Node object as kubelet does, or make it Ready again; boot and machine id are this boot's."""
        cidrs = [str(pod_cidr4(self.number)), *([str(pod_cidr6(self.number))] if self.ipv6 else [])]
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
        }
        try:
            api.request("POST", "/api/v1/nodes", node)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab says so"}]
        room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        status = {
            "addresses": [{"$patch": "replace"}, *self.addresses()],  # else one of each type is replaced
            "capacity": room,
            "allocatable": room,
            "conditions": conditions,
            "nodeInfo": self._info(),
        }
        api.request("PATCH", f"/api/v1/nodes/{self.name}/status", {"status": status}, kind=STRATEGIC)

    def _info(self) -> Json:
        told = {"machineID": self.machine_id, "bootID": self.boot_id, "systemUUID": self.machine_id}
        platform = {"architecture": "amd64", "operatingSystem": "linux"}
        unknown = ("kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion")
        return {**told, **platform, **dict.fromkeys(unknown, "")}
