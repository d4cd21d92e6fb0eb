"""Writes the status of AddressPools."""

import msgspec

from roost.kube.client import Kube, Outcome
from roost.kube.wire import ADDRESSPOOLS, AddressPool, AddressPoolStatus


async def write_status(kube: Kube, pool: AddressPool, status: AddressPoolStatus) -> Outcome[AddressPool]:
    """Replace a pool's status, on condition that the pool is still the one that was read."""
    meta = pool.metadata
    fields = dict.fromkeys(pool.status.__struct_encode_fields__) | msgspec.to_builtins(status)
    patch = {"metadata": {"resourceVersion": meta.resource_version, "uid": meta.uid}, "status": fields}
    return await kube.patch(ADDRESSPOOLS, meta.name, patch, subresource="status")
