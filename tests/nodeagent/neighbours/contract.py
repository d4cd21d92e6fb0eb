"""What hearing and asking do, on a device in memory and on one in the kernel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6
from ipaddress import ip_interface

import pytest

from nodeagent.neighbours.apply import Wire
from nodeagent.neighbours.hearing import Address, Heard, Others
from nodeagent.neighbours.listening import Ear, Listener
from nodeagent.neighbours.probing import Prober
from roost.frames import Arp, Frame, Kind, Mac, arp, ndp
from roost.frames.ethernet import ARP, BROADCAST
from roost.process import RealClock, Unreachable

NODE_MAC, STRANGER = Mac.parse("02:00:00:00:00:01"), Mac.parse("02:00:00:00:00:02")
THIRD = Mac.parse("02:00:00:00:00:03")
PREFIXES = (ip_interface("10.1.0.1/24"), ip_interface("fd01::1/64"))
FOUR, SIX = IPv4("10.1.0.100"), IPv6("fd01::100")
FREE4, FREE6 = IPv4("10.1.0.101"), IPv6("fd01::101")
PATIENCE = 5.0


@dataclass
class Stage:
    """A device with a station beyond it: *appear* gives that one an address, *say* has it send a frame."""

    wire: Wire
    ear: Ear
    listener: Listener
    prober: Prober
    appear: Callable[[Address], None]
    say: Callable[[bytes], object]
    unplug: Callable[[], None]  # the device goes

    async def hears(self, frame: bytes, condition: Callable[[Heard], bool]) -> Heard:
        """What is heard when *frame* is sent; other claims may pass by before."""
        found = asyncio.get_running_loop().create_future()

        def told(who: Heard) -> None:
            if condition(who) and not found.done():
                found.set_result(who)

        no_more = self.listener.tell(told)
        self.say(frame)
        try:
            async with asyncio.timeout(PATIENCE):
                heard = await found
                assert isinstance(heard, Heard)
                return heard
        finally:
            no_more()


@asynccontextmanager
async def at_work(wire: Wire, ear: Ear) -> AsyncIterator[tuple[Listener, Prober]]:
    """A listener whose task runs, and a prober."""
    clock = RealClock()
    listener = Listener(ear, {NODE_MAC}, clock)
    prober = Prober(wire, listener, NODE_MAC, clock, rate=2_000)
    prober.prefixes = PREFIXES
    assert not listener.hears(), "nobody listens yet"
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(listener.listen())
        await asyncio.sleep(0)
        assert listener.hears()
        yield listener, prober
        work.cancel()


CLAIMS = [
    pytest.param(arp.announcement(IPv4("10.1.0.7"), STRANGER), IPv4("10.1.0.7"), Kind.ARP_REQUEST, id="gratuitous ARP"),
    pytest.param(
        arp.announcement_as_reply(IPv4("10.1.0.7"), STRANGER), IPv4("10.1.0.7"), Kind.ARP_REPLY, id="its reply form"
    ),
    pytest.param(
        arp.question(IPv4("10.1.0.9"), STRANGER, IPv4("10.1.0.7")),
        IPv4("10.1.0.7"),
        Kind.ARP_REQUEST,
        id="an ARP question",
    ),
    pytest.param(
        Frame(
            NODE_MAC, STRANGER, ARP, Arp(arp.REPLY, STRANGER, IPv4("10.1.0.7"), NODE_MAC, IPv4("10.1.0.1")).pack()
        ).pack(),
        IPv4("10.1.0.7"),
        Kind.ARP_REPLY,
        id="an ARP answer to us",
    ),
    pytest.param(ndp.announcement(IPv6("fd01::7"), STRANGER), IPv6("fd01::7"), Kind.ADVERTISEMENT, id="advertisement"),
    pytest.param(
        ndp.question(IPv6("fd01::1"), STRANGER, IPv6("fd01::7")), IPv6("fd01::7"), Kind.SOLICITATION, id="solicitation"
    ),
]
NO_CLAIMS = [
    pytest.param(arp.question(IPv4("10.1.0.7"), STRANGER, IPv4("0.0.0.0")), id="an ARP probe"),
    pytest.param(ndp.question(IPv6("fd01::7"), STRANGER, IPv6("::")), id="a probe for a duplicate"),
    pytest.param(arp.announcement(IPv4("10.1.0.7"), NODE_MAC), id="our own frame, sent back by a loop"),
    pytest.param(Frame(BROADCAST, STRANGER, 0x0800, b"E" + bytes(60)).pack(), id="data"),
]


PROBES = [
    arp.question(FREE4, STRANGER, IPv4("0.0.0.0")),
    arp.question(IPv4("10.1.0.7"), STRANGER, IPv4("0.0.0.0")),  # for another address
    arp.question(FREE4, NODE_MAC, IPv4("0.0.0.0")),  # our own, sent back by a loop
    ndp.question(FREE6, STRANGER, IPv6("::")),
    ndp.question(FREE6, THIRD, IPv6("::")),
    ndp.question(SIX, NODE_MAC, IPv6("::")),
    Frame(BROADCAST, STRANGER, ARP, b"too short").pack(),
]


class HearingContract:
    """Classes that inherit this give a fixture `stage`."""

    @pytest.mark.parametrize(("frame", "address", "form"), CLAIMS)
    async def test_a_claim_is_told(self, stage: Stage, frame: bytes, address: Address, form: Kind) -> None:
        who = await stage.hears(frame, lambda who: who.address == address)
        assert (who.mac, who.form) == (STRANGER, form)
        assert (address, STRANGER) in [(s.address, s.mac) for s in stage.listener.stations.recent(who.at)]

    @pytest.mark.parametrize("frame", NO_CLAIMS)
    async def test_what_is_no_claim_of_another_is_not_told(self, stage: Stage, frame: bytes) -> None:
        told = list[Heard]()
        stage.listener.tell(told.append)
        stage.say(frame)
        last = ndp.announcement(IPv6("fd01::ff"), STRANGER)
        stage.say(arp.announcement(IPv4("10.1.0.255"), STRANGER))
        await stage.hears(last, lambda who: who.address == IPv6("fd01::ff"))
        await stage.prober.probe([FREE4], every=0.01)  # ARP comes in by another socket
        heard = {who.address for who in told if not who.address.is_link_local}
        assert heard == {IPv6("fd01::ff"), IPv4("10.1.0.255")}

    async def test_nobody_is_told_any_more_who_does_not_want_it(self, stage: Stage) -> None:
        told = list[Heard]()
        stage.listener.tell(told.append)()
        await stage.hears(arp.announcement(IPv4("10.1.0.7"), STRANGER), lambda who: who.address == IPv4("10.1.0.7"))
        assert told == []

    async def test_who_has_an_address_is_found_and_nobody_else(self, stage: Stage) -> None:
        for address in (FOUR, SIX):
            stage.appear(address)
        assert await stage.prober.probe([FOUR, FREE4, SIX, FREE6]) == {FOUR: STRANGER, SIX: STRANGER}
        assert await stage.prober.probe([FREE4, FREE6]) == {}
        assert await stage.prober.probe([]) == {}

    async def test_who_only_asks_for_an_address_is_told_apart_from_who_has_it(self, stage: Stage) -> None:
        stage.appear(FOUR)
        told = list[Heard]()
        stage.listener.tell(told.append)
        several: list[Address] = [FOUR, FREE4, SIX, FREE6]
        asking = asyncio.ensure_future(stage.prober.others(several, every=0.05))
        await asyncio.sleep(0)
        for frame in PROBES:
            stage.say(frame)
        others = await asking
        assert others.has == {FOUR: STRANGER}
        assert others.asks == {FREE4: {STRANGER}, FREE6: {STRANGER, THIRD}}
        assert {who.address for who in told if not who.address.is_link_local} == {FOUR}
        assert await stage.prober.others([FREE4, FREE6], every=0.01) == Others({}, {}), "it asks no more"

    async def test_of_many_addresses_those_of_strangers_are_found(self, stage: Stage) -> None:
        taken: list[Address] = [IPv4("10.1.0.150"), IPv4("10.1.0.200"), IPv6("fd01::200")]
        for address in taken:
            stage.appear(address)
        several: list[Address] = [
            *(IPv4(f"10.1.0.{n}") for n in range(100, 201)),
            *(IPv6(f"fd01::{n}") for n in range(150, 201)),
        ]
        assert await stage.prober.probe(several) == dict.fromkeys(taken, STRANGER)

    async def test_an_anchor_answers_for_the_segment(self, stage: Stage) -> None:
        assert not await stage.prober.answers([FOUR, SIX], times=2, every=0.02)
        stage.appear(SIX)
        assert await stage.prober.answers([FOUR, SIX])
        stage.appear(FOUR)
        assert await stage.prober.answers([FOUR])
        stage.prober.prefixes = ()
        assert await stage.prober.answers([FOUR]), "asked by a probe"

    async def test_what_others_say_unasked_is_no_answer_of_an_anchor(self, stage: Stage) -> None:
        asking = asyncio.ensure_future(stage.prober.answers([FOUR], times=3, every=0.05))
        await stage.hears(arp.question(FREE4, STRANGER, FOUR), lambda who: who.address == FOUR)
        assert not await asking

    async def test_without_a_device_nobody_knows(self, stage: Stage) -> None:
        stage.unplug()
        with pytest.raises(Unreachable):
            await stage.prober.probe([FOUR])
        assert not await stage.prober.answers([FOUR])
