"""Ten thousand paths through a real GoBGP to a real router: how fast they come and go, beside a raw stream."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lab.bench import stage
from lab.bench.figures import Budget, Figure
from lab.cluster import Lab
from lab.routers.mrt import Watch
from lab.routers.router import Router
from lab.run import LabError
from lab.speaker import Speaker as Gobgpd
from nodeagent.bgp.apply import Daemon
from nodeagent.bgp.client import Endpoint
from nodeagent.bgp.values import Attributes, NextHops, Prefix, Session, Speaker, Timers, Treatment, Want
from roost.process import RealClock

Say = Callable[[str], None]

VERSIONS = {3: "n1", 4: "n2"}  # of GoBGP, and the node where it runs
ASN, ROUTERS_ASN = 65000, 64512
HALF, FEW = 5000, 500  # paths of each family
ROUNDS, SINGLE = 3, 20  # how often all come and go; paths that come one by one
LEAST = 15_000  # paths a second, the budget
FOUR, SIX = IPv4Address("10.100.0.0"), IPv6Address("fd9a::")
PATIENCE = 60.0  # seconds for any step
LOOK = 0.005  # seconds between two looks at the daemon
ASK = 0.05  # and at the router


def prefixes(count: int, first: int = 0) -> list[Prefix]:
    """*count* VIPs of each family, as paths."""
    numbers = range(first, first + count)
    return [*(IPv4Network(FOUR + n) for n in numbers), *(IPv6Network(SIX + n) for n in numbers)]


@dataclass(slots=True)
class Ground:
    """A router and, on a node each, both versions of GoBGP."""

    lab: Lab
    router: Router
    half: int  # paths of each family

    def session(self, version: int) -> Session:
        leg = self.lab.nodes[VERSIONS[version]].leg("data")
        return Session(
            "router",
            self.router.address4,
            ROUTERS_ASN,
            ASN,
            timers=Timers(hold=30, keepalive=10, connect_retry=1),
            families=frozenset({4, 6}),
            next_hops=NextHops(ipv6=leg.address6),
        )

    def want(self, version: int, paths: Sequence[Prefix]) -> Want:
        session, leg = self.session(version), self.lab.nodes[VERSIONS[version]].leg("data")
        said: Treatment = {session.key: Attributes(frozenset({"65000:1"}))}
        return Want(Speaker(ASN, leg.address4), {session.key: session}, dict.fromkeys(paths, said))

    def received(self, version: int) -> int:
        """How many paths the router has from there."""
        neighbour = str(self.lab.nodes[VERSIONS[version]].leg("data").address4)
        found = 0
        for family in (4, 6):
            told = json.loads(self.router.daemon.ask(f"show bgp ipv{family} unicast summary json"))
            found += int(told.get("peers", {}).get(neighbour, {}).get("pfxRcd", 0))
        return found


@contextmanager
def place(*, small: bool) -> Iterator[Ground]:
    """Two nodes without agents; of the cluster nothing is used."""
    with Lab(nodes=len(VERSIONS)) as lab:
        for version, node in VERSIONS.items():
            lab.start_speaker(node, version)
        yield Ground(lab, lab.add_router("frr"), FEW if small else HALF)


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds until all paths had come, or gone."""

    daemon: float
    router: float


@dataclass(slots=True)
class Round:
    """What one run through it all has found; seconds."""

    added: Took
    same: float  # of CPU
    resumed: float
    single: tuple[float, ...]
    gone: Took
    raw_added: Took
    raw_gone: Took


def measure(ground: Ground, say: Say) -> Iterator[Figure]:
    """Both versions, one after the other."""
    stage.wait_calm(ground.lab, 20, say)
    for version, node in VERSIONS.items():
        rounds = asyncio.run(_all_rounds(ground, version, ground.lab.speakers[node], say))
        yield from _figures(version, 2 * ground.half, rounds)


def _figures(version: int, count: int, rounds: Sequence[Round]) -> Iterator[Figure]:
    def rates(seconds: Iterator[float]) -> tuple[float, ...]:
        return tuple(count / one for one in seconds)

    name, budget = f"GoBGP {version}", Budget(LEAST, at_least=True)
    many = f"{count:,} paths, half of them IPv6, {len(rounds)} times, while one session is established"
    yield Figure(f"{name}: added, until gobgpd has them", "1/s", rates(r.added.daemon for r in rounds), budget, many)
    yield Figure(f"{name}: raw stream, until gobgpd has them", "1/s", rates(r.raw_added.daemon for r in rounds))
    yield Figure(f"{name}: added, until the router has them", "1/s", rates(r.added.router for r in rounds))
    yield Figure(f"{name}: raw stream, until the router has them", "1/s", rates(r.raw_added.router for r in rounds))
    yield Figure(f"{name}: withdrawn, until gobgpd has none", "1/s", rates(r.gone.daemon for r in rounds), budget)
    yield Figure(f"{name}: raw stream, until gobgpd has none", "1/s", rates(r.raw_gone.daemon for r in rounds))
    yield Figure(f"{name}: withdrawn, until the router has none", "1/s", rates(r.gone.router for r in rounds))
    yield Figure(f"{name}: raw stream, until the router has none", "1/s", rates(r.raw_gone.router for r in rounds))
    same = tuple(1000 * r.same for r in rounds)
    yield Figure(f"{name}: the same wanted once more, CPU", "ms", same, None, "nothing is said to gobgpd")
    resumed = tuple(r.resumed for r in rounds)
    yield Figure(f"{name}: another agent finds all as it should be", "s", resumed, None, "all is read, nothing changed")
    single = tuple(1000 * one for r in rounds for one in r.single)
    note = f"one path more than {count:,}, again and again, each from its wish to its arrival at the router"
    yield Figure(f"{name}: one path more, until the router has it", "ms", single, None, note)


