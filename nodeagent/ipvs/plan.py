"""Which services IPVS should have, and the steps to get there. No I/O.

Ours is what bears our mark, whatever its address: so what a former life left behind is found, and kube-proxy's and
everybody else's services are told apart and never touched.
"""

import errno
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from ipaddress import IPv4Address

from nodeagent.ipvs.health import Health, serving
from nodeagent.ipvs.settings import Forwarding, Settings
from nodeagent.ipvs.values import (
    AddBackend,
    Address,
    AddService,
    Backend,
    DeleteBackend,
    DeleteService,
    Failed,
    Have,
    Member,
    Place,
    PutTable,
    Service,
    ServiceStep,
    SetBackend,
    SetService,
    SetSysctl,
    Step,
    Table,
)

SETTLE = 1.0  # seconds at weight 0 before a backend without connections is removed: one may be in its handshake
CONNTRACK = "net/ipv4/vs/conntrack"  # netfilter can masquerade what IPVS forwards
EXPIRE = "net/ipv4/vs/expire_nodest_conn"  # a connection to a backend that is gone is reset, and does not hang
FORWARD4, FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
SYSCTLS = (CONNTRACK, EXPIRE, FORWARD4, FORWARD6)
_PUT_BACK = (CONNTRACK, EXPIRE)  # forwarding stays: pods, which came later, live on it

Draining = Mapping[tuple[Place, Place], float]
"""By service and backend since when it is at weight 0 and to be removed, in seconds of the clock."""


def wanted(
    vips: Iterable[Address], members: Iterable[Member], own: Set[Address], settings: Settings
) -> frozenset[Service]:
    """A service for each of *vips*, those that this node holds; *own* are the node's own addresses.

    Each member is a backend by its first address of the VIP's family. The node's own API server is forwarded to locally
    where its port is the service's. A VIP for which there is no backend gets no service: its connections end on this
    node, as without balancing.
    """
    several = tuple(members)
    services = (_service(vip, several, own, settings) for vip in vips)
    return frozenset(service for service in services if service.backends)


def _service(vip: Address, members: Iterable[Member], own: Set[Address], settings: Settings) -> Service:
    backends = set[Backend]()
    for member in members:
        address = next((one for one in member.addresses if one.version == vip.version and one != vip), None)
        if address is None:
            continue
        local = address in own
        forwarding = settings.lb_forwarding
        if local:
            forwarding = Forwarding.LOCAL if member.port == settings.lb_port else Forwarding.MASQUERADE
        if local or settings.lb_forwarding != Forwarding.LOCAL:
            backends.add(Backend(Place(address, member.port), forwarding, member.weight))
    return Service(Place(vip, settings.lb_port), settings.lb_scheduler, frozenset(backends))


def healthy(services: Iterable[Service], healths: Mapping[Place, Health]) -> frozenset[Service]:
    """The services with those backends that shall get connections now."""
    found = set[Service]()
    for service in services:
        serve = serving((backend.place for backend in service.backends), healths)
        kept = frozenset(backend for backend in service.backends if backend.place in serve)
        found.add(replace(service, backends=kept))
    return frozenset(found)


def without_masquerade(services: Iterable[Service]) -> frozenset[Service]:
    """The services where nothing can be masqueraded: the node's own API server alone, if it is there.

    Clients would not take the answers of the others: these come from an address that they did not ask.
    """
    found = set[Service]()
    for service in services:
        rest = frozenset(one for one in service.backends if one.forwarding != Forwarding.MASQUERADE)
        found.add(replace(service, backends=rest or service.backends))
    return frozenset(found)


def can_masquerade(have: Have) -> bool:
    """Whether netfilter sees what IPVS forwards: else nothing of it can be masqueraded."""
    return have.sysctls.get(CONNTRACK) is not None


# -- what balancing stands on: sysctls, and the table that masquerades


def ground(have: Have, want: Set[Service]) -> tuple[Step, ...]:
    """What must be there before the services are; it takes nothing away."""
    needed = sysctls(want, have)
    changes = {name: value for name, value in needed.items() if have.sysctls.get(name) not in {None, value}}
    remembered = dict(have.table.before)
    for name in changes.keys() & set(_PUT_BACK):
        remembered.setdefault(name, have.sysctls.get(name) or "0")
    masquerades = have.table.masquerades | {service.place for service in want if service.masquerades}
    table = Table(masquerades, frozenset(remembered.items()))
    before = (PutTable(table),) if table != have.table else ()
    return (*before, *(SetSysctl(name, value) for name, value in changes.items()))


