"""Statistics over a handful of runs: interquartile means, bootstrap intervals, bands of learning curves.

A run that diverged has no return, and a mean over the others flatters the method. So nothing here skips a NaN
quietly: `interquartile_mean` returns NaN, `bootstrap_interval` refuses, and the functions that do leave such
runs out (`aggregate`, `learning_curve_band`) return how many runs counted beside the number.

References:
    Agarwal et al., 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
    arXiv:2108.13264.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike


def interquartile_mean(
    x: ArrayLike, axis: int = -1, *, where: Bool[np.ndarray, "*shape"] | None = None
) -> Float[np.ndarray, "*rest"]:
    r"""The mean of the middle half of the values.

    $$ \mathrm{IQM}(x) = \frac{2}{n} \sum_i w_i\, x_{(i)}, \qquad
       w_i = \bigl|\,[i - 1,\, i] \cap [\tfrac{n}{4},\, \tfrac{3n}{4}]\,\bigr| $$

    A value that straddles a quartile counts by the part of it inside, so that the result is exact, and
    changes smoothly, when the number of values is no multiple of four.

    Args:
        x: values.
        axis: the axis to average over.
        where: True where a value counts; all by default. Same shape as `x`.

    Returns:
        `x` without `axis`. NaN where no value counts, or where one that counts is NaN.

    References:
        Agarwal et al., 2021, arXiv:2108.13264.
    """
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    where = np.ones(x.shape, bool) if where is None else np.moveaxis(np.asarray(where, bool), axis, -1)
    count = where.sum(axis=-1, keepdims=True)
    ordered = np.sort(np.where(where, x, np.inf), axis=-1)
    rank = np.arange(x.shape[-1])
    weight = np.clip(np.minimum(rank + 1, 0.75 * count) - np.maximum(rank, 0.25 * count), 0, None)
    total = np.sum(np.multiply(weight, ordered, where=weight > 0, out=np.zeros_like(ordered)), axis=-1)
    undefined = np.any(where & np.isnan(x), axis=-1) | (count[..., 0] == 0)
    return np.where(undefined, np.nan, total / np.maximum(0.5 * count[..., 0], 0.5))


def bootstrap_interval(
    x: ArrayLike,
    *,
    statistic: Callable[..., np.ndarray] = interquartile_mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """Percentile bootstrap interval of a statistic over runs.

    Runs are drawn with replacement, whole, so that the trailing axes (reports, tasks) keep their correlation.
    With one run every resample is that run and the interval is the point itself: it says nothing about the
    spread.

    Args:
        x: values `[runs, *rest]`.
        statistic: called as `statistic(samples, axis=...)`; reduces that axis.
        confidence: probability mass of the interval, in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling, so that the same runs give the same interval.

    Returns:
        Lower and upper ends, each of shape `[*rest]`.

    Raises:
        ValueError: if there are no runs, a value is NaN, or an option is out of range.

    References:
        Efron, 1979, "Bootstrap Methods: Another Look at the Jackknife". Agarwal et al., 2021,
        arXiv:2108.13264.
    """
    x = np.asarray(x, np.float64)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"x must hold at least one run along its first axis; got shape {x.shape}")
    if np.isnan(x).any():
        raise ValueError(
            "x holds NaN; leave diverged runs out by choice, and say how many, as `aggregate` and "
            "`learning_curve_band` do"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1; got {resamples}")
    runs = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    estimates = statistic(x[runs], axis=1)
    ends = np.quantile(estimates, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return ends[0, ...], ends[1, ...]


def episode_interval(
    estimate: Callable[[Float[np.ndarray, "resample episode"]], ArrayLike],
    num_episodes: int,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of an estimate from episodes, which are drawn with replacement, whole.

    Args:
        estimate: from how often each episode counts, `[resample, episode]`, to the estimate of each resample, such as
            a batch of `rlx.diagnostics.importance_sampling` by its `weight`. An estimate may be undefined (NaN).
        num_episodes: how many there are.
        confidence: probability mass of the interval, in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        Lower and upper end, of the resamples whose estimate is defined; NaN where none is.

    Raises:
        ValueError: there are no episodes, or an option is out of range.
    """

    def statistic(drawn: np.ndarray, axis: int) -> np.ndarray:
        counts = np.stack([np.bincount(row, minlength=num_episodes) for row in drawn.astype(int)])
        values = np.asarray(estimate(counts.astype(np.float32)), np.float64)
        return values[np.isfinite(values)] if np.isfinite(values).any() else np.array([np.nan])

    low, high = bootstrap_interval(
        np.arange(num_episodes), statistic=statistic, confidence=confidence, resamples=resamples, seed=seed
    )
    return float(low), float(high)


