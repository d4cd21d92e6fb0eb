"""Runs every test, three parts side by side (``make test``): labs wait more than they work, each in a world of its own.

python tests/run.py [PART…]      a part is ``unit``, ``simulation``, ``kernel`` or a file of tests/lab; all by default
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNIT, SIMULATION, KERNEL = "unit", "simulation", "kernel"
WHERE = {  # what pytest is given
    UNIT: ["tests", "--ignore=tests/lab", "--ignore=tests/simulation", "--ignore=tests/kernel"],
    SIMULATION: ["tests/simulation"],
    KERNEL: ["tests/kernel"],
}
LANES = 3
FIRST = (  # the long ones
    "test_faults_witnessed_a",
    "test_faults_witnessed_b",
    "test_faults_witnessed_c",
    "test_faults_leased",
    "test_nothing_left",
    "test_controller_kill",
    "test_answers",
    "test_bad_input",
    "test_kube_vip_bgp",
    "test_kube_vip_bgp_exit",
)
COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")


def parts() -> list[str]:
    """Each directory, and each file of the lab; the long ones first, so that none of them is left for the end."""
    files = sorted((ROOT / "tests" / "lab").glob("test_*.py"))
    rank = {name: number for number, name in enumerate(FIRST)}
    files.sort(key=lambda path: rank.get(path.stem, len(FIRST)))
    names = [str(path.relative_to(ROOT)) for path in files]
    return [names[0], SIMULATION, *names[1:4], UNIT, KERNEL, *names[4:]]


def run(part: str) -> tuple[str, int, str, float]:
    """One pytest: the part, its exit code, all it printed, and how many seconds it took."""
    pytest = [sys.executable, "-m", "pytest", "-q", "--color=no"]
    where = WHERE.get(part, [part])
    isolated = [] if part in WHERE else [sys.executable, "-m", "lab.isolate"]
    began = time.monotonic()
    done = subprocess.run(
        [*isolated, *pytest, *where],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return part, done.returncode, done.stdout, time.monotonic() - began


def counted(output: str) -> Counter[str]:
    """How many passed and failed, by pytest's closing line; an error in a fixture is a failure."""
    closing = output.rstrip().splitlines()[-1:] or [""]
    found: Counter[str] = Counter()
    for number, word in COUNT.findall(closing[0]):
        found["passed" if word == "passed" else "failed"] += int(number)
    return found


def main() -> int:
    wanted = sys.argv[1:] or parts()
    total: Counter[str] = Counter()
    broken: list[str] = []
    with ThreadPoolExecutor(LANES) as lanes:
        for done in as_completed([lanes.submit(run, part) for part in wanted]):
            part, code, output, seconds = done.result()
            here = counted(output)
            total += here
            good = code == 0 and here["passed"] > 0
            if not good:
                broken.append(part)
                print(output)
            verdict = "ok" if good else f"FAILED (exit code {code})"
            print(f"{part}: {here['passed']} passed, {here['failed']} failed, {seconds:.0f} s, {verdict}", flush=True)
    failed = max(total["failed"], len(broken))
    if broken:
        print("failed: " + " ".join(broken))
    print(f"{total['passed']} passed, {failed} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
