"""How a run of a fault is judged, what counts as left behind, and the page that is written; no lab is opened."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lab.claims import Claim, Kind, Recording
from lab.fault_runs.faults import FAULTS, shares
from lab.fault_runs.holders import Held, history, intruders, returns, seconds_with_two
from lab.fault_runs.leftovers import Traces, Upkeep, differences, grown, normalised
from lab.fault_runs.mode import Mode
from lab.fault_runs.one import NOBODY, Run, all_complaints, complaints
from lab.fault_runs.promises import Fault, Stage, moves, stays
from lab.fault_runs.report import Circumstances, broken, document, row, sentence, three

LEASED, WITNESSED = Mode.LEASED, Mode.WITNESSED
FAULT = Fault("power-off", "the holder loses power", ((0, lambda *_: None),), moves(1, gap=1), moves(8, gap=8))
STAYS = replace(FAULT, leased=stays(gap=8))
GOOD = Run("power-off", LEASED, "n1", "n2", {4: 5.0, 6: 6.0}, {4: 5.0, 6: 5.0}, 5.5, 0.0, 0.01, (), 1.0)


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
        pytest.param(FAULT, replace(GOOD, lost=("no address",)), ["no address"], id="something was lost"),
        pytest.param(
            FAULT,
            replace(GOOD, mode=WITNESSED),
            [
                "gap 6.000 s; promised are 1 s (a client was late by 0.010 s)",
                "another holder after 5.5 s; promised are 1 s",
            ],
            id="what one mode promises the other need not",
        ),
        pytest.param(
            FAULT,
            replace(GOOD, holder=NOBODY, heir=NOBODY, moved_after=None, lost=("it hung",)),
            ["it hung"],
            id="of a run that came to no end only that is said",
        ),
    ],
)
def test_a_run_is_judged_by_the_promises(fault: Fault, run: Run, said: list[str]) -> None:
    assert complaints(fault, run) == said


def test_times_can_be_left_out() -> None:
    slow = replace(GOOD, gaps={4: 15.0, 6: 1.0}, moved_after=15.0)
    assert complaints(FAULT, slow, timed=False) == []
    assert complaints(FAULT, replace(slow, two=0.001), timed=False)


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


def test_the_page_has_both_modes_and_every_gap() -> None:
    quick = replace(GOOD, mode=WITNESSED, gaps={4: 0.7, 6: 0.6}, moved_after=0.6, strange=7)
    runs = {(WITNESSED, "power-off"): [[quick], [quick, replace(quick, two=0.5)]], (LEASED, "power-off"): [[GOOD]]}
    page = document(runs, Circumstances("2026-01-01 00:00 UTC", "abc", (0.5, 1.0)))
    assert "## Witnessed: faults" in page
    assert "## Leased: faults" in page
    assert "**0.5 seconds with two claimants in 4 runs of all faults.**" in page
    assert "* witnessed, power-off, run 2: two claimants for 0.500 s" in page
    assert "| power-off | witnessed | (0.700, 0.600) (0.700, 0.600) |" in page
    assert "1 times" in page
    assert "21 claims" in page
    assert broken(runs) == ["witnessed, power-off, run 2: two claimants for 0.500 s"]
    assert sentence(FAULT, [GOOD]).endswith("two claimants 0 s: as promised")


@pytest.mark.parametrize("mode", Mode)
def test_every_fault_is_in_one_share_and_the_shares_take_as_long(mode: Mode) -> None:
    several = shares(FAULTS, mode, 3)
    assert sorted(fault.name for share in several for fault in share) == sorted(fault.name for fault in FAULTS)
    lengths = [sum(fault.seconds(mode) for fault in share) for share in several]
    assert max(lengths) < 1.3 * min(lengths)
    assert [stage for share in several for stage in {fault.stage for fault in share}].count(Stage.FIVE) == 1


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len({fault.title for fault in FAULTS}) == len(FAULTS)


SEEN = [(1.0, {"g": "n1"}), (2.0, {"g": "n1", "h": "n3"}), (3.0, {"g": ""}), (4.0, {"g": "n2"}), (4.05, {"g": "n1"})]


def test_a_holder_that_gets_a_vip_back_by_the_table_is_no_second_claimant() -> None:
    past = history(SEEN, "g")
    assert past == [Held(1.0, "n1"), Held(4.0, "n2"), Held(4.05, "n1")]
    assert returns(past) == [4.0]  # taken for earlier than seen, but not for earlier than the change before
    assert returns([*past[:2], Held(9.0, "n1")]) == [8.8]


@pytest.mark.parametrize(
    ("text", "cuts", "seconds"),
    [
        pytest.param("0A 1B 9A", [], 8, id="without a word of the table it never stopped"),
        pytest.param("0A 1B 9A", [8.8], 0, id="it got it back"),
        pytest.param("0A 1B 2A 3B 9A", [8.8], 1, id="but claimed before, too"),
        pytest.param("0A 1B 9A 10B 11A", [8.8], 1, id="the other did not stop then"),
    ],
)
def test_claims_are_judged_between_the_changes_of_the_table(text: str, cuts: list[float], seconds: float) -> None:
    vip = ip_address("10.60.0.200")
    claims = [Claim(float(word[:-1]), vip, word[-1], word[-1], Kind.ARP_REPLY) for word in text.split()]
    assert seconds_with_two(Recording.of(claims), cuts) == pytest.approx(seconds)


def test_who_claims_after_another_is_named() -> None:
    vip = ip_address("10.60.0.200")
    claims = [Claim(float(word[:-1]), vip, word[-1], word[-1], Kind.ARP_REPLY) for word in ["1A", "2B", "3A", "4B"]]
    assert intruders(Recording.of(claims), [], 1.0) == ["10.60.0.200: A by ARP reply after 2.000 s"]
    assert intruders(Recording.of(claims[:3]), [2.5], 1.0) == []
    named = replace(GOOD, two=1.0, intruders=("n1 again",))
    assert complaints(FAULT, named) == ["two claimants for 1.000 s (n1 again)"]
