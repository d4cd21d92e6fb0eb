"""What the room asks of a daemon, whether real or in memory: the interface, and where a daemon is."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nodeagent.bgp.orders import SOCKET
from nodeagent.bgp.rules import Rule
from nodeagent.bgp.steps import Have
from nodeagent.bgp.values import Prefix, Session, Speaker

DEFAULT = "unix:///run/roost/gobgpd.sock"


class NotAccepted(Exception):
    """The daemon said no to one call; the message is its own."""


class Stopped(NotAccepted):
    """It was told to stop, and takes nothing any more: it has to be restarted."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where gobgpd listens for its API: unix:///path, or host:port, there with TLS once *ca* is given."""

    target: str = DEFAULT
    ca: str = ""  # a file in PEM, as the next two
    cert: str = ""
    key: str = ""

    def __str__(self) -> str:
        return self.target

    @property
    def secure(self) -> bool:
        return bool(self.ca)

    @property
    def socket(self) -> Path | None:
        """The file of a unix socket."""
        kind, _, path = self.target.partition(":")
        return Path("/" + path.lstrip("/")) if kind == "unix" else None

    def secrets(self) -> tuple[bytes, bytes | None, bytes | None]:
        """CA, key and certificate. Raises OSError."""
        key = Path(self.key).read_bytes() if self.key else None
        cert = Path(self.cert).read_bytes() if self.cert else None
        return Path(self.ca).read_bytes(), key, cert


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the GoBGP daemon beside the agent is."""

    bgp_api: str = DEFAULT
    """Where gobgpd listens for its API: unix:///PATH, or HOST:PORT."""

    bgp_api_ca: str = ""
    """File with the CA of gobgpd's certificate (PEM). With it the API is spoken to through TLS."""

    bgp_api_cert: str = ""
    """File with the agent's own certificate for gobgpd's API (PEM)."""

    bgp_api_key: str = ""
    """File with the key of that certificate (PEM)."""

    bgp_keeper: str = SOCKET
    """Socket of roost-gobgpd, which is told every second that the agent lives; without a keeper nothing is told."""

    def __post_init__(self) -> None:
        if bool(self.bgp_api_cert) != bool(self.bgp_api_key):
            raise ValueError("bgp-api-cert and bgp-api-key belong together")
        if self.bgp_api_cert and not self.bgp_api_ca:
            raise ValueError("bgp-api-cert needs bgp-api-ca: without a CA there is no TLS")

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.bgp_api, self.bgp_api_ca, self.bgp_api_cert, self.bgp_api_key)


@dataclass(frozen=True, slots=True)
class Status:
    """How a session of the daemon is."""

    key: str
    state: str
    last_error: str = ""
    advertised: int = 0
    bfd: bool = False  # whether the daemon was told to, and can
    asn: int = 0  # of the router, once it has said so
    address: str = ""  # of the router


class Client(Protocol):
    """A connection to a daemon. Each call raises Unreachable when it does not answer, NotAccepted when it says no."""

    @property
    def restartable(self) -> bool:
        """Whether it can start again after `stop`."""
        ...

    async def have(self, paths: Mapping[Prefix, str] | None = None) -> Have:
        """All that the daemon does now; *paths*, if given, are taken for what is in its table."""
        ...

    async def statuses(self) -> tuple[Status, ...]: ...
    def watch(self) -> AsyncIterator[None]:
        """Something happened to a session, again and again; Unreachable when the daemon ends."""
        ...

    async def start(self, speaker: Speaker) -> None: ...
    async def stop(self) -> None:
        """End every session such that routers keep no path, and forget everything."""
        ...

    async def set_rules(self, rules: Iterable[Rule]) -> None: ...
    async def announce(self, paths: Iterable[tuple[Prefix, str]]) -> None: ...
    async def withdraw(self, prefixes: Iterable[Prefix]) -> None: ...
    async def add_peer(self, session: Session, address: str, *, restarting: bool) -> None: ...
    async def delete_peer(self, address: str) -> None: ...
    async def enable_peer(self, address: str) -> None: ...


Connect = Callable[[Endpoint], AbstractAsyncContextManager[Client]]
