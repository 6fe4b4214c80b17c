import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rlx.training.statistics import (
    aggregate,
    bootstrap_interval,
    interquartile_mean,
    learning_curve_band,
    probability_of_improvement,
)

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=13)


def iqm_by_quartile_copies(x):
    # Four copies of n values put both quartiles between two values, where trimming is exact.
    return np.mean(np.sort(np.repeat(x, 4))[len(x) : 3 * len(x)])


@given(values)
@settings(max_examples=100, deadline=None)
def test_interquartile_mean_is_the_mean_of_the_middle_half(x):
    np.testing.assert_allclose(interquartile_mean(x), iqm_by_quartile_copies(x), rtol=1e-12, atol=1e-6)


@pytest.mark.parametrize("size", [4, 8, 12])
def test_interquartile_mean_agrees_with_scipy_where_quartiles_fall_between_values(size):
    x = np.random.default_rng(0).normal(size=(3, size))
    np.testing.assert_allclose(interquartile_mean(x), scipy.stats.trim_mean(x, 0.25, axis=1), rtol=1e-12)


def test_interquartile_mean_by_hand():
    assert interquartile_mean([7.0]) == 7
    assert interquartile_mean([1.0, 2.0]) == 1.5
    # n = 5: weights 0, 3/4, 1, 3/4, 0 over 5/2.
    np.testing.assert_allclose(interquartile_mean([50.0, 1.0, 2.0, -9.0, 6.0]), (0.75 * 1 + 2 + 0.75 * 6) / 2.5)


def test_interquartile_mean_axis_mask_and_missing_values():
    x = np.random.default_rng(1).normal(size=(6, 3))
    np.testing.assert_allclose(interquartile_mean(x, axis=0), interquartile_mean(x.T))
    where = np.array([True, False, True, True, True, False])[:, None] & np.ones((6, 3), bool)
    np.testing.assert_allclose(interquartile_mean(x, axis=0, where=where), interquartile_mean(x[where[:, 0]], axis=0))
    spoiled = np.where(where, x, np.nan)
    np.testing.assert_allclose(interquartile_mean(spoiled, axis=0, where=where), interquartile_mean(x, 0, where=where))
    assert np.isnan(interquartile_mean(spoiled, axis=0)).all()
    assert np.isnan(interquartile_mean([]))
    assert np.isnan(interquartile_mean([1.0], where=np.array([False])))
    # Infinite outliers lie outside the middle half.
    assert interquartile_mean([-np.inf, 1.0, 3.0, np.inf]) == 2


def test_bootstrap_interval_agrees_with_scipy():
    x = np.random.default_rng(2).normal(size=40)
    low, high = bootstrap_interval(x, statistic=np.mean, resamples=20_000)
    ours = np.array([low, high])
    reference = scipy.stats.bootstrap(
        (x,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(9)
    )
    np.testing.assert_allclose(ours, reference.confidence_interval, atol=0.02)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    samples = np.random.default_rng(3).normal(size=(30, 400))
    low, high = bootstrap_interval(samples, statistic=np.mean, confidence=0.9, resamples=500)
    assert 0.84 < np.mean((low < 0) & (high > 0)) < 0.95


def test_bootstrap_interval_resamples_whole_runs():
    x = np.random.default_rng(4).normal(size=(8, 1))
    low, high = bootstrap_interval(np.hstack([x, 10 * x + 1]))
    np.testing.assert_allclose([low[1], high[1]], [10 * low[0] + 1, 10 * high[0] + 1])


def test_bootstrap_interval_of_one_run_is_a_point():
    low, high = bootstrap_interval([3.0])
    assert low == high == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": []}, "at least one run"),
        ({"x": [1.0, np.nan]}, "NaN"),
        ({"x": [1.0], "confidence": 95.0}, "confidence"),
        ({"x": [1.0], "resamples": 0}, "resamples"),
    ],
)
def test_bootstrap_interval_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**options)


def test_learning_curve_band_counts_the_runs_behind_every_point():
    x = np.random.default_rng(5).normal(size=(8, 4))
    x[2, 1:] = np.nan
    x[:, 3] = np.inf
    band = learning_curve_band(x)
    np.testing.assert_array_equal(band.count, [8, 7, 7, 0])
    np.testing.assert_allclose(band.center[1], interquartile_mean(np.delete(x[:, 1], 2)))
    np.testing.assert_allclose((band.low[1], band.high[1]), bootstrap_interval(np.delete(x[:, 1], 2)))
    assert np.isnan([band.center[3], band.low[3], band.high[3]]).all()
    masked = learning_curve_band(np.ma.masked_invalid(x))
    for ours, theirs in zip(masked, band):
        np.testing.assert_array_equal(ours, theirs)


def test_aggregate_names_what_it_left_out():
    result = aggregate([1.0, 2.0, 3.0, np.nan])
    assert (result["num_runs"], result["num_finite"], result["confidence"]) == (4, 3, 0.95)
    assert result["interquartile_mean"] == 2
    low, high = result["interval"]
    assert 1 <= low < 2 < high <= 3
    nothing = aggregate([np.nan])
    assert nothing["interquartile_mean"] is None
    assert nothing["interval"] == [None, None]


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(6)
    a, b = rng.integers(5, size=7), rng.integers(5, size=9)
    u = scipy.stats.mannwhitneyu(a, b).statistic
    assert math.isclose(probability_of_improvement(a, b), u / 63)
    assert probability_of_improvement([1, 2], [1, 2]) == 0.5
    # A diverged run loses to a finite one and ties with another diverged one.
    assert probability_of_improvement([np.nan, 1], [0.0]) == 0.5
    assert probability_of_improvement([np.nan], [np.nan]) == 0.5
    with pytest.raises(ValueError, match="at least one run"):
        probability_of_improvement([], [1.0])
