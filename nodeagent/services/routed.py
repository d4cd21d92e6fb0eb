"""Which VIPs this node announces on layer 3, and why not the others that concern it. No I/O."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from nodeagent.services.plan import Index
from nodeagent.services.vips import Vip
from roost.words import Address, Reason


@dataclass(frozen=True, slots=True)
class Choice:
    """The VIPs of this moment.

    *alone*: those of *vips* that no other node may announce; a node that drains keeps them. *exceptions*: by VIP why
    this node, which is one to announce it, does not.
    """

    vips: tuple[Vip, ...] = ()
    alone: frozenset[Address] = frozenset()
    exceptions: Mapping[str, tuple[Reason, str]] = field(default_factory=dict)


def choose(
    index: Index, holds: Callable[[Vip], bool], *, leaving: bool, absent: Set[str] | None = frozenset()
) -> Choice:
    """What this node announces of *index*; *holds*: whether it holds the group of a VIP; *leaving*: it drains.

    *absent*: the nodes that drain by their own switch, which their Node objects do not tell; None: not known yet, and
    until then this node is not to count on anybody.
    """
    vips: list[Vip] = []
    alone: set[Address] = set()
    exceptions: dict[str, tuple[Reason, str]] = {}
    labels = index.labels.get(index.node, {})
    for vip in index.vips.values():
        if vip.selection.why_not(labels) is not None or (vip.holder_only and not holds(vip)):
            continue
        reason = index.may_claim(vip)
        if reason is not None:
            where = " here" if reason is Reason.NO_LOCAL_ENDPOINT else ""
            exceptions[str(vip.address)] = reason, f"no ready endpoint{where}"
            continue
        vips.append(vip)
        if leaving and (absent is None or not index.others(vip) - absent):
            alone.add(vip.address)
    return Choice(tuple(vips), frozenset(alone), exceptions)
