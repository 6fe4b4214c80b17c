"""Where data are: a kernel density of states and actions, and the cost of leaving it."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, floating, like


def kernel_log_density(
    x: Float[Array, "*batch feature"],
    data: Float[Array, "num feature"],
    *,
    bandwidth: Scalar = 0.535,
    chunk: int | None = None,
) -> Float[Array, "*batch"]:
    """Log of a Gaussian kernel density estimate (KDE), kept in log space where the density underflows.

    log p(x) = logsumexp_i(−‖x − x_i‖² / 2h²) − log N − (d/2)·log(2πh²). A point is taken to be out of the
    distribution below the 5 % quantile of the log-densities of the data themselves. The time is that of all
    pairs; the default bandwidth is for features scaled to [−1, 1].

    Args:
        x: points [*batch, feature], such as a state next to an action; carries the gradient.
        data: data points x_i [num, feature]; a constant.
        bandwidth: standard deviation h of the kernel.
        chunk: static; number of data points that are compared at once, which bounds the memory; all if None.

    Returns:
        Log-density in nats [*batch].

    Raises:
        ValueError: for a non-floating array, unfitting shapes, or a chunk below 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import behavior
        >>> data = jnp.array([[-0.1], [0.0], [0.1]])
        >>> print(np.asarray(behavior.kernel_log_density(jnp.array([[0.0], [3.0]]), data)).round(1))
        [ -0.3 -15.7]

    References:
        Parzen, 1962, "On Estimation of a Probability Density Function and Mode".
        Yan et al., 2025, "Offline Guarded Safe Reinforcement Learning for Medical Treatment Optimization
        Strategies", arXiv:2505.16242 (the guardian; the released code leaves out the power d of the normalizer,
        which a quantile as threshold cancels).
    """
    x, data = floating(x=x, data=data)
    num, feature = data.shape
    if x.shape[-1] != feature:
        raise ValueError(
            f"x and data must have equally many features in their last axis, got {x.shape} and {data.shape}"
        )
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    data = lax.stop_gradient(data)
    (bandwidth,) = like(x, bandwidth)

    def log_kernel_sum(part: Array, real: Array) -> Array:
        exponent = -_squared_distance(x, part) / (2 * jnp.square(bandwidth))
        return jax.nn.logsumexp(jnp.where(real, exponent, -jnp.inf), -1)

    if chunk is None or chunk >= num:
        total = log_kernel_sum(data, jnp.ones(num, bool))
    else:
        count = -(-num // chunk)
        parts = jnp.pad(data, ((0, count * chunk - num), (0, 0))).reshape(count, chunk, feature)
        real = (jnp.arange(count * chunk) < num).reshape(count, chunk)
        # Distances are computed again for the gradient: keeping them would need the memory of all pairs.
        part_sum = jax.checkpoint(lambda inputs: log_kernel_sum(*inputs))
        total = jax.nn.logsumexp(lax.map(part_sum, (parts, real)), 0)
    normalizer = jnp.log(jnp.asarray(num, x.dtype)) + feature / 2 * jnp.log(2 * jnp.pi * jnp.square(bandwidth))
    return total - normalizer


@jax.custom_jvp
def _squared_distance(x: Array, data: Array) -> Array:
    """‖x − x_i‖² of all pairs [*batch, num], by differences: they do not cancel as expanded squares would."""
    return jnp.sum(jnp.square(x[..., None, :] - data), -1)


@_squared_distance.defjvp
def _squared_distance_slope(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # Differences would make the gradient an array [*batch, num, feature]; a matrix product needs no such thing.
    (x, data), (change, _) = primals, tangents
    along = jnp.matmul(change, data.T, precision=lax.Precision.HIGHEST)
    return _squared_distance(x, data), 2 * (jnp.sum(x * change, -1, keepdims=True) - along)


def out_of_distribution_cost(
    log_density: Float[Array, "*#batch"],
    *,
    threshold: Scalar,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Cost 1 for being where there are no data: one more cost of a constrained decision process (OGSRL).

    ĝ = 1[log p < threshold], to be held below a limit in discounted expectation along model rollouts, by a
    Lagrange multiplier or a constrained update.

    Args:
        log_density: log-density of states, or of states and actions [*batch]; a constant.
        threshold: log-density below which a point is outside, most often the 5 % quantile of the log-densities
            of the data.
        where: boolean mask, True where an element counts.

    Returns:
        0 or 1 per element, without gradient, 0 where masked; a density that is NaN is outside.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.regularizers import behavior
        >>> print(behavior.out_of_distribution_cost(jnp.array([-1.0, -9.0]), threshold=-5.0))
        [0. 1.]

    References:
        Yan et al., 2025, "Offline Guarded Safe Reinforcement Learning for Medical Treatment Optimization
        Strategies", arXiv:2505.16242.
    """
    (log_density,) = elements(log_density=log_density, where=where)
    (threshold,) = like(log_density, threshold)
    outside = ~(log_density >= threshold)
    return (outside if where is None else outside & where).astype(log_density.dtype)
