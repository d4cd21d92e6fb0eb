"""The report of a run as Markdown: the yardstick, budgets at a glance, then every row with its peers. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.bench.figures import At, Budget, Figure, Result

REFERENCE_RATE = 197  # Services created per second, creation alone, where the peers' figures were measured
HEAD = """# Benchmarks

Written by `make bench`. Each row stands beside its budget; the ratio is measured / budget. The figures of kube-vip,
MetalLB and of keepalived in brackets are quoted: measured in the same lab on two cores, where bare creation of Services
ran at {rate} a second. keepalived's others are of this run, on the same nodes and segment, by the same probes.
"""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where and how the run went."""

    date: str
    cores: int
    kernel: str
    python: str
    load: float  # load average of the last minute, before the run
    options: str
    seconds: float


def number(value: float) -> str:
    """Three figures that matter, and no exponent."""
    size = abs(value)
    if size >= 100 or value == int(value):  # noqa: PLR2004  # three figures
        return f"{value:.0f}"
    places = 1 if size >= 10 else 2 if size >= 1 else 3  # noqa: PLR2004  # as above
    return f"{value:.{places}f}".rstrip("0").rstrip(".")


def limit(budget: Budget | None) -> str:
    if budget is None:
        return ""
    sign = "≥" if budget.at_least else "≤"
    return f"{budget.at} {sign} {number(budget.limit)}" if budget.limit else f"{budget.at} 0"


def verdict(figure: Figure) -> str:
    """The ratio, and in bold what misses its budget."""
    if figure.met is None:
        return ""
    ratio = "" if figure.ratio is None else f"{number(figure.ratio)} "
    return f"{ratio}kept" if figure.met else f"**{ratio}missed**"


def cells(figure: Figure) -> list[str]:
    """One value stands alone; several as p50, p90, p99 and worst."""
    if not figure.values:
        return ["none", "", "", "", "0"]
    if len(figure.values) == 1:
        return ["", "", "", number(figure.values[0]), "1"]
    return [*(number(figure.of(at)) for at in (At.P50, At.P90, At.P99, At.WORST)), str(len(figure.values))]


def rows(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)]


def section(result: Result) -> list[str]:
    lines = [f"## {result.title}", ""]
    if result.error:
        lines += [f"**Not measured{' to the end' if result.figures else ''}:** {result.error}", ""]
    if result.figures:
        head = ["what", "unit", "p50", "p90", "p99", "worst or only", "values", "budget", "ratio"]
        lines += rows(head, ([f.what, f.unit, *cells(f), limit(f.budget), verdict(f)] for f in result.figures))
        lines.append("")
        lines += [f"* {figure.what}: {figure.note}" for figure in result.figures if figure.note]
        lines += [""] if any(figure.note for figure in result.figures) else []
    if result.peers:
        lines += [f"Peers: {result.peers}", ""]
    return lines


def yardstick(rate: float | None) -> str:
    if rate is None:
        return "Yardstick: not measured in this run."
    return (
        f"Yardstick: bare creation of Services, 16 connections, {number(rate)} a second;"
        f" {number(rate / REFERENCE_RATE)} of the {REFERENCE_RATE} where the peers were measured."
    )


def report(results: Sequence[Result], conditions: Conditions, rate: float | None) -> str:
    """The whole page; *rate* is the yardstick's, in Services per second."""
    c = conditions
    lines = [*HEAD.format(rate=REFERENCE_RATE).splitlines(), "", yardstick(rate), ""]
    lines += [
        f"{c.date}; {c.cores} cores, Linux {c.kernel}, Python {c.python}; load average {c.load:.1f} before;"
        f" {c.options}; {c.seconds:.0f} s in all.",
        "",
    ]
    judged = [(result, figure) for result in results for figure in result.figures if figure.met is not None]
    if judged:
        lines += ["## At a glance", ""]
        lines += rows(
            ["row", "what", "measured", "budget", "ratio"],
            (
                [
                    result.row,
                    figure.what,
                    f"{number(figure.judged or 0)} {figure.unit}".rstrip(),
                    limit(figure.budget),
                    verdict(figure),
                ]
                for result, figure in judged
            ),
        )
        lines.append("")
    for result in results:
        lines += section(result)
    return "\n".join(lines).rstrip() + "\n"
