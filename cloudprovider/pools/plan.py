"""Which addresses a Service gets, or why none: the book of what is taken and a wish go in, an answer comes out."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from cloudprovider.model import FAMILY, Grant, Granted, Refused, Wish
from cloudprovider.pools.book import Book
from cloudprovider.pools.pool import Pool
from cloudprovider.pools.ranges import address as address_of
from roost.kube.wire import PoolAnnounce, VirtualIP
from roost.words import Address, Reason, order, vip_address, vip_name


@dataclass(slots=True)
class _Draft:
    """An answer in the making: one address per family, and what stood in the way of the others."""

    book: Book
    wish: Wish
    pools: tuple[Pool, ...]
    given: dict[int, Granted] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def missing(self) -> tuple[int, ...]:
        return tuple(version for version in self.wish.families if version not in self.given)


def decide(book: Book, wish: Wish) -> Grant | Refused:
    """Answer a wish. What the Service already has it keeps, as long as a pool contains it and it asks for nothing else.

    Order of preference for a family: the address it holds; the one it asks for; one that rests for it; the one shown
    in its status; the next free one, both families from one pool where that can be.
    """
    draft = _Draft(book, wish, candidates(book.pools.values(), wish))
    for version in wish.families:
        _keep(draft, version)
    for version in draft.missing():
        if request := wish.request(version):
            _ask(draft, version, request)
    for version in draft.missing():
        if not wish.request(version):
            _again(draft, version)
    _allocate(draft, tuple(version for version in draft.missing() if not wish.request(version)))
    return _answer(draft)


def candidates(pools: Iterable[Pool], wish: Wish) -> tuple[Pool, ...]:
    """The pools that may serve this Service unasked for a certain address, best first."""
    fitting = [
        pool
        for pool in pools
        if not pool.why_not(wish) and (pool.name == wish.pool if wish.pool else pool.allocation.auto)
    ]
    return tuple(sorted(fitting, key=lambda pool: (-pool.allocation.priority, pool.name)))


def _answer(draft: _Draft) -> Grant | Refused:
    wish = draft.wish
    missing = draft.missing()
    asked = [version for version in missing if wish.request(version)]
    if asked:  # what was asked for by name is never silently left out
        return draft.refused[asked[0]]
    _keep_stranded(draft)
    missing = draft.missing()
    first = draft.refused[missing[0]] if missing else None
    if first and (wish.all_families or not draft.given):
        return first
    addresses = tuple(draft.given[version] for version in wish.families if version in draft.given)
    return Grant(addresses, missing=first or next(iter(draft.refused.values()), None), left="; ".join(draft.left))


# -- what it has ----------------------------------------------------------------------------------------------------


def _keep(draft: _Draft, version: int) -> None:
    """Keep the address of this family that the Service has; of two the one in its status, else the lower."""
    wish = draft.wish
    for vip in _held(draft, version):
        address = vip_address(vip.metadata.name)
        request = wish.request(version)
        if request is not None and address != request:
            continue
        pool = _home(draft, vip, address)
        if pool is not None:
            draft.given[version] = Granted(address, pool.name, pool.announce)
            return
        if request is None:
            draft.left.append(_why_left(wish, vip, address))


def _why_left(wish: Wish, vip: VirtualIP, address: Address) -> str:
    if wish.pool not in {"", vip.spec.pool_name}:
        return f"the Service asks for pool {wish.pool}"
    return f"pool {vip.spec.pool_name} no longer contains {address}"


def _held(draft: _Draft, version: int) -> list[VirtualIP]:
    wish = draft.wish

    def rank(vip: VirtualIP) -> tuple[bool, bool, tuple[int, int]]:
        address = vip_address(vip.metadata.name)
        return address not in wish.shown, _claim_uid(vip, wish) != wish.uid, order(address)

    return sorted(
        (
            vip
            for vip in draft.book.claimed_by(wish.key)
            if vip_address(vip.metadata.name).version == version
            and not vip.metadata.deletion_timestamp
            and _claim_uid(vip, wish)
        ),
        key=rank,
    )


def _claim_uid(vip: VirtualIP, wish: Wish) -> str:
    return next(
        (
            claim.uid
            for claim in vip.spec.claims
            if (claim.namespace, claim.name) == (wish.key.namespace, wish.key.name)
        ),
        "",
    )


def _home(draft: _Draft, vip: VirtualIP, address: Address) -> Pool | None:
    """The pool that an address which was given belongs to now; its selectors were asked when it was given.

    A pool with a range that cannot be read keeps what it gave: a slip of the pen takes no address away.
    """
    book, wish = draft.book, draft.wish
    own = book.pools.get(vip.spec.pool_name)
    if own and (address in own or own.problems) and wish.pool in {"", own.name}:
        return own
    others = (pool for pool in draft.pools if address in pool)
    return next(others, None)


def _keep_stranded(draft: _Draft) -> None:
    """Until there is another, a Service keeps an address that its pool no longer contains: add before remove."""
    for version in draft.missing():
        for vip in _held(draft, version):
            if draft.wish.pool in {"", vip.spec.pool_name}:
                address = vip_address(vip.metadata.name)
                draft.given[version] = Granted(address, vip.spec.pool_name, _announce_of(vip))
                break


def _announce_of(vip: VirtualIP) -> PoolAnnounce:
    have = vip.spec.announce
    return PoolAnnounce(
        protocols=have.protocols,
        interfaces=have.interfaces,
        node_selector=have.node_selector,
        include_excluded_nodes=have.include_excluded_nodes,
    )


# -- what it asks for -------------------------------------------------------------------------------------------------


def _ask(draft: _Draft, version: int, address: Address) -> None:
    book, wish = draft.book, draft.wish
    containing = [pool for pool in book.pools.values() if address in pool]
    if not containing:
        draft.refused[version] = Refused(Reason.ADDRESS_NOT_IN_POOL, f"{address} is in no pool")
        return
    fitting = [pool for pool in containing if not pool.why_not(wish) and wish.pool in {"", pool.name}]
    if not fitting:
        draft.refused[version] = _unfitting(containing[0], wish, address)
        return
    allowed = [pool for pool in fitting if pool.allocation.by_address == "Allowed"]
    if not allowed:
        message = f"pool {fitting[0].name} forbids asking for one address"
        draft.refused[version] = Refused(Reason.ADDRESS_FORBIDDEN, message)
        return
    if not _may_have(book, wish, address):
        draft.refused[version] = Refused(Reason.ADDRESS_TAKEN, f"{address} {book.owner(address)}")
        return
    _take(draft, version, address, sorted(allowed, key=lambda pool: (-pool.allocation.priority, pool.name)))


def _unfitting(pool: Pool, wish: Wish, address: Address) -> Refused:
    why = pool.why_not(wish) or f"is not pool {wish.pool}, which the Service asks for"
    return Refused(Reason.ADDRESS_FORBIDDEN, f"{address} is in pool {pool.name}, which {why}")


def _may_have(book: Book, wish: Wish, address: Address) -> bool:
    """Whether *address* is free, or is being created or kept for this very Service."""
    vip = book.vips.get(vip_name(address))
    if vip is not None:
        return vip in book.claimed_by(wish.key) and not vip.metadata.deletion_timestamp
    return book.is_free(address) or address in book.pending_of(wish.key)


# -- what is to be had ------------------------------------------------------------------------------------------------


def _again(draft: _Draft, version: int) -> None:
    """Prefer what was this Service's before: a creation under way, an address that rests for it, one in its status."""
    book, wish = draft.book, draft.wish
    resting = [
        vip_address(vip.metadata.name)
        for vip in book.claimed_by(wish.key)
        if not _claim_uid(vip, wish) and not vip.metadata.deletion_timestamp
    ]
    for address in (*book.pending_of(wish.key), *resting, *wish.shown):
        pools = [pool for pool in draft.pools if address in pool]
        if address.version == version and pools and _may_have(book, wish, address):
            _take(draft, version, address, pools)
            if version in draft.given:
                return


