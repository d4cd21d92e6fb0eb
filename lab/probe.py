"""A helper process with a question-and-answer line: commands in, one JSON line out for each."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.run import LabError

ROOT = Path(__file__).parent.parent


def python_environment() -> dict[str, str]:
    """So that a program of this checkout runs wherever it is started."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


class Companion:
    """A module of the lab in a process of its own, in the network namespace *netns* (empty: the driver's)."""

    def __init__(self, module: str, *arguments: str, netns: str = "") -> None:
        where: Sequence[str] = ["ip", "netns", "exec", netns] if netns else []
        self.name = f"{module} {' '.join(arguments)}"
        self._process = subprocess.Popen(
            [*where, sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=python_environment(),
            start_new_session=True,
        )

    def ask(self, command: object) -> Any:
        """Send *command* and return the answer. Raises LabError when the process is gone or says {"error": …}."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # read() says so
        return self.read()

    def read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LabError(f"{self.name} ended ({self._process.wait()})")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise LabError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End it by ending its input."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
