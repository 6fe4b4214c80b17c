"""What others are compared with: GRPO, its early corrections, REINFORCE with a baseline, and PPO."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rlx.recipes.language_methods.table import Entry

if TYPE_CHECKING:
    from rlx.algorithms.responses import Responses


def grpo(*, clip: float = 0.2, beta: float = 0.0) -> Any:
    """Standardized rewards of the group, clipped ratios, averages of sequences; with beta a penalty k3 per token."""
    from rlx import reduce
    from rlx.algorithms.grpo import Method, clipped_loss
    from rlx.regularizers.divergence import kl_estimate

    def loss(batch: Responses):
        surrogate = clipped_loss(batch, clip_low=clip, clip_high=clip)
        if batch.reference_log_prob is None:
            return surrogate
        penalty = kl_estimate(batch.log_prob, batch.reference_log_prob, kind="k3", where=batch.where)
        return surrogate + beta * reduce.sequence_mean(penalty, where=batch.where)

    # Without the penalty no reference is evaluated.
    return Method(uses=frozenset({"reference"} if beta else ()), loss=loss)


def dr_grpo(*, clip: float = 0.2, length: float | None = None) -> Any:
    """Rewards less their mean, not divided by a deviation; sums of tokens over a constant length."""
    from rlx import reduce
    from rlx.algorithms.grpo import Method, group_advantage
    from rlx.losses.policy import clipped_surrogate

    def loss(batch: Responses):
        per_token = clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where, clip_low=clip, clip_high=clip
        )
        room = float(batch.token.shape[-1]) if length is None else length
        return reduce.constant_length(per_token, length=room, where=batch.where)

    return Method(advantage=partial(group_advantage, scale="none"), loss=loss)


def dapo(*, clip_low: float = 0.2, clip_high: float = 0.28, soft_room: float = 0.2) -> Any:
    """Clip-higher, averages of tokens, dynamic sampling (with --oversample), and a soft punishment of overlong answers.

    The punishment falls linearly from 0 to −1 over the last `soft_room` of the room for a response.
    """
    import jax.numpy as jnp

    from rlx.algorithms.grpo import Method, token_loss

    def reward(batch: Responses):
        room = batch.token.shape[-1]
        return batch.reward + jnp.clip((1 - soft_room - batch.length / room) / soft_room, -1.0, 0.0)

    return Method(reward=reward, loss=partial(token_loss, clip_low=clip_low, clip_high=clip_high))


def reinforce(*, center: str = "batch", scale: str = "none") -> Any:
    """The policy gradient of the reward less a baseline: the mean of the batch, or of the others in the group."""
    from rlx import reduce
    from rlx.algorithms.grpo import Method, group_advantage
    from rlx.losses.policy import policy_gradient

    def loss(batch: Responses):
        per_token = policy_gradient(batch.log_prob, batch.advantage, where=batch.where)
        return reduce.token_mean(per_token, where=batch.where)

    return Method(advantage=partial(group_advantage, center=center, scale=scale), loss=loss)


def rloo() -> Any:
    """REINFORCE less the mean reward of the others in the group."""
    return reinforce(center="leave_one_out")


def ppo(*, clip: float = 0.2, lambda_: float = 1.0, value_coefficient: float = 0.5, value_clip: float = 0.2) -> Any:
    """A critic of tokens in place of the group: advantages by GAE, normalized over the batch, a clipped value loss."""
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, token_loss
    from rlx.losses.value import clipped_value
    from rlx.returns import gae

    def estimate(batch: Responses):
        """Advantages and value targets; the tokens of replies are states too, and the reward comes with the last."""
        last = jnp.cumsum(batch.present, axis=-1) == jnp.sum(batch.present, axis=-1, keepdims=True)
        value = jnp.where(batch.present, batch.behavior_value, 0.0)
        next_value = jnp.concatenate([value[..., 1:], jnp.zeros_like(value[..., :1])], axis=-1)
        reward = jnp.where(last & batch.present, batch.reward[..., None], 0.0)
        advantage = gae(reward, jnp.where(last, 0.0, 1.0), value, next_value, lambda_=lambda_, axis=-1)
        return advantage, advantage + value

    def advantage(batch: Responses):
        found, _ = estimate(batch)
        mean = reduce.token_mean(found, where=batch.where)
        std = jnp.sqrt(reduce.token_mean(jnp.square(found - mean), where=batch.where))
        return (found - mean) / (std + 1e-6)

    def remember(batch: Responses) -> Responses:
        return batch._replace(extras=estimate(batch)[1])

    def loss(batch: Responses):
        error = clipped_value(batch.value, batch.behavior_value, batch.extras, clip=value_clip, where=batch.present)
        of_policy = token_loss(batch, clip_low=clip, clip_high=clip)
        return of_policy + value_coefficient * reduce.token_mean(error, where=batch.present)

    return Method(uses=frozenset({"value"}), advantage=advantage, remember=remember, loss=loss)


METHODS = {
    "grpo": Entry(grpo, "loss", "Shao et al., 2024, arXiv:2402.03300"),
    "dr_grpo": Entry(dr_grpo, "advantage, aggregation", "Liu et al., 2025, arXiv:2503.20783"),
    "dapo": Entry(dapo, "reward, clip, aggregation, prompts", "Yu et al., 2025, arXiv:2503.14476"),
    "reinforce": Entry(reinforce, "advantage, loss", "Williams, 1992"),
    "ppo": Entry(ppo, "critic, advantage, loss", "Schulman et al., 2017, arXiv:1707.06347"),
    "rloo": Entry(rloo, "advantage, loss", "Ahmadian et al., 2024, arXiv:2402.14740"),
}
