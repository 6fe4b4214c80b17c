"""How good a policy one ends up with, who may evaluate a few of many trained ones. Results carry no gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from rlx.types import Scalar, floating, like


class _Arms(NamedTuple):
    """How often each policy was evaluated, and the sum of what that gave."""

    count: Float[Array, " policy"]
    total: Float[Array, " policy"]


def bandit_selection(
    key: PRNGKeyArray,
    score: Float[Array, "policy evaluation"],
    *,
    num_pulls: int = 200,
    num_policies: int | None = None,
    exploration: Scalar = 2.0,
) -> Float[Array, " pull"]:
    r"""Score of the policy that a bandit takes for the best after each of its evaluations (the protocol of Unifloral).

    $$ i_t = \arg\max_i\ \bar x_i + \sqrt{c \log t / n_i}, \qquad
       \text{result}_t = \frac1m \sum_e x_{\hat\imath e}, \quad \hat\imath = \arg\max_{i:\, n_i > 0} \bar x_i $$

    with x̄_i the mean of the n_i evaluations of policy i so far. Whoever trains many policies from a dataset, with
    several settings and seeds, has to find out in the environment which of them to use: the curve says what a method is
    worth with a budget of so many evaluations. One call is one bandit among `num_policies` drawn ones; average many,
    `jax.vmap` over keys. An evaluation is drawn with replacement from those of the policy.

    Ours is that only a policy which was evaluated can be taken for the best; the reference code gives the others a
    mean of 0, which is better than a negative score.

    Args:
        key: random key.
        score: of each policy in each of its evaluations, such as episodes [policy, evaluation].
        num_pulls: static; evaluations of the bandit.
        num_policies: static; policies among which it chooses, drawn without replacement; None takes all.
        exploration: c of the upper confidence bound, in units of the squared score; the reference code has 2 with
            scores of up to about 100.

    Returns:
        Mean score, over all of its evaluations, of the policy that is chosen after 1, 2, … evaluations, without
        gradient [pull].

    Raises:
        ValueError: for a non-floating `score` or one without two axes, or counts out of range.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import bandit_selection
        >>> score = jnp.array([[10.0, 12.0], [50.0, 54.0]])  # two policies, each evaluated twice
        >>> bandit_selection(jax.random.key(0), score, num_pulls=4)[1:].tolist()
        [52.0, 52.0, 52.0]

    References:
        Jackson et al., 2025, "A Clean Slate for Offline Reinforcement Learning", arXiv:2504.11453.
    """
    (score,) = lax.stop_gradient(floating(score=score))
    if score.ndim != 2:
        raise ValueError(f"score must have the axes [policy, evaluation], got the shape {score.shape}")
    available, evaluations = score.shape
    chosen = available if num_policies is None else num_policies
    if not 1 <= chosen <= available:
        raise ValueError(f"num_policies must lie between 1 and the {available} policies of score, got {num_policies}")
    if num_pulls < 1:
        raise ValueError(f"num_pulls must be at least 1, got {num_pulls}")
    (exploration,) = like(score, exploration)
    subset_key, pull_key = jax.random.split(key)
    score = jax.random.permutation(subset_key, score)[:chosen]
    true = jnp.mean(score, axis=1)

    def pull(arms: _Arms, step: tuple[Array, Array]) -> tuple[_Arms, Array]:
        number, key = step
        tie_key, evaluation_key = jax.random.split(key)
        bonus = jnp.sqrt(exploration * jnp.log(number) / jnp.maximum(arms.count, 1))
        bound = jnp.where(arms.count > 0, arms.total / jnp.maximum(arms.count, 1) + bonus, jnp.inf)
        # Of equal bounds, such as those of policies that were not evaluated yet, one at random.
        arm = jnp.argmax(jnp.where(bound == jnp.max(bound), jax.random.uniform(tie_key, (chosen,)), -1))
        found = score[arm, jax.random.randint(evaluation_key, (), 0, evaluations)]
        arms = _Arms(arms.count.at[arm].add(1), arms.total.at[arm].add(found))
        mean = jnp.where(arms.count > 0, arms.total / jnp.maximum(arms.count, 1), -jnp.inf)
        return arms, true[jnp.argmax(mean)]

    nothing = jnp.zeros(chosen, score.dtype)
    numbers = jnp.arange(1, num_pulls + 1).astype(score.dtype)
    _, result = lax.scan(pull, _Arms(nothing, nothing), (numbers, jax.random.split(pull_key, num_pulls)))
    return result
