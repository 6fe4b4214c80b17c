import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.value import hybrid_value, squared_td

ORACLE = jnp.array([1.0, 2.0]), jnp.array([2.0, 2.0]), jnp.array([0.0]), jnp.array([3.0])


def test_oracle_and_no_weight_is_the_on_policy_critic() -> None:
    np.testing.assert_allclose(hybrid_value(*ORACLE), 9.5)
    on_policy = squared_td(*ORACLE[:2]).mean()
    np.testing.assert_allclose(hybrid_value(*ORACLE, offline_weight=0), on_policy)


def test_the_weight_does_not_depend_on_the_size_of_a_batch() -> None:
    tripled = *(jnp.tile(x, 3) for x in ORACLE[:2]), *(jnp.tile(x, 5) for x in ORACLE[2:])
    np.testing.assert_allclose(hybrid_value(*tripled, offline_weight=0.3), hybrid_value(*ORACLE, offline_weight=0.3))


def test_gradients_reach_both_critics_and_no_target(rng, check_gradient) -> None:
    arrays = [jnp.asarray(x) for x in (*rng.normal(size=(2, 3, 2)), *rng.normal(size=(2, 4)))]
    check_gradient(
        lambda on, off: hybrid_value(on, arrays[1], off, arrays[3], offline_weight=0.4), arrays[0], arrays[2]
    )
    assert not any(np.any(x) for x in jax.grad(hybrid_value, (1, 3))(*arrays))
