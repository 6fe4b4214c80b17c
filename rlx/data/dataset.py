"""Logged transitions as one pytree of arrays: made, viewed by episode, normalized and joined.

`rlx.data.sampling` draws minibatches from it inside a compiled program.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from rlx.data.offline import normalize_states
from rlx.returns.to_go import return_to_go
from rlx.types import Scalar

if TYPE_CHECKING:
    import gymnasium

ROUNDING, GROSS = 1e-3, 2.0
"""How far an action may lie outside of its bounds, as shares of their distance: what counts as rounding, and what
cannot be of the same environment. Twice the distance is five times a bound that lies symmetrically."""


class DatasetError(ValueError):
    """A dataset is missing, damaged or inconsistent; the message is one line that says what and where."""


class Dataset(NamedTuple):
    """Logged transitions, one episode after another.

    The last row of every episode, and no other, is terminated or truncated. An episode whose end was never logged
    counts as truncated: nothing follows, but its last value is bootstrapped from `next_observation`.

    Attributes:
        observation: what was acted on.
        action: what the environment received.
        reward: reward of the step.
        next_observation: what the step reached, before any reset.
        terminated: the task ended here: nothing follows, bootstrap with 0.
        truncated: the episode was cut here: bootstrap with the value of `next_observation`.
        episode_start: row with which each episode begins, ascending from 0.
    """

    observation: Num[Array, "row *observation"]
    action: Num[Array, "row *action"]
    reward: Float[Array, " row"]
    next_observation: Num[Array, "row *observation"]
    terminated: Bool[Array, " row"]
    truncated: Bool[Array, " row"]
    episode_start: Int[Array, " episode"]

    @property
    def num_rows(self) -> int:
        """Number of transitions."""
        return self.reward.shape[0]

    @property
    def num_episodes(self) -> int:
        """Number of episodes, cut ones included."""
        return self.episode_start.shape[0]

    @property
    def is_last(self) -> Bool[Array, " row"]:
        """Where an episode ends."""
        return self.terminated | self.truncated

    @property
    def episode_length(self) -> Int[Array, " episode"]:
        """Transitions of each episode."""
        return jnp.diff(self.episode_start, append=self.num_rows)

    @property
    def episode_number(self) -> Int[Array, " row"]:
        """Number of the episode that each row belongs to: `x[episode_number]` spreads what is known per episode."""
        return jnp.searchsorted(self.episode_start, jnp.arange(self.num_rows), side="right") - 1

    @property
    def episode_return(self) -> Float[Array, " episode"]:
        """Undiscounted return of each episode, of a cut one as far as it was logged."""
        return jax.ops.segment_sum(
            self.reward, self.episode_number, num_segments=self.num_episodes, indices_are_sorted=True
        )

    def episode(self, number: int) -> "Dataset":
        """One episode, as a dataset of its own."""
        return select_episodes(self, [number])


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ActionRange:
    """The least and the largest action of a dataset. To JAX it is static, so it is known while a program is traced.

    Attributes:
        low: the least value of each component.
        high: the largest.
        whole: whether all are whole numbers.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    whole: bool

    @classmethod
    def of(cls, dataset: Dataset) -> "ActionRange":
        """That of a dataset."""
        action = np.asarray(dataset.action).reshape(dataset.num_rows, -1)
        low, high = (tuple(map(float, x)) for x in (action.min(0), action.max(0)))
        return cls(low, high, np.issubdtype(action.dtype, np.integer))

    def check(self, space: "gymnasium.Space") -> None:
        """Whether an environment's actions can be these; what lies a little outside of the bounds is a warning.

        Args:
            space: of the environment's actions, a Box, Discrete or MultiDiscrete of as many components.

        Raises:
            DatasetError: it is not so.
        """
        counts = getattr(space, "n", getattr(space, "nvec", None))
        if counts is None:
            low, high = (np.ravel(x).astype(float) for x in (space.low, space.high))
        else:
            low = np.ravel(space.start).astype(float)
            high = low + np.ravel(counts) - 1
            if not self.whole:
                raise DatasetError("actions must be whole numbers, as those of the environment are, got fractions")
        bounded = np.isfinite(low) & np.isfinite(high) & (high >= low)
        width = np.where(bounded, high - low, np.inf)
        outside = np.maximum(np.where(bounded, low, -np.inf) - self.low, self.high - np.where(bounded, high, np.inf))
        # A component that has a single value is measured by that value.
        share = np.maximum(outside, 0) / np.where(width > 0, width, np.maximum(np.abs(high), 1.0))
        worst = int(share.argmax())
        found = (
            f"actions reach from {self.low[worst]:.4g} to {self.high[worst]:.4g} in component {worst}, those of the "
            f"environment from {low[worst]:.4g} to {high[worst]:.4g}"
        )
        if share[worst] > (GROSS if counts is None else 0):
            raise DatasetError(found)
        if share[worst] > ROUNDING:
            warnings.warn(f"{found}: a policy that stays within them cannot do the same", stacklevel=2)


