"""GoBGP's messages, from the descriptors beside this file; they are made from proto/ by ``make proto``."""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message = Any  # classes of protobuf that are made at run time have no types


class Schema:
    """The messages and the service of one version of the API, in a pool of their own: no name can clash."""

    def __init__(self, version: int, package: str, service: str) -> None:
        self._package, self._service = package, f"{package}.{service}"
        self._pool = descriptor_pool.DescriptorPool()
        found = descriptor_pb2.FileDescriptorSet.FromString(
            files(__package__).joinpath(f"gobgp{version}.binpb").read_bytes()
        )
        for file in found.file:
            self._pool.Add(file)
        self._classes: dict[str, Message] = {}

    def __getattr__(self, name: str) -> Message:
        """The class of message *name*."""
        if name not in self._classes:
            descriptor = self._pool.FindMessageTypeByName(f"{self._package}.{name}")
            self._classes[name] = message_factory.GetMessageClass(descriptor)
        return self._classes[name]

    def call(self, name: str) -> tuple[str, Message, Message]:
        """The path of a call, and the classes of its request and its answer."""
        method = self._pool.FindServiceByName(self._service).methods_by_name[name]
        return (
            f"/{self._service}/{name}",
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
        )


@cache
def schema(version: int) -> Schema:
    """The API of GoBGP 3 or 4."""
    return Schema(3, "apipb", "GobgpApi") if version == 3 else Schema(4, "api", "GoBgpService")  # noqa: PLR2004
