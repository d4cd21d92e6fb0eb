"""What can be set, gathered from the rooms."""

import os
import socket
import uuid
from dataclasses import dataclass, field

from cloudprovider.services import wish
from roost import health as web
from roost import logs as lines
from roost import words
from roost.kube import client
from roost.kube.election import ElectionSettings


@dataclass(frozen=True, slots=True)
class Leader:
    """One leader works, any number of others stand by."""

    lease_namespace: str = words.NAMESPACE
    """Namespace of the Lease that says who leads."""

    lease_name: str = words.CONTROLLER_LEASE
    """Name of the Lease that says who leads."""

    identity: str = ""
    """Name of this process among its like; no other may have it. Default: host name and a random part."""

    lease_seconds: float = 8.0
    """Seconds without a renewal after which another may lead."""

    renew_deadline_seconds: float = 5.0
    """Seconds after which a leader that could not renew stops."""

    retry_seconds: float = 1.0
    """Seconds between renewals, and between tries to lead."""

    def __post_init__(self) -> None:
        self.election("check")

    def election(self, identity: str) -> ElectionSettings:
        """Raises ValueError if the three times do not fit together."""
        return ElectionSettings(
            self.lease_namespace,
            self.lease_name,
            identity,
            self.lease_seconds,
            self.renew_deadline_seconds,
            self.retry_seconds,
        )


@dataclass(frozen=True, slots=True)
class Health:
    """Where /metrics, /livez, /readyz and /healthz are served; the port is that of cloud-controller-managers."""

    health_address: str = ""
    """Address that /metrics, /livez and /readyz listen on; empty: all of this machine's."""

    health_port: int = 10258
    """Port of /metrics, /livez and /readyz; 0: off."""

    @property
    def served(self) -> web.Settings:
        return web.Settings(self.health_address, self.health_port)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them."""

    kube: client.Settings = field(default_factory=client.Settings)
    services: wish.Settings = field(default_factory=wish.Settings)
    leader: Leader = field(default_factory=Leader)
    health: Health = field(default_factory=Health)
    logs: lines.Settings = field(default_factory=lines.Settings)


def identity(settings: Leader) -> str:
    """This process's name: the setting, or host name, process and a random part, new in each life."""
    return settings.identity or f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
