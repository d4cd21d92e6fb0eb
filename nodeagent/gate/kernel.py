"""A socket to nf_tables: transactions and questions, each answered before the call returns."""

import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nodeagent.gate import nfnetlink
from nodeagent.gate.nfnetlink import Answer, Element, Place, Request
from nodeagent.gate.plan import NAME_LENGTH, KernelRefused, Unsupported

_NETLINK_NETFILTER = 12  # linux/netlink.h
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
_BUFFER = 4 << 20  # octets; a transaction must fit, see plan.LARGEST
_SIOCGIFHWADDR = 0x8927  # linux/sockios.h


CHANGE = "change of the gate's sets"


class Refusal(NamedTuple):
    """Which request of a transaction the kernel refused first (-1: the transaction as a whole), and why."""

    request: int
    errno: int


class Socket:
    """One nfnetlink socket in the network namespace of the thread that makes it.

    nf_tables answers before send() returns, so nothing here waits, except for whoever else changes the ruleset of this
    namespace at that moment. Raises Unsupported where the kernel or our rights do not suffice.
    """

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
        refused = self.attempt(list(requests))
        if refused is not None and refused.errno != unless:
            raise KernelRefused(refused.errno, CHANGE)
        return refused is None

    def attempt(self, requests: Sequence[Request]) -> Refusal | None:
        """One transaction; None when all of it is in effect, and else nothing is.

        The kernel goes through all of it in any case, and answers in order: each request that it refuses, and the last.
        """
        if not requests:
            return None
        first = self._sequence + 1
        last = first + len(requests)
        self._sequence = last + 1
        self._send(nfnetlink.pack_transaction(requests, first))
        refused: Refusal | None = None
        while True:
            for answer in nfnetlink.unpack(self._receive("transaction")):
                if answer.kind != nfnetlink.ERROR or answer.sequence < first:
                    continue  # to something older
                if answer.errno and refused is None:
                    refused = Refusal(answer.sequence - first - 1, answer.errno)
                if answer.sequence in (first, last):  # the transaction as a whole, or all of it
                    return refused

    def table(self, family: int, name: str) -> dict[int, bytes] | None:
        """The attributes of a table; None if there is none."""
        return self._one(Request(nfnetlink.GETTABLE, 0, _attributes(nfnetlink.TABLE_NAME, name), family))

    def has_set(self, place: Place) -> bool:
        named = _attributes(nfnetlink.SET_TABLE, place.table) + _attributes(nfnetlink.SET_NAME, place.name)
        return self._one(Request(nfnetlink.GETSET, 0, named, place.family)) is not None

    def chains(self, family: int, table: str) -> dict[str, dict[int, bytes]]:
        """The attributes of every chain of a table, by name."""
        named = _attributes(nfnetlink.CHAIN_TABLE, table)
        return {
            fields[nfnetlink.CHAIN_NAME].rstrip(b"\0").decode(): fields
            for fields in (answer.attributes for answer in self._all(nfnetlink.GETCHAIN, named, family))
            if fields.get(nfnetlink.CHAIN_TABLE) == nfnetlink.text(table)
        }

    def elements(self, place: Place) -> Sequence[Element]:
        """The elements of a set. Raises KernelRefused (ENOENT) if there is no such set."""
        request = nfnetlink.dump(place)
        answers = self._all(request.operation, request.body, request.family)
        return [element for answer in answers for element in nfnetlink.elements_of(answer)]

    def _one(self, request: Request) -> dict[int, bytes] | None:
        try:
            answers = self._ask(request)
        except KernelRefused as refused:
            if refused.errno != errno.ENOENT:
                raise
            return None
        return answers[0].attributes if answers else None

    def _all(self, operation: int, body: bytes, family: int) -> list[Answer]:
        """Read again as long as somebody changes them meanwhile."""
        while True:
            answers = self._ask(Request(operation, nfnetlink.DUMP, body, family))
            if not any(answer.flags & nfnetlink.DUMP_INTERRUPTED for answer in answers):
                return answers

    def _ask(self, request: Request) -> list[Answer]:
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


def hardware(device: str) -> int | None:
    """The ARPHRD_* type of *device* (linux/if_arp.h); None if there is no such device in this network namespace."""
    name = device.encode()
    if len(name) >= NAME_LENGTH:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, struct.pack("16s24x", name))
        except OSError:
            return None
    return int(struct.unpack_from("H", answer, 16)[0])


def _attributes(kind: int, value: str) -> bytes:
    return nfnetlink.attribute(kind, nfnetlink.text(value))
