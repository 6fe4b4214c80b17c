"""Settings are chosen inside of what was tried, or at a bound that a ladder states."""

import numpy as np
import pytest

from experiments.claims import tuning

RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def peaked_at(best, calls):
    """Scores of four seeds that fall with the distance from the best setting, in decades, and what was evaluated."""

    def evaluate(settings):
        calls.extend(settings)
        distance = [sum(abs(np.log10(setting[name] / best[name])) for name in best) for setting in settings]
        return [-x + np.array([-0.1, 0.0, 0.0, 0.1]) for x in distance]

    return evaluate


def test_the_best_inside_of_what_was_tried_is_taken_at_once():
    calls = []
    with tuning.recorded() as choices:
        best = tuning.choose([{"rate": r} for r in RATES[1:4]], {"rate": RATES}, peaked_at({"rate": 1e-2}, calls))
    assert best == {"rate": 1e-2} and len(calls) == 3
    (choice,) = choices
    assert choice["chosen"] == {"rate": 1e-2} and choice["at"] == {"rate": "inside"}
    assert [tried["rate"] for tried in choice["tried"]] == [1e-3, 1e-2, 1e-1]
    np.testing.assert_allclose(choice["tried"][0]["scores"], [-1.1, -1.0, -1.0, -0.9], rtol=1e-5)


@pytest.mark.parametrize(
    ("peak", "at_once", "chosen", "place", "evaluated"),
    [
        # The grid is widened by one until the best has a worse neighbor on either side, or by more at once.
        (1e-1, 1, 1e-1, "inside", [1e-3, 1e-2, 1e-1, 1.0]),
        (1e-1, 2, 1e-1, "inside", [1e-3, 1e-2, 1e-1, 1.0, 10.0]),
        (1.0, 1, 1.0, "inside", [1e-3, 1e-2, 1e-1, 1.0, 10.0]),
        # What lies beyond a bound is never tried.
        (1e3, 1, 10.0, "highest", [1e-3, 1e-2, 1e-1, 1.0, 10.0]),
        (1e-9, 1, 1e-4, "lowest", [1e-3, 1e-2, 1e-1, 1e-4]),
    ],
)
def test_grids_are_widened_up_to_a_bound(peak, at_once, chosen, place, evaluated):
    calls = []
    first = [{"rate": rate} for rate in RATES[1:4]]
    with tuning.recorded() as choices:
        best = tuning.choose(first, {"rate": RATES}, peaked_at({"rate": peak}, calls), at_once=at_once)
    assert best == {"rate": chosen} and choices[0]["at"] == {"rate": place}
    assert [setting["rate"] for setting in calls] == evaluated


def test_two_ladders_are_climbed_with_the_other_number_held():
    calls, ladders = [], {"rate": RATES, "weight": (0.1, 1.0, 10.0, 100.0)}
    first = [{"rate": rate, "weight": weight, "fixed": 7.0} for rate in (1e-3, 1e-2) for weight in (0.1, 1.0)]
    best = tuning.choose(first, ladders, peaked_at({"rate": 1e-1, "weight": 10.0}, calls))
    assert best == {"rate": 1e-1, "weight": 10.0, "fixed": 7.0}
    tried = [(setting["rate"], setting["weight"]) for setting in calls]
    assert len(set(tried)) == len(tried) and {setting["fixed"] for setting in calls} == {7.0}
    # The best has all its neighbors tried, not only values that were tried with another number.
    assert {(1e-2, 10.0), (1.0, 10.0), (1e-1, 1.0), (1e-1, 100.0)} <= set(tried)


def test_gaps_between_what_is_tried_first_are_filled_around_the_best():
    calls = []
    best = tuning.choose([{"rate": 1e-3}, {"rate": 1.0}], {"rate": RATES}, peaked_at({"rate": 1e-2}, calls))
    assert best == {"rate": 1e-2}
    assert [setting["rate"] for setting in calls] == [1e-3, 1.0, 1e-4, 1e-2, 1e-1]


def test_one_setting_is_no_trial_and_what_diverged_is_the_worst():
    assert tuning.choose([{"rate": 0.5}], {"rate": RATES}, None) == {"rate": 0.5}
    scores = {1e-2: np.nan, 1e-1: -5.0, 1.0: np.nan}
    with tuning.recorded() as choices:
        evaluate = lambda settings: [np.full(4, scores[setting["rate"]]) for setting in settings]
        best = tuning.choose([{"rate": rate} for rate in scores], {"rate": RATES}, evaluate)
    assert best == {"rate": 1e-1}
    assert choices[0]["tried"][0]["scores"] == [None] * 4
