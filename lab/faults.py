"""What can go wrong, as verbs: power, links, the way to the API, the API itself."""

import signal

from lab.network import SEGMENTS, ip
from lab.programs import Programs
from lab.run import wait_for


class Faults(Programs):
    """A cluster whose parts can be broken and mended. Programs are killed and stopped by their Process."""

    def start(self) -> None:
        self._cut: set[str] = set()  # nodes without a way to the API
        self._down: set[tuple[str, str]] = set()  # (node, segment) with a link down
        super().start()

    def power_off(self, node: str) -> None:
        """Pull the plug: links down at the switch, all processes killed, no heartbeat; its pods are gone too."""
        self.nodes[node].cut_power()
        self.heartbeat.pause(node)
        for pod in self.pods.on(self.nodes[node]):
            self.pods.stop(pod)

    def power_on(self, node: str, *, agent: bool = True) -> None:
        """Boot it: empty kernel, new boot id, same machine id; kube-proxy, its pods and (*agent*) its agent again."""
        one = self.nodes[node]
        one.scrap()
        one.boot(self.numbers)
        self._down -= {(node, segment) for segment in SEGMENTS}
        for pod in self.pods.on(one):
            self.pods.start(pod)
        one.register(self.admin)
        for pod in self.pods.on(one):
            self.pods.report(pod)
        self._beat_if_reachable(node)
        one.start_kube_proxy(self.binaries, self.control.pki.path("kube-proxy.kubeconfig"), self.proxy)
        if agent and node in self._agent_settings:
            self._start_agent(node)

    def link_down(self, node: str, segment: str = "data", side: str = "switch") -> None:
        """Take a link of a node or station down, at the *side* of the switch (no carrier there) or of the node."""
        self._link(node, segment, side, "down")
        self._down.add((node, segment))
        if segment == "mgmt" and node in self.nodes:
            self.heartbeat.pause(node)

    def link_up(self, node: str, segment: str = "data", side: str = "switch") -> None:
        """Mend what link_down broke; what the kernel forgot by a down on the node's side is configured again."""
        self._link(node, segment, side, "up")
        self._down.discard((node, segment))
        if side == "node" and node in self.nodes:
            self.nodes[node].restore(segment, self.numbers)
        self._beat_if_reachable(node)

    def _link(self, node: str, segment: str, side: str, state: str) -> None:
        if side == "switch":
            ip([f"link set {node}-{segment} {state}"], "switch")
        elif side == "node":
            self.run_in(node, "ip", "link", "set", segment, state)
        else:
            raise ValueError(f"a cable has a switch side and a node side, not {side!r}")

    def _beat_if_reachable(self, node: str) -> None:
        if (
            node in self.nodes
            and self.nodes[node].powered
            and node not in self._cut
            and (node, "mgmt") not in self._down
        ):
            self.heartbeat.beat(node)

    def api_cut(self, node: str) -> None:
        """Drop everything between *node* and the API server, open connections included. Its heartbeat stops too."""
        self.control.cut(self.nodes[node].leg("mgmt"))
        self._cut.add(node)
        self.heartbeat.pause(node)

    def api_heal(self, node: str) -> None:
        self.control.heal(self.nodes[node].leg("mgmt"))
        self._cut.discard(node)
        self._beat_if_reachable(node)

    def api_outage(self, *, kill: bool = False) -> None:
        """Stop the API server: connections hang (SIGSTOP), or (*kill*) are refused."""
        server = self.control.processes["kube-apiserver"]
        if kill:
            server.sigkill()
        else:
            server.signal(signal.SIGSTOP)

    def api_back(self) -> None:
        """End the outage, and return when the API server answers."""
        server = self.control.processes["kube-apiserver"]
        if server.running:
            server.signal(signal.SIGCONT)
        else:
            server = self.control.start_program("kube-apiserver")
        self.admin.hang_up()
        wait_for("the API server is ready again", self.admin.ready, 60, alive=[server], every=0.05)
