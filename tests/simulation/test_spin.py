"""Small models of which Debian's spin visits every state: never two claimants, until a rule is taken out."""

import re
import subprocess
from pathlib import Path

import pytest

SPIN = Path(__file__).parent / "spin"
ENOUGH_MB = 1000
REPORT = re.compile(
    r"depth reached (?P<depth>\d+), errors: (?P<errors>\d+)\s+(?P<states>\d+) states, stored.*?"
    r"(?P<megabytes>[\d.]+)\ttotal actual memory usage",
    re.DOTALL,
)
CUT_SHORT = ("max search depth too small", "reached -DMEMLIM bound", "out of memory", "hash table is full")
UNREACHED = re.compile(r'\.pml:\d+, state \d+, "(?P<statement>.*)"')

ONE_LIST = ("claims.pml", "T=3")
LISTS = ("claims.pml", "LISTS", "T=1")
OTHER_LISTS = ("claims.pml", "LISTS", "T=2", "START=ONE")
LEASE = ("claims.pml", "LEASED", "T=2", "START=TWO")
GIFTS = ("gifts.pml", "WRITES=4")

# As small as shows a hole: the first one found is one of the shortest.
SMALL_ONE_LIST = ("claims.pml", "T=2")
SMALL_LISTS = ("claims.pml", "LISTS", "T=1", "START=ONE")
SMALL_LEASE = ("claims.pml", "LEASED", "T=1", "START=TWO")
SMALL_GIFTS = ("gifts.pml", "WRITES=3")

WHOLE = [
    pytest.param(ONE_LIST, id="witnesses feed a permit and end it, and anybody may be started anew"),
    pytest.param(LISTS, id="the list of witnesses changes between all there are"),
    pytest.param(OTHER_LISTS, id="the list of witnesses changes to one without a common member"),
    pytest.param(LEASE, id="the mode changes between witnessed and leased, and marks are put on the Lease"),
    pytest.param(GIFTS, id="live seats give the group to each other"),
]

SMALL = [
    pytest.param(SMALL_ONE_LIST, id="one list"),
    pytest.param(SMALL_LISTS, id="lists"),
    pytest.param(SMALL_LEASE, id="lease"),
    pytest.param(SMALL_GIFTS, id="gifts"),
]

REACHED = [
    pytest.param(SMALL_ONE_LIST, "A_CLAIM_AFTER_GONE", id="the heir claims after its witnesses said gone"),
    pytest.param(
        SMALL_ONE_LIST, "A_CLAIM_BEFORE_A_LATE_REFRESH", id="a holder wakes up beside its heir and would refresh"
    ),
    pytest.param(SMALL_LISTS, "A_CLAIM_AFTER_GONE", id="the heir claims where lists change"),
    pytest.param(SMALL_LEASE, "A_CLAIM_AFTER_GONE", id="the heir of a witnessed seat that could be leased claims"),
    pytest.param(SMALL_LEASE, "A_CLAIM_AFTER_A_MARK", id="the heir of a leased seat claims once its Lease is marked"),
    pytest.param(SMALL_GIFTS, "A_GIFT", id="a gift arrives"),
    pytest.param(SMALL_GIFTS, "A_GIFT_BACK", id="a gift comes back"),
    pytest.param(SMALL_GIFTS, "A_GIFT_BY_A_FORMER_LIFE", id="a gift arrives whose giver was started anew"),
]

