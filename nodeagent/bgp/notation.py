"""kube-vip's notation of a BGP peer: ``address:AS:password:multihop[:port[:mpbgp-options[:bfd-options]]]``. No I/O.

What stands behind the password is named when it is wrong, never shown: a password with a colon in it ends up there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self, TypeVar

from nodeagent.bgp.values import Bfd
from roost.words import Address

T = TypeVar("T")
_BARE = re.compile(r"mpbgp_ipv6=([0-9A-Fa-f:.]+?)(?=$|;mpbgp_|:\w*;\d*;\d*;\d*$)")  # what follows: more, or BFD
_Hops = tuple["NextHopMode | None", IPv4Address | None, IPv6Address | None]

UNNUMBERED = "unnumbered:"
PARTS = ("address", "AS", "password", "multihop", "port", "MP-BGP options", "BFD options")
OPTIONS = 4  # parts between the address and the options
MOST_ASN = 2**32 - 1  # RFC 6793
MOST_NAME = 15  # letters of an interface's name (IFNAMSIZ in linux/if.h)
PORT = 179
MOST_MS = 2**32 // 1000  # RFC 5880, section 4.1 has microseconds in 32 bits
TRUE, FALSE = {"1", "t", "true"}, {"0", "f", "false"}  # Go's strconv.ParseBool, in any case


class NextHopMode(StrEnum):
    """What stands as next hop in paths of the family that is not the session's own."""

    SELF = "Self"
    FIXED = "Fixed"
    SOURCE_ADDRESS = "SourceAddress"
    SOURCE_INTERFACE = "SourceInterface"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Our words, or kube-vip's. Raises ValueError."""
        words = {mode.lower(): mode for mode in cls} | {
            "fixed": cls.FIXED,
            "auto_sourceip": cls.SOURCE_ADDRESS,
            "auto_sourceif": cls.SOURCE_INTERFACE,
        }
        if text.lower() not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(cls)}")
        return words[text.lower()]


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer as kube-vip's settings write it. Without *remote* it is the one router behind *interface*."""

    remote: Address | None = None
    interface: str = ""
    asn: int | None = None  # None: any other than ours
    password: str = field(default="", repr=False)
    multihop: bool = False
    port: int = PORT
    next_hop: NextHopMode | None = None  # None: as for all peers of the settings
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    bfd: Bfd | None = None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises ValueError with everything that is wrong, each by the name of its part."""
        head, rest = _head(text)
        wrong = _Wrong(head)
        parts = (rest + [""] * len(PARTS))[: len(PARTS) - 1]
        if len(rest) >= len(PARTS):
            wrong.say(f"there are {len(rest) + 1} parts; it has at most {len(PARTS)}: {', '.join(PARTS)}")
        asn, password, multihop, port, mpbgp, bfd = parts
        unnumbered = head.startswith(UNNUMBERED)
        unset: _Hops = (None, None, None)
        peer = cls(
            remote=None if unnumbered else wrong.of(_address, head, None),
            interface=wrong.of(_interface, head.removeprefix(UNNUMBERED), "") if unnumbered else "",
            asn=None if unnumbered and asn in {"", "0"} else wrong.of(read_asn, asn, None),
            password=password,
            multihop=wrong.of(_multihop, multihop, False),
            port=wrong.of(_port, port, PORT),
            bfd=wrong.of(_bfd, bfd, None),
        )
        mode, ipv4, ipv6 = wrong.of(_mpbgp, mpbgp, unset)
        wrong.end()
        return replace(peer, next_hop=mode, ipv4=ipv4, ipv6=ipv6)


class _Wrong:
    """Collects what is wrong with the peer that begins with *head*."""

    def __init__(self, head: str) -> None:
        self._head, self._found = head, list[str]()

    def say(self, error: str) -> None:
        self._found.append(error)

    def of(self, reader: Callable[[str], T], part: str, default: T) -> T:
        """What *reader* makes of a part; *default*, and a word on it, where it raises ValueError."""
        try:
            return reader(part)
        except ValueError as error:
            self.say(str(error))
            return default

    def end(self) -> None:
        if self._found:
            raise ValueError(f"{self._head}: {', '.join(self._found)}")


def _head(text: str) -> tuple[str, list[str]]:
    """The address or interface, and the parts after it."""
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"[{address.partition(':')[0]}…: an IPv6 address ends with ']', and then comes ':'")
        return address, _parts(rest[1:]) if rest else []
    if text.startswith(UNNUMBERED):
        interface, colon, rest = text.removeprefix(UNNUMBERED).partition(":")
        return UNNUMBERED + interface, _parts(rest) if colon else []
    address, colon, rest = text.partition(":")
    parts = _parts(rest) if colon else []
    if len(parts) > 1 and "." not in address:  # none of its parts is where it should be
        raise ValueError(f"{address}…: it does not begin with an IPv4 address, and IPv6 stands in [ ]")
    return address, parts


def _parts(text: str) -> list[str]:
    """The parts after the address. The colons of an IPv6 address among the options, in [ ] or bare, part nothing."""
    *parts, rest = text.split(":", OPTIONS)
    if len(parts) < OPTIONS:
        return [*parts, rest]
    return parts + re.split(r":(?![^\[\]]*\])", _BARE.sub(r"mpbgp_ipv6=[\1]", rest))


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError as error:
        raise ValueError("it does not begin with an IP address") from error


def _interface(text: str) -> str:
    """Raises ValueError for what is no name of an interface (dev_valid_name in net/core/dev.c of Linux)."""
    if not 0 < len(text) <= MOST_NAME or "/" in text or text in {".", ".."} or any(sign.isspace() for sign in text):
        raise ValueError("there is no interface's name after 'unnumbered:'")
    return text


def read_asn(text: str, what: str = "AS") -> int | None:
    """An AS number. Raises ValueError that does not show *text*."""
    return _number(what, text, 1, MOST_ASN)


def _multihop(text: str) -> bool:
    return read_bool("multihop", text) if text else False


def _port(text: str) -> int:
    return _number("port", text, 1, 65535) if text else PORT


def read_bool(what: str, text: str) -> bool:
    """Raises ValueError that does not show *text*."""
    if text.lower() not in TRUE | FALSE:
        raise ValueError(f"{what} is neither true nor false")
    return text.lower() in TRUE


def _number(what: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise ValueError(f"{what} is not a number from {least} to {most}")
    return int(text)


def _mpbgp(text: str) -> _Hops:
    """``mpbgp_nexthop=…;mpbgp_ipv4=…;mpbgp_ipv6=…``, each of them once at most."""
    found: dict[str, str] = {}
    for option in text.split(";") if text else ():
        key, equals, value = option.partition("=")
        if not equals or key not in {"mpbgp_nexthop", "mpbgp_ipv4", "mpbgp_ipv6"}:
            raise ValueError("MP-BGP options are mpbgp_nexthop=…, mpbgp_ipv4=… and mpbgp_ipv6=…, with ';' between them")
        found[key] = value
    mode, ipv4, ipv6 = (found.get(key, "") for key in ("mpbgp_nexthop", "mpbgp_ipv4", "mpbgp_ipv6"))
    try:
        key = "mpbgp_nexthop is none of fixed, auto_sourceip and auto_sourceif"
        read = NextHopMode.from_text(mode) if mode else None
        key = "mpbgp_ipv4 is not an IPv4 address"
        first = IPv4Address(ipv4) if ipv4 else None
        key = "mpbgp_ipv6 is not an IPv6 address"
        return read, first, IPv6Address(ipv6.removeprefix("[").removesuffix("]")) if ipv6 else None
    except ValueError as error:
        raise ValueError(key) from error


def _bfd(text: str) -> Bfd | None:
    """``enable;receive;transmit;multiplier``: what is empty has its default."""
    if not text:
        return None
    parts = text.split(";")
    if len(parts) != 4:  # noqa: PLR2004 - they are named in the message
        raise ValueError("BFD options are enable;receive;transmit;multiplier")
    receive, transmit, multiplier = (
        _number(f"BFD {what}", part, 1, most) if part else None
        for what, part, most in zip(
            ("receive", "transmit", "multiplier"), parts[1:], (MOST_MS, MOST_MS, 255), strict=True
        )
    )
    usual = Bfd()
    bfd = Bfd(receive or usual.receive, transmit or usual.transmit, multiplier or usual.multiplier)
    return bfd if read_bool("BFD enable", parts[0]) else None
