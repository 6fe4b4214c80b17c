"""Where the discount is 0 nothing follows: what stands there, a NaN even, counts in no value and no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses import model, value

NAN = jnp.array([jnp.nan, 1.0])
DISCOUNT = jnp.array([0.0, 0.9])


@pytest.mark.parametrize("what", [jnp.nan, jnp.inf])
def test_dual_values_end_with_the_episode(what):
    def total(next_value, target_next_value):
        parts = value.dice_value(jnp.ones(2), next_value, jnp.ones(2), target_next_value, jnp.ones(2), DISCOUNT)
        return sum(map(jnp.sum, parts))

    left = jnp.array([what, 1.0])
    found, gradients = jax.value_and_grad(total, (0, 1))(left, left)
    clean, wanted = jax.value_and_grad(total, (0, 1))(jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(found, clean)
    jax.tree.map(np.testing.assert_array_equal, gradients, wanted)
    assert gradients[0][0] == 0


def test_latent_predictions_end_with_the_episode():
    prediction, feature = jnp.ones((2, 3)), jnp.ones((2, 3))
    following = jnp.broadcast_to(NAN[:, None], (2, 3))
    loss = lambda prediction: jnp.sum(model.td_latent_prediction(prediction, feature, following, DISCOUNT))
    found, gradient = jax.value_and_grad(loss)(prediction)
    assert np.isfinite(found) and np.isfinite(gradient).all()


def test_successor_measures_end_with_the_episode():
    forward = backward = jnp.ones((2, 3))
    targets = jnp.broadcast_to(NAN[:, None], (2, 3))
    loss = lambda forward: jnp.sum(model.successor_measure(forward, backward, targets, backward, DISCOUNT))
    found, gradient = jax.value_and_grad(loss)(forward)
    assert np.isfinite(found) and np.isfinite(gradient).all()
