import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.controllers import balanced_clip

LOG_PROB, BEHAVIOR = jnp.array([-0.5, -1.0, -1.0, -0.2]), jnp.array([-1.5, -1.0, -0.5, -0.7])
ADVANTAGE = jnp.array([1.0, -0.5, -1.0, -0.6])


def numpy_balanced_clip(ratio, advantage, target, low, high, low_step, high_step):
    """The search as the paper's code does it, one step after the other."""

    def balance(lower, upper):
        effective = [a * (min(r, upper) if a >= 0 else max(r, lower)) for r, a in zip(ratio, advantage)]
        negative = -sum(min(e, 0) for e in effective)
        return sum(max(e, 0) for e in effective) / (negative + 1e-8) if negative > 0 else np.inf

    lower, upper = low[0], high[0]
    while balance(lower, upper) < target and lower < low[1] and low_step > 0:
        lower = min(lower + low_step, low[1])
    while balance(lower, upper) < target and upper < high[1] and high_step > 0:
        upper = min(upper + high_step, high[1])
    return lower, upper, balance(lower, upper)


@pytest.mark.parametrize("target, expected", [(1.0, (0.8, 2.0, 0.873655)), (0.85, (0.8, 1.95, 0.851814))])
def test_oracle(target, expected) -> None:
    found = balanced_clip(LOG_PROB, BEHAVIOR, ADVANTAGE, target=target)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_equals_the_search_in_numpy(rng, float64) -> None:
    search = jax.jit(balanced_clip)
    ends = set()
    for _ in range(25):
        log_prob, behavior = rng.uniform(-2, 0, (2, 12))
        behavior[0] = -80.0  # whose log-ratio is bounded to 20
        advantage, where = rng.normal(0.1, size=12), rng.random(12) < 0.8
        options = {
            "target": rng.uniform(0.3, 2.5),
            "low": (rng.uniform(0.5, 0.7), 0.9),
            "high": (1.1, rng.uniform(1.3, 2.5)),
            "low_step": rng.choice([0.0, 0.03, 0.5]),
            "high_step": rng.choice([0.0, 0.07, 0.1]),
        }
        ratio = np.exp(np.minimum(log_prob - behavior, 20))[where]
        expected = numpy_balanced_clip(ratio, advantage[where], **options)
        traced = jax.tree.map(jnp.asarray, options)
        arrays = [jnp.asarray(np.where(where, x, np.nan)) for x in (log_prob, behavior, advantage)]
        found = search(*arrays, where=jnp.asarray(where), **traced)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        ends.add((expected[0] > options["low"][0], expected[1] > 1.1, expected[1] < options["high"][1]))
    assert len(ends) >= 3  # the start, the end, and something between were all met


def test_a_search_that_is_met_stays_at_the_start() -> None:
    np.testing.assert_allclose(balanced_clip(LOG_PROB, BEHAVIOR, jnp.abs(ADVANTAGE)), (0.6, 1.2, np.inf))
    lower, upper, ratio = balanced_clip(LOG_PROB, BEHAVIOR, ADVANTAGE, target=0.1)
    np.testing.assert_allclose((lower, upper), (0.6, 1.2), rtol=1e-6)
    assert ratio >= 0.1


def test_a_step_too_small_to_count_ends_the_search() -> None:
    found = balanced_clip(LOG_PROB, BEHAVIOR, ADVANTAGE, low_step=1e-12, high_step=1e-12)
    np.testing.assert_allclose(found[:2], (0.6, 1.2), rtol=1e-6)
