import time
from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudprovider.model import Grant, Key, Refused, Wish
from cloudprovider.pools.book import Book
from cloudprovider.pools.plan import decide
from cloudprovider.pools.pool import Pool, parsed
from roost.kube.wire import AddressPool, AddressPoolSpec, Allocation, Claim, Meta, Selector, VirtualIP, VirtualIPSpec
from roost.words import Address, Reason, vip_name

WEB = Key("shop", "web")
V4, V6, BOTH, SIX_FIRST = (4,), (6,), (4, 6), (6, 4)


def pool(name: str, *addresses: str, spec: AddressPoolSpec | None = None, **allocation: object) -> Pool:
    spec = spec or AddressPoolSpec()
    return parsed(
        AddressPool(
            metadata=Meta(name=name),
            spec=AddressPoolSpec(
                addresses=addresses,
                allocation=Allocation(**allocation),  # type: ignore[arg-type]  # a table of keyword arguments
                namespace_selector=spec.namespace_selector,
                service_selector=spec.service_selector,
            ),
        )
    )


def vip(address: str, *, owner: Key = WEB, uid: str = "u1", pool: str = "prod", until: str | None = None) -> VirtualIP:
    return VirtualIP(
        metadata=Meta(name=vip_name(ip(address))),
        spec=VirtualIPSpec(
            address=address,
            pool_name=pool,
            retain_until=until,
            claims=(Claim(namespace=owner.namespace, name=owner.name, uid=uid),),
        ),
    )


def book(*pools: Pool, vips: tuple[VirtualIP, ...] = ()) -> Book:
    out = Book()
    out.pools = {item.name: item for item in pools}
    for item in vips:
        out.put(item)
    return out


def wish(  # noqa: PLR0913 - a wish has as many parts
    families: tuple[int, ...] = V4,
    *,
    all_families: bool = False,
    ask: tuple[str, ...] = (),
    pool: str = "",
    shown: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    namespace_labels: dict[str, str] | None = None,
) -> Wish:
    return Wish(
        WEB,
        "u1",
        families,
        all_families,
        tuple(ip(text) for text in ask),
        pool,
        labels or {},
        namespace_labels or {},
        tuple(ip(text) for text in shown),
    )


def given_to(answer: Grant | Refused) -> tuple[tuple[str, str], ...] | Reason:
    if isinstance(answer, Refused):
        return answer.reason
    return tuple((str(granted.address), granted.pool) for granted in answer.addresses)


PROD = pool("prod", "192.0.2.0/29", "2001:db8::/112")
FOUR, SIX = pool("four", "198.51.100.1-198.51.100.2"), pool("six", "2001:db8:6::/112")
OTHER = Key("shop", "api")
SHOP = AddressPoolSpec(namespace_selector=Selector(match_labels={"team": "shop"}))
GOLD = AddressPoolSpec(service_selector=Selector(match_labels={"tier": "gold"}))


