"""What every Kubernetes object is made of: metadata, selectors, conditions; and how a Struct looks on the wire."""

from __future__ import annotations

import msgspec


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Camel case on the wire; a field that has its default is left out."""


class OwnerReference(Struct, frozen=True, kw_only=True):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Meta(Struct, frozen=True, kw_only=True):
    """ObjectMeta. managedFields is left out on purpose: the server keeps it, and it doubles every object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


class Requirement(Struct, frozen=True, kw_only=True):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class Selector(Struct, frozen=True, kw_only=True):
    """LabelSelector; empty selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()


class Condition(Struct, frozen=True, kw_only=True):
    type: str
    status: str  # "True", "False", "Unknown"
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int | None = None
