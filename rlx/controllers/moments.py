"""Coefficients and statistics with a state.

A controller is a pair `init(...) -> state`, `update(state, ...) -> (output, state)` of pure functions; its
state is a NamedTuple of arrays that scans, vmaps and checkpoints like any other pytree.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from rlx.types import Controller, Scalar, check_mask, floating, like


class MomentsState(NamedTuple):
    """Count, mean and population variance of everything seen; mean and variance have the structure of the
    example.

    The variance is kept rather than the sum of squares: it stays of the size of the data, so that a count
    that float32 can no longer increase turns the statistics into a very long moving average and not into a
    drift.
    """

    count: Float[Array, ""]
    mean: PyTree[Float[Array, "..."]]
    variance: PyTree[Float[Array, "..."]]


def running_moments(*, clip: Scalar = 10.0, epsilon: Scalar = 1e-8) -> Controller:
    """Running mean and variance of a stream of batches, and the batch normalized by them.

    With n new elements of mean μ_n and variance σ_n², w = n / (count + n) and δ = μ_n − μ:
    μ ← μ + w·δ,  σ² ← (1 − w)·σ² + w·σ_n² + w·(1 − w)·δ². One pass over all data gives the same result up to
    rounding. Before the first batch μ = 0 and σ² = 1, so that `normalize` only clips.

    Args:
        clip: largest absolute normalized value.
        epsilon: added to the variance.

    Returns:
        A controller: `init(example)` takes one unbatched element, an array or a pytree of arrays, and gives a
        `MomentsState`; `update(state, x, *, where=None)` takes elements with any leading batch axes, `where`
        a boolean mask of the shape of those axes, and gives (`normalize(new_state, x)`, new_state).
        Statistics are float32, or float64 for float64 examples.

    Raises:
        ValueError: from init and update, for arrays that are not floating, or not of the example's shape.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import running_moments
        >>> controller = running_moments()
        >>> state = controller.init(jnp.zeros(()))
        >>> normalized, state = controller.update(state, jnp.array([1.0, 3.0]))
        >>> [round(x, 3) for x in normalized.tolist()], float(state.mean), float(state.variance)
        ([-1.0, 1.0], 2.0, 1.0)

    References:
        Chan, Golub and LeVeque, 1983, "Algorithms for Computing the Sample Variance".
    """

    def init(example: PyTree) -> MomentsState:
        def zeros(x: Array) -> Array:
            (x,) = floating(example=x)
            return jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32))

        mean = jax.tree.map(zeros, example)
        return MomentsState(count=jnp.zeros((), jnp.float32), mean=mean, variance=jax.tree.map(jnp.ones_like, mean))

    def update(state: MomentsState, x: PyTree, *, where: Array | None = None) -> tuple[PyTree, MomentsState]:
        state = update_moments(state, x, where=where)
        normalized = normalize(state, x, clip=clip, epsilon=epsilon)
        if where is None:
            return normalized, state
        return jax.tree.map(lambda y: jnp.where(_trailing(where, y.ndim), y, 0), normalized), state

    return Controller(init, update)


def _trailing(mask: Array, ndim: int) -> Array:
    """The mask with trailing axes of 1, to meet an array whose leading axes it is of."""
    return mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))


def update_moments(state: MomentsState, x: PyTree, *, where: Array | None = None) -> MomentsState:
    """Mean and variance of all elements seen before and of a new batch.

    μ ← μ + w·δ,  σ² ← (1 − w)·σ² + w·σ_n² + w·(1 − w)·δ², with w = n / (count + n) and δ = μ_n − μ.

    Args:
        state: a `MomentsState`, from `running_moments().init(example)`.
        x: elements with the structure of the example and any leading batch axes, the same for all leaves.
        where: boolean mask of the shape of the batch axes, True where an element counts.

    Returns:
        The new state, without gradient.

    Raises:
        ValueError: for arrays that are not floating, or not of the example's shape behind the batch axes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import running_moments, update_moments
        >>> state = running_moments().init(jnp.zeros(()))
        >>> for batch in (jnp.array([1.0, 2.0]), jnp.array([3.0, 6.0])):
        ...     state = update_moments(state, batch)
        >>> [round(float(x), 3) for x in state]  # count, mean and variance of 1, 2, 3 and 6
        [4.0, 3.0, 3.5]

    References:
        Chan, Golub and LeVeque, 1983, "Algorithms for Computing the Sample Variance".
    """
    check_mask(where)
    state, x = lax.stop_gradient((state, x))
    leaves, structure = jax.tree.flatten(x)
    means, variances = structure.flatten_up_to(state.mean), structure.flatten_up_to(state.variance)
    batch = _batch_shape(leaves, means)
    mask = jnp.broadcast_to(True if where is None else where, batch)
    n = jnp.sum(mask, dtype=state.count.dtype)
    weight = n / jnp.maximum(state.count + n, 1)

    def combine(x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        axes = tuple(range(len(batch)))
        counts = _trailing(mask, x.ndim)
        size, w = jnp.maximum(n, 1).astype(mean.dtype), weight.astype(mean.dtype)
        # Distances from the old mean: a sum of raw values would lose the digits that make up the variance.
        distance = jnp.where(counts, x.astype(mean.dtype) - mean, 0)
        delta = jnp.sum(distance, axes) / size
        spread = jnp.sum(jnp.where(counts, jnp.square(distance - delta), 0), axes) / size
        return mean + w * delta, (1 - w) * variance + w * (spread + (1 - w) * jnp.square(delta))

    pairs = [combine(*leaf) for leaf in zip(leaves, means, variances, strict=True)]
    return MomentsState(
        count=state.count + n,
        mean=structure.unflatten([mean for mean, _ in pairs]),
        variance=structure.unflatten([variance for _, variance in pairs]),
    )


def _batch_shape(leaves: list[Array], means: list[Array]) -> tuple[int, ...]:
    """The leading axes that all leaves have beyond the example's."""
    batches = set()
    for x, mean in zip(leaves, means, strict=True):
        floating(x=x)
        split = x.ndim - mean.ndim
        if split < 0 or x.shape[split:] != mean.shape:
            raise ValueError(f"x has shape {x.shape}; its last axes must be the example's shape {mean.shape}")
        batches.add(x.shape[:split])
    if len(batches) != 1:
        raise ValueError(f"all leaves of x must have the same batch axes in front of the example's, got {batches}")
    return batches.pop()


