"""Ranges of addresses as pools name them: an address, a CIDR, or ``first-last``."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from roost.words import Address

Span = tuple[Address, Address]


def span(text: str) -> Span:
    """The first and the last address that *text* names, both included. ValueError says what is wrong with it."""
    text = text.strip()
    if "/" in text:
        network = ip_network(text)
        return network.network_address, network.broadcast_address
    first, dash, last = (part.strip() for part in text.partition("-"))
    begin = ip_address(first)
    end = ip_address(last) if dash else begin
    if begin.version != end.version:
        raise ValueError("first and last are of different families")
    if int(begin) > int(end):
        raise ValueError("first is after last")
    return begin, end


def ranges(texts: Iterable[str]) -> list[Span]:
    """The ranges of those *texts* that name one; what is wrong with the others is for somebody else to say."""
    found = []
    for text in texts:
        try:
            found.append(span(text))
        except ValueError:
            continue
    return found