def _allocate(draft: _Draft, versions: tuple[int, ...]) -> None:
    """New addresses: all of them from the first pool that has them all, else each from the first that has one."""
    if not versions:
        return
    kept = {granted.pool for granted in draft.given.values()}
    pools = sorted(draft.pools, key=lambda pool: pool.name not in kept)  # stable: priority decides among the others
    for pool in pools:
        if all(pool.total(version) and draft.book.next_free(pool, version) is not None for version in versions) and (
            _room(draft, pool) >= len(versions)
        ):
            for version in versions:
                _take_next(draft, version, pool)
            return
    for version in versions:
        for pool in pools:
            if _take_next(draft, version, pool):
                break
        else:
            draft.refused[version] = _why_none(draft, version)


def _take_next(draft: _Draft, version: int, pool: Pool) -> bool:
    number = draft.book.next_free(pool, version)
    if number is None or _room(draft, pool) < 1:
        return False
    draft.given[version] = Granted(address_of(version, number), pool.name, pool.announce)
    return True


def _take(draft: _Draft, version: int, address: Address, pools: list[Pool]) -> None:
    for pool in pools:
        if _counted(draft, address) or _room(draft, pool) >= 1:
            draft.given[version] = Granted(address, pool.name, pool.announce)
            return
    draft.refused[version] = _quota(draft, pools[0])


