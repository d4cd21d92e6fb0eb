"""What can be set, gathered from the rooms."""

from dataclasses import dataclass
from pathlib import Path

from nodeagent.addresses.plan import Settings as Addresses
from nodeagent.neighbours.plan import Settings as Neighbours
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
    """Seconds that a program which stops goes on serving clients that have not heard of the new holder."""


@dataclass(frozen=True, slots=True)
class Settings:
    node: Node
    kube: Kube = Kube()
    addresses: Addresses = Addresses()
    neighbours: Neighbours = Neighbours()
    health: Health = Health(health_address="127.0.0.1", health_port=10261)
    logs: Logs = Logs()
