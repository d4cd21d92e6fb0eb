"""IPVS in the kernel by generic netlink, the table that masquerades by the nft program, and sysctls."""

import asyncio
import errno
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pyroute2.ipvs import AsyncIPVS, IPVSDest, IPVSService
from pyroute2.netlink.exceptions import NetlinkError

from nodeagent.ipvs import rules
from nodeagent.ipvs.plan import SYSCTLS
from nodeagent.ipvs.settings import Forwarding, Scheduler
from nodeagent.ipvs.values import (
    MARK,
    AddBackend,
    AddService,
    Backend,
    DeleteBackend,
    DeleteService,
    Done,
    Failed,
    Have,
    Outcome,
    Place,
    PutTable,
    Seen,
    Service,
    SetBackend,
    SetService,
    SetSysctl,
    Step,
    Table,
)
from roost.process import Unreachable

Message = Any  # pyroute2 ships no types

MISSING = "the kernel has no IPVS: modprobe ip_vs (and ip_vs_rr), or balance without it (lb-enable=false)"
_SYS = Path("/proc/sys")
_DEVICE = "kube-ipvs0"  # kube-proxy's, in IPVS mode
_TCP = socket.IPPROTO_TCP
_PERSISTENT = 1  # linux/ip_vs.h, IP_VS_SVC_F_PERSISTENT
_METHODS = {  # linux/ip_vs.h, IP_VS_CONN_F_*
    Forwarding.MASQUERADE: 0,
    Forwarding.LOCAL: 1,
    Forwarding.TUNNEL: 2,
    Forwarding.DIRECT: 3,
    Forwarding.BYPASS: 4,
}
_FORWARDINGS = {number: forwarding for forwarding, number in _METHODS.items()}
_MASK = 7  # IP_VS_CONN_F_FWD_MASK
_NETMASKS = {4: "255.255.255.255", 6: "128.0.0.0"}  # of IPv6 the length: a u32 that pyroute2 writes as an address
_PATIENCE = 10.0  # seconds for nft, which takes 20 ms
_WORDS = 300  # of what it says of an error


class Unsupported(Exception):
    """This kernel has no IPVS; the message says what helps."""


