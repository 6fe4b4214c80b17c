import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.preference import contrastive_token_reward, dpo, rrpo, simpo, token_reward_regularizer, treg
from rlx.regularizers.divergence import kl_categorical

TOKENS = tuple(jnp.array([x]) for x in ([-1, -2, -0.5], [-1, -1, -0.5], [-1.2, -2.5, -0.4], [-1.2, -0.8, -0.4]))
TOKEN_REWARDS = jnp.array([[0.2, -0.1, 0]]), jnp.array([[-0.3, 0.05, 0.1]])
ALL = jnp.ones((1, 3), bool)


def value_and_slopes(loss, *args, **options):
    def evaluate(args):
        value, back = jax.vjp(lambda *args: loss(*args, **options), *args)
        return value, back(jnp.ones_like(value))

    return jax.jit(evaluate)(args)


@pytest.fixture
def tokens(rng):
    """Responses of six and four tokens, with padding; chosen, rejected, and the same of the reference."""
    chosen, reference_chosen = rng.uniform(-3, 0, (2, 5, 6))
    rejected, reference_rejected = rng.uniform(-3, 0, (2, 5, 4))
    chosen_where = np.arange(6) < rng.integers(1, 7, (5, 1))
    rejected_where = np.arange(4) < rng.integers(1, 5, (5, 1))
    return (chosen, rejected, reference_chosen, reference_rejected), chosen_where, rejected_where


def test_rrpo_oracle() -> None:
    span = jnp.array([[False, True, False]])
    kl = jnp.array([[0.1, 0.2, 0.05]])
    options = {"chosen_span": span, "rejected_span": span, "where": ALL, "beta": 0.5, "alpha": 0.05}
    value, slopes = value_and_slopes(rrpo, *TOKENS, kl, **options)
    np.testing.assert_allclose(value, 0.550882, atol=1e-6)
    assert not np.any(slopes[0][~span]) and not np.any(slopes[1][~span])
    np.testing.assert_allclose(slopes[4], 0.05, rtol=1e-6)


def test_rrpo_equals_numpy_along_any_axis(float64, rng, check_gradient, tokens) -> None:
    arrays, where, rejected_where = tokens
    chosen_span = rng.random((5, 6)) < 0.5
    rejected_span = (rng.random((5, 4)) < 0.5) & rejected_where
    kl = np.where(where, rng.uniform(0, 1, (5, 6)), np.nan)
    expected = []
    for i in range(5):
        u = sum(arrays[0][i, t] - arrays[2][i, t] for t in range(6) if chosen_span[i, t] and where[i, t])
        u -= sum(arrays[1][i, t] - arrays[3][i, t] for t in range(4) if rejected_span[i, t])
        expected.append(np.log1p(np.exp(-0.7 * u)) + 0.2 * sum(kl[i, t] for t in range(6) if where[i, t]))
    padded = [np.where(where, arrays[0], np.inf), arrays[1], np.where(where, arrays[2], np.nan), arrays[3], kl]
    masks = {"chosen_span": chosen_span, "rejected_span": rejected_span, "where": where}
    for axis, turn in ((-1, lambda x: jnp.asarray(x)), (0, lambda x: jnp.asarray(x.T))):
        options = {name: turn(mask) for name, mask in masks.items()} | {"beta": 0.7, "alpha": 0.2, "axis": axis}
        value, slopes = value_and_slopes(rrpo, *map(turn, padded), **options)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        assert all(np.isfinite(slope).all() for slope in slopes)


def test_rrpo_without_divergence_on_all_tokens_is_dpo(float64, tokens) -> None:
    arrays = [jnp.asarray(x) for x in tokens[0]]
    every = jnp.ones((5, 6), bool), jnp.ones((5, 4), bool)
    options = {"chosen_span": every[0], "rejected_span": every[1], "where": every[0], "alpha": 0.0}
    loss = rrpo(*arrays, jnp.ones((5, 6)), **options)
    np.testing.assert_allclose(loss, dpo(*(x.sum(-1) for x in arrays)), rtol=1e-12)


def test_rrpo_at_the_reference_has_no_gradient_from_the_divergence(float64, rng) -> None:
    logits = jnp.asarray(rng.normal(size=(1, 3, 4)))
    divergence = lambda x: kl_categorical(jax.lax.stop_gradient(logits), x)
    options = {"chosen_span": ALL, "rejected_span": ALL, "where": ALL}
    loss = lambda x: rrpo(TOKENS[0], TOKENS[1], TOKENS[0], TOKENS[1], divergence(x), **options).sum()
    value, slope = jax.jit(jax.value_and_grad(loss))(logits)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(slope, 0, atol=1e-12)


