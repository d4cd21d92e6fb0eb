"""Shows a person that something long is under way."""

import subprocess
import sys
import time


def show(process: subprocess.Popen[bytes], what: str) -> None:
    """Wait for *process*, and say every second on a terminal, every 15 s elsewhere, how long *what* takes so far."""
    terminal, started = sys.stderr.isatty(), time.monotonic()
    begin, end, step = ("\r", " ", 1.0) if terminal else ("", "\n", 15.0)
    while True:
        print(f"{begin}{what}: {time.monotonic() - started:.0f} s", end=end, file=sys.stderr, flush=True)
        try:
            process.wait(step)
            break
        except subprocess.TimeoutExpired:
            continue
    how = "done" if process.returncode == 0 else "failed"
    print(f"{begin}{what}: {how} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
