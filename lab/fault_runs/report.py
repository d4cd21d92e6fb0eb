"""What many runs of the faults say: a table per kind of promise, and every gap."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lab.fault_runs.faults import FAULTS, Fault
from lab.fault_runs.one import Run, all_complaints

Measured = Mapping[str, Sequence[Sequence[Run]]]  # of each fault by name: of each measurement the runs, the last counts
WORDS = {1: "one core", 2: "two cores", 4: "four cores", 8: "eight cores"}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """When, of what, and on what the figures were taken."""

    date: str
    commit: str
    nodes: int
    load: tuple[float, float]  # of the machine, at the beginning and at the end

    @property
    def machine(self) -> str:
        cores = os.cpu_count() or 1
        return f"{WORDS.get(cores, f'{cores} cores')}, Linux {platform.release().partition('-')[0]}"


def three(values: Sequence[float]) -> str:
    """The least, the median and the most, in seconds."""
    return " / ".join(f"{value:.2f}" for value in (min(values), median(values), max(values))) if values else "none"


def promise(fault: Fault) -> str:
    """What is promised, in words."""
    words = [f"gap ≤ {fault.gap:g} s"] if fault.gap is not None else []
    words += [f"another in ≤ {fault.within:g} s"] if fault.within is not None else []
    return ", ".join([*words, f"{fault.after.value} holds"])


def row(fault: Fault, measurements: Sequence[Sequence[Run]]) -> str:
    """Times of the last run of each measurement; seconds with two claimants of all."""
    runs = [several[-1] for several in measurements]
    moved = [run.moved_after for run in runs if run.moved_after is not None]
    kept = sum(not all_complaints(fault, several) for several in measurements)
    cells = (
        fault.title,
        promise(fault),
        f"{kept} of {len(runs)}",
        three([run.gap for run in runs]),
        three([max(run.silences.values()) for run in runs]),
        three(moved),
        f"{sum(run.two for several in measurements for run in several):g}",
    )
    return f"| {' | '.join(cells)} |"


INTRODUCTION = """# Faults, measured

Written by `make faults` on {w.date}, commit {w.commit}, in the lab: {w.nodes} nodes and the whole control plane on
{w.machine}. Load of the machine {begin:.1f} at the beginning, {end:.1f} at the end, {most:.1f} at most; other programs
ran beside it.

One Service with an IPv4 and an IPv6 address, a backend on every node. Two clients that know the holder's MAC connect
every 10 ms, one per family; the *gap* is the longest time between two connections of either, from the fault on. A
station asks for both addresses every 50 ms, so that whoever would claim shows itself; the longest time without an
answer is what a client without a neighbour entry waits. Claims are counted at every port of the switch, all kinds of
claim frames, from a second before the fault until all is well again. Seconds throughout; three figures are minimum /
median / maximum over the runs. Where a client was itself late by more than 50 ms, the run was done again, its times
left out and its claims counted: {again} times.
"""

HEAD = (
    "| fault | promised | kept | gap | nobody answers ARP or NDP | another claims after | seconds with two claimants |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def tables(runs: Measured) -> list[str]:
    """A table of the faults with promises of their own, and one of the further faults."""
    lines = list[str]()
    for title, further in (("Faults", False), ("Further faults", True)):
        shown = [fault for fault in FAULTS if fault.further == further and runs.get(fault.name)]
        if shown:
            lines += [f"## {title}", "", *HEAD, *(row(fault, runs[fault.name]) for fault in shown), ""]
            lines += [line for fault in shown if fault.note for line in (f"*{fault.title}*: {fault.note}", "")]
    return lines


def broken(runs: Measured) -> list[str]:
    """Every promise that a run did not keep."""
    return [
        f"{fault.name}, run {number}: {complaint}"
        for fault in FAULTS
        for number, several in enumerate(runs.get(fault.name, ()), 1)
        for complaint in all_complaints(fault, several)
    ]


def document(runs: Measured, where: Circumstances, further: Sequence[str] = ()) -> str:
    """The page that is kept; *further*: lines about what else was looked at."""
    every = [run for measurements in runs.values() for several in measurements for run in several]
    again = len(every) - sum(len(measurements) for measurements in runs.values())
    most = max((run.load for run in every), default=0.0)
    lines = [
        INTRODUCTION.format(w=where, begin=where.load[0], end=where.load[1], most=most, again=again),
        *tables(runs),
    ]
    if further:
        lines += ["## What is left behind", "", *further, ""]
    if found := broken(runs):
        lines += ["## Promises not kept", "", *(f"* {line}" for line in found), ""]
    lines += ["## Every gap", "", "| fault | gaps (IPv4, IPv6), in the order of the runs |", "| --- | --- |"]
    for fault in FAULTS:
        if several := runs.get(fault.name):
            gaps = [f"({last.gaps[4]:.3f}, {last.gaps[6]:.3f})" for *_, last in several]
            lines.append(f"| {fault.name} | {' '.join(gaps)} |")
    return "\n".join(lines) + "\n"
