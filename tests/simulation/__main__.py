"""Runs schedules: ``python -m tests.simulation run FIRST LAST [--jobs N]``, or ``… replay 'Schedule(…)'``."""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.faults import read, shrink
from tests.simulation.schedules import fails, play, random_schedule


def one(seed: int) -> tuple[int, str, str, list[float]]:
    """Seed, hash of the log, what was wrong, and the gaps."""
    world = play(random_schedule(seed))
    wrong = world.checks.violations
    return seed, world.hash(), wrong[0] if wrong else "", [length for _, _, length in world.checks.gaps]


def run(first: int, last: int, jobs: int) -> int:
    """All seeds from *first* to *last*; how many failed."""
    began, digest, failed = time.monotonic(), sha256(), []
    with get_context("fork").Pool(jobs) as pool:
        for seed, found, wrong, _ in pool.imap(one, range(first, last + 1), chunksize=10):
            digest.update(found.encode())
            if wrong:
                failed.append(seed)
                print(f"seed {seed}: {wrong}", flush=True)
    spent = time.monotonic() - began
    print(f"seeds {first} to {last}, commit {commit()}: {len(failed)} failed, {spent:.0f} s")
    print(f"hash of all logs {digest.hexdigest()[:32]}")
    return len(failed)


def commit() -> str:
    root = Path(__file__).parent
    done = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def replay(text: str, lines: int, *, small: bool) -> int:
    schedule = random_schedule(int(text)) if text.isdecimal() else read(text)
    if small:
        schedule = shrink(schedule, fails)
    world = play(schedule)
    print(world.tail(lines))
    print(schedule)
    print("\n".join(world.checks.violations) or "nothing is wrong")
    return len(world.checks.violations)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    many = commands.add_parser("run", help="random schedules, by their seeds")
    many.add_argument("first", type=int)
    many.add_argument("last", type=int)
    many.add_argument("--jobs", type=int, default=1)
    again = commands.add_parser("replay", help="one schedule, as it was printed, or a seed")
    again.add_argument("schedule")
    again.add_argument("--lines", type=int, default=60)
    again.add_argument("--shrink", action="store_true")
    given = parser.parse_args(arguments)
    if given.command == "run":
        return 1 if run(given.first, given.last, given.jobs) else 0
    return 1 if replay(given.schedule, given.lines, small=given.shrink) else 0


if __name__ == "__main__":
    sys.exit(main())
