import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.preference import inpo, ipo
from rlx.tabular import inpo_step

PREFERENCE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])


def test_inpo_equals_its_formula_and_its_limits(float64, rng) -> None:
    arrays = rng.uniform(-9, 0, (6, 20))
    chosen, rejected, reference_chosen, reference_rejected, behavior_chosen, behavior_rejected = arrays
    h = chosen - rejected - 0.2 * (reference_chosen - reference_rejected) - 0.8 * (behavior_chosen - behavior_rejected)
    arrays = [jnp.asarray(x) for x in arrays]
    value, back = jax.vjp(jax.jit(lambda c: inpo(c, *arrays[1:], eta=0.3, tau_ratio=0.2)), arrays[0])
    np.testing.assert_allclose(value, (h - 1 / 0.6) ** 2, rtol=1e-10)
    np.testing.assert_allclose(back(jnp.ones(20))[0], 2 * (h - 1 / 0.6), rtol=1e-10)
    loss = jax.jit(lambda ratio: inpo(*arrays, eta=0.3, tau_ratio=ratio))
    np.testing.assert_allclose(loss(1.0), ipo(*arrays[:4], beta=0.3), rtol=1e-10)
    np.testing.assert_allclose(loss(0.0), ipo(*arrays[:2], *arrays[4:], beta=0.3), rtol=1e-10)


def test_expected_loss_is_least_at_the_exact_step(float64, rng) -> None:
    policy, reference = jnp.log(jnp.array([0.2, 0.5, 0.3])), jnp.log(jnp.array([0.5, 0.3, 0.2]))
    first, second = (x.ravel() for x in np.meshgrid(range(3), range(3), indexing="ij"))

    @jax.jit
    def slope(log_prob):
        def risk(logits):
            log_prob = jax.nn.log_softmax(logits)
            pick = lambda x: (x[first], x[second])
            wins = inpo(*pick(log_prob), *pick(reference), *pick(policy), eta=0.7, tau_ratio=0.3)
            pair = jnp.exp(policy[first] + policy[second])
            return jnp.sum(pair * PREFERENCE[first, second] * wins)

        return jax.grad(risk)(log_prob)

    step = inpo_step(policy, reference, jnp.asarray(PREFERENCE), eta=0.7, tau=0.21)
    np.testing.assert_allclose(slope(step), 0, atol=1e-12)
    assert np.abs(slope(policy)).max() > 0.01
