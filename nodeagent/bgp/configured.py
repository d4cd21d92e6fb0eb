"""The sessions that the settings ask for, or in their place the annotations of the Node, as in kube-vip. No I/O."""

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address

from nodeagent.bgp.nexthops import Ends, Wish, choose
from nodeagent.bgp.notation import Peer, read_asn
from nodeagent.bgp.situation import ANNOTATION, SETTING, Asked, Problem, Situation
from nodeagent.bgp.values import NextHops, Session, Timers
from roost.words import Address, Reason

MULTIHOP_TTL = 50  # what kube-vip means by it
_PEER_IP = re.compile(r"(?:bgp-peers-(?P<number>[0-9]{1,9})-)?peer-ip")


@dataclass(frozen=True, slots=True)
class Annotated:
    """What the annotations of a Node say. *source* is the router id, too."""

    asn: int
    source: Address
    peers: tuple[Peer, ...]


def ask(situation: Situation, vips: Collection[Address]) -> tuple[list[Asked], list[Problem], IPv4Address | None]:
    """The sessions, what is wrong, and the router id that the annotations give. No next hop is one of *vips*."""
    settings, here = situation.settings, situation.here
    prefix = settings.bgp_annotations.strip().rstrip("/")
    if not prefix:
        single = () if settings.bgp_peer_address is None else (_single(situation),)
        source, asn = settings.bgp_source_address, settings.bgp_asn
        asked = [_asked(SETTING, peer, (asn, source), situation, vips) for peer in (*settings.bgp_peers, *single)]
        return [one for one, _ in asked], [problem for _, found in asked for problem in found], None
    annotated = read(here.annotations, prefix)
    if isinstance(annotated, Problem):
        return [], [annotated], None
    ours = (annotated.asn, annotated.source)
    asked = [_asked(ANNOTATION, peer, ours, situation, vips) for peer in annotated.peers]
    router_id = annotated.source if isinstance(annotated.source, IPv4Address) else None
    return [one for one, _ in asked], [problem for _, found in asked for problem in found], router_id


def _single(situation: Situation) -> Peer:
    settings = situation.settings
    return Peer(
        remote=settings.bgp_peer_address,
        asn=settings.bgp_peer_asn,
        password=settings.bgp_peer_password,
        multihop=settings.bgp_multihop,
    )


def _asked(
    kind: str, peer: Peer, ours: tuple[int, Address | None], situation: Situation, vips: Collection[Address]
) -> tuple[Asked, tuple[Problem, ...]]:
    """*ours*: AS number and source address."""
    settings, (asn, source) = situation.settings, ours
    wish = Wish(
        peer.next_hop or settings.bgp_next_hop,
        peer.ipv4 or settings.bgp_next_hop_ipv4,
        peer.ipv6 or settings.bgp_next_hop_ipv6,
    )
    ends = Ends(peer.remote, source, settings.bgp_source_interface)
    choice = choose(wish, ends, situation.here, vips)
    key = str(peer.remote) if peer.remote is not None else peer.interface
    session = Session(
        name=f"{kind.lower()}/{key}",
        remote=peer.remote,
        asn=peer.asn,
        local_asn=asn,
        interface=peer.interface,
        port=peer.port,
        source_address=source if peer.remote is not None and source and source.version == peer.remote.version else None,
        source_interface=settings.bgp_source_interface,
        password=peer.password,
        multihop_ttl=MULTIHOP_TTL * peer.multihop,
        timers=Timers(settings.bgp_hold, settings.bgp_keepalive),
        families=choice.families,
        next_hops=_other(choice.next_hops, peer.remote),
        bfd=peer.bfd,
        graceful_restart=settings.bgp_graceful_restart,
    )
    problem = Problem(kind, session.name, Reason.NEXT_HOP_MISSING, choice.problem)
    return Asked(kind, session, settings.bgp_drain), (problem,) if choice.problem else ()


def _other(hops: NextHops, remote: Address | None) -> NextHops:
    """Those of the family that is not the session's own: the settings are about no others."""
    match None if remote is None else remote.version:
        case 4:
            return replace(hops, ipv4=None)
        case 6:
            return replace(hops, ipv6=None)
    return hops


# -- annotations: <prefix>/peer-ip, or <prefix>/bgp-peers-<n>-peer-ip, and so on


def read(annotations: Mapping[str, str], prefix: str) -> Annotated | Problem:
    """Who the peers are. What a peer has none of its own of, it has as the first one. A password is never shown."""
    said = {key.removeprefix(f"{prefix}/"): value.strip() for key, value in annotations.items()
            if key.startswith(f"{prefix}/") and value.strip()}  # fmt: skip

    def of(number: str, word: str) -> str:
        return said.get(f"bgp-peers-{number}-{word}") or said.get(f"bgp-peers-0-{word}") or said.get(word, "")

    numbers = sorted({match["number"] or "" for key in said if (match := _PEER_IP.fullmatch(key))}, key=_first)
    missing = [word for word in ("node-asn", "src-ip", "peer-asn") if not of("0", word)]
    missing += [] if numbers else ["peer-ip"]
    if missing:
        message = "the Node has no annotation " + ", ".join(f"{prefix}/{word}" for word in missing)
        return Problem(ANNOTATION, prefix, Reason.ANNOTATIONS_MISSING, message, refused=True)
    try:
        peers = [
            peer
            for number in numbers
            for peer in _peers(
                said[f"bgp-peers-{number}-peer-ip" if number else "peer-ip"],
                {word: of(number or "0", word) for word in ("peer-asn", "bgp-pass", "peer-multi-hop")},
            )
        ]
        asn = read_asn(of("0", "node-asn"), "node-asn")
        assert asn is not None
        return Annotated(asn, ip_address(of("0", "src-ip")), tuple({peer.remote: peer for peer in peers}.values()))
    except ValueError as error:
        return Problem(ANNOTATION, prefix, Reason.INVALID_REQUEST, f"{prefix}/…: {error}", refused=True)


def _first(number: str) -> int:
    return int(number or -1)


def _peers(addresses: str, words: Mapping[str, str]) -> list[Peer]:
    """Raises ValueError."""
    multihop = words["peer-multi-hop"]
    if multihop not in {"", "true", "false"}:
        raise ValueError(f"peer-multi-hop {multihop!r} is neither true nor false")
    try:
        password = base64.b64decode(words["bgp-pass"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("bgp-pass is not text in base64") from error
    asn = read_asn(words["peer-asn"], "peer-asn")
    return [
        Peer(ip_address(address.strip()), asn=asn, password=password, multihop=multihop == "true")
        for address in addresses.split(",")
        if address.strip()
    ]
