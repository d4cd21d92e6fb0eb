from datetime import UTC, datetime
from ipaddress import ip_address as ip

import msgspec
import pytest

from cloudprovider.pools.book import Book
from cloudprovider.pools.pool import parsed
from cloudprovider.pools.report import cluster, events, status_of
from roost.kube.wire import AddressPool, AddressPoolSpec, Claim, Meta, PoolSource, VirtualIP, VirtualIPSpec

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AROUND = cluster([("ServiceCIDR kubernetes", "10.96.0.0/16"), ("rubbish", "x")])


def pool(name: str, *addresses: str, source: str = "Static") -> AddressPool:
    spec = AddressPoolSpec(addresses=addresses, source=PoolSource(type=source))
    return AddressPool(metadata=Meta(name=name, generation=2), spec=spec)


def book(*pools: AddressPool, used: int = 0) -> Book:
    out = Book()
    out.pools = {item.metadata.name: parsed(item) for item in pools}
    for number in range(1, used + 1):
        address = f"192.0.2.{number}"
        claims = (Claim(namespace="shop", name=f"s{number}", uid="u"),)
        spec = VirtualIPSpec(address=address, pool_name=pools[0].metadata.name, claims=claims)
        out.put(VirtualIP(metadata=Meta(name=address), spec=spec))
    return out


PROD = pool("prod", "192.0.2.0/28", "2001:db8::/112")


@pytest.mark.parametrize(
    ("subject", "taken", "kind", "status", "reason", "message"),
    [
        pytest.param(PROD, book(PROD), "Ready", "True", "Parsed", "all ranges can be read", id="as it should be"),
        pytest.param(
            bad := pool("bad", "192.0.2.9-192.0.2.1", "192.0.2.1"),
            book(bad),
            "Ready",
            "False",
            "InvalidRange",
            "192.0.2.9-192.0.2.1: first is after last (the other ranges are used; what was given stays given)",
            id="a range that cannot be read",
        ),
        pytest.param(
            dhcp := pool("dhcp", source="DHCP"),
            book(dhcp),
            "Ready",
            "False",
            "Disabled",
            "source DHCP is not served by this version",
            id="a source that is not built yet",
        ),
        pytest.param(
            PROD,
            book(PROD, pool("two", "192.0.2.4-192.0.2.200")),
            "Overlapping",
            "True",
            "PoolsOverlap",
            "overlaps pool two",
            id="another pool",
        ),
        pytest.param(
            cidr := pool("cidr", "10.96.1.0/30"),
            book(cidr),
            "Overlapping",
            "True",
            "ClusterCIDR",
            "overlaps ServiceCIDR kubernetes (10.96.0.0/16)",
            id="the cluster's own addresses",
        ),
        pytest.param(
            PROD,
            book(PROD, used=14),
            "Exhausted",
            "True",
            "NoFreeAddress",
            "IPv4: 14 of 14 used, IPv6: 0 of 65535 used",
            id="nothing left in one family",
        ),
        pytest.param(
            PROD,
            book(PROD, used=13),
            "Exhausted",
            "False",
            "NearlyFull",
            "IPv4: 13 of 14 used, IPv6: 0 of 65535 used",
            id="nearly full",
        ),
        pytest.param(PROD, book(PROD, used=3), "Exhausted", "False", "AsExpected", "addresses are free", id="enough"),
    ],
)
def test_conditions(subject: AddressPool, taken: Book, kind: str, status: str, reason: str, message: str) -> None:
    found = {item.type: item for item in status_of(subject, taken, AROUND, NOW).conditions}[kind]
    assert (found.status, found.reason, found.message) == (status, reason, message)


def test_a_node_address_in_a_pool_is_named() -> None:
    now = book(PROD)
    now.block({ip("192.0.2.3"): "n1"})
    found = {item.type: item for item in status_of(PROD, now, AROUND, NOW).conditions}["Overlapping"]
    assert (found.reason, found.message) == ("NodeAddress", "overlaps 192.0.2.3 of node n1")


def test_the_numbers_that_people_see() -> None:
    status = status_of(PROD, book(PROD, used=3), AROUND, NOW)
    assert (status.ranges, status.used, status.free) == ("192.0.2.0/28, 2001:db8::/112", "3", "11 + 65535 IPv6")
    assert [(item.family, item.total, item.used) for item in status.capacity] == [
        ("IPv4", "14", 3),
        ("IPv6", "65535", 0),
    ]
    huge = pool("huge", "2001:db8::/32")
    assert status_of(huge, book(huge), AROUND, NOW).capacity[0].total == str(2**96 - 1)


def test_what_is_said_once_is_not_said_again() -> None:
    full = book(PROD, used=14)
    first = status_of(PROD, full, AROUND, NOW)
    assert [said.reason for said in events(PROD, first)] == ["NoFreeAddress"]
    again = msgspec.structs.replace(PROD, status=first)
    later = status_of(again, full, AROUND, datetime(2027, 1, 1, tzinfo=UTC))
    assert later == first
    assert events(again, later) == ()


def test_nearly_full_stays_until_there_is_room() -> None:
    nearly = msgspec.structs.replace(PROD, status=status_of(PROD, book(PROD, used=13), AROUND, NOW))
    reasons = [
        next(
            item.reason
            for item in status_of(nearly, book(PROD, used=used), AROUND, NOW).conditions
            if item.type == "Exhausted"
        )
        for used in (12, 11)
    ]
    assert reasons == ["NearlyFull", "AsExpected"]
