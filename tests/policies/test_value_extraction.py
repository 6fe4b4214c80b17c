import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies import refine_actions, rerank_actions, sample_by_value

Q = jnp.array([0.1, 2.0, -1.0, 0.7])
ACTIONS = jnp.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.4, 0.0]])


def bowl(action):
    return -jnp.square(action[..., 0] - 0.5)


def test_rerank_oracle() -> None:
    action, q = rerank_actions(Q, ACTIONS, num_keep=2)
    np.testing.assert_array_equal(q, [2, jnp.float32(0.7)])
    np.testing.assert_array_equal(action, ACTIONS[jnp.array([1, 3])])
    assert rerank_actions(Q, ACTIONS)[0].shape == (4, 2)  # fewer candidates than are to be kept


def test_rerank_of_a_batch_keeps_each_action_with_its_value(rng) -> None:
    q = jnp.asarray(rng.normal(size=(2, 3, 8)), jnp.float32)
    action, kept = rerank_actions(q, jnp.stack([q, 2 * q], -1), num_keep=5)
    np.testing.assert_array_equal(kept, -np.sort(-q, -1)[..., :5])
    np.testing.assert_array_equal(action, jnp.stack([kept, 2 * kept], -1))


def test_refine_oracle() -> None:
    start = jnp.zeros((1, 1))
    np.testing.assert_allclose(refine_actions(bowl, start, num_steps=3, step_size=0.1), [[0.244]], rtol=1e-5)
    wide = {"num_steps": 3, "step_size": 2.0, "low": -10.0, "high": 10.0}
    np.testing.assert_array_equal(refine_actions(bowl, start, **wide), [[0]])
    np.testing.assert_array_equal(refine_actions(bowl, start, **wide, keep_best=False), [[10]])
    np.testing.assert_array_equal(refine_actions(bowl, start, num_steps=0), start)


def test_refined_actions_are_in_bounds_and_never_worse(rng) -> None:
    start = jnp.asarray(rng.uniform(-0.5, 0.5, (6, 5, 3)), jnp.float32)
    bumpy = lambda a: jnp.sum(jnp.sin(9 * a) + a, -1)
    refine = lambda action: refine_actions(bumpy, action, num_steps=7, step_size=0.05, low=-0.5, high=0.6)
    refined = refine(start)
    assert (bumpy(refined) >= bumpy(start)).all() and (bumpy(refined) > bumpy(start) + 0.1).mean() > 0.8
    assert refined.min() >= -0.5 and refined.max() == jnp.float32(0.6)
    np.testing.assert_allclose(refine(start[2, 3]), refined[2, 3], rtol=1e-5)  # nothing is averaged over the batch


def test_of_equally_good_iterates_the_last_is_returned() -> None:
    flat_but_sloped = jax.custom_jvp(lambda a: jnp.zeros(a.shape[:-1]))
    flat_but_sloped.defjvp(lambda primal, tangent: (jnp.zeros(primal[0].shape[:-1]), tangent[0][..., 0]))
    np.testing.assert_allclose(refine_actions(flat_but_sloped, jnp.zeros((1, 1)), num_steps=4, step_size=0.1), [[0.4]])


def test_no_gradient_flows_into_candidates() -> None:
    refined = lambda action: refine_actions(bowl, action, num_steps=2, step_size=0.1).sum()
    assert not np.any(jax.grad(refined)(ACTIONS))
    drawn = lambda q, action: sample_by_value(jax.random.key(0), q, rerank_actions(q, action)[0]).sum()
    assert not any(np.any(x) for x in jax.grad(drawn, (0, 1))(Q, ACTIONS))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_softmax_of_the_values(temperature) -> None:
    q, action = jnp.array([2.0, 0.7]), jnp.array([[0.0], [1.0]])
    draw = lambda key: sample_by_value(key, q, action, temperature=temperature)
    share = jax.vmap(draw)(jax.random.split(jax.random.key(1), 20_000)).mean()
    np.testing.assert_allclose(share, 1 / (1 + np.exp(1.3 / temperature)), atol=0.01)


def test_the_greedy_action_is_the_best() -> None:
    batch = jnp.stack([Q, -Q]), jnp.stack([ACTIONS, ACTIONS])
    action = sample_by_value(jax.random.key(0), *batch, greedy=True)
    np.testing.assert_array_equal(action, ACTIONS[jnp.array([1, 2])])
