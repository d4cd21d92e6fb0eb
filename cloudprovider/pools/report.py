"""What an AddressPool says about itself: how full it is, what cannot be read, what it overlaps."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network

from cloudprovider.announcers import covers
from cloudprovider.model import BGP, FAMILY, WARNING, Say
from cloudprovider.pools.book import Book
from cloudprovider.pools.pool import Pool
from cloudprovider.pools.ranges import IPV4, Range
from roost.kube.wire import AddressPool, AddressPoolStatus, Capacity, Condition
from roost.kube.wire_bgp import BGPAdvertisement
from roost.words import Reason

FULL, CALM = 0.90, 0.85  # nearly full above the first, until below the second
LISTED = 5  # overlaps that a message names


NO_ADVERTISEMENT = "NoAdvertisement"  # condition of a pool; not there where it says nothing


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is around the pools: CIDRs of the cluster, each with its name, which they must not overlap; and who tells
    routers of them."""

    cidrs: tuple[tuple[str, Range], ...] = ()
    advertisements: tuple[BGPAdvertisement, ...] = ()


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a pool is in one family."""

    version: int
    total: int
    used: int

    @property
    def free(self) -> int:
        return self.total - self.used


def cluster(named: Iterable[tuple[str, str]], advertisements: Iterable[BGPAdvertisement] = ()) -> Cluster:
    """From pairs of what it is ("ServiceCIDR kubernetes") and its text; text that is none is left out."""
    found: list[tuple[str, Range]] = []
    for name, text in named:
        try:
            network = ip_network(text)
        except ValueError:
            continue
        item = Range(network.version, int(network.network_address), int(network.broadcast_address))
        found.append((f"{name} ({text})", item))
    return Cluster(tuple(found), tuple(advertisements))


def fills(pool: Pool, book: Book) -> tuple[Fill, ...]:
    return tuple(
        Fill(version, total, sum(book.used_in(item) for item in pool.of_version(version)))
        for version in (4, 6)
        if (total := pool.total(version))
    )


def status_of(pool: AddressPool, book: Book, around: Cluster, now: datetime) -> AddressPoolStatus:
    """AddressPool.status as it should be."""
    read = book.pools[pool.metadata.name]
    full = fills(read, book)
    said = {
        "Ready": _ready(read),
        "Overlapping": _overlapping(read, book, around),
        "Exhausted": _exhausted(pool, full),
    } | _unadvertised(pool, around)
    conditions = tuple(item for item in pool.status.conditions if item.type != NO_ADVERTISEMENT or item.type in said)
    for kind, (status, reason, message) in said.items():
        conditions = _with(
            conditions,
            Condition(
                type=kind,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                observed_generation=pool.metadata.generation,
            ),
        )
    return AddressPoolStatus(
        observed_generation=pool.metadata.generation,
        ranges=", ".join(pool.spec.addresses),
        used=str(sum(fill.used for fill in full)),
        free=" + ".join(f"{fill.free}{'' if fill.version == IPV4 else ' IPv6'}" for fill in full) or "0",
        capacity=tuple(Capacity(family=FAMILY[fill.version], total=str(fill.total), used=fill.used) for fill in full),
        conditions=conditions,
    )


def events(pool: AddressPool, want: AddressPoolStatus) -> tuple[Say, ...]:
    """One Event for each condition that turns bad, or is bad for another reason than before."""
    have = {item.type: item for item in pool.status.conditions}
    out: list[Say] = []
    for item in want.conditions:
        before = have.get(item.type)
        bad = item.status == ("False" if item.type == "Ready" else "True") or item.reason == Reason.NEARLY_FULL
        counted = item.type == "Exhausted"  # its message holds numbers that change all the time
        if item.type == NO_ADVERTISEMENT:  # as with kube-vip, nothing to warn of
            continue
        same = before and before.reason == item.reason and (counted or before.message == item.message)
        if bad and not same:
            out.append(Say(WARNING, "InvalidPool" if item.type == "Ready" else item.reason, item.message[:1024]))
    return tuple(out)


def _ready(pool: Pool) -> tuple[str, str, str]:
    if pool.source != "Static":
        return "False", Reason.DISABLED, f"source {pool.source} is not served by this version"
    if pool.problems:
        told = "; ".join(str(problem) for problem in pool.problems)
        return "False", Reason.INVALID_RANGE, f"{told} (the other ranges are used; what was given stays given)"
    return "True", Reason.PARSED, "all ranges can be read"


def _overlapping(pool: Pool, book: Book, around: Cluster) -> tuple[str, str, str]:
    pools = [
        f"pool {other.name}"
        for other in sorted(book.pools.values(), key=lambda other: other.name)
        if other.name != pool.name and any(one.overlaps(two) for one in pool.ranges for two in other.ranges)
    ]
    cidrs = [name for name, item in around.cidrs if any(one.overlaps(item) for one in pool.ranges)]
    nodes = [f"{address} of node {node}" for address, node in sorted(book.nodes.items(), key=str) if address in pool]
    for reason, found in ((Reason.CLUSTER_CIDR, cidrs), (Reason.NODE_ADDRESS, nodes), (Reason.POOLS_OVERLAP, pools)):
        if found:
            more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
            return "True", reason, f"overlaps {', '.join(found[:LISTED])}{more}"
    return "False", Reason.AS_EXPECTED, "overlaps nothing that is known"


def _unadvertised(pool: AddressPool, around: Cluster) -> dict[str, tuple[str, str, str]]:
    """Condition NoAdvertisement, where a pool goes to routers without anybody saying to which."""
    if BGP not in pool.spec.announce.protocols:
        return {}
    if any(covers(advertisement, pool.metadata.name) for advertisement in around.advertisements):
        return {}
    told = "no BGPAdvertisement speaks of this pool: each VIP goes to all peers, by its own address alone"
    return {NO_ADVERTISEMENT: ("True", Reason.DEFAULT_USED, told)}


def _exhausted(pool: AddressPool, full: tuple[Fill, ...]) -> tuple[str, str, str]:
    told = ", ".join(f"{FAMILY[fill.version]}: {fill.used} of {fill.total} used" for fill in full)
    if any(fill.free <= 0 for fill in full):
        return "True", Reason.NO_FREE_ADDRESS, told
    before = next((item for item in pool.status.conditions if item.type == "Exhausted"), None)
    limit = CALM if before and before.reason == Reason.NEARLY_FULL else FULL
    if any(fill.used > limit * fill.total for fill in full):
        return "False", Reason.NEARLY_FULL, told
    return "False", Reason.AS_EXPECTED, "addresses are free"


def _with(have: tuple[Condition, ...], want: Condition) -> tuple[Condition, ...]:
    """*want* among the conditions; while the status stays, so does its time."""
    before = next((item for item in have if item.type == want.type), None)
    if before and before.status == want.status:
        want = Condition(
            type=want.type,
            status=want.status,
            reason=want.reason,
            message=want.message,
            last_transition_time=before.last_transition_time,
            observed_generation=want.observed_generation,
        )
    return (*(item for item in have if item.type != want.type), want)
