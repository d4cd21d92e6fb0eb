"""From BGPPeers, BGPAdvertisements, settings and VIPs to what the daemon should do on this node. No I/O."""

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from ipaddress import IPv4Address

from nodeagent.bgp import configured, peers
from nodeagent.bgp.advertising import Advertising
from nodeagent.bgp.nexthops import address_on
from nodeagent.bgp.peers import passwords
from nodeagent.bgp.settings import Settings
from nodeagent.bgp.situation import PEER, SETTING, Asked, Here, Offer, Plan, Problem, Situation
from nodeagent.bgp.values import Speaker, Want
from roost.kube.wire_bgp import BGPPeer
from roost.selectors import selects
from roost.words import Address, Reason

__all__ = ["Here", "Offer", "Plan", "Problem", "Settings", "Situation", "passwords", "secrets", "wanted"]


def secrets(bgp_peers: Mapping[str, BGPPeer], labels: Mapping[str, str]) -> frozenset[str]:
    """Names of the Secrets that a node with these labels needs."""
    return frozenset(
        peer.spec.password_secret.name
        for peer in bgp_peers.values()
        if peer.spec.password_secret is not None and selects(peer.spec.node_selector, labels)
    )


def wanted(situation: Situation) -> Plan:
    """All that the daemon should do now, and what cannot be done as it was asked for."""
    mine = [
        peer for _, peer in sorted(situation.peers.items()) if selects(peer.spec.node_selector, situation.here.labels)
    ]
    if not situation.settings.bgp_enable:
        off = "this node speaks no BGP: its setting bgp-enable is off"
        return Plan(problems=tuple(Problem(PEER, p.metadata.name, Reason.DISABLED, off, refused=True) for p in mine))
    vips = {offer.address for offer in situation.offers}
    answers = [_ask(peer, situation, vips) for peer in mine]
    others, told, annotated = configured.ask(situation, vips)
    asked = [one for one, _ in answers if one is not None] + others
    router_id, clashes = _router_ids(asked)
    problems = [problem for _, found in answers for problem in found] + told + clashes + _unmet(situation, vips)
    refused = {(problem.kind, problem.name) for problem in problems if problem.refused}
    made = [one for one in asked if (one.kind, one.session.name) not in refused]
    if not made:
        return Plan(problems=_sorted(problems))
    # Every session has an AS number of its own. The daemon's is one that no other session can change: it would restart.
    speaker = Speaker(situation.settings.bgp_asn, router_id or annotated or _router_id(situation, vips))
    advertising = Advertising(situation, made)
    want = Want(speaker, {one.session.key: one.session for one in made}, advertising.paths())
    return Plan(
        want,
        _sorted([*problems, *advertising.problems]),
        advertising.due(),
        {one.session.name: one.session.key for one in made},
        max(one.drain for one in made),
    )


def _ask(peer: BGPPeer, situation: Situation, vips: Collection[Address]) -> tuple[Asked | None, tuple[Problem, ...]]:
    try:
        return peers.ask(peer, situation, vips)
    except Exception as bug:  # the boundary of its blast: one BGPPeer, and no other
        message = f"bug while planning it: {type(bug).__name__}; others go on"
        return None, (Problem(PEER, peer.metadata.name, Reason.INTERNAL_ERROR, message, refused=True, bug=bug),)


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda p: (p.kind, p.name, p.reason, p.message)))


def _router_ids(asked: Iterable[Asked]) -> tuple[IPv4Address | None, list[Problem]]:
    """The first that is asked for, and those who cannot be beside one before them: the same router, another router id.

    It does not matter whether the first could be made: a Secret that comes and goes is not to move the others about.
    """
    problems: list[Problem] = []
    by_router: dict[str, str] = {}
    router_id, whose = None, ""
    for one in asked:
        name, key = one.session.name, one.session.key
        if key in by_router:
            message = f"{key} is the router of {by_router[key]} already"
            problems.append(Problem(one.kind, name, Reason.DUPLICATE_PEER, message, refused=True))
            continue
        by_router[key] = name
        if router_id is None:
            router_id, whose = one.router_id, name
        elif one.router_id is not None and one.router_id != router_id:
            message = f"router id {one.router_id}: this node has {router_id} already, from {whose}"
            problems.append(Problem(one.kind, name, Reason.ROUTER_ID_CONFLICT, message, refused=True))
    return router_id, problems


def _unmet(situation: Situation, vips: Collection[Address]) -> list[Problem]:
    """What the settings say of the daemon itself, and this node has not."""
    interface = situation.settings.bgp_router_interface
    if not interface or address_on(situation.here, interface, 4, vips) is not None:
        return []
    message = f"{interface} has no IPv4 address to be the router id"
    return [Problem(SETTING, "bgp-router-interface", Reason.NO_SUCH_INTERFACE, message)]


def _router_id(situation: Situation, vips: Collection[Address]) -> IPv4Address:
    """That of the settings, else the node's first IPv4 address, else a number that only its name decides (RFC 6286)."""
    settings, here = situation.settings, situation.here
    if settings.bgp_router_id is not None:
        return settings.bgp_router_id
    there = address_on(here, settings.bgp_router_interface, 4, vips)
    own = (there, *here.addresses)
    found = next((address for address in own if isinstance(address, IPv4Address)), None)
    if found is not None:
        return found
    first, *rest = sha256(here.name.encode()).digest()[:4]
    return IPv4Address(bytes([1 + first % 126, *rest]))  # looks like a unicast address: 1.0.0.0 to 126.255.255.255
