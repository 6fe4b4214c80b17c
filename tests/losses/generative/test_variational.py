import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.generative import conditional_vae


def test_oracle() -> None:
    loss = conditional_vae(
        jnp.array([0.2, 0.1]),
        jnp.array([0.5, -0.1]),
        jnp.array([0.3, -0.2]),
        jnp.array([-0.1, 0.2]),
        weight=jnp.array(1.5),
    )
    np.testing.assert_allclose(loss, 0.127569, rtol=1e-5)


def test_equals_numpy_and_finite_differences(rng, float64, check_gradient) -> None:
    reconstruction, target = rng.normal(size=(2, 6, 3))
    mean, log_std, weight = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), rng.uniform(size=6)
    expected = np.zeros(6)
    for i in range(5):  # The last is masked.
        squares = [(reconstruction[i, d] - target[i, d]) ** 2 for d in range(3)]
        bits = [1 + 2 * log_std[i, j] - mean[i, j] ** 2 - np.exp(log_std[i, j]) ** 2 for j in range(4)]
        expected[i] = weight[i] * np.mean(squares) + 0.8 * -0.5 * np.mean(bits)
    where = jnp.arange(6) < 5
    arrays = [jnp.asarray(x) for x in (reconstruction, target, mean, log_std)]
    options = {"weight": jnp.asarray(weight), "kl_weight": 0.8, "where": where}
    function = jax.jit(lambda x, m, s: conditional_vae(x, arrays[1], m, s, **options))
    carriers = arrays[0], *arrays[2:]
    np.testing.assert_allclose(function(*carriers), expected, rtol=1e-12)
    check_gradient(function, *carriers)


def test_a_perfect_model_with_the_prior_as_code_has_no_loss_and_no_gradient(rng) -> None:
    target = jnp.asarray(rng.normal(size=(3, 2)))
    loss, slopes = jax.value_and_grad(lambda *x: conditional_vae(x[0], target, *x[1:]).sum(), argnums=(0, 1, 2))(
        target, jnp.zeros((3, 4)), jnp.zeros((3, 4))
    )
    assert loss == 0 and not any(slope.any() for slope in slopes)
