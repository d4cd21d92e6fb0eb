"""Which tag each path carries, so that routers which have nothing new to hear are told nothing. No I/O."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from nodeagent.bgp.rules import Rule, UnknownCommunity, rules_of, tag_of
from nodeagent.bgp.values import Attributes, Prefix, Session, Treatment


@dataclass(slots=True)
class Group:
    """Paths of which the same is said to everybody."""

    treatment: Treatment
    prefixes: list[Prefix] = field(default_factory=list)


def groups(paths: Mapping[Prefix, Treatment], sessions: Mapping[str, Session]) -> dict[str, Group]:
    """The paths by the tags that their treatments have of themselves; without those of unreadable communities."""
    named: dict[frozenset[tuple[str, Attributes]], str | None] = {}  # many paths share a few treatments
    found: dict[str, Group] = {}
    for prefix, treatment in paths.items():
        said = frozenset(treatment.items())
        if said not in named:
            try:
                named[said] = tag_of(treatment, sessions)
            except UnknownCommunity:
                named[said] = None
        tag = named[said]
        if tag is not None:
            found.setdefault(tag, Group(treatment)).prefixes.append(prefix)
    return found


def tagged(
    new: Mapping[str, Group],
    sessions: Mapping[str, Session],
    addresses: Mapping[str, str],
    had: Mapping[Prefix, str],
    rules: Collection[Rule],
    peers: Collection[str],
) -> dict[str, Group]:
    """The groups by the tags that they get.

    *had*, *rules*, *peers*: the tags of paths, the rules and the addresses of routers in the daemon. A path of which
    nothing else is said to these routers than before (another comes, or goes) keeps its old tag: with a new one all of
    them would be told once more. So a tag may be carried under which something else was said; then another is taken,
    because only a path whose tag changes is told anew.
    """
    stay = set(peers) & set(addresses.values())
    old, used = _by_tag(rules, stay), set(had.values())
    same_hops = old.get("") == _by_tag(rules_of(sessions, {}, addresses), stay).get("")  # next hops are as they were
    found: dict[str, Group] = {}
    for tag, group in sorted(new.items(), key=lambda one: (-len(one[1].prefixes), one[0])):
        same = _by_tag(rules_of(sessions, {tag: group.treatment}, addresses), stay).get(tag)
        carried = {had[prefix] for prefix in group.prefixes if prefix in had} - {tag}
        kept = {x for x in carried if same_hops and x not in new and x not in found and old.get(x) == same}
        means_that = not rules or old.get(tag) == same  # no rules at all: somebody took them away, and they come back
        own = tag if tag not in used or means_that else _other(tag, {*used, *new, *found})
        for prefix in group.prefixes:
            before = had.get(prefix, own)
            found.setdefault(before if before in kept else own, Group(group.treatment)).prefixes.append(prefix)
    return found


def _other(tag: str, taken: Collection[str]) -> str:
    """A tag that nothing carries, nor will: the next free one."""
    head, _, last = tag.rpartition(":")
    return next(other for step in count(1) if (other := f"{head}:{(int(last) + step) % 2**32}") not in taken)


def _by_tag(rules: Iterable[Rule], addresses: Collection[str]) -> dict[str, set[Rule]]:
    """What *rules* say to *addresses*, by tag."""
    found: defaultdict[str, set[Rule]] = defaultdict(set)
    for rule in rules:
        if rule.session in addresses:
            found[rule.tag].add(replace(rule, tag=""))
    return dict(found)
