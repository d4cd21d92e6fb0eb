"""The gate's rules as nft reads them, in the two forms that a gate may have. No I/O.

An ARP packet claims its sender whatever its operation (RFC 826); an advertisement claims its target and a solicitation
its source (RFC 4861), which lie 8 octets into their header. nft has no word for the one that its sets understand, so
both are raw, and share a set.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from nodeagent.gate.nfnetlink import ARP, IPV6, NETDEV
from nodeagent.gate.plan import DEVICES, HELD, PERMIT, POOLS, STAGED, TABLE, VIPS, Address, Range, ordered

OLDEST_KERNEL = "5.16"  # the first whose netdev tables see what leaves (hook egress)

_SETS = {
    "vips4": "typeof arp saddr ip",
    "pools4": "typeof arp saddr ip; flags interval",
    "held4": "typeof arp saddr ip . oifname",
    "vips6": "typeof @th,64,128",
    "pools6": "typeof @th,64,128; flags interval",
    "held6": "typeof @th,64,128 . oifname",
    "permit": "typeof oifname; flags timeout",
    "staged": "typeof oifname; flags timeout",
    "fenced": "typeof oifname",
}


def _fence(what: str, version: int) -> tuple[str, ...]:
    return (f"{what} . oifname != @{HELD[version]} drop", f"oifname != @{PERMIT} drop")


def _look(what: str, version: int, fence: str) -> tuple[str, ...]:
    return (f"{what} @{VIPS[version]} goto {fence}", f"{what} @{POOLS[version]} goto {fence}")


_SENDERS = {"sender": _fence("arp saddr ip", 4), "senders": _look("arp saddr ip", 4, "sender")}
_TARGETS = {
    "target": _fence("@th,64,128", 6),
    "targets": _look("@th,64,128", 6, "target"),
    "source": _fence("@nh,64,128", 6),
    "sources": _look("@nh,64,128", 6, "source"),
}
# A frame that bears a VLAN's tag is none of this device's own: that VLAN's device has judged it, if it is an uplink.
_EGRESS = (
    "ether type arp goto senders",
    "ether type ip6 icmpv6 type nd-neighbor-advert goto targets",
    "ether type ip6 icmpv6 type nd-neighbor-solicit goto sources",
)
_OTHER_DEVICE = f"oifname != @{DEVICES} accept"
_OUT = "type filter hook output priority 0; policy accept"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a gate: its family (NFPROTO_* and nft's word), its sets, its chains and the rules of each."""

    family: int
    word: str
    sets: tuple[str, ...]
    chains: Mapping[str, tuple[str, ...]]
    hooks: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.sets


@dataclass(frozen=True, slots=True)
class Form:
    """One way to build a gate; *weakness* says what is not fenced. With *chains*, each device has its own."""

    name: str
    tables: tuple[Table, ...]
    chains: bool
    weakness: str = ""

    @property
    def fingerprint(self) -> str:
        """The comment on its tables: one with another was made by another version."""
        shape = "".join(_table(self, table, {}, "") for table in self.tables)
        return f"roost gate {hashlib.sha256((shape + _chain('x')).encode()).hexdigest()[:16]}"


EGRESS = Form(
    "netdev egress",
    (
        Table(
            NETDEV,
            "netdev",
            tuple(name for name in _SETS if name != DEVICES),
            {**_SENDERS, **_TARGETS},
        ),
    ),
    chains=True,
)
OUTPUT = Form(
    "arp and ip6 output",
    (
        Table(
            ARP,
            "arp",
            ("vips4", "pools4", "held4", PERMIT, STAGED, DEVICES),
            {**_SENDERS, "out": (_OTHER_DEVICE, "goto senders")},
            {"out": _OUT},
        ),
        Table(
            IPV6,
            "ip6",
            ("vips6", "pools6", "held6", PERMIT, STAGED, DEVICES),
            {
                **_TARGETS,
                "out": (
                    _OTHER_DEVICE,
                    "icmpv6 type nd-neighbor-advert goto targets",
                    "icmpv6 type nd-neighbor-solicit goto sources",
                ),
            },
            {"out": _OUT},
        ),
    ),
    chains=False,
    weakness="frames sent by packet sockets are not fenced",
)
FORMS = (EGRESS, OUTPUT)  # the best first


