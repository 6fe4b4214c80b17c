"""Linear networks and a batch, small enough for finite differences in float64 NumPy."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from rlx.algorithms import Transition

SAMPLES, OBSERVATION, ACTION = 6, 3, 2
BOX = gymnasium.spaces.Box(np.array([-1.0, -2.0], np.float32), np.array([1.0, 4.0], np.float32))


def make_batch(rng: np.random.Generator, minibatches: int = 1) -> Transition:
    size = minibatches * SAMPLES
    terminated = np.arange(size) % 5 == 1
    return Transition(
        observation=rng.normal(size=(size, OBSERVATION)),
        action=rng.uniform(BOX.low, BOX.high, size=(size, ACTION)),
        reward=rng.normal(size=size),
        terminated=terminated,
        truncated=np.arange(size) % 5 == 3,
        next_observation=rng.normal(size=(size, OBSERVATION)),
        extras={"next_action": rng.uniform(BOX.low, BOX.high, size=(size, ACTION))},
    )


def on_device(batch: Transition) -> Transition:
    """As JAX has it, in the precision that is switched on."""
    return jax.tree.map(jnp.asarray, batch)


def part(batch: Transition, index: int) -> Transition:
    return jax.tree.map(lambda x: x[index * SAMPLES : (index + 1) * SAMPLES], batch)


def in_float64(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if x.dtype == np.float32 else x, tree)


def numpy_q(params, observation, action):
    """Values of every member `[ensemble, sample]`."""
    layer = params["params"]["Dense_0"]
    x = np.concatenate([observation, action], axis=-1)
    return np.stack([x @ kernel[:, 0] + bias[0] for kernel, bias in zip(layer["kernel"], layer["bias"])])


def numpy_gradient(function, params, step=1e-6):
    """Central differences of `function(params)` in every entry."""
    leaves, structure = jax.tree.flatten(params)
    gradients = []
    for i, leaf in enumerate(leaves):
        gradient = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            ends = []
            for sign in (1, -1):
                moved = leaf.copy()
                moved[index] += sign * step
                ends.append(function(jax.tree.unflatten(structure, [*leaves[:i], moved, *leaves[i + 1 :]])))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        gradients.append(gradient)
    return jax.tree.unflatten(structure, gradients)


def numpy_descend(function, params, rate):
    return jax.tree.map(lambda x, g: x - rate * g, params, numpy_gradient(function, params))


def assert_close(actual, expected, **tolerances):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **({"rtol": 1e-6, "atol": 1e-9} | tolerances)), actual, expected
    )
