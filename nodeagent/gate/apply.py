"""The gate in the kernel: its rules through the nft program, its sets by nfnetlink."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from nodeagent.gate import nfnetlink, nft, plan, rules
from nodeagent.gate.kernel import Socket, hardware
from nodeagent.gate.nfnetlink import Element, Place, Request
from nodeagent.gate.permits import Permits as Permits  # noqa: PLC0414 - offered here too
from nodeagent.gate.permits import key
from nodeagent.gate.plan import (
    DEVICES,
    HELD,
    POOLS,
    TABLE,
    VIPS,
    Address,
    Have,
    KernelRefused,
    NoGate,
    Outcome,
    Range,
    Unsupported,
)
from nodeagent.gate.rules import Form, Table

_LENGTHS = {4: 4, 6: 16}  # octets of an address


class Gates:
    """The gates of a node: of all its devices on which VIPs could be claimed, in one table.

    It is in the network namespace of the thread that makes it. All calls are synchronous; install(), fence() and new
    *ranges* take some 20 ms each, the others are short. Those that change something return when the kernel has it, and
    raise KernelRefused; NoGate says that somebody took the table away (`nft flush ruleset`): install() it again, then
    guard() and hold().

    Fence every device that has addresses of its own, and none that is a port of a bridge or of a bond: what the bridge
    or the bond was allowed to claim leaves by its ports too.
    """

    def __init__(self, devices: Iterable[str] = (), *, forms: Sequence[Form] = rules.FORMS) -> None:
        """*forms*: those to try, the best first. Raises Unsupported where the kernel or our rights do not suffice."""
        self.permits = Permits()
        self.refused: Mapping[str, str] = {}
        self._hopeless: Set[str] = frozenset()  # those that the kernel itself refused
        self.devices = frozenset(devices)
        self._forms = tuple(forms)
        self._form = self._forms[0]
        self._socket = Socket()
        self._vips: frozenset[Address] | None = None  # as of our last call; None: not known
        self._ranges: tuple[Range, ...] | None = None
        self._held: dict[str, frozenset[Address]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets; the gate stands, and a permit runs out by itself."""
        self._socket.close()
        self.permits.close()

    @property
    def weakness(self) -> str:
        """What the gate that stands does not fence, for people to read; empty if nothing."""
        return self._form.weakness

    # -- the table

    def install(self) -> None:
        """Have the gate stand; what stands already in the right shape is adopted with all that is in its sets.

        A table of another shape (of another version) is replaced in one transaction: it fences the same addresses, but
        nothing is held and there is no permit. Raises Unsupported on a machine where no gate can be.
        """
        impossible = list[str]()
        for form in self._forms:
            stands = self._tables_stand(form)
            why = "" if stands else self._impossible(form)
            if why:
                impossible.append(f"{form.name}: {why}")
                continue
            self._form = form
            if not stands:
                self._replace()
            self.fence(self.devices)
            return
        raise Unsupported(
            f"kernel {os.uname().release} cannot fence what leaves this node ({'; '.join(impossible)}): Linux"
            f" {rules.OLDEST_KERNEL} or newer with NETFILTER_EGRESS, or nf_tables with families arp and ip6, is needed"
        )

    def fence(self, devices: Iterable[str]) -> Mapping[str, str]:
        """Have a gate on each of *devices* and on no other; a device that stays keeps what it has, without a gap.

        A device that goes loses what it held, and its permit, and then its gate. Returns those where no gate can stand,
        and why (also as `refused`); of these one that appears later has to be fenced then, see standing().
        """
        self.devices = frozenset(devices)
        fenced, refused, hopeless = self._fenced(), dict[str, str](), set[str]()
        for device in fenced.keys() - self.devices:
            self._remove(device)
        for device in sorted(self.devices):
            if why := plan.unfit(device, hardware(device)):
                refused[device] = why
            elif not fenced.get(device):
                try:
                    self._add(device, anew=device in fenced)
                except KernelRefused as error:
                    refused[device] = str(error)
                    hopeless.add(device)
        self.refused, self._hopeless = refused, hopeless
        return refused

    def standing(self) -> bool:
        """Whether the gate stands in the right shape on each of its devices where it can."""
        if not self._tables_stand(self._form):
            return False
        fenced = self._fenced()
        missing = [device for device in self.devices if not fenced.get(device)]
        return all(plan.unfit(device, hardware(device)) or device in self._hopeless for device in missing)

    def remove(self) -> None:
        """Take everything away: every claim passes again."""
        named = nfnetlink.attribute(nfnetlink.TABLE_NAME, nfnetlink.text(TABLE))
        present = self._present()
        self._socket.commit([Request(nfnetlink.DELTABLE, 0, named, table.family) for table in present])
        self._vips = self._ranges = None
        self._held.clear()

    # -- what it fences, and what it lets pass

    def read(self, device: str) -> Have:
        """What the kernel has now for *device*. Raises NoGate."""
        self._vips, self._held[device] = self._read_vips(), self._read_held(device)
        return Have(self._vips, self._held[device], self.permits.left(device))

    def read_ranges(self) -> tuple[Range, ...]:
        """The ranges that the kernel fences now. Raises NoGate."""
        self._ranges = plan.merged(
            one
            for table in self._form.tables
            for version, name in POOLS.items()
            if name in table
            for one in _ranges(self._elements(Place(table.family, TABLE, name)), version)
        )
        return self._ranges

    def guard(self, vips: Iterable[Address], ranges: Iterable[Range] = ()) -> None:
        """Fence claims for *vips*, for every address of *ranges*, and for no other address.

        None of the node's own addresses may be among them: plan.without() cuts those out of ranges.
        """
        self._guard_ranges(plan.merged(ranges))
        want = frozenset(vips)
        try:
            self._change(VIPS, b"", self._vips if self._vips is not None else self._read_vips(), want)
        except KernelRefused:  # perhaps the sets are not as we left them
            self._vips = None
            self._change(VIPS, b"", self._read_vips(), want)
        self._vips = want

    def hold(self, device: str, addresses: Iterable[Address]) -> None:
        """Let claims for *addresses*, and for no other VIP, pass on *device* while that has a permit."""
        want, suffix = frozenset(addresses), key(device)
        known = self._held.pop(device, None)
        try:
            self._change(HELD, suffix, known if known is not None else self._read_held(device), want)
        except KernelRefused:
            self._change(HELD, suffix, self._read_held(device), want)
        self._held[device] = want

    def permitted(self, device: str) -> bool:
        """Whether *device* has a permit at this moment: what a sender of claims asks where `weakness` says so."""
        try:
            return self.permits.left(device) is not None
        except NoGate:
            return False

    def may_claim(self, address: Address, device: str) -> bool:
        """Whether a claim for *address* may leave by *device* now; while no gate stands, none may."""
        try:
            self._vips = self._vips if self._vips is not None else self._read_vips()
            ranges = self._ranges if self._ranges is not None else self.read_ranges()
            if address not in self._vips and not any(address in one for one in ranges):
                return True
            if device not in self._held:
                self._held[device] = self._read_held(device)
            return address in self._held[device] and self.permits.left(device) is not None
        except NoGate:
            return False

    def on(self, device: str) -> "Gate":
        """The gate of one device, sharing everything with this."""
        return Gate(device, self)

    # -- devices

    def _fenced(self) -> dict[str, bool]:
        """The devices that have a gate, and whether it is as it should be. Raises NoGate."""
        (first, *_) = self._form.tables
        if not self._form.chains:
            several = [self._elements(Place(table.family, TABLE, DEVICES)) for table in self._form.tables]
            names = [{one.key.rstrip(b"\0").decode() for one in elements} for elements in several]
            return {name: all(name in other for other in names) for name in set().union(*names)}
        found = dict[str, bool]()
        for name, chain in self._socket.chains(first.family, TABLE).items():
            device = rules.device_of(name)
            if device is not None:  # some kernels keep the chain of a device that vanished, and hook it to nothing
                hooked = _devices(chain.get(nfnetlink.CHAIN_HOOK, b"")) == [device]
                found[device] = hooked and _use(chain) == rules.RULES_OF_A_DEVICE
        return found

    def _add(self, device: str, *, anew: bool) -> None:
        if self._form.chains:
            nft.load(rules.chain_of(device, anew=anew))
            return
        for table in self._form.tables:
            self._socket.commit(nfnetlink.add(Place(table.family, TABLE, DEVICES), [Element(key(device))]))

    def _remove(self, device: str) -> None:
        self.hold(device, ())
        del self._held[device]
        self.permits.revoke(device)
        if self._form.chains:
            nft.load(rules.without_chain(rules.chain_name(device)))
            return
        for table in self._form.tables:
            gone = nfnetlink.delete(Place(table.family, TABLE, DEVICES), [Element(key(device))])
            self._socket.commit(gone, unless=errno.ENOENT)

    # -- tables

    def _present(self) -> list[Table]:
        """All tables of ours that stand, of whatever form."""
        every = {table.family: table for form in rules.FORMS for table in form.tables}
        return [table for family, table in every.items() if self._socket.table(family, TABLE) is not None]

    def _tables_stand(self, form: Form) -> bool:
        """Whether the tables of *form* stand in the right shape, and no others."""
        if {table.family for table in self._present()} != {table.family for table in form.tables}:
            return False
        for table in form.tables:
            found = self._socket.table(table.family, TABLE) or {}
            if form.fingerprint.encode() not in found.get(nfnetlink.TABLE_USERDATA, b""):
                return False
            chains = self._socket.chains(table.family, TABLE)
            of_devices = len(chains.keys() - table.chains.keys())  # perhaps not in shape, see _fenced()
            least, most = rules.uses(table, 0), rules.uses(table, of_devices)
            if any(name not in chains or not least[name] <= _use(chains[name]) <= most[name] for name in least):
                return False
        return True

    def _impossible(self, form: Form) -> str:
        """Why the kernel cannot have a gate of *form*; "" if it can."""
        return nft.refusal(rules.replacement(form, self._present(), frozenset(), (), ["lo"]))

    def _replace(self) -> None:
        present = self._present()
        vips, ranges = self._fenced_by_what_is_there(present)
        fit = [device for device in self.devices if not plan.unfit(device, hardware(device))]
        try:
            nft.load(rules.replacement(self._form, present, vips, ranges, fit))
        except KernelRefused:  # one of the devices is at fault: fence() will find out which
            nft.load(rules.replacement(self._form, present, vips, ranges, ()))
        self._vips, self._ranges, self._held = vips, ranges, {}

    def _fenced_by_what_is_there(self, present: Iterable[Table]) -> tuple[frozenset[Address], tuple[Range, ...]]:
        vips, ranges = set[Address](), list[Range]()
        for table in present:
            for version in VIPS:
                vips |= _addresses(self._elements_if_any(Place(table.family, TABLE, VIPS[version])), version)
                ranges += _ranges(self._elements_if_any(Place(table.family, TABLE, POOLS[version])), version)
        return frozenset(vips), plan.merged(ranges)

    # -- sets

    def _guard_ranges(self, want: tuple[Range, ...]) -> None:
        have = self._ranges if self._ranges is not None else self.read_ranges()
        if want == have:
            return
        self._ranges = None
        try:
            nft.load(rules.pools(self._form, want))
        except KernelRefused as error:
            if not self._present():
                raise NoGate from error
            raise
        self._ranges = want

    def _change(self, sets: Mapping[int, str], suffix: bytes, have: Set[Address], want: Set[Address]) -> None:
        for change in plan.changes(have, want):
            requests = list[Request]()
            for place, version in self._places(sets):
                gone = [Element(vip.packed + suffix) for vip in change.remove if vip.version == version]
                come = [Element(vip.packed + suffix) for vip in change.add if vip.version == version]
                requests += [*nfnetlink.delete(place, gone), *nfnetlink.add(place, come)]
            self._socket.commit(requests)

    def _places(self, sets: Mapping[int, str]) -> list[tuple[Place, int]]:
        return [
            (Place(table.family, TABLE, name), version)
            for table in self._form.tables
            for version, name in sets.items()
            if name in table
        ]

    def _read_vips(self) -> frozenset[Address]:
        several = [_addresses(self._elements(place), version) for place, version in self._places(VIPS)]
        return frozenset[Address]().union(*several)

    def _read_held(self, device: str) -> frozenset[Address]:
        """Those held on *device*; a key is an address and a name."""
        suffix = key(device)
        return frozenset(
            ip_address(element.key[: _LENGTHS[version]])
            for place, version in self._places(HELD)
            for element in self._elements(place)
            if element.key[_LENGTHS[version] :] == suffix
        )

    def _elements(self, place: Place) -> Sequence[Element]:
        try:
            return self._socket.elements(place)
        except KernelRefused as refused:
            if refused.errno != errno.ENOENT:
                raise
            raise NoGate from refused

    def _elements_if_any(self, place: Place) -> Sequence[Element]:
        """None where nothing is there, or nothing that has such a set."""
        try:
            return self._elements(place)
        except KernelRefused:
            return ()


