"""Which services are wanted, and the steps to them."""

import asyncio
import errno
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.ipvs import plan
from nodeagent.ipvs.fake import FakeKernel
from nodeagent.ipvs.settings import Forwarding, Scheduler, Settings
from nodeagent.ipvs.values import (
    AddBackend,
    AddService,
    Backend,
    DeleteBackend,
    DeleteService,
    Failed,
    Have,
    Member,
    Place,
    PutTable,
    Seen,
    Service,
    SetBackend,
    SetService,
    SetSysctl,
    Table,
)

MASQUERADE = Settings(lb_enable=True, lb_forwarding=Forwarding.MASQUERADE)
VIP, VIP6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
A, B, A6 = ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1")
OWN = frozenset({A, A6})
PLACE = Place(VIP, 6443)


def backend(address: object, forwarding: Forwarding = Forwarding.MASQUERADE, weight: int = 1) -> Backend:
    return Backend(Place(ip_address(str(address)), 6443), forwarding, weight)


def service(*backends: Backend, place: Place = PLACE, scheduler: Scheduler = Scheduler.RR) -> Service:
    return Service(place, scheduler, frozenset(backends))


def have(*services: Service, active: dict[Place, int] | None = None, **more: object) -> Have:
    seen = {one.place: Seen(one, active=active or {}) for one in services}
    return replace(Have(seen), **more)  # type: ignore[arg-type]


WANTED = {
    "the node's own server is forwarded to locally, the others as set": (
        MASQUERADE,
        [Member((A,)), Member((B,), weight=3)],
        service(backend(A, Forwarding.LOCAL), backend(B, weight=3)),
    ),
    "with local the node's own server is all there is": (
        Settings(),
        [Member((A,)), Member((B,))],
        service(backend(A, Forwarding.LOCAL)),
    ),
    "local, and the node has no server: the others are of no use": (Settings(), [Member((B,))], None),
    "the own server on another port is masqueraded to": (
        replace(MASQUERADE, lb_port=443),
        [Member((A,))],
        service(backend(A), place=Place(VIP, 443)),
    ),
    "a member counts by its first address of the family": (
        MASQUERADE,
        [Member((A6, B, A))],
        service(backend(B)),
    ),
    "a member without the family is no backend": (MASQUERADE, [Member((A6,))], None),
    "the VIP itself is no backend": (MASQUERADE, [Member((VIP,))], None),
    "nobody to balance over: no service": (MASQUERADE, [], None),
    "the scheduler is that of the settings": (
        replace(MASQUERADE, lb_scheduler=Scheduler.MH),
        [Member((B,))],
        service(backend(B), scheduler=Scheduler.MH),
    ),
    "tunnel for the others": (
        replace(MASQUERADE, lb_forwarding=Forwarding.TUNNEL),
        [Member((A,)), Member((B,))],
        service(backend(A, Forwarding.LOCAL), backend(B, Forwarding.TUNNEL)),
    ),
}


@pytest.mark.parametrize(("settings", "members", "expected"), WANTED.values(), ids=WANTED.keys())
def test_wanted(settings: Settings, members: list[Member], expected: Service | None) -> None:
    assert plan.wanted([VIP], members, OWN, settings) == ({expected} if expected else set())


def test_wanted_for_both_families() -> None:
    found = plan.wanted([VIP, VIP6], [Member((A, A6))], OWN, MASQUERADE)
    assert {(one.place.address, each.place.address) for one in found for each in one.backends} == {(VIP, A), (VIP6, A6)}


WELL = service(backend(A, Forwarding.LOCAL), backend(B))
QUIET_B = replace(backend(B), weight=0)
FOREIGN = Have({PLACE: Seen(service(), ours=False)}, others=1)
STEPS = {
    "a service is made before its backends": (
        have(),
        [WELL],
        [
            AddService(PLACE, Scheduler.RR),
            AddBackend(PLACE, backend(A, Forwarding.LOCAL)),
            AddBackend(PLACE, backend(B)),
        ],
    ),
    "what is there stays": (have(WELL), [WELL], []),
    "a backend is added before another gets no more connections": (
        have(service(backend(B))),
        [service(backend(A))],
        [AddBackend(PLACE, backend(A)), SetBackend(PLACE, QUIET_B)],
    ),
    "a backend at weight 0 drains": (have(service(backend(A), QUIET_B)), [service(backend(A))], []),
    "a backend that drains and is wanted again gets its weight": (
        have(service(backend(A), QUIET_B)),
        [service(backend(A), backend(B))],
        [SetBackend(PLACE, backend(B))],
    ),
    "another way of forwarding and another weight are set": (
        have(service(backend(B, Forwarding.TUNNEL, 2))),
        [service(backend(B))],
        [SetBackend(PLACE, backend(B))],
    ),
    "another scheduler is set": (
        have(service(backend(B), scheduler=Scheduler.LC)),
        [service(backend(B))],
        [SetService(PLACE, Scheduler.RR)],
    ),
    "a service that is not wanted goes with its backends, after the additions": (
        have(service(backend(A6), place=Place(VIP6, 6443))),
        [service(backend(B))],
        [AddService(PLACE, Scheduler.RR), AddBackend(PLACE, backend(B)), DeleteService(Place(VIP6, 6443))],
    ),
    "another's service in our place is left alone": (FOREIGN, [WELL], []),
    "another's service elsewhere is left alone": (FOREIGN, [], []),
}


