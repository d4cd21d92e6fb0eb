"""What a measurement is: values, a budget, and the ratio of the two. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil


class At(StrEnum):
    """Which of several values a budget is about."""

    P50 = "p50"
    P90 = "p90"
    P99 = "p99"
    WORST = "worst"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least *percent* of all do not exceed (nearest rank); *values* is not empty."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Budget:
    """At most *limit* (or, with *at_least*, at least), looked at in the value *at*."""

    limit: float
    at: At = At.WORST
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured: several values of a run, or one."""

    what: str
    unit: str
    values: tuple[float, ...]
    budget: Budget | None = None
    note: str = ""

    def of(self, at: At) -> float:
        """With a budget of "at least" the worst is the lowest."""
        match at:
            case At.WORST:
                return min(self.values) if self.budget is not None and self.budget.at_least else max(self.values)
            case _:
                return percentile(self.values, float(at[1:]))

    @property
    def judged(self) -> float | None:
        """The value that the budget is about; None without a budget or without values."""
        return None if self.budget is None or not self.values else self.of(self.budget.at)

    @property
    def ratio(self) -> float | None:
        """Measured by budget; None without a budget, or when that is 0."""
        if self.judged is None or self.budget is None or self.budget.limit == 0:
            return None
        return self.judged / self.budget.limit

    @property
    def met(self) -> bool | None:
        """Whether the budget was kept; None without one."""
        if self.judged is None or self.budget is None:
            return None
        return self.judged >= self.budget.limit if self.budget.at_least else self.judged <= self.budget.limit


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one row; *error* says why it has no figures, or why there are no more of them."""

    row: str
    title: str
    figures: tuple[Figure, ...] = ()
    peers: str = ""
    error: str = ""
    seconds: float = 0.0
