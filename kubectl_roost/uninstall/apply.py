"""Excludes every node, ends the agents, and waits meanwhile for what they say."""

from collections.abc import Awaitable, Callable

from kubectl_roost.uninstall.plan import seated, unaware
from roost.kube.client import Conflict, Kube, Ok, Outcome, Unknown
from roost.kube.resource import Resource
from roost.kube.wire import NODEAGENTS, SEGMENTS, Meta, NodeAgent, Struct
from roost.process import Clock, Unreachable
from roost.words import NAMESPACE

EVERY = 0.5  # seconds between two looks
REASON = "roost uninstall"


class DaemonSet(Struct, frozen=True, kw_only=True):
    metadata: Meta


DAEMONSETS = Resource("apps", "v1", "daemonsets", "DaemonSet", DaemonSet)


class Uninstall:
    """One run; *say* gets a line for each step."""

    def __init__(self, kube: Kube, clock: Clock, patience: float, say: Callable[[str], None]) -> None:
        """*patience*: seconds that each of the two waits may last."""
        self._kube, self._clock, self._patience, self._say = kube, clock, patience, say

    async def run(self) -> frozenset[str]:
        """The nodes that did not leave their seats in time; empty: all is clean. Raises Unreachable, Denied."""
        agents = (await self._kube.list(NODEAGENTS)).items
        for agent in agents:
            exclude = {"spec": {"maintenance": "Exclude", "reason": REASON}}
            _done(await self._kube.patch(NODEAGENTS, agent.metadata.name, exclude))
        self._say(f"{len(agents)} nodes are excluded")
        deaf = await self._until_none(self._unaware)
        if deaf:
            self._say(f"no word from {_named(deaf)}: going on without")
        _done(await self._kube.delete(DAEMONSETS, "roost-nodeagent", namespace=NAMESPACE))
        self._say("the agents are told to stop")
        left = await self._until_none(self._seated)
        for agent in agents:  # or the agents of a later installation would find themselves excluded
            _done(await self._kube.delete(NODEAGENTS, agent.metadata.name))
        self._say(f"still seated: {_named(left)}" if left else "every node has given its VIPs and its seat away")
        return left

    async def _unaware(self) -> frozenset[str]:
        agents: tuple[NodeAgent, ...] = (await self._kube.list(NODEAGENTS)).items
        return unaware(agents, (await self._kube.list(SEGMENTS)).items)

    async def _seated(self) -> frozenset[str]:
        return seated((await self._kube.list(SEGMENTS)).items)

    async def _until_none(self, look: Callable[[], Awaitable[frozenset[str]]]) -> frozenset[str]:
        end = self._clock.now() + self._patience
        while (left := await look()) and self._clock.now() < end:
            await self._clock.sleep(EVERY)
        return left


def _done(outcome: Outcome[object]) -> None:
    """What is not there any more needs nothing."""
    match outcome:
        case Conflict(code=404) | Ok():
            pass
        case Conflict(message=why):
            raise Unreachable(why)
        case Unknown(why=why):
            raise Unreachable(why)


def _named(nodes: frozenset[str]) -> str:
    return ", ".join(sorted(nodes))
