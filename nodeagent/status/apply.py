"""Writes the status of this node's NodeAgent."""

from datetime import UTC, datetime

import msgspec

from nodeagent.status.plan import Facts, patch, status
from roost.kube import wire
from roost.kube.client import Conflict, Kube, Ok, Unknown
from roost.process import Unreachable


class Report:
    """This node's NodeAgent: made if it is missing, written only when something differs."""

    def __init__(self, kube: Kube, node: str) -> None:
        self._kube, self._node = kube, node
        self._written: wire.NodeAgentStatus | None = None
        self.uid = ""

    def forget(self) -> None:
        """The object is gone, and with it all that was written."""
        self._written = None

    async def begin(self) -> None:
        """Have the NodeAgent be there, so that people can set its switch. Raises Unreachable."""
        if self._written is None:
            self._written = await self._read()

    async def write(self, facts: Facts) -> None:
        """Raises Unreachable, also where the server refuses: the message says why."""
        await self.begin()
        assert self._written is not None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        new = status(facts, self._written, now)
        if new == self._written:
            return
        change = {"status": patch(msgspec.to_builtins(self._written), msgspec.to_builtins(new))}
        match await self._kube.patch(wire.NODEAGENTS, self._node, change, subresource="status"):
            case Ok(value):
                self._written, self.uid = new, value.metadata.uid
            case Conflict(code=404):
                self._written = None
                raise Unreachable(f"NodeAgent {self._node} was deleted; it is made anew")
            case Conflict(message=why) | Unknown(why=why):
                self._written = None  # who knows what stands there now
                raise Unreachable(f"status of NodeAgent {self._node}: {why}")

    async def _read(self) -> wire.NodeAgentStatus:
        found = await self._kube.get(wire.NODEAGENTS, self._node)
        if found is None:
            match await self._kube.create(wire.NODEAGENTS, wire.NodeAgent(metadata=wire.Meta(name=self._node))):
                case Ok(made):
                    found = made
                case Conflict(message=why) | Unknown(why=why):
                    raise Unreachable(f"NodeAgent {self._node} cannot be made: {why}")
        self.uid = found.metadata.uid
        return found.status
