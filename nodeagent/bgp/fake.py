"""A daemon in memory, with routers that hear what it says: true to the same contract as the real ones."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nodeagent.bgp.client import Client, Endpoint, NotAccepted, Status, Stopped
from nodeagent.bgp.rules import Rule
from nodeagent.bgp.steps import Have, Peer, digest
from nodeagent.bgp.values import Prefix, Session, Speaker
from roost.process import Unreachable


@dataclass(frozen=True, slots=True)
class Heard:
    """A path as a router has it from us."""

    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    local_preference: int | None = None
    med: int | None = None
    path: tuple[int, ...] = ()
    next_hop: str = ""


@dataclass(slots=True)
class FakeRouter:
    """What one router has heard, and how often it lost something."""

    session: Session
    address: str
    table: dict[Prefix, Heard] = field(default_factory=dict)
    updates: list[tuple[Prefix, Heard | None]] = field(default_factory=list)  # None: withdrawn


class FakeGobgpd:
    """The daemon's process: it can die, come back, and be meddled with. `connect` is what a Daemon is given."""

    def __init__(self, *, version: int = 3, local: str = "10.0.0.1") -> None:
        self.version, self.local = version, local
        self.runs = True
        self.connections = 0
        self.away: set[str] = set()  # addresses where no router is
        self.refuses: dict[str, str] = {}  # addresses of sessions that are not taken, and why
        self.asns: dict[str, int] = {}  # of routers by address, where the session does not say
        self.routers: dict[str, FakeRouter] = {}  # by address
        self.calls: list[str] = []  # all that changed something
        self._forget()

    def _forget(self) -> None:
        self.speaker: Speaker | None = None
        self.stopped = False
        self.rules: frozenset[Rule] | None = None
        self.peers: dict[str, Peer] = {}
        self.sessions: dict[str, Session] = {}
        self.paths: dict[Prefix, str] = {}
        self.events: list[asyncio.Queue[bool]] = []

    # -- what tests do to it ------------------------------------------------------------------------------------------

    def die(self) -> None:
        """SIGKILL: it forgets all, and routers that were not asked to keep their paths drop them."""
        self.runs = False
        for queue in self.events:
            queue.put_nowait(False)
        for router in self.routers.values():
            if not router.session.graceful_restart:
                _lose(router, list(router.table))
        self._forget()

    def come_back(self) -> None:
        self.runs = True

    def move(self) -> None:
        """Tell whoever watches that a session changed."""
        for queue in self.events:
            queue.put_nowait(True)

    def heard(self, address: str) -> dict[Prefix, Heard]:
        """What the router at *address* has."""
        router = self.routers.get(address)
        return dict(router.table) if router else {}

    @asynccontextmanager
    async def connect(self, _where: Endpoint) -> AsyncIterator[Client]:
        if not self.runs:
            raise Unreachable("gobgpd is away")
        self.connections += 1
        yield _Connection(self)

    # -- what the daemon does -----------------------------------------------------------------------------------------

    def tell(self, router: FakeRouter, prefixes: Iterable[Prefix]) -> None:
        """Export *prefixes* as the rules are now."""
        for prefix in prefixes:
            heard = self._export(router, prefix)
            if heard is not None:
                router.table[prefix] = heard
                router.updates.append((prefix, heard))
            elif prefix in router.table:
                _lose(router, [prefix])

    def _export(self, router: FakeRouter, prefix: Prefix) -> Heard | None:
        session, bare = router.session, router.address.partition("%")[0]
        if prefix.version not in session.families or prefix not in self.paths:
            return None
        hop = ""
        for rule in sorted(self.rules or (), key=lambda rule: bool(rule.tag)):
            if rule.session == bare and rule.family in (0, prefix.version):
                if not rule.tag:
                    hop = rule.next_hop
                elif rule.tag == self.paths[prefix]:
                    return _heard(session, rule, hop or self.local)
        return None


def _heard(session: Session, rule: Rule, hop: str) -> Heard:
    internal = session.asn == session.local_asn
    times = 0 if internal else 1 + (rule.prepend[1] if rule.prepend else 0)
    return Heard(
        rule.communities,
        rule.large_communities,
        (rule.local_preference or 100) if internal else None,
        rule.med,
        (session.local_asn,) * times,
        hop,
    )


def _lose(router: FakeRouter, prefixes: Iterable[Prefix]) -> None:
    for prefix in prefixes:
        if router.table.pop(prefix, None) is not None:
            router.updates.append((prefix, None))


