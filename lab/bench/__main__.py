"""Prints the benchmarks' table, and writes docs/results/bench.md when all rows were measured (``make bench``)."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lab import build, debian, isolate
from lab.bench import run
from lab.bench.figures import At, Result
from lab.bench.rows import FEW_RUNS, MANY_RUNS, NAMES, Options, chosen
from lab.bench.table import Conditions, report
from lab.probe import ROOT

PAGE = ROOT / "docs" / "results" / "bench.md"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows (all): {', '.join(NAMES)}")
    few, many = FEW_RUNS, MANY_RUNS
    parser.add_argument("--runs", type=int, default=0, metavar="N", help=f"of each fault ({few}, power-off {many})")
    parser.add_argument("--full", action="store_true", help="1,000 paced Services, and a minute of idling")
    parser.add_argument("--small", action="store_true", help="fewer nodes, paths and VIPs")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"write the page there ({PAGE.relative_to(ROOT)})")
    options = parser.parse_args()
    if unknown := set(options.rows) - {*NAMES}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


def page(results: Sequence[Result], options: Options, load: float, began: float) -> str:
    conditions = Conditions(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cores=len(os.sched_getaffinity(0)),
        kernel=".".join(platform.release().split(".")[:2]),
        python=platform.python_version(),
        load=load,
        options=str(options),
        seconds=time.monotonic() - began,
    )
    rates = [result.figures[0].of(At.P50) for result in results if result.row == "yardstick" and result.figures]
    return report(results, conditions, rates[0] if rates else None)


def main() -> None:
    """``python -m lab.bench [ROW…]``; exits with 1 if a row could not be measured."""
    asked = arguments()
    try:
        debian.ensure()
        build.ensure()
    except (build.BuildError, debian.MissingError) as error:
        sys.exit(f"error: {error}")
    isolate.enter()
    options = Options(asked.runs, asked.full, asked.small)
    began, load = time.monotonic(), os.getloadavg()[0]
    output = asked.output or (None if asked.rows else PAGE)

    def done(results: list[Result]) -> None:
        if output is not None:  # after each row, so that an interrupted run leaves what it found
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(page(results, options, load, began))

    results = run.measure(chosen(asked.rows), options, done)
    print(page(results, options, load, began))
    if output is not None:
        print(f"written to {output}", file=sys.stderr)
    sys.exit(any(result.error for result in results))


if __name__ == "__main__":
    main()
