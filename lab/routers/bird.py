"""BIRD: its configuration from values, the daemon, and what it says on its control socket."""

import re
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from lab.routers.daemon import Daemon
from lab.routers.values import Neighbour, Path, Prefix, Session, Setup
from lab.run import Process

PROGRAM = "/usr/sbin/bird"
WELL_KNOWN = {
    "65535:0": "graceful-shutdown",
    "65535:666": "blackhole",
    "65535:65281": "no-export",
    "65535:65282": "no-advertise",
    "65535:65283": "local-AS",
    "65535:65284": "no-peer",
}
ROUTE = re.compile(r"(?P<prefix>\S+/\d+)?\s+unicast \[(?P<protocol>\S+) [^]]*\] (?P<best>\*)? ?\(\d+(?P<flags>[-s]*)")
BFD = re.compile(r"^[\d\- ]*(\S+)\s+\S+\s+(Up|Down|Init|AdminDown)\s", re.MULTILINE)
PAIR = re.compile(r"\((\d+), ?(\d+)\)")
TRIPLE = re.compile(r"\((\d+), ?(\d+), ?(\d+)\)")
LAST = 5  # characters that begin the last line of an answer: a code and a blank


def configuration(setup: Setup, updates: str, log: str) -> str:
    """The text of bird.conf."""
    lines = [
        f'log "{log}" all;',
        f"router id {setup.router_id};",
        f'mrtdump "{updates}";',
        "mrtdump protocols { messages, states };",
        "protocol device { scan time 1; }",
        *_kernel(setup),
    ]
    if any(neighbour.bfd for neighbour in setup.neighbours):
        lines.append("protocol bfd {}")
    for number, neighbour in enumerate(setup.neighbours, 1):
        lines += _neighbour(f"g{number}", neighbour, setup)
    return "\n".join([*lines, setup.extra, ""])


def _kernel(setup: Setup) -> Iterator[str]:
    for family in (4, 6):
        own = [prefix for prefix in setup.announce if ip_network(prefix).version == family]
        table = f"passed{family}"
        if setup.redistribute:
            yield f"ipv{family} table {table};"
            yield f"protocol kernel k{family} {{ kernel table {setup.redistribute}; learn; scan time 1; "
            yield f"  ipv{family} {{ table {table}; import all; export none; }}; }}"
        else:
            bgp = "export where source = RTS_BGP"
            yield f"protocol kernel k{family} {{ ipv{family} {{ {bgp}; import none; }}; merge paths on; }}"
        if own:
            routes = " ".join(f"route {prefix} unreachable;" for prefix in own)
            channel = f"ipv{family} {{ table {table}; }}" if setup.redistribute else f"ipv{family}"
            yield f"protocol static s{family} {{ {channel}; {routes} }}"


def _neighbour(name: str, neighbour: Neighbour, setup: Setup) -> Iterator[str]:
    ours = f" {neighbour.local}" if neighbour.local else ""
    yield f"protocol bgp {name} {{"
    yield f"  local{ours} as {setup.asn};"
    whom = neighbour.address or f"range {neighbour.remote}"
    yield f"  neighbor {whom} {_whose(neighbour, setup)};"
    if neighbour.interface:
        yield f'  interface "{neighbour.interface}";'
    if neighbour.address:
        yield f"  {'passive;' if neighbour.passive else 'connect delay time 1; connect retry time 1;'}"
    else:
        yield f'  dynamic name "{name}_";'
    if neighbour.password:
        yield f'  password "{neighbour.password}";'
    yield f"  multihop {neighbour.multihop};" if neighbour.multihop else "  direct;"
    yield f"  hold time {setup.hold}; keepalive time {setup.keepalive}; error wait time 1, 1;"
    if setup.graceful_restart:
        yield f"  graceful restart on; graceful restart time {setup.graceful_restart};"
    if neighbour.bfd is not None:
        receive, transmit, multiplier = neighbour.bfd.receive, neighbour.bfd.transmit, neighbour.bfd.multiplier
        yield f"  bfd {{ min rx interval {receive} ms; min tx interval {transmit} ms; multiplier {multiplier}; }};"
    for family in sorted(neighbour.families):
        yield _channel(family, neighbour, setup)
    yield "}"


def _channel(family: int, neighbour: Neighbour, setup: Setup) -> str:
    table = f"table passed{family}; " if setup.redistribute else ""
    export = "export all" if setup.redistribute else "export where source = RTS_STATIC"
    extended = "extended next hop; " if neighbour.extended_next_hop and family == 4 else ""  # noqa: PLR2004 - IPv4
    return f"  ipv{family} {{ {table}import all; {export}; {extended}}};"


def _whose(neighbour: Neighbour, setup: Setup) -> str:
    if neighbour.asn is None:
        return "external"
    return "internal" if neighbour.asn == setup.asn else f"as {neighbour.asn}"


