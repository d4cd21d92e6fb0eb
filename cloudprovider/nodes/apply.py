"""Reads and deletes the Leases of nodes."""

from roost.kube.client import Kube, Outcome
from roost.kube.wire import LEASES, Lease
from roost.words import NODE_LEASE_NAMESPACE


async def leases(kube: Kube) -> tuple[Lease, ...]:
    """All node Leases. Raises Unreachable."""
    return (await kube.list(LEASES, namespace=NODE_LEASE_NAMESPACE)).items


async def delete(kube: Kube, lease: Lease) -> Outcome[None]:
    """Delete this very Lease, as it was read: one that is renewed meanwhile stays."""
    meta = lease.metadata
    return await kube.delete(
        LEASES, meta.name, namespace=meta.namespace, uid=meta.uid, resource_version=meta.resource_version
    )
