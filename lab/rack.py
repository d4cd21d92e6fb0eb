"""The bare lab: wiring, control plane, nodes and backends, and the two ways to speak to its API."""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

from lab import build, debian, isolate, network
from lab.api import Api, ApiError, Json
from lab.controlplane import ControlPlane
from lab.heartbeat import Heartbeat
from lab.network import DRIVER, NO_DAD, Leg
from lab.nodes import Node, ProxySettings
from lab.pods import Pod, Pods
from lab.probe import python_environment
from lab.run import LabError, Process, run, wait_for

MOST_NODES = 10
PULSE_PORT = 10262  # UDP, the agents' default


class Rack:
    """A running cluster without Roost. Use it as a context manager; the program must be isolated (lab.isolate)."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        ipv6: bool = True,
        kube_proxy: ProxySettings | str = "nftables",
        witnesses: bool = True,
        second: bool = False,
    ) -> None:
        """*nodes*: 1 to 10, called n1, n2, …; *kube_proxy*: nftables, iptables, or all its settings.

        *witnesses*: whether the agents' hellos pass; without, every node's data link drops them. *second*: a second
        data network, data2, with all nodes, the client and the observer on it.
        """
        if not 1 <= nodes <= MOST_NODES:
            raise ValueError(f"a lab has 1 to {MOST_NODES} nodes, not {nodes}")
        self.ipv6 = ipv6
        self.proxy = kube_proxy if isinstance(kube_proxy, ProxySettings) else ProxySettings(mode=kube_proxy)
        self.witnesses = witnesses
        self.segments = (*network.SEGMENTS, network.SECOND) if second else network.SEGMENTS
        self.numbers = range(1, nodes + 1)
        self.times: dict[str, float] = {}  # what of the start was done, seconds after its begin

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- start and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up; it takes some 10 s for three nodes on two cores."""
        if not isolate.inside():
            raise LabError(
                "a lab is opened inside isolation only: python -m lab.isolate COMMAND, or lab.isolate.enter()"
            )
        if debian.missing():
            names = ", ".join(package.name for package in debian.missing())
            raise LabError(f"the lab needs {names}: python -m lab.debian installs what is missing")
        self._began = time.monotonic()
        self.binaries = build.ensure()
        self.work = Path(tempfile.mkdtemp(prefix="lab-", dir=isolate.INSIDE))
        deaf_to = 0 if self.witnesses else PULSE_PORT
        self.nodes = {
            f"n{number}": Node(number, self.work / f"n{number}", self.ipv6, deaf_to, self.segments)
            for number in self.numbers
        }
        self.control = ControlPlane(self.binaries, self.work, self.ipv6)
        self._clients: list[Api] = []
        self._pods: Pods | None = None
        self._heartbeat: Heartbeat | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        network.make_switch(self.segments)
        network.plug(Leg("", "mgmt", DRIVER), ipv6=self.ipv6)
        with ThreadPoolExecutor(max_workers=4) as pool:
            control = pool.submit(self.control.start)
            wired = [
                pool.submit(self._wire_stations),
                *(pool.submit(n.boot, self.numbers) for n in self.nodes.values()),
            ]
            for future in wired:
                future.result()
            self._mark("wired")
            self.admin = control.result()
            self._clients.append(self.admin)
        self._mark("API server")
        self._heartbeat = Heartbeat(self.control.client(), self._revive)
        self._heartbeat.start()
        for node in self.nodes.values():
            self._join(node)
        self._mark("nodes")
        self._pods = Pods(self.admin)
        self._wait_for_service_accounts()
        self._mark("service accounts")
        self.wait_for_proxies()
        self._mark("kube-proxy")

    def _wait_for_service_accounts(self) -> None:
        """No pod can be made before its namespace's account exists."""
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        alive = self.control.processes.values()
        wait_for("service accounts are made", lambda: self._exists(account), alive=alive)

    def _wire_stations(self) -> None:
        """The client, an observer beside it whose questions teach the client nothing, and the default gateway."""
        for name, host in network.STATIONS.items():
            network.make_namespace(name, NO_DAD)
            network.plug(Leg(name, "data", host), ipv6=self.ipv6)
            if network.SECOND in self.segments and name != "gateway":
                network.plug(Leg(name, network.SECOND, host), ipv6=self.ipv6)

    def _join(self, node: Node) -> None:
        """Make a node that runs part of the cluster."""
        node.register(self.admin)
        self.heartbeat.beat(node.name)
        node.start_kube_proxy(self.binaries, self.control.pki.path("kube-proxy.kubeconfig"), self.proxy)

    def wait_for_proxies(self, *names: str) -> None:
        """Wait until kube-proxy of these nodes (all) has its rules in the kernel."""
        for node in [self.nodes[name] for name in names] or self.nodes.values():
            proxies = [process for process in node.processes if process.name.endswith("kube-proxy")]
            rules = partial(self._has_rules, node)
            wait_for(f"kube-proxy of {node.name} has made its rules", rules, alive=proxies, every=0.1)

    def _has_rules(self, node: Node) -> bool:
        """Whether the Service that every cluster has, default/kubernetes, is in the rules."""
        show = (
            ["nft", "list", "table", "ip", "kube-proxy"]
            if self.proxy.mode == "nftables"
            else ["iptables-save", "-t", "nat"]
        )
        try:
            return "10.96.0.1" in run(node.command(*show))
        except LabError:
            return False

    def _revive(self, name: str) -> None:
        """What kubelet does when it is back: its node and its pods are ready again."""
        node = self.nodes[name]
        if node.powered:
            node.register(self.admin)
            for pod in self.pods.on(node):
                self.pods.report(pod)

    def close(self) -> None:
        """Kill everything and remove every namespace of the lab."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        for client in self._clients:
            client.close()
        if self._pods is not None:
            self._pods.close()
        for node in self.nodes.values():
            node.kill_all()
            node.scrap()
        network.unplug(Leg("", "mgmt", DRIVER))
        for process in self.control.processes.values():
            process.sigkill()
        self.control.prompt()
        for name in ("control", *network.STATIONS, network.SWITCH):
            network.remove_namespace(name)
        shutil.rmtree(self.work)

    @property
    def pods(self) -> Pods:
        assert self._pods is not None, "the lab is not started"
        return self._pods

    @property
    def heartbeat(self) -> Heartbeat:
        assert self._heartbeat is not None, "the lab is not started"
        return self._heartbeat

    def _mark(self, what: str) -> None:
        self.times[what] = round(time.monotonic() - self._began, 2)

    # -- its API ------------------------------------------------------------------------------------------------------

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.control.pki.path("admin.kubeconfig")

    def api(self, method: str, path: str, body: object = None, *, kind: str = "") -> Json:
        """One request as the administrator, on a kept connection: much faster than kubectl. Raises ApiError."""
        return self.admin.request(method, path, body, kind=kind)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run the real kubectl as the administrator, with *text* as its input. Raises LabError with what it said."""
        return run([str(self.binaries / "kubectl"), *arguments], text=text, env=self.environment())

    def environment(self) -> dict[str, str]:
        """PATH with the lab's programs first, then Roost's, and KUBECONFIG."""
        ours = str(Path(sys.executable).parent)  # `roost`, as setup installed it
        path = os.pathsep.join([str(self.binaries), ours, os.environ.get("PATH", "")])
        return os.environ | {"PATH": path, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.work)}

    def apply(self, what: str | Mapping[str, object] | Sequence[Mapping[str, object]]) -> str:
        """Server-side apply of YAML text or of objects."""
        if isinstance(what, Mapping):
            what = json.dumps(what)
        elif not isinstance(what, str):
            what = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(what)})
        return self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=what)

    def _exists(self, path: str) -> bool:
        try:
            return self.admin.find(path) is not None
        except ApiError:
            return False

    def run_in(self, where: str, *command: str) -> str:
        """Run *command* on a node, or in a namespace (client, observer, gateway, switch, control), to its end."""
        node = self.nodes.get(where)
        return run(
            node.command(*command) if node else ["ip", "netns", "exec", where, *command], env=python_environment()
        )

    def fetch(self, where: str, url: str, *, timeout: float = 2) -> str:
        """What *url* answers to a program on node or in namespace *where*. Raises OSError (URLError) if it does not."""
        found: list[str] = []
        failed: list[OSError] = []

        def get() -> None:
            try:
                network.enter(where)
                with urllib.request.urlopen(url, timeout=timeout) as answer:
                    found.append(answer.read().decode())
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=get)  # of its own: the namespace is a thread's, and goes with it
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]

    # -- backends -----------------------------------------------------------------------------------------------------

    def add_backend(
        self,
        name: str,
        node: str,
        labels: Mapping[str, str] | None = None,
        *,
        port: int = 8080,
        families: Sequence[int] | None = None,
        namespace: str = "default",
    ) -> Pod:
        """A pod that answers HTTP (and UDP) on *port* with its name and the client's address.

        *labels*: {"app": NAME without its last -part} if not given; *families*: as the lab's.
        """
        where = self.nodes[node]
        pod = Pod(
            name=name,
            node=where,
            index=self.pods.index(where),
            labels=dict(labels) if labels is not None else {"app": name.rpartition("-")[0] or name},
            port=port,
            families=tuple(families or ((4, 6) if self.ipv6 else (4,))),
            namespace=namespace,
        )
        return self.pods.add(pod)

    def remove_backend(self, name: str, *, namespace: str = "default") -> None:
        self.pods.remove(name, namespace)

    def processes(self) -> list[Process]:
        """All programs of control plane and nodes."""
        return [
            *self.control.processes.values(),
            *(process for node in self.nodes.values() for process in node.processes),
        ]

    def client_api(self, token: str, *, timeout: float = 10) -> Api:
        """A client of the API server as whoever *token* is; *timeout* in seconds per request."""
        self._clients.append(
            Api(self.control.pki.server, self.control.pki.path("ca.crt"), token=token, timeout=timeout)
        )
        return self._clients[-1]
