"""What can go wrong, as verbs: power, links, the segment and strangers on it, the way to the API, the API itself."""

import signal
import uuid

from lab import network
from lab.network import NO_DAD, STRANGER, Leg, ip
from lab.probe import Companion
from lab.programs import Programs
from lab.run import wait_for

STRANGE = Leg("stranger", "data", STRANGER)


class Faults(Programs):
    """A cluster whose parts can be broken and mended. Programs are killed and stopped by their Process."""

    def start(self) -> None:
        self._cut: set[str] = set()  # nodes without a way to the API
        self._down: set[tuple[str, str]] = set()  # (node, segment) with a link down
        self._forger: Companion | None = None
        super().start()

    def close(self) -> None:
        self.stranger_goes()
        super().close()

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
        self._down -= {(node, segment) for segment in self.segments}
        for pod in self.pods.on(one):
            self.pods.start(pod)
        one.register(self.admin)
        for pod in self.pods.on(one):
            self.pods.report(pod)
        self._beat_if_reachable(node)
        one.start_kube_proxy(self.binaries, self.control.pki.path("kube-proxy.kubeconfig"), self.proxy)
        if agent and node in self._agent_settings:
            self._start_agent(node)

    def another_machine(self, node: str) -> None:
        """From its next power-on, *node* is another machine under the same name."""
        self.nodes[node].machine_id = uuid.uuid4().hex

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

    def split(self, *apart: str) -> None:
        """Cut the data segment in two: *apart* (nodes and stations), and the others. No link loses its carrier."""
        network.split(f"{name}-data" for name in apart)

    def heal_split(self) -> None:
        network.heal()

    def lose(self, node: str, way: str) -> None:
        """Lose what *node* has "sent" on the data segment, or what it should have "received"; the other way is well."""
        network.lose(self.nodes[node].leg("data").port, way)

    def lose_nothing(self, node: str) -> None:
        network.lose_nothing(self.nodes[node].leg("data").port)

    def stranger_comes(self, *addresses: str) -> None:
        """A machine that is none of ours is on the data segment, and has *addresses*: its kernel answers for them."""
        network.make_namespace(STRANGE.netns, NO_DAD)
        network.plug(STRANGE, ipv6=self.ipv6)
        ip((f"address add {one} dev data{' nodad' if ':' in one else ''}" for one in addresses), STRANGE.netns)

    def stranger_forges(self, *addresses: str, every: float) -> None:
        """The stranger claims *addresses*, every *every* seconds, without having them."""
        told = (STRANGE.segment, STRANGE.mac, str(every), *addresses)
        self._forger = Companion("lab.forge", *told, netns=STRANGE.netns)
        self._forger.read()

    def stranger_goes(self) -> None:
        """None is no error."""
        if self._forger is not None:
            self._forger.close()
            self._forger = None
        network.unplug(STRANGE)
        network.remove_namespace(STRANGE.netns)

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

    def api_slow(self, *nodes: str, delay: float) -> None:
        """Let what *nodes* (none named: all) ask of the API server take *delay* seconds more."""
        self.control.slow([self.nodes[name].leg("mgmt") for name in nodes or self.nodes], delay)

    def api_prompt(self) -> None:
        self.control.prompt()

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
