"""What a Service asks for, read from its spec and its annotations; and whether it is ours to answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Literal

from cloudprovider.model import FAMILY, VERSION_OF, Key, Refused, Wish
from cloudprovider.services import directions
from roost import words
from roost.kube.wire import ClaimPort, Service
from roost.words import Address, Reason

LOAD_BALANCER_IP = "spec.loadBalancerIP"


@dataclass(frozen=True, slots=True)
class Settings:
    """Which Services we answer for, and how long an address rests."""

    default: bool = True
    """Answer for Services of type LoadBalancer that name no loadBalancerClass."""

    load_balancer_classes: tuple[str, ...] = (words.ROOST_CLASS, words.KUBE_VIP_CLASS)
    """Values of spec.loadBalancerClass to answer for. A Service's class cannot be changed, so keep old ones listed."""

    rest_seconds: float = 60.0
    """Seconds that a released address is kept for a Service of the same namespace and name before others may have
    it; allocation.retainSeconds of its pool counts if it is longer."""

    announcers: Literal["EveryEligibleNode", "HolderOnly"] = "EveryEligibleNode"
    """Who announces by BGP and routing table where neither the Service (annotation roost.dev/announcers) nor its pool
    says: every node that may, so that routers spread the traffic, or one of them (kube-vip: svc_election)."""

    def __post_init__(self) -> None:
        if self.rest_seconds < 0:
            raise ValueError("rest-seconds must not be negative")


def is_ours(service: Service, settings: Settings) -> bool:
    """Whether this Service wants an address, and from us."""
    spec = service.spec
    if spec.type != "LoadBalancer" or words.truthy(service.metadata.annotations, words.KUBE_VIP_IGNORE):
        return False
    return (
        settings.default
        if spec.load_balancer_class is None
        else spec.load_balancer_class in settings.load_balancer_classes
    )


def read(service: Service, namespace_labels: Mapping[str, str]) -> Wish | Refused:
    """The wish of a Service that is ours."""
    meta, spec = service.metadata, service.spec
    if meta.annotations.get(words.SHARING_KEY):
        return Refused(
            Reason.SHARING_REFUSED,
            f"annotation {words.SHARING_KEY}: this version gives each Service an address of its own; "
            "take the annotation away",
        )
    families = _families(service)
    requests = _requests(service)
    if isinstance(requests, Refused):
        return requests
    for where, address in requests:
        if address.version not in families:
            has = " and ".join(FAMILY[version] for version in families)
            return _invalid(where, f"{address} is {FAMILY[address.version]}, the Service has {has} only")
    agreed = _agreed(requests)
    directed = directions.read(service, namespace_labels)
    if isinstance(agreed, Refused):
        return agreed
    if isinstance(directed, Refused):
        return directed
    return Wish(
        key=Key(meta.namespace, meta.name),
        uid=meta.uid,
        families=families,
        all_families=spec.ip_family_policy == "RequireDualStack",
        requested=agreed,
        pool=meta.annotations.get(words.POOL, "").strip(),
        labels=meta.labels,
        namespace_labels=dict(namespace_labels),
        shown=shown(service),
        ports=tuple(ClaimPort(protocol=port.protocol, port=port.port) for port in spec.ports),
        directions=directed,
    )


def shown(service: Service) -> tuple[Address, ...]:
    """The addresses in the Service's status, as far as they are addresses."""
    found: list[Address] = []
    for ingress in service.status.load_balancer.ingress:
        try:
            found.append(_plain(ingress.ip))
        except ValueError:  # a hostname, or text of another program
            continue
    return tuple(found)


def _families(service: Service) -> tuple[int, ...]:
    """IP versions in the Service's order. A single-stack Service has one, whatever else the cluster has."""
    versions = tuple(VERSION_OF[name] for name in service.spec.ip_families if name in VERSION_OF) or (4,)
    return versions if service.spec.ip_family_policy in {"PreferDualStack", "RequireDualStack"} else versions[:1]


def _requests(service: Service) -> list[tuple[str, Address]] | Refused:
    """Every address that is asked for, each with the place where it is."""
    found: list[tuple[str, Address]] = []
    for where, text in _places(service):
        parts = [part.strip() for part in text.split(",")]
        try:
            addresses = [_plain(part) for part in parts]
        except ValueError:
            return _invalid(where, f"{text[:80]!r} is not a list of IP addresses")
        for address in addresses:
            if address.is_unspecified:
                return _invalid(where, f"{address} asks for an address by DHCP, which this version does not do")
            if any(address.version == other.version and address != other for other in addresses):
                return _invalid(where, f"more than one {FAMILY[address.version]} address")
        found += [(where, address) for address in addresses]
    return found


def _plain(text: str) -> Address:
    """An address without a zone, which no VIP has. Raises ValueError."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(f"{text} has a zone")
    return address


def _places(service: Service) -> Iterable[tuple[str, str]]:
    annotations = service.metadata.annotations
    for key in (words.ADDRESSES, words.KUBE_VIP_ADDRESSES):
        if text := annotations.get(key, "").strip():
            yield f"annotation {key}", text
    if text := service.spec.load_balancer_ip.strip():
        yield LOAD_BALANCER_IP, text


def _agreed(requests: list[tuple[str, Address]]) -> tuple[Address, ...] | Refused:
    """One address per family; the places that name one of the same family must name the same."""
    first: dict[int, tuple[str, Address]] = {}
    for where, address in requests:
        said, other = first.setdefault(address.version, (where, address))
        if other != address:
            message = f"{said.removeprefix('annotation ')}={other} but {where.removeprefix('annotation ')}={address}"
            return Refused(Reason.REQUESTS_DISAGREE, message)
    return tuple(address for _, address in first.values())


def _invalid(where: str, problem: str) -> Refused:
    return Refused(Reason.INVALID_REQUEST, f"{where}: {problem}")
