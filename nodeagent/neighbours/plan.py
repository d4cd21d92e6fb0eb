"""When which VIP is announced, in which form, at a pace that switches bear. No I/O."""

from bisect import bisect_right, insort_right
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from roost.frames import arp, ndp
from roost.frames.ethernet import Mac

Address = IPv4Address | IPv6Address

ROUNDS = (0.0, 0.05, 0.15, 0.4, 1.0, 3.0)  # seconds after the start; then every Settings.repeat
DEFENCE = 1.0  # seconds between two announcements of a VIP because somebody else claims it (RFC 5227 §2.4 has 10)
TICK = 0.01  # seconds between two portions, while more waits than may be sent at once
BURST = 0.02  # seconds' worth of frames that may be made up for after a late wake-up


@dataclass(frozen=True, slots=True)
class Settings:
    """How often a VIP is announced for good (seconds), and the most frames a second on one device."""

    announce_seconds: float = 30.0
    """Seconds between two announcements of a VIP that nothing happens to (gratuitous ARP, unsolicited NA)."""

    announce_first_rate: int = 2_000
    """Most frames a second on the interface for the first announcement of each VIP."""

    announce_rate: int = 500
    """Most frames a second on the interface for all later announcements together."""

    def __post_init__(self) -> None:
        if self.announce_seconds < 1 or self.announce_first_rate < 1 or self.announce_rate < 1:
            raise ValueError("announce-seconds, announce-first-rate and announce-rate must be 1 or more")


class Form(StrEnum):
    """Stations differ in what they learn from, so IPv4 has two forms; IPv6 needs the first alone."""

    FIRST = "first"  # the ARP request form (RFC 5227 §2.3), or an unsolicited advertisement (RFC 4861 §7.2.6)
    REPLY = "reply"  # the ARP reply form


@dataclass(frozen=True, slots=True)
class Turn:
    """A frame that is to be sent for *vip*, at *due* or later; announcing it began at *started* (seconds)."""

    vip: Address
    started: float
    due: float
    form: Form


@dataclass(frozen=True, slots=True)
class Lane:
    """What may be sent at most: the next frame at *free*, and each takes 1/*rate* seconds."""

    rate: int
    free: float = float("-inf")

    def room(self, now: float) -> int:
        """How many frames may leave now."""
        return max(0, int((now - max(self.free, now - BURST)) * self.rate + 1e-6))

    def after(self, frames: int, now: float) -> "Lane":
        return replace(self, free=max(self.free, now - BURST) + frames / self.rate)


@dataclass(frozen=True, slots=True)
class State:
    """Every announced VIP has one turn: the new in their order, the due newest VIP first, those to come by time."""

    settings: Settings
    fast: Lane
    slow: Lane
    new: tuple[Turn, ...] = ()
    ready: tuple[Turn, ...] = ()
    later: tuple[Turn, ...] = ()

    @classmethod
    def silent(cls, settings: Settings) -> "State":
        """Nothing is announced."""
        return cls(settings, Lane(settings.announce_first_rate), Lane(settings.announce_rate))

    @property
    def announced(self) -> frozenset[Address]:
        return frozenset(turn.vip for turn in (*self.new, *self.ready, *self.later))


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sent now, when to ask again (None: when something changes), and the state after that."""

    turns: tuple[Turn, ...]
    wake: float | None
    state: State


def start(state: State, vips: Iterable[Address], now: float) -> State:
    """Announce *vips* from now on; for those that are announced already it begins anew."""
    fresh = dict.fromkeys(vips)
    rest = stop(state, fresh.keys())
    return replace(rest, new=(*rest.new, *(Turn(vip, now, now, Form.FIRST) for vip in fresh)))


def defend(state: State, vips: Set[Address], now: float) -> State:
    """Announce those of *vips* that wait for their next round once more, as soon as the slow lane has room.

    One frame of each form; their rounds stay as they are.
    """
    waiting = [replace(turn, due=now) for turn in state.later if turn.vip in vips]
    ready = list(state.ready)
    for turn in waiting:
        insort_right(ready, turn, key=_newest)
    later = tuple(turn for turn in state.later if turn.vip not in vips)
    return replace(state, ready=tuple(ready), later=later)


def stop(state: State, vips: Set[Address]) -> State:
    """Announce *vips* no more."""
    return replace(
        state,
        new=tuple(turn for turn in state.new if turn.vip not in vips),
        ready=tuple(turn for turn in state.ready if turn.vip not in vips),
        later=tuple(turn for turn in state.later if turn.vip not in vips),
    )


def due(state: State, now: float) -> Due:
    """What to send at *now* (seconds), and what comes after it.

    A round for which there was no time is left out: a VIP is late, but never twice in the queue.
    """
    ripe = bisect_right(state.later, now, key=_due)
    ready, later = list(state.ready), list(state.later[ripe:])
    for turn in state.later[:ripe]:
        insort_right(ready, turn, key=_newest)
    fast, slow = state.fast.room(now), state.slow.room(now)
    sent = (*state.new[:fast], *ready[:slow])
    ready = ready[slow:]
    for turn in sent:
        following = _following(turn, now, state.settings)
        if following.due <= now:
            insort_right(ready, following, key=_newest)
        else:
            insort_right(later, following, key=_due)
    after = replace(
        state,
        fast=state.fast.after(min(fast, len(state.new)), now),
        slow=state.slow.after(len(sent) - min(fast, len(state.new)), now),
        new=state.new[fast:],
        ready=tuple(ready),
        later=tuple(later),
    )
    return Due(sent, _wake(after, now), after)


def frame(turn: Turn, mac: Mac) -> bytes:
    """The frame in which *turn* tells the segment that its VIP is at *mac*."""
    match turn.vip, turn.form:
        case IPv6Address() as vip, _:
            return ndp.announcement(vip, mac)
        case IPv4Address() as vip, Form.REPLY:
            return arp.announcement_as_reply(vip, mac)
        case IPv4Address() as vip, _:
            return arp.announcement(vip, mac)
    raise AssertionError(turn)


def next_round(started: float, now: float, repeat: float) -> float:
    """The first round after *now* of a VIP whose announcing began at *started* (all in seconds)."""
    for offset in ROUNDS:
        if started + offset > now:
            return started + offset
    settled = started + ROUNDS[-1]
    return settled + (int((now - settled) / repeat) + 1) * repeat


def _following(turn: Turn, now: float, settings: Settings) -> Turn:
    if turn.form is Form.FIRST and isinstance(turn.vip, IPv4Address):
        return replace(turn, due=now, form=Form.REPLY)
    return replace(turn, due=next_round(turn.started, now, settings.announce_seconds), form=Form.FIRST)


def _wake(state: State, now: float) -> float | None:
    if state.new or state.ready:
        return now + TICK
    return state.later[0].due if state.later else None


def _due(turn: Turn) -> float:
    return turn.due


def _newest(turn: Turn) -> float:
    return -turn.started
