"""Writes the status of BGPPeers and BGPAdvertisements."""

from typing import Any, TypeVar

import msgspec

from roost.kube.client import Kube, Outcome
from roost.kube.resource import Resource
from roost.kube.wire import Meta
from roost.kube.wire_bgp import (
    BGPADVERTISEMENTS,
    BGPPEERS,
    BGPAdvertisement,
    BGPAdvertisementStatus,
    BGPPeer,
    BGPPeerStatus,
)

T = TypeVar("T", BGPPeer, BGPAdvertisement)


async def write_peer(kube: Kube, peer: BGPPeer, status: BGPPeerStatus) -> Outcome[BGPPeer]:
    """Replace a BGPPeer's status, on condition that it is still the one that was read."""
    return await _write(kube, BGPPEERS, peer.metadata, (peer.status, status))


async def write_advertisement(
    kube: Kube, advertisement: BGPAdvertisement, status: BGPAdvertisementStatus
) -> Outcome[BGPAdvertisement]:
    """Replace a BGPAdvertisement's status, on condition that it is still the one that was read."""
    return await _write(kube, BGPADVERTISEMENTS, advertisement.metadata, (advertisement.status, status))


async def _write(kube: Kube, resource: Resource[T], meta: Meta, status: tuple[Any, Any]) -> Outcome[T]:
    before, after = status
    numbers = {item.encode_name: 0 if item.type is int else None for item in msgspec.structs.fields(before)}
    fields = numbers | msgspec.to_builtins(after)  # null takes away what is no longer said; people want to see a 0
    if fields.get("sessions") is not None:  # a merge patch would keep numbers inside that are 0 now (RFC 7396)
        fields["sessions"] = {"desired": 0, "established": 0} | fields["sessions"]
    patch = {"metadata": {"resourceVersion": meta.resource_version, "uid": meta.uid}, "status": fields}
    return await kube.patch(resource, meta.name, patch, subresource="status")
