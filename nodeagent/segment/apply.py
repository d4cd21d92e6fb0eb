"""The table and the node Leases on the API server: each write with its resourceVersion, and with its outcome."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from nodeagent.segment.events import Answer, LeasePut, LeaseView, MarkPut, TablePut
from nodeagent.segment.table import Ended, Group, Mode, Seat, SeatState, Table
from roost.kube import wire
from roost.kube.client import Conflict, Kube, Ok, Outcome, Unknown
from roost.kube.election import utc_now
from roost.process import Unreachable
from roost.words import ENDED, NODE_LEASE_NAMESPACE, SEGMENT, TENURE

REQUEST_SECONDS = 1.5  # a renewal that takes longer is asked after, and sent again


class SegmentApi:
    """One segment's table, and the Leases of the nodes on it, as this node may write them."""

    def __init__(self, kube: Kube, segment: str, node: str, clock: Callable[[], float]) -> None:
        self._kube = kube.within(REQUEST_SECONDS)
        self.segment, self._node, self._now = segment, node, clock
        self.refusal = ""  # what the server said to the last write that it refused
        self._names: dict[str, str] = {}  # of the Leases that feed seats here, by node

    # -- the table

    async def read(self) -> Table:
        """The table by a consistent read; makes the Segment if there is none. Raises Unreachable, Denied."""
        found = await self._kube.get(wire.SEGMENTS, self.segment)
        if found is None:
            bare = wire.Segment(metadata=wire.Meta(name=self.segment))
            made = await self._kube.create(wire.SEGMENTS, bare)
            match made:
                case Ok(found):
                    return table(found)
                case Conflict(code=409):
                    found = await self._kube.get(wire.SEGMENTS, self.segment)
                case Conflict(message=why) | Unknown(why=why):
                    raise Unreachable(f"Segment {self.segment} cannot be made: {why}")
        if found is None:
            raise Unreachable(f"Segment {self.segment} comes and goes")
        return table(found)

    async def put(self, new: Table) -> TablePut:
        meta = wire.Meta(name=self.segment, uid=new.uid, resource_version=new.resource_version)
        body = wire.Segment(metadata=meta, status=status(new))
        done = await self._kube.put(wire.SEGMENTS, body, subresource="status")
        return TablePut(self._answer(done), table(done.value) if isinstance(done, Ok) else None)

    # -- Leases

    def seen(self, lease: wire.Lease) -> str:
        """The node whose seat on this segment *lease* feeds; '' if it is another segment's."""
        node = node_of(lease, self.segment)
        if node:
            self._names[node] = lease.metadata.name
        return node

    def lease_key(self, node: str) -> str:
        return f"{NODE_LEASE_NAMESPACE}/{self._names.get(node, node)}"

    async def read_lease(self, node: str) -> LeaseView | None:
        """A node's Lease by a consistent read. Raises Unreachable, Denied.

        It bears the node's name; where that one feeds a seat on another segment, this segment's as well.
        """
        for name in dict.fromkeys([self._names.get(node, node), node, f"{node}.{self.segment}"]):
            found = await self._kube.get(wire.LEASES, name, namespace=NODE_LEASE_NAMESPACE)
            if found is None or self.seen(found) == node:
                self._names[node] = name
                return None if found is None else view(found)
        return None

    async def read_leases(self) -> dict[str, LeaseView]:
        """All Leases that feed seats on this segment, by node, by a consistent read. Raises Unreachable, Denied."""
        found = await self._kube.list(wire.LEASES, namespace=NODE_LEASE_NAMESPACE)
        return {node: view(lease) for lease in found.items if (node := self.seen(lease))}

    async def renew(self, tenure: int, over: LeaseView | None) -> LeasePut:
        """Write the own Lease whole, *over* what was last seen of it; None: make it. A mark is never carried along.

        The uid goes along: without it the server takes a PUT of a Lease that was deleted for a new one.
        """
        meta = wire.Meta(
            name=self._names.get(self._node, self._node),
            namespace=NODE_LEASE_NAMESPACE,
            uid=over.uid if over is not None else "",
            resource_version=over.resource_version if over is not None else "",
            annotations={TENURE: str(tenure), SEGMENT: self.segment},
            labels={"velero.io/exclude-from-backup": "true"},
        )
        spec = wire.LeaseSpec(holder_identity=self._node, lease_duration_seconds=6, renew_time=utc_now())
        lease = wire.Lease(metadata=meta, spec=spec)
        sent_at = self._now()
        done = await (self._kube.create if over is None else self._kube.put)(wire.LEASES, lease)
        return LeasePut(self._answer(done), sent_at, tenure, view(done.value) if isinstance(done, Ok) else None)

    async def mark(self, lease: wire.Lease, tenure: int) -> MarkPut:
        """Add the mark that ends *tenure* to another's Lease, else unchanged and at the version that was waited on."""
        annotations = {**lease.metadata.annotations, ENDED: str(tenure)}
        meta = wire.Meta(
            name=lease.metadata.name,
            namespace=lease.metadata.namespace,
            uid=lease.metadata.uid,
            resource_version=lease.metadata.resource_version,
            labels=lease.metadata.labels,
            annotations=annotations,
            finalizers=lease.metadata.finalizers,
            owner_references=lease.metadata.owner_references,
        )
        done = await self._kube.put(wire.LEASES, wire.Lease(metadata=meta, spec=lease.spec))
        return MarkPut(
            node_of(lease, self.segment), self._answer(done), view(done.value) if isinstance(done, Ok) else None
        )

    def _answer(self, outcome: Outcome[object]) -> Answer:
        match outcome:
            case Ok():
                return Answer.OK
            case Conflict(code=409):
                return Answer.CONFLICT
            case Conflict(code=404):
                return Answer.MISSING
            case Conflict(reason=reason, message=message):
                self.refusal = f"{reason}: {message}"
                return Answer.REFUSED
            case Unknown():
                return Answer.UNKNOWN