def lifted(have: Have, want: Set[Service], *, complete: bool) -> tuple[Step, ...]:
    """What is needed no more once the services are as wanted; nothing before *want* is *complete*.

    Sysctls of IPVS go back to what they were, unless others balance here too: kube-proxy needs the same.
    """
    if not complete:
        return ()
    masquerades = frozenset(service.place for service in want if service.masquerades)
    needed = sysctls(want, have)
    surplus = {name: value for name, value in have.table.before if name not in needed}
    back = () if have.others or have.kube_proxy else tuple(SetSysctl(*each) for each in sorted(surplus.items()))
    changed = tuple(step for step in back if have.sysctls.get(step.name) not in {None, step.value})
    table = Table(masquerades, frozenset(pair for pair in have.table.before if pair[0] in needed))
    return (*changed, *((PutTable(table),) if table != have.table else ()))


def sysctls(want: Iterable[Service], have: Have) -> Mapping[str, str]:
    """What *want* needs, in the order in which it is to be written.

    A node that forwards IPv6 ignores router advertisements unless accept_ra is 2, and with them loses its routes.
    """
    needed = dict[str, str]()
    for service in want:
        if any(backend.forwarding != Forwarding.LOCAL for backend in service.backends):
            needed[EXPIRE] = "1"
        if service.masquerades:
            needed[CONNTRACK] = "1"
            needed[FORWARD4 if isinstance(service.place.address, IPv4Address) else FORWARD6] = "1"
    if FORWARD6 in needed and have.sysctls.get(FORWARD6) == "0":
        listening = [name for name, value in have.sysctls.items() if name.endswith("/accept_ra") and value == "1"]
        needed = {**dict.fromkeys(listening, "2"), **needed}
    return needed


# -- services


def draining(have: Have, want: Iterable[Service], before: Draining, now: float) -> Draining:
    """Since when the backends that are to be removed are at weight 0."""
    wanted_backends = {(service.place, backend.place) for service in want for backend in service.backends}
    return {
        key: before.get(key, now)
        for seen in have.services.values()
        if seen.ours
        for backend in seen.service.backends
        if backend.weight == 0 and (key := (seen.service.place, backend.place)) not in wanted_backends
    }


def steps(
    have: Have, want: Iterable[Service], *, complete: bool, overdue: Set[tuple[Place, Place]] = frozenset()
) -> tuple[ServiceStep, ...]:
    """Additions, changes, and then removals: these, and weight 0 before them, only when *want* is *complete*.

    A service that is not ours in a place that we want is left as it is. A backend is removed when it is *overdue*.
    """
    todo, away = list[ServiceStep](), list[ServiceStep]()
    places = set[Place]()
    for service in sorted(want, key=lambda one: _key(one.place)):
        places.add(service.place)
        seen = have.services.get(service.place)
        if seen is None:
            todo.append(AddService(service.place, service.scheduler))
        elif not seen.ours:
            continue
        elif seen.service.scheduler != service.scheduler:
            todo.append(SetService(service.place, service.scheduler))
        there = {one.place: one for one in seen.service.backends} if seen else {}
        todo += _additions(service, there)
        away += _removals(service, there, overdue) if complete else ()
    if complete:
        gone = [place for place, seen in have.services.items() if seen.ours and place not in places]
        away += [DeleteService(place) for place in sorted(gone, key=_key)]
    return (*todo, *away)


def _additions(service: Service, there: Mapping[Place, Backend]) -> list[ServiceStep]:
    todo = list[ServiceStep]()
    for backend in sorted(service.backends, key=lambda one: _key(one.place)):
        if backend.place not in there:
            todo.append(AddBackend(service.place, backend))
        elif there[backend.place] != backend:
            todo.append(SetBackend(service.place, backend))
    return todo


def _removals(service: Service, there: Mapping[Place, Backend], overdue: Set[tuple[Place, Place]]) -> list[ServiceStep]:
    todo = list[ServiceStep]()
    stay = {backend.place for backend in service.backends}
    for backend in sorted(there.values(), key=lambda one: _key(one.place)):
        if backend.place in stay:
            continue
        if backend.weight:
            todo.append(SetBackend(service.place, replace(backend, weight=0)))
        elif (service.place, backend.place) in overdue:
            todo.append(DeleteBackend(service.place, backend.place))
    return todo


def overdue(have: Have, since: Draining, now: float, settings: Settings) -> frozenset[tuple[Place, Place]]:
    """The backends that are drained: no established connection is left, or they had their time."""
    return frozenset(
        (place, backend)
        for (place, backend), began in since.items()
        if now - began >= (settings.lb_drain if _active(have, place, backend) else min(SETTLE, settings.lb_drain))
    )


def _active(have: Have, place: Place, backend: Place) -> int:
    seen = have.services.get(place)
    return seen.active.get(backend, 0) if seen else 0


