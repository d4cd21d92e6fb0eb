"""The wiring of the lab: network namespaces, the bridges of a switch, and who has which address."""

import ctypes
import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from lab.run import LabError, run

CLONE_NEWNET = 0x4000_0000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)

SEGMENTS = ("mgmt", "data")  # mgmt: the API and the pods' own network; data: the clients, where VIPs are claimed
SECOND = "data2"  # more clients, in a lab that has it
DATA4, DATA6 = IPv4Network("10.60.0.0/24"), IPv6Network("fd60::/64")
MGMT4, MGMT6 = IPv4Network("10.50.0.0/24"), IPv6Network("fd50::/64")
SECOND4, SECOND6 = IPv4Network("10.61.0.0/24"), IPv6Network("fd61::/64")
SUBNETS = {"mgmt": (MGMT4, MGMT6), "data": (DATA4, DATA6), SECOND: (SECOND4, SECOND6)}
PODS4, PODS6 = IPv4Network("10.244.0.0/16"), IPv6Network("fd44::/48")

DRIVER, GATEWAY, CONTROL, FIRST_NODE, CLIENT, OBSERVER, STRANGER = 1, 1, 10, 11, 100, 101, 102  # their last bytes

SWITCH = "switch"  # its namespace


STATIONS = {"client": CLIENT, "observer": OBSERVER, "gateway": GATEWAY}  # on the data segment, besides the nodes


@dataclass(frozen=True, slots=True)
class Leg:
    """One cable: from *netns* (empty: where the driver is) to the switch. The interface has the segment's name."""

    netns: str
    segment: str
    host: int

    @property
    def port(self) -> str:
        """The switch's end of the cable."""
        return f"{self.netns or 'driver'}-{self.segment}"

    @property
    def address4(self) -> IPv4Address:
        return SUBNETS[self.segment][0][self.host]

    @property
    def address6(self) -> IPv6Address:
        """The same last figures as of the IPv4 address, so that people see whose it is."""
        return SUBNETS[self.segment][1][int(str(self.host), 16)]

    @property
    def link_local(self) -> IPv6Address:
        return link_local(self.mac)

    @property
    def mac(self) -> str:
        """Locally administered, with the IPv4 address in it: the same after a power-on."""
        return "02:00:" + ":".join(f"{byte:02x}" for byte in self.address4.packed)


def link_local(mac: str) -> IPv6Address:
    """What the kernel makes of a MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return IPv6Address(b"\xfe\x80" + b"\0" * 6 + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])


def pod_cidr4(number: int) -> IPv4Network:
    """The pods of node *number*."""
    return IPv4Network((int(PODS4[0]) + number * 256, 24))


def pod_cidr6(number: int) -> IPv6Network:
    return IPv6Network((int(PODS6[0]) + (number << 64), 64))


def ip(commands: Iterable[str], netns: str = "") -> None:
    """Run lines of ip(8) in one process. Raises LabError with the line that failed."""
    lines = [line for line in commands if line]
    if not lines:
        return
    where = ["-netns", netns] if netns else []
    done = subprocess.run(
        ["ip", *where, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"ip -batch in {netns or 'the driver'}: {done.stderr.strip()}\n" + "\n".join(lines))


def sysctl(netns: str, values: Mapping[str, str | int]) -> None:
    """Write below /proc/sys/net of *netns*."""
    script = "\n".join(f"echo {value} > /proc/sys/net/{name.replace('.', '/')}" for name, value in values.items())
    run(["ip", "netns", "exec", netns, "sh", "-ec", script])


NO_DAD = {"ipv6.conf.all.accept_dad": 0, "ipv6.conf.default.accept_dad": 0}  # else v6 is silent for the first second
ROUTER = {
    "ipv4.ip_forward": 1,
    "ipv6.conf.all.forwarding": 1,
    "ipv4.conf.all.rp_filter": 0,  # answers of pods come over mgmt, questions of clients over data
    "ipv4.conf.default.rp_filter": 0,
}


def enter(netns: str) -> None:
    """Move the calling thread into *netns*. (os.setns is there from Python 3.12 on.)"""
    with Path(f"/run/netns/{netns}").open() as file:
        set_namespace(file.fileno())


def set_namespace(descriptor: int) -> None:
    """Move the calling thread into the network namespace that *descriptor* is open on."""
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def make_namespace(name: str, values: Mapping[str, str | int]) -> None:
    ip([f"netns add {name}"])
    ip(["link set lo up"], name)
    sysctl(name, values)


def make_switch(segments: Sequence[str] = SEGMENTS) -> None:
    """A bridge for each of *segments*, that learns, without spanning tree, and that speak no IP of their own."""
    make_namespace("switch", {"ipv6.conf.all.disable_ipv6": 1, "ipv6.conf.default.disable_ipv6": 1})
    ip(
        (f"link add {segment} type bridge stp_state 0 forward_delay 0 mcast_snooping 0" for segment in segments),
        "switch",
    )
    ip((f"link set {segment} up" for segment in segments), "switch")


def plug(leg: Leg, *, ipv6: bool) -> None:
    """Lay the cable *leg* and give its interface its addresses."""
    where = f" netns {leg.netns}" if leg.netns else ""
    ip([f"link add {leg.segment}{where} address {leg.mac} type veth peer name {leg.port} netns switch"])
    ip([f"link set {leg.port} master {leg.segment} up"], "switch")
    six = f"address add {leg.address6}/64 dev {leg.segment} nodad" if ipv6 else ""
    ip([f"address add {leg.address4}/24 dev {leg.segment}", six, f"link set {leg.segment} up"], leg.netns)


def split(ports: Iterable[str], segment: str = "data") -> None:
    """Let *ports* of the switch reach each other alone; no carrier goes. The other ports are as they were."""
    bridge = f"{segment}-b"
    heal(segment)
    ip([f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0", f"link set {bridge} up"], SWITCH)
    ip((f"link set {port} master {bridge}" for port in ports), SWITCH)


def heal(segment: str = "data") -> None:
    """Make one segment of the two that `split` made; none is no error."""
    bridge = f"{segment}-b"
    links = json.loads(run(["ip", "-netns", SWITCH, "-json", "link"]))
    apart = [link["ifname"] for link in links if link.get("master") == bridge]
    there = any(link["ifname"] == bridge for link in links)
    ip([*(f"link set {port} master {segment}" for port in apart), f"link delete {bridge}" if there else ""], SWITCH)


def lose(port: str, way: str) -> None:
    """Lose all frames that come in at *port* of the switch from the station ("sent"), or go out to it ("received")."""
    hook = {"sent": "ingress", "received": "egress"}[way]
    chain = f'chain lost {{ type filter hook {hook} device "{port}" priority 0; drop; }};'
    run(["ip", "netns", "exec", SWITCH, "nft", f"table netdev lost-{port} {{ {chain} }}"])


def lose_nothing(port: str) -> None:
    """End what `lose` began; nothing lost is no error."""
    table = f"table netdev lost-{port}"
    run(["ip", "netns", "exec", SWITCH, "nft", f"add {table}; delete {table}"])


def unplug(leg: Leg) -> None:
    """Take a cable away, both ends of it; none is no error. A namespace alone goes some time after its removal."""
    if Path("/run/netns/switch").exists():
        links = run(["ip", "-netns", "switch", "-brief", "link"])
        if f"{leg.port}@" in links:
            ip([f"link delete {leg.port}"], "switch")


def remove_namespace(name: str) -> None:
    """Remove *name* with all links, addresses and rules in it; none is no error."""
    if Path(f"/run/netns/{name}").exists():
        ip([f"netns delete {name}"])
