"""The schedules that have a name: each aims at one fault, or at one rule that a mutation breaks."""

from collections.abc import Callable
from dataclasses import dataclass

from nodeagent.segment.table import Table
from tests.simulation import faults as f
from tests.simulation.faults import Schedule
from tests.simulation.world import World

AT = 10.0  # when the first fault strikes; everything has long settled


@dataclass(frozen=True, slots=True)
class Named:
    """*still*: no group changes its holder. *writes*: so many of the table at the most, from the first fault on."""

    sentence: str
    make: Callable[[int], Schedule]
    still: bool = False
    writes: int | None = None
    moved: bool = False  # g0 has another holder in the end


def _of(*faults: f.Fault, nodes: int = 3, **options: object) -> Callable[[int], Schedule]:
    return lambda seed: Schedule(seed, nodes=nodes, faults=faults, **options)  # type: ignore[arg-type]


NAMED: dict[str, Named] = {
    # -- the fault table of the design
    "power_off": Named("the holder loses power", _of(f.Power(AT, 9.0, "holder"), nodes=4), moved=True),
    "port_dead": Named(
        "the holder's port of the switch is dead", _of(f.Isolate(AT, 9.0, "holder"), nodes=4), moved=True
    ),
    "agent_killed": Named("the holder's agent is killed", _of(f.Kill(AT, 1.0, "holder", "agent")), still=True),
    "agent_hangs": Named("the holder's agent hangs for 25 s", _of(f.Pause(AT, 25.0, "holder", "agent")), still=True),
    "agent_crashes": Named(
        "the holder's agent does not come back for 35 s",
        _of(f.Kill(AT, 35.0, "holder", "agent")),
        moved=True,
    ),
    "upgrade": Named("the holder's program rests, and is back after 5 s", _of(f.Rest(AT, 5.0, "holder")), still=True),
    "rollout": Named(
        "one program after the other rests, and is back",
        _of(f.Rest(AT, 3.0, "holder"), f.Rest(AT + 6, 3.0, "heir"), f.Rest(AT + 12, 3.0, "other1"), quiet=30.0),
        still=True,
    ),
    "rest_too_long": Named(
        "a program that rests does not come back in time", _of(f.Rest(AT, 40.0, "holder"), nodes=4), moved=True
    ),
    "rest_and_cut_off": Named(
        "a machine whose program rests is cut off: its kernel claims on, and nobody can ask it",
        _of(f.Rest(AT, 40.0, "holder"), f.Isolate(AT + 2, 38.0, "holder"), nodes=4),
        moved=True,
    ),
    "rest_unanswered": Named(
        "the write that announces a rest lands, and is answered only after the node asked for it again and again",
        _of(
            f.LateWrites(AT - 0.1, 0.5, "holder", 0.02),
            f.Lag(AT - 0.1, 9.0, "holder", 4.0),
            f.Rest(AT, 20.0, "holder"),
            f.ApiCut(AT + 0.05, 6.0, "holder"),
            nodes=4,
        ),
    ),
    "witness_lost": Named("one witness loses power", _of(f.Power(AT, 20.0, "other1"), nodes=4), still=True),
    "api_outage": Named("the API server is away for 20 s", _of(f.ApiDown(AT, 20.0)), still=True),
    "api_outage_leased": Named(
        "the API server is away for 20 s, and no hello passes", _of(f.Deaf(0.0, 60.0), f.ApiDown(AT, 20.0)), still=True
    ),
    "agent_starts_in_outage": Named(
        "agents are restarted while the API server is away",
        _of(f.ApiDown(AT, 12.0), f.Kill(AT + 2, 1.0, "holder", "agent"), f.Kill(AT + 4, 1.0, "heir", "agent")),
        still=True,
    ),
    "pulse_killed": Named("the holder's pulse is killed", _of(f.Kill(AT, 3.0, "holder", "pulse")), moved=True),
    "pulse_stopped": Named("the holder is stopped for 3 s", _of(f.Pause(AT, 3.0, "holder")), moved=True),
    "gives": Named("the holder's program gives and ends", _of(f.Leave(AT, 6.0, "holder")), moved=True),
    "not_eligible": Named("another node is named for the group", _of(f.Refit(AT, 30.0, "g0", ("heir",))), moved=True),
    "holder_and_witnesses": Named(
        "the holder and two of its three witnesses lose power",
        _of(f.Power(AT, 60.0, "holder"), f.Power(AT, 60.0, "other1"), f.Power(AT, 60.0, "other2"), nodes=4),
        moved=False,
    ),
    "no_writes": Named(
        "the holder loses power while the API takes no writes",
        _of(f.ApiDown(AT, 6.0), f.Power(AT + 1, 20.0, "holder")),
        moved=True,
    ),
    "thawed": Named("the holder's machine is frozen for 8 s, and goes on", _of(f.Freeze(AT, 8.0, "holder"))),
    # -- defects of simpler designs
    "not_heard": Named(
        "1: the holder's hellos do not arrive, but it hears all others",
        _of(f.Cut(AT, 9.0, "holder", "heir", True), f.Cut(AT, 9.0, "holder", "other1", True)),
        moved=True,
    ),
    "old_view": Named(
        "2: the heir's watches are 8 s behind, no hello passes, and the two do not hear each other",
        _of(f.Deaf(0.0, 40.0), f.Cut(AT, 25.0, "holder", "heir"), f.Lag(AT, 16.0, "heir", 12.0)),
        still=True,
    ),
    "stopped_in_feed": Named(
        "3: the pulse is stopped between looking at the clock and the kernel",
        _of(f.Pause(AT, 4.0, "holder", "pulse", 3), f.Pause(AT + 0.02, 4.0, "holder", "agent")),
        moved=True,
    ),
    "stopped_in_create": Named(
        "3: the pulse is stopped before it looks at the clock, or between that and the kernel",
        _of(f.Pause(AT, 4.0, "holder", "pulse", 2), f.Pause(AT + 0.02, 4.0, "holder", "agent")),
        moved=True,
    ),
    "lease_deleted": Named(
        "7: the holder's Lease is deleted, hellos pass", _of(f.LeaseDeleted(AT, "holder")), still=True
    ),
    "lease_deleted_leased": Named(
        "7: the holder's Lease is deleted while it feeds the permit",
        _of(f.Deaf(0.0, 40.0), f.LeaseDeleted(AT, "holder")),
    ),
    "lease_of_the_dead_deleted": Named(
        "7: a dead holder's Lease is deleted too",
        _of(f.Deaf(0.0, 60.0), f.Power(AT, 40.0, "holder"), f.LeaseDeleted(AT + 0.5, "holder")),
        moved=True,
    ),
    "table_deleted": Named("7: the Segment is deleted", _of(f.TableDeleted(AT))),
    "table_cleared": Named("7: the Segment loses its status", _of(f.TableCleared(AT))),
    "table_cleared_unseen": Named(
        "7: the Segment loses its status, and holder and witness neither see that nor hear the others",
        _of(
            f.Lag(AT - 1, 9.0, "holder", 6.0),
            f.Lag(AT - 1, 9.0, "other1", 6.0),
            f.Cut(AT - 0.1, 9.0, "holder", "heir"),
            f.Cut(AT - 0.1, 9.0, "other1", "heir"),
            f.TableCleared(AT),
        ),
    ),
    "adopted_and_cleared": Named(
        "7: an agent has found its seat, and before it could write the Segment loses its status: a tenure goes with it",
        _of(
            f.Kill(AT, 1.0, "holder", "agent"),
            f.LateWrites(AT + 0.5, 1.5, "holder", 2.0),
            f.ApiCut(AT + 0.5, 4.0, "heir"),
            f.TableCleared(AT + 1.5),
            nodes=2,
        ),
    ),
    "adopted_and_cleared_leased": Named(
        "7: the same with an heir, where no hello passes, and the holder neither sees it nor hears the heir",
        _of(
            f.Deaf(0.0, 40.0),
            f.Cut(AT, 25.0, "holder", "heir"),
            f.Lag(AT, 9.0, "holder", 8.0),
            f.Kill(AT, 1.0, "heir", "agent"),
            f.LateWrites(AT + 0.5, 1.5, "heir", 2.0),
            f.TableCleared(AT + 1.5),
        ),
    ),
    "chosen_and_cleared": Named(
        "7: the same with an heir that boots, and has chosen a tenure by the table that is lost",
        _of(
            f.Deaf(0.0, 40.0),
            f.Cut(AT, 25.0, "holder", "heir"),
            f.Lag(AT, 9.0, "holder", 8.0),
            f.Power(AT, 1.0, "heir"),
            f.LateWrites(AT + 0.5, 2.1, "heir", 2.0),
            f.TableCleared(AT + 2.0),
        ),
    ),
    "sat_down_unseen": Named(
        "7: the same with an heir that did not see who sat down, and got the group, before the Segment lost its status",
        _of(
            f.Power(AT, 3.0, "other1"),
            f.LeaseDeleted(AT + 0.5, "other1"),
            f.Cut(AT, 25.0, "other1", "holder"),
            f.Cut(AT, 25.0, "other1", "heir"),
            f.Lag(AT + 2.5, 30.0, "heir", 36.0),
            f.ApiCut(AT + 2.6, 4.45, "heir"),
            f.Refit(AT + 5, 25.0, "g0", ("other1",)),
            f.Lag(AT + 6.5, 30.0, "other1", 36.0),
            f.ApiCut(AT + 6.9, 20.0, "holder"),
            f.TableCleared(AT + 7),
        ),
    ),
    "edited_and_cleared": Named(
        "7: somebody gives a dead holder its group back by hand, and the Segment loses its status just then",
        _of(f.Power(AT, 30.0, "holder"), f.TableEdited(AT + 1.0, "g0", "holder"), f.TableCleared(AT + 1.02), nodes=2),
    ),
    "made_without_memory": Named(
        "7: holder and witness do not see that the Segment lost its status, and who makes it anew has just booted",
        _of(
            f.Power(AT, 3.0, "heir"),
            f.Lag(AT + 1, 25.0, "holder", 24.0),
            f.Lag(AT + 1, 25.0, "other1", 24.0),
            f.TableCleared(AT + 2),
            f.Cut(AT + 1, 25.0, "other1", "heir"),
        ),
    ),
    "all_deleted": Named(
        "7: the Leases are deleted, and the Segment, and the holder neither sees it nor hears the heir",
        _of(
            f.Deaf(0.0, 40.0),
            f.Cut(AT, 20.0, "holder", "heir"),
            f.ApiCut(AT, 12.0, "holder"),
            f.LeaseDeleted(AT + 0.1, "holder"),
            f.LeaseDeleted(AT + 0.1, "heir"),
            f.TableCleared(AT + 0.15),
            nodes=2,
            hold=False,
        ),
    ),
    "table_restored": Named(
        "7: the Segment is restored from a copy 5 s old", _of(f.Leave(AT, 2.0, "holder"), f.TableRestored(AT + 4, 5.0))
    ),
    "table_edited": Named(
        "7: somebody gives the group to another by hand, and the holder does not see it yet",
        _of(f.Lag(AT - 1, 8.0, "holder", 4.0), f.TableEdited(AT, "g0", "heir")),
    ),
    "two_ask": Named(
        "an heir waits when somebody gives the group to another by hand, which the heir does not see: both ask at once",
        _of(
            f.Power(AT, 12.0, "holder"),
            f.Lag(AT + 0.45, 8.0, "heir", 4.0),
            f.TableEdited(AT + 0.5, "g0", "other1"),
            nodes=4,
        ),
        moved=True,
    ),
    "gift_lands_late": Named(
        "8: a gift ends unknown, and lands 1 to 2 s later",
        _of(
            f.LateWrites(AT - 0.1, 1.0, "holder", 2.2),
            f.Refit(AT, 12.0, "g0", ("heir",)),
            f.Lag(AT + 0.001, 9.0, "holder", 5.0),
            f.Cut(AT + 1.3, 9.0, "holder", "heir"),
        ),
    ),
    "gift_answered_late": Named(
        "8: the answer to a gift takes its time, and the heir knows at once",
        _of(
            f.ApiSlow(AT - 0.1, 4.0, 0.7, 1.0),
            f.Cut(AT - 0.1, 9.0, "holder", "heir"),
            f.Refit(AT, 12.0, "g0", ("heir",)),
            f.Lag(AT + 0.001, 9.0, "holder", 3.0),
        ),
    ),
    "stranger": Named("9: a stranger answers for the group", _of(f.Stranger(AT, 10.0, "g0")), still=True),
    "two_accuse": Named("10a: the link between two nodes dies", _of(f.Cut(AT, 9.0, "holder", "heir"), nodes=2)),
    "minority": Named(
        "10b: one witness of three is apart from all others, and only it reaches the API server",
        _of(
            *(f.ApiCut(AT - 0.5, 12.0, role) for role in ("holder", "other1", "other2")),
            *(f.Cut(AT, 9.0, role, "heir") for role in ("holder", "other1", "other2")),
            nodes=4,
        ),
        still=True,
    ),
    "deaf_witness": Named(
        "10c: one node hears nobody, and accuses all",
        _of(*(f.Cut(AT, 2.0, role, "other1", True) for role in ("holder", "heir", "other2", "other3")), nodes=5),
        still=True,
    ),
    "stalled_witness": Named(
        "10c: the only witness is stopped for 0.4 s, and the holder does not reach the API server",
        _of(f.ApiCut(AT - 0.5, 5.0, "holder"), f.Pause(AT, 0.4, "heir"), nodes=2),
        still=True,
    ),
    "cut_off": Named(
        "11: the holder hears neither witness nor anchor, but reaches the API server",
        _of(f.Isolate(AT, 25.0, "holder")),
        moved=True,
    ),
    "cut_off_entirely": Named(
        "11: the holder hears nobody at all",
        _of(f.Isolate(AT, 25.0, "holder"), f.ApiCut(AT, 25.0, "holder"), hold=False),
        moved=True,
    ),
    "anchors_lost": Named(
        "no anchor answers any node",
        _of(*(f.NoAnchor(AT, 8.0, role) for role in ("holder", "heir", "other1"))),
        still=True,
        writes=12,
    ),
    "rebooted": Named("18: a machine boots within a second", _of(f.Power(AT, 1.0, "holder"))),
    "name_used_again": Named(
        "18: another machine comes up under the holder's name", _of(f.Power(AT, 2.0, "holder", "another"))
    ),
    "name_used_again_alone": Named(
        "18: the only machine is replaced by another of its name", _of(f.Power(AT, 2.0, "n1", "another"), nodes=1)
    ),
    "name_used_again_leased": Named(
        "18: another machine comes up under the holder's name, no hello passes, and the API server is slow to the heir",
        _of(f.Deaf(0.0, 60.0), f.Power(AT, 1.0, "holder", "another"), f.ApiSlow(AT + 4, 8.0, 0.2, 0.7)),
        moved=True,
    ),
    "blackout": Named("18: all machines lose power", _of(f.Blackout(AT, 5.0))),
    "blackout_leased": Named(
        "18: all machines lose power, and no hello passes", _of(f.Deaf(0.0, 60.0), f.Blackout(AT, 5.0))
    ),
    "gives_alone": Named("18: the only program gives, ends and comes back", _of(f.Leave(AT, 3.0, "n1"), nodes=1)),
    # -- around the rules
    "leased_agent_killed": Named(
        "no hello passes, and the holder's agent is away for 2 s",
        _of(f.Deaf(0.0, 30.0), f.Kill(AT, 2.0, "holder", "agent")),
        still=True,
    ),
    "leased_killed": Named(
        "no hello passes, and the holder's container is away for 12 s: its kernel claims on for a while",
        _of(f.Deaf(0.0, 30.0), f.Kill(AT, 12.0, "holder")),
        moved=True,
    ),
    "link_down": Named("the holder's link is down", _of(f.Unfit(AT, 6.0, "holder")), moved=True),
    "link_down_alone": Named("the link of the only node is down", _of(f.Unfit(AT, 6.0, "n1"), nodes=1), still=True),
    "unwanted": Named(
        "a group loses its VIPs for 70 s, and has some again", _of(f.Unwanted(AT, 70.0, "g0"), quiet=5.0), writes=4
    ),
    "leased_power_off": Named(
        "no hello passes, and the holder loses power", _of(f.Deaf(0.0, 60.0), f.Power(AT, 30.0, "holder")), moved=True
    ),
    "leased_stopped": Named(
        "no hello passes, and the holder is stopped for 15 s",
        _of(f.Deaf(0.0, 60.0), f.Pause(AT, 15.0, "holder"), quiet=10.0),
        moved=True,
    ),
    "leased_slow": Named(
        "no hello passes, and renewals are answered late", _of(f.Deaf(0.0, 60.0), f.ApiSlow(AT, 15.0, 0.7), quiet=30.0)
    ),
    "hold": Named(
        "no hello passes, and the holder does not reach the API server",
        _of(f.Deaf(0.0, 60.0), f.ApiCut(AT, 25.0, "holder"), quiet=25.0),
    ),
    "stop_when_cut_off": Named(
        "the same where the segment says Stop",
        _of(f.Deaf(0.0, 60.0), f.ApiCut(AT, 25.0, "holder"), hold=False, quiet=25.0),
        moved=True,
    ),
    "hold_apart": Named(
        "UDP and the API server are lost at once",
        _of(f.Deaf(AT, 6.0), f.ApiCut(AT, 6.0, "holder"), f.ApiSlow(AT, 3.0, 0.5), nodes=2),
    ),
    "hold_again": Named(
        "UDP and the API server are lost at once, and for a moment no anchor answers the holder",
        _of(
            f.Deaf(AT, 6.0),
            f.ApiCut(AT, 6.0, "holder"),
            f.NoAnchor(AT, 1.4, "holder"),
            f.ApiSlow(AT + 0.37, 2.0, 0.8, 1.0),
            nodes=2,
        ),
    ),
    "mode_changes": Named(
        "hellos pass again, and the pulse is stopped as the mode changes",
        _of(f.Deaf(0.0, AT), f.Pause(AT + 0.25, 5.0, "holder", "pulse")),
    ),
    "mode_change_lands_late": Named(
        "hellos pass again, and the write that says so ends unknown",
        _of(f.Deaf(0.0, AT), f.LateWrites(AT, 4.0, "holder", 1.0), f.Isolate(AT + 1.2, 5.0, "holder")),
    ),
    "amnesia": Named(
        "a witness that said gone forgets it, and cannot read the table",
        _of(
            f.ApiCut(AT - 0.5, 6.0, "holder"),
            f.Cut(AT, 0.75, "holder", "other1"),
            f.Cut(AT, 9.0, "holder", "heir"),
            f.Kill(AT + 0.65, 0.05, "other1"),
            f.ApiCut(AT + 0.65, 4.0, "other1"),
            hold=False,
        ),
    ),
    "late_echoes": Named(
        "hellos and echoes take up to 0.8 s", _of(f.Loss(AT, 5.0, 0.02, 0.8), f.Isolate(AT + 3, 5.0, "holder"))
    ),
    "comes_back_late": Named(
        "the holder's pulse comes back when its seat is gone", _of(f.Kill(AT, 5.0, "holder"), nodes=4), moved=True
    ),
    "adopts_with_an_open_gift": Named(
        "the agent dies with a gift under way, which lands when the next one has adopted the seat",
        _of(
            f.LateWrites(AT - 0.1, 1.0, "holder", 0.8),
            f.Cut(AT - 0.1, 9.0, "holder", "heir"),
            f.Refit(AT, 0.05, "g0", ("heir",)),
            f.Kill(AT + 0.04, 0.1, "holder", "agent"),
            f.Lag(AT + 0.5, 8.0, "holder", 4.0),
        ),
    ),
    "views_differ": Named(
        "two nodes differ about who may hold the group, and each names the other",
        _of(
            f.Refit(AT, 20.0, "g0", ("holder",)),
            f.Lag(AT + 0.3, 8.0, "heir", 6.0),
            f.Refit(AT + 0.5, 15.0, "g0", ("heir",)),
        ),
        writes=12,
    ),
}


