"""A balancer without a kernel, for tests of what stands above it, under the contract of the real one."""

import errno
from collections.abc import Iterable
from dataclasses import replace

from nodeagent.ipvs.checks import Checked
from nodeagent.ipvs.health import Verdict
from nodeagent.ipvs.kernel import MISSING, Unsupported
from nodeagent.ipvs.plan import CONNTRACK, EXPIRE, FORWARD4, FORWARD6
from nodeagent.ipvs.values import (
    AddBackend,
    AddService,
    Backend,
    DeleteBackend,
    DeleteService,
    Done,
    Failed,
    Have,
    Outcome,
    Place,
    PutTable,
    Seen,
    Service,
    SetBackend,
    SetService,
    SetSysctl,
    Step,
)


class FakeKernel:
    """`kernel.Kernel` in memory, and API servers: those that are *listening* are well, the others refuse.

    *have* may be changed at will; *refused*: errno by kind of step; *missing*: the kernel has no IPVS.
    """

    def __init__(self) -> None:
        self.have = Have(sysctls=dict.fromkeys((CONNTRACK, EXPIRE, FORWARD4, FORWARD6), "0"))
        self.listening = set[Place]()
        self.verdicts = dict[Place, Checked]()  # of those that listen and are not well
        self.refused = dict[type[Step], int]()
        self.missing = False
        self.done = list[Step]()

    async def close(self) -> None:
        pass

    async def read(self) -> Have:
        if self.missing:
            raise Unsupported(MISSING)
        return self.have

    async def do(self, steps: Iterable[Step]) -> tuple[Outcome, ...]:
        return tuple([self._one(step) for step in steps])

    async def ask(self, place: Place) -> Checked:
        """One check of an API server."""
        if place not in self.listening:
            return Checked(Verdict.REFUSED, "connection refused")
        return self.verdicts.get(place, Checked(Verdict.WELL))

    def put(self, seen: Seen) -> None:
        """A service is there, whoever made it."""
        services = {**self.have.services, seen.service.place: seen}
        self.have = replace(self.have, services=services, others=sum(not one.ours for one in services.values()))

    def drop(self, place: Place) -> None:
        """A service is taken away."""
        services = {other: seen for other, seen in self.have.services.items() if other != place}
        self.have = replace(self.have, services=services, others=sum(not one.ours for one in services.values()))

    def _one(self, step: Step) -> Outcome:
        self.done.append(step)
        number = self.refused.get(type(step)) or self._take(step)
        return Failed(step, number) if number else Done(step)

    def _take(self, step: Step) -> int:
        """Do it; the errno if it cannot be done."""
        match step:
            case PutTable(table):
                self.have = replace(self.have, table=table)
            case SetSysctl(name, value):
                self.have = replace(self.have, sysctls={**self.have.sysctls, name: value})
            case AddService(place, scheduler):
                if place in self.have.services:
                    return errno.EEXIST
                self.put(Seen(Service(place, scheduler, frozenset())))
            case DeleteService(place):
                self.drop(place)
            case _:
                return self._change(step)
        return 0

    def _change(self, step: SetService | AddBackend | SetBackend | DeleteBackend) -> int:
        seen = self.have.services.get(step.place)
        if seen is None:
            return errno.ESRCH
        service, there = seen.service, {one.place: one for one in seen.service.backends}
        match step:
            case SetService(_, scheduler):
                service = replace(service, scheduler=scheduler)
            case AddBackend(_, Backend(place)) if place in there:
                return errno.EEXIST
            case SetBackend(_, Backend(place)) if place not in there:
                return errno.ENOENT
            case AddBackend(_, backend) | SetBackend(_, backend):
                there[backend.place] = backend
            case DeleteBackend(_, place):
                there.pop(place, None)
        self.put(replace(seen, service=replace(service, backends=frozenset(there.values()))))
        return 0
