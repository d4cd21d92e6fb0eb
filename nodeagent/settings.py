"""What can be set, gathered from the rooms."""

from dataclasses import dataclass, field
from pathlib import Path

from nodeagent.addresses import plan as addresses
from nodeagent.neighbours import plan as neighbours
from roost import health, logs
from roost.kube import client


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
    kube: client.Settings = field(default_factory=client.Settings)
    addresses: addresses.Settings = field(default_factory=addresses.Settings)
    neighbours: neighbours.Settings = field(default_factory=neighbours.Settings)
    health: health.Settings = field(
        default_factory=lambda: health.Settings(health_address="127.0.0.1", health_port=10259)
    )
    logs: logs.Settings = field(default_factory=logs.Settings)
