import jax
import jax.numpy as jnp
import numpy as np

from rlx.policies import seek_anchor, transductive_product


def test_product_oracle() -> None:
    product = transductive_product(jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[1.0, -1.0], [3.0, 2.0]]))
    np.testing.assert_array_equal(product, [-1, 2])


def test_product_is_bilinear_and_rank_1_with_a_constant_anchor_is_plain(rng, check_gradient) -> None:
    delta, other, anchor = (jnp.asarray(x) for x in rng.normal(size=(3, 2, 4, 3)))
    combined = transductive_product(2 * delta - other, anchor)
    separate = 2 * transductive_product(delta, anchor) - transductive_product(other, anchor)
    np.testing.assert_allclose(combined, separate, rtol=1e-10)
    np.testing.assert_allclose(transductive_product(anchor, delta), transductive_product(delta, anchor), rtol=1e-12)
    np.testing.assert_array_equal(transductive_product(delta[..., :1], jnp.ones((2, 4, 1))), delta[..., 0])
    check_gradient(jax.jit(transductive_product), delta, anchor)


def test_the_anchor_is_where_the_policy_leads() -> None:
    policy = lambda state: -0.5 * state["position"]
    dynamics = lambda state, action: {"position": state["position"] + action, "time": state["time"] + 1}
    start = {"position": jnp.array([[8.0], [-4.0]]), "time": jnp.array([0, 10])}
    anchor = seek_anchor(start, policy, dynamics, horizon=3)
    np.testing.assert_array_equal(anchor["position"], [[1.0], [-0.5]])
    np.testing.assert_array_equal(anchor["time"], [3, 13])
    np.testing.assert_array_equal(seek_anchor(start, policy, dynamics, horizon=0)["position"], start["position"])


def test_no_gradient_flows_through_the_model() -> None:
    anchor = lambda state, gain: seek_anchor(state, lambda s: gain * s, lambda s, a: s + a, horizon=2).sum()
    assert not any(np.any(x) for x in jax.grad(anchor, (0, 1))(jnp.ones(3), 0.5))
