import jax.numpy as jnp
import numpy as np

from rlx.rewards import improvement


def test_oracle() -> None:
    after, before = jnp.array([1.0, 0.4]), jnp.array([0.0, 0.6])
    np.testing.assert_allclose(improvement(after, before), [1, -0.2], rtol=1e-6)
    np.testing.assert_allclose(improvement(after, before, baseline=0.1), [0.9, -0.3], rtol=1e-6)


def test_telescopes_and_forgets_the_offset_of_a_task(rng, float64) -> None:
    trial = jnp.asarray(rng.normal(size=(7, 3)))
    gains = improvement(trial[1:], trial[:-1])
    np.testing.assert_allclose(gains.sum(0), trial[-1] - trial[0], rtol=1e-12)
    easier = trial + jnp.array([5.0, -2.0, 0.0])
    np.testing.assert_allclose(improvement(easier[1:], easier[:-1]), gains, rtol=1e-9)
