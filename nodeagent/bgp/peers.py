"""The session that a BGPPeer asks for on this node. No I/O."""

import base64
import binascii
from collections.abc import Collection
from ipaddress import IPv4Address, ip_address

from nodeagent.bgp.nexthops import Ends, Wish, choose
from nodeagent.bgp.notation import NextHopMode
from nodeagent.bgp.situation import PEER, Asked, Problem, Situation
from nodeagent.bgp.values import Bfd, Session, Timers
from roost.kube.wire import Secret
from roost.kube.wire_bgp import BGPPeer, BGPPeerSpec
from roost.words import Address, Reason

FAMILIES = {"IPv4": 4, "IPv6": 6}
LONGEST_PASSWORD = 80  # bytes (TCP_MD5SIG_MAXKEYLEN in linux/tcp.h)


def passwords(secret: Secret) -> dict[tuple[str, str], str]:
    """What a Secret holds, by its name and key. What cannot be a password is left out; a last line end is not part."""
    found = {}
    for key, value in secret.data.items():
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if text.rstrip("\r\n"):
            found[secret.metadata.name, key] = text.rstrip("\r\n")
    return found


def ask(peer: BGPPeer, situation: Situation, vips: Collection[Address]) -> tuple[Asked | None, tuple[Problem, ...]]:
    """The session, and what is wrong. There is none where the BGPPeer cannot be understood."""
    name = peer.metadata.name
    problems: list[Problem] = []

    def wrong(reason: Reason, message: str, refused: bool = False) -> None:
        problems.append(Problem(PEER, name, reason, message, refused))

    try:
        ends, router_id = _ends(peer.spec), _router_id(peer.spec)
        asn = _remote_asn(peer.spec)
        wish = _wish(peer.spec)
    except ValueError as error:
        wrong(Reason.INVALID_REQUEST, str(error), refused=True)
        return None, tuple(problems)
    password = ""
    if (secret := peer.spec.password_secret) is not None:
        password = situation.passwords.get((secret.name, secret.key), "")
        if not password:
            told = f"no Secret {secret.name} with a password as {secret.key}"
            told += ", or none that agents may read (the chart's bgp.passwordSecrets names them)"
            wrong(Reason.SECRET_MISSING, told, refused=True)
        elif len(password.encode()) > LONGEST_PASSWORD:
            long = f"the password in Secret {secret.name} is longer than {LONGEST_PASSWORD} bytes"
            wrong(Reason.INVALID_REQUEST, long, refused=True)
    for interface in {peer.spec.local.interface, peer.spec.remote.interface} - {"", *situation.here.interfaces}:
        wrong(Reason.NO_SUCH_INTERFACE, f"there is no interface {interface} with an address here")
    choice = choose(wish, ends, situation.here, vips)
    if choice.problem:
        wrong(Reason.NEXT_HOP_MISSING, choice.problem, refused=not choice.families)
    timers, bfd = peer.spec.timers, peer.spec.bfd
    session = Session(
        name=name,
        remote=ends.remote,
        asn=asn,
        local_asn=peer.spec.local.asn,
        interface=peer.spec.remote.interface if ends.remote is None else "",
        port=peer.spec.remote.port,
        source_address=ends.source_address,
        source_interface=ends.source_interface,
        password=password,
        multihop_ttl=peer.spec.ebgp_multihop_ttl,
        timers=Timers(timers.hold_seconds, timers.keepalive_seconds, timers.connect_retry_seconds),
        families=choice.families,
        next_hops=choice.next_hops,
        bfd=None if bfd is None else Bfd(bfd.receive_milliseconds, bfd.transmit_milliseconds, bfd.detect_multiplier),
        graceful_restart=peer.spec.graceful_restart_seconds,
    )
    return Asked(PEER, session, peer.spec.drain_seconds, router_id), tuple(problems)


def _ends(spec: BGPPeerSpec) -> Ends:
    """Raises ValueError."""
    if bool(spec.remote.address) == bool(spec.remote.interface):
        raise ValueError("exactly one of remote.address and remote.interface is needed")
    remote = _address("remote.address", spec.remote.address)
    source = _address("local.address", spec.local.address)
    if remote is not None and remote.is_link_local and remote.version == 6 and not str(remote).count("%"):  # noqa: PLR2004
        raise ValueError(f"remote.address {remote} is a link's own: give remote.interface in its place")
    if remote is not None and source is not None and remote.version != source.version:
        raise ValueError(f"local.address {source} and remote.address {remote} are of two families")
    return Ends(remote, source, spec.local.interface)


def _address(field: str, text: str) -> Address | None:
    try:
        return ip_address(text) if text else None
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error


def _router_id(spec: BGPPeerSpec) -> IPv4Address | None:
    address = _address("local.routerID", spec.local.router_id)
    if address is not None and not isinstance(address, IPv4Address):
        raise ValueError(f"local.routerID: {address} is not an IPv4 address")
    return address


def _remote_asn(spec: BGPPeerSpec) -> int | None:
    match spec.remote.asn, spec.remote.asn_type:
        case int(asn), "":
            return asn
        case None, "Internal":
            return spec.local.asn
        case None, "External":
            return None
        case _:
            raise ValueError("exactly one of remote.asn and remote.asnType is needed")


def _wish(spec: BGPPeerSpec) -> Wish:
    ipv4, ipv6 = _address("nextHop.ipv4", spec.next_hop.ipv4), _address("nextHop.ipv6", spec.next_hop.ipv6)
    if isinstance(ipv4, IPv4Address) or ipv4 is None:
        if isinstance(ipv6, IPv4Address):
            raise ValueError(f"nextHop.ipv6: {ipv6} is an IPv4 address")
        families = frozenset(FAMILIES[family] for family in spec.families if family in FAMILIES)
        return Wish(NextHopMode.from_text(spec.next_hop.mode), ipv4, ipv6, families)
    raise ValueError(f"nextHop.ipv4: {ipv4} is an IPv6 address")
