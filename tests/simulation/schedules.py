"""Which faults strike when: random schedules from a seed, and the named ones that each aim at one rule."""

from collections.abc import Callable
from random import Random

from tests.simulation import faults as f
from tests.simulation.faults import Schedule
from tests.simulation.world import World

BEGIN, END = 5.0, 18.0  # faults begin when the table has settled
SECONDS = (0.05, 0.2, 0.5, 0.9, 2.0, 5.0, 9.0)


def play(schedule: Schedule) -> World:
    """The whole run: until the last fault is mended, and the quiet time after it."""
    world = World(schedule)
    world.run(max(schedule.last, 5.0) + schedule.quiet)
    world.checks.at_the_end()
    return world


def fails(schedule: Schedule) -> bool:
    return bool(play(schedule).checks.violations)


def random_schedule(seed: int) -> Schedule:
    """Two to five nodes, and one to a dozen faults."""
    random = Random(f"schedule {seed}")
    nodes = 2 + seed % 4
    profile = random.choice(["Default"] * 6 + ["Fast", "Relaxed"])
    theme = random.choice([_anything] * 4 + [_leased, _flapping, _restarts, _cut_off, _objects])
    faults = tuple(sorted(theme(random, nodes), key=lambda fault: fault.at))
    rests = any(isinstance(fault, f.Rest) for fault in faults)
    return Schedule(seed, nodes, profile, faults, quiet=30.0 if rests else 16.0, hold=random.random() < 0.8)


def _name(random: Random, nodes: int) -> str:
    return f"n{random.randint(1, nodes)}"


def _anything(random: Random, nodes: int) -> list[f.Fault]:
    faults: list[f.Fault] = []
    at = BEGIN
    while at < END:
        faults.append(_one(random, nodes, round(at, 2)))
        at += random.choice([0.05, 0.3, 1.0, 3.0, 6.0])
    return faults


def _one(random: Random, nodes: int, at: float) -> f.Fault:
    """A fault of any kind."""
    seconds, name, other = random.choice(SECONDS), _name(random, nodes), _name(random, nodes)
    after = random.choice([-1, -1, 0, 1, 2, 3])
    group = f"g{random.randrange(3)}"
    apart = tuple(f"n{number}" for number in range(1, nodes + 1) if random.random() < 0.5)
    makers: list[Callable[[], f.Fault]] = [
        lambda: f.Pause(at, seconds, name, random.choice(["pulse", "agent", "both", "both"]), after),
        lambda: f.Kill(at, seconds, name, random.choice(["pulse", "pulse", "agent"]), after),
        lambda: f.Power(at, max(1.0, seconds), name),
        lambda: f.Cut(at, seconds, name, other, random.random() < 0.5),
        lambda: f.Isolate(at, seconds, name),
        lambda: f.Split(at, seconds, apart),
        lambda: f.Loss(at, seconds, random.choice([0.1, 0.3]), random.choice([0.0, 0.05, 0.5])),
        lambda: f.ApiDown(at, seconds),
        lambda: f.ApiCut(at, seconds, name),
        lambda: f.ApiSlow(at, seconds, random.choice([0.3, 1.0, 4.0])),
        lambda: f.LateWrites(at, seconds, name, random.choice([1.0, 4.0])),
        lambda: f.Lag(at, seconds, name, random.choice([0.5, 2.0, 8.0])),
        lambda: f.Stall(at, seconds, name, random.choice([0.0, 3.0, 10.0])),
        lambda: random.choice(_RARE)(at, seconds, name, group),
    ]
    weights = [5, 5, 3, 3, 3, 2, 2, 1, 2, 2, 2, 2, 1, 5]
    return random.choices(makers, weights)[0]()


_RARE: list[Callable[[float, float, str, str], f.Fault]] = [
    lambda at, seconds, name, group: f.Rest(at, seconds, name),
    lambda at, seconds, name, group: f.Rest(at, seconds, name),
    lambda at, seconds, name, group: f.Leave(at, seconds, name),
    lambda at, seconds, name, group: f.Unfit(at, seconds, name),
    lambda at, seconds, name, group: f.Refit(at, seconds, group, (name,)),
    lambda at, seconds, name, group: f.NoAnchor(at, seconds, name),
    lambda at, seconds, name, group: f.Deaf(at, seconds),
    lambda at, seconds, name, group: f.LeaseDeleted(at, name),
    lambda at, seconds, name, group: f.TableEdited(at, group, name),
    lambda at, seconds, name, group: f.StaleStart(at, seconds, 5.0),
    lambda at, seconds, name, group: f.Power(at, max(1.0, seconds), name, f"other-{at}"),
    lambda at, seconds, name, group: f.TableCleared(at),
    lambda at, seconds, name, group: f.TableDeleted(at),
    lambda at, seconds, name, group: f.TableRestored(at, seconds),
    lambda at, seconds, name, group: f.Freeze(at, seconds, name),
    lambda at, seconds, name, group: f.Blackout(at, max(1.0, seconds)),
]