@pytest.mark.parametrize(("there", "want", "expected"), STEPS.values(), ids=STEPS.keys())
def test_steps(there: Have, want: list[Service], expected: list[object]) -> None:
    assert list(plan.steps(there, want, complete=True)) == expected


@pytest.mark.parametrize(("there", "want", "expected"), STEPS.values(), ids=STEPS.keys())
def test_nothing_goes_before_the_first_full_list(there: Have, want: list[Service], expected: list[object]) -> None:
    stays = [step for step in expected if not isinstance(step, DeleteService) and step != SetBackend(PLACE, QUIET_B)]
    assert list(plan.steps(there, want, complete=False)) == stays


def test_a_backend_is_removed_when_it_is_drained_or_had_its_time() -> None:
    there, want = have(service(backend(A), QUIET_B), active={QUIET_B.place: 2}), [service(backend(A))]
    key = (PLACE, QUIET_B.place)
    since = plan.draining(there, want, {}, 100.0)
    assert since == {key: 100.0}
    assert plan.draining(there, want, since, 105.0) == since
    assert not plan.overdue(there, since, 129.9, MASQUERADE)
    assert plan.overdue(there, since, 130.0, MASQUERADE) == {key}
    empty = have(service(backend(A), QUIET_B))
    assert not plan.overdue(empty, since, 100.9, MASQUERADE)
    assert plan.overdue(empty, since, 101.0, MASQUERADE) == {key}
    assert plan.steps(there, want, complete=True, overdue={key}) == (DeleteBackend(PLACE, QUIET_B.place),)
    assert plan.draining(there, [service(backend(A), backend(B))], since, 106.0) == {}


ZERO = {plan.CONNTRACK: "0", plan.EXPIRE: "0", plan.FORWARD4: "0", plan.FORWARD6: "0"}
ONE = dict.fromkeys(ZERO, "1")
BEFORE = frozenset({(plan.CONNTRACK, "0"), (plan.EXPIRE, "0")})
OURS = Table(frozenset({PLACE}), BEFORE)
SIX = service(backend(A6), place=Place(VIP6, 6443))


def test_the_table_remembers_sysctls_before_they_are_changed() -> None:
    assert plan.ground(have(sysctls=ZERO), {WELL}) == (
        PutTable(OURS),
        SetSysctl(plan.EXPIRE, "1"),
        SetSysctl(plan.CONNTRACK, "1"),
        SetSysctl(plan.FORWARD4, "1"),
    )
    assert plan.ground(have(sysctls=ONE, table=OURS), {WELL}) == ()


def test_what_was_set_before_us_is_not_ours() -> None:
    assert plan.ground(have(sysctls=ONE), {WELL}) == (PutTable(Table(frozenset({PLACE}))),)


def test_a_former_lifes_memory_is_kept() -> None:
    (first, *_) = plan.ground(
        have(sysctls=ZERO, table=replace(OURS, before=frozenset({(plan.CONNTRACK, "7")}))), {WELL}
    )
    assert isinstance(first, PutTable)
    assert dict(first.table.before) == {plan.CONNTRACK: "7", plan.EXPIRE: "0"}


def test_locally_nothing_is_needed() -> None:
    local = service(backend(A, Forwarding.LOCAL))
    assert plan.ground(have(sysctls=ZERO), {local}) == ()


def test_a_node_that_shall_forward_ipv6_goes_on_hearing_its_routers() -> None:
    there = have(sysctls={**ZERO, "net/ipv6/conf/eth0.5/accept_ra": "1", "net/ipv6/conf/eth1/accept_ra": "0"})
    names = [step.name for step in plan.ground(there, {SIX}) if isinstance(step, SetSysctl)]
    assert names.index("net/ipv6/conf/eth0.5/accept_ra") < names.index(plan.FORWARD6)
    assert "net/ipv6/conf/eth1/accept_ra" not in names


