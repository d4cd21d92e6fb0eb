"""Where a kind of object lives in the Kubernetes API, and the Struct that its JSON becomes."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    """One kind of object: its path in the API, and the Struct that its JSON becomes."""

    group: str
    version: str
    plural: str
    kind: str
    type: type[T]
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path; without *namespace* a namespaced kind is meant in all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return (
            root + where + f"/{self.plural}" + (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")
        )

    def encode(self, value: T) -> bytes:
        """JSON with apiVersion and kind."""
        return msgspec.json.encode(self.plain(value))

    def plain(self, value: T) -> dict[str, Any]:
        """The same as dicts and lists, for building a patch."""
        return {"apiVersion": self.api_version, "kind": self.kind, **msgspec.to_builtins(value)}
