"""One run of one fault: struck, watched, mended, measured, and judged."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from lab.api import ApiError
from lab.fault_runs.mode import Mode
from lab.fault_runs.promises import After, Fault
from lab.fault_runs.scene import VIPS, Scene
from lab.run import LabError, wait_for

WARM = 30  # connections of each client before the fault
TAIL = 1.0  # seconds looked at after everything promised has come
LATE = 0.050  # seconds; of a client that was itself later than that, gaps say nothing
ATTEMPTS = 3  # to get a run in which no client was late
SHOWN = 6  # claims of a second claimant that a complaint names
NOBODY = "?"  # held, in a run that came to no end
MOST = 30.0  # seconds after the time to watch, until another holder must have come


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of one fault; all times in seconds, per family where a mapping."""

    fault: str
    mode: Mode
    holder: str
    heir: str  # who held when it was over
    gaps: Mapping[int, float]  # longest time without a connection, of a client that knows the MAC
    silences: Mapping[int, float]  # longest time without an answer to who has the address
    moved_after: float | None  # from the beginning to the last VIP's first claim by another
    two: float  # seconds with two claimants of ours, all claim frames of all VIPs counted, until all was well again
    late: float  # by how much the clients themselves were late at worst
    lost: tuple[str, ...]  # what changed and must not, and what else was not as promised
    load: float  # of the machine, over the last minute
    strange: int = 0  # claims of VIPs by machines that are none of ours
    intruders: tuple[str, ...] = ()  # the claims that made for the seconds with two claimants, in words

    @property
    def gap(self) -> float:
        return max(self.gaps.values())


def strike(scene: Scene, fault: Fault) -> Run:
    """Do *fault* to the scene once everything is well, mend it, and return when everything is well again."""
    with scene.watch():
        holder = scene.settle()
        for client in scene.watchers.clients.values():
            client.wait_for_success(count=WARM)
        before, homes = scene.given(), scene.homes()
        began = time.time()
        try:
            heir = _play(scene, fault, holder, began)
            ended = time.time()
            reports = {family: client.report() for family, client in scene.watchers.clients.items()}
            answers = {family: scene.watchers.asks.report(vip) for family, vip in VIPS.items()}
            complaints = fault.check(scene, holder) if fault.check is not None else []
        finally:
            if fault.mend is not None:
                fault.mend(scene, holder)
        settled = scene.settle()
        after = scene.given()
        complaints += [f"{what}: {old} became {after[what]}" for what, old in before.items() if old != after[what]]
        complaints += _moves(scene, fault, began, homes, (heir, settled))
        return Run(
            fault=fault.name,
            mode=scene.mode,
            holder=holder,
            heir=heir,
            gaps={family: report.gap(began, ended) for family, report in reports.items()},
            silences={family: found.silence(began, ended) for family, found in answers.items()},
            moved_after=_moved_after(scene, holder, began),
            two=scene.seconds_with_two(began - 1),
            late=max(report.late for report in reports.values()),
            lost=tuple(complaints),
            load=os.getloadavg()[0],
            strange=scene.strange(began),
            intruders=tuple(scene.intruders(began - 1)),
        )


def _moves(scene: Scene, fault: Fault, began: float, homes: Mapping[str, str], held: tuple[str, str]) -> list[str]:
    """VIPs that moved and should not have."""
    heir, settled = held
    promise = fault.promise(scene.mode)
    if promise.after is After.SAME and (strays := scene.strays(began, homes)):
        return [f"{len(strays)} of {len(homes)} VIPs were claimed elsewhere: {', '.join(strays[:3])}"]
    back = promise.after is not After.ANY and settled != heir
    return [f"{settled} held in the end, after {heir}"] if back else []


def failed(scene: Scene, fault: Fault, why: str) -> Run:
    """What is noted of a run that came to no end."""
    nothing = dict.fromkeys(VIPS, inf)
    return Run(fault.name, scene.mode, NOBODY, NOBODY, nothing, nothing, None, 0.0, 0.0, (why,), os.getloadavg()[0])


def measure(scene: Scene, fault: Fault, attempts: int = ATTEMPTS) -> list[Run]:
    """Do *fault* until no client was late by its own fault, *attempts* times at most; all runs, the last is the one."""
    promise = fault.promise(scene.mode)
    timed = promise.gap is not None or promise.within is not None
    runs = [strike(scene, fault)]
    while timed and runs[-1].late > LATE and len(runs) < attempts:
        runs.append(strike(scene, fault))
    return runs


def attempt(scene: Scene, fault: Fault, attempts: int = ATTEMPTS) -> list[Run]:
    """As `measure`; a run that comes to no end is one in which something was lost, and the last: its lab is no good."""
    try:
        return measure(scene, fault, attempts)
    except (LabError, ApiError) as error:
        return [failed(scene, fault, str(error).partition("\n")[0])]


def _play(scene: Scene, fault: Fault, holder: str, began: float) -> str:
    """Follow the script, and return who holds when there is nothing left to wait for."""
    for when, verb in fault.script:
        _until(began + when)
        verb(scene, holder)
    promise = fault.promise(scene.mode)
    _until(began + promise.watch)

    def over() -> bool:
        claimants = set(scene.claimants(began if promise.after is After.OTHER else time.time() - TAIL))
        moved = len(claimants) == 1 and (promise.after is not After.OTHER or holder not in claimants)
        return moved and scene.connects(time.time() - TAIL)

    wait_for(f"{fault.title}: {promise.after.value} holds", over, MOST, every=0.1)
    _until(time.time() + TAIL)
    return scene.claimants(began)[0]


def _until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _moved_after(scene: Scene, holder: str, began: float) -> float | None:
    """Seconds until the later VIP was first claimed by another than *holder*; None: it never was."""
    recording = scene.ours(began)
    first = [
        min((claim.time for claim in recording.of_vip(vip).claims if claim.port != f"{holder}-data"), default=None)
        for vip in VIPS.values()
    ]
    moments = [moment for moment in first if moment is not None]
    return max(moments) - began if moments else None


def all_complaints(fault: Fault, runs: Sequence[Run], *, timed: bool = True) -> list[str]:
    """Complaints about the *runs* of one measurement: times count in the last alone, everything else in each."""
    *before, last = runs
    found = [complaint for run in before for complaint in complaints(fault, run, timed=False)]
    return found + complaints(fault, last, timed=timed)


def complaints(fault: Fault, run: Run, *, timed: bool = True) -> list[str]:
    """What *run* says against the promises of *fault*; *timed*: against those about times, too."""
    promise = fault.promise(run.mode)
    found = list(run.lost)
    if run.holder == NOBODY:
        return found
    if run.two:
        several = "; ".join([*run.intruders[:SHOWN], *(["…"] if len(run.intruders) > SHOWN else [])])
        found.append(f"two claimants for {run.two:.3f} s{several and f' ({several})'}")
    if (promise.after is After.SAME and run.heir != run.holder) or (
        promise.after is After.OTHER and run.heir == run.holder
    ):
        found.append(f"{run.heir} holds after {run.holder}; expected was {promise.after.value}")
    if timed and promise.gap is not None and run.gap > promise.gap:
        found.append(f"gap {run.gap:.3f} s; promised are {promise.gap:g} s (a client was late by {run.late:.3f} s)")
    if timed and promise.within is not None and (run.moved_after is None or run.moved_after > promise.within):
        found.append(f"another holder after {run.moved_after} s; promised are {promise.within:g} s")
    return found