def make_dataset(
    observation: Any,
    action: Any,
    reward: Any,
    next_observation: Any,
    terminated: Any,
    truncated: Any,
    *,
    names: Mapping[str, str] | None = None,
) -> Dataset:
    """Checks rows that follow each other in episodes, and moves them to the device.

    A row is the last of its episode if it is terminated or truncated, and so is the last row of all; termination
    comes before truncation. Numbers get JAX's default precision.

    Args:
        observation: array-like [row, *observation].
        action: array-like [row, *action], integers for discrete actions.
        reward: array-like [row].
        next_observation: array-like like `observation`.
        terminated: booleans, or numbers 0 and 1 [row].
        truncated: likewise.
        names: what to call the arguments in messages, where not by their own name.

    Returns:
        The dataset.

    Raises:
        DatasetError: for no rows, different lengths or shapes, values that are not numbers or not finite, or flags
            other than 0 and 1.
    """
    names = names or {}
    given = dict(
        observation=observation,
        action=action,
        reward=reward,
        next_observation=next_observation,
        terminated=terminated,
        truncated=truncated,
    )
    rows = {field: (names.get(field, field), np.asarray(values)) for field, values in given.items()}
    _check_shapes(rows)
    flags = {field: _flags(*rows[field]) for field in ("terminated", "truncated")}
    numbers = {field: _numbers(*rows[field]) for field in rows if field not in flags}
    numbers["reward"] = numbers["reward"].astype(jax.dtypes.canonicalize_dtype(float))
    terminated = flags["terminated"]
    truncated = flags["truncated"] & ~terminated
    truncated[-1] |= ~terminated[-1]
    starts = np.concatenate([[0], np.flatnonzero(terminated | truncated)[:-1] + 1])
    return Dataset(
        **{field: jnp.asarray(values) for field, values in numbers.items()},
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(truncated),
        episode_start=jnp.asarray(starts, jnp.int32),
    )


def returns_to_go(dataset: Dataset, *, discount: Scalar = 1.0, continued: bool = False) -> Float[Array, " row"]:
    """Sum of rewards from each row to the end of its episode, R̂_t = r_t + γ·R̂_{t+1}.

    What would have followed a truncation is not known. Return-conditioned policies ask for what was logged, which ends
    with the episode. A bound of values must not end at 0 there: with `continued`, a truncated episode goes on with its
    mean reward r̄ for ever, R̂_{t+1} = r̄ / (1 − γ) after its last row. An episode of equal rewards r, such as a failed
    one of a sparse reward, then has r / (1 − γ) in every row, as Cal-QL's code gives it; that code ends other truncated
    episodes at 0, so their mean reward is our reading.

    Args:
        dataset: the transitions.
        discount: γ.
        continued: whether truncated episodes go on with their mean reward (static).

    Returns:
        Returns-to-go [row].

    Raises:
        DatasetError: a discount of 1 or more, at which an episode that goes on for ever has no return.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import make_dataset, returns_to_go
        >>> x, cut = jnp.zeros((3, 1)), jnp.array([0, 0, 1])
        >>> failed = make_dataset(x, x, jnp.array([-1.0, -1.0, -1.0]), x, 0 * cut, cut)
        >>> returns_to_go(failed, discount=0.5).tolist()
        [-1.75, -1.5, -1.0]
        >>> returns_to_go(failed, discount=0.5, continued=True).tolist()
        [-2.0, -2.0, -2.0]

    References:
        Chen et al., 2021, "Decision Transformer: Reinforcement Learning via Sequence Modeling", arXiv:2106.01345.
        Nakamoto et al., 2023, "Cal-QL: Calibrated Offline RL Pre-Training for Efficient Online Fine-Tuning",
        arXiv:2303.05479 (truncated episodes).
    """
    reward = dataset.reward
    if continued:
        endless = endless_return(dataset.episode_return, dataset.episode_length, discount=discount)
        reward = reward + jnp.where(dataset.truncated, discount * endless[dataset.episode_number], 0.0)
    return return_to_go(reward, discount=jnp.where(dataset.is_last, 0, jnp.asarray(discount, float)))


def endless_return(
    total: Float[Array, "*batch"], length: Int[Array, "*batch"], *, discount: Scalar
) -> Float[Array, "*batch"]:
    """What an episode of the mean reward of another one is worth that never ends: r̄ / (1 − γ).

    Args:
        total: sum of the rewards of the known steps [*batch].
        length: how many these are [*batch]; of none the return is 0.
        discount: γ below 1.

    Raises:
        DatasetError: a discount of 1 or more.
    """
    if not isinstance(discount, jax.core.Tracer) and not float(discount) < 1:
        raise DatasetError(f"discount must be below 1 where truncated episodes go on for ever, got {float(discount)}")
    return total / jnp.maximum(length, 1) / (1 - discount)


class Normalized(NamedTuple):
    """A dataset with normalized observations, and what normalizes others: (observation − mean) / scale."""

    dataset: Dataset
    mean: Float[Array, "*observation"]
    scale: Float[Array, "*observation"]