def _leased(random: Random, nodes: int) -> list[f.Fault]:
    """Hellos never work on this segment; stalls, slow watches and a slow API server on top."""
    faults: list[f.Fault] = [f.Deaf(0.0, END + 8.0)]
    at = BEGIN
    while at < END:
        faults.append(_one(random, nodes, round(at, 2)))
        at += random.choice([1.0, 3.0, 6.0])
    return faults


def _flapping(random: Random, nodes: int) -> list[f.Fault]:
    """Hellos come and go, so that seats change their mode all the time, and holders die in between."""
    faults: list[f.Fault] = []
    at = BEGIN
    while at < END:
        faults.append(f.Deaf(round(at, 2), random.choice([0.5, 1.0, 2.0, 3.0])))
        if random.random() < 0.5:
            faults.append(f.Kill(round(at + random.uniform(0, 4), 2), random.choice([2.0, 9.0]), _name(random, nodes)))
        if random.random() < 0.4:
            faults.append(f.ApiSlow(round(at + random.uniform(0, 4), 2), random.choice([2.0, 5.0]), 3.0))
        if random.random() < 0.4:
            faults.append(_one(random, nodes, round(at + random.uniform(0, 4), 2)))
        at += random.choice([2.0, 4.0, 6.0])
    return faults


def _restarts(random: Random, nodes: int) -> list[f.Fault]:
    """Whole groups of witnesses are restarted while a holder is silent."""
    faults: list[f.Fault] = []
    at = BEGIN
    while at < END:
        victim = random.randint(1, nodes)
        faults.append(f.Pause(round(at, 2), random.choice([0.6, 1.0, 3.0]), f"n{victim}"))
        others = [number for number in range(1, nodes + 1) if number != victim and random.random() < 0.7]
        faults += [f.Kill(round(at + random.uniform(0.0, 0.8), 2), 0.05, f"n{number}") for number in others]
        if random.random() < 0.5:
            faults.append(f.ApiSlow(round(at, 2), 3.0, random.choice([0.5, 3.0])))
        if random.random() < 0.3:
            faults.append(_one(random, nodes, round(at + random.uniform(0, 2), 2)))
        at += random.choice([3.0, 5.0])
    return faults


def _cut_off(random: Random, nodes: int) -> list[f.Fault]:
    """The API server is lost, and hellos or anchors too, and holders hold on; processes die in between."""
    faults: list[f.Fault] = []
    at = BEGIN
    while at < END:
        seconds, name = random.choice([2.0, 5.0, 9.0]), _name(random, nodes)
        faults.append(random.choice([f.ApiDown(at, seconds), f.ApiCut(at, seconds, name), f.ApiCut(at, seconds, name)]))
        when = round(at + random.uniform(-1.0, 2.0), 2)
        lost = [
            f.Deaf(when, seconds),
            f.Deaf(when, seconds),
            f.Isolate(when, seconds, name),
            f.NoAnchor(when, seconds, name),
        ]
        faults.append(random.choice(lost))
        if random.random() < 0.6:
            faults.append(_one(random, nodes, round(at + random.uniform(0.0, 4.0), 2)))
        at += random.choice([3.0, 6.0])
    return faults


def _objects(random: Random, nodes: int) -> list[f.Fault]:
    """Table and Leases are deleted, edited and restored while watches lag and nodes come and go."""
    faults: list[f.Fault] = []
    at = BEGIN
    while at < END:
        name, group = _name(random, nodes), f"g{random.randrange(3)}"
        damages: list[f.Fault] = [
            f.TableDeleted(at),
            f.TableCleared(at),
            f.TableCleared(at),
            f.TableRestored(at, random.choice([0.5, 3.0, 8.0])),
            f.TableEdited(at, group, name),
            f.LeaseDeleted(at, name),
        ]
        faults.append(random.choice(damages))
        faults += [f.Lag(round(at - 0.5, 2), 4.0, f"n{n}", 3.0) for n in range(1, nodes + 1) if random.random() < 0.3]
        if random.random() < 0.7:
            faults.append(_one(random, nodes, round(at + random.uniform(-0.5, 1.0), 2)))
        at += random.choice([2.0, 5.0])
    return faults
