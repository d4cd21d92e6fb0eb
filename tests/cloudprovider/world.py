"""A cluster in memory with controllers in it that live, are killed and are born again."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from ipaddress import ip_address
from typing import Any

import msgspec

from cloudprovider.flow import Controller
from cloudprovider.model import MANAGER, EventType
from cloudprovider.settings import Settings
from roost.kube.client import Kube
from roost.kube.transport import Broken, Request, Response
from roost.kube.wire import (
    ADDRESSPOOLS,
    NAMESPACES,
    SERVICES,
    VIRTUALIPS,
    AddressPool,
    AddressPoolSpec,
    Meta,
    Namespace,
    ObjectReference,
    Service,
    ServicePort,
    ServiceSpec,
    VirtualIP,
)
from roost.words import FINALIZER
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock, settle

EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
PATIENCE = 400  # half seconds of the fake clock


class Last(Enum):
    """What becomes of the write during which a controller is killed."""

    LOST = auto()
    ARRIVES = auto()


@dataclass
class Mortal:
    """A controller's way to the API server, which ends with the controller."""

    api: FakeApi
    dies_at: int = 0  # the number of the write that it does not survive; 0: never
    last: Last = Last.LOST
    finalizers: set[str] = field(default_factory=set)  # paths of Services that a controller put its finalizer on
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    writes: int = 0

    async def close(self) -> None:
        pass

    async def request(self, request: Request, seconds: float) -> Response:
        if self.dead.is_set():
            await asyncio.Event().wait()
        mine = request.method != "GET" and "/leases" not in request.path and "/events" not in request.path
        self.writes += mine
        if mine and self.writes == self.dies_at:
            self.dead.set()
            if self.last is Last.ARRIVES:
                await self._forward(request, seconds)
            await asyncio.Event().wait()
        return await self._forward(request, seconds)

    async def _forward(self, request: Request, seconds: float) -> Response:
        """What the real server does and the fake does not: it remembers who wrote the finalizer."""
        response = await self.api.request(request, seconds)
        if request.method == "PATCH" and FINALIZER.encode() in (request.body or b"") and response.status == 200:
            self.finalizers.add(request.path)
        if request.method == "GET" and request.path in self.finalizers and response.status == 200:
            body = json.loads(response.body)
            fields: dict[str, Any] = {"f:metadata": {"f:finalizers": {f'v:"{FINALIZER}"': {}}}}
            body["metadata"]["managedFields"] = [{"manager": MANAGER, "operation": "Update", "fieldsV1": fields}]
            return Response(200, json.dumps(body).encode())
        return response

    async def lines(self, request: Request, seconds: float, idle: float) -> AsyncGenerator[bytes, None]:
        if self.dead.is_set():
            raise Broken("dead")
        async for line in self.api.lines(request, seconds, idle):
            yield line


@dataclass
class Said:
    """Events, as (type, "namespace/name" or name, reason, note)."""

    heard: list[tuple[str, str, str, str]] = field(default_factory=list)

    def say(self, regarding: ObjectReference, type_: EventType, reason: str, message: str, action: str) -> None:
        about = f"{regarding.namespace}/{regarding.name}" if regarding.namespace else regarding.name
        self.heard.append((type_, about, reason, message))

    def reasons(self, about: str) -> list[str]:
        return [reason for _, name, reason, _ in self.heard if name == about]

    def notes(self, about: str, reason: str) -> list[str]:
        return [note for _, name, why, note in self.heard if name == about and why == reason]


