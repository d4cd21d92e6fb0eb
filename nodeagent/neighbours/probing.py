"""Questions to the segment: who has an address that this node means to claim, and whether anybody is there at all."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from nodeagent.neighbours.apply import Wire
from nodeagent.neighbours.hearing import ANSWERS, Address, Asking, Heard, Others, Prefix, Rival, question
from nodeagent.neighbours.listening import Listener
from nodeagent.neighbours.plan import TICK, Lane
from roost.frames.ethernet import BROADCAST, Mac
from roost.process import Clock, Unreachable

Way = tuple[Sequence[Prefix], Mapping[Address, Mac]]


class Prober:
    """Asks on one device, from *mac*, and hears the answers by *listener*, whose task must run.

    At most *rate* questions a second, all who ask together. *mac* and *prefixes* (the device's own) may be set anew.
    """

    def __init__(self, wire: Wire, listener: Listener, mac: Mac, clock: Clock, rate: int) -> None:
        self.mac = mac
        self.prefixes: tuple[Prefix, ...] = ()
        self._wire, self._listener, self._clock = wire, listener, clock
        self._lane = Lane(rate)

    async def probe(
        self, addresses: Iterable[Address], *, times: int = 3, every: float = 0.040
    ) -> Mapping[Address, Mac]:
        """Who else has *addresses*: each is asked for *times*, *every* seconds apart, without claiming it.

        Returns *every* seconds after the last question, or when all have answered. Raises Unreachable when a question
        could not leave or an answer could not be heard: then nobody knows. Without carrier all is silent; the caller
        knows the link. Who only asks for them too is not told: see :meth:`others`.
        """
        return (await self.others(addresses, times=times, every=every)).has

    async def others(self, addresses: Iterable[Address], *, times: int = 3, every: float = 0.040) -> Others:
        """As :meth:`probe`, and who asks for *addresses* from the first question to the end.

        Who means to claim one must take that for an answer (RFC 5227 §2.1.1, RFC 4862 §5.4.3): two that ask at the same
        time hear no answer, either of them. Of two whose times overlap, at least one hears the other. In IPv6 that
        holds for as many groups as are joined (listening.MOST_JOINED).
        """
        found = dict[Address, Mac]()
        rivals = defaultdict[Address, set[Mac]](set)
        asking = Asking(tuple(dict.fromkeys(addresses)), times, every)
        wanted = frozenset(asking.fresh)

        def hear(who: Heard) -> bool:
            return who.address in wanted and found.setdefault(who.address, who.mac) == who.mac

        def hear_rival(who: Rival) -> None:
            if who.address in wanted:
                rivals[who.address].add(who.mac)

        with self._listener.telling_rivals(hear_rival, asking.fresh):
            await self._ask(asking, hear, lambda: len(found) == len(wanted))
        return Others(found, {address: frozenset(macs) for address, macs in rivals.items()})

    async def answers(self, anchors: Sequence[Address], *, times: int = 3, every: float = 0.100) -> bool:
        """Whether one of *anchors* answers; True as soon as one does. A device that is gone hears nobody.

        Asked as a kernel would, from this node's own address, where it has one beside the anchor's. First alone, if
        it was heard lately: a question to everybody wakes the whole segment.
        """
        recent = self._listener.stations.recent(self._clock.now())
        alone = {station.address: station.mac for station in recent if station.address in anchors}
        answered = asyncio.Event()

        def hear(who: Heard) -> bool:
            if who.address in anchors and who.form in ANSWERS:
                answered.set()
            return answered.is_set()

        try:
            await self._ask(Asking(tuple(anchors), times, every), hear, answered.is_set, (self.prefixes, alone))
        except Unreachable:
            return False
        return answered.is_set()

    async def _ask(
        self, asking: Asking, hear: Callable[[Heard], bool], enough: Callable[[], bool], way: Way = ((), {})
    ) -> None:
        """Ask until *enough*, or until the last answer would have come. Raises Unreachable.

        *way*: the addresses to ask from, and the stations that are asked alone the first time.
        """
        sources, alone = way[0], dict(way[1])
        news = asyncio.Event()

        def told(who: Heard) -> None:
            if hear(who):
                news.set()

        no_more = self._listener.tell(told)
        try:
            while not enough():
                news.clear()
                now = self._clock.now()
                asked, asking = asking.next(self._lane.room(now), now)
                self._lane = self._lane.after(len(asked), now)
                self._send([question(target, self.mac, sources, alone.pop(target, BROADCAST)) for target in asked])
                if asking.all_sent and now >= asking.ends:
                    self._listener.catch_up()
                    return
                await self._until(asking.wake(now, TICK), news)
        finally:
            no_more()

    def _send(self, frames: Sequence[bytes]) -> None:
        if not self._listener.hears():
            raise Unreachable("no such device to hear answers on")
        sent = self._wire.send(frames)
        if sent.frames < len(frames):
            raise Unreachable(f"{len(frames) - sent.frames} of {len(frames)} questions could not be sent")

    async def _until(self, wake: float, news: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(max(0.0, wake - self._clock.now())):
                await news.wait()
        except TimeoutError:
            pass