@pytest.mark.parametrize(
    ("taken", "asked", "expected"),
    [
        pytest.param(book(PROD), wish(), (("192.0.2.1", "prod"),), id="the lowest free address"),
        pytest.param(
            book(pool("prod", "192.0.2.0/29", order="Descending")),
            wish(),
            (("192.0.2.6", "prod"),),
            id="the highest free address when the pool is searched downwards",
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.1", owner=OTHER), vip("192.0.2.2", owner=OTHER))),
            wish(),
            (("192.0.2.3", "prod"),),
            id="taken addresses are passed over",
        ),
        pytest.param(
            book(PROD), wish(BOTH), (("192.0.2.1", "prod"), ("2001:db8::1", "prod")), id="both families, IPv4 first"
        ),
        pytest.param(
            book(PROD), wish(SIX_FIRST), (("2001:db8::1", "prod"), ("192.0.2.1", "prod")), id="both, IPv6 first"
        ),
        pytest.param(
            book(FOUR, PROD, SIX),
            wish(BOTH),
            (("192.0.2.1", "prod"), ("2001:db8::1", "prod")),
            id="both families come from one pool although another is first by name",
        ),
        pytest.param(
            book(FOUR, SIX),
            wish(BOTH),
            (("198.51.100.1", "four"), ("2001:db8:6::1", "six")),
            id="from two pools when no pool has both",
        ),
        pytest.param(book(FOUR), wish(BOTH), (("198.51.100.1", "four"),), id="PreferDualStack takes what there is"),
        pytest.param(book(FOUR), wish(BOTH, all_families=True), Reason.FAMILY_MISSING, id="RequireDualStack does not"),
        pytest.param(book(FOUR), wish(V6), Reason.FAMILY_MISSING, id="an IPv4 pool has no IPv6"),
        pytest.param(
            book(FOUR, vips=(vip("198.51.100.1", owner=OTHER), vip("198.51.100.2", owner=OTHER))),
            wish(),
            Reason.POOL_EXHAUSTED,
            id="a full pool",
        ),
        pytest.param(book(), wish(), Reason.NO_MATCHING_POOL, id="no pool at all"),
        pytest.param(
            book(FOUR, pool("first", "203.0.113.1", priority=200)),
            wish(),
            (("203.0.113.1", "first"),),
            id="higher priority comes first",
        ),
        pytest.param(book(pool("byname", "203.0.113.1", auto=False)), wish(), Reason.NO_MATCHING_POOL, id="auto off"),
        pytest.param(
            book(FOUR, pool("byname", "203.0.113.1", auto=False)),
            wish(pool="byname"),
            (("203.0.113.1", "byname"),),
            id="auto off, but named",
        ),
        pytest.param(book(FOUR), wish(pool="lost"), Reason.NO_MATCHING_POOL, id="a pool that does not exist"),
        pytest.param(
            book(pool("shop", "203.0.113.1", spec=SHOP)), wish(), Reason.NO_MATCHING_POOL, id="another's namespace"
        ),
        pytest.param(
            book(pool("shop", "203.0.113.1", spec=SHOP)),
            wish(namespace_labels={"team": "shop"}),
            (("203.0.113.1", "shop"),),
            id="the namespace that is selected",
        ),
        pytest.param(
            book(FOUR, pool("gold", "203.0.113.1", spec=GOLD, priority=200)),
            wish(labels={"tier": "gold"}),
            (("203.0.113.1", "gold"),),
            id="the Service that is selected",
        ),
        pytest.param(
            book(
                pool("few", "203.0.113.0/24", max_per_namespace=1), vips=(vip("203.0.113.9", owner=OTHER, pool="few"),)
            ),
            wish(),
            Reason.QUOTA_EXCEEDED,
            id="the namespace has all that it may have",
        ),
        pytest.param(
            book(pool("few", "203.0.113.0/24", max_per_namespace=1), vips=(vip("203.0.113.9", pool="few"),)),
            wish(),
            (("203.0.113.9", "few"),),
            id="what it has is no reason against itself",
        ),
    ],
)
def test_allocation(taken: Book, asked: Wish, expected: object) -> None:
    assert given_to(decide(taken, asked)) == expected


@pytest.mark.parametrize(
    ("taken", "asked", "expected"),
    [
        pytest.param(book(PROD), wish(ask=("192.0.2.5",)), (("192.0.2.5", "prod"),), id="free: it gets it"),
        pytest.param(book(PROD), wish(ask=("203.0.113.1",)), Reason.ADDRESS_NOT_IN_POOL, id="in no pool"),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.5", owner=OTHER),)),
            wish(ask=("192.0.2.5",)),
            Reason.ADDRESS_TAKEN,
            id="another's",
        ),
        pytest.param(
            book(pool("prod", "192.0.2.0/29", by_address="Forbidden")),
            wish(ask=("192.0.2.5",)),
            Reason.ADDRESS_FORBIDDEN,
            id="the pool forbids asking",
        ),
        pytest.param(
            book(pool("shop", "192.0.2.0/29", spec=SHOP)),
            wish(ask=("192.0.2.5",)),
            Reason.ADDRESS_FORBIDDEN,
            id="another namespace's pool",
        ),
        pytest.param(
            book(pool("byname", "192.0.2.0/29", auto=False)),
            wish(ask=("192.0.2.5",)),
            (("192.0.2.5", "byname"),),
            id="a pool that gives nothing unasked",
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.1"),)),
            wish(ask=("192.0.2.5",)),
            (("192.0.2.5", "prod"),),
            id="it has another one: it moves",
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.1"),)),
            wish(BOTH, ask=("192.0.2.1",)),
            (("192.0.2.1", "prod"), ("2001:db8::1", "prod")),
            id="asked for in one family, the other comes from a pool",
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.5", uid="", until="2026-01-01T00:00:00Z"),)),
            wish(ask=("192.0.2.5",)),
            (("192.0.2.5", "prod"),),
            id="it rests for this very Service",
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.5", owner=OTHER, uid="", until="2026-01-01T00:00:00Z"),)),
            wish(ask=("192.0.2.5",)),
            Reason.ADDRESS_TAKEN,
            id="it rests for another",
        ),
        pytest.param(
            book(PROD, FOUR), wish(ask=("192.0.2.5",), pool="four"), Reason.ADDRESS_FORBIDDEN, id="other pool"
        ),
        pytest.param(
            book(PROD), wish(BOTH, ask=("203.0.113.1",)), Reason.ADDRESS_NOT_IN_POOL, id="one wish refused, all refused"
        ),
    ],
)
def test_requests(taken: Book, asked: Wish, expected: object) -> None:
    assert given_to(decide(taken, asked)) == expected


