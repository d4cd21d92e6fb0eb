"""Which prefixes go to which sessions, and with what attributes. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from nodeagent.bgp.rules import UnknownCommunity, parse
from nodeagent.bgp.situation import ADVERTISEMENT, Asked, Offer, Problem, Situation
from nodeagent.bgp.values import Attributes, Prefix, Session, Treatment
from roost.kube.wire_bgp import BGPAdvertisement, BGPAdvertisementSpec
from roost.selectors import selects
from roost.words import Address, Reason

HOLDER_ONLY = "HolderOnly"
GRACEFUL_SHUTDOWN = "graceful-shutdown"  # RFC 8326
BITS = {4: 32, 6: 128}
DEFAULT = ""  # stands for the advertisement that nobody wrote: the VIP itself, to everybody, with no attributes

Said = frozenset[tuple[str, str]]
"""Which sessions, by key, are told of a prefix by which BGPAdvertisements, by name."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """All of an offer that matters for who is told of it: there are few kinds, however many VIPs."""

    version: int
    pool: str
    advertisements: frozenset[str]
    for_all: bool  # any eligible node announces it
    held: bool

    @classmethod
    def of(cls, offer: Offer) -> "_Kind":
        return cls(offer.address.version, offer.pool, offer.advertisements, not offer.holder_only, offer.held)


class Advertising:
    """What is announced in the sessions of *asked*; *problems* are complete once the paths were asked for."""

    def __init__(self, situation: Situation, asked: Sequence[Asked]) -> None:
        self._situation, self._asked = situation, {one.session.key: one for one in asked}
        self._advertisements = dict(sorted(situation.advertisements.items()))
        self._communities: dict[str, frozenset[str]] = {}
        self.problems: set[Problem] = set()

    def paths(self) -> dict[Prefix, Treatment]:
        """Each prefix with a treatment that tells somebody of it. An aggregate stands while one VIP in it does."""
        kinds: dict[_Kind, Mapping[int, Said]] = {}
        told: dict[Prefix, tuple[Said, bool]] = {}
        for offer in self._situation.offers:
            kind = _Kind.of(offer)
            if kind not in kinds:
                kinds[kind] = self._said(kind)
            for length, said in kinds[kind].items():
                prefix = around(offer.address, length)
                known, alone = told.get(prefix, (said, False))
                told[prefix] = (known if known is said else known | said, alone or offer.alone)
        treatments = {key: self._treatment(*key) for key in set(told.values())}
        return {prefix: treatments[key] for prefix, key in told.items() if treatments[key]}

    def due(self) -> float | None:
        """When the next session of a node that drains is told of nothing any more."""
        since, now = self._situation.draining_since, self._situation.now
        ends = [] if since is None else [since + one.drain for one in self._asked.values()]
        return min((end for end in ends if end > now), default=None)

    # -- who is told

    def _said(self, kind: _Kind) -> dict[int, Said]:
        """By length of prefix."""
        here = self._situation.here.labels
        of_pool = [a for a in self._advertisements.values() if not a.spec.pool_names or kind.pool in a.spec.pool_names]
        sessions = [one.session for one in self._asked.values() if kind.version in one.session.families]
        found: dict[int, set[tuple[str, str]]] = {}
        if not of_pool and (kind.for_all or kind.held):
            found[BITS[kind.version]] = {(session.key, DEFAULT) for session in sessions}
        for advertisement in of_pool:
            if selects(advertisement.spec.node_selector, here) and _about(advertisement, kind):
                told = {(s.key, advertisement.metadata.name) for s in sessions if _to(advertisement.spec, s)}
                found.setdefault(_length(advertisement.spec, kind.version), set()).update(told)
        return {length: frozenset(told) for length, told in found.items()}

    # -- what they are told

    def _treatment(self, said: Said, alone: bool) -> dict[str, Attributes]:
        by_session: dict[str, list[str]] = {}
        for key, name in sorted(said):
            by_session.setdefault(key, []).append(name)
        drained = {
            key: self._drained(self._asked[key], self._merged(names), alone) for key, names in by_session.items()
        }
        return {key: attributes for key, attributes in drained.items() if attributes is not None}

    def _merged(self, names: Iterable[str]) -> Attributes:
        """The attributes of several BGPAdvertisements, sorted by name: where two disagree the first has it."""
        communities: frozenset[str] = frozenset()
        values: dict[str, tuple[int, str]] = {}
        for name in names:
            if name == DEFAULT:
                continue
            spec = self._advertisements[name].spec
            communities |= self._communities_of(name, spec)
            given = (("localPreference", spec.local_preference), ("med", spec.med), ("prependASPath", _prepend(spec)))
            for word, value in given:
                if value is None:
                    continue
                known, first = values.setdefault(word, (value, name))
                if value != known:
                    message = f"{word} {value} gives way to {known}, which {first} has said first"
                    self.problems.add(Problem(ADVERTISEMENT, name, Reason.ATTRIBUTES_CONFLICT, message))
        said = {word: value for word, (value, _) in values.items()}
        return Attributes(communities, said.get("localPreference"), said.get("med"), said.get("prependASPath", 0))

    def _communities_of(self, name: str, spec: BGPAdvertisementSpec) -> frozenset[str]:
        if name not in self._communities:
            known = set()
            for community in spec.communities:
                try:
                    parse([community])
                    known.add(community)
                except UnknownCommunity as error:
                    self.problems.add(Problem(ADVERTISEMENT, name, Reason.INVALID_REQUEST, str(error)))
            self._communities[name] = frozenset(known)
        return self._communities[name]

    def _drained(self, asked: Asked, attributes: Attributes, alone: bool) -> Attributes | None:
        """While the node drains routers are asked to prefer others, then told nothing; None: that is now.

        Inside an AS the lowest local preference says it by itself (RFC 8326).
        """
        since = self._situation.draining_since
        if since is None or alone:
            return attributes
        if self._situation.now >= since + asked.drain:
            return None
        inside = asked.session.asn == asked.session.local_asn
        return replace(
            attributes,
            communities=attributes.communities | {GRACEFUL_SHUTDOWN},
            local_preference=0 if inside else attributes.local_preference,
        )


def _about(advertisement: BGPAdvertisement, kind: _Kind) -> bool:
    """Whether it is about such VIPs, on this node."""
    spec = advertisement.spec
    if spec.service_selector is not None and advertisement.metadata.name not in kind.advertisements:
        return False
    return kind.held or (kind.for_all and spec.announcers != HOLDER_ONLY)


def _to(spec: BGPAdvertisementSpec, session: Session) -> bool:
    return not spec.peer_names or session.name in spec.peer_names


def _prepend(spec: BGPAdvertisementSpec) -> int | None:
    return spec.prepend_as_path or None


def _length(spec: BGPAdvertisementSpec, version: int) -> int:
    return min({4: spec.aggregation.ipv4, 6: spec.aggregation.ipv6}[version], BITS[version])


@lru_cache(maxsize=1 << 15)
def around(address: Address, length: int) -> Prefix:
    """The prefix of that length that *address* is in."""
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), length), strict=False)
    return IPv6Network((int(address), length), strict=False)
