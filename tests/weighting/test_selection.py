import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.weighting import extreme_mask, quantile_mask, random_mask

SCORE = jnp.array([[0.1, 0.9, 0.3, 0.5, 0.7], [0.2, 0.4, 9, 9, 9]])
WHERE = jnp.array([[True] * 5, [True, True, False, False, False]])


def numpy_extreme(score, fraction, where, largest, minimum):
    valid = [i for i, m in enumerate(where.ravel()) if m]
    count = min(max(minimum, int(fraction * len(valid) + 1e-9)), len(valid))
    order = sorted(valid, key=lambda i: (-score.ravel()[i] if largest else score.ravel()[i], i))
    mask = np.zeros(score.size, bool)
    mask[order[:count]] = True
    return mask.reshape(score.shape)


def test_quantile_oracle() -> None:
    expected = [[False, True, False, False, False], [False, True, False, False, False]]
    np.testing.assert_array_equal(quantile_mask(SCORE, quantile=0.8, where=WHERE), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_quantile_equals_numpy_under_a_sweep(rng, axis) -> None:
    score = np.round(rng.normal(size=(9, 7)), 1).astype(np.float32)  # with ties
    where = rng.random((9, 7)) < 0.7
    where[4], where[:, 3] = False, False
    quantiles = np.array([0.0, 0.25, 0.5, 0.7, 0.9, 1.0])
    poisoned = jnp.asarray(np.where(where, score, np.nan))
    call = lambda q: quantile_mask(poisoned, quantile=q, where=jnp.asarray(where), axis=axis)
    masks = jax.jit(jax.vmap(call))(jnp.asarray(quantiles, jnp.float32))
    for quantile, mask in zip(quantiles, masks, strict=True):
        rows = zip(np.moveaxis(score, axis, 1), np.moveaxis(where, axis, 1), strict=True)
        expected = [m & (s > np.quantile(s[m].astype(float), quantile) if m.any() else False) for s, m in rows]
        np.testing.assert_array_equal(mask, np.moveaxis(np.array(expected), 1, axis))


@pytest.mark.parametrize("largest", [True, False])
def test_extremes_equal_numpy_under_a_sweep(rng, largest) -> None:
    score = np.round(rng.normal(size=(10, 11)), 1).astype(np.float32)
    score[0, :3], score[5, 5] = [np.inf, -np.inf, np.inf], -np.inf
    where = rng.random(score.shape) < 0.8
    for minimum in (0, 1, 4):
        fractions = np.array([0.0, 0.01, 0.29, 0.5, 1.0])
        call = lambda f: extreme_mask(
            jnp.where(where, score, jnp.nan), fraction=f, where=jnp.asarray(where), largest=largest, minimum=minimum
        )
        for fraction, mask in zip(fractions, jax.jit(jax.vmap(call))(jnp.asarray(fractions)), strict=True):
            np.testing.assert_array_equal(mask, numpy_extreme(score, fraction, where, largest, minimum))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_round_share_of_the_elements_is_not_lost_to_rounding(dtype) -> None:
    fractions = np.array([0.002, 0.29, 0.3, 0.57, 0.7, 0.999])
    score = jnp.arange(1000).astype(dtype)
    counts = jax.vmap(lambda f: extreme_mask(score, fraction=f).sum())(jnp.asarray(fractions))
    np.testing.assert_array_equal(counts, np.round(1000 * fractions))


def test_of_equal_scores_the_earlier_are_taken() -> None:
    np.testing.assert_array_equal(extreme_mask(jnp.zeros((2, 2)), fraction=0.5), [[True, True], [False, False]])


def test_where_nothing_counts_nothing_is_selected() -> None:
    nothing = jnp.zeros_like(WHERE)
    assert not quantile_mask(SCORE, where=nothing).any()
    assert not extreme_mask(SCORE, fraction=0.5, where=nothing).any()
    assert not random_mask(jax.random.key(0), count=3, where=nothing).any()


def test_random_subsets_have_the_given_size_and_are_uniform() -> None:
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.jit(jax.vmap(lambda key, count: random_mask(key, count=count, where=WHERE), (0, None)))
    for count in (0, 2, 7, 100):
        masks = draw(keys, count)
        assert (masks.sum((1, 2)) == min(count, 7)).all() and not masks[:, ~WHERE].any()
        # Of 7 elements each is in count of 7 subsets; five standard deviations of the mean of 4000.
        np.testing.assert_allclose(masks.mean(0)[WHERE], min(count, 7) / 7, atol=5 * 0.5 / np.sqrt(4000))