@pytest.mark.parametrize(
    ("taken", "asked", "expected"),
    [
        pytest.param(book(PROD, vips=(vip("192.0.2.4"),)), wish(), (("192.0.2.4", "prod"),), id="what it has it keeps"),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.4", uid="old"),)),
            wish(),
            (("192.0.2.4", "prod"),),
            id="so does a Service that was restored with another uid",
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.2"), vip("192.0.2.4"))),
            wish(shown=("192.0.2.4",)),
            (("192.0.2.4", "prod"),),
            id="of two the one in its status",
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.2"), vip("192.0.2.4"))), wish(), (("192.0.2.2", "prod"),), id="else the lower"
        ),
        pytest.param(
            book(PROD, vips=(vip("192.0.2.4", uid="", until="2026-01-01T00:00:00Z"),)),
            wish(),
            (("192.0.2.4", "prod"),),
            id="what rests for it comes back",
        ),
        pytest.param(
            book(PROD), wish(shown=("192.0.2.5",)), (("192.0.2.5", "prod"),), id="what its status shows, if free"
        ),
        pytest.param(
            book(PROD, vips=(vip("203.0.113.1"),)), wish(), (("192.0.2.1", "prod"),), id="the pool lost it: it moves"
        ),
        pytest.param(
            book(pool("prod", "192.0.2.9-192.0.2.1"), vips=(vip("192.0.2.4"),)),
            wish(),
            (("192.0.2.4", "prod"),),
            id="a pool that cannot be read keeps what it gave",
        ),
        pytest.param(
            book(vips=(vip("192.0.2.4"),)),
            wish(),
            (("192.0.2.4", "prod"),),
            id="without any other address it keeps the one of a pool that is gone",
        ),
        pytest.param(
            book(pool("new", "192.0.2.0/28"), vips=(vip("192.0.2.4"),)),
            wish(),
            (("192.0.2.4", "new"),),
            id="a pool of another name that contains it takes it over",
        ),
        pytest.param(
            book(PROD, FOUR, vips=(vip("192.0.2.4"),)),
            wish(pool="four"),
            (("198.51.100.1", "four"),),
            id="it asks for another pool: it moves",
        ),
        pytest.param(
            book(pool("prod", "192.0.2.0/29", spec=SHOP), vips=(vip("192.0.2.4"),)),
            wish(),
            (("192.0.2.4", "prod"),),
            id="selectors are asked when an address is given, not later",
        ),
    ],
)
def test_what_a_service_has(taken: Book, asked: Wish, expected: object) -> None:
    assert given_to(decide(taken, asked)) == expected


def test_a_creation_under_way_is_kept_for_its_service_and_from_others() -> None:
    now = book(PROD)
    now.reserve(ip("192.0.2.3"), WEB, "prod")
    assert given_to(decide(now, wish())) == (("192.0.2.3", "prod"),)
    now.reserve(ip("192.0.2.1"), OTHER, "prod")
    now.release(ip("192.0.2.3"))
    assert given_to(decide(now, wish())) == (("192.0.2.2", "prod"),)


