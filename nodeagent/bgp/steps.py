"""What has to be done to a daemon so that it does what is wanted: the difference of two values. No I/O."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from nodeagent.bgp.rules import Rule, rules_of
from nodeagent.bgp.tags import groups, tagged
from nodeagent.bgp.values import NextHops, Prefix, Session, Speaker, Want

FEW = 3  # paths that a line of the log names
MARK = "roost"  # what the description of our sessions begins with


@dataclass(frozen=True, slots=True)
class Refused:
    """A session, or a part of it, that this daemon cannot have; *whole*: nothing of it is done."""

    key: str
    reason: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Peer:
    """A session as it stands in the daemon. *digest* is ours, written into its description; "": somebody else's."""

    key: str
    address: str  # of the router, with its zone if it has one
    digest: str = ""
    asn: int = 0
    password: str = field(default="", repr=False)
    enabled: bool = True
    established: bool = False


@dataclass(frozen=True, slots=True)
class Have:
    """What a daemon does now. *speaker* None: it was not told to speak yet, and has nothing else."""

    speaker: Speaker | None = None
    rules: frozenset[Rule] | None = frozenset()  # None: the policies are not such as we make them
    peers: Mapping[str, Peer] = field(default_factory=dict)
    paths: Mapping[Prefix, str] = field(default_factory=dict)  # the tag of each


