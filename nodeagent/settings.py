"""What can be set, gathered from the rooms."""

from dataclasses import dataclass
from pathlib import Path

from nodeagent.addresses.plan import Settings as Addresses
from nodeagent.bgp.client import Settings as Gobgp
from nodeagent.bgp.settings import Settings as Bgp
from nodeagent.neighbours.plan import Settings as Neighbours
from nodeagent.pulse.link import Settings as Pulse
from nodeagent.routes.plan import Settings as Routes
from roost.health import Settings as Health
from roost.kube.client import Settings as Kube
from roost.logs import Settings as Logs


@dataclass(frozen=True, slots=True)
class Node:
    """Which node this is, and where its VIPs go."""

    node_name: str
    """Name of the Node object that this program runs on."""

    interface: str = ""
    """Interface to announce VIPs on. Empty: that of this node's Segment, else the one with a VIP in its subnet."""

    machine_id_file: Path = Path("/etc/machine-id")
    """The machine's id, as the host has it; tells a node from another machine under its name."""

    linger: float = 5.0
    """Seconds that this node goes on serving clients that have not heard of a VIP's new holder."""

    on_exit: str = "Rest"
    """Rest: a program that stops is to come back within 20 s, and nothing moves. Give: it hands its VIPs over."""

    fence_pools: bool = True
    """Fence claims for every address of a pool, given out or not. Off while another program announces from a pool."""

    def __post_init__(self) -> None:
        if self.on_exit not in {"Rest", "Give"}:
            raise ValueError(f"on-exit must be Rest or Give, not {self.on_exit}")


@dataclass(frozen=True, slots=True)
class Settings:
    node: Node
    kube: Kube = Kube()
    addresses: Addresses = Addresses()
    neighbours: Neighbours = Neighbours()
    pulse: Pulse = Pulse()
    gobgp: Gobgp = Gobgp()
    bgp: Bgp = Bgp()
    routes: Routes = Routes()
    health: Health = Health(health_address="127.0.0.1", health_port=10261)
    logs: Logs = Logs()
