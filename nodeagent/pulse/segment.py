"""The pulse of one segment: its beat, and its datagrams on one device."""

from collections import Counter
from collections.abc import Container, Hashable
from typing import Protocol

from nodeagent.model import Done, Echoing, Here, News, Orders, Over
from nodeagent.pulse import apply, wire
from nodeagent.pulse.apply import Beat, Permission, Wire, now
from nodeagent.pulse.packets import Heard, Open, Packet, Tally, Trouble
from nodeagent.pulse.plan import LATE, AgentCame, Send, Tick, start

AGAIN = 1.0  # seconds between two attempts to open a device
TOLD = 10.0  # seconds between two tallies
WAITED = 8  # batches of datagrams that are thrown away after a stall

KEPT_NEWS = (Here, Done, Over, Echoing)  # the newest of these reaches the agent however busy it is; others are lost


class Tell(Protocol):
    """Takes news to the agent; *key* as for End.put()."""

    def __call__(self, packet: Packet, key: Hashable = None) -> None: ...


class Segment:
    """One segment: its beat, and its datagrams on one device."""

    def __init__(self, asked: Open, life: int, permits: apply.Permits, keys: list[bytes], tell: Tell) -> None:
        self.asked = asked
        self.listened = False  # whether the agent that there is now has asked for this segment
        self.wire: Wire | None = None
        self.counts = Counter[str]()
        self._life, self._keys, self._tell = life, keys, tell
        self._number = self._generation = 0
        self._fresh = wire.Fresh()
        self._addresses: dict[str, list[str]] = {}
        self._asking = "", ""  # the sender of the datagram that is being answered, and its address
        self._trouble = self._no_wire = ""
        moment = now()
        self._again = self._told = moment
        permission = Permission(permits, asked.device)
        self.beat = Beat(start(asked.node, life, moment), permission, self._send, self._news)

    # -- what happens

    def came(self) -> None:
        """An agent asks for this segment."""
        self.listened, self._trouble = True, ""
        self.beat.happen(now(), AgentCame(self.beat.permission.until()))

    def obey(self, orders: Orders) -> None:
        self._generation = max(self._generation, orders.next_tenure)
        # IPv4 first: where both work it is the one that a firewall is least likely to have been forgotten for.
        self._addresses = {peer.node: sorted(peer.addresses, key=lambda text: ":" in text) for peer in orders.peers}
        self.beat.happen(now(), orders)

    def tick(self, moment: float) -> None:
        state = self.beat.state
        if moment < state.welcome:
            return
        if self.wire is not None and moment - state.wake > LATE * state.orders.profile.hello:
            for _ in range(WAITED):  # what waited so long is no news
                self.counts["stalled"] += sum(1 for _ in self.wire.receive(self.filenos()))
        self.beat.happen(moment, Tick())

    def look_after(self, moment: float) -> None:
        """Have a wire, and say how it goes: what is wrong once, figures now and then."""
        self.open(moment)
        if self.listened and moment - self._told >= TOLD:
            self._told = moment
            self._tell(Tally(self.asked.segment, tuple(sorted(self.counts.items()))))
        text = self.beat.permission.trouble or self._no_wire
        if self.listened and text != self._trouble:
            self._trouble = text
            self._tell(Trouble(self.asked.segment, text), (Trouble, self.asked.segment))

    def receive(self, ready: Container[int]) -> None:
        for datagram, address in self.wire.receive(ready) if self.wire is not None else ():
            moment = now()
            opened = wire.unpack(datagram, self.asked.segment, self._keys)
            if isinstance(opened, wire.Drop):
                self.counts[opened] += 1
                continue
            stamp, message = opened
            if message.sender == self.asked.node or not self._fresh.accepts(message.sender, stamp, moment):
                self.counts[wire.Drop.REPLAYED] += 1
                continue
            self.counts["heard"] += 1
            self._asking = message.sender, address
            self.beat.happen(moment, message)
            self._asking = "", ""

    # -- the device

    def open(self, moment: float) -> None:
        """Have a wire to the device."""
        if (self.wire is not None and not self.wire.lost) or moment < self._again:
            return
        self._again = moment + AGAIN
        self.close()
        try:
            self.wire = Wire(self.asked.device, self.asked.port)
        except OSError as error:
            self._no_wire = f"no hellos on {self.asked.device}, UDP port {self.asked.port}: {error.strerror}"
        else:
            self._no_wire = ""

    def filenos(self) -> list[int]:
        return self.wire.filenos() if self.wire is not None else []

    def close(self) -> None:
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    # -- what the plan wants

    def _send(self, wanted: Send) -> None:
        if self.wire is None or not self._keys:
            return
        self._number += 1
        stamp = wire.Stamp(self._generation, self._life, self._number)
        datagram = wire.pack(wanted.message, stamp, self.asked.segment, self._keys[0])
        for node in wanted.nodes:
            # One whose seat is over stands in no orders any more, and must hear it all the same.
            addresses = self._addresses.get(node) or ([self._asking[1]] if node == self._asking[0] else [])
            self.counts["sent" if self.wire.send(addresses, datagram) else "unsent"] += 1

    def _news(self, news: News) -> None:
        name = self.asked.segment
        if self.listened:
            self._tell(Heard(name, news), (type(news), name) if isinstance(news, KEPT_NEWS) else None)