HOLES = [
    # feeding
    pytest.param(
        SMALL_ONE_LIST, "FED_FROM_RECEIPT", id="an echo feeds from when it came, not from when its hello left"
    ),
    pytest.param(SMALL_ONE_LIST, "REFRESHED_AFTER_ITS_END", id="a permit is refreshed blindly after it lapsed"),
    pytest.param(SMALL_ONE_LIST, "REFRESHED_LATE", id="a decision of long ago is good while the old permit stands"),
    pytest.param(SMALL_ONE_LIST, "MADE_ANEW_BLINDLY", id="a lapsed permit is made anew for a moment, however late"),
    # taking from the dead
    pytest.param(SMALL_ONE_LIST, "WITHOUT_WAITING", id="an heir claims as soon as gone is said"),
    pytest.param(SMALL_ONE_LIST, "WITHOUT_GONE", id="an heir waits but asks no witness"),
    pytest.param(SMALL_ONE_LIST, "ONE_GONE_IS_ENOUGH", id="one of two witnesses ends what either of them feeds"),
    pytest.param(SMALL_ONE_LIST, "M=0", id="no margin for clocks that differ"),
    pytest.param(SMALL_ONE_LIST, "ECHO_AFTER_GONE", id="a witness goes on to echo a tenure that it called gone"),
    # witnesses started anew
    pytest.param(SMALL_ONE_LIST, "ECHO_BEFORE_READING", id="a witness echoes before it has read the table"),
    pytest.param(SMALL_ONE_LIST, "READ_FROM_A_CACHE", id="a witness reads a table that may be old"),
    pytest.param(SMALL_ONE_LIST, "NO_RECORD_IS_OLD", id="a witness without a record says that its last echo is old"),
    # changes of the list
    pytest.param(SMALL_LISTS, "NOT_CUT", id="lists: the permit is not cut before the write"),
    pytest.param(SMALL_LISTS, "ONLY_THE_OLD_RULE", id="lists: the old rule alone feeds until the answer"),
    pytest.param(SMALL_LISTS, "ONLY_THE_NEW_RULE", id="lists: the new rule alone feeds before the answer"),
    pytest.param(SMALL_LISTS, "UNKNOWN_IS_FAILED", id="lists: no answer is taken for a failed write"),
    pytest.param(SMALL_LISTS, "ADOPTED_BY_READING", id="lists: a new life adopts the seat without a write of its own"),
    # changes of the mode, and marks
    pytest.param(SMALL_LEASE, "NOT_CUT", id="modes: the permit is not cut before the write"),
    pytest.param(SMALL_LEASE, "ONLY_THE_OLD_RULE", id="modes: the old rule alone feeds until the answer"),
    pytest.param(SMALL_LEASE, "ONLY_THE_NEW_RULE", id="modes: the new rule alone feeds before the answer"),
    pytest.param(SMALL_LEASE, "UNKNOWN_IS_FAILED", id="modes: no answer is taken for a failed write"),
    pytest.param(SMALL_LEASE, "ADOPTED_BY_READING", id="modes: a new life adopts the seat without a write of its own"),
    pytest.param(SMALL_LEASE, "COUNTED_FROM_THE_TABLE", id="a seat goes leased without a renewal, on its table write"),
    pytest.param(SMALL_LEASE, "COUNTED_FROM_THE_ANSWER", id="a renewal feeds from its answer, not from its sending"),
    pytest.param(SMALL_LEASE, "MARK_WRITTEN_OVER", id="the owner of a Lease writes over a mark"),
    pytest.param(SMALL_LEASE, "MARKED_BLINDLY", id="a mark is put on another Lease than was waited on"),
    pytest.param(SMALL_LEASE, "TAKEN_WITHOUT_A_MARK", id="an old Lease is enough, without a mark"),
    pytest.param(SMALL_LEASE, "MARK_ENDS_ANY_MODE", id="a mark ends a tenure that witnesses feed"),
    pytest.param(SMALL_LEASE, "M=0", id="no margin for clocks that differ, on a Lease"),
    # gifts
    pytest.param(SMALL_GIFTS, "WRITTEN_BEFORE_SILENT", id="a giver writes before it is silent"),
    pytest.param(SMALL_GIFTS, "UNKNOWN_IS_FAILED", id="a giver takes no answer for a failed write"),
    pytest.param(SMALL_GIFTS, "A_READ_SETTLES", id="a giver takes a read of the old table for the outcome"),
    pytest.param(SMALL_GIFTS, "REPEATED_BY_THE_CLIENT", id="a write is sent again, and refused because of itself"),
    pytest.param(SMALL_GIFTS, "OLDER_REVISION_BELIEVED", id="an older table than the known one is believed"),
    pytest.param(SMALL_GIFTS, "ADOPTED_BY_READING", id="gifts: a new life adopts the seat without a write of its own"),
]


def visit(model: tuple[str, ...], where: Path, *more: str, optimise: str = "-O0") -> tuple[int, str]:
    """All states of *model* with the definitions *more*, by breadth: how many errors, and the verifier's report.

    Fails if not all of them were visited, unless an error ended it. Options: `Pan.html` of spin's manual.
    """
    name, *definitions = model
    flags = [f"-D{definition}" for definition in (*definitions, *more)]
    run(["spin", *flags, "-a", str(SPIN / name)], where)
    bounds = ["-DBFS", "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={ENOUGH_MB}"]
    run(["gcc", optimise, "-w", *bounds, "-o", "pan", "pan.c"], where)
    report = run(["./pan", "-E", "-w22"], where)  # -E: nobody has to go on
    found = REPORT.search(report)
    assert found is not None, report
    for words in CUT_SHORT:
        assert words not in report, report
    print(" ".join([name, *flags]), found.groupdict())  # noqa: T201 - for who runs it with -s
    return int(found["errors"]), report


def run(command: list[str], where: Path) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("model", WHOLE)
def test_never_two_claimants_in_any_state(model: tuple[str, ...], tmp_path: Path) -> None:
    errors, report = visit(model, tmp_path, optimise="-O2")
    assert errors == 0, report
    assert "Search not completed" not in report


@pytest.mark.parametrize("model", SMALL)
def test_every_step_of_a_model_is_taken(model: tuple[str, ...], tmp_path: Path) -> None:
    errors, report = visit(model, tmp_path, "d_step=atomic")  # spin counts no steps within a d_step
    assert errors == 0, report
    unreached = {found["statement"] for found in UNREACHED.finditer(report)} - {"-end-"}
    assert [statement for statement in unreached if not statement.startswith("assert(")] == []


@pytest.mark.parametrize(("model", "state"), REACHED)
def test_a_model_gets_as_far_as(model: tuple[str, ...], state: str, tmp_path: Path) -> None:
    errors, report = visit(model, tmp_path, f"REACH_{state}")
    assert (errors, "assertion violated" in report) == (1, True), report


@pytest.mark.parametrize(("model", "rule"), HOLES)
def test_two_claimants_are_found_when(model: tuple[str, ...], rule: str, tmp_path: Path) -> None:
    errors, report = visit(model, tmp_path, rule)
    assert (errors, "assertion violated" in report) == (1, True), report
