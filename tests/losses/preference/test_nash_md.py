import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.preference import geometric_mixture, nash_md_loss


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: nash_md_loss(log_prob, *args, **options).sum()))(log_prob)


@pytest.mark.parametrize("level, value, slopes", [("sequence", 0.24, [-0.16, -0.16]), ("token", 0.30, [-0.24, -0.12])])
def test_oracle(level, value, slopes) -> None:
    arrays = jnp.array([-1.0, -0.5]), jnp.array([-0.8, -0.9]), jnp.array(0.7)
    np.testing.assert_allclose(nash_md_loss(*arrays, beta=0.2, level=level), value, rtol=1e-5)
    np.testing.assert_allclose(slope(*arrays, beta=0.2, level=level), slopes, rtol=1e-5)


@pytest.mark.parametrize("level", ["sequence", "token"])
def test_equals_a_loop(rng, float64, level) -> None:
    log_prob, reference = rng.uniform(-80, 0, (2, 4, 6))
    win_rate, mask, beta = rng.random(4), rng.random((4, 6)) < 0.6, 0.3
    mask[0], mask[1] = True, False
    slopes = np.zeros((4, 6))
    for i in range(4):
        log_ratio = np.where(mask[i], log_prob[i] - reference[i], 0)
        penalty = log_ratio.sum() if level == "sequence" else log_ratio
        slopes[i] = np.where(mask[i], beta * penalty - (win_rate[i] - 0.5), 0)
    arrays = [jnp.asarray(np.where(mask, x, np.inf)) for x in (log_prob, reference)] + [jnp.asarray(win_rate)]
    options = {"beta": beta, "level": level, "where": jnp.asarray(mask)}
    np.testing.assert_allclose(nash_md_loss(*arrays, **options), np.sum(slopes * log_prob, -1), rtol=1e-10)
    np.testing.assert_allclose(slope(*arrays, **options), slopes, rtol=1e-10)
    across = nash_md_loss(arrays[0].T, arrays[1].T, arrays[2], **options | {"where": options["where"].T}, axis=0)
    np.testing.assert_allclose(across, np.sum(slopes * log_prob, -1), rtol=1e-10)


def test_an_even_game_only_pulls_to_the_reference(rng) -> None:
    log_prob, reference = map(jnp.asarray, rng.uniform(-2, 0, (2, 5, 1)))
    slopes = slope(log_prob, reference, jnp.full(5, 0.5), beta=0.4)
    np.testing.assert_allclose(slopes, 0.4 * (log_prob - reference), rtol=1e-4, atol=1e-7)


def test_geometric_mixture(rng, check_gradient) -> None:
    logits, reference = rng.normal(scale=4, size=(2, 3, 5))
    policy, anchor = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (logits, reference))
    expected = policy**0.75 * anchor**0.25
    mixed = geometric_mixture(jnp.asarray(logits), jnp.asarray(reference), mixture=0.25)
    np.testing.assert_allclose(jnp.exp(mixed), expected / expected.sum(-1, keepdims=True), rtol=1e-9)
    mix = jax.jit(lambda *args: geometric_mixture(*args, mixture=0.25))
    check_gradient(mix, jnp.asarray(logits), jnp.asarray(reference))
    across = geometric_mixture(jnp.asarray(logits.T), jnp.asarray(reference.T), mixture=0.25, axis=0)
    np.testing.assert_allclose(across.T, mixed, rtol=1e-9)


@pytest.mark.parametrize("mixture, unavailable", [(0.0, 0), (1.0, 1), (0.5, [0, 1])])
def test_ends_of_the_mixture_ignore_the_other_side(mixture, unavailable) -> None:
    logits = jnp.array([-jnp.inf, 1.0, 2.0]), jnp.array([1.0, -jnp.inf, 3.0])
    mixed = geometric_mixture(*logits, mixture=mixture)
    assert not np.isnan(mixed).any()
    np.testing.assert_array_equal(np.flatnonzero(np.isneginf(mixed)), unavailable)
    if mixture != 0.5:
        np.testing.assert_allclose(mixed, jax.nn.log_softmax(logits[int(mixture)]), rtol=1e-6)
    slopes = jax.grad(lambda x: geometric_mixture(x, logits[1], mixture=mixture)[2])(logits[0])
    assert np.isfinite(slopes).all()
