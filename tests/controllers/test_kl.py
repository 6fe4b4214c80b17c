import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.controllers import kl_adaptive_learning_rate, proportional_kl


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


def test_the_learning_rate_follows_the_rule_of_rsl_rl(float64) -> None:
    """Its code in Python numbers: one branch after the other, bounds included."""
    init, update = kl_adaptive_learning_rate(target=0.01)
    rate, state = 1e-3, init(1e-3)
    kls = [0.021, 0.0199, 0.0051, 0.0049, 0.0, 1.0, *[1.0] * 14, *[1e-9] * 30, 0.01, 0.0199]
    seen = []
    for kl in kls:
        if kl > 0.02:
            rate = max(1e-5, rate / 1.5)
        elif 0.0 < kl < 0.005:
            rate = min(1e-2, rate * 1.5)
        found, state = update(state, kl)
        np.testing.assert_allclose(found, rate, rtol=1e-12)
        seen.append(rate)
    assert min(seen) == 1e-5 and max(seen) == 1e-2
    assert update(state, jnp.nan)[0] == found


def test_a_rate_beyond_its_bounds_is_brought_back() -> None:
    init, update = kl_adaptive_learning_rate(target=0.01, low=1e-4, high=1e-3)
    np.testing.assert_allclose(update(init(jnp.array([1.0, 1e-9])), jnp.array([0.0, 0.01]))[0], [1e-3, 1e-4], rtol=1e-6)
