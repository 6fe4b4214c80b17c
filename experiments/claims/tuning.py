"""How claims choose settings: from some side by side, and from further ones until the best has its neighbors tried.

A ladder holds all values that a number may take. Its ends are bounds beyond which no value makes sense, and where a
ladder is defined it says why. Method and baseline begin with the same values and go on by the same rule.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rlx.training.statistics import interquartile_mean

Setting = Mapping[str, float]

_choices: contextvars.ContextVar[list[dict[str, Any]] | None] = contextvars.ContextVar("choices", default=None)


@contextlib.contextmanager
def recorded() -> Iterator[list[dict[str, Any]]]:
    """Collect what `choose` finds, in order: what was `chosen`, where `at` on its ladders, and what was `tried`."""
    choices: list[dict[str, Any]] = []
    token = _choices.set(choices)
    try:
        yield choices
    finally:
        _choices.reset(token)


def choose(
    settings: Sequence[Setting],
    ladders: Mapping[str, Sequence[float]],
    evaluate: Callable[[Sequence[Setting]], Sequence[np.ndarray]],
    *,
    at_once: int = 1,
    statistic: Callable[[np.ndarray], Any] = interquartile_mean,
) -> Setting:
    """The setting whose scores have the highest interquartile mean over seeds; of equals the first.

    Args:
        settings: what is tried first. One alone is taken without a trial.
        ladders: name of a number -> all its values, from small to large. Where a neighbor of the best setting's value
            was not tried with its other numbers, it is tried too, so that the best ends inside or at a bound.
        evaluate: from settings to the scores `[seed]` of each; a score that is not finite counts as the worst.
        at_once: how many further values on that side are tried together.
        statistic: over seeds, in place of the interquartile mean.
    """
    if len(settings) == 1:
        return settings[0]
    tried, scores = list(settings), list(evaluate(settings))
    while True:
        means = [float(statistic(of)) for of in scores]
        best = tried[int(np.argmax(np.where(np.isfinite(means), means, -np.inf)))]
        further = [
            {**best, name: value}
            for name, ladder in ladders.items()
            for value in _next(ladder, best[name], lambda value, name=name: {**best, name: value} in tried, at_once)
        ]
        further = [setting for setting in further if setting not in tried]
        if not further:
            break
        tried, scores = tried + further, scores + list(evaluate(further))
    if (choices := _choices.get()) is not None:
        at = {name: _place(ladder, best[name]) for name, ladder in ladders.items()}
        of_seeds = [dict(setting) | {"scores": numbers(of)} for setting, of in zip(tried, scores, strict=True)]
        choices.append({"chosen": dict(best), "at": at, "tried": of_seeds})
    return best


def _next(ladder: Sequence[float], best: float, is_tried: Callable[[float], bool], count: int) -> Sequence[float]:
    """Values of a ladder next to the best on the sides on which the nearest was not tried."""
    place = ladder.index(best)
    untried = lambda at: 0 <= at < len(ladder) and not is_tried(ladder[at])
    below = ladder[max(0, place - count) : place] if untried(place - 1) else ()
    above = ladder[place + 1 : place + 1 + count] if untried(place + 1) else ()
    return (*below, *above)


def _place(ladder: Sequence[float], value: float) -> str:
    return {ladder[0]: "lowest", ladder[-1]: "highest"}.get(value, "inside")


def numbers(values: np.ndarray) -> list[float | None]:
    """Six digits of each, for JSON, which has no NaN."""
    return [float(f"{x:.6g}") if np.isfinite(x) else None for x in values]
