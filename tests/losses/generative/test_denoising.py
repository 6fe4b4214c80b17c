import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.generative import denoising_loss, denoising_score_matching


def test_denoising_loss_equals_numpy(rng, check_gradient) -> None:
    prediction, target = rng.normal(size=(2, 3, 4, 5))
    weight, where = rng.uniform(0, 2, (3, 4)), rng.random((3, 4)) < 0.7
    arrays = jnp.asarray(prediction), jnp.asarray(target)
    for reduce, numpy_reduce in (("mean", np.mean), ("sum", np.sum)):
        options = {"weight": jnp.asarray(weight), "where": jnp.asarray(where), "reduce": reduce}
        expected = np.where(where, weight * numpy_reduce((prediction - target) ** 2, -1), 0)
        np.testing.assert_allclose(denoising_loss(*arrays, **options), expected, rtol=1e-12)
        check_gradient(jax.jit(lambda x, options=options: denoising_loss(x, arrays[1], **options)), arrays[0])
    with pytest.raises(ValueError, match="reduce must be one of 'mean', 'sum'"):
        denoising_loss(*arrays, reduce="none")


def test_score_matching_oracle() -> None:
    # Of data N(0, 1) and σ = 0.5 the score of the noised data at 1.1 is −1.1 / 1.25.
    loss = denoising_score_matching(jnp.array([[-0.88]]), jnp.array([[0.2]]), jnp.array([0.5]))
    np.testing.assert_allclose(loss, [0.0576], rtol=1e-5)


def test_score_matching_has_its_minimum_at_the_score(rng, float64) -> None:
    data, noise, sigma = rng.normal(1, 0.5, (100_000, 1)), rng.normal(size=(100_000, 1)), rng.uniform(0.1, 2, 100_000)
    noised = data + sigma[:, None] * noise
    score = lambda slope, center: -slope * (noised - center) / (0.25 + sigma[:, None] ** 2)
    loss = lambda params: jnp.mean(denoising_score_matching(score(*params), jnp.asarray(noise), jnp.asarray(sigma)))
    np.testing.assert_allclose(jax.grad(loss)(jnp.array([1.0, 1.0])), [0, 0], atol=0.01)
    assert jnp.linalg.norm(jax.grad(loss)(jnp.array([0.7, 1.2]))) > 0.1


def test_score_matching_at_the_target_is_0_even_where_the_target_is_large(rng) -> None:
    noise = jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)
    sigma = jnp.array([1e-6, 0.1, 50.0])
    loss = denoising_score_matching(-noise / sigma[:, None], noise, sigma, where=jnp.array([True, True, False]))
    np.testing.assert_allclose(loss, 0, atol=1e-12)
