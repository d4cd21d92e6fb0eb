"""The pulse's hands: UDP on one device, the kernel's permit, and what makes a process prompt."""

import ctypes
import errno
import gc
import os
import resource
import socket
import time
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Protocol

from nodeagent.gate.plan import KernelRefused, NoGate
from nodeagent.model import Done, News
from nodeagent.pulse.plan import Input, Permit, Send, State, Tell, step

CLOSE_ENOUGH = 0.005  # seconds: a permit that ends so little too early need not be touched
TOUCHED = 1.0  # seconds after which the permit is touched all the same: somebody may have taken it away
BATCH = 64  # datagrams read at a time; between two batches the time is looked at
PRIORITY = 10  # of SCHED_FIFO; the kernel's own threads for interrupts have 50

_BUFFER = 1 << 18
_CONTROL_TRAFFIC = 0xC0  # DSCP CS6, network control (RFC 2474)
_MCL_CURRENT, _MCL_FUTURE = 1, 2  # asm-generic/mman.h
_CAP_IPC_LOCK = 14  # linux/capability.h


def now() -> float:
    """Seconds on the one clock of this machine that nobody steps or slews."""
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


# -- one segment -----------------------------------------------------------------------------------------------------


class Permits(Protocol):
    """The kernel's permits by device; all raise KernelRefused. See nodeagent.gate.permits."""

    def feed(self, device: str, deadline: float, clock: Callable[[], float], *, anew: bool = True) -> bool: ...
    def revoke(self, device: str) -> None: ...
    def left(self, device: str) -> int | None: ...


class Permission:
    """The permit of one device, touched only where that changes something."""

    def __init__(self, permits: Permits, device: str, clock: Callable[[], float] = now) -> None:
        self.trouble = ""  # why the kernel did not do what it was last asked
        self._permits, self._device, self._clock = permits, device, clock
        self._until: float | None = 0.0  # as the kernel has it by our last call; 0: not known
        self._touched = 0.0

    def until(self) -> float:
        """When the permit ends; 0: there is none."""
        try:
            left = self._permits.left(self._device)
        except KernelRefused:
            return 0.0
        return 0.0 if left is None else self._clock() + left / 1000

    def end(self, deadline: float | None, *, anew: bool = True) -> bool:
        """Have it end at *deadline*, None: now; *anew*: also if it has ended before.

        False if the kernel refused: it may still end as it did before.
        """
        moment = self._clock()
        if moment - self._touched < TOUCHED and self._is_near(deadline, moment):
            return True
        try:
            if deadline is None:
                self._permits.revoke(self._device)
            elif not self._permits.feed(self._device, deadline, self._clock, anew=anew):
                deadline = None  # it lapsed, or was out of time
        except KernelRefused as refused:
            self._until, self.trouble = 0.0, str(refused)
            # Without a gate there is no permit that could last too long.
            return isinstance(refused, NoGate) and deadline is None
        self._until, self._touched, self.trouble = deadline, moment, ""
        return True

    def _is_near(self, deadline: float | None, moment: float) -> bool:
        if self._until is None or deadline is None:
            return self._until is deadline
        return moment < self._until and 0 <= deadline - self._until < CLOSE_ENOUGH


class Beat:
    """The plan of one segment with its hands: whatever happens goes through :meth:`happen`."""

    def __init__(
        self, state: State, permission: Permission, send: Callable[[Send], None], tell: Callable[[News], None]
    ) -> None:
        self.state, self.permission = state, permission
        self._send, self._tell = send, tell
        self._obeyed = True  # by the kernel
        self._done: Done | None = None  # kept back until it is true

    def happen(self, moment: float, what: Input) -> None:
        """*what* happened at *moment*: the clock read after it, not before."""
        self.state, outputs = step(self.state, moment, what)
        for output in outputs:
            match output:
                case Send():
                    self._send(output)
                case Permit(deadline, anew):
                    self._permit(deadline, anew=anew)
                case Tell(Done() as done) if not self._obeyed:
                    self._done = done
                case Tell(news):
                    self._tell(news)

    def _permit(self, deadline: float | None, *, anew: bool) -> None:
        self._obeyed = self.permission.end(deadline, anew=anew)
        if self._obeyed and self._done is not None:
            self._tell(self._done)
            self._done = None


# -- the wire --------------------------------------------------------------------------------------------------------


class Wire:
    """UDP on one device, both families; nothing blocks. Raises OSError where there is no such device."""

    def __init__(self, device: str, port: int) -> None:
        self.lost = False  # the device went away; one that comes under its name needs another Wire
        self._port = port
        self._sockets = dict[bool, socket.socket]()  # by whether it is for IPv6
        self._by_number = dict[int, socket.socket]()
        for six in (False, True):
            try:
                self._sockets[six] = made = _bound(device, port, six=six)
                self._by_number[made.fileno()] = made
            except OSError:
                if not six:  # a kernel may have no IPv6
                    raise

    def close(self) -> None:
        for each in self._sockets.values():
            each.close()

    def filenos(self) -> list[int]:
        return list(self._by_number)

    def send(self, addresses: Sequence[str], datagram: bytes) -> bool:
        """Send to the first of one node's *addresses* that works; False where none does."""
        for address in addresses:
            try:
                self._sockets[":" in address].sendto(datagram, (address, self._port))
            except OSError as error:
                self.lost = self.lost or error.errno == errno.ENODEV
            except KeyError:  # no IPv6 here
                continue
            else:
                return True
        return False

    def receive(self, ready: Container[int]) -> Iterator[tuple[bytes, str]]:
        """What came to sockets that are *ready*, and from which address, up to a batch."""
        for number, each in self._by_number.items():
            if number not in ready:
                continue
            for _ in range(BATCH):
                try:
                    datagram, address = each.recvfrom(2048)
                except OSError:  # nothing more
                    break
                yield datagram, address[0]


def _bound(device: str, port: int, *, six: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        # A hello that a router passed on would not show that its sender is on this segment.
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _CONTROL_TRAFFIC)
        else:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _CONTROL_TRAFFIC)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.bind(("", port))
    except OSError:
        made.close()
        raise
    return made


# -- the process -----------------------------------------------------------------------------------------------------


def be_prompt() -> list[str]:
    """Have this process wait for neither disk nor other processes, nor for a garbage collector; what was refused."""
    gc.collect()
    gc.freeze()
    gc.disable()
    refused = list[str]()
    if not _lock_memory():
        refused.append("memory is not locked (needs the capability IPC_LOCK)")
    try:
        # Reset on fork: the agent is an ordinary process.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError:
        refused.append("no real-time priority (needs the capability SYS_NICE)")
    return refused


def _lock_memory() -> bool:
    """All pages there are and will be; only where no limit could make a later allocation fail."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib would only cost memory
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    if not (unlimited or effective >> _CAP_IPC_LOCK & 1):
        return False
    return bool(ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process (a child, before exec) when its *parent* ends."""
    pr_set_pdeathsig, sigkill = 1, 9  # linux/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
