import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from kubectl_roost.uninstall.apply import DAEMONSETS, DaemonSet, Uninstall
from kubectl_roost.uninstall.plan import seated, unaware
from roost.kube.wire import NODEAGENTS, SEGMENTS, Meta, NodeAgent, NodeAgentStatus, Segment
from roost.process import Unreachable
from roost.words import NAMESPACE
from tests.fakes.api import FakeApi, Refuse
from tests.fakes.clock import FakeClock
from tests.fakes.server import EVERYTHING
from tests.kubectl_roost.cluster import agent, condition, seat, segment

AGENTS = Meta(name="roost-nodeagent", namespace=NAMESPACE)


def excluded(node: str) -> NodeAgent:
    said = condition("Ready", "False", "Excluded", "label node.kubernetes.io/exclude-from-external-load-balancers")
    return msgspec.structs.replace(agent(node), status=NodeAgentStatus(conditions=(said,)))


def draining(node: str) -> NodeAgent:
    said = condition("Ready", "False", "Excluded", "spec.maintenance is Exclude: roost uninstall")
    return msgspec.structs.replace(agent(node, maintenance="Exclude"), status=NodeAgentStatus(conditions=(said,)))


@pytest.mark.parametrize(
    ("agents", "table", "waited_for"),
    [
        pytest.param((agent("n1"),), segment(seat("n1", 1)), {"n1"}, id="it has not said that it knows"),
        pytest.param((draining("n1"),), segment(seat("n1", 1)), set(), id="it has"),
        pytest.param((excluded("n1"),), segment(seat("n1", 1)), {"n1"}, id="it is excluded by its label"),
        pytest.param((agent("n1"),), segment(), set(), id="it sits nowhere"),
        pytest.param((agent("n1"),), segment(seat("n1", 1, "Gone")), set(), id="it is gone"),
        pytest.param((), segment(seat("n1", 1)), {"n1"}, id="it sits and has no NodeAgent"),
    ],
)
def test_who_must_know_first(agents: tuple[NodeAgent, ...], table: Segment, waited_for: set[str]) -> None:
    assert unaware(agents, (table,)) == waited_for


def test_who_sits() -> None:
    assert seated((segment(seat("n1", 1), seat("n2", 2, "Gone")),)) == {"n1"}


class Cluster:
    """Two nodes with agents, and the uninstall at work."""

    def __init__(self) -> None:
        self.api = FakeApi([*EVERYTHING, DAEMONSETS])
        self.clock, self.told = FakeClock(), list[str]()
        self.api.put(DAEMONSETS, DaemonSet(metadata=AGENTS))
        for node in ("n1", "n2"):
            self.api.put(NODEAGENTS, agent(node))
        self.api.put(SEGMENTS, segment(seat("n1", 1), seat("n2", 2)))

    def maintenance(self) -> list[str]:
        return [agent.spec.maintenance for agent in self.api.all(NODEAGENTS).values()]

    @asynccontextmanager
    async def uninstalling(self) -> AsyncIterator[asyncio.Task[frozenset[str]]]:
        work = Uninstall(self.api.kube(), self.clock, 10.0, self.told.append).run()
        task = asyncio.create_task(work)
        await self.clock.advance(1)
        yield task
        task.cancel()
        with suppress(asyncio.CancelledError, Unreachable):
            await task


async def test_agents_end_only_when_they_know_and_nothing_stays_excluded() -> None:
    here = Cluster()
    async with here.uninstalling() as work:
        assert here.maintenance() == ["Exclude", "Exclude"]
        assert here.api.all(DAEMONSETS), "an agent that is stopped before it knows would rest"
        for node in ("n1", "n2"):
            here.api.put(NODEAGENTS, draining(node))
        await here.clock.advance(1)
        assert not here.api.all(DAEMONSETS)
        assert not work.done(), "they still sit"
        here.api.put(SEGMENTS, segment())
        await here.clock.advance(1)
        assert work.result() == frozenset()
    assert here.api.all(NODEAGENTS) == {}, "the agents of a later installation are not excluded"


async def test_a_node_that_is_dead_is_not_waited_for_without_end() -> None:
    here = Cluster()
    here.api.put(NODEAGENTS, draining("n1"))
    async with here.uninstalling() as work:
        await here.clock.advance(11)
        assert not here.api.all(DAEMONSETS)
        here.api.put(SEGMENTS, segment(seat("n2", 2)))
        await here.clock.advance(11)
        assert work.result() == {"n2"}
    assert "no word from n2: going on without" in here.told
    assert here.told[-1] == "still seated: n2"


async def test_agents_that_are_gone_already_are_no_error() -> None:
    here = Cluster()
    here.api.remove(DAEMONSETS, AGENTS.name, namespace=NAMESPACE)
    here.api.put(SEGMENTS, segment())
    async with here.uninstalling() as work:
        assert work.result() == frozenset()


async def test_a_right_that_is_missing_is_said() -> None:
    here = Cluster()
    here.api.fail(Refuse(403, "Forbidden"), "PATCH", NODEAGENTS)
    async with here.uninstalling() as work:
        with pytest.raises(Unreachable, match="nodeagents"):
            work.result()