def replacement(
    form: Form, present: Iterable[Table], vips: Set[Address], ranges: Iterable[Range], devices: Iterable[str]
) -> str:
    """The gate in place of the tables that are *present*, in one transaction.

    *vips* and *ranges* are fenced on *devices* from the first moment on; nothing is held, and there is no permit.
    """
    elements = {**_elements(VIPS, vips), **_intervals(ranges)}
    elements[DEVICES] = ", ".join(f'"{device}"' for device in sorted(devices))
    gone = "".join(f"delete table {table.word} {TABLE}\n" for table in present)
    made = "".join(_table(form, table, elements, form.fingerprint) for table in form.tables)
    return gone + made + "".join(chain_of(device) for device in sorted(devices) if form.chains)


def chain_of(device: str, *, anew: bool = False) -> str:
    """The chain of a device; *anew*: in place of one that is there."""
    name = chain_name(device)
    hook = f'type filter hook egress device "{device}" priority 0; policy accept;'
    return f"{without_chain(name) if anew else ''}add chain netdev {TABLE} {name} {{ {hook} }}\n{_chain(name)}"


def without_chain(name: str) -> str:
    return f"flush chain netdev {TABLE} {name}\ndelete chain netdev {TABLE} {name}\n"


def pools(form: Form, ranges: Iterable[Range]) -> str:
    """Fence *ranges* in place of those that were."""
    lines = list[str]()
    elements = _intervals(ranges)
    for table in form.tables:
        for name in (name for name in POOLS.values() if name in table):
            lines.append(f"flush set {table.word} {TABLE} {name}")
            if elements[name]:
                lines.append(f"add element {table.word} {TABLE} {name} {{ {elements[name]} }}")
    return "\n".join(lines) + "\n"


def chain_name(device: str) -> str:
    """nft takes letters, digits and few marks in the name of a chain, and Linux almost anything in that of a device."""
    return f"out-{device}" if re.fullmatch(r"[\w.-]+", device, re.ASCII) else f"odd-{device.encode().hex()}"


def device_of(chain: str) -> str | None:
    """The device that a chain of this name is for; None if it is no device's."""
    kind, dash, rest = chain.partition("-")
    if dash and kind == "odd":
        return bytes.fromhex(rest).decode()
    return rest if dash and kind == "out" else None


def uses(table: Table, devices: int) -> dict[str, int]:
    """How often the kernel says each chain that is no device's is in use: its rules, and the jumps to it."""
    jumps = [rule.rpartition("goto ")[2] for rules in table.chains.values() for rule in rules if "goto " in rule]
    jumps += [rule.rpartition("goto ")[2] for rule in _EGRESS] * devices
    return {name: len(rules) + jumps.count(name) for name, rules in table.chains.items()}


RULES_OF_A_DEVICE = len(_EGRESS)


def _chain(name: str) -> str:
    return "".join(f"add rule netdev {TABLE} {name} {rule}\n" for rule in _EGRESS)


def _table(form: Form, table: Table, elements: Mapping[str, str], comment: str) -> str:
    lines = [f'comment "{comment}"'] if comment else []
    for name in table.sets:
        values = f"; elements = {{ {elements[name]} }}" if elements.get(name) else ""
        lines.append(f"set {name} {{ {_SETS[name]}{values}; }}")
    for name, rules in table.chains.items():
        hook = [table.hooks[name] + ";"] if name in table.hooks else []
        lines.append("\n        ".join([f"chain {name} {{", *hook, *rules]) + "\n    }")
    return f"table {table.word} {TABLE} {{\n    " + "\n    ".join(lines) + "\n}\n"


def _elements(names: Mapping[int, str], addresses: Iterable[Address]) -> dict[str, str]:
    several = ordered(addresses)
    return {name: ", ".join(_word(one) for one in several if one.version == version) for version, name in names.items()}


def _intervals(ranges: Iterable[Range]) -> dict[str, str]:
    several: Sequence[Range] = tuple(ranges)
    return {
        name: ", ".join(_interval(one) for one in several if one.first.version == version)
        for version, name in POOLS.items()
    }


def _interval(one: Range) -> str:
    return _word(one.first) if one.first == one.last else f"{_word(one.first)}-{_word(one.last)}"


def _word(address: Address) -> str:
    return str(address) if isinstance(address, IPv4Address) else f"{int(address):#034x}"