def test_ground_is_lifted_when_nothing_stands_on_it() -> None:
    there = have(sysctls=ONE, table=OURS)
    assert plan.lifted(there, set(), complete=False) == ()
    assert plan.lifted(there, {WELL}, complete=True) == ()
    assert plan.lifted(there, set(), complete=True) == (
        SetSysctl(plan.CONNTRACK, "0"),
        SetSysctl(plan.EXPIRE, "0"),
        PutTable(Table()),
    )


def test_sysctls_that_kube_proxy_needs_stay() -> None:
    assert plan.lifted(have(sysctls=ONE, table=OURS, kube_proxy=True), set(), complete=True) == (PutTable(Table()),)


SAID = {
    "a scheduler that is no module there": (Failed(AddService(PLACE, Scheduler.MH), errno.ENOENT), "modprobe ip_vs_mh"),
    "a service": (
        Failed(AddService(PLACE, Scheduler.RR), errno.EINVAL),
        "IPVS takes no service 192.0.2.1:6443: EINVAL",
    ),
    "a backend": (Failed(AddBackend(PLACE, backend(A6)), errno.EINVAL), "no backend [fd00::1]:6443 for 192.0.2.1:6443"),
    "a sysctl": (Failed(SetSysctl(plan.CONNTRACK, "1"), errno.EROFS), "sysctl -w net.ipv4.vs.conntrack=1"),
    "a table": (Failed(PutTable(OURS), errno.EINVAL, "the program nft is missing"), "the program nft is missing"),
    "a removal": (Failed(DeleteService(PLACE), errno.EPERM), "DeleteService failed: EPERM"),
}


@pytest.mark.parametrize(("failed", "words"), SAID.values(), ids=SAID.keys())
def test_said(failed: Failed, words: str) -> None:
    assert words in plan.said(failed)
    assert words in "".join(plan.wrong(have(), {WELL}, {}, [failed]).values())


WRONG = {
    "a way of forwarding that cannot change the port": (
        replace(MASQUERADE, lb_forwarding=Forwarding.DIRECT, lb_port=443),
        "lb-port 443 must be the API servers' own, 6443",
    ),
    "bypass": (replace(MASQUERADE, lb_forwarding=Forwarding.BYPASS), "bypass"),
    "masquerade changes ports": (replace(MASQUERADE, lb_port=443), ""),
}


@pytest.mark.parametrize(("settings", "words"), WRONG.values(), ids=WRONG.keys())
def test_wishes_that_cannot_work_are_told(settings: Settings, words: str) -> None:
    want = plan.wanted([VIP], [Member((B,))], OWN, settings)
    found = plan.problems(have(sysctls=ZERO), want)
    assert words in found[VIP] if words else not found


# -- applying the steps gives what was wanted, and then there is nothing left to do

ADDRESSES = [ip_address(f"10.0.0.{number}") for number in range(1, 6)]
VIPS = [ip_address(f"192.0.2.{number}") for number in range(1, 4)]
forwardings = st.sampled_from(Forwarding)
schedulers = st.sampled_from([Scheduler.RR, Scheduler.WLC])


def backends(least: int) -> st.SearchStrategy[list[Backend]]:
    one = st.builds(backend, st.sampled_from(ADDRESSES), forwardings, st.integers(least, 3))
    return st.lists(one, max_size=4, unique_by=lambda each: each.place)


def some_services(least: int) -> st.SearchStrategy[list[Service]]:
    places = st.sampled_from(VIPS).map(lambda vip: Place(vip, 6443))
    one = st.builds(Service, places, schedulers, backends(least).map(frozenset))
    return st.lists(one, max_size=3, unique_by=lambda each: each.place)


@given(some_services(0), some_services(1), st.sets(st.sampled_from(VIPS)))
def test_the_steps_lead_to_what_is_wanted(before: list[Service], want: list[Service], foreign: set[object]) -> None:
    kernel = FakeKernel()
    for one in before:
        kernel.put(Seen(one, ours=one.place.address not in foreign))
    others = {place: seen for place, seen in kernel.have.services.items() if not seen.ours}
    expected = {one.place: Seen(one) for one in want} | others
    since: plan.Draining = {}
    for now in (0.0, 1.0, 100.0):
        asyncio.run(kernel.do(plan.ground(kernel.have, set(want))))
        since = plan.draining(kernel.have, want, since, now)
        overdue = plan.overdue(kernel.have, since, now, MASQUERADE)
        asyncio.run(kernel.do(plan.steps(kernel.have, want, complete=True, overdue=overdue)))
        asyncio.run(kernel.do(plan.lifted(kernel.have, set(want), complete=True)))
    assert kernel.have.services == expected
    assert not plan.ground(kernel.have, set(want))
    assert not plan.steps(kernel.have, want, complete=True)
    assert not plan.lifted(kernel.have, set(want), complete=True)
