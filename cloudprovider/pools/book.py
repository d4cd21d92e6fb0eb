"""Which addresses are taken, and by whom: the VirtualIPs that exist, and those that are being created just now."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloudprovider.model import Key
from cloudprovider.pools.pool import Pool
from cloudprovider.pools.ranges import Range, Runs
from roost.kube.wire import VirtualIP
from roost.words import Address, order, vip_address, vip_name


@dataclass(frozen=True, slots=True)
class Pending:
    """A creation under way, or one whose outcome is not known yet."""

    key: Key
    pool: str


class Book:
    """Every change costs O(log n) comparisons, so that a burst of Services stays cheap, and no pool is ever listed.

    The API server decides who has an address (the name of a VirtualIP is unique). The book spares us futile tries.
    """

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.vips: dict[str, VirtualIP] = {}
        self._claims: dict[Key, dict[str, VirtualIP]] = {}
        self._pending: dict[Address, Pending] = {}
        self._nodes: dict[Address, str] = {}
        self._used = {4: Runs(), 6: Runs()}
        self._owned: Counter[tuple[str, str]] = Counter()  # (pool, namespace) → addresses

    def put(self, vip: VirtualIP) -> None:
        """Enter a VirtualIP as it is now, in place of what was known of it."""
        self.drop(vip.metadata.name)
        self.vips[vip.metadata.name] = vip
        for key in _claimants(vip):
            self._claims.setdefault(key, {})[vip.metadata.name] = vip
        self._count(vip, 1)
        self._settle(vip_address(vip.metadata.name))

    def drop(self, name: str) -> VirtualIP | None:
        """Strike out a VirtualIP that no longer exists; returns what was known of it."""
        vip = self.vips.pop(name, None)
        if vip is None:
            return None
        for key in _claimants(vip):
            mine = self._claims[key]
            mine.pop(name, None)
            if not mine:
                del self._claims[key]
        self._count(vip, -1)
        self._settle(vip_address(name))
        return vip

    def reserve(self, address: Address, key: Key, pool: str) -> None:
        """Keep *address* for *key* while its VirtualIP is being created, and until the outcome is known."""
        self.release(address)
        self._pending[address] = Pending(key, pool)
        self._owned[pool, key.namespace] += 1
        self._settle(address)

    def release(self, address: Address) -> None:
        """The creation of *address* is settled, one way or the other."""
        pending = self._pending.pop(address, None)
        if pending:
            self._owned[pending.pool, pending.key.namespace] -= 1
            self._settle(address)

    def block(self, nodes: Mapping[Address, str]) -> None:
        """These are the nodes' own addresses, which no Service may have."""
        before, self._nodes = self._nodes, dict(nodes)
        for address in before.keys() ^ self._nodes.keys():
            self._settle(address)

    @property
    def nodes(self) -> Mapping[Address, str]:
        return self._nodes

    def claimed_by(self, key: Key) -> tuple[VirtualIP, ...]:
        """The VirtualIPs with a claim of this Service, lowest address first."""
        return tuple(sorted(self._claims.get(key, {}).values(), key=lambda vip: order(vip_address(vip.metadata.name))))

    def claimants(self) -> Iterator[Key]:
        return iter(tuple(self._claims))

    def pending_of(self, key: Key) -> tuple[Address, ...]:
        return tuple(address for address, pending in self._pending.items() if pending.key == key)

    def owned(self, pool: str, namespace: str) -> int:
        """How many addresses of *pool* the Services of *namespace* have."""
        return self._owned[pool, namespace]

    def is_free(self, address: Address) -> bool:
        return int(address) not in self._used[address.version]

    def next_free(self, pool: Pool, version: int) -> int | None:
        used = self._used[version]
        descending = pool.allocation.order == "Descending"
        for item in pool.of_version(version):
            search = used.highest_free if descending else used.lowest_free
            number = search(item.first, item.last)
            if number is not None:
                return number
        return None

    def used_in(self, item: Range) -> int:
        return self._used[item.version].count(item.first, item.last)

    def owner(self, address: Address) -> str:
        """Whose *address* is, in words; "" if it is free."""
        vip = self.vips.get(vip_name(address))
        if vip is not None:
            return _whose(vip)
        pending = self._pending.get(address)
        if pending:
            return f"is being given to {pending.key}"
        return f"is an address of node {self._nodes[address]}" if address in self._nodes else ""

    def _settle(self, address: Address) -> None:
        used = self._used[address.version]
        if vip_name(address) in self.vips or address in self._pending or address in self._nodes:
            used.add(int(address))
        else:
            used.remove(int(address))

    def _count(self, vip: VirtualIP, by: int) -> None:
        for claim in vip.spec.claims:
            if claim.uid:
                self._owned[vip.spec.pool_name, claim.namespace] += by


def _claimants(vip: VirtualIP) -> Iterator[Key]:
    return (Key(claim.namespace, claim.name) for claim in vip.spec.claims)


def _whose(vip: VirtualIP) -> str:
    if vip.spec.purpose != "Service" or not vip.spec.claims:
        return f"is reserved ({vip.spec.purpose})"
    first = vip.spec.claims[0]
    if first.uid:
        return f"belongs to {first.namespace}/{first.name}"
    until = f" until {vip.spec.retain_until}" if vip.spec.retain_until else ""
    return f"is kept for {first.namespace}/{first.name}{until}"
