"""The faults as data: what is done to whom and when, how it is mended, and what Roost promises meanwhile."""

from collections.abc import Sequence

from lab.fault_runs import machines as m
from lab.fault_runs import surroundings as s
from lab.fault_runs.mode import Mode
from lab.fault_runs.promises import Fault, Promise, Stage, moves, settles, stays

LONG = 11.0  # seconds to look on where somebody could take a Lease for dead: after 7 s somebody would have

STAYS = (stays(), stays(watch=LONG))
SOON = (moves(1.2, gap=0.35), moves(9, gap=0.1))  # the kernel of the holder serves on, until another announces
DEAD = (moves(1, gap=1), moves(8, gap=8))  # nothing serves until another does


def both(promise: Promise) -> tuple[Promise, Promise]:
    return promise, promise


MACHINES = (
    Fault("power-off", "the holder loses power", ((0, m.power_off),), *DEAD, mend=m.power_on),
    Fault(
        "two-dead",
        "the holder and one of its witnesses lose power at once (5 nodes)",
        ((0, m.power_off_with_one),),
        *DEAD,
        mend=m.power_on_with_witnesses,
        stage=Stage.FIVE,
    ),
    Fault(
        "three-dead",
        "the holder and two of its three witnesses lose power at once (5 nodes)",
        ((0, m.power_off_with_two),),
        moves(11, gap=11),
        DEAD[1],
        mend=m.power_on_with_witnesses,
        stage=Stage.FIVE,
        further=True,
    ),
    Fault(
        "all-dead",
        "all nodes lose power, and have it again 3 s later",
        ((0, m.all_power_off), (3, m.all_power_on)),
        *both(settles(gap=None)),
        further=True,
    ),
    Fault(
        "name-reused",
        "the holder loses power; another machine comes up under its name at once",
        ((0, m.power_off), (0.1, m.power_on_as_another)),
        *DEAD,
        further=True,
    ),
)
PROGRAMS = (
    Fault("agent-killed", "the holder's agent is killed (SIGKILL); its pulse goes on", ((0, m.agent_sigkill),), *STAYS),
    Fault(
        "pulse-killed",
        "the holder's pulse is killed (SIGKILL), and the container started again 2 s later",
        ((0, m.pulse_sigkill), (2, m.container_start)),
        SOON[0],
        settles(watch=LONG),  # 4.7 s after the kill its Lease may be over; the next life races that
    ),
    Fault(
        "pulse-killed-for-good",
        "the holder's pulse is killed (SIGKILL) and not started again",
        ((0, m.pulse_sigkill),),
        *SOON,
        mend=m.container_start,
    ),
    Fault(
        "agent-frozen",
        "the holder's agent is frozen (SIGSTOP) for 12 s and goes on (SIGCONT); its pulse goes on",
        ((0, m.agent_sigstop), (12, m.agent_sigcont)),
        stays(watch=14),
        moves(9, watch=15),
    ),
    Fault(
        "pulse-frozen",
        "the holder's pulse is frozen (SIGSTOP) for 3 s and goes on (SIGCONT); its agent goes on",
        ((0, m.pulse_sigstop), (3, m.pulse_sigcont)),
        moves(1.2, gap=0.35, watch=5),
        STAYS[1],
    ),
    Fault(
        "container-frozen",
        "all processes of the holder's container are frozen (SIGSTOP) for 5 s and go on (SIGCONT)",
        ((0, m.container_freeze), (5, m.container_thaw)),
        moves(1.2, gap=0.35, watch=7),
        settles(watch=LONG),
    ),
    Fault(
        "restarted",
        "the holder's container is asked to stop (SIGTERM), and started again after 5 s",
        ((0, m.container_sigterm), (5, m.container_start)),
        stays(watch=10),
        stays(watch=14),
    ),
    Fault(
        "stopped",
        "the holder's container is asked to stop (SIGTERM) and not started again",
        ((0, m.container_sigterm),),
        *both(moves(25)),
        mend=m.container_start,
        further=True,
    ),
    Fault("drained", "the holder is to be drained", ((0, m.drain),), *both(moves(1)), mend=m.undrain),
    Fault(
        "excluded",
        "the holder is excluded, and its container asked to stop (SIGTERM)",
        ((0, m.exclude_and_stop),),
        *both(moves(1, watch=9)),
        mend=m.include_and_start,
        check=m.nothing_of_ours,
    ),
    Fault(
        "rollout",
        "a rollout: the container of each node in turn is asked to stop and started again (5 nodes, 102 VIPs)",
        ((0, m.rollout),),
        *both(stays()),
        stage=Stage.FIVE,
    ),
    Fault("second-agent", "a second agent is started on the holder", ((0, m.second_agent),), *STAYS, further=True),
    Fault(
        "controller-killed",
        "the controller is killed (SIGKILL) and started again 2 s later",
        ((0, m.controller_sigkill), (2, m.controller_start)),
        *both(stays(watch=6)),
        further=True,
    ),
    Fault(
        "everything-killed",
        "all agents and the controller are killed (SIGKILL) at once and restarted 2 s later",
        ((0, m.everything_sigkill), (2, m.everything_start)),
        settles(watch=8),
        STAYS[1],
        further=True,
    ),
    Fault(
        "gate-deleted",
        "the holder's table in nftables is deleted",
        ((0, m.gate_deleted),),
        *both(stays(watch=5)),
        further=True,
    ),
)
LINKS = (
    Fault(
        "link-down",
        "the holder's data link loses carrier",
        ((0, s.link_down),),
        moves(0.5, gap=0.5),
        moves(3, gap=3),
        mend=s.link_up,
    ),
    Fault(
        "link-down-node",
        "the holder's data link is set down at the node",
        ((0, s.link_down_at_the_node),),
        moves(0.5, gap=0.5),
        moves(3, gap=3),
        mend=s.link_up_at_the_node,
        further=True,
    ),
    Fault(
        "cut-off",
        "the holder's data link is cut behind the switch's port: the carrier stays",
        ((0, s.cut_off),),
        *DEAD,
        mend=s.heal_split,
    ),
    Fault("sent-lost", "what the holder sends is lost", ((0, s.sent_is_lost),), *DEAD, mend=s.nothing_is_lost),
    Fault(
        "received-lost",
        "what the holder should receive is lost",
        ((0, s.received_is_lost),),
        *DEAD,
        mend=s.nothing_is_lost,
    ),
    Fault(
        "split",
        "the segment is split: the holder and another node here, client, gateway and the others there",
        ((0, s.split_with_another),),
        *both(moves(8, gap=8)),
        mend=s.heal_split,
    ),
    Fault(
        "split-client",
        "the segment is split: the holder, client and gateway here, all other nodes there",
        ((0, s.split_with_the_client),),
        settles(gap=None, watch=6),
        settles(gap=None, watch=LONG),
        mend=s.heal_split,
    ),
    Fault(
        "gateway-gone",
        "the gateway, which is the anchor, is gone for 10 s",
        ((0, s.gateway_down), (10, s.gateway_up)),
        *both(stays(watch=12)),
        further=True,
    ),
    Fault(
        "foreign-owner",
        "a machine that is none of ours has an address that a Service is given",
        ((0, s.stranger_owns),),
        *both(stays(watch=7)),
        mend=s.stranger_goes,
        check=s.stranger_respected,
        further=True,
    ),
    Fault(
        "forged-claims",
        "a stranger claims the VIPs 50 times a second for 5 s",
        ((0, s.flood), (5, s.flood_ends)),
        *both(stays(gap=None, watch=7)),
        check=s.defended,
        further=True,
        note="The client believes the forger while it forges; the holder goes on announcing, and is believed again.",
    ),
)
API = (
    Fault(
        "api-cut",
        "the holder cannot reach the API server for 15 s",
        ((0, s.api_cut), (15, s.api_heal)),
        stays(watch=17),
        moves(None, watch=18),
        note="Leased, its Lease is over after 7 s. It holds on (whenCutOff: Hold), and the heir, whom it answers, "
        "waits until it learns of that.",
    ),
    Fault(
        "api-outage",
        "the API server hangs for 60 s",
        ((0, s.api_hangs), (60, s.api_back)),
        *both(stays(gap=1.5, watch=68)),
        further=True,
        note="After 10 s (Kubernetes: 50 s) the lab's controller-manager takes nodes for dead. Where it does so before "
        "they report again, there are no ready endpoints, and kube-proxy refuses until its next sync 1 s later.",
    ),
    Fault(
        "api-slow",
        "each request to the API server takes 300 ms more, for 15 s",
        ((0, s.api_slow), (15, s.api_prompt)),
        *both(stays(watch=17)),
        further=True,
    ),
    Fault(
        "api-restart",
        "the API server is killed and started again",
        ((0, s.api_dies), (0.1, s.api_back)),
        stays(watch=6),
        STAYS[1],
        further=True,
    ),
    Fault(
        "lease-deleted",
        "the holder's Lease is deleted",
        ((0, s.lease_deleted),),
        STAYS[0],
        settles(watch=LONG),
        further=True,
    ),
    Fault(
        "lease-edited",
        "the holder's Lease is edited by hand",
        ((0, s.lease_edited),),
        STAYS[0],
        settles(watch=LONG),
        further=True,
    ),
    Fault(
        "table-deleted",
        "the table is deleted",
        ((0, s.table_deleted),),
        settles(gap=None, watch=8),
        settles(gap=None, watch=LONG),
        further=True,
    ),
    Fault(
        "table-edited",
        "the table is edited by hand: the VIPs are given to another node",
        ((0, s.table_edited),),
        *both(moves(3, gap=1, watch=5)),  # whoever gets them asks first, and again a second later
        further=True,
    ),
)
FAULTS = (*MACHINES, *PROGRAMS, *LINKS, *API)


def shares(faults: Sequence[Fault], mode: Mode, count: int) -> list[tuple[Fault, ...]]:
    """*faults* in so many shares that take about as long; those of the large stage stay together."""
    bins: list[list[Fault]] = [[] for _ in range(count)]
    bins[0] = [fault for fault in faults if fault.stage is Stage.FIVE]
    for fault in sorted(set(faults) - set(bins[0]), key=lambda one: (-one.seconds(mode), one.name)):
        min(bins, key=lambda share: sum(one.seconds(mode) for one in share)).append(fault)
    return [tuple(fault for fault in faults if fault in share) for share in bins]
