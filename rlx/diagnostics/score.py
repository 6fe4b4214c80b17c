"""Returns on a scale that tasks share. Results carry no gradient."""

from jax import lax
from jaxtyping import Array, Float

from rlx.types import Scalar, check_broadcast, elements, like


def normalized_score(
    episode_return: Float[Array, "*batch"], *, minimum: Scalar, maximum: Scalar
) -> Float[Array, "*batch"]:
    """D4RL's score: 0 for a random policy, 100 for an expert.

    score = 100·(R − minimum) / (maximum − minimum); it may be below 0 or above 100.

    Args:
        episode_return: undiscounted return R of an episode, or a mean of them [*batch].
        minimum: the return of a uniformly random policy.
        maximum: the return of an expert.

    Returns:
        Scores [*batch], without gradient.

    Raises:
        ValueError: for a non-floating `episode_return` or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import normalized_score
        >>> normalized_score(jnp.array([-20.0, 80.0, 280.0]), minimum=-20.0, maximum=180.0).tolist()
        [0.0, 50.0, 150.0]

    References:
        Fu et al., 2020, "D4RL: Datasets for Deep Data-Driven Reinforcement Learning", arXiv:2004.07219.
    """
    (episode_return,) = elements(episode_return=episode_return)
    minimum, maximum = like(episode_return, minimum, maximum)
    check_broadcast(episode_return=episode_return, minimum=minimum, maximum=maximum)
    return lax.stop_gradient(100 * (episode_return - minimum) / (maximum - minimum))
