"""Warmed-up policies in a file, one of each seed, so that several methods begin with the same at the cost of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, UInt

from rlx.recipes import grpo
from rlx.training.metrics import atomic_path


class Policies(NamedTuple):
    """Where runs begin.

    Attributes:
        key: data of the key that `policy_params` of a program is given in the run of a seed.
        params: of the policies.
    """

    key: UInt[Array, "seed data"]
    params: PyTree[Float[Array, "seed ..."]]


def save(config: grpo.Config, seeds: Sequence[int], path: str | os.PathLike) -> dict[str, Float[np.ndarray, " seed"]]:
    """Warm up a policy of each seed, the very one that its own run would begin with, and write them to a file.

    Args:
        config: the config of runs; where it names policies to begin with, these are what is measured and written.
        seeds: of the runs.
        path: the file, `.npz`.

    Returns:
        What an evaluation says of each.
    """
    program = grpo.make_build(config, config.num_updates)({})

    def begin(seed: Array) -> tuple[PyTree, dict[str, Array]]:
        state = program.init(jax.random.key(seed))
        return state.params["policy"], program.evaluate(state, jax.random.key(seed))

    params, measured = jax.device_get(jax.jit(lambda seeds: jax.lax.map(begin, seeds))(jnp.asarray(seeds)))
    leaves = {f"leaf{number}": leaf for number, leaf in enumerate(jax.tree.leaves(params))}
    with atomic_path(Path(path)) as temporary, open(temporary, "wb") as file:
        np.savez(file, seed=np.asarray(seeds), **leaves)
    return measured


def load(config: grpo.Config, task: Any) -> Policies:
    """The policies of `config.warm_start`.

    Raises:
        ValueError: no such file, or policies of another shape.
    """
    if not Path(config.warm_start).is_file():
        raise ValueError(f"warm_start must be a file that rlx ablate grpo wrote, got {config.warm_start!r}")
    with np.load(config.warm_start) as file:
        seeds, leaves = file["seed"], [file[f"leaf{number}"] for number in range(len(file.files) - 1)]
    _, init = grpo.make_policy(config, task)
    shapes = jax.eval_shape(init, jax.random.key(0))
    if [leaf.shape for leaf in jax.tree.leaves(shapes)] != [leaf.shape[1:] for leaf in leaves]:
        raise ValueError(f"the policies in warm_start={config.warm_start!r} have another shape than the config's")
    keys = jax.vmap(lambda seed: jax.random.key_data(jax.random.split(jax.random.key(seed))[0]))(seeds)
    return Policies(np.asarray(keys), jax.tree.unflatten(jax.tree.structure(shapes), leaves))


def pick(policies: Policies, key: Key[Array, ""]) -> PyTree[Float[Array, "..."]]:
    """The policy of the run that a key belongs to; NaN, which a run notices at once, where there is none."""
    same = jnp.all(policies.key == jax.random.key_data(key), axis=-1)
    return jax.tree.map(lambda x: jnp.where(jnp.any(same), jnp.asarray(x)[jnp.argmax(same)], jnp.nan), policies.params)
