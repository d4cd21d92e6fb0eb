"""FRR: its configuration from values, its daemons by hand, and what they say in JSON."""

import json
import shutil
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from lab.routers.daemon import Daemon
from lab.routers.values import Bfd, Neighbour, Path, Prefix, Session, Setup
from lab.run import Process, wait_for

PROGRAMS = "/usr/lib/frr"
MAIN_TABLE = 254
MOST_PATHS = 16
END = b"\0\0\0"  # of an answer on a vty socket; one byte of status follows
FAMILIES = {"ipv4Unicast": 4, "ipv6Unicast": 6}


def configuration(setup: Setup, updates: str) -> str:
    """The text of bgpd.conf."""
    groups = [(f"G{number}", neighbour) for number, neighbour in enumerate(setup.neighbours, 1)]
    lines = [
        f"dump bgp all-et {updates}",
        "bgp as-path access-list OWN permit ^$",
        f"router bgp {setup.asn}",
        f" bgp router-id {setup.router_id}",
        " no bgp ebgp-requires-policy",
        " no bgp default ipv4-unicast",
        " no bgp network import-check",
        " bgp bestpath as-path multipath-relax",
        f" timers bgp {setup.keepalive} {setup.hold}",
        *([" bgp graceful-restart", f" bgp graceful-restart restart-time {setup.graceful_restart}"]
          if setup.graceful_restart else []),
    ]  # fmt: skip
    for group, neighbour in groups:
        lines += [f" {line}" for line in _neighbour(group, neighbour, setup)]
    for family in (4, 6):
        lines += _family(family, groups, setup)
    return "\n".join([*lines, setup.extra, ""])


def _neighbour(group: str, neighbour: Neighbour, setup: Setup) -> Iterator[str]:
    yield f"neighbor {group} peer-group"
    yield f"neighbor {group} remote-as {neighbour.asn if neighbour.asn is not None else 'external'}"
    if neighbour.password:
        yield f"neighbor {group} password {neighbour.password}"
    if neighbour.multihop and neighbour.asn != setup.asn:
        yield f"neighbor {group} ebgp-multihop {neighbour.multihop}"
    if neighbour.local:
        yield f"neighbor {group} update-source {neighbour.local}"
    if neighbour.bfd is not None:
        yield f"neighbor {group} bfd"
        yield f"neighbor {group} bfd profile {group}"
    if neighbour.extended_next_hop:
        yield f"neighbor {group} capability extended-nexthop"
    yield f"neighbor {group} timers connect 1"
    if neighbour.address:
        if neighbour.passive:
            yield f"neighbor {group} passive"
        yield f"neighbor {neighbour.address} peer-group {group}"
        if neighbour.interface:
            yield f"neighbor {neighbour.address} interface {neighbour.interface}"
    else:
        yield f"bgp listen range {neighbour.remote} peer-group {group}"


def _family(family: int, groups: list[tuple[str, Neighbour]], setup: Setup) -> Iterator[str]:
    yield f" address-family ipv{family} unicast"
    for prefix in setup.announce:
        if ip_network(prefix).version == family:
            yield f"  network {prefix}"
    if setup.redistribute == MAIN_TABLE:
        yield "  redistribute kernel"
    elif setup.redistribute:
        yield f"  redistribute table {setup.redistribute}"
    for group, neighbour in groups:
        if family in neighbour.families:
            yield f"  neighbor {group} activate"
            yield f"  neighbor {group} filter-list OWN out"  # what one node said is not passed on to the others
    yield f"  maximum-paths {MOST_PATHS}"
    yield f"  maximum-paths ibgp {MOST_PATHS}"
    yield " exit-address-family"


def zebra_configuration(setup: Setup) -> str:
    """The text of zebra.conf."""
    imported = setup.redistribute not in {0, MAIN_TABLE}
    return f"ip import-table {setup.redistribute}\n" if imported else "\n"


