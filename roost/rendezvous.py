"""Who inherits which group: rendezvous order, so that a choice is spread, and stays when others come or go."""

from collections.abc import Iterable, Mapping, Set
from hashlib import sha256
from math import ceil

CROWDED = 1.25  # a node with more than this times the mean number of groups is passed over


def line(group: str, nodes: Iterable[str]) -> list[str]:
    """*nodes* in the order in which they would hold *group*: the highest hash of both names first (HRW, 1998)."""
    return sorted(nodes, key=lambda node: _weight(group, node), reverse=True)


def shared(
    groups: Iterable[str],
    load: Mapping[str, int],
    candidates: Mapping[str, Set[str]],
    last: Set[str] = frozenset(),
) -> dict[str, str]:
    """The node that gets each of *groups*; a group that no node of *load* may hold is left out.

    *load*: the nodes to choose from, and how many groups each holds already. *candidates*: for each group the nodes
    that may hold it; those of *last* get it only where no other may. Each choice counts for the next.
    """
    load, wanted = dict(load), sorted(groups)
    most = ceil(CROWDED * (sum(load.values()) + len(wanted)) / max(1, len(load)))
    chosen: dict[str, str] = {}
    for group in wanted:
        able = load.keys() & candidates.get(group, frozenset())
        able = able - last or able
        if able:
            roomy = {node for node in able if load[node] < most} or able
            best = max(roomy, key=lambda node: _weight(group, node))
            chosen[group] = best
            load[best] += 1
    return chosen


def _weight(group: str, node: str) -> bytes:
    return sha256(f"{group}/{node}".encode()).digest()
