import jax.numpy as jnp
import numpy as np

from rlx.losses.preference import dpo, visit_label


def test_oracle_and_limits() -> None:
    label = visit_label(jnp.array([6, 1, 5, 3, 0, 0]), jnp.array([2, 3, 5, 0, 0, 4]))
    np.testing.assert_allclose(label, [0.75, 0.5, 0.5, 1, 1, 0.5])
    np.testing.assert_allclose(visit_label(jnp.array([6.0]), jnp.array([2.0])), 0.75)


def test_is_the_share_of_visits(rng) -> None:
    chosen, rejected = rng.integers(1, 50, (2, 30))
    label = visit_label(jnp.asarray(chosen), jnp.asarray(rejected))
    np.testing.assert_allclose(label, np.maximum(chosen / (chosen + rejected), 0.5), rtol=1e-6)


def test_as_a_label_equal_visits_pull_the_margin_to_zero() -> None:
    zeros, label = jnp.zeros(2), visit_label(jnp.array([4, 4]), jnp.array([4, 4]))
    ahead, behind = (dpo(zeros + x, zeros, zeros, zeros, label=label) for x in (3.0, -3.0))
    level = dpo(zeros, zeros, zeros, zeros, label=label)
    np.testing.assert_allclose(ahead, behind, rtol=1e-6)
    assert (level < ahead).all()