def node_of(lease: wire.Lease, segment: str) -> str:
    """The node whose seat on *segment* this Lease feeds; '' if it is another segment's."""
    if lease.metadata.annotations.get(SEGMENT, segment) != segment:
        return ""
    return lease.spec.holder_identity or lease.metadata.name


def view(lease: wire.Lease) -> LeaseView:
    """What counts of a Lease."""
    return LeaseView(
        lease.metadata.resource_version,
        _number(lease.metadata.annotations, TENURE),
        _number(lease.metadata.annotations, ENDED),
        lease.metadata.uid,
    )


def _number(annotations: Mapping[str, str], key: str) -> int:
    text = annotations.get(key, "")
    return int(text) if text.isdecimal() else 0


def table(segment: wire.Segment) -> Table:
    """The table as the step function knows it."""
    meta, kept = segment.metadata, segment.status
    if kept is None:
        return Table(meta.uid, meta.resource_version)
    return Table(
        meta.uid,
        meta.resource_version,
        kept.revision,
        kept.next_tenure,
        tuple(_seat(row) for row in kept.seats),
        tuple(Ended(row.tenure, row.node, Mode(row.mode), row.witnesses) for row in kept.ended),
        tuple(Group(row.name, row.tenure, row.epoch, row.after) for row in kept.groups),
    )


def _seat(row: wire.Seat) -> Seat:
    return Seat(
        row.node,
        row.tenure,
        row.version,
        row.boot_id,
        row.machine_id,
        row.mac,
        row.addresses,
        row.eligible,
        Mode(row.mode),
        SeatState(row.state),
        row.witnesses,
    )


def status(table: Table) -> wire.SegmentStatus:
    """The table as the API keeps it."""
    live = table.live()
    tenures = {seat.tenure for seat in live}
    held = sum(group.tenure in tenures for group in table.groups)
    return wire.SegmentStatus(
        revision=table.revision,
        next_tenure=table.next_tenure,
        summary=wire.Summary(
            live=f"{len(live)}/{len(table.seats)}", groups=f"{held}/{len(table.groups)}", modes=_modes(live)
        ),
        seats=tuple(
            wire.Seat(
                node=seat.node,
                tenure=seat.tenure,
                version=seat.version,
                boot_id=seat.boot_id,
                mode=seat.mode.value,
                state=seat.state.value,
                machine_id=seat.machine_id,
                mac=seat.mac,
                addresses=seat.addresses,
                eligible=seat.eligible,
                witnesses=seat.witnesses,
            )
            for seat in table.seats
        ),
        ended=tuple(
            wire.Ended(tenure=row.tenure, node=row.node, mode=row.mode.value, witnesses=row.witnesses)
            for row in table.ended
        ),
        groups=tuple(
            wire.Group(name=group.name, tenure=group.tenure, epoch=group.epoch, after=group.after)
            for group in table.groups
        ),
    )


def _modes(live: Sequence[Seat]) -> str:
    """``3 witnessed``, or ``2 witnessed, 1 resting``: how the live seats' permits are fed."""
    count = Counter(seat.mode for seat in live)
    return ", ".join(f"{count[mode]} {mode.value.lower()}" for mode in sorted(count))
