"""The arithmetic of the benchmarks, and the page that they write."""

import signal

import pytest

from lab.bench import keepalived, run
from lab.bench.crowd import far_seat
from lab.bench.figures import At, Budget, Figure, Result, percentile
from lab.bench.rows import NAMES, PLACES, ROWS, Options, chosen
from lab.bench.table import Conditions, number, report
from lab.run import LabError

CONDITIONS = Conditions("2026-01-01 00:00 UTC", 2, "6.1", "3.11.2", 0.5, "runs of each fault: 3", 60)


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [
        pytest.param([3.0, 1.0, 2.0], 50, 2.0, id="the middle one of three, in any order"),
        pytest.param([1.0, 2.0], 50, 1.0, id="of two the lower: nothing is made up between them"),
        pytest.param([5.0], 99, 5.0, id="of one value each percentile is that value"),
        pytest.param([float(n) for n in range(1, 101)], 99, 99.0, id="one of a hundred exceeds p99"),
        pytest.param([float(n) for n in range(1, 11)], 90, 9.0, id="one of ten exceeds p90"),
    ],
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float, found: float) -> None:
    assert percentile(values, percent) == found


@pytest.mark.parametrize(
    ("values", "budget", "ratio", "met"),
    [
        pytest.param((6.0, 4.0), Budget(8.0), 0.75, True, id="the worst of a time is the longest"),
        pytest.param((9.0,), Budget(8.0), 1.125, False, id="longer than the budget"),
        pytest.param((45.0, 60.0), Budget(40.0, at_least=True), 1.125, True, id="the worst of a rate is the lowest"),
        pytest.param((20.0,), Budget(40.0, at_least=True), 0.5, False, id="slower than the budget"),
        pytest.param((0.0, 0.0), Budget(0.0), None, True, id="nothing is within a budget of nothing"),
        pytest.param((0.0, 0.1), Budget(0.0), None, False, id="a budget of nothing has no ratio"),
        pytest.param((1.0, 9.0), Budget(2.0, At.P50), 0.5, True, id="a budget of the middle looks at the middle"),
        pytest.param((1.0,), None, None, None, id="no budget, no verdict"),
        pytest.param((), Budget(1.0), None, None, id="no values, no verdict"),
    ],
)
def test_a_figure_knows_its_ratio(
    values: tuple[float, ...], budget: Budget | None, ratio: float | None, met: bool | None
) -> None:
    figure = Figure("gap", "s", values, budget)
    assert (figure.ratio, figure.met) == (ratio, met)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0123, "0.012"), (6.616, "6.62"), (42.04, "42"), (42.07, "42.1"), (196.6, "197"), (8.0, "8")],
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_the_page_has_yardstick_ratios_peers_and_what_went_wrong() -> None:
    good = Figure("client's gap", "s", (6.0, 6.5), Budget(8.0))
    bad = Figure("addresses in status", "1/s", (20.0,), Budget(40.0, at_least=True), "0.10 of bare creation")
    page = report(
        [
            Result("power-off", "Power-off", (good,), "MetalLB 5.6 s"),
            Result("burst", "Burst", (bad,), error="3 have no address"),
            Result("cost", "Cost", error="the lab did not start"),
        ],
        CONDITIONS,
        98.5,
    )
    assert "98.5 a second; 0.5 of the 197" in page
    assert "| power-off | client's gap | 6.5 s | worst ≤ 8 | 0.812 kept |" in page
    assert "| burst | addresses in status | 20 1/s | worst ≥ 40 | **0.5 missed** |" in page
    assert "| client's gap | s | 6 | 6.5 | 6.5 | 6.5 | 2 | worst ≤ 8 | 0.812 kept |" in page
    assert "Peers: MetalLB 5.6 s" in page
    assert "* addresses in status: 0.10 of bare creation" in page
    assert "**Not measured to the end:** 3 have no address" in page
    assert "**Not measured:** the lab did not start" in page


def test_a_page_without_a_yardstick_says_so() -> None:
    assert "Yardstick: not measured" in report([], CONDITIONS, None)


def test_every_row_has_a_place_and_a_name_of_its_own() -> None:
    assert len({*NAMES}) == len(ROWS)
    assert {row.place for row in ROWS} == {*PLACES}
    assert [row.name for row in chosen([])] == [*NAMES]


def test_a_burst_is_measured_with_its_yardstick() -> None:
    assert [row.name for row in chosen(["burst", "cost"])] == ["yardstick", "burst", "cost"]


def test_rows_that_share_a_lab_follow_each_other() -> None:
    places = [row.place for row in ROWS]
    assert [place for at, place in enumerate(places) if at == 0 or place != places[at - 1]] == [*dict.fromkeys(places)]


def test_the_options_are_in_the_page() -> None:
    assert str(Options(5, full=True)) == "runs of each fault: 5, full"
    assert str(Options()) == "runs of each fault: 3, of power-off 50"


@pytest.mark.parametrize(
    ("row", "options", "times"),
    [
        pytest.param("power-off", Options(), 50, id="what everything is about is done fifty times"),
        pytest.param("link-down", Options(), 3, id="others a few times"),
        pytest.param("power-off", Options(runs=2), 2, id="or as often as was asked for"),
        pytest.param("burst", Options(runs=2), 0, id="what is no fault is not repeated"),
    ],
)
def test_a_row_has_as_many_runs_as_it_needs(row: str, options: Options, times: int) -> None:
    (found,) = [one for one in ROWS if one.name == row]
    assert found.times(options) == times
    assert found.seconds(options) == found.limit + 60 * times


def test_a_far_seat_is_witnessed_by_others_and_holds_nothing() -> None:
    seat = far_seat(7, 107, ["far-008", "far-009", "far-010"])
    assert seat["node"] not in seat["witnesses"]
    assert not seat["eligible"]
    assert len(str(seat["mac"])) == 17


def test_what_takes_too_long_ends() -> None:
    with pytest.raises(LabError, match="longer than 0 s"), run.within(0.05):
        signal.pause()


def test_keepalived_has_two_routers_with_two_addresses() -> None:
    text = keepalived.configuration("n1", 254)
    for address, (every, router) in keepalived.ADVERTS.items():
        assert f"{address}/32 dev data" in text
        assert f"virtual_router_id {router}\n  priority 254\n  advert_int {every}\n" in text