@dataclass(frozen=True, slots=True)
class Start:
    speaker: Speaker


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon has another AS or router id: it ends every session, forgets everything, and begins anew."""


@dataclass(frozen=True, slots=True)
class SetRules:
    rules: frozenset[Rule]


@dataclass(frozen=True, slots=True)
class Announce:
    """Also replaces a path that is there with another tag."""

    paths: tuple[tuple[Prefix, str], ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    paths: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class AddPeer:
    """*restarting*: the daemon forgot what it had said, and asks the router to keep it for now (RFC 4724)."""

    session: Session
    address: str
    restarting: bool = False


@dataclass(frozen=True, slots=True)
class DeletePeer:
    address: str


@dataclass(frozen=True, slots=True)
class EnablePeer:
    address: str


Step = Start | Restart | SetRules | Announce | Withdraw | AddPeer | DeletePeer | EnablePeer


def steps(want: Want, have: Have, addresses: Mapping[str, str], *, complete: bool) -> Iterator[Step]:
    """How to come from *have* to *want*, in order. Unless it is *complete*, nothing is taken away.

    *addresses* of the routers, by session key; a session whose router has none yet waits. Rules before paths, paths
    before sessions: a router that listens gets all of them at once, and no path is ever seen without its rule.
    """
    if want.speaker is None:
        if complete and have.speaker is not None:
            yield from _silence(have)
        return
    fresh = want.speaker != have.speaker
    if fresh:
        if have.speaker is not None:
            if not complete:
                return
            yield Restart()
        yield Start(want.speaker)
        have = Have(speaker=want.speaker, rules=None)
    yield from _speaking(want, have, addresses, complete=complete, fresh=fresh)


def _silence(have: Have) -> Iterator[Step]:
    """The daemon goes on, and says nothing to anybody."""
    yield from (DeletePeer(peer.address) for peer in have.peers.values())
    if have.paths:
        yield Withdraw(tuple(have.paths))
    if have.rules:
        yield SetRules(frozenset())


def _speaking(want: Want, have: Have, addresses: Mapping[str, str], *, complete: bool, fresh: bool) -> Iterator[Step]:
    sessions = {key: session for key, session in want.sessions.items() if key in addresses}
    bare = {key: _bare(addresses[key]) for key in sessions}
    peers = {_bare(peer.address) for peer in have.peers.values()}
    found = tagged(groups(want.paths, sessions), sessions, bare, have.paths, have.rules or (), peers)
    paths = {prefix: tag for tag, group in found.items() for prefix in group.prefixes}
    rules = frozenset(rules_of(sessions, {tag: group.treatment for tag, group in found.items()}, bare))
    if not complete:
        yield from _more(have, rules, paths)
    else:
        yield from (DeletePeer(peer.address) for key, peer in have.peers.items() if key not in want.sessions)
        yield from _paths(have, rules, paths, keep=want.paths)
    for key, session in sessions.items():
        peer = have.peers.get(key)
        if peer is None:
            yield AddPeer(session, addresses[key], restarting=fresh and session.graceful_restart > 0)
        elif complete:
            yield from _changed(session, addresses[key], peer)


def _more(have: Have, rules: frozenset[Rule], paths: Mapping[Prefix, str]) -> Iterator[Step]:
    """What is missing; all that is there stays as it is, since whoever wants otherwise has not seen everything yet."""
    old = have.rules or frozenset()
    both = old | {rule for rule in rules if rule.name not in {rule.name for rule in old}}
    if have.rules != both:
        yield SetRules(both)
    if new := tuple((prefix, tag) for prefix, tag in paths.items() if prefix not in have.paths):
        yield Announce(new)


def _paths(
    have: Have, rules: frozenset[Rule], paths: Mapping[Prefix, str], *, keep: Collection[Prefix]
) -> Iterator[Step]:
    """Rules of tags that paths in the daemon carry still go after the last of these paths: nothing is without."""
    used = set(have.paths.values()) - {rule.tag for rule in rules}
    both = rules | {rule for rule in have.rules or () if rule.tag in used}
    if have.rules != both:
        yield SetRules(both)
    if new := tuple((prefix, tag) for prefix, tag in paths.items() if have.paths.get(prefix) != tag):
        yield Announce(new)
    if gone := tuple(prefix for prefix in have.paths if prefix not in keep):
        yield Withdraw(gone)
    if both != rules:
        yield SetRules(rules)


def _bare(address: str) -> str:
    """Without its zone."""
    return address.partition("%")[0]


def _changed(session: Session, address: str, peer: Peer) -> Iterator[Step]:
    if not same(session, address, peer):
        yield DeletePeer(peer.address)
        yield AddPeer(session, address)
    elif not peer.enabled:
        yield EnablePeer(peer.address)


def same(session: Session, address: str, peer: Peer) -> bool:
    """Whether *peer* is what *session* asks for, as far as one can see."""
    return (peer.digest, peer.password, peer.asn, peer.address) == (
        digest(session, address),
        session.password,
        session.asn or 0,
        address,
    )


def digest(session: Session, address: str) -> str:
    """All of a session that cannot be changed without ending it; never anything of its password, nor its name."""
    plain = replace(session, name="", password="", families=frozenset(), next_hops=NextHops())  # rules say next hops
    return sha256(f"{plain!r} {sorted(session.families)} {address}".encode()).hexdigest()[:16]


def describe(session: Session, address: str) -> str:
    """The description that the daemon keeps for us: by it a restarted agent knows its sessions again."""
    return f"{MARK} {digest(session, address)} {session.key}"


def described(description: str) -> tuple[str, str] | None:
    """Digest and key of a description of ours."""
    match description.split():
        case [mark, found, key] if mark == MARK:
            return found, key
        case _:
            return None


def told(step: Step) -> str:
    """A step in words for the log."""
    match step:
        case Announce(paths):
            text = f"announce {_some([prefix for prefix, _ in paths[:FEW]], len(paths))}"
        case Withdraw(prefixes):
            text = f"withdraw {_some(prefixes[:FEW], len(prefixes))}"
        case AddPeer(session, address):
            text = f"begin the session {session.name} with {address}"
        case DeletePeer(address):
            text = f"end the session with {address}"
        case EnablePeer(address):
            text = f"enable the session with {address}"
        case Start(speaker):
            text = f"speak as AS {speaker.asn}, {speaker.router_id}"
        case SetRules(rules):
            text = f"{len(rules)} export rules"
        case Restart():
            text = "begin anew"
    return text


def _some(first: Sequence[Prefix], count: int) -> str:
    more = count - len(first)
    return ", ".join(map(str, first)) + (f" and {more} more" if more else "")
