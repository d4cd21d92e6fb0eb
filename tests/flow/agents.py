"""Node agents without a kernel on an API server in memory: the real seat and the real claims over fakes."""

import asyncio
from collections.abc import Callable
from typing import cast

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.fake import FakeAddresses
from nodeagent.addresses.plan import Link
from nodeagent.addresses.plan import Settings as AddressSettings
from nodeagent.claims import Claims
from nodeagent.gate.apply import Gate
from nodeagent.gate.fake import FakeGate
from nodeagent.neighbours.apply import Announcer
from nodeagent.neighbours.fake import FakeWire
from nodeagent.neighbours.plan import Settings as AnnounceSettings
from nodeagent.seat import Seat
from nodeagent.segment import events as ev
from nodeagent.segment.apply import SegmentApi, table, view
from nodeagent.segment.plan import start
from nodeagent.segment.state import Me, Settings
from nodeagent.services.plan import Index
from roost.frames import Mac
from roost.kube import wire
from roost.kube.reflector import Reflector
from roost.process import RealClock
from tests.fakes.api import FakeApi

QUICK = Settings(lease=0.9, renew=0.3, retry=0.05, margin=0.05, rank=0.02)
SEGMENT = "10.60.0.0-24"


class FakeAgent:
    """One node's seat and claims; ``kill()`` ends its tasks and leaves its kernel as it is."""

    def __init__(self, api: FakeApi, name: str, number: int, gate: FakeGate | None = None) -> None:
        self.name, self.clock, self.api = name, RealClock(), api
        self.kube = api.kube()
        self.index = Index(name)
        self.mac = Mac(bytes([2, 0, 10, 60, 0, number]))
        self.link = Link("data", 3, self.mac, 1500, "veth", up=True)
        self.gate = gate or FakeGate("data", self.clock.now)
        self.gate.install()
        self.wire = FakeWire()
        self.addresses = FakeAddresses(AddressSettings(), [self.link], self.clock.now)
        self.announcer = Announcer(self.wire, self.mac, self.clock, AnnounceSettings())
        self.claims = Claims(
            self.index,
            self.link,
            cast(Gate, self.gate),
            self.announcer,
            cast(Addresses, self.addresses),
            self.clock,
        )
        state = start(Me(name, f"boot-{number}", f"machine-{number}"), QUICK)
        self.leases: Reflector[wire.Lease] = Reflector(
            self.kube, wire.LEASES, self.lease_changed, self.clock, namespace="roost-node-lease"
        )
        self.segments: Reflector[wire.Segment] = Reflector(self.kube, wire.SEGMENTS, self.segment_changed, self.clock)
        segment_api = SegmentApi(self.kube, SEGMENT, name, self.clock.now)
        self.seat = Seat(state, segment_api, self.claims, self.leases.items, self.look, self.clock)
        self.eligible = True
        self.told: ev.Wish | None = None
        self.tasks: list[asyncio.Task[object]] = []

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
        wish = ev.Wish(self.eligible, str(self.mac), ("10.60.0.9",), self.index.candidates({"data"}))
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
            self.announcer.announce,
            self.claims.keep_addresses,
        ]
        self.tasks = [asyncio.create_task(work()) for work in go]  # type: ignore[arg-type]  # coroutines that never end
        self.seat.ask_table()
        self.seat.ask_own_lease()
        await self.leases.synced.wait()
        self.seat.tell(ev.LeasesListed())

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
