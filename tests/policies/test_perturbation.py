import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.policy import clipped_surrogate
from rlx.policies import perturb


def test_noise_has_the_scale_and_comes_from_the_key(rng) -> None:
    hidden, log_scale = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32), np.log(0.4)
    keys = jax.random.split(jax.random.key(0), 4000)
    noisy = np.asarray(jax.jit(jax.vmap(lambda key: perturb(key, hidden, log_scale)))(keys))
    np.testing.assert_allclose(noisy.mean(0), hidden, atol=5 * 0.4 / np.sqrt(4000))
    np.testing.assert_allclose(noisy.var(0), 0.16, rtol=0.15)
    np.testing.assert_array_equal(perturb(keys[0], hidden, log_scale), perturb(keys[0], hidden, log_scale))
    np.testing.assert_array_equal(perturb(keys[0], hidden, -jnp.inf), hidden)


def test_the_gradient_reaches_the_scale_only_by_the_log_probability(rng, check_gradient) -> None:
    hidden, key = jnp.asarray(rng.normal(size=(5, 3))), jax.random.key(3)
    action, advantage = jnp.asarray(rng.integers(0, 3, 5)), jnp.asarray(rng.normal(size=5))
    chosen = lambda logits: jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
    behavior = chosen(hidden)

    @jax.jit
    def loss(hidden, log_scale):
        log_prob = chosen(perturb(key, hidden, log_scale))
        return clipped_surrogate(log_prob, behavior, advantage, level="sequence", clip_low=0.5, clip_high=3.0).sum()

    log_scale = jnp.float64(-2.0)
    slope = jax.grad(loss, 1)
    assert slope(hidden, log_scale) != 0 and slope(hidden, jnp.float64(-np.inf)) == 0
    check_gradient(jax.jit(lambda hidden, log_scale: perturb(key, hidden, log_scale)), hidden, log_scale)
