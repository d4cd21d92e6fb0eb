"""What Roost leaves behind: on nodes, in the API, in its own processes, after many Services came and went."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.api import ApiError
from lab.cluster import Lab
from lab.fault_runs.scene import LEASES, VIRTUALIPS
from lab.programs import SEGMENTS
from lab.run import LabError, Process, wait_for

API, API_PORT = "connection to the API server", 6443
KEPT = 32  # more of them than at first, at most: what the client's pool may hold
AGENT_PORT = 10261  # where agents answer /metrics and /readyz by default
CONTROLLER_LEASES = "/apis/coordination.k8s.io/v1/namespaces/roost-system/leases"
REMEMBERED = 75.0  # seconds: agents forget a group 60 s after its last VIP
LOOKS = 5
IDLE = 40.0  # seconds after which the programs close connections that nobody uses
PASSING = re.compile(r"( expires| timeout) [0-9a-z]+|packets \d+ bytes \d+|quota .*used \d+")
PROXY = "kube-proxy"  # the name of its tables
HEAD = re.compile(r"^\t*(chain|set|map) (\S+) \{$")


@dataclass(frozen=True, slots=True)
class Traces:
    """What can be seen of Roost: per node its addresses and rules, in the API its objects."""

    addresses: dict[str, list[str]]
    rules: dict[str, list[str]]
    leases: list[str] = field(default_factory=list)
    vips: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What a process keeps open."""

    tasks: int
    files: list[str]


def addresses(lab: Lab, node: str) -> list[str]:
    """Every address of *node*, without the lifetimes, which pass."""
    links = json.loads(lab.run_in(node, "ip", "-j", "addr"))
    return sorted(
        f"{link['ifname']} "
        + json.dumps({k: v for k, v in one.items() if not k.endswith("_life_time")}, sort_keys=True)
        for link in links
        for one in link["addr_info"]
    )


def rules(lab: Lab, node: str) -> list[str]:
    """The ruleset of *node* line by line: without counters and lifetimes, chains and elements in order of name."""
    return normalised(lab.run_in(node, "nft", "list", "ruleset"))


def normalised(ruleset: str) -> list[str]:
    """What nft prints, such that two rulesets that do the same are the same, however they came about.

    Without kube-proxy's own tables: it sweeps what is left of a Service when it next has something to do.
    """
    blocks, table, block = list[tuple[str, ...]](), "", list[str]()
    joined = re.sub(r"elements = \{([^}]*)\}", _in_order, PASSING.sub("", ruleset))
    for line in joined.splitlines():
        if line.startswith("table"):
            table = line.removesuffix(" {")
            blocks.append((table,))
        elif HEAD.match(line):
            block = [f"{table} {line.strip()}"]
        elif line == "\t}":
            blocks.append(tuple(block))
        elif line.startswith("\t\t"):
            block.append(line.strip())
    return [line for one in sorted(blocks) for line in one if one[0].split()[2] != PROXY]


def _in_order(found: re.Match[str]) -> str:
    elements = sorted(" ".join(element.split()) for element in found[1].split(","))
    return f"elements = {{ {', '.join(elements)} }}"


def traces(lab: Lab) -> Traces:
    """What can be seen now."""
    return Traces(
        addresses={node: addresses(lab, node) for node in lab.nodes},
        rules={node: rules(lab, node) for node in lab.nodes},
        leases=[lease["metadata"]["name"] for path in (LEASES, CONTROLLER_LEASES) for lease in lab.admin.items(path)],
        vips=[vip["metadata"]["name"] for vip in lab.admin.items(VIRTUALIPS)],
        groups=[
            group["name"]
            for segment in lab.admin.items(SEGMENTS)
            for group in segment.get("status", {}).get("groups", [])
            if not group["name"].startswith("b-")  # bundles are made once and stay
        ],
    )


def differences(before: Traces, now: Traces) -> list[str]:
    """What is there now and was not before (+), or was before and is not now (-)."""
    found = list[str]()
    for what in ("addresses", "rules"):
        old, new = getattr(before, what), getattr(now, what)
        for node in old:
            found += [f"{node} {what} {line}" for line in _diff(old[node], new[node])]
    for what in ("leases", "vips", "groups"):
        found += [f"{what} {line}" for line in _diff(getattr(before, what), getattr(now, what))]
    return found


