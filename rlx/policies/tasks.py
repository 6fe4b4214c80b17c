"""Tasks as vectors: the latents that zero-shot policies are conditioned on."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlx.linalg import solve_positive
from rlx.reduce import mean
from rlx.types import Scalar, check_choice, elements, like


def task_embedding(
    feature: Float[Array, "batch z"],
    reward: Float[Array, "batch"],
    *,
    kind: str = "mean",
    normalize: bool = True,
    ridge: Scalar = 0.0,
    where: Bool[Array, "batch"] | None = None,
) -> Float[Array, "z"]:
    """Embedding of a task from states and their rewards, for a policy that has never seen the task (FB, TD-JEPA).

    z = mean_i r_i·B(s_i) (kind "mean", of forward-backward representations, whose features are orthonormal) or
    z = (BᵀB/n + ridge·I)⁻¹·mean_i r_i·B(s_i) ("least_squares": B·z is the closest to r), scaled to ‖z‖ = √dim,
    the norm that the policies were trained with. Multiplying the reward leaves z.

    Args:
        feature: B(s_i) [batch, z].
        reward: r(s_i) [batch].
        kind: static; "mean" or "least_squares".
        normalize: static; whether z is scaled to norm √dim.
        ridge: added to the diagonal of the covariance.
        where: boolean mask [batch], True where a state counts.

    Returns:
        The embedding [z], without gradient; 0 where all rewards are 0. Linearly dependent features give one of
        the solutions.

    Raises:
        ValueError: for an unknown `kind`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import task_embedding
        >>> feature, reward = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([3.0, 4.0])
        >>> [round(x, 3) for x in task_embedding(feature, reward).tolist()]  # along the reward, of norm √2
        [0.849, 1.131]

    References:
        Touati & Ollivier, 2021, "Learning One Representation to Optimize All Rewards", arXiv:2103.07945 (mean).
        Bagatella et al., 2025, "TD-JEPA: Latent-predictive Representations for Zero-Shot Reinforcement Learning",
        arXiv:2510.00739 (least squares).
    """
    check_choice("kind", kind, ("mean", "least_squares"))
    per_row = lambda x: x if x is None else jnp.expand_dims(x, -1)
    mask = per_row(where)
    feature, reward = lax.stop_gradient(elements(feature=feature, reward=per_row(reward), where=mask))
    dtype = feature.dtype
    feature, reward = (x.astype(jnp.promote_types(dtype, jnp.float32)) for x in (feature, reward))
    over_states = lambda x: mean(x, where=mask, axis=0)
    z = over_states(reward * feature)
    if kind == "least_squares":
        (ridge,) = like(z, ridge)
        count = len(feature) if where is None else jnp.maximum(jnp.sum(where), 1)
        covariance = jnp.matmul(feature.T, feature, precision=lax.Precision.HIGHEST) / count
        z = solve_positive(covariance + ridge * jnp.eye(len(z), dtype=z.dtype), z[:, None])[:, 0]
    return (_to_sphere(z) if normalize else z).astype(dtype)


def sample_task(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Task embeddings drawn uniformly from the sphere on which policies are trained (FB).

    z = √dim·ε/‖ε‖ with ε ~ N(0, I).

    Args:
        key: random key.
        shape: static; shape of the result, its last axis the dimension of z.

    Returns:
        Embeddings [*shape] of norm √dim.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.policies import sample_task
        >>> z = sample_task(jax.random.key(0), (3, 4))
        >>> [round(x, 3) for x in jnp.linalg.norm(z, axis=-1).tolist()]  # √4
        [2.0, 2.0, 2.0]

    References:
        Touati & Ollivier, 2021, "Learning One Representation to Optimize All Rewards", arXiv:2103.07945.
    """
    return _to_sphere(jax.random.normal(key, shape))


def _to_sphere(z: Array) -> Array:
    norm = jnp.linalg.norm(z, axis=-1, keepdims=True)
    return z * (z.shape[-1] ** 0.5 / jnp.where(norm > 0, norm, 1))
