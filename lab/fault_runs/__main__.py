"""``make faults``: every fault several times in either mode, with its figures in docs/results/faults.md."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from lab import build, debian, isolate
from lab.api import ApiError
from lab.cluster import Lab
from lab.fault_runs import churn, leftovers
from lab.fault_runs.faults import FAULTS
from lab.fault_runs.mode import Mode
from lab.fault_runs.one import NOBODY, Run, all_complaints, attempt
from lab.fault_runs.promises import Stage
from lab.fault_runs.report import Circumstances, Measured, broken, document, sentence, tables
from lab.fault_runs.theatre import Theatre
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


def faults(options: argparse.Namespace) -> Measured:
    """Do all that was asked for, in turn; one lab for all faults of a mode and a stage."""
    found = dict[tuple[Mode, str], list[list[Run]]]()
    chosen = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    began = time.monotonic()
    with closing(Theatre()) as theatre:
        for mode, stage in product(options.mode, Stage):
            for fault in (fault for fault in chosen if fault.stage is stage):
                times = options.further if fault.further and not options.only else options.runs
                for number in range(1, times + 1):
                    scene = theatre.scene(mode, stage)
                    runs = attempt(scene, fault)
                    found.setdefault((mode, fault.name), []).append(runs)
                    print(f"{time.monotonic() - began:5.0f} s  {number}/{times} {sentence(fault, runs)}", flush=True)
                    if all_complaints(fault, runs):
                        said = (f"{agent.name}:\n{agent.tail(LINES)}" for agent in scene.lab.agents.values())
                        print("\n".join(said), flush=True)
                    if runs[-1].holder == NOBODY:
                        theatre.close()
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
    modes = {"both": [*Mode], "witnessed": [Mode.WITNESSED], "leased": [Mode.LEASED]}
    parser.add_argument("--mode", choices=modes, default="both", help="of the seats (default: %(default)s)")
    parser.add_argument("--left-alone", action="store_true", help="no faults: what many Services leave behind, no page")
    parser.add_argument("--no-page", action="store_true", help=f"leave {PAGE} as it is")
    options = parser.parse_args(arguments)
    options.mode = modes[options.mode]
    return options


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
    where = Circumstances(date, revision, (begin, os.getloadavg()[0]))
    print("\n".join(tables(found)))
    if not (options.no_page or options.only or options.left_alone):
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(document(found, where, left))
        print(f"written: {PAGE}")
    return 1 if broken(found) else 0


if __name__ == "__main__":
    sys.exit(main())