def _diff(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    yield from (f"- {line}" for line in old if line not in new)
    yield from (f"+ {line}" for line in new if line not in old)
    if sorted(old) == sorted(new) and list(old) != list(new):
        yield "in another order"


def upkeep(lab: Lab) -> dict[str, Upkeep]:
    """Tasks and open files of every agent and controller, by the program's name."""
    programs: list[tuple[Process, str, int]] = [(agent, node, AGENT_PORT) for node, agent in lab.agents.items()]
    programs += [(program, "control", lab.health_port(name)) for name, program in lab.controllers.items()]
    files = [_files(program) for program, _, _ in programs]  # first: the question for the tasks opens one more
    return {
        program.name: Upkeep(_tasks(lab, where, port), opened)
        for (program, where, port), opened in zip(programs, files, strict=True)
    }


def steady_upkeep(lab: Lab) -> dict[str, Upkeep]:
    """Tasks and open files once they are the same for five looks in a row, a second apart."""
    seen = list[dict[str, Upkeep]]()

    def steady() -> bool:
        seen.append(upkeep(lab))
        return len(seen) >= LOOKS and not any(grown(seen[-1], earlier) for earlier in seen[-LOOKS:])

    wait_for("tasks and open files stay the same", steady, 60, every=1.0)
    return seen[-1]


def _tasks(lab: Lab, where: str, port: int) -> int:
    """The metric roost_tasks."""
    text = lab.fetch(where, f"http://127.0.0.1:{port}/metrics")
    return int(float(next(line.split()[1] for line in text.splitlines() if line.startswith("roost_tasks "))))


def _files(process: Process) -> list[str]:
    """What kind each open file is of; the numbers of sockets say nothing.

    A connection to the API server that waits for its next use is no leftover: the client keeps them for 60 s.
    """
    found, kept = list[str](), _connections(process)
    for entry in (entry for pid in process.pids() for entry in Path(f"/proc/{pid}/fd").iterdir()):
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        found.append(API if target in kept else re.sub(r"\[\d+\]", "", target))
    return sorted(found)


def _connections(process: Process) -> set[str]:
    """The process's sockets that are connected to the API server, as links in /proc show them (proc(5), net/tcp)."""
    rows = (line.split() for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:])
    return {f"socket:[{row[9]}]" for row in rows if int(row[2].rpartition(":")[2], 16) == API_PORT}


def grown(before: dict[str, Upkeep], now: dict[str, Upkeep]) -> list[str]:
    """Which program has more or fewer tasks or open files than before."""
    found = list[str]()
    for name, old in before.items():
        new = now[name]
        if new.tasks != old.tasks:
            found.append(f"{name}: {new.tasks} tasks, {old.tasks} before")
        more, fewer = Counter(new.files) - Counter(old.files), Counter(old.files) - Counter(new.files)
        kept = more.pop(API, 0) - fewer.pop(API, 0)
        if more or fewer or kept > KEPT:
            changes = f"+ {dict(more)} - {dict(fewer)}, {kept} kept connections more"
            found.append(f"{name}: {len(new.files)} open files, {len(old.files)} before: {changes}")
    return found


def wait_until_like(lab: Lab, before: Traces, seconds: float) -> list[str]:
    """Wait until everything looks as *before*; after *seconds* return what does not."""
    found = ["nobody looked"]

    def alike() -> bool:
        nonlocal found
        try:
            found = differences(before, traces(lab))
        except ApiError as error:
            found = [str(error)]
        return not found

    try:
        wait_for("everything looks as before", alike, seconds, every=1.0)
    except LabError:
        return found
    return []


def wait_for_upkeep(lab: Lab, before: dict[str, Upkeep]) -> list[str]:
    """Wait until all programs have as much open as *before*, which may take a connection's time-out; what has not."""
    found = ["nobody looked"]

    def alike() -> bool:
        nonlocal found
        found = grown(before, upkeep(lab))
        return not found

    try:
        wait_for("nothing is open that was not before", alike, IDLE, every=1.0)
    except LabError:
        return found
    return []
