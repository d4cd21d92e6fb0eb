"""How one path gets other attributes towards each router: tags on paths, and rules that replace the tags. No I/O.

A path in the daemon's table carries nothing but a *tag*, a large community that names its treatment. What a router is
told is written in export rules, one for each tag and session. So a VIP more is one path more, and changed attributes
are a new tag: the rules of both stand while the paths are replaced one by one, and nothing is withdrawn in between.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from nodeagent.bgp.values import Attributes, Session, Treatment

RESERVED = 0  # as global administrator of a large community: no AS has the number (RFC 7607), so no router means ours

# RFC 1997, 3765, 7999, 8326, 9494, and draft-ietf-grow-yang-bgp-communities for the names
WELL_KNOWN = {
    "graceful-shutdown": "65535:0",
    "accept-own": "65535:1",
    "llgr-stale": "65535:6",
    "no-llgr": "65535:7",
    "blackhole": "65535:666",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-export-subconfed": "65535:65283",
    "local-as": "65535:65283",
    "no-peer": "65535:65284",
}
LARGEST = {2: 2**16 - 1, 3: 2**32 - 1}  # of a part of a community with that many parts


class UnknownCommunity(ValueError):
    """No community reads like this; the message quotes it."""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """A statement of the daemon's policy: whom it is for, and what happens to the path. None, "" and (): whatever.

    An export rule with a tag accepts, and takes the tag away; one without sets the next hop, and the search goes on.
    """

    tag: str = ""
    session: str = ""  # the router's address, without a zone
    family: int = 0  # 4 or 6
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    local_preference: int | None = None
    med: int | None = None
    prepend: tuple[int, int] | None = None  # our AS, and how often it stands in front once more
    next_hop: str = ""

    @property
    def name(self) -> str:
        return f"{self.tag or 'next-hop'}@{self.session}" + (f"/{self.family}" if self.family else "")


def rules_of(sessions: Mapping[str, Session], tags: Mapping[str, Treatment], addresses: Mapping[str, str]) -> set[Rule]:
    """The export rules for treatments by *tag* towards *sessions*, whose routers have *addresses* (both by key)."""
    rules = {
        rule for key, session in sessions.items() if key in addresses for rule in _next_hops(session, addresses[key])
    }
    for tag, treatment in tags.items():
        for key, attributes in treatment.items():
            if key in sessions and key in addresses:
                rules.add(_rule(tag, addresses[key], sessions[key], attributes))
    return rules


def _next_hops(session: Session, address: str) -> Iterable[Rule]:
    for family, hop in ((4, session.next_hops.ipv4), (6, session.next_hops.ipv6)):
        if hop is not None and family in session.families:
            yield Rule(session=address, family=family, next_hop=str(hop))


def _rule(tag: str, address: str, session: Session, attributes: Attributes) -> Rule:
    standard, large = parse(attributes.communities)
    # Inside an AS the path is empty: our own number in it would look like a loop.
    prepend = (
        (session.local_asn, attributes.prepend) if attributes.prepend and session.asn != session.local_asn else None
    )
    preference = attributes.local_preference
    return Rule(
        tag=tag,
        session=address,
        communities=standard,
        large_communities=large,
        local_preference=None if preference is None else max(1, preference),  # GoBGP takes 0 for "not set", that is 100
        med=attributes.med,
        prepend=prepend,
    )


def tag_of(treatment: Treatment, sessions: Mapping[str, Session]) -> str:
    """The name of a treatment: the same for all that would be said to *sessions* in the same words."""
    words = []
    for key in sorted(treatment):
        if key in sessions:
            said, session = treatment[key], sessions[key]
            standard, large = parse(said.communities)
            ours = session.local_asn if said.prepend else 0
            hops = session.next_hops
            parts = (key, standard, large, said.local_preference, said.med, said.prepend, ours, hops.ipv4, hops.ipv6)
            words.append(repr(parts))
    digest = sha256("\n".join(words).encode()).digest()
    return f"{RESERVED}:{int.from_bytes(digest[:4])}:{int.from_bytes(digest[4:8])}"


def parse(communities: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The standard and the large ones, each sorted and in digits. Raises UnknownCommunity."""
    found: dict[int, set[str]] = {2: set(), 3: set()}
    for text in communities:
        digits = WELL_KNOWN.get(text.lower(), text)
        parts = digits.split(":")
        largest = LARGEST.get(len(parts))
        if largest is None or not all(p.isascii() and p.isdigit() and int(p) <= largest for p in parts):
            raise UnknownCommunity(f"community {text!r} is neither a known name, AS:value, nor AS:value:value")
        found[len(parts)].add(":".join(str(int(part)) for part in parts))
    return tuple(sorted(found[2])), tuple(sorted(found[3]))