class Bird(Daemon):
    """The one daemon of BIRD."""

    place = "bird"

    def _prepare(self) -> None:
        self.outside.mkdir(parents=True, exist_ok=True)
        (self.outside / "bird.ctl").unlink(missing_ok=True)
        self._write()

    def _write(self) -> None:
        updates, log = str(self.inside / self.updates.name), str(self.inside / "bird.log")
        text = configuration(self.setup, updates, log)
        (self.outside / "bird.conf").write_text(text)

    def _launch(self) -> list[Process]:
        config, control, pid = (str(self.inside / f"bird.{kind}") for kind in ("conf", "ctl", "pid"))
        return [self._run(PROGRAM, "-f", "-c", config, "-s", control, "-P", pid)]

    def ask(self, command: str) -> str:
        """As birdc does, on its socket; the codes at the beginning of lines stay."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self.outside / "bird.ctl"))
            with control.makefile("rb") as lines:
                lines.readline()  # its greeting
                control.sendall(command.encode() + b"\n")
                answer: list[str] = []
                for line in lines:
                    answer.append(line.decode())
                    if re.match(r"[089]\d{3} ", answer[-1]):
                        break
        return "".join(answer)

    def routes(self, prefix: Prefix) -> list[Path]:
        return [path for path in self.rib() if path.prefix == prefix]

    def rib(self) -> list[Path]:
        neighbours = {name: session.neighbour for name, session in self._sessions()}
        return list(read_routes(self.ask("show route all"), neighbours))

    def sessions(self) -> list[Session]:
        found = [session for _, session in self._sessions()]
        if not any(neighbour.bfd for neighbour in self.setup.neighbours):
            return found
        bfd = dict(BFD.findall(self.ask("show bfd sessions")))
        return [_with_bfd(session, bfd.get(session.neighbour, "")) for session in found]

    def _sessions(self) -> list[tuple[str, Session]]:
        return list(read_sessions(self.ask("show protocols all")))


def read_routes(text: str, neighbours: dict[str, str]) -> Iterator[Path]:
    """The paths of ``show route all`` that came from *neighbours*, by protocol."""
    prefix, head, attributes = "", None, dict[str, str]()

    def done() -> Iterator[Path]:
        if head is not None and head["protocol"] in neighbours:
            yield _path(ip_network(prefix), neighbours[head["protocol"]], head, attributes)

    for line in text.splitlines():
        body = line[LAST:] if re.match(r"\d{4}[- ]", line) else line
        if found := ROUTE.match(body if body[:1] != " " or "/" not in body.split(maxsplit=1)[0] else body.lstrip()):
            yield from done()
            prefix, head, attributes = found["prefix"] or prefix, found, {}
        elif "BGP." in body:
            name, _, value = body.strip().removeprefix("BGP.").partition(": ")
            attributes[name] = value
        elif body.strip().startswith("Table "):
            yield from done()
            head = None
    yield from done()


def _path(prefix: Prefix, neighbour: str, head: re.Match[str], attributes: dict[str, str]) -> Path:
    communities = {f"{a}:{b}" for a, b in PAIR.findall(attributes.get("community", ""))}
    return Path(
        prefix=prefix,
        neighbour=neighbour,
        next_hops=tuple(hop for word in attributes["next_hop"].split() if not (hop := ip_address(word)).is_unspecified),
        communities=frozenset(WELL_KNOWN.get(one, one) for one in communities),
        large_communities=frozenset(":".join(one) for one in TRIPLE.findall(attributes.get("large_community", ""))),
        as_path=tuple(map(int, attributes.get("as_path", "").split())),
        local_preference=int(attributes["local_pref"]) if "local_pref" in attributes else None,
        med=int(attributes["med"]) if "med" in attributes else None,
        used=head["best"] is not None,
        stale="s" in head["flags"],
    )


def read_sessions(text: str) -> Iterator[tuple[str, Session]]:
    """Protocol and session, of ``show protocols all``; such as only wait for anybody are left out."""
    for block in re.split(r"\n \n", text):
        head = re.search(r"^(?:1002-)?\s?(\S+)\s+BGP\s", block, re.MULTILINE)
        address = re.search(r"Neighbor address: (\S+)", block)
        if head is None or address is None:
            continue
        state = re.search(r"BGP state:\s+(\S+)", block)
        timers = {name: int(float(value)) for name, value in re.findall(r"(\S+) timer:\s+[\d.]+/([\d.]+)", block)}
        ours, _, theirs = block.partition("Neighbor capabilities")
        asn = re.search(r"Neighbor AS:\s+(\d+)", block)
        restart = re.search(r"Restart time: (\d+)", theirs)
        yield (
            head[1],
            Session(
                neighbour=address[1].partition("%")[0],
                state=state[1] if state else "Idle",
                asn=int(asn[1]) if asn else None,
                families=_announced(ours) & _announced(theirs),
                hold=timers.get("Hold", 0),
                keepalive=timers.get("Keepalive", 0),
                graceful_restart=int(restart[1]) if restart else None,
            ),
        )


def _announced(text: str) -> frozenset[int]:
    line = re.search(r"AF announced:([^\n]*)", text)
    return frozenset(int(family[-1]) for family in (line[1].split() if line else []))


def _with_bfd(session: Session, state: str) -> Session:
    return Session(
        session.neighbour, session.state, session.asn, session.families, session.hold, session.keepalive,
        session.established, state, session.graceful_restart,
    )  # fmt: skip
