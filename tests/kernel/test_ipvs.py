"""The kernel's balancer does as it is told, and connections go where we say.

Four machines on one segment: nodes n1 to n3, each with an API server, and a client. The test is on n1, which has the
VIPs; nobody's answers pass through it unless it masquerades, as in a real rack.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from pyroute2 import netns

from nodeagent.ipvs import rules
from nodeagent.ipvs.kernel import Kernel
from nodeagent.ipvs.plan import CONNTRACK, EXPIRE
from nodeagent.ipvs.settings import Forwarding, Scheduler
from nodeagent.ipvs.values import Address, Backend, Place, Service
from tests.lab.pair import ip, nodad
from tests.nodeagent.ipvs.contract import (
    MEMBERS,
    NODES,
    PORT,
    SETTINGS,
    VIP4,
    VIP6,
    IpvsContract,
    Stage,
    kept,
    services,
)

NAMES = ("n1", "n2", "n3", "client")
CLIENT: tuple[Address, Address] = (ip_address("10.1.0.50"), ip_address("fd01::50"))
HERE = "n1"
PATIENCE = 5.0  # seconds
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
SHORT = 0.3  # seconds in which a connection on one machine is there, or will not be


@contextmanager
def inside(name: str) -> Iterator[None]:
    netns.pushns(name)
    try:
        yield
    finally:
        netns.popns()


@dataclass
class Call:
    """An open connection of a client's; *who* answered, and whom that saw as the client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    who: str
    seen: Address

    async def works(self) -> bool:
        try:
            async with asyncio.timeout(SHORT):
                self.writer.write(b"still there?\n")
                return await self.reader.readline() == b"still there?\n"
        except (OSError, TimeoutError):
            return False


