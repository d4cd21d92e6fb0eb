"""One AddressPool, read: its ranges, whom it serves, and what is wrong with it."""

from dataclasses import dataclass, field

from cloudprovider.model import Wish
from cloudprovider.pools.ranges import Range, merged, read
from cloudprovider.pools.selectors import selects
from roost.kube.wire import AddressPool, Allocation, PoolAnnounce, Selector
from roost.words import Address


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
            ranges.append(read(text, skip_ends=pool.spec.allocation.skip_ends))
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
