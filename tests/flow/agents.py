"""Node agents without a kernel on an API server in memory: the real seat and the real claims over fakes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Interface
from typing import cast

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.fake import FakeAddresses
from nodeagent.addresses.plan import Link
from nodeagent.addresses.plan import Settings as AddressSettings
from nodeagent.claims import Claims, Way
from nodeagent.fence import Fence
from nodeagent.gate.apply import Gate, Gates
from nodeagent.gate.fake import FakeGate, FakeGates
from nodeagent.model import PROFILES
from nodeagent.neighbours.apply import Announcer
from nodeagent.neighbours.fake import FakeWire
from nodeagent.neighbours.hearing import Others
from nodeagent.neighbours.plan import Settings as AnnounceSettings
from nodeagent.pulse.fake import FakeNetwork, FakePulse
from nodeagent.seat import Far, Seat
from nodeagent.segment import events as ev
from nodeagent.segment.apply import SegmentApi, table, view
from nodeagent.segment.plan import start
from nodeagent.segment.state import Me, Settings
from nodeagent.services.plan import Index
from roost.frames import Mac
from roost.kube import wire
from roost.kube.reflector import Reflector
from roost.process import RealClock
from roost.words import Address
from tests.fakes.api import FakeApi

QUICK = Settings(lease=0.9, renew=0.3, retry=0.05, margin=0.05, rank=0.02, asking=0.0, settle=0.05, replace=0.1)
QUICK_PROFILE = PROFILES["Fast"]
SEGMENT = "10.60.0.0-24"


_networks: dict[int, FakeNetwork] = {}


def network_of(api: FakeApi) -> FakeNetwork:
    """The segment that the agents of one API server share."""
    return _networks.setdefault(id(api), FakeNetwork())


class Deaf:
    """A segment where nobody answers anybody, and an anchor is always there."""

    def __init__(self) -> None:
        self.stations: dict[Address, Mac] = {}
        self.rivals: dict[Address, frozenset[Mac]] = {}  # who asks for what just then
        self.questions = 0
        self.anchor = True

    async def who_has(self, vips: Sequence[Address], *, times: int, every: float) -> Others:
        self.questions += 1
        return Others({vip: self.stations[vip] for vip in vips if vip in self.stations}, self.rivals)

    async def anchored(self) -> bool:
        return self.anchor

    async def alone(self) -> bool:
        return self.anchor

    def heard_back(self) -> None:
        pass


class FakeAgent:
    """One node's seat and claims; ``kill()`` ends its tasks and leaves its pulse and its kernel as they are."""

    def __init__(self, api: FakeApi, name: str, number: int, former: "FakeAgent | None" = None) -> None:
        self.name, self.clock, self.api = name, RealClock(), api
        self.kube = api.kube()
        self.index = Index(name)
        self.mac = Mac(bytes([2, 0, 10, 60, 0, number]))
        self.link = Link("data", 3, self.mac, 1500, "veth", up=True, prefixes=(IPv4Interface("10.60.0.9/24"),))
        self.gates: FakeGates = former.gates if former is not None else FakeGates(["data"], self.clock.now)
        self.gates.install()
        self.network = network_of(api)
        self.pulse: FakePulse = (
            former.pulse if former else FakePulse(name, self.network, self.clock, self.gates.permits)
        )
        self.wire = FakeWire()
        self.addresses = FakeAddresses(AddressSettings(), [self.link], self.clock.now)
        self.announcer = Announcer(self.wire, self.mac, self.clock, AnnounceSettings())
        self.fence = Fence(cast(Gates, self.gates), self.index, self.clock)
        self.segment = Deaf()
        gate = cast(Gate, FakeGate("data", self.clock.now, self.gates))
        way = Way(self.fence, gate, cast(Addresses, self.addresses), self.announcer, self.ask_once)
        self.claims = Claims(self.index, self.link, way, self.clock)
        state = start(Me(name, f"boot-{number}", f"machine-{number}"), QUICK)
        self.leases: Reflector[wire.Lease] = Reflector(
            self.kube, wire.LEASES, self.lease_changed, self.clock, namespace="roost-node-lease"
        )
        self.segments: Reflector[wire.Segment] = Reflector(self.kube, wire.SEGMENTS, self.segment_changed, self.clock)
        far = Far(
            SegmentApi(self.kube, SEGMENT, name, self.clock.now),
            lambda orders: self.pulse.order(SEGMENT, orders),
            self.segment,
        )
        self.seat = Seat(state, far, self.claims, self.leases.items, self.look, self.clock)
        self.eligible = True
        self.told: ev.Wish | None = None
        self.tasks: list[asyncio.Task[object]] = []

    async def ask_once(self, vips: Sequence[Address]) -> Mapping[Address, Mac]:
        return (await self.segment.who_has(vips, times=1, every=0.025)).has

    def claims_out(self, address: Address) -> bool:
        """Whether the kernel lets claims for *address* out."""
        held = address in self.gates.held.get("data", frozenset())
        return held and self.gates.passes(address, "data")

    def lease_changed(self, _key: str, old: wire.Lease | None, new: wire.Lease | None) -> None:
        lease = new or old
        assert lease is not None
        self.seat.tell(ev.LeaseSeen(lease.metadata.name, None if new is None else view(new)))

    def segment_changed(self, _key: str, _old: wire.Segment | None, new: wire.Segment | None) -> None:
        if new is None:
            self.seat.ask_table()
        else:
            self.seat.tell(ev.TableSeen(table(new)))

    def look(self) -> ev.Wish | None:
        if not self.leases.synced.is_set():
            return None
        self.claims.refresh()
        self.fence.links_are([self.link])
        wish = ev.Wish(self.eligible, str(self.mac), ("10.60.0.9",), self.index.candidates({"data"}), QUICK_PROFILE)
        if wish == self.told:
            return None
        self.told = wish
        return wish

    async def begin(self) -> None:
        go: list[Callable[[], object]] = [
            self.leases.run,
            self.segments.run,
            self.seat.decide,
            self.seat.renew,
            self.seat.write,
            self.seat.ask,
            self.seat.probe,
            self.seat.look_round,
            self.announcer.announce,
            self.claims.keep_addresses,
            self.fence.watch,
            lambda: self.pulse.run(lambda _, news: self.seat.tell(news)),
        ]
        if not self.pulse.keys:
            self.beat = asyncio.create_task(self.pulse.live())
        self.pulse.key([b"key"])
        self.pulse.open(SEGMENT, "data", self.name, 10262)
        self.tasks = [asyncio.create_task(work()) for work in go]  # type: ignore[arg-type]  # coroutines that never end
        self.seat.ask_table()
        self.seat.ask_own_lease()
        await self.leases.synced.wait()
        self.seat.tell(ev.LeasesListed())

    async def kill(self) -> None:
        self.pulse.hang_up()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
