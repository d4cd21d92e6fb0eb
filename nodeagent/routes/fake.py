"""A routing table without a kernel, for tests of what stands above it, under the contract of the real one."""

import asyncio
import errno
from collections.abc import Callable, Iterable
from typing import NoReturn

from nodeagent.routes.plan import (
    BOOT,
    Add,
    Delete,
    Done,
    Event,
    Failed,
    Missed,
    Outcome,
    Replace,
    Route,
    RouteGone,
    RouteSeen,
    Settings,
    Step,
)


class FakeTable:
    """`kernel.Kernel` in memory: *routes* are all there are, of every table and protocol, *devices* those that are up.

    Whoever changes them calls tell() afterwards with what the kernel would say, which for a link is `Missed`.
    """

    def __init__(self, settings: Settings, devices: Iterable[str] = ("eth0",)) -> None:
        self.settings, self.devices = settings, set(devices)
        self.routes = set[Route]()
        self.done = list[Step]()  # all that were taken
        self._heard: Callable[[Event], None] = lambda _: None

    def tell(self, *events: Event) -> None:
        for event in events:
            self._heard(event)

    def drop(self, device: str) -> None:
        """The link goes down, and all routes over it are gone."""
        self.devices.discard(device)
        self.routes = {route for route in self.routes if route.device != device}
        self.tell(Missed())

    async def close(self) -> None:
        pass

    async def read(self) -> frozenset[Route]:
        there = (route for route in self.routes if route.table == self.settings.routing_table)
        return frozenset(
            route
            for route in there
            if route.protocol in {self.settings.routing_protocol, BOOT} and route.prefix.num_addresses == 1
        )

    async def do(self, steps: Iterable[Step]) -> tuple[Outcome, ...]:
        return tuple([self._one(step) for step in steps])

    async def watch(self, heard: Callable[[Event], None]) -> NoReturn:
        self._heard = heard
        heard(Missed())
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this")

    def _one(self, step: Step) -> Outcome:
        self.done.append(step)
        route = step.route
        in_place = {other for other in self.routes if other.place == route.place}
        match step:
            case Delete():
                self.routes.discard(route)
                self.tell(RouteGone(route))
                return Done(step)
            case Add() | Replace() if route.device not in self.devices:
                return Failed(step, errno.ENODEV)
            case Add() if in_place:
                return Failed(step, errno.EEXIST)
            case _:
                self.routes -= in_place
                self.routes.add(route)
                self.tell(RouteSeen(route))
                return Done(step)