def normalize(state: MomentsState, x: PyTree, *, clip: Scalar = 10.0, epsilon: Scalar = 1e-8) -> PyTree:
    """Elements in units of the running standard deviation around the running mean, clipped.

    y = clip((x − μ) / √(σ² + epsilon), −clip, clip).

    Args:
        state: a `MomentsState`; a constant.
        x: elements with the structure of the example and any leading batch axes; carries the gradient.
        clip: largest absolute result; `jnp.inf` for none.
        epsilon: added to the variance.

    Returns:
        Normalized elements of the same structure, shapes and dtypes.

    Raises:
        ValueError: for arrays that are not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import MomentsState, normalize
        >>> state = MomentsState(count=jnp.array(4.0), mean=jnp.array(2.0), variance=jnp.array(9.0))
        >>> [round(x, 3) for x in normalize(state, jnp.array([-1.0, 2.0, 99.0])).tolist()]  # the last is clipped
        [-1.0, 0.0, 10.0]

    References:
        Engstrom et al., 2020, "Implementation Matters in Deep Policy Gradients", arXiv:2005.12729.
    """

    def leaf(x: Array, mean: Array, variance: Array) -> Array:
        (x,) = floating(x=x)
        bound, offset = like(mean, clip, epsilon)
        return jnp.clip((x - mean) * lax.rsqrt(variance + offset), -bound, bound).astype(x.dtype)

    return jax.tree.map(leaf, x, *lax.stop_gradient((state.mean, state.variance)))


