"""Keeps the status of BGPPeers and BGPAdvertisements, and tells of sessions that come and go.

As with all mirrors, changes are gathered for a second, and nothing is written that is there already.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from cloudprovider.bgp import apply, plan
from cloudprovider.keys import Alarms
from cloudprovider.model import EventType
from cloudprovider.picture import Picture
from cloudprovider.quiet import Quiet
from roost import metrics
from roost.kube.client import Kube, Ok
from roost.kube.wire import ObjectReference
from roost.kube.wire_bgp import BGPAdvertisement, BGPPeer
from roost.process import Clock

GATHER = 1.0  # seconds between a change and its mirror, so that many changes make one write
LONGEST = 30.0  # seconds that a mirror waits for Services that wait for addresses
TRY_AGAIN = 5.0  # seconds after a write that failed
STATES = ("desired", "established")


@dataclass(slots=True)
class Routers:
    """Works only while this program leads; what touches may be called at any time."""

    kube: Kube
    picture: Picture
    say: Callable[[ObjectReference, EventType, str, str, str], None]
    clock: Clock
    wall: Callable[[], datetime]
    quiet: Quiet
    active: bool = False
    _peers: Alarms[str] = field(init=False)
    _advertisements: Alarms[str] = field(init=False)
    _seen: dict[str, dict[str, bool]] = field(default_factory=dict)  # peer → node → whether established, as last told

    def __post_init__(self) -> None:
        self._peers, self._advertisements = Alarms(self.clock), Alarms(self.clock)

    def start(self) -> None:
        """This program leads from now on: everything is looked at once, and nothing is news."""
        self.active = True
        self._seen.clear()
        self.touch_peers()
        self.touch_advertisements()

    def touch_peer(self, name: str) -> None:
        if self.active:
            self._peers.set(name, GATHER)

    def touch_peers(self) -> None:
        """A node with sessions changed."""
        for name in self.picture.peers:
            self.touch_peer(name)

    def touch_advertisement(self, name: str) -> None:
        if self.active:
            self._advertisements.set(name, GATHER)

    def touch_advertisements(self) -> None:
        """What advertisements speak of changed: VIPs, pools, peers or nodes."""
        for name in self.picture.advertisements:
            self.touch_advertisement(name)

    # -- peers

    async def mirror_peers(self) -> NoReturn:
        while True:
            name = await self._peers.next()
            await self.quiet.wait(LONGEST)
            peer = self.picture.peers.get(name)
            if peer is None:
                self._forget(name)
            else:
                await self._mirror_peer(peer)

    async def _mirror_peer(self, peer: BGPPeer) -> None:
        name = peer.metadata.name
        found = plan.links(peer, self.picture.announcers.values())
        for state, count in zip(STATES, (len(found), sum(link.established for link in found)), strict=True):
            metrics.BGP_SESSIONS.labels(name, state).set(count)
        for said in plan.session_events(self._seen.get(name, {}), found):
            self.say(_reference(peer), said.type, said.reason, said.note, "Report")
        self._seen[name] = {link.node: link.established for link in found}
        want = plan.peer_status(peer, found, self.wall())
        if want == peer.status:
            return
        outcome = await apply.write_peer(self.kube, peer, want)
        if isinstance(outcome, Ok):
            self.picture.peer(name, outcome.value)
        else:
            self._peers.set(name, TRY_AGAIN)

    def _forget(self, name: str) -> None:
        self._seen.pop(name, None)
        for state in STATES:
            try:
                metrics.BGP_SESSIONS.remove(name, state)
            except KeyError:
                continue

    # -- advertisements

    async def mirror_advertisements(self) -> NoReturn:
        while True:
            name = await self._advertisements.next()
            await self.quiet.wait(LONGEST)
            advertisement = self.picture.advertisements.get(name)
            if advertisement is not None:
                await asyncio.sleep(0)  # as in the mirror: others are to have their turn
                await self._mirror_advertisement(advertisement)

    async def _mirror_advertisement(self, advertisement: BGPAdvertisement) -> None:
        picture = self.picture
        around = plan.Around(
            tuple(picture.book.vips.values()),
            frozenset(picture.pools),
            frozenset(picture.peers),
            tuple(picture.announcers.values()),
        )
        want = plan.advertisement_status(advertisement, around, self.wall())
        if want == advertisement.status:
            return
        outcome = await apply.write_advertisement(self.kube, advertisement, want)
        if isinstance(outcome, Ok):
            picture.advertisement(advertisement.metadata.name, outcome.value)
        else:
            self._advertisements.set(advertisement.metadata.name, TRY_AGAIN)


def _reference(peer: BGPPeer) -> ObjectReference:
    meta = peer.metadata
    return ObjectReference(kind="BGPPeer", name=meta.name, uid=meta.uid, api_version="roost.dev/v1alpha1")
