"""Measures one row after the other: each within its time, and a row that fails leaves the others alone."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, NoReturn

from lab.api import ApiError
from lab.bench.figures import Figure, Result
from lab.bench.rows import PLACES, Options, Row, Say
from lab.bench.table import limit, number, verdict
from lab.build import BuildError
from lab.run import LabError

# What a lab, its API or a probe says when something is not as it should be; none of it is a reason to end the run.
FAILURES = (LabError, ApiError, BuildError, OSError, subprocess.SubprocessError, LookupError, ValueError)


class Stage:
    """The lab that is open now."""

    def __init__(self) -> None:
        self._name = ""
        self._at: Any = None
        self._open = ExitStack()

    def enter(self, name: str, options: Options) -> Any:
        """The lab *name*, opened unless it is open."""
        if name != self._name:
            self.close()
            self._at = self._open.enter_context(PLACES[name](options))
            self._name = name
        return self._at

    def close(self) -> None:
        self._name = ""
        self._open.close()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise LabError in this (the main) thread if the block takes longer."""

    def late(_number: int, _frame: FrameType | None) -> NoReturn:
        raise LabError(f"it took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure(rows: Sequence[Row], options: Options, done: Callable[[list[Result]], None]) -> list[Result]:
    """The results of *rows*; *done* is told after each what there is so far."""
    results: list[Result] = []
    stage = Stage()
    try:
        for row in rows:
            results.append(_one(row, options, stage))
            done(results)
    finally:
        stage.close()
    return results


def _one(row: Row, options: Options, stage: Stage) -> Result:
    print(f"\n> {row.title}", file=sys.stderr, flush=True)
    began, figures, error = time.monotonic(), list[Figure](), ""

    def say(text: str) -> None:
        print(f"  {time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    try:
        with within(row.seconds(options)):
            at = stage.enter(row.place, options)
            say("the lab is ready")
            for figure in row.measure(at, options, say):
                figures.append(figure)
                say(_line(figure))
    except FAILURES as failure:
        error = _first_line(failure)
        say(f"failed: {failure}")
        _close(stage, say)
    return Result(row.name, row.title, tuple(figures), row.peers, error, time.monotonic() - began)


def _close(stage: Stage, say: Say) -> None:
    """A lab in which something failed is not used again; nor does its end fail the next row."""
    try:
        stage.close()
    except FAILURES as failure:
        say(f"the lab did not end well: {_first_line(failure)}")


def _first_line(failure: BaseException) -> str:
    return (str(failure) or type(failure).__name__).splitlines()[0]


def _line(figure: Figure) -> str:
    values = f"{number(min(figure.values))} … {number(max(figure.values))}" if figure.values else "none"
    if len(figure.values) == 1:
        values = number(figure.values[0])
    budget = f"  (budget {limit(figure.budget)}: {verdict(figure).strip('*')})" if figure.budget else ""
    return f"{figure.what}: {values} {figure.unit}{budget}"
