"""Warmed-up policies in a file, one of each seed, so that several methods begin with the same at the cost of one."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, UInt

from rlx.algorithms.learner import Learner
from rlx.recipes import language, language_tasks
from rlx.recipes.settings import SettingError
from rlx.training import program, responses
from rlx.training.metrics import atomic_path


class Policies(NamedTuple):
    """Where runs begin.

    Attributes:
        seed: of the runs.
        key: data of the key that the run of a seed gives to the `init` of its learner.
        params: what is learned, as it begins.
    """

    seed: Int[Array, " seed"]
    key: UInt[Array, "seed data"]
    params: PyTree[Float[Array, "seed ..."]]


def save(
    config: language.Language, seeds: Sequence[int], path: str | os.PathLike, task: Any = None
) -> dict[str, Float[np.ndarray, " seed"]]:
    """Warm up a policy of each seed, the very one that its own run would begin with, and write them to a file.

    Args:
        config: the config of runs; where it names policies to begin with, these are what is measured and written.
        seeds: of the runs.
        path: the file, `.npz`.
        task: what the policies learn; None makes the one that the config names.

    Returns:
        What an evaluation says of each.
    """
    task, loaded = language_tasks.make_environment(config) if task is None else task, language.load(config)
    structure = language.make_structure(config, task)

    def begin(data: PyTree, seed: Int[Array, ""], key: UInt[Array, " data"]) -> tuple[PyTree, dict[str, Array]]:
        params = language.initial_params(config, task, data)(jax.random.wrap_key_data(key))
        policy = language.make_model(config, data)(params)
        numbers = dict(num_prompts=config.eval_prompts, num_samples=config.eval_samples)
        return params, responses.evaluate_policy(
            jax.random.key(seed), structure, policy, task, first_params=policy, **numbers
        )

    @jax.jit
    def begin_all(data: PyTree, seeds: Int[Array, " seed"], keys: UInt[Array, "seed data"]) -> tuple:
        return jax.lax.map(lambda one: begin(data, *one), (seeds, keys))

    params, measured = jax.device_get(begin_all(loaded, jnp.asarray(seeds), keys_of(seeds)))
    leaves = {f"leaf{number}": leaf for number, leaf in enumerate(jax.tree.leaves(params))}
    with atomic_path(Path(path)) as temporary, open(temporary, "wb") as file:
        np.savez(file, seed=np.asarray(seeds), **leaves)
    return measured


def load(config: language.Language, task: Any = None) -> Policies:
    """The policies of `config.warm_start`.

    Args:
        config: the config of runs.
        task: the config's; None makes it.

    Raises:
        SettingError: no such file, one that is damaged or another, or policies of another shape.
    """
    seeds, leaves = _read(config.warm_start)
    task = language_tasks.make_environment(config) if task is None else task
    shapes = jax.eval_shape(language.make_params(config, task), jax.random.key(0))
    if [leaf.shape for leaf in jax.tree.leaves(shapes)] != [leaf.shape[1:] for leaf in leaves]:
        raise SettingError(
            "warm_start", f"must hold policies of the config's shape; those in {config.warm_start!r} have another"
        )
    params = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    return Policies(seeds, np.asarray(keys_of(seeds)), params)


def seeds_of(path: str | os.PathLike) -> Int[np.ndarray, " seed"]:
    """The seeds that a file has policies of.

    Raises:
        SettingError: no such file, or none of policies.
    """
    seeds, _ = _read(path)
    return seeds


def _read(path: str | os.PathLike) -> tuple[Int[np.ndarray, " seed"], list[Float[np.ndarray, "seed ..."]]]:
    """What `save` wrote: the seeds, and the arrays of their policies.

    Raises:
        SettingError: no such file, one that is damaged, or any other.
    """

    def refuse(reason: str):
        raise SettingError(
            "warm_start", f"must be a file that rlx ablate grpo wrote, got {os.fspath(path)!r}: {reason}"
        )

    if not os.path.isfile(path):
        refuse("there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            # What `save` writes is as large as the file; what is packed could be of any size.
            packed = any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist())
        # NumPy never unpickles where it is not told to.
        with np.load(path, allow_pickle=False) as file:
            found = {} if packed else dict(file)
    # A damaged file makes both libraries raise almost anything, and NumPy advise to unpickle it.
    except Exception:
        refuse("it is no archive of arrays, or damaged")
    seeds = found.pop("seed", None)
    if not (isinstance(seeds, np.ndarray) and seeds.ndim == 1 and np.issubdtype(seeds.dtype, np.integer)):
        refuse("it has no list of seeds")
    leaves = [found.get(f"leaf{number}") for number in range(len(found))]
    if not leaves or not all(isinstance(leaf, np.ndarray) and leaf.shape[:1] == seeds.shape for leaf in leaves):
        refuse("it has not one policy of each seed")
    # The format has no name for bfloat16.
    leaves = [leaf.view(ml_dtypes.bfloat16) if leaf.dtype == "V2" else leaf for leaf in leaves]
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) and np.isfinite(leaf).all() for leaf in leaves):
        refuse("its policies hold something else than finite numbers")
    return seeds, leaves


def check_seeds(path: str | os.PathLike, seeds: Sequence[int]) -> None:
    """Check that a file has a policy of every seed, before anything is compiled.

    Raises:
        SettingError: no such file, or a seed that it does not have.
    """
    known = seeds_of(path).tolist()
    if missing := [int(seed) for seed in seeds if seed not in known]:
        listed = lambda seeds: ", ".join(map(str, seeds))
        raise SettingError(
            "warm_start", f"must have a policy of each seed; {os.fspath(path)!r} has none of {listed(missing)}, "
            f"but of {listed(known)}",
        )  # fmt: skip


def keys_of(seeds: Sequence[int]) -> UInt[Array, "seed data"]:
    """Data of the key that the run of each seed gives to the `init` of its learner, told by a run's very program."""
    nothing = program.Source(
        example=lambda key: (),
        init=lambda key, learner_state: ((), learner_state),
        collect=lambda state, learner_state, key: ((), (), {}),
    )
    witness = Learner(init=lambda key, example: jax.random.key_data(key), update=lambda state, batch, key: (state, {}))
    run = program.make_program(nothing, witness)
    return jax.vmap(lambda seed: run.init(jax.random.key(seed)).learner)(jnp.asarray(seeds))


def pick(policies: Policies, key: Key[Array, ""]) -> PyTree[Float[Array, "..."]]:
    """The policy of the run whose learner is given a key.

    What is traced cannot raise: who compiles runs calls `check_seeds` first. Without it a run of another seed gets NaN.

    Raises:
        ValueError: no run of these has the key, which is known.
    """
    same = jnp.all(policies.key == jax.random.key_data(key), axis=-1)
    if not isinstance(same, jax.core.Tracer) and not same.any():
        seeds = ", ".join(str(seed) for seed in np.asarray(policies.seed))
        raise ValueError(f"warm_start has no policy for this key; it has those of the runs of seeds {seeds}")
    return jax.tree.map(lambda x: jnp.where(jnp.any(same), jnp.asarray(x)[jnp.argmax(same)], jnp.nan), policies.params)