def normalize_observations(dataset: Dataset, *, eps: Scalar = 1e-3) -> Normalized:
    """The dataset with both observations in units of the standard deviation of `observation`, per feature.

    s ← (s − μ) / (σ + eps), by the statistics of the whole dataset (`rlx.data.normalize_states`).

    Args:
        dataset: with vectors for observations.
        eps: added to the standard deviation.

    Returns:
        The dataset, mean and scale; an evaluation normalizes by the same two.

    References:
        Fujimoto and Gu, 2021, "A Minimalist Approach to Offline Reinforcement Learning", arXiv:2106.06860.
    """
    states, mean, scale = normalize_states(dataset.observation, eps=eps)
    following = (dataset.next_observation - mean) / scale
    return Normalized(dataset._replace(observation=states, next_observation=following), mean, scale)


def select_episodes(dataset: Dataset, episodes: Sequence[int] | Int[np.ndarray, " episode"]) -> Dataset:
    """A dataset of some episodes in the given order, such as the best tenth.

    Args:
        dataset: the transitions.
        episodes: numbers of episodes; known outside of a compiled function, since they decide the size.

    Returns:
        The dataset.

    Raises:
        DatasetError: for no episode, or one that does not exist.
    """
    episodes = np.asarray(episodes, int).reshape(-1)
    if not episodes.size or episodes.min() < 0 or episodes.max() >= dataset.num_episodes:
        raise DatasetError(f"episodes must be some of 0 … {dataset.num_episodes - 1}, got {episodes.tolist()[:8]}")
    start, length = np.asarray(dataset.episode_start)[episodes], np.asarray(dataset.episode_length)[episodes]
    new_start = np.cumsum(length) - length
    rows = np.repeat(start - new_start, length) + np.arange(length.sum())
    arrays = (x[rows] for x in dataset[:-1])
    return Dataset(*arrays, episode_start=jnp.asarray(new_start, jnp.int32))


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """One dataset of several, in the order given.

    Args:
        datasets: at least one; their observations and actions of one shape.

    Returns:
        The dataset.

    Raises:
        DatasetError: for none, or unfitting shapes.
    """
    shapes = [(x.observation.shape[1:], x.action.shape[1:]) for x in datasets]
    if len(set(shapes)) != 1:
        raise DatasetError(f"datasets must have observations and actions of one shape, got {shapes}")
    offsets = np.cumsum([0, *(x.num_rows for x in datasets[:-1])])
    arrays = (jnp.concatenate(parts) for parts in zip(*(x[:-1] for x in datasets)))
    starts = [x.episode_start + int(offset) for x, offset in zip(datasets, offsets)]
    return Dataset(*arrays, episode_start=jnp.concatenate(starts))


def _check_shapes(rows: Mapping[str, tuple[str, np.ndarray]]) -> None:
    lengths = {name: len(x) if x.ndim else None for name, x in rows.values()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        listed = ", ".join(f"{name} {'a scalar' if size is None else size}" for name, size in lengths.items())
        raise DatasetError(f"arrays must have the same number of rows, got {listed}")
    if not len(rows["reward"][1]):
        raise DatasetError("there are no transitions")
    if len(rows["reward"][1]) > np.iinfo(np.int32).max:
        raise DatasetError(f"a dataset holds at most {np.iinfo(np.int32).max:,} transitions")
    for field in ("reward", "terminated", "truncated"):
        name, x = rows[field]
        if x.ndim != 1:
            raise DatasetError(f"{name} must have one number per row, got the shape {x.shape}")
    for name, x in (rows["observation"], rows["action"]):
        if not x.size:
            raise DatasetError(f"{name} must have at least one number per row, got the shape {x.shape}")
    (name, x), (next_name, following) = rows["observation"], rows["next_observation"]
    if x.shape != following.shape:
        raise DatasetError(f"{next_name} must have the shape of {name}, got {following.shape} and {x.shape}")


def _numbers(name: str, x: np.ndarray) -> np.ndarray:
    """Numbers in JAX's default precision, all of them finite."""
    if x.dtype.kind not in "iuf" or x.dtype.itemsize > 8:
        raise DatasetError(f"{name} must hold integers or floating-point numbers, got dtype {x.dtype}")
    given = x
    with np.errstate(over="ignore"):  # what overflows is reported below
        x = x.astype(jax.dtypes.canonicalize_dtype(x.dtype))
    is_whole = x.dtype.kind in "iu"
    bad = (x != given) if is_whole else ~np.isfinite(x)
    bad = bad.any(tuple(range(1, x.ndim)))
    if bad.any():
        what = f"whole numbers that {x.dtype} cannot hold" if is_whole else "NaN or infinity"
        raise DatasetError(f"{name} holds {what} in {bad.sum()} of {len(x)} rows, first in row {int(bad.argmax())}")
    return x


def _flags(name: str, x: np.ndarray) -> np.ndarray:
    if not (x.dtype == bool or (np.issubdtype(x.dtype, np.number) and np.isin(x, (0, 1)).all())):
        raise DatasetError(f"{name} must hold booleans or only 0 and 1, got others of dtype {x.dtype}")
    return x.astype(bool)
