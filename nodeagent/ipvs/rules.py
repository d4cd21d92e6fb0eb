"""Our nftables table as nft reads it, and read back from what nft lists. No I/O.

IPVS rewrites the destination of what it forwards, and the answers must come back through this node: so the source
becomes this node's address. conntrack keeps what the client asked for (with net.ipv4.vs.conntrack), which is how such
connections are known; no mark is needed. Each rule says in its comment what it is for; those of the chain `before`,
which nothing jumps to, keep what sysctls were, as long as the kernel keeps the sysctls.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Any

from nodeagent.ipvs.values import Place, Table

NAME = "roost-ipvs"
LIST = ("-j", "list", "table", "inet", NAME)
OUTGOING, BEFORE = "outgoing", "before"  # chains


def text(table: Table) -> str:
    """*table* in place of what is there, in one transaction; an empty one is taken away."""
    gone = f"add table inet {NAME}\ndelete table inet {NAME}\n"
    if table == Table():
        return gone
    masquerades = [_rule(place) for place in sorted(table.masquerades, key=str)]
    before = [f'return comment "{name}={value}"' for name, value in sorted(table.before)]
    hook = "type nat hook postrouting priority srcnat; policy accept;"
    return f"{gone}table inet {NAME} {{\n{_chain(OUTGOING, [hook, *masquerades])}{_chain(BEFORE, before)}}}\n"


def _rule(place: Place) -> str:
    family = "ip" if isinstance(place.address, IPv4Address) else "ip6"
    asked = f"ct original {family} daddr {place.address} ct original proto-dst {place.port}"
    comment = f"{place.address} {place.port}"
    return f'oifname != "lo" meta l4proto tcp {asked} masquerade comment "{comment}"'


def _chain(name: str, lines: Iterable[str]) -> str:
    return f"    chain {name} {{\n" + "".join(f"        {line}\n" for line in lines) + "    }\n"


def table(listed: Mapping[str, Any]) -> Table:
    """The table as ``nft -j list table`` has it."""
    masquerades, before, meddled = set[Place](), set[tuple[str, str]](), False
    for entry in listed.get("nftables", ()):
        rule = entry.get("rule", {})
        comment = str(rule.get("comment", ""))
        try:
            match rule.get("chain"):
                case "outgoing":
                    address, _, port = comment.partition(" ")
                    masquerades.add(Place(ip_address(address), int(port)))
                case "before":
                    name, value = comment.split("=")
                    before.add((name, value))
        except ValueError:
            meddled = True
    return Table(frozenset(masquerades), frozenset(before), meddled)
