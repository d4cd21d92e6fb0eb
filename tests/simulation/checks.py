"""What must hold at every event: the invariants, kept by other means than the product's own."""

from collections import Counter
from typing import TYPE_CHECKING

from nodeagent.pulse.messages import Echo
from nodeagent.segment.table import Mode, Seat, Table

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

LEASE, REST = 6.0, 20.0  # seconds, S and G
RATE = 1.1  # how much longer than it was told a kernel may keep a permit
SLIP = 0.001  # clocks of processes have rates of their own
ROUNDING = 0.002
TAMPERED = 10.0


class Checks:
    """*violations* ends the run; *gaps* are the times without a claimant, which are reported only."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.violations: list[str] = []
        self.moves: list[tuple[float, str, str]] = []  # when a kernel began to claim a group that another had claimed
        self.writes: list[tuple[float, str]] = []
        self.gaps: list[tuple[str, float, float]] = []
        self.excused: list[float] = []
        self.table_sent_at = 0.0
        self._replaced_at = -TAMPERED  # when the Segment became another object
        self.tampered_at = -TAMPERED  # when somebody last wrote another holder into the table
        self._rows: dict[tuple[str, int], Seat] = {}  # the newest live row of each tenure
        self._written_at: dict[tuple[str, int], float] = {}  # when the write of that row was sent
        self._renewed_at: dict[tuple[str, int], float] = {}
        self._echoed: dict[tuple[str, int], dict[str, float]] = {}  # node, tenure -> witness -> what it fed ends
        self._alone_at: dict[str, float] = {}  # when a node that held on last looked round, undisturbed
        self._promised: set[tuple[str, str, int]] = set()
        self._heard: Counter[str] = Counter()  # group -> the highest epoch that any client heard
        self._claimed_by: dict[str, tuple[str, float]] = {}  # group -> who claimed it last, and until when (0: still)

    def fail(self, what: str) -> None:
        self.world.say("!", what)
        self.violations.append(what)

    # -- I1: at no time do two kernels let claims for one group out; I2: nothing older after something newer

    def held(self, node: "Node", former: frozenset[str]) -> None:
        if node.claims():
            self._ends(node, former - node.kernel.held)
            self._begins(node, node.kernel.held - former)

    def opened(self, node: "Node") -> None:
        """A permit that had lapsed stands again, or it ends that a second claimant is excused."""
        if node.claims():
            self._begins(node, node.kernel.held)

    def closing(self, node: "Node") -> None:
        if node.claims():
            self._ends(node, node.kernel.held)

    def _ends(self, node: "Node", groups: frozenset[str]) -> None:
        for group in groups:
            if self._claimed_by.get(group, ("", 0.0))[0] == node.name:
                self._claimed_by[group] = (node.name, self.world.now)

    def _begins(self, node: "Node", groups: frozenset[str]) -> None:
        now, world = self.world.now, self.world
        if not groups:
            return
        for other in world.nodes.values():
            if other is node or not other.claims():
                continue
            both = other.kernel.held & groups
            if both and (max(node.excused_until, other.excused_until) > now or self._apart(node, other)):
                self.excused.append(now)
            elif both:
                self.fail(f"I1: {node.name} and {other.name} both claim {sorted(both)}")
                return
        for group in sorted(groups):
            epoch = node.kernel.epochs.get(group, 0)
            if epoch < self._heard[group] and max(node.excused_until, self._replaced_at + TAMPERED) <= now:
                self.fail(f"I2: {node.name} claims {group} at epoch {epoch} after {self._heard[group]} was heard")
            self._heard[group] = max(epoch, self._heard[group])
            self._measure(node, group)

    def _apart(self, node: "Node", other: "Node") -> bool:
        """Whether the two do not hear each other where nothing but their asking each other could help.

        That is where one holds on while it is cut off (``whenCutOff: Hold``), and where somebody wrote another holder
        into the table than its holder did.
        """
        world = self.world
        latest = max(self._alone_at.get(node.name, 0.0), self._alone_at.get(other.name, 0.0))
        held_on = latest + RATE * world.profile.permit + SLIP > world.now
        if not held_on and world.now > self.tampered_at + TAMPERED:
            return False
        hear = world.hears(node, other) and world.hears(other, node)
        return not hear or bool(world.loss) or world.now < world.rewired_at + 1.0

    def _measure(self, node: "Node", group: str) -> None:
        now = self.world.now
        if group in self._claimed_by:
            name, until = self._claimed_by[group]
            former = self.world.nodes[name].kernel
            if not until and group in former.held:
                until = min(former.until, now)
            if until and now > until:
                self.gaps.append((group, until, now - until))
            if name != node.name:
                self.moves.append((now, group, node.name))
        self._claimed_by[group] = (node.name, 0.0)

    # -- I3: revisions, tenures and epochs only grow; gone stays gone

    def table_written(self, old: Table | None, new: Table | None, writer: str) -> None:
        world = self.world
        self.writes.append((world.now, writer))
        if world.store.refusals:
            self.fail(f"the server refuses: {world.store.refusals[0]}")
        if old is None or new is None or new.uid != old.uid:
            self._replaced_at = world.now  # nobody need know how far the former one had counted
        if world.now < self._replaced_at + TAMPERED:
            self._heard.clear()
        if new is None or writer == "somebody":
            self._rows |= {(row.node, row.tenure): row for row in new.seats if row.live} if new is not None else {}
            return
        if old is not None and old.made and (new.revision, new.next_tenure) < (old.revision, old.next_tenure):
            self.fail(f"I3: revision or next tenure went back to {new.revision}, {new.next_tenure}")
        rows = {row.tenure for row in new.ended}
        lost = sorted({tenure for group in new.groups for tenure in group.after} - rows)
        if lost:
            self.fail(f"I3: to outwait {lost}, and no row says whom")
        self._epochs(new)
        for seat in new.seats:
            if seat.live and (old is None or old.seat(seat.node) != seat):
                key = (seat.node, seat.tenure)
                self._rows[key], self._written_at[key] = seat, self.table_sent_at
                self.fed(world.nodes[seat.node])

    def _epochs(self, new: Table) -> None:
        for group in new.groups:
            if group.epoch < self._heard[group.name]:
                self.fail(f"I3: {group.name} is at epoch {group.epoch}, and {self._heard[group.name]} was claimed")

    # -- I4: no permit outlives a rule in force

    def renewed(self, node: str, tenure: int, sent_at: float) -> None:
        key = (node, tenure)
        self._renewed_at[key] = max(sent_at, self._renewed_at.get(key, 0.0))

    def fed(self, node: "Node") -> None:
        """The permit of *node* changed, or the row that says what feeds it."""
        now = self.world.now
        if node.kernel.until <= now or node.excused_until > now or now < self.tampered_at + TAMPERED:
            return
        tenure = node.kernel.tenure
        row = self._rows.get((node.name, tenure))
        limit = 0.0 if row is None else self._limit(row)
        if node.kernel.until > limit:
            over = node.kernel.until - limit
            mode = "no seat" if row is None else row.mode.value
            self.fail(f"I4: the permit of {node.name}, tenure {tenure}, stands {over:.3f} s too long ({mode})")

    def _limit(self, row: Seat) -> float:
        key = (row.node, row.tenure)
        match row.mode:
            case Mode.WITNESSED:
                feeders = (len(row.witnesses) + 1) // 2
                echoed = self._echoed.get(key, {})
                ends = sorted((echoed.get(witness, 0.0) for witness in row.witnesses), reverse=True)
                end = ends[feeders - 1] if feeders else 0.0
            case Mode.LEASED:
                end = self._renewed_at.get(key, 0.0) + RATE * LEASE
            case Mode.RESTING:
                end = self._written_at.get(key, 0.0) + RATE * REST
        held_on = self._alone_at.get(row.node, 0.0) + RATE * self.world.profile.permit
        return max(end, held_on) + SLIP + ROUNDING

    def stood_still(self, node: str, seconds: float) -> None:
        """A machine and its clocks were frozen: what it counts in seconds of its own comes so much later."""
        for key, echoed in self._echoed.items():
            if key[0] == node:
                self._echoed[key] = {witness: end + seconds for witness, end in echoed.items()}
        for times in (self._renewed_at, self._written_at):
            times.update({key: at + seconds for key, at in times.items() if key[0] == node})
        self._alone_at[node] = self._alone_at.get(node, 0.0) + seconds

    def alone(self, node: str, asked_at: float) -> None:
        """A node that holds on while it is cut off looked round at that time: its anchor answers, and nobody claims."""
        self._alone_at[node] = asked_at

    # -- I5: no echo after "gone"

    def promised(self, witness: str, node: str, tenure: int) -> None:
        self._promised.add((witness, node, tenure))

    def echoed(self, witness: str, node: str, echo: Echo) -> None:
        if (witness, node, echo.tenure) in self._promised:
            self.fail(f"I5: {witness} echoes tenure {echo.tenure} of {node}, which it called gone")
        sent_at, permit = self.world.nodes[node].hellos.get((echo.life, echo.sequence), (0.0, 0.0))
        known = self._echoed.setdefault((node, echo.tenure), {})
        known[witness] = max(known.get(witness, 0.0), sent_at + RATE * permit)

    # -- I7: in the end every group has one holder

    def at_the_end(self) -> None:
        world = self.world
        if self.violations:
            return
        for group in world.groups:
            holders = [node.name for node in world.nodes.values() if node.claims() and group in node.kernel.held]
            able = [name for name in sorted(world.candidates[group]) if self._able(name)]
            if able and len(holders) != 1:
                self.fail(f"I7: {group} is held by {holders}, and {able} could")
            for name in holders:
                if able and not world.anchor_answers(world.nodes[name]):
                    self.fail(f"I7: {name} holds {group} without an anchor, and {able} could")

        self._seats_at_the_end()

    def _seats_at_the_end(self) -> None:
        """Whoever could has a seat, and witnesses where others are heard."""
        world, table = self.world, self.world.store.table
        able = [name for name in world.names if self._able(name)]
        for name in able:
            seat = table.seat(name) if table is not None else None
            if seat is None or not seat.live:
                self.fail(f"I7: {name} has no seat, and could")
            elif seat.mode is not Mode.WITNESSED and len(able) > 1 and not world.deaf:
                self.fail(f"I7: {name} is heard, and its seat is {seat.mode.value}")

    def _able(self, name: str) -> bool:
        node = self.world.nodes[name]
        return node.powered and node.agent.alive and self.world.anchor_answers(node) and not self.world.apart(node)