# -- what is said


def said(failed: Failed) -> str:
    """Why a step could not be done, and what helps."""
    why = failed.words or errno.errorcode.get(failed.errno, str(failed.errno))
    match failed.step:
        case AddService(_, scheduler) | SetService(_, scheduler) if failed.errno == errno.ENOENT:
            return f"the kernel has no IPVS scheduler {scheduler}: modprobe ip_vs_{scheduler}, or set lb-scheduler"
        case AddService(place) | SetService(place):
            return f"IPVS takes no service {place}: {why}"
        case AddBackend(place, backend) | SetBackend(place, backend):
            return f"IPVS takes no backend {backend.place} for {place} by {backend.forwarding}: {why}"
        case SetSysctl(name, value):
            dotted = name.replace("/", ".") if name in SYSCTLS else name
            return f"{dotted} must be {value} and cannot be written ({why}): on the node, sysctl -w {dotted}={value}"
        case PutTable():
            return f"nothing can be masqueraded, so only this node's own API server is used: {why}"
        case step:
            return f"{type(step).__name__} failed: {why}"


def wrong(
    have: Have, want: Iterable[Service], told: Mapping[Address, str], failures: Iterable[Failed]
) -> Mapping[Address, str]:
    """By VIP all that is wrong: with what was seen, what is *told* of it beside, and what could not be done."""
    several = list(want)
    found = {address: [words] for address, words in problems(have, several).items()}
    for failed in failures:
        for address in _concerned(failed.step, several):
            found.setdefault(address, []).append(said(failed))
    for service in several:
        if words := told.get(service.place.address):
            found.setdefault(service.place.address, []).append(words)
    return {address: "; ".join(dict.fromkeys(words)) for address, words in found.items()}


def _concerned(step: Step, want: Iterable[Service]) -> list[Address]:
    match step:
        case PutTable() | SetSysctl():
            return [service.place.address for service in want]
        case _:
            return [step.place.address]


def shown(services: Iterable[Service]) -> str:
    """*services* for people to read, as ipvsadm has them; weight 0 drains."""
    lines = list[str]()
    for service in sorted(services, key=lambda one: _key(one.place)):
        backends = sorted(service.backends, key=lambda one: _key(one.place))
        words = ", ".join(f"{one.place} {one.forwarding} {one.weight}" for one in backends)
        lines.append(f"{service.place} {service.scheduler} -> {words or 'nobody'}")
    return "; ".join(lines) or "nothing"


def problems(have: Have, want: Iterable[Service]) -> Mapping[Address, str]:
    """By VIP what is wrong with what was seen, whatever was tried."""
    found = dict[Address, str]()
    for service in want:
        place = service.place
        seen = have.services.get(place)
        if seen is not None and not seen.ours:
            who = "kube-proxy or another program" if have.kube_proxy else "another program"
            found[place.address] = (
                f"{who} has the IPVS service {place}, and ours does not take its place;"
                f" if nobody needs it any more: ipvsadm -D -t {place}"
            )
        elif why := _unfit(service, have):
            found[place.address] = why
    return found


def taken(before: Iterable[Place], have: Have, want: Iterable[Service]) -> Mapping[Address, str]:
    """By VIP who took away a service of ours that was there *before* and is wanted still."""
    lost = {service.place for service in want} & set(before) - have.services.keys()
    if not have.kube_proxy:
        return {place.address: f"another program took the IPVS service {place} away; it is put back" for place in lost}
    return {
        place.address: f"kube-proxy in IPVS mode takes the IPVS service {place} away again and again: add"
        f" {place.address}/{place.address.max_prefixlen} to ipvs.excludeCIDRs of its configuration, and restart it"
        for place in lost
    }


def _unfit(service: Service, have: Have) -> str:
    if service.masquerades and not can_masquerade(have):
        return (
            "this kernel's IPVS knows no net.ipv4.vs.conntrack (CONFIG_IP_VS_NFCT), so that nothing can be masqueraded"
            " and only this node's own API server is used; lb-forwarding directroute or tunnel needs no such thing"
        )
    for backend in sorted(service.backends, key=lambda one: _key(one.place)):
        if backend.forwarding == Forwarding.BYPASS:
            return "lb-forwarding bypass leads connections to the address itself, which is this node: no other gets any"
        if backend.forwarding != Forwarding.MASQUERADE and backend.place.port != service.place.port:
            return (
                f"lb-forwarding {backend.forwarding} cannot change the port: lb-port {service.place.port} must be"
                f" the API servers' own, {backend.place.port}"
            )
    return ""


def _key(place: Place) -> tuple[int, int, int]:
    return place.address.version, int(place.address), place.port
