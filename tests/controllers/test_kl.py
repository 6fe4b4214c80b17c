import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.controllers import proportional_kl


def test_oracle() -> None:
    init, update = proportional_kl(target=0.2)
    state = init(0.2)
    for kl, expected in ((0.3, 0.204), (0.1, 0.19992), (0.6, 0.2039184)):
        coefficient, state = update(state, kl)
        np.testing.assert_allclose(coefficient, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("kl", "factor"), [(2.0, 1.0), (2.1, 1.02), (1.9, 0.98), (-9.0, 0.92), (jnp.inf, 1.08), (jnp.nan, 1.0)]
)
def test_step_is_proportional_up_to_the_limit(kl, factor) -> None:
    init, update = proportional_kl(target=2.0, gain=0.4, limit=0.2)
    coefficient, state = update(init(3.0), kl)
    np.testing.assert_allclose(coefficient, 3 * factor, rtol=1e-6)
    assert coefficient == state.coefficient


def test_holds_the_kl_of_a_tilted_policy_at_its_target(float64) -> None:
    # The policy that trades advantage against coefficient · KL is softmax(advantage / coefficient).
    advantage = jnp.array([1.0, 0.3, -0.4, 0.0])
    init, update = proportional_kl(target=0.1)

    def kl(coefficient):
        log_prob = jax.nn.log_softmax(advantage / coefficient)
        return jnp.sum(jnp.exp(log_prob) * (log_prob + jnp.log(4.0)))

    def step(state, _):
        before = kl(state.coefficient)
        return update(state, before)[1], before

    state, history = jax.lax.scan(step, init(0.2), length=300)
    np.testing.assert_allclose(kl(state.coefficient), 0.1, rtol=1e-3)
    assert np.all(np.diff(np.abs(history - 0.1)) <= 1e-12)
