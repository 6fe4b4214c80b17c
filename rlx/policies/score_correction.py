"""Actions of a finished policy moved to where the data are denser."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import Scalar, check_broadcast, floating, like


def score_corrected_action(
    action: Float[Array, "*#batch"],
    action_score: Float[Array, "*#batch"],
    *,
    state_action_correction: Float[Array, "*#batch"] | float = 0.0,
    scale: Scalar = 0.1,
    low: Scalar = -1.0,
    high: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Action of a trained policy corrected by the score of the data, without training it again (CDSA).

    a' = clip(a + k_a·∇_a log p(s, a) + correction, low, high). The optional correction makes for denser next
    states: k_s·[I(s, ŝ' + ∇_s log p) − I(s, ŝ')] with an inverse dynamics model I and a predicted next state ŝ'.

    Args:
        action: action a = π(s) [*batch, action].
        action_score: ∇_a log p(s, a) of a score model [*batch, action].
        state_action_correction: change of the action that leads to denser states [*batch, action].
        scale: weight k_a of the action's score.
        low: smallest action.
        high: largest action.

    Returns:
        Corrected actions [*batch, action].

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import score_corrected_action
        >>> [round(x, 3) for x in score_corrected_action(jnp.array([0.5, 0.95]), jnp.array([-1.0, 2.0])).tolist()]
        [0.4, 1.0]

    Reconstruction:
        Rests on the abstract and a public summary: denoising score matching, an auxiliary action component, and
        an inverse dynamics model for the gradient of the state. Open are how the two are combined, the
        coefficients, the normalization of the score and the number of corrections.

    References:
        Liu et al., 2024, "CDSA: Conservative Denoising Score-based Algorithm for Offline Reinforcement
        Learning", arXiv:2406.07541.
    """
    check_broadcast(action=action, action_score=action_score, state_action_correction=state_action_correction)
    action, action_score = floating(action=action, action_score=action_score)
    correction, scale, low, high = like(action, state_action_correction, scale, low, high)
    return jnp.clip(action + scale * action_score + correction, low, high)
