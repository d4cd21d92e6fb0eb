"""The writes for Services and VirtualIPs, each bound to what was read: a late one fails by itself."""

from ipaddress import ip_address
from typing import assert_never

import msgspec

from cloudprovider.services.plan import (
    AddFinalizer,
    Create,
    Delete,
    RemoveFinalizer,
    Rest,
    Unpin,
    Update,
    WriteStatus,
)
from cloudprovider.services.status import precise
from roost.kube.client import Kube, Outcome
from roost.kube.resource import Resource
from roost.kube.wire import (
    SERVICES,
    VIRTUALIPS,
    Condition,
    Meta,
    Service,
    VirtualIP,
    VirtualIPSpec,
    VirtualIPStatus,
)
from roost.words import FINALIZER, VIP_FINALIZER, vip_name

ServiceStep = AddFinalizer | RemoveFinalizer | WriteStatus
VirtualIPStep = Create | Update | Rest | Unpin | Delete


async def write_service(kube: Kube, step: ServiceStep) -> Outcome[Service]:
    """Patch a Service, on condition of its resourceVersion; Service.spec is its owner's and is never written."""
    meta = step.service.metadata
    match step:
        case AddFinalizer():
            patch = _finalizers(meta, (*meta.finalizers, FINALIZER))
            return await kube.patch(SERVICES, meta.name, patch, namespace=meta.namespace)
        case RemoveFinalizer():
            patch = _finalizers(meta, tuple(item for item in meta.finalizers if item != FINALIZER))
            return await kube.patch(SERVICES, meta.name, patch, namespace=meta.namespace)
        case WriteStatus():
            status = {"loadBalancer": {"ingress": step.ingress}, "conditions": step.conditions}
            return await _patch_status(kube, meta, status)
        case _:
            assert_never(step)


class ManagedFields(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of metadata.managedFields: who wrote which fields (KEP-555)."""

    manager: str = ""
    fields: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"{}"), name="fieldsV1")


class ManagedMeta(Meta, frozen=True, kw_only=True, rename="camel"):
    managed_fields: tuple[ManagedFields, ...] = ()


class Managed(msgspec.Struct, frozen=True):
    """A Service, as far as it says who wrote what."""

    metadata: ManagedMeta


async def finalizer_is_ours(kube: Kube, service: Service, manager: str) -> bool:
    """Whether the server remembers *manager* as the one who put the finalizer there. Raises Unreachable."""
    managed = Resource("", "v1", "services", "Service", Managed)
    found = await kube.get(managed, service.metadata.name, namespace=service.metadata.namespace)
    return found is not None and any(
        entry.manager == manager and FINALIZER.encode() in bytes(entry.fields)
        for entry in found.metadata.managed_fields
    )


async def write_conditions(kube: Kube, service: Service, conditions: tuple[Condition, ...]) -> Outcome[Service]:
    """Replace the conditions of a Service and nothing else of its status."""
    return await _patch_status(kube, service.metadata, {"conditions": conditions})


async def _patch_status(kube: Kube, meta: Meta, status: object) -> Outcome[Service]:
    patch = {"metadata": {"resourceVersion": meta.resource_version, "uid": meta.uid}, "status": status}
    return await kube.patch(SERVICES, meta.name, patch, namespace=meta.namespace, subresource="status")


async def write_vip(kube: Kube, step: VirtualIPStep) -> Outcome[VirtualIP | None]:
    """Create, change or delete a VirtualIP. Creating it is the claim: the server grants a name only once."""
    match step:
        case Create(spec):
            meta = Meta(name=vip_name(ip_address(spec.address)), finalizers=(VIP_FINALIZER,))
            return await kube.create(VIRTUALIPS, VirtualIP(metadata=meta, spec=spec))
        case Update(vip, spec):
            return await _put(kube, vip, spec)
        case Rest(vip, claims, until):
            return await _put(kube, vip, msgspec.structs.replace(vip.spec, claims=claims, retain_until=precise(until)))
        case Unpin(vip):
            meta = vip.metadata
            patch = _finalizers(meta, tuple(item for item in meta.finalizers if item != VIP_FINALIZER))
            return await kube.patch(VIRTUALIPS, meta.name, patch)
        case Delete(vip):
            meta = vip.metadata
            return await kube.delete(VIRTUALIPS, meta.name, uid=meta.uid, resource_version=meta.resource_version)
        case _:
            assert_never(step)


async def write_vip_status(kube: Kube, vip: VirtualIP, status: VirtualIPStatus) -> Outcome[VirtualIP]:
    """Replace the mirror in a VirtualIP's status."""
    fields = dict.fromkeys(vip.status.__struct_encode_fields__) | msgspec.to_builtins(status)
    if status.announcers is not None:  # a merge patch would keep what is no longer said inside, too (RFC 7396)
        fields["announcers"] = {"desired": 0, "ready": 0, "exceptions": None} | fields["announcers"]
    meta = vip.metadata
    patch = {"metadata": {"resourceVersion": meta.resource_version, "uid": meta.uid}, "status": fields}
    return await kube.patch(VIRTUALIPS, meta.name, patch, subresource="status")


async def _put(kube: Kube, vip: VirtualIP, spec: VirtualIPSpec) -> Outcome[VirtualIP]:
    finalizers = vip.metadata.finalizers
    if VIP_FINALIZER not in finalizers and not vip.metadata.deletion_timestamp:
        finalizers = (*finalizers, VIP_FINALIZER)
    meta = msgspec.structs.replace(vip.metadata, finalizers=finalizers)
    return await kube.put(VIRTUALIPS, VirtualIP(metadata=meta, spec=spec))


def _finalizers(meta: Meta, finalizers: tuple[str, ...]) -> object:
    return {
        "metadata": {"resourceVersion": meta.resource_version, "uid": meta.uid, "finalizers": finalizers},
    }
