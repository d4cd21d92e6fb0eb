"""What keeps the balancer does, over one in memory and over the kernel's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address

from nodeagent.ipvs.apply import Far, Ipvs
from nodeagent.ipvs.checks import Ask
from nodeagent.ipvs.health import State
from nodeagent.ipvs.plan import CONNTRACK, EXPIRE, wanted
from nodeagent.ipvs.settings import Check, Forwarding, Scheduler, Settings
from nodeagent.ipvs.values import Address, Backend, Member, Place, Service
from roost.process import RealClock

PATIENCE = 10.0  # seconds
PORT = 6443
VIP4, VIP6 = ip_address("10.1.0.100"), ip_address("fd01::100")
NODES: tuple[tuple[Address, ...], ...] = tuple(
    (ip_address(f"10.1.0.1{number}"), ip_address(f"fd01::1{number}")) for number in (1, 2, 3)
)
OWN = frozenset(NODES[0])
MEMBERS = tuple(Member(addresses, PORT) for addresses in NODES)
SETTINGS = Settings(
    lb_enable=True,
    lb_forwarding=Forwarding.MASQUERADE,
    lb_check=Check.TCP,
    lb_check_period=0.2,
    lb_check_successes=1,
    lb_drain=0.2,
)


def services(*vips: Address, members: tuple[Member, ...] = MEMBERS, settings: Settings = SETTINGS) -> set[Service]:
    return set(wanted(vips, members, OWN, settings))


def shortened(service: Service, *without: Address) -> Service:
    return replace(service, backends=frozenset(one for one in service.backends if one.place.address not in without))


@dataclass
class Stage:
    """A node with three API servers to balance, all of which listen, and ways to meddle.

    *shown*: all services, whoever made them; *sysctl*: what one is now; *masquerades*: whether our table is there.
    """

    far: Callable[[], Far]
    ask: Ask | None
    shown: Callable[[], set[Service]]
    masquerades: Callable[[], bool]
    sysctl: Callable[[str], str]
    make: Callable[[Place], None]
    remove: Callable[[Place], None]
    listen: Callable[[Place], None]
    fall_silent: Callable[[Place], None]


@dataclass
class Kept:
    """A balancer that is kept, and waiting for it."""

    ipvs: Ipvs
    woken: asyncio.Event

    async def when(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.woken.clear()
                await asyncio.gather(asyncio.wait_for(self.woken.wait(), 0.05), return_exceptions=True)

    async def want(self, wanted: set[Service], *, complete: bool = True) -> None:
        self.ipvs.want(wanted, complete=complete)
        await self.when(lambda: self.ipvs.settled)


@asynccontextmanager
async def kept(stage: Stage, settings: Settings = SETTINGS) -> AsyncIterator[Kept]:
    woken = asyncio.Event()
    ipvs = Ipvs(settings, RealClock(), woken.set, stage.far(), stage.ask)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ipvs.run())
        yield Kept(ipvs, woken)
        running.cancel()


class IpvsContract:
    """Classes that inherit this give a fixture `stage`."""

    async def test_services_come_and_go_with_all_that_they_stand_on(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            both = services(VIP4, VIP6)
            await keeper.want(both)
            await keeper.when(lambda: stage.shown() == both == keeper.ipvs.present())
            assert stage.masquerades()
            assert (stage.sysctl(CONNTRACK), stage.sysctl(EXPIRE)) == ("1", "1")
            await keeper.want(services(VIP6))
            assert stage.shown() == services(VIP6)
            await keeper.want(set())
            assert stage.shown() == set() == keeper.ipvs.present()
            assert not stage.masquerades()
            assert (stage.sysctl(CONNTRACK), stage.sysctl(EXPIRE)) == ("0", "0")
            assert not keeper.ipvs.problems

    async def test_a_former_lifes_leftovers_stay_until_all_is_listed(self, stage: Stage) -> None:
        async with kept(stage) as keeper:  # and is killed
            await keeper.want(services(VIP4, VIP6))
        async with kept(stage) as keeper:
            await keeper.want(services(VIP6), complete=False)
            assert stage.shown() == services(VIP4, VIP6)
            await keeper.want(services(VIP6))
            assert stage.shown() == services(VIP6)
        await Ipvs(SETTINGS, RealClock(), lambda: None, stage.far()).clear()
        assert stage.shown() == set()
        assert not stage.masquerades()
        assert (stage.sysctl(CONNTRACK), stage.sysctl(EXPIRE)) == ("0", "0")

    async def test_another_programs_services_are_left_alone(self, stage: Stage) -> None:
        foreign = Place(ip_address("10.96.0.1"), 443)
        stage.make(foreign)
        stage.make(Place(VIP4, PORT))
        before = stage.shown()
        async with kept(stage) as keeper:
            await keeper.want(services(VIP4, VIP6))
            assert stage.shown() == before | services(VIP6)
            assert keeper.ipvs.problems.keys() == {VIP4}
            assert "ipvsadm -D -t 10.1.0.100:6443" in keeper.ipvs.problems[VIP4]
            stage.remove(Place(VIP4, PORT))
            await keeper.when(lambda: not keeper.ipvs.problems)
            await keeper.want(set())
            assert {service.place for service in stage.shown()} == {foreign}
            assert stage.sysctl(CONNTRACK) == "1"  # who has it may need it

    async def test_what_somebody_removes_is_back_and_told(self, stage: Stage) -> None:
        stage.make(Place(ip_address("10.1.0.101"), PORT))  # so that each change below is told by a look
        async with kept(stage) as keeper:
            await keeper.want(services(VIP4))
            stage.remove(Place(VIP4, PORT))
            await keeper.when(lambda: VIP4 in keeper.ipvs.problems)
            await keeper.when(lambda: services(VIP4) <= stage.shown())
            assert "took the IPVS service 10.1.0.100:6443 away" in keeper.ipvs.problems[VIP4]

    async def test_a_backend_that_refuses_gets_nothing_until_it_is_well(self, stage: Stage) -> None:
        (service,) = services(VIP4)
        dead = Place(NODES[1][0], PORT)
        async with kept(stage) as keeper:
            await keeper.want({service})
            await keeper.when(lambda: len(keeper.ipvs.healths) == 3)
            stage.fall_silent(dead)
            await keeper.when(lambda: stage.shown() == {shortened(service, dead.address)})
            assert keeper.ipvs.healths[dead].state == State.DOWN
            assert keeper.ipvs.healths[dead].why == "connection refused"
            stage.listen(dead)
            await keeper.when(lambda: stage.shown() == {service})

    async def test_the_last_healthy_backend_stays(self, stage: Stage) -> None:
        (service,) = services(VIP6)
        places = [Place(addresses[1], PORT) for addresses in NODES]
        async with kept(stage) as keeper:
            await keeper.want({service})
            await keeper.when(lambda: len(keeper.ipvs.healths) == 3)
            for number, place in enumerate(places, 1):
                stage.fall_silent(place)
                await keeper.when(partial(down, keeper, number))
            await keeper.when(lambda: stage.shown() == {shortened(service, *(place.address for place in places[:2]))})

    async def test_a_member_that_leaves_is_drained_and_another_scheduler_is_taken(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            await keeper.want(services(VIP4))
            few = services(VIP4, members=MEMBERS[:2], settings=replace(SETTINGS, lb_scheduler=Scheduler.LC))
            await keeper.want(few)
            (service,) = stage.shown()
            leaving = Backend(Place(NODES[2][0], PORT), Forwarding.MASQUERADE, 0)
            assert service.backends >= {leaving} or {service} == few
            await keeper.when(lambda: stage.shown() == few)

    async def test_each_forwarding_method_is_taken(self, stage: Stage) -> None:
        async with kept(stage) as keeper:
            for forwarding in Forwarding:
                some = services(VIP4, VIP6, settings=replace(SETTINGS, lb_forwarding=forwarding))
                await keeper.want(some)
                await keeper.when(partial(is_shown, stage, some))
                assert bool(keeper.ipvs.problems) == (forwarding == Forwarding.BYPASS)


def down(keeper: Kept, number: int) -> bool:
    return sum(health.state == State.DOWN for health in keeper.ipvs.healths.values()) == number


def is_shown(stage: Stage, wanted: set[Service]) -> bool:
    return stage.shown() == wanted