class Band(NamedTuple):
    """The interquartile mean of a metric at each report, with its bootstrap interval.

    Attributes:
        center: interquartile mean over the runs that count; NaN where none does.
        low: lower end of the interval.
        high: upper end of the interval.
        count: number of runs that count, those with a finite value.
    """

    center: Float[np.ndarray, " reports"]
    low: Float[np.ndarray, " reports"]
    high: Float[np.ndarray, " reports"]
    count: Int[np.ndarray, " reports"]


def learning_curve_band(values: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Band:
    """Interquartile mean and bootstrap interval of a learning curve, report by report.

    A run that has no finite value at a report (it diverged, or has not measured yet) does not count there,
    and `count` says so; a caller that shows the band shows the count where it falls short.

    Args:
        values: `[runs, reports]`; masked, NaN and infinite elements do not count.
        confidence: probability mass of the band, in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        The band over runs.
    """
    values = np.ma.filled(np.ma.asarray(values, np.float64), np.nan)
    finite = np.isfinite(values)
    low, high = np.full((2, values.shape[1]), np.nan)
    for report in np.flatnonzero(finite.any(axis=0)):
        low[report], high[report] = bootstrap_interval(
            values[finite[:, report], report], confidence=confidence, resamples=resamples, seed=seed
        )
    return Band(interquartile_mean(values, axis=0, where=finite), low, high, finite.sum(axis=0))


def aggregate(returns: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Summarize the final returns of several runs as plain numbers, ready for JSON.

    Args:
        returns: `[runs]`; a NaN or infinite element is a run that diverged.
        confidence: probability mass of the interval, in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        `interquartile_mean` and `interval` (`[low, high]`) over the runs with a finite return, None where
        there is no such run; `confidence`; `num_runs`, all of them; `num_finite`, those that counted.
    """
    returns = np.asarray(returns, np.float64)
    band = learning_curve_band(returns[:, None], confidence=confidence, resamples=resamples, seed=seed)
    center, low, high = (float(end[0]) if band.count[0] else None for end in (band.center, band.low, band.high))
    return {
        "interquartile_mean": center,
        "interval": [low, high],
        "confidence": confidence,
        "num_runs": len(returns),
        "num_finite": int(band.count[0]),
    }


def probability_of_improvement(a: ArrayLike, b: ArrayLike) -> float:
    r"""The probability that a run of one method beats a run of another; ties count one half.

    $$ P(A > B) = \frac{1}{nm} \sum_{i,j} \mathbf{1}[a_i > b_j] + \tfrac12 \mathbf{1}[a_i = b_j] $$

    Args:
        a: returns `[n]` of the method in question; a NaN is a diverged run, which loses to every run that did
            not.
        b: returns `[m]` of the method it is compared with.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: if either has no runs.

    References:
        Agarwal et al., 2021, arXiv:2108.13264.
    """
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (a, b))
    if not (len(a) and len(b)):
        raise ValueError(f"a and b must each hold at least one run; got {len(a)} and {len(b)}")
    a, b = (np.where(np.isnan(x), -np.inf, x) for x in (a, b))
    return float(np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)))