def bfd_configuration(profiles: dict[str, Bfd]) -> str:
    """The text of bfdd.conf."""
    lines = ["bfd"]
    for name, bfd in profiles.items():
        lines += [
            f" profile {name}",
            f"  receive-interval {bfd.receive}",
            f"  transmit-interval {bfd.transmit}",
            f"  detect-multiplier {bfd.multiplier}",
        ]
    return "\n".join([*lines, ""])


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Frr(Daemon):
    """zebra and bgpd, and bfdd where a neighbour has it."""

    place = "frr"

    def _prepare(self) -> None:
        self.outside.mkdir(parents=True, exist_ok=True)
        files = {
            "zebra.conf": zebra_configuration(self.setup),
            "bgpd.conf": configuration(self.setup, str(self.inside / self.updates.name)),
            "bfdd.conf": bfd_configuration(self._profiles()),
        }
        for name, text in files.items():
            (self.outside / name).write_text(text)
        for path in (self.outside.parent, self.outside, *(self.outside / name for name in files)):
            shutil.chown(path, "frr", "frr")  # the daemons run as that user
        for left in self.outside.glob("*.vty"):  # of a life that was killed
            left.unlink()
        (self.outside / "zserv.api").unlink(missing_ok=True)

    def _profiles(self) -> dict[str, Bfd]:
        numbered = enumerate(self.setup.neighbours, 1)
        return {f"G{number}": neighbour.bfd for number, neighbour in numbered if neighbour.bfd is not None}

    def _launch(self) -> list[Process]:
        zebra = self._start("zebra")
        wait_for(f"zebra of {self.name} is there", (self.outside / "zserv.api").exists, 15, alive=[zebra])
        return [zebra, *([self._start("bfdd")] if self._profiles() else []), self._start("bgpd")]

    def _start(self, program: str) -> Process:
        config = str(self.inside / f"{program}.conf")
        log = f"file:{self.inside / program}.log"
        return self._run(f"{PROGRAMS}/{program}", "-N", self.name, "-f", config, "-A", "127.0.0.1", "--log", log)

    def ask(self, command: str, program: str = "bgpd") -> str:
        """As ``vtysh -c`` on the socket that vtysh uses; several lines are one session (configure terminal, …)."""
        with socket.socket(socket.AF_UNIX) as vty:
            vty.settimeout(10)
            vty.connect(str(self.outside / f"{program}.vty"))
            answer = b""
            for line in ("enable", *command.splitlines()):
                vty.sendall(line.encode() + b"\0")
                answer = _answer(vty)
        return answer.decode()

    def _json(self, command: str, program: str = "bgpd") -> Any:
        return json.loads(self.ask(command, program) or "{}")

    def routes(self, prefix: Prefix) -> list[Path]:
        told = self._json(f"show bgp ipv{prefix.version} unicast {prefix} json")
        return [read for path in told.get("paths", []) if (read := _path(prefix, path)).neighbour]

    def rib(self) -> list[Path]:
        return [path for prefix in self.prefixes() for path in self.routes(prefix)]

    def prefixes(self) -> list[Prefix]:
        """All that it has a path for."""
        found: list[Prefix] = []
        for family in (4, 6):
            told = self._json(f"show bgp ipv{family} unicast json").get("routes", {})
            found += [ip_network(prefix) for prefix in told]
        return found

    def sessions(self) -> list[Session]:
        told = self._json("show bgp neighbors json")
        bfd = {peer["peer"]: peer["status"] for peer in self._bfd()}
        return [_session(key, peer, bfd.get(key, "")) for key, peer in told.items() if "bgpState" in peer]

    def _bfd(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._json("show bfd peers json", "bfdd") if self._profiles() else []
        return found


def _answer(vty: socket.socket) -> bytes:
    answer = b""
    while answer[-4:-1] != END:
        piece = vty.recv(65536)
        if not piece:
            raise ConnectionResetError("FRR hung up")
        answer += piece
    return answer[:-4]


def _path(prefix: Prefix, told: dict[str, Any]) -> Path:
    segments = told["aspath"].get("segments", [])
    hops = sorted(told["nexthops"], key=lambda hop: str(hop.get("scope", "")) == "link-local")
    return Path(
        prefix=prefix,
        neighbour=_neighbour_of(told["peer"]["peerId"]),
        next_hops=tuple(ip_address(hop["ip"]) for hop in hops),
        communities=frozenset(told.get("community", {}).get("string", "").split()),
        large_communities=frozenset(told.get("largeCommunity", {}).get("string", "").split()),
        as_path=tuple(asn for segment in segments for asn in segment["list"]),
        local_preference=told.get("locPrf"),
        med=told.get("metric"),
        used=bool(told.get("bestpath", {}).get("overall") or told.get("multipath")),
        stale=bool(told.get("stale")),
    )


def _neighbour_of(word: str) -> str:
    """ "" of a path of its own."""
    return word if _is_address(word) and not ip_address(word).is_unspecified else ""


def _session(key: str, told: dict[str, Any], bfd: str) -> Session:
    capabilities = told.get("neighborCapabilities", {}).get("multiprotocolExtensions", {})
    both = {FAMILIES[name] for name, state in capabilities.items() if state.get("advertisedAndReceived")}
    restart = told.get("gracefulRestartInfo", {})
    asked = restart.get("timers", {}).get("receivedRestartTimer", 0)
    return Session(
        neighbour=key,
        state=told["bgpState"],
        asn=told.get("remoteAs"),
        families=frozenset(both),
        hold=told.get("bgpTimerHoldTimeMsecs", 0) // 1000,
        keepalive=told.get("bgpTimerKeepAliveIntervalMsecs", 0) // 1000,
        established=told.get("connectionsEstablished", 0),
        bfd=bfd.capitalize(),
        graceful_restart=asked if restart.get("remoteGrMode") == "Restart" else None,
    )
