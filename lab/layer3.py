"""BGP in the lab: routers in front of the nodes, GoBGP beside the agents, and how connections are spread over nodes."""

from collections.abc import Callable, Sequence
from functools import partial

from lab.faults import Faults
from lab.network import ip, pod_cidr4, pod_cidr6
from lab.routers.daemon import Daemon
from lab.routers.router import DAEMONS, Place, Router
from lab.routers.values import Kind, Neighbour, Setup
from lab.speaker import PROGRAMS, Dial, Speaker, configuration, kept, plain
from lab.spread import Spread, spread


class Layer3(Faults):
    """A cluster that routers can be put in front of."""

    def start(self) -> None:
        self.routers: dict[str, Router] = {}
        self.speakers: dict[str, Speaker] = {}
        self._speaker_settings: dict[str, Callable[[], Speaker]] = {}
        super().start()

    def close(self) -> None:
        for router in self.routers.values():
            router.close()
        super().close()

    # -- routers

    def add_router(self, kind: Kind | str, setup: Setup | None = None, *, name: str = "") -> Router:
        """A router that runs FRR or BIRD, on the data segment, with a client (``NAME-client``) behind it.

        *name*: as *kind*. The client reaches nothing but through its router, and nodes reach the client so.
        """
        kind = Kind(kind)
        place = Place(name or kind.value, len(self.routers))
        router = Router(place, kind, setup or Setup(), self.work / place.name, ipv6=self.ipv6)
        self.routers[router.name] = router
        router.boot()
        ways = place.ways(ipv6=self.ipv6)
        for node in self.nodes.values():
            node.beyond += ways
            if node.powered:
                ip(ways, node.name)
        return router

    def start_redistributor(self, node: str, kind: Kind | str, to: Router, *, table: int = 198, asn: int = 0) -> Daemon:
        """FRR or BIRD on *node*, as an administrator runs it there: passes the routes of *table* on to router *to*.

        *asn*: its own; 0: the router's (iBGP). FRR reads IPv6 from the main table (254) only. It dies with its node.
        """
        one, kind = self.nodes[node], Kind(kind)
        setup = Setup(
            asn=asn or to.asn,
            neighbours=(Neighbour(str(to.address4), asn=to.asn, passive=False),),
            redistribute=table,
            router_id=str(one.leg("data").address4),
        )
        daemon = DAEMONS[kind](f"{node}-{kind}", one.command(), one.run_directory, one.work, setup)
        daemon.start()
        one.processes += daemon.processes
        return daemon

    # -- speakers

    def start_speaker(self, node: str, version: int = 3, *, asn: int = 65000, sessions: Sequence[Dial] = ()) -> Speaker:
        """Start a gobgpd of *version* by itself on *node*, after a former one ended; on the node its API is at SOCKET.

        Without *sessions* it is unconfigured, as an agent expects it; with some it is a speaker of *asn* already.
        """
        command = plain(self.binaries, version)
        if sessions:
            file = self.nodes[node].work / "gobgpd.toml"
            file.write_text(configuration(asn, str(self.nodes[node].leg("data").address4), sessions))
            command.append(f"--config-file={file}")
        return self._start_speaker(node, command, version, kept=False)

    def start_keeper(self, node: str, version: int = 3, *, lifetime: float = 30) -> Speaker:
        """Start ``roost-gobgpd`` on *node*, with a gobgpd of *version* below it, after a former one ended."""
        return self._start_speaker(node, kept(self.binaries, version, lifetime), version, kept=True)

    def _start_speaker(self, node: str, command: Sequence[str], version: int, *, kept: bool) -> Speaker:
        former = self.speakers.get(node)
        if former is not None and former.running:
            raise ValueError(f"a speaker runs on {node} already")
        one = self.nodes[node]
        speaker = Speaker(one, command, str(self.binaries / PROGRAMS[version][1]), kept=kept)
        one.processes.append(speaker)
        self.speakers[node] = speaker
        self._speaker_settings[node] = partial(self._start_speaker, node, command, version, kept=kept)
        speaker.wait_ready()
        return speaker

    def power_on(self, node: str, *, agent: bool = True) -> None:
        """Its cables to routers and its speaker come back, too."""
        super().power_on(node, agent=agent)
        for router in self.routers.values():
            if node in router.wires:
                router.wire(node)
        if node in self._speaker_settings:
            self._speaker_settings[node]()

    # -- traffic

    def spread(self, where: str, address: str, *, port: int = 80, count: int = 90) -> Spread:
        """Open *count* connections from namespace *where*, and count who answered, and at which node they came in."""
        nodes = {pod.name: pod.node.name for pod in self.pods.by_name.values()}
        for name, node in self.nodes.items():
            leg = node.leg("mgmt")
            stand_ins = [leg.address4, leg.address6, pod_cidr4(node.number)[1], pod_cidr6(node.number)[1]]
            nodes |= {str(address): name for address in stand_ins}
        return spread(where, address, port, count, nodes)
