"""The gate in the kernel: its rules through the nft program, its sets by nfnetlink."""

import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Sequence, Set
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from nodeagent.gate import nfnetlink, plan
from nodeagent.gate.nfnetlink import Answer, Element, Request
from nodeagent.gate.plan import HELD, PERMIT, TABLE, VIPS, Address, Have, KernelRefused, Unsupported

_NETLINK_NETFILTER = 12  # linux/netlink.h
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
_BUFFER = 4 << 20  # octets; a transaction must fit, see plan.LARGEST
_NFT_TIMEOUT = 10.0  # seconds; it takes 20 ms
_LENGTHS = {4: 4, 6: 16}  # octets of an address
_NAME = 16  # octets of a device's name in a key, IFNAMSIZ


class Gate:
    """The gate of one device, in the network namespace of the thread that makes it.

    All calls are synchronous, and short but for install(). Those that change something return when the kernel has it,
    and raise KernelRefused; with ENOENT somebody took the table away (`nft flush ruleset`): install() it again, then
    guard() and hold().
    """

    def __init__(self, device: str) -> None:
        """Raises Unsupported where the kernel or our rights do not suffice."""
        self.device = device
        self._key = device.encode().ljust(_NAME, b"\0")
        self._writer, self._reader = _Socket(), _Socket()
        self._vips: frozenset[Address] | None = None  # as of our last call; None: not known
        self._held: frozenset[Address] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets; the gate stands, and a permit runs out by itself."""
        self._writer.close()
        self._reader.close()

    def install(self) -> Have:
        """Have the gate stand; what stands already in the right shape is adopted with all that is in its sets.

        A table of another shape (of another version, or of another device) is replaced in one transaction: it fences
        the same VIPs, but nothing is held and there is no permit. Raises Unsupported on a machine where no gate can be.
        """
        if not plan.supported(release := os.uname().release):
            wanted = ".".join(map(str, plan.OLDEST_KERNEL))
            raise Unsupported(f"kernel {release} cannot fence what leaves {self.device}: {wanted} or newer is needed")
        if not self.standing():
            _nft(plan.ruleset(self.device, self._fenced_by_what_is_there()))
        return self.read()

    def standing(self) -> bool:
        """Whether the gate stands in the right shape. (A device that was deleted takes its chain along.)"""
        table = self._reader.one(nfnetlink.GETTABLE, nfnetlink.attribute(nfnetlink.TABLE_NAME, nfnetlink.text(TABLE)))
        if table is None or plan.fingerprint(self.device).encode() not in table.get(nfnetlink.TABLE_USERDATA, b""):
            return False
        named = nfnetlink.attribute(nfnetlink.CHAIN_TABLE, nfnetlink.text(TABLE))
        named += nfnetlink.attribute(nfnetlink.CHAIN_NAME, nfnetlink.text(plan.CHAIN))
        chain = self._reader.one(nfnetlink.GETCHAIN, named) or {}
        return (
            nfnetlink.text(self.device) in _devices(chain.get(nfnetlink.CHAIN_HOOK, b""))
            and int.from_bytes(chain.get(nfnetlink.CHAIN_USE, b""), "big") == plan.RULES
        )

    def read(self) -> Have:
        """What the kernel has now. Raises KernelRefused (ENOENT) when no table stands."""
        self._vips, self._held = self._read_vips(), self._read_held()
        permits = [element.milliseconds for element in self._reader.elements(PERMIT) if element.key == self._key]
        return Have(self._vips, self._held, permits[0] if permits else None)

    def guard(self, vips: Iterable[Address]) -> None:
        """Fence claims for *vips* and for no other address."""
        want = frozenset(vips)
        try:
            self._change(VIPS, b"", self._vips if self._vips is not None else self._read_vips(), want)
        except KernelRefused:  # perhaps the sets are not as we left them
            self._vips = None
            self._change(VIPS, b"", self._read_vips(), want)
        self._vips = want

    def hold(self, addresses: Iterable[Address]) -> None:
        """Let claims for *addresses*, and for no other VIP, pass on this device while there is a permit."""
        want = frozenset(addresses)
        try:
            self._change(HELD, self._key, self._held if self._held is not None else self._read_held(), want)
        except KernelRefused:
            self._held = None
            self._change(HELD, self._key, self._read_held(), want)
        self._held = want

    def permit_create(self, milliseconds: int) -> None:
        """Give this device a permit; fails (EEXIST) if it has one."""
        self._writer.commit(nfnetlink.add(TABLE, PERMIT, [self._permit(milliseconds)], exclusive=True))

    def permit_refresh(self, milliseconds: int) -> bool:
        """Have the permit end *milliseconds* from now; False if it ended before, or was never given."""
        gone = nfnetlink.delete(TABLE, PERMIT, [Element(self._key)])
        anew = nfnetlink.add(TABLE, PERMIT, [self._permit(milliseconds)])
        return self._writer.commit([*gone, *anew], unless=errno.ENOENT)

    def permit_revoke(self) -> None:
        """End the permit now, if there is one."""
        self._writer.commit(nfnetlink.delete(TABLE, PERMIT, [Element(self._key)]), unless=errno.ENOENT)

    def feed(self, deadline: float, clock: Callable[[], float]) -> bool:
        """Have the permit end at *deadline*, in seconds on *clock*: plan.feed()."""
        return plan.feed(self, deadline, clock)

    def remove(self) -> None:
        """Take the whole table away: every claim passes again."""
        named = nfnetlink.attribute(nfnetlink.TABLE_NAME, nfnetlink.text(TABLE))
        self._writer.commit([Request(nfnetlink.DELTABLE, 0, named)], unless=errno.ENOENT)
        self._vips = self._held = None

    def _permit(self, milliseconds: int) -> Element:
        if milliseconds < plan.SHORTEST_MS:
            raise ValueError(f"a permit for {milliseconds} ms could be one for ever")
        return Element(self._key, milliseconds)

    def _change(self, sets: dict[int, str], suffix: bytes, have: Set[Address], want: Set[Address]) -> None:
        for change in plan.changes(have, want):
            requests = list[Request]()
            for version, name in sets.items():
                gone = [Element(vip.packed + suffix) for vip in change.remove if vip.version == version]
                come = [Element(vip.packed + suffix) for vip in change.add if vip.version == version]
                requests += [*nfnetlink.delete(TABLE, name, gone), *nfnetlink.add(TABLE, name, come)]
            self._writer.commit(requests)

    def _read_vips(self) -> frozenset[Address]:
        return frozenset(
            ip_address(element.key)
            for version, name in VIPS.items()
            for element in self._reader.elements(name)
            if len(element.key) == _LENGTHS[version]
        )

    def _read_held(self) -> frozenset[Address]:
        """Those held on this device; a key is an address and a name."""
        return frozenset(
            ip_address(element.key[: _LENGTHS[version]])
            for version, name in HELD.items()
            for element in self._reader.elements(name)
            if element.key[_LENGTHS[version] :] == self._key
        )

    def _fenced_by_what_is_there(self) -> frozenset[Address]:
        try:
            return self._read_vips()
        except KernelRefused:  # nothing is there, or nothing that has such sets
            return frozenset()


class _Socket:
    """One nfnetlink socket; nf_tables answers before send() returns, so nothing here waits."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        except OSError as error:
            raise Unsupported(f"the kernel has no nfnetlink: {error}") from error
        try:
            for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        except PermissionError as error:
            self._socket.close()
            raise Unsupported("the gate needs the capability NET_ADMIN") from error
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)  # an error does not send the request back
        self._socket.bind((0, 0))
        self._socket.setblocking(False)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def commit(self, requests: Iterable[Request], *, unless: int = 0) -> bool:
        """One transaction, acknowledged; False when the kernel refused it with *unless*."""
        several = list(requests)
        if not several:
            return True
        first = self._sequence + 1
        self._sequence += len(several) + 2
        self._send(nfnetlink.pack_transaction(several, first))
        refused = self._refusal(set(range(first + 1, first + 1 + len(several))), first)
        if refused and refused != unless:
            raise KernelRefused(refused, "change of the gate's sets")
        return not refused

    def _refusal(self, awaited: set[int], first: int) -> int:
        """The first errno among the answers to transaction *first*; 0 if all of it was done."""
        refused = 0
        while awaited:
            for answer in nfnetlink.unpack(self._receive("transaction")):
                if answer.kind != nfnetlink.ERROR or answer.sequence < first:
                    continue  # to something older
                if answer.sequence == first:  # the transaction as a whole
                    return answer.errno
                awaited.discard(answer.sequence)
                refused = refused or answer.errno
        return refused

    def one(self, operation: int, body: bytes) -> dict[int, bytes] | None:
        """The attributes of one object; None if there is none."""
        answers = self._ask(Request(operation, 0, body))
        return answers[0].attributes if answers else None

    def elements(self, name: str) -> Sequence[Element]:
        """The elements of set *name*, read again as long as somebody changes them meanwhile."""
        while True:
            answers = self._ask(nfnetlink.dump(TABLE, name), missing_is_empty=False)
            if not any(answer.flags & nfnetlink.DUMP_INTERRUPTED for answer in answers):
                return [element for answer in answers for element in nfnetlink.elements_of(answer)]

    def _ask(self, request: Request, *, missing_is_empty: bool = True) -> list[Answer]:
        self._sequence += 1
        self._send(nfnetlink.pack(request, self._sequence))
        found = list[Answer]()
        while True:
            for answer in nfnetlink.unpack(self._receive("question")):
                if answer.sequence != self._sequence:
                    continue
                if answer.kind == nfnetlink.DONE:
                    return found
                if answer.kind == nfnetlink.ERROR:
                    if missing_is_empty and answer.errno == errno.ENOENT:
                        return found
                    raise KernelRefused(answer.errno, "question about the gate")
                found.append(answer)
                if request.flags & nfnetlink.DUMP != nfnetlink.DUMP:
                    return found

    def _send(self, octets: bytes) -> None:
        try:
            self._socket.send(octets)
        except OSError as error:
            raise KernelRefused(error.errno or errno.EIO, "nfnetlink") from error

    def _receive(self, what: str) -> bytes:
        """Raises KernelRefused with ENOBUFS when answers were lost, and with EAGAIN when there is none."""
        try:
            return self._socket.recv(1 << 17)
        except OSError as error:
            raise KernelRefused(error.errno or errno.EIO, f"answer to a {what}") from error


def _devices(hook: bytes) -> list[bytes]:
    """The devices a chain is hooked to, named as the kernel does."""
    fields = dict(nfnetlink.attributes(hook))
    several = [name for _, name in nfnetlink.attributes(fields.get(nfnetlink.HOOK_DEVICES, b""))]
    return [*several, fields[nfnetlink.HOOK_DEVICE]] if nfnetlink.HOOK_DEVICE in fields else several


def _nft(text: str) -> None:
    """Have the nft program load *text*; its own words are in the error."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=_NFT_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise Unsupported("the program nft is missing: install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise KernelRefused(errno.ETIMEDOUT, "nft") from error
    if done.returncode:
        raise KernelRefused(errno.EINVAL, f"nft could not load the gate: {done.stderr.strip()}")