def _room(draft: _Draft, pool: Pool) -> float:
    """How many more addresses of *pool* the Service's namespace may have."""
    most = pool.allocation.max_per_namespace
    if not most:
        return float("inf")
    new = sum(granted.pool == pool.name and not _counted(draft, granted.address) for granted in draft.given.values())
    return most - draft.book.owned(pool.name, draft.wish.key.namespace) - new


def _counted(draft: _Draft, address: Address) -> bool:
    """Whether the book counts *address* among those of the Service's namespace already."""
    vip = draft.book.vips.get(vip_name(address))
    return address in draft.book.pending_of(draft.wish.key) or (vip is not None and _claim_uid(vip, draft.wish) != "")


def _quota(draft: _Draft, pool: Pool) -> Refused:
    most, namespace = pool.allocation.max_per_namespace, draft.wish.key.namespace
    return Refused(Reason.QUOTA_EXCEEDED, f"namespace {namespace} has {most} of {most} addresses of {pool.name}")


def _why_none(draft: _Draft, version: int) -> Refused:
    """Why no address of this family could be had, told by the pools that might have had one."""
    wish, family = draft.wish, FAMILY[version]
    if not draft.pools:
        return _no_pool(draft)
    having = [pool for pool in draft.pools if pool.total(version)]
    if not having:
        names = ", ".join(pool.name for pool in draft.pools)
        first = "RequireDualStack: " if wish.all_families else ""
        return Refused(Reason.FAMILY_MISSING, f"{first}pool {names} has no {family}")
    full = [pool for pool in having if draft.book.next_free(pool, version) is None]
    if len(full) < len(having):
        return _quota(draft, next(pool for pool in having if pool not in full))
    told = "; ".join(
        f"pool {pool.name} has no free {family} address ({pool.total(version)} of {pool.total(version)} used)"
        for pool in having
    )
    return Refused(Reason.POOL_EXHAUSTED, told)


def _no_pool(draft: _Draft) -> Refused:
    wish, pools = draft.wish, draft.book.pools
    if wish.pool and wish.pool not in pools:
        return Refused(Reason.NO_MATCHING_POOL, f"there is no pool {wish.pool}, which the Service asks for")
    if not pools:
        return Refused(Reason.NO_MATCHING_POOL, "there is no AddressPool yet")
    nearest = pools[wish.pool] if wish.pool else min(pools.values(), key=lambda p: (-p.allocation.priority, p.name))
    why = nearest.why_not(wish) or "gives addresses only to Services that name it (auto is false)"
    labels = ", ".join(f"{key}={value}" for key, value in sorted(wish.labels.items())) or "none"
    message = f"no pool selects namespace {wish.key.namespace} and labels {labels}; nearest: {nearest.name}, {why}"
    return Refused(Reason.NO_MATCHING_POOL, message)
