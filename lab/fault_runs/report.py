"""What many runs of the faults say: a table per kind of promise, and every gap."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from lab.fault_runs.faults import FAULTS
from lab.fault_runs.mode import Mode
from lab.fault_runs.one import Run, all_complaints
from lab.fault_runs.promises import Fault, Promise

# Of each fault by mode and name: of each measurement the runs, of which the last counts.
Measured = Mapping[tuple[Mode, str], Sequence[Sequence[Run]]]
WORDS = {1: "one core", 2: "two cores", 4: "four cores", 8: "eight cores"}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """When, of what, and on what the figures were taken."""

    date: str
    commit: str
    load: tuple[float, float]  # of the machine, at the beginning and at the end

    @property
    def machine(self) -> str:
        cores = os.cpu_count() or 1
        return f"{WORDS.get(cores, f'{cores} cores')}, Linux {platform.release().partition('-')[0]}"


def three(values: Sequence[float]) -> str:
    """The least, the median and the most, in seconds; of runs that came to an end."""
    known = [value for value in values if isfinite(value)]
    return " / ".join(f"{value:.2f}" for value in (min(known), median(known), max(known))) if known else "none"


def said(promise: Promise) -> str:
    """What is promised, in words."""
    words = [f"gap ≤ {promise.gap:g} s"] if promise.gap is not None else []
    words += [f"another in ≤ {promise.within:g} s"] if promise.within is not None else []
    return ", ".join([*words, f"{promise.after.value} holds"])


def sentence(fault: Fault, runs: Sequence[Run]) -> str:
    """What one measurement says, in a line."""
    one = runs[-1]
    moved = "-" if one.moved_after is None else f"{one.moved_after:.2f}"
    verdict = "; ".join(all_complaints(fault, runs)) or "as promised"
    again = f", at attempt {len(runs)}" if len(runs) > 1 else ""
    gap, silence = one.gap, max(one.silences.values())
    figures = f"gap {gap:.3f} s, silence {silence:.3f} s, another after {moved} s, two claimants {one.two:g} s"
    return f"{one.mode.value.lower()} {fault.name}: {one.holder} -> {one.heir}, {figures}{again}: {verdict}"


def row(fault: Fault, measurements: Sequence[Sequence[Run]]) -> str:
    """Times of the last run of each measurement; seconds with two claimants of all."""
    runs = [several[-1] for several in measurements]
    moved = [run.moved_after for run in runs if run.moved_after is not None]
    kept = sum(not all_complaints(fault, several) for several in measurements)
    cells = (
        fault.title,
        said(fault.promise(runs[0].mode)),
        f"{kept} of {len(runs)}",
        three([run.gap for run in runs]),
        three([max(run.silences.values()) for run in runs]),
        three(moved),
        f"{sum(run.two for several in measurements for run in several):g}",
    )
    return f"| {' | '.join(cells)} |"


INTRODUCTION = """# Faults, measured

Written by `make faults` on {w.date}, commit {w.commit}, in the lab: 3 nodes (where said 5) and the whole control plane
on {w.machine}. Load of the machine {begin:.1f} at the beginning, {end:.1f} at the end, {most:.1f} at most; other
programs ran beside it.

One Service with an IPv4 and an IPv6 address, a backend on every node. Two clients that know the holder's MAC connect
every 10 ms, one per family; the *gap* is the longest time between two connections of either, from the fault on. A
station asks for both addresses every 50 ms, so that whoever would claim shows itself; the longest time without an
answer is what a client without a neighbour entry waits. Claims are counted at every port of the switch, all kinds of
claim frames, from a second before the fault until all is well again; *two claimants* are two nodes of the cluster: what
a stranger claims (in two of the faults) is heard besides: {strange} claims. Seconds throughout; three figures are
minimum / median / maximum over the runs. Where a client was itself late by more than 50 ms, the run was done again, its
times left out and its claims counted: {again} times.

Every fault is done in both modes: *witnessed*, as shipped, and *leased*, where the data links drop the agents' hellos.
Before each, every seat is in its mode and all is well. That the gate silences a node whose kube-ipvs0 has every VIP,
and whose kernel would answer for it, is shown in a kernel that has IPVS: `tests/kernel`.
"""

HEAD = (
    "| fault | promised | kept | gap | nobody answers ARP or NDP | another claims after | seconds with two claimants |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


def tables(runs: Measured) -> list[str]:
    """Per mode a table of the faults with promises of their own, and one of the further faults."""
    lines, notes = list[str](), dict[str, str]()
    for mode in Mode:
        for title, further in (("faults", False), ("further faults", True)):
            shown = [fault for fault in FAULTS if fault.further == further and runs.get((mode, fault.name))]
            if shown:
                lines += [f"## {mode.value}: {title}", "", *HEAD]
                lines += [*(row(fault, runs[mode, fault.name]) for fault in shown), ""]
            notes |= {fault.title: fault.note for fault in shown if fault.note}
    return lines + [line for title, note in notes.items() for line in (f"*{title}*: {note}", "")]


def broken(runs: Measured) -> list[str]:
    """Every promise that a run did not keep."""
    return [
        f"{mode.value.lower()}, {fault.name}, run {number}: {complaint}"
        for mode in Mode
        for fault in FAULTS
        for number, several in enumerate(runs.get((mode, fault.name), ()), 1)
        for complaint in all_complaints(fault, several)
    ]


def every_gap(runs: Measured) -> list[str]:
    lines = [
        "## Every gap",
        "",
        "| fault | mode | gaps (IPv4, IPv6), in the order of the runs |",
        "| --- | --- | --- |",
    ]
    for fault in FAULTS:
        for mode in Mode:
            if several := runs.get((mode, fault.name)):
                gaps = " ".join(f"({last.gaps[4]:.3f}, {last.gaps[6]:.3f})" for *_, last in several)
                lines.append(f"| {fault.name} | {mode.value.lower()} | {gaps} |")
    return lines


def document(runs: Measured, where: Circumstances, further: Sequence[str] = ()) -> str:
    """The page that is kept; *further*: lines about what else was looked at."""
    every = [run for measurements in runs.values() for several in measurements for run in several]
    told = {
        "again": len(every) - sum(len(measurements) for measurements in runs.values()),
        "most": max((run.load for run in every), default=0.0),
        "strange": sum(run.strange for run in every),
    }
    two = sum(run.two for run in every)
    lines = [
        INTRODUCTION.format(w=where, begin=where.load[0], end=where.load[1], **told),
        f"**{two:g} seconds with two claimants in {len(every)} runs of all faults.**",
        "",
        *tables(runs),
    ]
    if further:
        lines += ["## What is left behind", "", *further, ""]
    if found := broken(runs):
        lines += ["## Promises not kept", "", *(f"* {line}" for line in found), ""]
    return "\n".join([*lines, *every_gap(runs)]) + "\n"
