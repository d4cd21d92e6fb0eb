"""How a run of a fault is judged, what counts as left behind, and the page that is written; no lab is opened."""

from dataclasses import replace

import pytest

from lab.fault_runs.faults import After, Fault
from lab.fault_runs.leftovers import Traces, Upkeep, differences, grown, normalised
from lab.fault_runs.one import Run, all_complaints, complaints
from lab.fault_runs.report import row, three

FAULT = Fault("power-off", "the holder loses power", (), After.OTHER, gap=8, within=8)
STAYS = replace(FAULT, after=After.SAME, within=None)
GOOD = Run("power-off", "n1", "n2", {4: 5.0, 6: 6.0}, {4: 5.0, 6: 5.0}, 5.5, 0.0, 0.01, (), 1.0)


@pytest.mark.parametrize(
    ("fault", "run", "said"),
    [
        pytest.param(FAULT, GOOD, [], id="all as promised"),
        pytest.param(FAULT, replace(GOOD, two=0.5), ["two claimants for 0.500 s"], id="two claimants"),
        pytest.param(
            FAULT, replace(GOOD, heir="n1"), ["n1 holds after n1; expected was another node"], id="nobody else took it"
        ),
        pytest.param(
            STAYS, GOOD, ["n2 holds after n1; expected was the same node"], id="it moved though it should have stayed"
        ),
        pytest.param(
            FAULT,
            replace(GOOD, gaps={4: 1.0, 6: 9.0}),
            ["gap 9.000 s; promised are 8 s (a client was late by 0.010 s)"],
            id="one family's gap is too long",
        ),
        pytest.param(
            FAULT,
            replace(GOOD, moved_after=None),
            ["another holder after None s; promised are 8 s"],
            id="no other ever claimed",
        ),
        pytest.param(FAULT, replace(GOOD, lost=("the address",)), ["lost: the address"], id="something was lost"),
    ],
)
def test_a_run_is_judged_by_the_promises(fault: Fault, run: Run, said: list[str]) -> None:
    assert complaints(fault, run) == said


def test_slack_is_for_times_alone() -> None:
    slow = replace(GOOD, gaps={4: 15.0, 6: 1.0}, moved_after=15.0)
    assert complaints(FAULT, slow, slack=2) == []
    assert complaints(FAULT, replace(slow, two=0.001), slack=2)


def test_of_a_run_that_was_done_again_all_counts_but_the_times() -> None:
    late = replace(GOOD, gaps={4: 60.0, 6: 60.0}, late=1.0)
    assert all_complaints(FAULT, [late, GOOD]) == []
    assert all_complaints(FAULT, [replace(late, two=0.5), GOOD]) == ["two claimants for 0.500 s"]


RULES = """table netdev roost {
\tset vips4 {
\t\ttype ipv4_addr
\t\telements = { 10.60.0.201, 10.60.0.200 }
\t}

\tset permit {
\t\ttype ifname
\t\ttimeout 6s
\t\telements = { "data" timeout 6s expires 4s123ms }
\t}

\tchain out {
\t\tip saddr 192.0.2.1 counter packets 5 bytes 420 drop
\t}
}
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        pytest.param("10.60.0.201, 10.60.0.200", "10.60.0.200,\n\t\t\t     10.60.0.201", True, id="order of elements"),
        pytest.param("expires 4s123ms", "expires 1s", True, id="what is left of a permit"),
        pytest.param("packets 5 bytes 420", "packets 6 bytes 504", True, id="counters"),
        pytest.param("10.60.0.201, ", "", False, id="an element"),
        pytest.param("192.0.2.1", "192.0.2.2", False, id="a rule"),
        pytest.param("vips4", "vips6", False, id="a set's name"),
        pytest.param("table netdev roost", "table netdev other", False, id="a table's name"),
    ],
)
def test_rulesets_are_compared_by_what_they_do(old: str, new: str, same: bool) -> None:
    assert old in RULES
    assert (normalised(RULES.replace(old, new)) == normalised(RULES)) is same


def test_what_kube_proxy_sweeps_later_is_no_trace() -> None:
    assert normalised(RULES + "table ip kube-proxy {\n\tchain late {\n\t\tdrop\n\t}\n}\n") == normalised(RULES)


def test_differences_name_node_and_line() -> None:
    before = Traces({"n1": ["a"]}, {"n1": []})
    now = Traces({"n1": ["a", "b"]}, {"n1": []}, vips=["10.60.0.200"])
    assert differences(before, now) == ["n1 addresses + b", "vips + 10.60.0.200"]


@pytest.mark.parametrize(
    ("now", "complains"),
    [
        pytest.param(Upkeep(18, ["pipe", "socket"]), False, id="as before"),
        pytest.param(Upkeep(19, ["pipe", "socket"]), True, id="one task more"),
        pytest.param(Upkeep(18, ["pipe", "socket", "socket"]), True, id="one socket more"),
        pytest.param(Upkeep(18, ["pipe"]), True, id="one socket fewer"),
        pytest.param(
            Upkeep(18, ["connection to the API server", "pipe", "socket"]),
            False,
            id="a connection kept for its next use",
        ),
    ],
)
def test_tasks_and_files_are_as_many_as_before(now: Upkeep, complains: bool) -> None:
    assert bool(grown({"agent": Upkeep(18, ["pipe", "socket"])}, {"agent": now})) is complains


def test_a_row_says_how_many_runs_kept_the_promise() -> None:
    assert "| 1 of 2 |" in row(FAULT, [[GOOD], [GOOD, replace(GOOD, two=0.5)]])
    assert three([3.0, 1.0, 2.5]) == "1.00 / 2.50 / 3.00"
