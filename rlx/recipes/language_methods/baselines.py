"""What others are compared with: GRPO, its early corrections, REINFORCE with a baseline, and PPO."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rlx.recipes.language_methods.table import Entry, chosen

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


def dapo(*, clip_low: float = 0.2, clip_high: float = 0.28, soft_room: float = 0.2, max_rounds: int = 10) -> Any:
    """Clip-higher, averages of tokens, dynamic sampling, and a soft punishment of overlong answers.

    Prompts are sampled in rounds of --num-prompts times --oversample until all groups have answers of different reward;
    after `max_rounds` the groups that have none are left out. Only the first round counts as --total-steps. The
    punishment falls linearly from 0 to −½ over the last `soft_room` of the room for a response: to half of what lies
    between a wrong and a right one, as in the paper, which rewards these by −1 and 1 and punishes by up to −1.
    """
    import jax.numpy as jnp

    from rlx.algorithms.grpo import Method, token_loss

    def reward(batch: Responses):
        room = batch.token.shape[-1]
        return batch.reward + 0.5 * jnp.clip((1 - soft_room - batch.length / room) / soft_room, -1.0, 0.0)

    loss = partial(token_loss, clip_low=clip_low, clip_high=clip_high)
    return Method(reward=reward, loss=loss, max_rounds=max_rounds)


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
    """REINFORCE less the mean reward of the others in the group; without the paper's KL penalty in the reward."""
    return reinforce(center="leave_one_out")


def ppo(
    *,
    clip: float = 0.2,
    lambda_: float = 1.0,
    beta: float = 0.0,
    value_coefficient: float = 0.5,
    value_clip: float = 0.2,
    critic_rate: float = 1.0,
) -> Any:
    """A critic of tokens in place of the group: advantages by GAE, normalized over the batch, a clipped value loss.

    A step is one of the policy's own tokens: what the environment replies, and what a turn that ended early leaves
    free, lies between two steps. With beta each token is rewarded by −beta times its log-ratio to the policy of the
    start. The critic has an optimizer of its own, whose step size is `critic_rate` times the policy's; ten times it in
    the reference code's own settings, which made no difference where it was tried here.
    """
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, token_loss
    from rlx.losses.value import clipped_value
    from rlx.regularizers.divergence import kl_estimate
    from rlx.returns import gae

    def estimate(batch: Responses):
        """Advantages and value targets, with the policy's own tokens side by side as the steps of an episode."""
        order = jnp.argsort(~batch.where, axis=-1, stable=True)
        as_steps = lambda x: jnp.take_along_axis(jnp.where(batch.where, x, 0.0), order, axis=-1)
        step, count = jnp.arange(batch.token.shape[-1]), batch.length[..., None]
        reward = jnp.where(step == count - 1, batch.reward[..., None], 0.0)
        if batch.reference_log_prob is not None:
            drift = kl_estimate(batch.behavior_log_prob, batch.reference_log_prob, kind="k1", where=batch.where)
            reward = reward - beta * as_steps(drift)
        value = as_steps(batch.behavior_value)
        next_value = jnp.concatenate([value[..., 1:], jnp.zeros_like(value[..., :1])], axis=-1)
        discount = jnp.where(step < count - 1, 1.0, 0.0)
        advantage = gae(reward, discount, value, next_value, lambda_=lambda_, axis=-1)
        advantage = jnp.take_along_axis(advantage, jnp.argsort(order, axis=-1), axis=-1)
        return advantage, advantage + jnp.where(batch.where, batch.behavior_value, 0.0)

    def advantage(batch: Responses):
        found, _ = estimate(batch)
        mean = reduce.token_mean(found, where=batch.where)
        std = jnp.sqrt(reduce.token_mean(jnp.square(found - mean), where=batch.where))
        return (found - mean) / (std + 1e-6)

    def remember(batch: Responses) -> Responses:
        return batch._replace(extras=estimate(batch)[1])

    def loss(batch: Responses):
        error = clipped_value(batch.value, batch.behavior_value, batch.extras, clip=value_clip, where=batch.where)
        of_policy = token_loss(batch, clip_low=clip, clip_high=clip)
        return of_policy + value_coefficient * reduce.token_mean(error, where=batch.where)

    return Method(
        uses=frozenset({"value", "reference"} if beta else {"value"}),
        advantage=advantage,
        remember=remember,
        loss=loss,
        critic_rate=critic_rate,
    )


METHODS = {
    "grpo": Entry(
        grpo, "loss", "Shao et al., 2024, arXiv:2402.03300", chosen(code="clip", ours="beta"), "volcengine/verl"
    ),
    "dr_grpo": Entry(
        dr_grpo,
        "advantage, aggregation",
        "Liu et al., 2025, arXiv:2503.20783",
        chosen(code="clip length"),
        "sail-sg/understand-r1-zero",
    ),
    "dapo": Entry(
        dapo,
        "reward, clip, aggregation, prompts",
        "Yu et al., 2025, arXiv:2503.14476",
        chosen(paper="clip_low clip_high soft_room", code="max_rounds"),
        "volcengine/verl",
    ),
    "reinforce": Entry(reinforce, "advantage, loss", "Williams, 1992", chosen(ours="center scale")),
    "ppo": Entry(
        ppo,
        "critic, advantage, loss",
        "Schulman et al., 2017, arXiv:1707.06347",
        chosen(paper="clip", code="lambda_ beta", ours="value_coefficient value_clip critic_rate"),
        "volcengine/verl",
    ),
    "rloo": Entry(rloo, "advantage, loss", "Ahmadian et al., 2024, arXiv:2402.14740"),
}