class Gate:
    """The gate of one device: of its own, or one of several."""

    def __init__(self, device: str, gates: Gates | None = None) -> None:
        """Raises Unsupported where the kernel or our rights do not suffice."""
        self.device = device
        self._shared = gates is not None
        self._gates = gates or Gates([device])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if not self._shared:
            self._gates.close()

    def install(self) -> Have:
        """As Gates.install(). Raises KernelRefused with ENODEV where no gate can stand on this device."""
        self._gates.install()
        if self.device in self._gates.refused:
            raise KernelRefused(errno.ENODEV, f"no gate on {self.device}: {self._gates.refused[self.device]}")
        return self.read()

    @property
    def weakness(self) -> str:
        return self._gates.weakness

    def standing(self) -> bool:
        return self._gates.standing()

    def read(self) -> Have:
        return self._gates.read(self.device)

    def guard(self, vips: Iterable[Address], ranges: Iterable[Range] = ()) -> None:
        """What is fenced is the same on all devices: the last word counts."""
        self._gates.guard(vips, ranges)

    def hold(self, addresses: Iterable[Address]) -> None:
        self._gates.hold(self.device, addresses)

    def permit_create(self, milliseconds: int) -> None:
        self._gates.permits.create(self.device, milliseconds)

    def permit_stage(self, milliseconds: int) -> None:
        self._gates.permits.stage(self.device, milliseconds)

    def permit_give(self, milliseconds: int, *, anew: bool) -> Outcome:
        return self._gates.permits.give(self.device, milliseconds, anew=anew)

    def permit_revoke(self) -> None:
        self._gates.permits.revoke(self.device)

    def feed(self, deadline: float, clock: Callable[[], float]) -> bool:
        """Have the permit end at *deadline*, in seconds on *clock*: plan.feed()."""
        return plan.feed(self, deadline, clock)

    def may_claim(self, address: Address) -> bool:
        return self._gates.may_claim(address, self.device)

    def remove(self) -> None:
        """Take this device's gate away, and with it the whole table if it is the only one."""
        if self._shared:
            self._gates.fence(self._gates.devices - {self.device})
        else:
            self._gates.remove()


