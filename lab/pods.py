"""Backends: pods with a namespace, a server and a Pod object whose status makes the real controllers list it."""

from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

from lab.api import STRATEGIC, Api, ApiError, Json
from lab.network import NO_DAD, ip, make_namespace, pod_cidr4, pod_cidr6, remove_namespace
from lab.nodes import Node
from lab.probe import Companion

V6 = 6


@dataclass(frozen=True, slots=True)
class Pod:
    """One backend; *index* tells it from the other pods of its node."""

    name: str
    node: Node
    index: int
    labels: dict[str, str]
    port: int
    families: tuple[int, ...]
    namespace: str

    @property
    def netns(self) -> str:
        return f"pod-{self.namespace}-{self.name}"

    @property
    def link(self) -> str:
        """The node's end of its cable."""
        return f"pod{self.index}"

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        found: dict[int, IPv4Address | IPv6Address] = {
            4: pod_cidr4(self.node.number)[self.index],
            6: pod_cidr6(self.node.number)[self.index],
        }
        return tuple(found[family] for family in self.families)

    def object(self) -> Json:
        port = {"containerPort": self.port, "protocol": "TCP"}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": self.labels},
            "spec": {
                "nodeName": self.node.name,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "server", "image": "lab/server:1", "ports": [port]}],
            },
        }

    def status(self, *, ready: bool = True) -> Json:
        """What kubelet reports of a running pod."""
        word = "True" if ready else "False"
        container = {
            "name": "server", "image": "lab/server:1", "imageID": "", "containerID": "lab://server", "restartCount": 0,
            "ready": ready, "started": True, "state": {"running": {}},
        }  # fmt: skip
        conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Initialized", "status": "True"}]
        conditions += [{"type": kind, "status": word} for kind in ("ContainersReady", "Ready")]
        return {
            "status": {
                "phase": "Running",
                "hostIP": str(self.node.leg("data").address4),
                "podIP": str(self.addresses[0]),
                "podIPs": [{"ip": str(address)} for address in self.addresses],
                "conditions": conditions,
                "containerStatuses": [container],
            }
        }


@dataclass(slots=True)
class Pods:
    """All pods of a lab and the process that serves them."""

    api: Api
    by_name: dict[str, Pod] = field(default_factory=dict)
    server: Companion = field(default_factory=lambda: Companion("lab.podserver"))

    def add(self, pod: Pod) -> Pod:
        """Make *pod*: its namespace, its sockets, its object, and only then its status."""
        self.by_name[f"{pod.namespace}/{pod.name}"] = pod
        self.start(pod)
        self.api.request("POST", f"/api/v1/namespaces/{pod.namespace}/pods", pod.object())
        self.report(pod)
        return pod

    def index(self, node: Node) -> int:
        """The lowest number free on *node*; .1 is the node's own address."""
        taken = {pod.index for pod in self.by_name.values() if pod.node.name == node.name}
        return next(index for index in range(2, 255) if index not in taken)

    def on(self, node: Node) -> list[Pod]:
        return [pod for pod in self.by_name.values() if pod.node.name == node.name]

    def remove(self, name: str, namespace: str) -> None:
        pod = self.by_name.pop(f"{namespace}/{name}")
        try:
            self.api.request("DELETE", f"{pod.path}?gracePeriodSeconds=0")
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        self.stop(pod)

    def start(self, pod: Pod) -> None:
        """Lay its cable to its node and open its sockets."""
        make_namespace(pod.netns, NO_DAD)
        ip([f"link add eth0 netns {pod.netns} type veth peer name {pod.link} netns {pod.node.name}"])
        gateways = {4: pod_cidr4(pod.node.number)[1], 6: pod_cidr6(pod.node.number)[1]}
        outside, within = [f"link set {pod.link} up"], ["link set eth0 up"]
        for address in pod.addresses:
            gateway = gateways[address.version]
            nodad = "nodad" if address.version == V6 else ""
            outside.append(f"address add {gateway} peer {address} dev {pod.link} {nodad}")
            within.append(f"address add {address} peer {gateway} dev eth0 {nodad}")
            within.append(f"route add default via {gateway} dev eth0 onlink")
        ip(outside, pod.node.name)
        ip(within, pod.netns)
        self.server.ask(
            {"add": pod.netns, "name": pod.name, "netns": pod.netns, "port": pod.port, "families": list(pod.families)}
        )

    def stop(self, pod: Pod) -> None:
        """Close its sockets and throw its namespace away."""
        self.server.ask({"remove": pod.netns})
        if pod.node.powered:
            ip([f"link delete {pod.link}"], pod.node.name)
        remove_namespace(pod.netns)

    def report(self, pod: Pod, *, ready: bool = True) -> None:
        self.api.request("PATCH", f"{pod.path}/status", pod.status(ready=ready), kind=STRATEGIC)

    def close(self) -> None:
        self.server.close()
        for pod in self.by_name.values():
            remove_namespace(pod.netns)
        self.by_name.clear()
