"""Critics with an encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies

RNG = np.random.default_rng(0)
S, A = jnp.float32(RNG.normal(size=(5, 3))), jnp.float32(RNG.normal(size=(4, 5, 2)))


def numpy_mlp(params, x):
    """One hidden layer of rectified units, in float64."""
    hidden, output = (jax.tree.map(np.float64, params["params"][f"Dense_{i}"]) for i in range(2))
    return np.maximum(x @ hidden["kernel"] + hidden["bias"], 0) @ output["kernel"] + output["bias"]


@pytest.mark.slow
def test_every_member_values_the_action_at_features_of_its_own():
    encoded = policies.encoded_critic((8,), (6,), feature_size=4, num=3)
    params = encoded.critic.init(jax.random.key(0), S[0], A[0, 0])
    assert {x.shape[0] for x in jax.tree.leaves(params)} == {encoded.num} == {3}
    q, features = encoded.critic.apply(params, S, A), encoded.encode(params, S)
    assert q.shape == (3, 4, 5) and features.shape == (3, 5, encoded.feature_size)
    for i in range(3):
        member = jax.tree.map(lambda x: x[i], params)
        feature = numpy_mlp(member["encoder"], np.float64(S))
        both = np.concatenate([np.broadcast_to(feature, (4, 5, 4)), A], -1)
        np.testing.assert_allclose(features[i], feature, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(q[i], numpy_mlp(member["head"], both)[..., 0], rtol=1e-4, atol=1e-6)
    assert not np.allclose(features[0], features[1])
    # A part of the parameters is that part of the ensemble.
    part = encoded.critic.apply(jax.tree.map(lambda x: x[:1], params), S, A)
    np.testing.assert_allclose(part, q[:1], rtol=1e-6)