def denormalize(state: MomentsState, x: PyTree, *, epsilon: Scalar = 1e-8) -> PyTree:
    """Inverse of `normalize` inside its clip.

    x = μ + y·√(σ² + epsilon).

    Args:
        state: a `MomentsState`; a constant.
        x: normalized elements with the structure of the example and any leading batch axes; carries the
            gradient.
        epsilon: as in `normalize`.

    Returns:
        Elements in their own units, of the same structure, shapes and dtypes.

    Raises:
        ValueError: for arrays that are not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import MomentsState, denormalize
        >>> state = MomentsState(count=jnp.array(4.0), mean=jnp.array(2.0), variance=jnp.array(9.0))
        >>> [round(x, 3) for x in denormalize(state, jnp.array([-1.0, 0.0, 1.0])).tolist()]
        [-1.0, 2.0, 5.0]

    References:
        Engstrom et al., 2020, "Implementation Matters in Deep Policy Gradients", arXiv:2005.12729.
    """

    def leaf(x: Array, mean: Array, variance: Array) -> Array:
        (x,) = floating(x=x)
        (offset,) = like(mean, epsilon)
        return (mean + x * jnp.sqrt(variance + offset)).astype(x.dtype)

    return jax.tree.map(leaf, x, *lax.stop_gradient((state.mean, state.variance)))


class ReturnScaleState(NamedTuple):
    """The discounted return so far of each environment's episode, and the moments of all those returns."""

    episode_return: Float[Array, "*env"]
    moments: MomentsState


def running_return_scale(*, discount: Scalar, clip: Scalar = 10.0, epsilon: Scalar = 1e-8) -> Controller:
    """PPO's scaling of rewards: divided by the running standard deviation of the discounted return.

    G_t = R_t + discount·(1 − done_{t−1})·G_{t−1},  reward ← clip(R / √(Var[G] + epsilon), −clip, clip). The
    mean is not taken off, so that no reward changes sign. The return starts anew after an episode's last
    step, whose own return still counts.

    Args:
        discount: discount factor γ.
        clip: largest absolute scaled reward; `jnp.inf` for none.
        epsilon: added to the variance.

    Returns:
        A controller: `init(reward)` takes the rewards [*env] of one step as an example, `update(state,
        reward, done)` takes reward and done (terminated or truncated) [time, *env] and gives (scaled reward,
        state). All steps of a batch are scaled by the statistics that include the batch.

    Raises:
        ValueError: from update, if reward and done differ in shape or are not [time, *env].

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import running_return_scale
        >>> controller = running_return_scale(discount=0.5)
        >>> state = controller.init(jnp.zeros(1))
        >>> scaled, state = controller.update(state, jnp.array([[2.0], [2.0]]), jnp.array([[False], [False]]))
        >>> [round(x, 3) for x in scaled[:, 0].tolist()]  # the returns 2 and 3 have the standard deviation 0.5
        [4.0, 4.0]

    References:
        Engstrom et al., 2020, "Implementation Matters in Deep Policy Gradients", arXiv:2005.12729.
    """

    def init(reward: Float[Array, "*env"]) -> ReturnScaleState:
        (reward,) = floating(reward=reward)
        moments = running_moments().init(jnp.zeros((), reward.dtype))
        return ReturnScaleState(episode_return=jnp.zeros(reward.shape, moments.mean.dtype), moments=moments)

    def update(state: ReturnScaleState, reward: Array, done: Array) -> tuple[Array, ReturnScaleState]:
        (reward,) = lax.stop_gradient(floating(reward=reward))
        if reward.shape != jnp.shape(done) or reward.shape[1:] != state.episode_return.shape:
            raise ValueError(
                f"reward {reward.shape} and done {jnp.shape(done)} must both be [time, *env] "
                f"with *env = {state.episode_return.shape}"
            )
        gamma, bound, offset = like(state.episode_return, discount, clip, epsilon)

        def forward(carried: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
            reward, done = step
            episode_return = reward + gamma * carried
            return jnp.where(done, 0, episode_return), episode_return

        steps = (reward.astype(gamma.dtype), jnp.asarray(done, bool))
        carried, returns = lax.scan(forward, state.episode_return, steps)
        moments = update_moments(state.moments, returns)
        scaled = jnp.clip(reward * lax.rsqrt(moments.variance + offset), -bound, bound)
        return scaled.astype(reward.dtype), ReturnScaleState(carried, moments)

    return Controller(init, update)