@dataclass
class World:
    api: FakeApi = field(default_factory=FakeApi)
    clock: FakeClock = field(default_factory=FakeClock)
    said: Said = field(default_factory=Said)
    settings: Settings = field(default_factory=Settings)
    _alive: list[tuple[Mortal, "asyncio.Task[None]", asyncio.Event]] = field(default_factory=list)
    _born: int = 0
    _finalizers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.namespace("shop")

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.clock.now())

    # -- controllers

    async def start(self, *, dies_at: int = 0, last: Last = Last.LOST) -> Controller:
        self._born += 1
        mortal, stop = Mortal(self.api, dies_at, last, self._finalizers), asyncio.Event()
        controller = Controller(Kube(mortal), self.settings, f"c{self._born}", self.clock, self.said, self.wall)
        task = asyncio.create_task(controller.run(stop))
        self._alive.append((mortal, task, stop))
        return controller

    async def stop(self) -> None:
        """SIGTERM for all: the Lease is given back."""
        for _, _, stop in self._alive:
            stop.set()
        await self._ended()

    async def kill(self) -> None:
        """SIGKILL for all: not another request leaves them."""
        for mortal, task, _ in self._alive:
            mortal.dead.set()
            task.cancel()
        await self._ended()

    async def _ended(self) -> None:
        for _ in range(20):
            if all(task.done() for _, task, _ in self._alive):
                break
            await self.clock.advance(0.5)
        for _, task, _ in self._alive:
            assert task.done()
            if not task.cancelled() and (error := task.exception()):
                raise error
        self._alive.clear()

    async def until(self, true: Callable[[], bool], what: str = "") -> None:
        for _ in range(PATIENCE):
            await settle()
            if true():
                return
            await self.clock.advance(0.5)
        raise AssertionError(what or "it never came true")

    async def rest(self, seconds: float = 5.0) -> None:
        """Let time pass in small steps, as it does."""
        for _ in range(int(seconds * 2)):
            await self.clock.advance(0.5)

    # -- people

    def namespace(self, name: str, **labels: str) -> None:
        self.api.put(NAMESPACES, Namespace(metadata=Meta(name=name, labels=labels)))

    def pool(self, name: str, *addresses: str, **spec: object) -> None:
        value = AddressPoolSpec(addresses=addresses, **spec)  # type: ignore[arg-type]  # a table of keyword arguments
        self.api.put(ADDRESSPOOLS, AddressPool(metadata=Meta(name=name), spec=value))

    def service(
        self,
        name: str,
        *families: str,
        namespace: str = "shop",
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> Service:
        """Create or replace the spec of a Service; status and finalizers stay."""
        families = families or ("IPv4",)
        if len(families) > 1:
            spec = {"ip_family_policy": "PreferDualStack"} | spec
        defaults: dict[str, Any] = {"type": "LoadBalancer", "ports": (ServicePort(port=443),)}
        value = ServiceSpec(ip_families=families, **(defaults | spec))
        old = self.api.all(SERVICES).get(f"{namespace}/{name}")
        meta = old.metadata if old else Meta(name=name, namespace=namespace)
        meta = msgspec.structs.replace(meta, annotations=annotations or {})
        status = old.status if old else Service(metadata=meta).status
        if value.type != "LoadBalancer":  # the server wipes it
            status = msgspec.structs.replace(status, load_balancer=Service(metadata=meta).status.load_balancer)
        return self.api.put(SERVICES, Service(metadata=meta, spec=value, status=status))

    async def delete(self, name: str, namespace: str = "shop") -> None:
        await self.api.kube().delete(SERVICES, name, namespace=namespace)

    # -- what there is

    def get(self, name: str, namespace: str = "shop") -> Service | None:
        return self.api.all(SERVICES).get(f"{namespace}/{name}")

    def shown(self, name: str, namespace: str = "shop") -> tuple[str, ...]:
        service = self.get(name, namespace)
        return tuple(item.ip for item in service.status.load_balancer.ingress) if service else ()

    def condition(self, name: str, kind: str = "roost.dev/Allocated") -> tuple[str, str, str]:
        service = self.get(name)
        found = [item for item in service.status.conditions if item.type == kind] if service else []
        return (found[0].status, found[0].reason, found[0].message) if found else ("", "", "")

    def vips(self) -> dict[str, VirtualIP]:
        return self.api.all(VIRTUALIPS)

    def claims(self) -> dict[str, list[str]]:
        """Address → "namespace/name" of the claims with a uid, "(namespace/name)" of those without."""
        return {
            vip.spec.address: [
                f"{claim.namespace}/{claim.name}" if claim.uid else f"({claim.namespace}/{claim.name})"
                for claim in vip.spec.claims
            ]
            for vip in self.vips().values()
        }

    def check(self) -> None:
        """What must hold at any time: no address shown twice, and none shown that its Service does not claim."""
        seen: dict[str, str] = {}
        claims = self.claims()
        for key, service in self.api.all(SERVICES).items():
            for item in service.status.load_balancer.ingress:
                assert item.ip not in seen, f"{item.ip} is shown by {seen[item.ip]} and {key}"
                seen[item.ip] = key
                owners = [owner.strip("()") for owner in claims.get(item.ip, [])]
                assert key in owners, f"{key} shows {item.ip}, which is claimed by {owners}"
                assert str(ip_address(item.ip)) == item.ip