def _addresses(elements: Iterable[Element], version: int) -> set[Address]:
    return {ip_address(element.key) for element in elements if len(element.key) == _LENGTHS[version]}


def _ranges(elements: Iterable[Element], version: int) -> list[Range]:
    """The intervals of a set: where each begins, and the first key beyond it, unless it reaches to the very end."""
    found, begun = list[Range](), None
    for element in sorted(elements, key=lambda element: (element.key, not element.ends)):
        if len(element.key) != _LENGTHS[version]:
            continue
        if not element.ends:
            begun = ip_address(element.key)
        elif begun is not None:
            found.append(Range(begun, ip_address(element.key) - 1))
            begun = None
    if begun is not None:
        found.append(Range(begun, ip_address(b"\xff" * _LENGTHS[version])))
    return found


def _use(chain: Mapping[int, bytes]) -> int:
    return int.from_bytes(chain.get(nfnetlink.CHAIN_USE, b""), "big")


def _devices(hook: bytes) -> list[str]:
    """The devices a chain is hooked to."""
    fields = dict(nfnetlink.attributes(hook))
    several = [name for _, name in nfnetlink.attributes(fields.get(nfnetlink.HOOK_DEVICES, b""))]
    if not several and nfnetlink.HOOK_DEVICE in fields:
        several = [fields[nfnetlink.HOOK_DEVICE]]
    return [name.rstrip(b"\0").decode() for name in several]
