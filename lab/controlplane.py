"""etcd, kube-apiserver and kube-controller-manager of the lab, in the namespace ``control``."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab.api import Api
from lab.network import CONTROL, Leg, make_namespace, plug
from lab.pki import Pki
from lab.probe import Companion
from lab.run import Process, run, wait_for

ADDRESS = str(Leg("control", "mgmt", CONTROL).address4)
SERVER = f"https://{ADDRESS}:6443"
SERVICES = ("10.96.0.0/16", "fd00:96::/112")
NAMES = (
    "DNS:kubernetes",
    "DNS:kubernetes.default.svc",
    f"IP:{ADDRESS}",
    "IP:10.96.0.1",
    "IP:fd00:96::1",
    "IP:127.0.0.1",
)

# Every request once, without bodies: who asked for what. `lab.api_requests()` counts them.
AUDIT = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules: [{level: Metadata}]
"""

# A cut is made at the API server's end, so that the rules of a node are its own alone.
CUT = """table inet lab {
  set cut { type ipv4_addr; }
  chain input { type filter hook input priority 0; ip saddr @cut drop; }
  chain output { type filter hook output priority 0; ip daddr @cut drop; }
}
"""


# What nodes send to the API server goes by way of a program that takes its time. A connection that was there before has
# no entry in the table of translations, so its next packet finds nobody: a reset, and the node connects anew.
SLOW = """table ip lab-slow {{
  set slow {{ type ipv4_addr; elements = {{ {nodes} }}; }}
  chain prerouting {{ type nat hook prerouting priority -100; ip saddr @slow tcp dport 6443 redirect to :{port}; }}
  chain input {{ type filter hook input priority 0; ip saddr @slow tcp dport 6443 reject with tcp reset; }}
}}
"""
SLOW_PORT = 6444


@dataclass(slots=True)
class ControlPlane:
    """The three programs; *binaries* is the directory of the built parts, *work* the one of the lab."""

    binaries: Path
    work: Path
    ipv6: bool
    pki: Pki = field(init=False)
    processes: dict[str, Process] = field(init=False, default_factory=dict)
    _delay: Companion | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.pki = Pki(self.work / "pki", SERVER)

    def start(self) -> Api:
        """Start everything at once and return a client of the ready API server, as its administrator."""
        make_namespace("control", {})
        plug(Leg("control", "mgmt", CONTROL), ipv6=self.ipv6)
        run(["ip", "netns", "exec", "control", "nft", "-f", "-"], text=CUT)
        (self.work / "audit.yaml").write_text(AUDIT)
        self.pki.make(NAMES)
        for name in ("etcd", "kube-apiserver"):
            self.start_program(name)
        admin = self.client()
        wait_for("the API server is ready", admin.ready, 60, alive=self.processes.values(), every=0.05)
        self.start_program("kube-controller-manager")
        return admin

    def client(self) -> Api:
        return Api(SERVER, self.pki.path("ca.crt"), certificate=self.pki.path("admin.crt"))

    def start_program(self, name: str) -> Process:
        """Start *name* (again): one of etcd, kube-apiserver, kube-controller-manager."""
        arguments = {"etcd": self._etcd, "kube-apiserver": self._apiserver, "kube-controller-manager": self._managers}[
            name
        ]()
        command = ["ip", "netns", "exec", "control", str(self.binaries / name), *arguments]
        process = Process(name, command, self.work / f"{name}.log")
        self.processes[name] = process
        return process

    def _etcd(self) -> list[str]:
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        return [
            f"--data-dir={self.work / 'etcd'}",
            "--unsafe-no-fsync",  # its disk is memory
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        pki = self.pki.path
        return [
            "--etcd-servers=http://127.0.0.1:2379",
            f"--bind-address={ADDRESS}",
            f"--advertise-address={ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={pki('apiserver.crt')}",
            f"--tls-private-key-file={pki('apiserver.key')}",
            f"--client-ca-file={pki('ca.crt')}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://lab",
            f"--service-account-key-file={pki('sa.key')}",
            f"--service-account-signing-key-file={pki('sa.key')}",
            f"--service-cluster-ip-range={','.join(SERVICES if self.ipv6 else SERVICES[:1])}",
            "--profiling=false",
            f"--audit-policy-file={self.work / 'audit.yaml'}",
            f"--audit-log-path={self.work / 'audit.log'}",
            "--audit-log-mode=batch",  # off the way of the requests
            "--audit-log-maxsize=10000",
        ]

    def _managers(self) -> list[str]:
        pki = self.pki.path
        return [
            f"--kubeconfig={pki('kube-controller-manager.kubeconfig')}",
            f"--service-account-private-key-file={pki('sa.key')}",
            f"--root-ca-file={pki('ca.crt')}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--node-monitor-grace-period=10s",
            "--kube-api-qps=500",  # its own limit of 20 makes the start of its controllers take 5 s
            "--kube-api-burst=1000",
            "--controllers=*,-nodeipam,-node-route-controller,-persistentvolume-binder-controller,"
            "-persistentvolume-attach-detach-controller",
        ]

    def cut(self, node: Leg) -> None:
        """Drop all packets between *node* and the API server, connections that are open included."""
        self._nft(f"add element inet lab cut {{ {node.address4} }}")

    def heal(self, node: Leg) -> None:
        self._nft(f"delete element inet lab cut {{ {node.address4} }}")

    def slow(self, nodes: Iterable[Leg], delay: float) -> None:
        """Let every piece that *nodes* send reach the API server *delay* seconds late."""
        where = (f"{ADDRESS}:{SLOW_PORT}", f"{ADDRESS}:6443", str(delay))
        self._delay = Companion("lab.delay", *where, netns="control")
        self._delay.read()
        addresses = ", ".join(str(leg.address4) for leg in nodes)
        run(["ip", "netns", "exec", "control", "nft", "-f", "-"], text=SLOW.format(nodes=addresses, port=SLOW_PORT))

    def prompt(self) -> None:
        """End what `slow` began; connections that were slow break."""
        if self._delay is not None:
            self._delay.close()  # first: the nodes hear of the end of a connection only while it is translated
            self._delay = None
            self._nft("delete table ip lab-slow")

    @staticmethod
    def _nft(command: str) -> None:
        run(["ip", "netns", "exec", "control", "nft", command])