class _Connection:
    """A `client.Client`."""

    def __init__(self, daemon: FakeGobgpd) -> None:
        self._daemon = daemon

    @property
    def restartable(self) -> bool:
        return self._daemon.version == 3  # noqa: PLR2004

    def _there(self, call: str = "") -> FakeGobgpd:
        if not self._daemon.runs:
            raise Unreachable("gobgpd is away")
        if self._daemon.stopped:
            raise Stopped("server stopped")
        if call:
            self._daemon.calls.append(call)
        return self._daemon

    def _speaking(self, call: str) -> FakeGobgpd:
        daemon = self._there(call)
        if daemon.speaker is None:
            raise NotAccepted("bgp server hasn't started yet")
        return daemon

    async def have(self, paths: Mapping[Prefix, str] | None = None) -> Have:
        daemon = self._there()
        if daemon.speaker is None:
            return Have()
        return Have(
            daemon.speaker,
            daemon.rules,
            {peer.key: peer for peer in daemon.peers.values()},
            dict(daemon.paths) if paths is None else paths,
        )

    async def statuses(self) -> tuple[Status, ...]:
        daemon = self._there()
        found = []
        for address, peer in daemon.peers.items():
            router = daemon.routers[address]
            state = "Established" if peer.established else "Active" if peer.enabled else "Idle"
            bfd = daemon.version > 3 and router.session.bfd is not None  # noqa: PLR2004
            asn = daemon.asns.get(address, router.session.asn or 0)
            found.append(Status(peer.key, state, "", len(router.table), bfd, asn, address))
        return tuple(found)

    async def watch(self) -> AsyncIterator[None]:
        queue: asyncio.Queue[bool] = asyncio.Queue()
        self._there().events.append(queue)
        while await queue.get():
            yield
        raise Unreachable("gobgpd is away")

    async def start(self, speaker: Speaker) -> None:
        daemon = self._there("start")
        if daemon.speaker is not None:
            raise NotAccepted("gobgp is already started")
        daemon.speaker = speaker

    async def stop(self) -> None:
        daemon = self._there("stop")
        for address in list(daemon.peers):
            await self.delete_peer(address)
        events = daemon.events
        daemon._forget()
        daemon.events, daemon.stopped = events, not self.restartable

    async def set_rules(self, rules: Iterable[Rule]) -> None:
        self._speaking("set_rules").rules = frozenset(rules)

    async def announce(self, paths: Iterable[tuple[Prefix, str]]) -> None:
        daemon, new = self._speaking("announce"), dict(paths)
        daemon.paths |= new
        for address, peer in daemon.peers.items():
            if peer.established:
                daemon.tell(daemon.routers[address], new)

    async def withdraw(self, prefixes: Iterable[Prefix]) -> None:
        daemon, gone = self._speaking("withdraw"), list(prefixes)
        for prefix in gone:
            daemon.paths.pop(prefix, None)
        for address in daemon.peers:
            _lose(daemon.routers[address], gone)

    async def add_peer(self, session: Session, address: str, *, restarting: bool) -> None:
        daemon = self._speaking(f"add_peer {address}")
        if address in daemon.peers:
            raise NotAccepted(f"can't overwrite the existing peer: {address}")
        if address in daemon.refuses:
            raise NotAccepted(daemon.refuses[address])
        router = daemon.routers.setdefault(address, FakeRouter(session, address))
        router.session = session
        if not restarting:
            _lose(router, list(router.table))
        daemon.peers[address] = Peer(
            session.key,
            address,
            digest(session, address),
            session.asn or 0,
            session.password,
            enabled=True,
            established=address not in daemon.away,
        )
        if address not in daemon.away:
            stale = set(router.table) - set(daemon.paths)
            daemon.tell(router, daemon.paths)
            _lose(router, stale)  # End-of-RIB
        daemon.move()

    async def delete_peer(self, address: str) -> None:
        daemon = self._speaking(f"delete_peer {address}")
        if daemon.peers.pop(address, None) is None:
            raise NotAccepted(f"can't delete a peer configuration for {address}")
        router = daemon.routers[address]
        _lose(router, list(router.table))
        daemon.move()

    async def enable_peer(self, address: str) -> None:
        daemon = self._speaking(f"enable_peer {address}")
        peer = daemon.peers[address]
        daemon.peers[address] = Peer(peer.key, address, peer.digest, peer.asn, peer.password, established=True)
        daemon.tell(daemon.routers[address], daemon.paths)
        daemon.move()
