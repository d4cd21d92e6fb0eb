"""Who announces a VIP by BGP and routing table, counted from what the nodes say: they report exceptions only."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cloudprovider.announcers import Announcer, Rules, failure
from cloudprovider.model import BGP, HOLDER_ONLY, LAYER2, LAYER3, ROUTING_TABLE
from cloudprovider.services.announced import SHORT, TOLD, WITHOUT_ENDPOINT, Sight
from cloudprovider.services.reached import Reach
from roost.kube.wire import AnnouncerException, Announcers, VirtualIP
from roost.selectors import selects
from roost.words import Reason

NOT_ASKED = Reach("Unknown", Reason.NOT_PROBED, "no node probes what is announced on layer 3")
LISTED = 8  # exceptions that a VIP lists (the schema's maxItems)
LONGEST_MESSAGE = 512  # characters
# A node that says so is none that should announce the VIP.
ASIDE = frozenset({Reason.NO_LOCAL_ENDPOINT, Reason.NOT_SELECTED, Reason.EXCLUDED, Reason.DRAINING})


@dataclass(frozen=True, slots=True)
class Spread:
    """Who announces one VIP. *aside*: why how many nodes should not; *sessions*: those that it goes out by."""

    ready: tuple[str, ...]
    exceptions: tuple[AnnouncerException, ...]
    aside: Mapping[str, int]
    established: int = 0
    sessions: int = 0

    @property
    def desired(self) -> int:
        return len(self.ready) + len(self.exceptions)

    @property
    def by(self) -> str:
        """Who announces it, in few words: the node where it is one, else how many of how many."""
        if not self.ready:
            return ""
        return self.ready[0] if self.desired == 1 else f"{len(self.ready)}/{self.desired} nodes"

    def summary(self) -> Announcers:
        return Announcers(desired=self.desired, ready=len(self.ready), exceptions=self.exceptions[:LISTED])

    def most(self) -> tuple[str, str]:
        """The reason that most of the exceptions have, and what the first of them says."""
        reason = Counter(item.reason for item in self.exceptions).most_common(1)[0][0]
        return reason, next(item.message for item in self.exceptions if item.reason == reason)


def spread(vip: VirtualIP, announcers: Iterable[Announcer], rules: Rules, holder: str = "") -> Spread:
    """Who of *announcers* announces *vip* now. Nodes about to go count only where there are no others."""
    known = sorted(announcers, key=lambda one: one.name)
    routers = {one.name: rules.routers(vip.spec, one, held=one.name == holder) for one in known}
    why_not = {one.name: _aside(vip, one, rules, routers[one.name]) for one in known}
    wanted = [one for one in known if not why_not[one.name]]
    if not wanted:
        leaving = [one for one in known if one.leaving]
        wanted = [one for one in leaving if not _aside(vip, replace(one, leaving=False), rules, routers[one.name])]
    names = {one.name for one in wanted}
    ready: list[str] = []
    exceptions: list[AnnouncerException] = []
    counted = established = 0
    for one in wanted:
        peers = routers[one.name]
        if BGP in vip.spec.announce.protocols:
            counted += len(one.sessions(peers))
            established += sum(one.is_established(session) for session in one.sessions(peers))
        trouble = _trouble(vip, one, peers)
        if trouble is None:
            ready.append(one.name)
            continue
        reason, message = trouble
        exceptions.append(AnnouncerException(node=one.name, reason=reason, message=message[:LONGEST_MESSAGE]))
    aside = Counter(why for name, why in why_not.items() if name not in names)
    return Spread(tuple(ready), tuple(exceptions), aside, established, counted)


def look(vip: VirtualIP, seen: Sight | None, found: Spread) -> Sight:
    """What there is to say of a VIP that is announced on layer 3, where *seen* tells of its holder, if it has one."""
    if seen is None:
        return _sight(vip, found)
    if not seen.holder and LAYER2 not in vip.spec.announce.protocols:
        return seen  # the holder alone announces it, and there is none
    if LAYER2 in vip.spec.announce.protocols:
        both = "; ".join(part for part in (seen.via, via(vip, found)) if part)
        return replace(seen, via=both[:SHORT], announcers=found.summary())
    return replace(_sight(vip, found), holder=seen.holder, epoch=seen.epoch)


def has_holder(vip: VirtualIP) -> bool:
    """Whether one node holds it: it is claimed on layer 2, or the holder alone announces it."""
    announce = vip.spec.announce
    return LAYER2 in announce.protocols or announce.announcers == HOLDER_ONLY


def is_announced_here(vip: VirtualIP) -> bool:
    """Whether it is announced on layer 3 at all; what rests is not."""
    return not LAYER3.isdisjoint(vip.spec.announce.protocols) and any(claim.uid for claim in vip.spec.claims)


def _sight(vip: VirtualIP, found: Spread) -> Sight:
    address = vip.spec.address
    if not found.desired:
        return _nobody(vip, found)
    summary, how, words = found.summary(), via(vip, found)[:SHORT], _protocols(vip)
    if found.ready:
        holder_only = vip.spec.announce.announcers == HOLDER_ONLY
        brief = f"{address} is announced by {f'{found.ready[0]} ({words})' if holder_only else words}"
        told = f"{address} is announced by {len(found.ready)} of {found.desired} nodes"
        if found.exceptions:
            reason, message = found.most()
            told += f"; {found.exceptions[0].node}: {reason}" if not message else f"; {reason}: {message}"
        return Sight(
            "True",
            Reason.ANNOUNCED,
            told,
            announced_by=found.by,
            via=how,
            reach=NOT_ASKED,
            announcers=summary,
            brief=brief,
        )
    reason, message = found.most()
    if reason in WITHOUT_ENDPOINT:
        policy = vip.spec.announce.traffic_policy
        return Sight("False", Reason.NO_ENDPOINTS, f"no ready endpoint (policy {policy})", announcers=summary)
    told = f"none of {found.desired} nodes announces {address}: {reason}" + (f": {message}" if message else "")
    return Sight("False", reason, told, via=how, announcers=summary, brief=f"no node announces {address}: {reason}")


def _nobody(vip: VirtualIP, found: Spread) -> Sight:
    """Why no node should announce it."""
    address, nodes, summary = vip.spec.address, sum(found.aside.values()), found.summary()
    if Reason.NO_LOCAL_ENDPOINT in found.aside:
        return Sight("False", Reason.NO_ENDPOINTS, "no ready endpoint (policy Local)", announcers=summary)
    if not nodes:
        told = f"no node is there to announce {address}: no agent has reported"
        return Sight("False", Reason.NO_ELIGIBLE_NODE, told, announcers=summary)
    why = ", ".join(f"{count} {TOLD.get(Reason(reason), reason)}" for reason, count in sorted(found.aside.items()))
    told = f"none of {nodes} nodes may announce {address}: {why}"
    return Sight("False", Reason.NO_ELIGIBLE_NODE, told, announcers=summary)


def _protocols(vip: VirtualIP) -> str:
    names = {BGP: "BGP", ROUTING_TABLE: "routing table"}
    return " and ".join(name for protocol, name in names.items() if protocol in vip.spec.announce.protocols)


def via(vip: VirtualIP, found: Spread) -> str:
    """By which protocols it goes out: ``BGP 22/24 sessions``."""
    protocols = vip.spec.announce.protocols
    parts = []
    if BGP in protocols:
        parts.append(f"BGP {found.established}/{found.sessions} sessions")
    if ROUTING_TABLE in protocols:
        parts.append("routing table")
    return ", ".join(parts)


def _aside(vip: VirtualIP, announcer: Announcer, rules: Rules, routers: frozenset[str] | None) -> str:
    """Why this node should not announce *vip*; "" if it should."""
    announce = vip.spec.announce
    by_bgp_alone = BGP in announce.protocols and ROUTING_TABLE not in announce.protocols
    if announcer.excluded and not announce.include_excluded_nodes:
        return Reason.EXCLUDED
    if announcer.leaving:
        return Reason.DRAINING
    if not selects(announce.node_selector, announcer.labels) or (by_bgp_alone and rules.leaves_out(announcer, routers)):
        return Reason.NOT_SELECTED
    said = announcer.exceptions.get(vip.spec.address)
    return said.reason if said and said.reason in ASIDE else ""


def _trouble(vip: VirtualIP, announcer: Announcer, peers: frozenset[str] | None) -> tuple[str, str] | None:
    """Why a node that should announce *vip* does not."""
    if not announcer.up:
        return Reason.NODE_DOWN, "the node or its agent is down"
    if said := announcer.exceptions.get(vip.spec.address):
        return said.reason, said.message
    return _unheard(announcer, peers) if BGP in vip.spec.announce.protocols else None


def _unheard(announcer: Announcer, peers: frozenset[str] | None) -> tuple[str, str] | None:
    """Why no router of *peers* hears this node."""
    sessions = announcer.sessions(peers)
    if any(announcer.is_established(session) for session in sessions):
        return None
    if sessions:
        return failure(announcer, sessions[0])
    if problem := announcer.problem(peers):
        return problem.reason, problem.message
    told = "it has no BGP session that the VIP could go out by" if announcer.bgp else "its agent speaks no BGP"
    return Reason.NO_SESSION, told
