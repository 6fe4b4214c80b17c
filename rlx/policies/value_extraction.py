"""Policy extraction by improving actions with a critic and cloning the result, whatever the policy class."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from rlx.types import Scalar, check_broadcast, floating, like


def rerank_actions(
    q: Float[Array, "*batch candidate"], action: Float[Array, "*batch candidate action"], *, num_keep: int = 10
) -> tuple[Float[Array, "*batch keep action"], Float[Array, "*batch keep"]]:
    """The candidate actions of the highest value (PA-RL).

    (a_(1), …, a_(k)) = the k largest by Q of a_1 … a_n ~ π(·|s). For distillation the dataset's action takes the
    place of the last.

    Args:
        q: value Q(s, a_i) of each candidate, such as an ensemble's mean [*batch, candidate].
        action: candidates from the base policy [*batch, candidate, action].
        num_keep: static; number k of actions to keep, all where there are fewer.

    Returns:
        (actions [*batch, keep, action], their values [*batch, keep]), the best first, without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import rerank_actions
        >>> q, action = jnp.array([0.25, 0.75, 0.5]), jnp.array([[0.0], [1.0], [2.0]])
        >>> kept, value = rerank_actions(q, action, num_keep=2)
        >>> kept.tolist(), value.tolist()
        ([[1.0], [2.0]], [0.75, 0.5])

    References:
        Mark et al., 2024, "Policy Agnostic RL: Offline RL and Online RL Fine-Tuning of Any Class and Backbone",
        arXiv:2412.06685 (global optimization).
    """
    q, action = _candidates(q, action)
    best, index = lax.top_k(q, min(num_keep, q.shape[-1]))
    return jnp.take_along_axis(action, index[..., None], -2), best


def refine_actions(
    value_fn: Callable[[Array], Array],
    action: Float[Array, "*batch action"],
    *,
    num_steps: int = 10,
    step_size: Scalar = 3e-4,
    low: Scalar = -1.0,
    high: Scalar = 1.0,
    keep_best: bool = True,
) -> Float[Array, "*batch action"]:
    """Actions improved by gradient ascent on their value (PA-RL).

    a_{t+1} = clip(a_t + η·∇_a Q(s, a_t), low, high), and of a_0 … a_T the best by Q, the last of equal ones.

    Args:
        value_fn: Q(s, ·), a function of actions [*batch, action] that gives the value of each [*batch], such as
            the ensemble's mean.
        action: actions to start from [*batch, action]; a constant.
        num_steps: static; number T of steps.
        step_size: step size η, in the units of the normalized action.
        low: smallest action.
        high: largest action.
        keep_best: static; whether the best iterate is returned, or the last.

    Returns:
        Actions [*batch, action], without gradient.

    Raises:
        ValueError: if `action` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import refine_actions
        >>> value = lambda action: -jnp.sum(jnp.square(action - 0.5), -1)
        >>> [round(x, 3) for x in refine_actions(value, jnp.zeros(2), num_steps=50, step_size=0.1).tolist()]
        [0.5, 0.5]

    References:
        Mark et al., 2024, "Policy Agnostic RL: Offline RL and Online RL Fine-Tuning of Any Class and Backbone",
        arXiv:2412.06685 (local optimization).
    """
    (action,) = lax.stop_gradient(floating(action=action))
    step_size, low, high = like(action, step_size, low, high)

    def total(action: Array) -> tuple[Array, Array]:
        value = value_fn(action)
        return jnp.sum(value), value  # of the sum over the batch, the gradient is each sample's own

    def better(best: tuple[Array, Array], action: Array, value: Array) -> tuple[Array, Array]:
        found = value >= best[1]
        return jnp.where(found[..., None], action, best[0]), jnp.where(found, value, best[1])

    def ascend(carry: tuple[Array, tuple[Array, Array]], _: None) -> tuple[tuple[Array, tuple[Array, Array]], None]:
        action, best = carry
        slope, value = jax.grad(total, has_aux=True)(action)
        best = better(best, action, value) if keep_best else best
        return (jnp.clip(action + step_size * slope, low, high).astype(action.dtype), best), None

    values = jax.eval_shape(value_fn, action)
    nothing = action, jnp.full(values.shape, -jnp.inf, values.dtype)
    (action, best), _ = lax.scan(ascend, (action, nothing), length=num_steps)
    return lax.stop_gradient(better(best, action, value_fn(action))[0] if keep_best else action)


def sample_by_value(
    key: PRNGKeyArray,
    q: Float[Array, "*batch candidate"],
    action: Float[Array, "*batch candidate action"],
    *,
    temperature: Scalar = 1.0,
    greedy: bool = False,
) -> Float[Array, "*batch action"]:
    """One of the candidate actions, drawn by a softmax of their values or the best (PA-RL).

    P(a_i) = exp(Q_i/T) / Σ_j exp(Q_j/T) for distillation; argmax Q for backups and evaluation.

    Args:
        key: random key.
        q: value Q(s, a_i) of each candidate [*batch, candidate].
        action: candidates [*batch, candidate, action].
        temperature: T, in the units of Q.
        greedy: static; whether the best is taken, without randomness.

    Returns:
        Actions [*batch, action], without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.policies import sample_by_value
        >>> q, action = jnp.array([0.25, 0.75, 0.5]), jnp.array([[0.0], [1.0], [2.0]])
        >>> sample_by_value(jax.random.key(0), q, action, temperature=0.001).tolist()  # all but greedy
        [1.0]

    References:
        Mark et al., 2024, "Policy Agnostic RL: Offline RL and Online RL Fine-Tuning of Any Class and Backbone",
        arXiv:2412.06685.
    """
    q, action = _candidates(q, action)
    (temperature,) = like(q, temperature)
    index = jnp.argmax(q, -1) if greedy else jax.random.categorical(key, q / temperature)
    return jnp.take_along_axis(action, index[..., None, None], -2)[..., 0, :]


def _candidates(q: Array, action: Array) -> tuple[Array, Array]:
    """Values and actions as constants, after a check that there is a value for each action."""
    check_broadcast(q=jnp.expand_dims(q, -1), action=action)
    return lax.stop_gradient(floating(q=q, action=action))
