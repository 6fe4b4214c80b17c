"""What parallel environments went through, as rows to learn from beside a dataset; the oldest steps make room."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rlx.data.dataset import endless_return
from rlx.data.sampling import Batch
from rlx.returns.to_go import return_to_go
from rlx.types import Scalar


class OnlineLog(NamedTuple):
    """A log that goes on.

    Attributes:
        rows: a `Batch` `[time, env, ...]`; its extras hold `return_to_go`, where that is kept.
        length: steps of each environment that were ever added.
        running_return: sum of the rewards so far of the episode that each environment is in.
        running_length: steps of it so far.
    """

    rows: Batch
    length: Int[Array, ""]
    running_return: Float[Array, " env"]
    running_length: Int[Array, " env"]


def empty_log(step: Batch, capacity: int, *, with_returns: bool) -> OnlineLog:
    """A log without rows.

    Args:
        step: one step of every environment `[env, ...]`, of which shapes matter alone.
        capacity: steps of each environment that are kept.
        with_returns: whether returns-to-go are kept.
    """
    extras = {"return_to_go": step.reward} if with_returns else {}
    rows = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), step._replace(extras=extras))
    nothing = jnp.zeros(step.reward.shape, step.reward.dtype)
    return OnlineLog(rows, jnp.zeros((), jnp.int32), nothing, nothing.astype(jnp.int32))


def extend_log(log: OnlineLog, steps: Batch, *, discount: Scalar | None = None) -> OnlineLog:
    """The log with further steps, and returns-to-go as they are known now.

    An episode that goes on counts as truncated where it is, as the last of a dataset does, and so goes on with its mean
    reward for ever (`rlx.data.returns_to_go` with `continued`). Once more of it is known, its earlier rows change by
    γ^k·(R̂ − R̂_before), k steps before the first new one: so every row has the return-to-go that it would have had if
    the whole log had been read from a file, at the cost of one pass without a recursion.

    Args:
        log: the log.
        steps: `[time, env, ...]`, whose number of steps divides the log's capacity.
        discount: γ of the returns-to-go; None keeps none.
    """
    count, capacity = steps.reward.shape[0], log.rows.reward.shape[0]
    done = steps.terminated | steps.truncated
    (running_return, running_length), so_far = jax.lax.scan(
        _step, (log.running_return, log.running_length), (steps.reward, done)
    )
    rows = log.rows
    if discount is not None:
        to_go = _returns_to_go(
            steps.reward, steps.terminated, done, endless_return(*so_far, discount=discount), discount
        )
        change = to_go[0] - endless_return(log.running_return, log.running_length, discount=discount)
        before = jnp.mod(log.length - 1 - jnp.arange(capacity), capacity)[:, None]
        corrected = rows.extras["return_to_go"] + discount ** (before + 1) * change
        kept = jnp.where(before < log.running_length, corrected, rows.extras["return_to_go"])
        rows, steps = (x._replace(extras={"return_to_go": y}) for x, y in ((rows, kept), (steps, to_go)))
    start = jnp.mod(log.length, capacity)
    rows = jax.tree.map(lambda x, new: jax.lax.dynamic_update_slice_in_dim(x, new, start, 0), rows, steps)
    return OnlineLog(rows, log.length + count, running_return, running_length)


def sample_log(log: OnlineLog, key: Key[Array, ""], count: int) -> Batch:
    """Rows drawn uniformly, with replacement, from a log that has some.

    Args:
        log: the log.
        key: random key.
        count: how many (static).

    Returns:
        A batch with the extras of `rlx.data.sample`. `next_action` is the action that followed; where the episode
        ended, or the log does, and none did: the row's own. `index` is −1, since the rows are of no dataset.
    """
    time_key, env_key = jax.random.split(key)
    capacity, num_envs = log.rows.reward.shape
    time = jax.random.randint(time_key, (count,), 0, jnp.clip(log.length, 1, capacity))
    env = jax.random.randint(env_key, (count,), 0, num_envs)
    batch = jax.tree.map(lambda x: x[time, env], log.rows)
    is_newest = time == jnp.mod(log.length - 1, capacity)
    following = jnp.where(batch.terminated | batch.truncated | is_newest, time, jnp.mod(time + 1, capacity))
    extras = {"index": jnp.full(count, -1), "next_action": log.rows.action[following, env]}
    return batch._replace(extras=extras | batch.extras)


def _step(running: tuple[Array, Array], step: tuple[Array, Array]):
    """Return and length of the running episode after a step, and with the step, before a new one begins."""
    (total, length), (reward, done) = running, step
    so_far = total + reward, length + 1
    return tuple(jnp.where(done, jnp.zeros_like(x), x) for x in so_far), so_far


def _returns_to_go(
    reward: Float[Array, "time env"],
    terminated: Bool[Array, "time env"],
    done: Bool[Array, "time env"],
    endless: Float[Array, "time env"],
    discount: Scalar,
) -> Float[Array, "time env"]:
    """Returns-to-go of new steps, the last of which count as truncated."""
    is_last = done.at[-1].set(True)
    reward = reward + jnp.where(is_last & ~terminated, discount * endless, 0.0)
    return return_to_go(reward, discount=jnp.where(is_last, 0, jnp.asarray(discount, reward.dtype)))