def play_named(name: str, seed: int) -> World:
    """The run of a named schedule, with what is promised of this one in particular."""
    named = NAMED[name]
    schedule = named.make(seed)
    first = min(fault.at for fault in schedule.faults if fault.at > 0)
    world = World(schedule).run(first - 0.001)
    before, written, moves = world.store.table, len(world.checks.writes), len(world.checks.moves)
    world.run(schedule.last + schedule.quiet - first)
    world.checks.at_the_end()
    if not world.checks.violations:
        _judge(world, named, before, moves)
    if named.writes is not None and len(world.checks.writes) - written > named.writes:
        world.checks.fail(f"I8: {len(world.checks.writes) - written} writes of the table, {named.writes} at the most")
    return world


def _judge(world: World, named: Named, before: Table | None, moves: int) -> None:
    was, now = _owners(before), _owners(world.store.table)
    if named.still and (was != now or world.checks.moves[moves:]):
        world.checks.fail(f"I9: nothing should move, and {was} became {now}, {world.checks.moves[moves:]}")
    if named.moved and was.get("g0") == now.get("g0"):
        world.checks.fail(f"I9: g0 should have moved, and is still with {now.get('g0')}")


def _owners(table: Table | None) -> dict[str, str]:
    return {} if table is None else {group.name: table.owner(group.tenure) for group in table.groups}