@dataclass
class Rack:
    """The servers, each says its node's name to whoever connects and lets them talk on; and the clients' calls."""

    servers: dict[Place, asyncio.Server] = field(default_factory=dict)
    talking: dict[Place, set[asyncio.StreamWriter]] = field(default_factory=dict)
    handlers: set[asyncio.Task[object]] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)

    async def listen(self, place: Place) -> None:
        name = node_of(place.address)
        with inside(name):
            listening = socket.create_server(
                ("", place.port), family=FAMILIES[place.address.version], backlog=64, reuse_port=False
            )
        talking = self.talking.setdefault(place, set())

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            self.handlers.add(task)
            talking.add(writer)
            try:
                writer.write(f"{name} {writer.get_extra_info('peername')[0]}\n".encode())
                while line := await reader.readline():
                    writer.write(line)
            except OSError:
                pass
            finally:
                writer.transport.abort()  # the client is gone: nobody waits for what may be unsent
                talking.discard(writer)

        self.servers[place] = await asyncio.start_server(answer, sock=listening)

    def fall_silent(self, place: Place) -> None:
        """As when its process is killed: nobody listens, and its connections are reset."""
        self.servers.pop(place).close()
        for writer in self.talking.pop(place, set()):
            writer.transport.abort()

    async def call(self, vip: Address, where: str = "client") -> Call:
        """Connect to *vip* from a namespace. Raises OSError."""
        with inside(where):
            outgoing = socket.socket(FAMILIES[vip.version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(outgoing, (str(vip), PORT))
                reader, writer = await asyncio.open_connection(sock=outgoing)
                who, seen = (await reader.readline()).decode().split()
        except (OSError, TimeoutError, ValueError) as error:
            if writer is not None:
                writer.transport.abort()
            else:
                outgoing.close()
            raise OSError(f"no connection from {where} to {vip}: {error!r}\n{ipvsadm('-Ln')}") from error
        self.calls.append(Call(reader, writer, who, ip_address(seen)))
        return self.calls[-1]

    async def spread(self, vip: Address, count: int, where: str = "client") -> Counter[str]:
        """Who answers *count* connections, one after the other."""
        return Counter([(await self.call(vip, where)).who for _ in range(count)])

    async def end(self) -> None:
        for one in self.calls:
            one.writer.transport.abort()
        for place in list(self.servers):
            self.fall_silent(place)
        if self.handlers:
            await asyncio.wait(self.handlers)
        for _ in range(3):  # aborted transports close in the next turns of the loop
            await asyncio.sleep(0)


def node_of(address: Address) -> str:
    return next(name for name, addresses in zip(NAMES, NODES, strict=False) if address in addresses)


@pytest.fixture
def machines() -> Iterator[None]:
    batch("link add rack type bridge", "link set rack up", *(line for name in NAMES for line in plugged(name)))
    try:
        for name, addresses in zip(NAMES, (*NODES, CLIENT), strict=True):
            own = [f"addr add {one}/{24 if one.version == 4 else 64} dev eth0 nodad" for one in addresses]
            vips = [f"addr add {vip}/{vip.max_prefixlen} dev eth0 nodad preferred_lft 0" for vip in (VIP4, VIP6)]
            batch("link set lo up", "link set eth0 up", *own, *(vips if name == HERE else ()), namespace=name)
        with inside(HERE):
            yield
    finally:  # a socket that is open yet would keep a namespace, and what is plugged into it
        batch("link delete rack", *(line for name in NAMES for line in (f"link delete to-{name}", f"netns del {name}")))


def plugged(name: str) -> list[str]:
    cable = f"link add to-{name} type veth peer name eth0 netns {name}"
    return [f"netns add {name}", cable, f"link set to-{name} master rack up"]


def batch(*lines: str, namespace: str = "") -> None:
    """Many calls of the ip program in one: each takes a while in the box."""
    command = ["ip", *(("-n", namespace) if namespace else ()), "-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
async def rack(machines: None) -> AsyncIterator[Rack]:
    made = Rack()
    for place in (Place(address, PORT) for addresses in NODES for address in addresses):
        await made.listen(place)
    yield made
    await made.end()


@pytest.fixture
def stage(rack: Rack) -> Stage:
    pending = set[asyncio.Future[None]]()

    def listen(place: Place) -> None:
        pending.add(asyncio.ensure_future(rack.listen(place)))

    def make(place: Place) -> None:
        ipvsadm("-A", "-t", str(place), "-s", "rr")

    def remove(place: Place) -> None:
        ipvsadm("-D", "-t", str(place))

    return Stage(Kernel, None, shown, masquerades, sysctl, make, remove, listen, rack.fall_silent)


def ipvsadm(*arguments: str) -> str:
    done = subprocess.run(["ipvsadm", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weight(place: Place) -> int | None:
    """That of a backend; None: it is none."""
    found = [one.weight for service in shown() for one in service.backends if one.place == place]
    return found[0] if found else None


_ENDPOINT = re.compile(r"\[?([0-9a-f.:]+?)\]?:(\d+)$")
_WORDS = {"Masq": Forwarding.MASQUERADE, "Local": Forwarding.LOCAL, "Tunnel": Forwarding.TUNNEL}
_WORDS |= {"Route": Forwarding.DIRECT, "(null)": Forwarding.BYPASS}  # for the last ipvsadm has no word


def shown() -> set[Service]:
    """All services, as ``ipvsadm -Ln`` has them."""
    found = list[Service]()
    for line in ipvsadm("-Ln").splitlines()[3:]:
        words = line.split()
        match words:
            case ["TCP", place, scheduler, *_]:
                found.append(Service(_place(place), Scheduler(scheduler), frozenset()))
            case ["->", place, forwarding, weight, *_]:
                backend = Backend(_place(place), _WORDS[forwarding], int(weight))
                found[-1] = replace(found[-1], backends=found[-1].backends | {backend})
    return set(found)


def _place(text: str) -> Place:
    matched = _ENDPOINT.match(text)
    assert matched, text
    return Place(ip_address(matched[1]), int(matched[2]))


def masquerades() -> bool:
    return rules.NAME in nft("list", "tables")


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], capture_output=True, text=True, check=True).stdout


def sysctl(name: str) -> str:
    return Path("/proc/sys", name).read_text().strip()


class TestIpvsInTheKernel(IpvsContract):
    pass


both = pytest.mark.parametrize("vip", [pytest.param(VIP4, id="IPv4"), pytest.param(VIP6, id="IPv6")])


@both
async def test_connections_are_spread_over_three_servers(stage: Stage, rack: Rack, vip: Address) -> None:
    async with kept(stage) as keeper:
        await keeper.want(services(vip))
        assert await rack.spread(vip, 9) == {"n1": 3, "n2": 3, "n3": 3}
        assert await rack.spread(vip, 6, where=HERE) == {"n1": 2, "n2": 2, "n3": 2}  # clients on the node itself
        assert await rack.spread(vip, 6, where="n2") == {"n1": 2, "n2": 2, "n3": 2}  # and on the backends themselves
        one = next(each for each in [await rack.call(vip) for _ in range(3)] if each.who == "n2")
        assert one.seen in NODES[0]  # masqueraded


@both
async def test_a_killed_server_gets_no_new_connections_and_the_others_keep_theirs(
    stage: Stage, rack: Rack, vip: Address
) -> None:
    dead = next(Place(address, PORT) for address in NODES[1] if address.version == vip.version)
    async with kept(stage) as keeper:
        await keeper.want(services(vip))
        await keeper.when(lambda: len(keeper.ipvs.healths) == 3)
        calls = [await rack.call(vip) for _ in range(3)]
        assert {one.who for one in calls} == {"n1", "n2", "n3"}
        rack.fall_silent(dead)
        await keeper.when(
            lambda: not any(one.place == dead and one.weight for each in shown() for one in each.backends)
        )
        assert await rack.spread(vip, 6) == {"n1": 3, "n3": 3}
        await keeper.when(lambda: weight(dead) is None)
        assert {one.who: await one.works() for one in calls} == {"n1": True, "n2": False, "n3": True}
        assert await rack.spread(vip, 6) == {"n1": 3, "n3": 3}


@both
@pytest.mark.parametrize("forwarding", [Forwarding.DIRECT, Forwarding.TUNNEL])
async def test_servers_that_have_the_address_answer_clients_themselves(
    stage: Stage, rack: Rack, vip: Address, forwarding: Forwarding
) -> None:
    for name in NAMES[1:3]:
        takes_the_address(name, vip)
    async with kept(stage) as keeper:
        await keeper.want(services(vip, settings=replace(SETTINGS, lb_forwarding=forwarding)))
        assert "masquerade" not in nft("list", "ruleset")
        calls = [await rack.call(vip) for _ in range(3)]
        assert {one.who for one in calls} == {"n1", "n2", "n3"}
        assert {one.seen for one in calls} <= set(CLIENT)


def takes_the_address(name: str, vip: Address) -> None:
    """As the operator of a backend must: the address on lo, unsaid to the neighbours, and tunnels open."""
    ip("-n", name, "addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", "lo", *nodad(vip))
    with inside(name):
        for key, value in (("arp_ignore", 1), ("arp_announce", 2), ("rp_filter", 0)):
            Path(f"/proc/sys/net/ipv4/conf/all/{key}").write_text(str(value))
        tunnel = "tunl0" if vip.version == 4 else "ip6tnl0"
        ip("link", "set", tunnel, "up")
        if vip.version == 4:
            Path(f"/proc/sys/net/ipv4/conf/{tunnel}/rp_filter").write_text("0")


@both
async def test_local_leads_to_the_nodes_own_server_alone(stage: Stage, rack: Rack, vip: Address) -> None:
    async with kept(stage) as keeper:
        await keeper.want(services(vip, settings=replace(SETTINGS, lb_forwarding=Forwarding.LOCAL)))
        assert await rack.spread(vip, 3) == {"n1": 3}
        assert "masquerade" not in nft("list", "ruleset")
        assert sysctl(CONNTRACK) == "0"


@both
async def test_connections_to_a_server_that_had_its_time_end_at_once(stage: Stage, rack: Rack, vip: Address) -> None:
    """They do not hang until TCP gives up: the client is told, and connects anew."""
    async with kept(stage) as keeper:
        await keeper.want(services(vip))
        gone = next(one for one in [await rack.call(vip) for _ in range(3)] if one.who == "n3")
        await keeper.want(services(vip, members=MEMBERS[:2]))
        await keeper.when(lambda: shown() == services(vip, members=MEMBERS[:2]))
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    gone.writer.write(b"?\n")
                    await gone.writer.drain()
                    assert await gone.reader.readline(), "it was closed without a reset"


async def test_a_kernels_dump_agrees_with_what_is_present(stage: Stage) -> None:
    async with kept(stage) as keeper:
        await keeper.want(services(VIP4, VIP6))
        assert keeper.ipvs.present() == shown() == services(VIP4, VIP6)


_KILLED = """
import asyncio, os, signal
from nodeagent.ipvs.apply import Ipvs
from roost.process import RealClock
from tests.nodeagent.ipvs.contract import SETTINGS, VIP4, VIP6, services

async def main():
    woken = asyncio.Event()
    ipvs = Ipvs(SETTINGS, RealClock(), woken.set)
    ipvs.want(services(VIP4, VIP6), complete=True)
    running = asyncio.ensure_future(ipvs.run())
    while not ipvs.settled:
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def balances_and_is_killed() -> int:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.run([sys.executable, "-c", _KILLED], cwd=root, env=environment, check=False).returncode


async def test_nothing_is_left_after_sigkill_and_restart(stage: Stage) -> None:
    assert balances_and_is_killed() == -signal.SIGKILL
    assert shown() == services(VIP4, VIP6)
    assert (sysctl(CONNTRACK), sysctl(EXPIRE), masquerades()) == ("1", "1", True)
    async with kept(stage) as keeper:
        await keeper.want(set(), complete=False)
        assert shown() == services(VIP4, VIP6)
        await keeper.want(set())
        assert (shown(), masquerades()) == (set(), False)
        assert (sysctl(CONNTRACK), sysctl(EXPIRE)) == ("0", "0")
