"""How each fault strikes the world, and how it is mended again."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nodeagent.segment.table import Table
from roost.rendezvous import line
from tests.simulation import faults as f

if TYPE_CHECKING:
    from tests.simulation.node import Process
    from tests.simulation.world import World


class Strikes:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.roles: dict[str, str] = {}

    def cast(self, fault: f.Fault) -> f.Fault:
        """The fault with names instead of roles; who plays which is settled when the first one strikes.

        ``holder`` has the group g0, ``heir`` is the first in line for it, ``other1`` and so on are all others.
        """
        parts: dict[str, Any] = {}
        for field in fields(fault):
            value = getattr(fault, field.name)
            if field.name in ("node", "source", "target"):
                parts[field.name] = self.player(value)
            elif field.name in ("apart", "nodes"):
                parts[field.name] = tuple(self.player(name) for name in value)
        return replace(fault, **parts) if parts else fault

    def player(self, role: str) -> str:
        table = self.world.store.table
        if role in self.world.nodes or table is None:
            return role
        if not self.roles:
            group = table.group("g0")
            holder = table.owner(group.tenure) if group is not None else self.world.names[0]
            heir, *others = line("g0", [name for name in self.world.names if name != holder])
            self.roles = {"holder": holder, "heir": heir}
            self.roles |= {f"other{number}": name for number, name in enumerate(sorted(others), 1)}
        return self.roles[role]

    def strike(self, fault: f.Fault) -> None:
        fault = self.cast(fault)
        self.world.say("*", repr(fault))
        match fault:
            case f.Pause() | f.Kill() | f.Rest() | f.Leave():
                self._process(fault)
            case f.Power() | f.Freeze() | f.Blackout():
                self._machine(fault)
            case f.Cut() | f.Isolate() | f.Split() | f.Deaf() | f.Loss() | f.NoAnchor() | f.Unfit() | f.Stranger():
                self._segment(fault)
            case f.ApiDown() | f.ApiCut() | f.ApiSlow() | f.LateWrites() | f.Lag() | f.Stall() | f.StaleStart():
                self._api(fault)
            case f.Refit() | f.Unwanted():
                self._wish(fault)
            case _:
                self._object(fault)

    # -- machines and processes

    def _process(self, fault: f.Fault) -> None:
        world = self.world
        match fault:
            case f.Pause(_, seconds, name, part, after):
                for kind in ("pulse", "agent") if part == "both" else (part,):
                    process = getattr(world.nodes[name], kind)
                    if not process.alive:
                        continue
                    if after < 0:
                        self._pause(name, kind, seconds)
                    else:
                        self._trap(process, after, partial(self._pause, name, kind, seconds))
            case f.Kill(_, seconds, name, part, after):
                node = world.nodes[name]
                process = node.pulse if part == "pulse" else node.agent
                if process.alive and after < 0:
                    node.kill(part, seconds)
                elif process.alive:
                    self._trap(process, after, partial(node.kill, part, seconds))
            case f.Rest(_, seconds, name) | f.Leave(_, seconds, name):
                world.nodes[name].terminate(rest=isinstance(fault, f.Rest))
                world.after(max(0.5, seconds), self._start_again, name)

    def _trap(self, process: "Process", after: int, spring: Callable[[], None]) -> None:
        """It springs in the midst of the next step that does so much; if none does so soon, it is taken away."""
        process.trap = trap = (after, spring)

        def disarm() -> None:
            if process.trap is trap:
                process.trap = None

        self.world.after(f.TRAP, disarm)

    def _machine(self, fault: f.Fault) -> None:
        match fault:
            case f.Power(_, seconds, name, machine):
                self._power(name, seconds, machine)
            case f.Blackout(_, seconds):
                for name in self.world.names:
                    self._power(name, seconds + self.world.random.uniform(0.0, 2.0))
            case f.Freeze(_, seconds, name):
                self._freeze(name, seconds)

    def _start_again(self, name: str) -> None:
        """As soon as the former container has ended."""
        node = self.world.nodes[name]
        if node.pulse.alive and node.agent.stopping:
            self.world.after(0.2, self._start_again, name)
        else:
            node.start()

    def _pause(self, name: str, kind: str, seconds: float) -> None:
        process = getattr(self.world.nodes[name], kind)
        process.pause()
        self.world.say(name, f"{kind} stopped for {seconds} s")
        self.world.after(seconds, process.resume, process.life)

    def _power(self, name: str, seconds: float, machine: str = "") -> None:
        node = self.world.nodes[name]
        if not node.powered:
            return
        node.power_off()
        self.world.say(name, "without power")
        if machine:
            node.machine = machine
        self.world.after(seconds, node.boot_up)

    def _freeze(self, name: str, seconds: float) -> None:
        node, world = self.world.nodes[name], self.world
        if not node.powered:
            return
        left = node.kernel.until - world.now
        boot = node.boot
        world.checks.closing(node)
        node.kernel.until = 0.0

        def thaw() -> None:
            node.zero += seconds
            world.checks.stood_still(name, seconds)
            if node.boot == boot and left > 0:
                node.excuse(left + 0.05)
                node.kernel.until = world.now + left
                world.checks.opened(node)

        world.after(seconds, thaw)
        for kind in ("pulse", "agent"):
            self._pause(name, kind, seconds)

    # -- the segment

    def _segment(self, fault: f.Fault) -> None:
        world, names = self.world, self.world.names
        match fault:
            case f.Cut(_, seconds, source, target, one_way):
                pairs = [(source, target)] if one_way else [(source, target), (target, source)]
                self._lasting(seconds, partial(world.cuts.update, pairs), partial(world.cuts.subtract, pairs))
            case f.Split(_, seconds, apart):
                pairs = [(a, b) for a in names for b in names if (a in apart) != (b in apart)]
                self._lasting(seconds, partial(world.cuts.update, pairs), partial(world.cuts.subtract, pairs))
                world.unanchored.update(apart)
                world.after(seconds, world.unanchored.subtract, apart)
            case f.Isolate(_, seconds, name):
                self._lasting(
                    seconds, partial(world.dead_ports.update, [name]), partial(world.dead_ports.subtract, [name])
                )
            case f.Deaf(_, seconds):
                self._lasting(seconds, partial(self._deaf, 1), partial(self._deaf, -1))
            case f.Loss(_, seconds, share, late):
                world.loss, world.late = share, late
                world.after(seconds, self._no_loss)
            case f.NoAnchor(_, seconds, name):
                world.unanchored.update([name])
                world.after(seconds, world.unanchored.subtract, [name])
            case f.Unfit(_, seconds, name):
                self._link(name, up=False)
                world.after(seconds, partial(self._link, name, up=True))
            case f.Stranger(_, seconds, group):
                world.strangers.update([group])
                world.after(seconds, world.strangers.subtract, [group])

    def _lasting(self, seconds: float, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        self.world.rewire()

        def mend() -> None:
            end()
            self.world.rewire()

        self.world.after(seconds, mend)

    def _deaf(self, more: int) -> None:
        self.world.deaf += more

    def _no_loss(self) -> None:
        self.world.loss = self.world.late = 0.0

    def _link(self, name: str, *, up: bool) -> None:
        self.world.nodes[name].link = up
        self.world.rewire()
        self.world.rewish()

    def _wish(self, fault: f.Refit | f.Unwanted) -> None:
        every = frozenset(self.world.names)
        self._refit(fault.group, frozenset(fault.nodes) if isinstance(fault, f.Refit) else None)
        self.world.after(fault.seconds, self._refit, fault.group, every)

    def _refit(self, group: str, nodes: frozenset[str] | None) -> None:
        # A new mapping: a wish that was given is a value.
        others = {name: able for name, able in self.world.candidates.items() if name != group}
        self.world.candidates = others if nodes is None else {**others, group: nodes}
        self.world.rewish()

    # -- the API server

    def _api(self, fault: f.Fault) -> None:
        world = self.world
        match fault:
            case f.ApiDown(_, seconds):
                world.apart_from_api.update([""])
                world.after(seconds, world.apart_from_api.subtract, [""])
            case f.ApiCut(_, seconds, name):
                world.apart_from_api.update([name])
                world.after(seconds, world.apart_from_api.subtract, [name])
            case f.ApiSlow(_, seconds, most, share):
                world.requests.slow = (most, share)
                world.after(seconds, setattr, world.requests, "slow", None)
            case f.LateWrites(_, seconds, name, late):
                world.requests.late[name] = late
                world.after(seconds, world.requests.late.pop, name, None)
            case f.Lag(_, seconds, name, late):
                world.watches[name].lag = late
                world.after(seconds, setattr, world.watches[name], "lag", 0.01)
            case f.Stall(_, seconds, name, age):
                watch = world.watches[name]
                watch.stalled_until, watch.age = world.now + seconds, age
                world.after(seconds + 1.0, setattr, watch, "age", 0.0)
            case f.StaleStart(_, seconds, age):
                world.stale_age = age
                world.after(seconds, setattr, world, "stale_age", 0.0)

    # -- objects

    def _object(self, fault: f.Fault) -> None:
        store, table = self.world.store, self.world.store.table
        match fault:
            case f.LeaseDeleted(_, name):
                store.delete_lease(name)
            case f.TableDeleted():
                if table is not None:
                    store.next()
                    store.replace_table(None, "somebody")
            case f.TableCleared():
                number = store.next()
                store.replace_table(Table(f"uid-{number}", str(number)), "somebody")
            case f.TableRestored(_, age):
                self.world.checks.tampered_at = self.world.now
                then = next((t for when, t in reversed(self.world.tables) if when <= self.world.now - age), None)
                if then is not None:
                    number = store.next()
                    restored = replace(then, uid=f"uid-{number}", resource_version=str(number))
                    store.replace_table(restored, "somebody")
            case f.TableEdited(_, group, name):
                self._edit(group, name)

    def _edit(self, group: str, name: str) -> None:
        store, table = self.world.store, self.world.store.table
        seat = table.seat(name) if table is not None else None
        if table is None or seat is None:
            return
        rows = tuple(
            replace(row, tenure=seat.tenure, epoch=row.epoch + 1)
            if row.name == group and row.tenure != seat.tenure
            else row
            for row in table.groups
        )
        self.world.checks.tampered_at = self.world.now
        edited = replace(table, revision=table.revision + 1, resource_version=str(store.next()), groups=rows)
        store.replace_table(edited, "somebody")