def test_an_address_of_a_node_is_never_given() -> None:
    now = book(PROD)
    now.block({ip("192.0.2.1"): "n1"})
    assert given_to(decide(now, wish())) == (("192.0.2.2", "prod"),)
    answer = decide(now, wish(ask=("192.0.2.1",)))
    assert answer == Refused(Reason.ADDRESS_TAKEN, "192.0.2.1 is an address of node n1")
    now.block({})
    assert given_to(decide(now, wish())) == (("192.0.2.1", "prod"),)


def test_a_refusal_names_the_pools_and_how_full_they_are() -> None:
    full = book(FOUR, vips=(vip("198.51.100.1", owner=OTHER), vip("198.51.100.2", owner=OTHER)))
    told = Refused(Reason.POOL_EXHAUSTED, "pool four has no free IPv4 address (2 of 2 used)")
    assert decide(full, wish()) == told
    shop = book(pool("shop", "203.0.113.1", spec=SHOP))
    assert decide(shop, wish(labels={"app": "web"})) == Refused(
        Reason.NO_MATCHING_POOL,
        "no pool selects namespace shop and labels app=web; nearest: shop, does not select namespace shop",
    )


def test_a_huge_pool_is_searched_without_being_listed() -> None:
    now = book(pool("huge", "2001:db8::/32"))
    started = time.perf_counter()
    for number in range(2_000):
        answer = decide(now, Wish(Key("ns", f"s{number}"), f"u{number}", V6))
        assert isinstance(answer, Grant)
        address = answer.addresses[0].address
        now.put(vip(str(address), owner=Key("ns", f"s{number}"), uid=f"u{number}", pool="huge"))
    assert time.perf_counter() - started < 10  # listing 2^96 addresses would never end
    assert str(address) == "2001:db8::7d0"


keys = st.sampled_from([Key("a", "x"), Key("a", "y"), Key("b", "x"), Key("b", "y"), Key("b", "z")])
small = [pool("p", "192.0.2.1-192.0.2.3"), pool("p", "192.0.2.2-192.0.2.5"), pool("p", "192.0.2.9-192.0.2.1")]
actions = st.lists(
    st.one_of(
        st.tuples(st.just("create"), keys),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("edit"), st.sampled_from(small)),
    ),
    max_size=40,
)


@given(actions)
def test_no_address_is_ever_given_twice_and_a_restart_changes_nothing(todo: list[tuple[str, object]]) -> None:
    now, has = book(small[0]), dict[Key, Address]()
    for what, about in todo:
        if what == "create" and isinstance(about, Key):
            answer = decide(now, Wish(about, str(about), V4))
            if isinstance(answer, Grant):
                address = answer.addresses[0].address
                assert address not in {other for key, other in has.items() if key != about}
                if about in has and has[about] != address:
                    now.drop(vip_name(has[about]))
                has[about] = address
                now.put(vip(str(address), owner=about, uid=str(about), pool="p"))
            else:
                free = [
                    item
                    for item in range(256)
                    if now.is_free(ip(f"192.0.2.{item}")) and ip(f"192.0.2.{item}") in now.pools["p"]
                ]
                assert about not in has
                assert free == []
        elif what == "delete" and isinstance(about, Key) and about in has:
            now.drop(vip_name(has.pop(about)))
        elif what == "restart":
            again = book(*now.pools.values(), vips=tuple(now.vips.values()))
            for key in has:
                assert decide(again, Wish(key, str(key), V4)) == decide(now, Wish(key, str(key), V4))
            now = again
        elif what == "edit" and isinstance(about, Pool):
            now.pools["p"] = about


@given(st.permutations(range(6)))
def test_what_is_released_can_be_given_again(release_order: list[int]) -> None:
    now = book(PROD)
    names = [Key("ns", f"s{number}") for number in range(6)]
    for key in names:
        answer = decide(now, Wish(key, str(key), V4))
        assert isinstance(answer, Grant)
        now.put(vip(str(answer.addresses[0].address), owner=key, uid=str(key)))
    assert given_to(decide(now, Wish(WEB, "u1", V4))) == Reason.POOL_EXHAUSTED
    for number in release_order:
        freed = now.drop(now.claimed_by(names[number])[0].metadata.name)
        assert freed is not None
        assert given_to(decide(now, Wish(WEB, "u1", V4))) == ((freed.spec.address, "prod"),)
        now.put(vip(freed.spec.address, owner=Key("other", str(number)), uid="o"))
