import jax
import jax.numpy as jnp
import numpy as np

from rlx.controllers import entropy_temperature_loss


def test_equals_numpy_for_one_temperature_of_a_batch(rng, float64, check_gradient) -> None:
    log_prob, where = rng.normal(size=7), np.arange(7) < 5
    expected = [-0.4 * (log_prob[i] - 3) * where[i] for i in range(7)]
    function = lambda t: entropy_temperature_loss(
        t, jnp.asarray(log_prob), target_entropy=-3.0, where=jnp.asarray(where)
    )
    np.testing.assert_allclose(function(jnp.array(0.4)), expected, rtol=1e-12)
    check_gradient(function, jnp.array(0.4))


def test_the_temperature_rises_while_entropy_is_too_small() -> None:
    for log_prob, sign in ((2.0, -1), (-3.0, 1)):  # Entropy −2 and 3, target 1.
        arrays = jnp.array(0.3), jnp.full(4, log_prob)
        slopes = jax.grad(lambda t, p: entropy_temperature_loss(t, p, target_entropy=1.0).mean(), argnums=(0, 1))(
            *arrays
        )
        assert np.sign(slopes[0]) == sign and not slopes[1].any()
