"""What a Service says of the nodes that announce it: an interface, a lease that it shares, the holder alone or all."""

from collections.abc import Mapping

from cloudprovider.model import EVERY_NODE, HOLDER_ONLY, Directions, Refused
from roost import words
from roost.kube.wire import Service
from roost.words import Reason

LONGEST_INTERFACE = 15  # characters (IFNAMSIZ of Linux, less the end)
AUTO = "auto"  # kube-vip: the interface whose subnet the VIP is in; agents choose like that by themselves
FOR_TRUSTED = (words.KUBE_VIP_INTERFACE, words.KUBE_VIP_LEASE)


def is_trusted(namespace_labels: Mapping[str, str]) -> bool:
    """Whether Service authors of a namespace may say what changes nodes, and not only their own Service."""
    return namespace_labels.get(words.AUTHORS) == "trusted"


def read(service: Service, namespace_labels: Mapping[str, str]) -> Directions | Refused:
    """The directions of a Service. What its namespace may not say is left aside, and *ignored* names it.

    The admission policy roost-service-authors keeps such annotations out; here are those that were there before it.
    """
    annotations = service.metadata.annotations
    alone = words.truthy(annotations, words.KUBE_VIP_ALONE)
    announcers = annotations.get(words.ANNOUNCERS, "").strip() or (HOLDER_ONLY if alone else "")
    if announcers not in {"", EVERY_NODE, HOLDER_ONLY}:
        return _invalid(words.ANNOUNCERS, f"{announcers[:80]!r} is neither {EVERY_NODE} nor {HOLDER_ONLY}")
    if not is_trusted(namespace_labels):
        found = [key for key in FOR_TRUSTED if annotations.get(key, "").strip()]
        why = (
            f"not followed: {', '.join(found)}; namespace {service.metadata.namespace} is not labelled {words.AUTHORS}"
        )
        return Directions(alone=alone, announcers=announcers, ignored=f"{why}=trusted" if found else "")
    interface = annotations.get(words.KUBE_VIP_INTERFACE, "").strip()
    if interface == AUTO:
        interface = ""
    if not _may_be_interface(interface):
        return _invalid(words.KUBE_VIP_INTERFACE, f"{interface[:80]!r} cannot be the name of an interface")
    lease = annotations.get(words.KUBE_VIP_LEASE, "").strip()
    if lease and "/" not in lease:
        lease = f"{service.metadata.namespace}/{lease}"
    if (lease and not all(lease.split("/", 1))) or lease.count("/") > 1:
        return _invalid(words.KUBE_VIP_LEASE, f"{lease[:80]!r} is neither a name nor namespace/name")
    return Directions(interface, lease, alone, announcers)


def _may_be_interface(name: str) -> bool:
    """As the kernel sees it (dev_valid_name); "" is none."""
    return (
        len(name) <= LONGEST_INTERFACE and name not in {".", ".."} and not any(c in "/:" or c.isspace() for c in name)
    )


def _invalid(key: str, problem: str) -> Refused:
    return Refused(Reason.INVALID_REQUEST, f"annotation {key}: {problem}")