class Kernel:
    """What it is done to, in the network namespace of the thread that makes the first call."""

    def __init__(self) -> None:
        self._netlink: Message = None

    async def close(self) -> None:
        """Close the socket; everything stays as it is."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    async def read(self) -> Have:
        """What there is now. Raises Unsupported, and Unreachable."""
        services, others = await self._services()
        return Have(
            services,
            others,
            await _table(),
            {name: _sysctl(name) for name in (*SYSCTLS, *_router_advertisements())},
            any(name == _DEVICE for _, name in socket.if_nameindex()),
        )

    async def do(self, steps: Iterable[Step]) -> tuple[Outcome, ...]:
        """Take *steps* in their order; one that fails keeps no other back. Raises Unsupported, Unreachable."""
        return tuple([await self._one(step) for step in steps])

    # -- services

    async def _services(self) -> tuple[Mapping[Place, Seen], int]:
        """Those for one address and TCP, by place, and how many of all are not ours."""
        found, others = dict[Place, Seen](), 0
        async with self._ipvs() as netlink:
            for message in await netlink.service("dump"):
                service = message.get("IPVS_CMD_ATTR_SERVICE")
                ours = _is_ours(service)
                others += not ours
                if service.get("IPVS_SVC_ATTR_ADDR") is None or service.get("IPVS_SVC_ATTR_PROTOCOL") != _TCP:
                    continue  # by firewall mark, or UDP
                place = Place(ip_address(service.get("IPVS_SVC_ATTR_ADDR")), service.get("IPVS_SVC_ATTR_PORT"))
                backends = await self._backends(netlink, place) if ours else {}
                seen = Service(place, _scheduler(service.get("IPVS_SVC_ATTR_SCHED_NAME")), frozenset(backends))
                found[place] = Seen(seen, ours, {backend.place: active for backend, active in backends.items()})
        return found, others

    async def _backends(self, netlink: Message, place: Place) -> dict[Backend, int]:
        """Those of a service, and how many established connections each has."""
        found = dict[Backend, int]()
        for message in await netlink.dest("dump", service=_service(place)):
            dest = message.get("IPVS_CMD_ATTR_DEST")
            backend = Backend(
                Place(ip_address(dest.get("IPVS_DEST_ATTR_ADDR")), dest.get("IPVS_DEST_ATTR_PORT")),
                _FORWARDINGS.get(dest.get("IPVS_DEST_ATTR_FWD_METHOD") & _MASK, Forwarding.BYPASS),
                dest.get("IPVS_DEST_ATTR_WEIGHT"),
            )
            found[backend] = dest.get("IPVS_DEST_ATTR_ACTIVE_CONNS")
        return found

    async def _one(self, step: Step) -> Outcome:
        match step:
            case PutTable(table):
                words = await _put(table)
                return Failed(step, errno.EINVAL, words) if words else Done(step)
            case SetSysctl(name, value):
                return _write(step, _SYS / name, value)
            case _:
                try:
                    async with self._ipvs(but=NetlinkError) as netlink:
                        await _taken(netlink, step)
                except NetlinkError as error:
                    gone = isinstance(step, DeleteService | DeleteBackend) and error.code in {errno.ESRCH, errno.ENOENT}
                    return Done(step) if gone else Failed(step, error.code)
                return Done(step)

    @asynccontextmanager
    async def _ipvs(self, but: type[Exception] | tuple[()] = ()) -> AsyncIterator[Message]:
        """The socket, bound to IPVS. Raises Unsupported, and Unreachable for all but *but*."""
        try:
            if self._netlink is None:
                self._netlink = await _bound()
            yield self._netlink
        except but:
            raise
        except (OSError, NetlinkError) as error:
            raise Unreachable(f"IPVS: {error}") from error


async def _bound() -> Message:
    netlink = AsyncIPVS()
    netlink.module_err_level = "debug"  # what is missing is ours to say
    try:
        await netlink.setup_endpoint()
    except NetlinkError as error:
        netlink.close()
        if error.code == errno.ENOENT:  # there is no such family of messages
            raise Unsupported(MISSING) from error
        raise
    return netlink


async def _taken(netlink: Message, step: Step) -> None:
    match step:
        case AddService(place, scheduler):
            await netlink.service("add", service=_service(place, scheduler))
        case SetService(place, scheduler):
            await netlink.service("set", service=_service(place, scheduler))
        case DeleteService(place):
            await netlink.service("del", service=_service(place))
        case AddBackend(place, backend):
            await netlink.dest("add", service=_service(place), dest=_dest(backend))
        case SetBackend(place, backend):
            await netlink.dest("set", service=_service(place), dest=_dest(backend))
        case DeleteBackend(place, gone):
            await netlink.dest("del", service=_service(place), dest=_dest(Backend(gone, Forwarding.MASQUERADE, 0)))


def _service(place: Place, scheduler: Scheduler = Scheduler.RR) -> Message:
    return IPVSService(
        addr=str(place.address),
        port=place.port,
        protocol=_TCP,
        sched_name=str(scheduler),
        timeout=MARK,
        netmask=_NETMASKS[place.address.version],
    )


def _dest(backend: Backend) -> Message:
    return IPVSDest(
        addr=str(backend.place.address),
        port=backend.place.port,
        fwd_method=_METHODS[backend.forwarding],
        weight=backend.weight,
    )


def _is_ours(service: Message) -> bool:
    persistent = service.get("IPVS_SVC_ATTR_FLAGS")["flags"] & _PERSISTENT
    return bool(service.get("IPVS_SVC_ATTR_TIMEOUT") == MARK and not persistent)


def _scheduler(name: str) -> Scheduler:
    """Another's may be one that we do not know; it is of no matter then."""
    try:
        return Scheduler(name)
    except ValueError:
        return Scheduler.RR


# -- nft and sysctls


async def _table() -> Table:
    """What stands; nothing where there is no nft either, which PutTable will say."""
    done = await asyncio.to_thread(_nft, *rules.LIST)
    return rules.table(json.loads(done.stdout)) if done.returncode == 0 else Table()


async def _put(table: Table) -> str:
    """Have nft load it; why it could not, in its own words, or ""."""
    done = await asyncio.to_thread(_nft, "-f", "-", text=rules.text(table))
    if done.returncode == 0:
        return ""
    return "; ".join(line for line in done.stderr.splitlines() if "rror:" in line)[:_WORDS] or "nft failed"


def _nft(*options: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = ["nft", *options]
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError:
        words = "Error: the program nft is missing: install the package nftables"
    except subprocess.TimeoutExpired:
        words = f"Error: nft took longer than {_PATIENCE:.0f} s"
    return subprocess.CompletedProcess(command, 1, "", words)


def _sysctl(name: str) -> str | None:
    try:
        return (_SYS / name).read_text().strip()
    except OSError:
        return None


def _router_advertisements() -> list[str]:
    devices = (name for _, name in socket.if_nameindex())
    return [f"net/ipv6/conf/{device}/accept_ra" for device in devices]


def _write(step: SetSysctl, path: Path, value: str) -> Outcome:
    try:
        path.write_text(value)
    except OSError as error:
        return Failed(step, error.errno or errno.EIO)
    return Done(step)
