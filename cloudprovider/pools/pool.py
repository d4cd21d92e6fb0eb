"""One AddressPool, read: its ranges, whom it serves, and what is wrong with it."""

from dataclasses import dataclass, field
from ipaddress import ip_network

from cloudprovider.model import Wish
from cloudprovider.pools.ranges import Range, merged, read
from roost.kube.wire import AddressPool, Allocation, PoolAnnounce, Selector
from roost.selectors import selects
from roost.words import Address

# What can never be a VIP: this network, loopback, link-local, multicast, broadcast, IPv4 written as IPv6 (RFC 6890).
UNUSABLE = tuple(
    (text, Range(network.version, int(network.network_address), int(network.broadcast_address)))
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
        *("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"),
    )
    for network in (ip_network(text),)
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A range of a pool that cannot be read."""

    text: str
    why: str

    def __str__(self) -> str:
        return f"{self.text}: {self.why}"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as the allocator sees it. Ranges that cannot be read are left out and listed in *problems*."""

    name: str
    ranges: tuple[Range, ...]
    problems: tuple[Problem, ...] = ()
    source: str = "Static"
    allocation: Allocation = field(default_factory=Allocation)
    announce: PoolAnnounce = field(default_factory=PoolAnnounce)
    namespaces: Selector | None = None
    services: Selector | None = None

    def __contains__(self, address: Address) -> bool:
        return any(address in range_ for range_ in self.ranges)

    def of_version(self, version: int) -> tuple[Range, ...]:
        """The ranges of one family, in the order in which they are searched."""
        ranges = tuple(range_ for range_ in self.ranges if range_.version == version)
        return ranges[::-1] if self.allocation.order == "Descending" else ranges

    def total(self, version: int) -> int:
        return sum(range_.size for range_ in self.of_version(version))

    def why_not(self, wish: Wish) -> str:
        """Why this pool does not serve that Service; "" if it does."""
        if self.source != "Static":
            return f"source {self.source} is not served by this version"
        if not selects(self.namespaces, wish.namespace_labels):
            return f"does not select namespace {wish.key.namespace}"
        if not selects(self.services, wish.labels):
            return "does not select the Service's labels"
        return ""


def parsed(pool: AddressPool) -> Pool:
    """Read an AddressPool. Whatever it holds, this does not fail: it is a user's text."""
    ranges: list[Range] = []
    problems: list[Problem] = []
    for text in pool.spec.addresses:
        try:
            ranges.append(_usable(read(text, skip_ends=pool.spec.allocation.skip_ends)))
        except ValueError as error:
            problems.append(Problem(text, str(error)))
    return Pool(
        name=pool.metadata.name,
        ranges=merged(ranges),
        problems=tuple(problems),
        source=pool.spec.source.type,
        allocation=pool.spec.allocation,
        announce=pool.spec.announce,
        namespaces=pool.spec.namespace_selector,
        services=pool.spec.service_selector,
    )


def _usable(item: Range) -> Range:
    for text, unusable in UNUSABLE:
        if item.overlaps(unusable):
            raise ValueError(f"reaches into {text}, whose addresses no Service can have")
    return item