def test_contrastive_token_reward_oracle_and_symmetry() -> None:
    better, worse = jnp.array([-0.5, -2.0, -1.0]), jnp.array([-1.5, -1.0, -1.0])
    np.testing.assert_allclose(contrastive_token_reward(better, worse), [0.231059, -0.231059, 0], atol=1e-6)
    far = jnp.array([-90.0, -0.01])
    reward = contrastive_token_reward(far, far[::-1])
    np.testing.assert_allclose(reward, [-0.5, 0.5])
    np.testing.assert_allclose(contrastive_token_reward(far[::-1], far), -reward)


def test_treg_oracle_and_its_difference_to_dpo() -> None:
    options = {"chosen_where": ALL, "rejected_where": ALL, "beta": 0.5}
    value, slopes = value_and_slopes(treg, *TOKENS, *TOKEN_REWARDS, **options)
    np.testing.assert_allclose(value, 0.523048, atol=1e-6)
    np.testing.assert_allclose(slopes[0], [[-0.217026, -0.201524, -0.206691]], atol=1e-6)
    plain, plain_slopes = value_and_slopes(treg, *TOKENS, *TOKEN_REWARDS, alpha=0.0, **options)
    np.testing.assert_allclose(plain, dpo(*(x.sum(-1) for x in TOKENS), beta=0.5), rtol=1e-6)
    weight = jax.nn.sigmoid(-0.5 * (TOKENS[0] - TOKENS[2] - TOKENS[1] + TOKENS[3]).sum())
    for slope, plain_slope, token_reward in zip(slopes[:2], plain_slopes[:2], TOKEN_REWARDS, strict=True):
        np.testing.assert_allclose(slope - plain_slope, -0.25 * weight * 0.5 * token_reward, atol=1e-7)


def test_treg_equals_numpy(float64, rng, tokens) -> None:
    arrays, chosen_where, rejected_where = tokens
    token_rewards = rng.uniform(-0.5, 0.5, (5, 6)), rng.uniform(-0.5, 0.5, (5, 4))
    expected = []
    for i in range(5):
        chosen, rejected = np.flatnonzero(chosen_where[i]), np.flatnonzero(rejected_where[i])
        m = 0.3 * (arrays[0] - arrays[2])[i, chosen].sum() - 0.3 * (arrays[1] - arrays[3])[i, rejected].sum()
        regularizer = -0.3 * sum(token_rewards[0][i, t] * arrays[0][i, t] for t in chosen)
        regularizer -= 0.3 * sum(token_rewards[1][i, t] * arrays[1][i, t] for t in rejected)
        expected.append(np.log1p(np.exp(-m)) + 0.4 / (1 + np.exp(m)) * regularizer)
    hide = lambda x: jnp.where(chosen_where if x.shape[-1] == 6 else rejected_where, x, jnp.nan)
    options = {"chosen_where": jnp.asarray(chosen_where), "rejected_where": jnp.asarray(rejected_where)}
    value, slopes = value_and_slopes(treg, *map(hide, (*arrays, *token_rewards)), beta=0.3, alpha=0.4, **options)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert not np.any(slopes[0][~chosen_where]) and not np.any(slopes[1][~rejected_where])


def test_regularizer_serves_simpo_as_well() -> None:
    sums = TOKENS[0].sum(-1), TOKENS[1].sum(-1)
    margin = 2 * (sums[0] / 3 - sums[1] / 3) - 0.5
    options = {"chosen_where": ALL, "rejected_where": ALL, "beta": 2.0}
    regularizer, slopes = value_and_slopes(token_reward_regularizer, margin, *TOKENS[:2], *TOKEN_REWARDS, **options)
    _, back = jax.vjp(lambda c: simpo(c, sums[1], 3, 3), sums[0])
    weight = -back(jnp.ones(1))[0] / (2 / 3)  # what SimPO's own gradient is weighted with
    np.testing.assert_allclose(slopes[1], -weight * 2 * TOKEN_REWARDS[0], rtol=1e-5, atol=1e-7)
    assert not np.any(slopes[0]) and np.isfinite(regularizer).all()
