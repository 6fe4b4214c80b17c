"""States as a nearby anchor and the way from it: inputs that compose outside the data."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from rlx.types import check_broadcast, floating


def transductive_product(
    delta_feature: Float[Array, "*#batch feature rank"], anchor_feature: Float[Array, "*#batch feature rank"]
) -> Float[Array, "*batch feature"]:
    """Bilinear features of an anchor and of the difference to it (COCOA).

    y_t = Σ_d f(Δ)_{t,d}·g(s̃)_{t,d}, with the anchor s̃ of a state s and Δ = s − s̃ (a critic takes [Δ, a] and
    [s̃, a]). Where both Δ and s̃ are in the range of training their combination may be outside it.

    Args:
        delta_feature: f(Δ) [*batch, feature, rank]; carries the gradient.
        anchor_feature: g(s̃) [*batch, feature, rank]; carries the gradient.

    Returns:
        Features [*batch, feature], the input of an ordinary head.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import transductive_product
        >>> transductive_product(jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[3.0, 4.0], [5.0, 6.0]])).tolist()
        [11.0, 6.0]

    References:
        Song et al., 2024, "Compositional Conservatism: A Transductive Approach in Offline Reinforcement
        Learning", arXiv:2404.04682.
        Netanyahu et al., 2023, "Learning to Extrapolate: A Transductive Approach", arXiv:2304.14329.
    """
    check_broadcast(delta_feature=delta_feature, anchor_feature=anchor_feature)
    delta_feature, anchor_feature = floating(delta_feature=delta_feature, anchor_feature=anchor_feature)
    return jnp.sum(delta_feature * anchor_feature, -1)


def seek_anchor(
    observation: PyTree[Array],
    policy_fn: Callable[[PyTree[Array]], PyTree[Array]],
    dynamics_fn: Callable[[PyTree[Array], PyTree[Array]], PyTree[Array]],
    *,
    horizon: int = 1,
) -> PyTree[Array]:
    """Anchor of a state: where a policy that returns to the data would lead, in a learned model (COCOA).

    s̃ = s_h with s_0 = s and s_{k+1} = M̂(s_k, π_anchor(s_k)).

    Args:
        observation: state s [*batch, observation], or a pytree of arrays; a constant.
        policy_fn: π_anchor, a function of observations that gives actions, learned by cloning reverse rollouts
            that leave the data.
        dynamics_fn: M̂, a function of observations and actions that gives the next observations.
        horizon: static; number h of steps.

    Returns:
        Anchors like `observation`, without gradient.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import seek_anchor
        >>> seek_anchor(jnp.array([4.0]), lambda s: -s, lambda s, a: s + 0.5 * a, horizon=2).tolist()
        [1.0]

    References:
        Song et al., 2024, "Compositional Conservatism: A Transductive Approach in Offline Reinforcement
        Learning", arXiv:2404.04682.
    """

    def follow(state: PyTree[Array], _: None) -> tuple[PyTree[Array], None]:
        reached = dynamics_fn(state, policy_fn(state))
        return jax.tree.map(lambda new, old: new.astype(old.dtype), reached, state), None

    anchor, _ = lax.scan(follow, lax.stop_gradient(observation), length=horizon)
    return lax.stop_gradient(anchor)
