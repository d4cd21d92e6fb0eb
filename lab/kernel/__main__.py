"""Builds the kernel of the box (``python -m lab.kernel build``), or runs a command in it (``… run -- COMMAND…``)."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from lab.build import BuildError
from lab.kernel import build

BOX = Path(__file__).parent / "box.sh"
LIMIT = 600  # seconds
INSIDE = "ROOST_KERNEL_BOX"  # in the environment of what runs in the box


def run(command: list[str], limit: int, writable: list[str]) -> NoReturn:
    """Be *command* inside the box: its output and its exit code; 124 if it took longer than *limit* seconds."""
    options = [option for directory in writable for option in ("-w", directory)]
    sys.stdout.flush()
    os.execv(BOX, [str(BOX), "-t", str(limit), *options, "-k", str(build.ensure()), "--", *command])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.kernel", description="a private kernel to run programs in")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help=f"build the kernel, if it is not there ({build.LONGEST})")
    into = verbs.add_parser("run", help="run a command in the box; what it writes vanishes")
    into.add_argument("-t", metavar="SECONDS", type=int, default=LIMIT, help=f"end it by then ({LIMIT})")
    into.add_argument("-w", metavar="DIR", action="append", default=[], help="what it writes below DIR stays")
    into.add_argument("command", nargs="+")
    asked = parser.parse_args()
    try:
        if asked.verb == "build":
            print(f"the kernel of the box is {build.ensure()}", file=sys.stderr)
        else:
            run(asked.command, asked.t, asked.w)
    except BuildError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
