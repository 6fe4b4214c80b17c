"""Minibatches of transitions and of subtrajectories, drawn from a dataset inside a compiled program."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Num

from rlx.data.dataset import Dataset, DatasetError


class Batch(NamedTuple):
    """Transitions in the fields of `rlx.algorithms.learner.Transition`; leading axes as drawn.

    Attributes:
        observation: what was acted on.
        action: what the environment received.
        reward: reward of the step.
        terminated: the task ended here.
        truncated: the episode was cut here.
        next_observation: what the step reached, before any reset.
        extras: what else is known: "index", the row in the dataset, which gathers anything kept per row.
    """

    observation: Num[Array, "*batch observation"]
    action: Num[Array, "*batch action"]
    reward: Float[Array, "*batch"]
    terminated: Bool[Array, "*batch"]
    truncated: Bool[Array, "*batch"]
    next_observation: Num[Array, "*batch observation"]
    extras: dict[str, Array]


class AliasTable(NamedTuple):
    """Weights made ready for draws at a cost that does not depend on the number of rows."""

    keep: Float[Array, " row"]
    other: Int[Array, " row"]


def alias_table(weight: Num[Array, " row"] | np.ndarray) -> AliasTable:
    """Prepares weights for `sample`, once and outside of compiled functions.

    Every row gets the same chance 1/N and passes it on to one other row with probability 1 − keep, such that row i
    is drawn with probability weight_i / Σ weight. Sums are taken in double precision: in single precision those of a
    million rows are wrong by per cents.

    Args:
        weight: how often each row is to be drawn, up to a factor; at least 0 [row].

    Returns:
        The table.

    Raises:
        DatasetError: for weights that are negative, not finite, or all 0.

    References:
        Walker, 1977, "An Efficient Method for Generating Discrete Random Variables with General Distributions",
        ACM Transactions on Mathematical Software 3(3).
    """
    if isinstance(weight, jax.core.Tracer):
        raise DatasetError("weight must be known outside of the compiled function: pass alias_table(weight) into it")
    weight = np.asarray(weight, np.float64)
    total = weight.sum()
    if weight.ndim != 1 or not np.isfinite(total) or not total > 0 or weight.min() < 0:
        raise DatasetError("weight must have one axis and hold finite numbers, none negative and not all 0")
    expected = weight * (len(weight) / total)
    is_large = expected >= 1
    is_large[expected.argmax()] = True  # equal weights may all be rounded to below 1
    small, large = np.flatnonzero(~is_large), np.flatnonzero(is_large)
    # Each small row is filled up by a large one until that has nothing left above 1; from then on it is itself filled
    # up by the next. Who fills whom follows from where the running sums of what lacks and what is over cross.
    lacking = np.cumsum(1 - expected[small])
    over = np.cumsum(expected[large] - 1)
    keep, other = np.ones(len(weight)), np.arange(len(weight))
    last = len(large) - 1
    before = lacking - (1 - expected[small])
    keep[small] = expected[small]
    other[small] = large[np.minimum(np.searchsorted(over, before, side="right"), last)]
    emptied_by = np.searchsorted(lacking, over[:-1], side="right")
    emptied = np.flatnonzero(emptied_by < len(small))
    keep[large[emptied]] = np.clip(1 - (lacking[emptied_by[emptied]] - over[emptied]), 0, 1)
    other[large[emptied]] = large[emptied + 1]
    return AliasTable(jnp.asarray(keep, jnp.float32), jnp.asarray(other, jnp.int32))


def sample(
    dataset: Dataset,
    key: Key[Array, ""],
    batch_size: int | tuple[int, ...],
    *,
    weight: AliasTable | Array | np.ndarray | None = None,
) -> Batch:
    """Transitions drawn with replacement, uniformly or by weight.

    Args:
        dataset: the transitions.
        key: random key.
        batch_size: static; how many, or the shape of the batch.
        weight: None for all rows alike, or an `alias_table`; plain weights [row] are made into one, which costs a
            pass over the data wherever it is compiled.

    Returns:
        A batch whose extras hold "index", the row of each transition, and "next_action", the action that followed
        (where the episode ended and none did: its own last action).
    """
    shape = batch_size if isinstance(batch_size, tuple) else (batch_size,)
    index = _draw(dataset, key, shape, weight)
    batch = _gather(dataset, index)
    following = jnp.where(batch.terminated | batch.truncated, index, index + 1)
    return batch._replace(extras={"index": index, "next_action": dataset.action[following]})


def sample_sequences(
    dataset: Dataset,
    key: Key[Array, ""],
    batch_size: int,
    *,
    length: int,
    weight: AliasTable | Array | np.ndarray | None = None,
) -> Batch:
    """Pieces of episodes for sequence models: `length` rows from a drawn row on, cut where the episode ends.

    Every row is equally likely to be the first one, so that an episode is drawn in proportion to its length.

    Args:
        dataset: the transitions.
        key: random key.
        batch_size: static; how many.
        length: static; rows of each, padded at their end.
        weight: as for `sample`, of the first rows.

    Returns:
        A batch with the axes [batch, length]. Its extras hold "where", False at padding, where all else is 0;
        "timestep", counted from the beginning of the episode; and "index", the row, which gathers returns-to-go and
        anything else kept per row (at padding: the last row of the piece).

    Raises:
        ValueError: for a length below 1.

    References:
        Chen et al., 2021, "Decision Transformer: Reinforcement Learning via Sequence Modeling", arXiv:2106.01345.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    first = _draw(dataset, key, (batch_size,), weight)
    number = jnp.searchsorted(dataset.episode_start, first, side="right") - 1
    start = dataset.episode_start[number]
    end = start + dataset.episode_length[number]
    unbounded = first[:, None] + jnp.arange(length)
    where = unbounded < end[:, None]
    index = jnp.minimum(unbounded, end[:, None] - 1)
    batch = jax.tree.map(lambda x: jnp.where(_expand(where, x), x, jnp.zeros((), x.dtype)), _gather(dataset, index))
    timestep = jnp.where(where, index - start[:, None], 0)
    return batch._replace(extras={"where": where, "timestep": timestep, "index": index})


def _draw(
    dataset: Dataset, key: Array, shape: tuple[int, ...], weight: AliasTable | Array | np.ndarray | None
) -> Array:
    row_key, keep_key = jax.random.split(key)
    index = jax.random.randint(row_key, shape, 0, dataset.num_rows)
    if weight is None:
        return index
    table = weight if isinstance(weight, AliasTable) else alias_table(weight)
    if table.keep.shape != (dataset.num_rows,):
        raise DatasetError(f"weight must have one number per row, {dataset.num_rows}, got shape {table.keep.shape}")
    return jnp.where(jax.random.uniform(keep_key, shape) < table.keep[index], index, table.other[index])


def _gather(dataset: Dataset, index: Array) -> Batch:
    return Batch(
        observation=dataset.observation[index],
        action=dataset.action[index],
        reward=dataset.reward[index],
        terminated=dataset.terminated[index],
        truncated=dataset.truncated[index],
        next_observation=dataset.next_observation[index],
        extras={},
    )


def _expand(where: Array, x: Array) -> Array:
    return where.reshape(where.shape + (1,) * (x.ndim - where.ndim))
