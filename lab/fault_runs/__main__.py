"""``make faults``: every fault several times in one lab, with its figures in docs/results/faults.md."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lab import build, debian, isolate
from lab.api import ApiError
from lab.cluster import Lab
from lab.fault_runs import churn, leftovers
from lab.fault_runs.faults import FAULTS, Fault
from lab.fault_runs.one import Run, all_complaints, measure
from lab.fault_runs.report import Circumstances, Measured, broken, document, tables
from lab.fault_runs.scene import Scene
from lab.run import LabError, run, wait_for

PAGE = Path("docs/results/faults.md")
REST = 60.0  # seconds that a released address rests, as shipped
CYCLES = 200
LINES = 12  # of each agent's log, shown when a promise was not kept


def commit() -> str:
    """The commit, and whether anything was changed since."""
    try:
        changed = "" if not run(["git", "status", "--porcelain", "--untracked-files=no"]) else " and changes since"
        return run(["git", "rev-parse", "--short=10", "HEAD"]).strip() + changed
    except LabError:
        return "unknown"


def say(fault: Fault, number: int, of: int, runs: Sequence[Run]) -> None:
    """One line of progress."""
    one = runs[-1]
    moved = "-" if one.moved_after is None else f"{one.moved_after:.2f}"
    verdict = "; ".join(all_complaints(fault, runs)) or "as promised"
    again = f", at attempt {len(runs)}" if len(runs) > 1 else ""
    figures = f"gap {one.gap:.3f} s, another after {moved} s, two claimants {one.two:g} s"
    print(f"{fault.name} {number}/{of}: {one.holder} -> {one.heir}, {figures}{again}: {verdict}", flush=True)


def faults(options: argparse.Namespace) -> Measured:
    """Do all that was asked for, in turn, in one lab."""
    found = dict[str, list[list[Run]]]()
    with Lab(nodes=options.nodes) as lab:
        lab.install()
        scene = Scene(lab).start()
        for fault in FAULTS:
            times = options.further if fault.further and not options.only else options.runs
            if options.only and fault.name not in options.only:
                continue
            for number in range(1, times + 1):
                runs = measure(scene, fault)
                found.setdefault(fault.name, []).append(runs)
                say(fault, number, times, runs)
                if all_complaints(fault, runs):
                    print("\n".join(f"{agent.name}:\n{agent.tail(LINES)}" for agent in lab.agents.values()), flush=True)
    return found


def nothing_left() -> list[str]:
    """Two hundred Services come and go, everything is killed; what is left after the usual rest, in words."""
    with Lab(nodes=3) as lab:
        lab.install()
        for node in lab.nodes:
            lab.add_backend(f"web-{node}", node)
        churn.start(lab, rest=REST)
        fresh, before = leftovers.traces(lab), leftovers.steady_upkeep(lab)
        churn.cycle(lab, CYCLES)
        lines = judged(lab, f"after {CYCLES} Services came and went", fresh, before)
        churn.kill_everything_amid_services(lab, rest=REST)
        return lines + judged(lab, "after everything was killed amid Services and started again", fresh, before)


def judged(lab: Lab, when: str, fresh: leftovers.Traces, before: dict[str, leftovers.Upkeep]) -> list[str]:
    """What is left 61 s after *when*, and 15 s later: the sweep after the rest takes its time, too."""
    began = time.monotonic()
    wait_for("a minute passes", lambda: time.monotonic() > began + REST + 1, REST + 5, every=0.5)
    left = leftovers.differences(fresh, leftovers.traces(lab)) + leftovers.grown(before, leftovers.upkeep(lab))
    lines = [f"* 61 s {when}: {len(left) or 'no'} differences to agents that never had a Service"]
    if left:
        lines += [f"  * {line}" for line in left[:20]]
        late = leftovers.wait_until_like(lab, fresh, 30) + leftovers.wait_for_upkeep(lab, before)
        lines.append(f"  * {len(late) or 'no'} differences {time.monotonic() - began:.0f} s after it")
    print("\n".join(lines), flush=True)
    return lines


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.fault_runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="how often each fault is done (default: %(default)s)")
    parser.add_argument("--further", type=int, default=3, help="how often the further faults (default: %(default)s)")
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="FAULT", help=f"some of {', '.join(names)}")
    parser.add_argument("--nodes", type=int, default=3, help="of the lab (default: %(default)s)")
    parser.add_argument("--left-alone", action="store_true", help="no faults: what many Services leave behind, no page")
    parser.add_argument("--no-page", action="store_true", help=f"leave {PAGE} as it is")
    return parser.parse_args(arguments)


def main() -> int:
    """0 if every promise was kept."""
    options = parse(sys.argv[1:])
    try:
        debian.ensure()
        build.ensure()
        isolate.enter()
        begin, revision = os.getloadavg()[0], commit()
        found = {} if options.left_alone else faults(options)
        left = [] if options.only else nothing_left()
    except (LabError, ApiError, build.BuildError, debian.MissingError) as error:
        sys.exit(f"error: {error}")
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = Circumstances(date, revision, options.nodes, (begin, os.getloadavg()[0]))
    print("\n".join(tables(found)))
    if not (options.no_page or options.only or options.left_alone):
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(document(found, where, left))
        print(f"written: {PAGE}")
    return 1 if broken(found) else 0


if __name__ == "__main__":
    sys.exit(main())