async def _all_rounds(ground: Ground, version: int, gobgpd: Gobgpd, say: Say) -> list[Round]:
    found = []
    endpoint = Endpoint(f"unix://{gobgpd.socket}")
    neighbour = str(gobgpd.node.leg("data").address4)
    async with _kept(endpoint, ground.want(version, [])):
        await _until("the session is established", lambda: _established(ground.router, neighbour), ASK)
    say(f"GoBGP {version}: the session is established")
    for number in range(1, ROUNDS + 1):
        found.append(await _round(ground, version, endpoint))
        say(f"GoBGP {version}: round {number} of {ROUNDS}")
    return found


def _established(router: Router, neighbour: str) -> bool:
    return neighbour in router.established()


async def _round(ground: Ground, version: int, endpoint: Endpoint) -> Round:
    paths, more = prefixes(ground.half), prefixes(SINGLE // 2, ground.half)
    full, none = ground.want(version, paths), ground.want(version, [])
    async with _kept(endpoint, none) as daemon:
        await _until("nothing is announced", lambda: daemon.problem is None and not daemon.announced(), LOOK)
        added = await _told(ground, version, daemon, full)
        before = time.process_time()
        daemon.want(ground.want(version, paths), complete=True)
        same = time.process_time() - before
    async with _kept(endpoint, full) as daemon:
        began = time.monotonic()
        await _until("another agent knows all", lambda: _done(daemon, full), LOOK)
        resumed = time.monotonic() - began
        single = [await _one_more(ground, version, daemon, [*paths, *more[: n + 1]]) for n in range(len(more))]
        daemon.want(full, complete=True)
        await _until("those are gone", lambda: ground.received(version) == len(paths), ASK)
        gone = await _told(ground, version, daemon, none)
    raw_added, raw_gone = await _raw(ground, version, endpoint, full)
    return Round(added, same, resumed, tuple(single), gone, raw_added, raw_gone)


def _done(daemon: Daemon, want: Want) -> bool:
    return daemon.problem is None and len(daemon.announced()) == len(want.paths)


async def _told(ground: Ground, version: int, daemon: Daemon, want: Want) -> Took:
    """Have the daemon do *want*, and see how long it takes."""
    record, began, wall = ground.router.watch(), time.monotonic(), time.time()
    daemon.want(want, complete=True)
    await _until("gobgpd has taken all", lambda: _done(daemon, want), LOOK)
    taken = time.monotonic() - began
    return Took(taken, await _arrived(ground, version, len(want.paths), record) - wall)


async def _arrived(ground: Ground, version: int, count: int, record: Watch) -> float:
    """When the router was told the last of it, in seconds since 1970; read afterwards, as reading takes time, too."""
    await _until("the router has been told all", lambda: ground.received(version) == count, ASK)
    with record:
        pass
    return max(change.time for change in record.changes if change.prefix is not None)


async def _one_more(ground: Ground, version: int, daemon: Daemon, paths: Sequence[Prefix]) -> float:
    want, record = ground.want(version, paths), ground.router.watch()
    wall = time.time()
    daemon.want(want, complete=True)
    return await _arrived(ground, version, len(paths), record) - wall


async def _raw(ground: Ground, version: int, endpoint: Endpoint, full: Want) -> tuple[Took, Took]:
    """The same paths by the client alone, with the rule that they need already there."""
    from nodeagent.bgp.gobgp import connected  # noqa: PLC0415 - gRPC takes 10 MB, which other rows spare

    one = next(iter(full.paths))
    async with _kept(endpoint, replace(full, paths={one: full.paths[one]})) as daemon:
        await _until("one path is there", lambda: len(daemon.announced()) == 1, LOOK)
        await _until("the router has it", lambda: ground.received(version) == 1, ASK)
    async with connected(endpoint) as client:
        tag = (await client.have()).paths[one]
        record, began, wall = ground.router.watch(), time.monotonic(), time.time()
        await client.announce((prefix, tag) for prefix in full.paths)
        taken = time.monotonic() - began
        added = Took(taken, await _arrived(ground, version, len(full.paths), record) - wall)
        record, began, wall = ground.router.watch(), time.monotonic(), time.time()
        await client.withdraw(full.paths)
        taken = time.monotonic() - began
        return added, Took(taken, await _arrived(ground, version, 0, record) - wall)


@asynccontextmanager
async def _kept(endpoint: Endpoint, want: Want) -> AsyncIterator[Daemon]:
    """What an agent keeps a daemon by, for a while; what gobgpd does goes on after it."""
    daemon = Daemon(endpoint, RealClock(), lambda: None)
    daemon.want(want, complete=True)
    task = asyncio.ensure_future(daemon.run())
    try:
        yield daemon
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _until(what: str, condition: Callable[[], bool], every: float) -> None:
    """Raises LabError after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"not within {PATIENCE:g} s: {what}")
        await asyncio.sleep(every)
