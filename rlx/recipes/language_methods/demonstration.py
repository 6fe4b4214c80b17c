"""Learning from the task's own solutions where the policy's responses do not suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlx.recipes.language_methods.table import Entry, chosen

if TYPE_CHECKING:
    from rlx.algorithms.responses import Responses


def taught_where_failed(batch: Any, *, threshold: float = 0.0) -> Any:
    """The batch with the solution alone to learn from where a group fails, its rollouts dropped; notes which do.

    A solution that the verifier does not accept teaches nothing: its group stays as it is.
    """
    import jax.numpy as jnp

    from rlx.algorithms.grpo import with_solutions
    from rlx.weighting import performance_gate

    failed = performance_gate(batch.correct.astype(batch.reward.dtype), threshold=threshold) & batch.solution_correct
    first = jnp.arange(batch.reward.shape[1]) == 0
    taught = with_solutions(batch, failed[:, None] & first)
    dropped = failed[:, None, None] & ~first[:, None]
    return taught._replace(where=taught.where & ~dropped, extras=failed)


def hpt(*, threshold: float = 0.0, demonstration_coefficient: float = 1.0, entropy_coefficient: float = 0.001) -> Any:
    """A prompt whose group fails is learned from its solution alone, any other from the group without clipping.

    The task's own solution is the demonstration, where the verifier accepts it.
    """
    from functools import partial

    import jax
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, group_advantage
    from rlx.losses.policy import unified_gradient

    def loss(batch: Responses):
        taught = batch.where & batch.extras[:, None, None]
        reinforced = batch.where & ~taught
        of_solution = unified_gradient(
            batch.log_prob, jax.lax.stop_gradient(batch.log_prob), jnp.ones_like(batch.log_prob), where=taught
        )
        of_group = unified_gradient(batch.log_prob, batch.behavior_log_prob, batch.advantage, where=reinforced)
        supervised = reduce.token_mean(of_solution, where=taught)
        reinforcement = reduce.constant_length(of_group, length=float(batch.token.shape[-1]), where=reinforced)
        bonus = entropy_coefficient * reduce.token_mean(batch.entropy, where=reinforced)
        return demonstration_coefficient * supervised + reinforcement - bonus

    return Method(
        uses=frozenset({"solution"}),
        advantage=lambda batch: group_advantage(batch, scale="none"),
        remember=partial(taught_where_failed, threshold=threshold),
        loss=loss,
    )


def dypo(*, alpha: float = 0.5, temperature: float = 1.0, demonstration_coefficient: float = 1.0) -> Any:
    """Failed groups learn from the solution, mixed ones from GRPO's loss and pairwise alignment, solved ones nothing.

    The task's own solution, where the verifier accepts it, stands for the two teachers of the paper. The paper leaves
    open whose log-probabilities the alignment refers to: here the sampling policy's.
    """
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import clipped_surrogate
    from rlx.losses.preference import group_alignment
    from rlx.weighting import mixed_outcome

    def loss(batch: Responses):
        hard, mixed = batch.extras, mixed_outcome(batch.reward)
        whole = lambda log_prob: jnp.sum(jnp.where(batch.where, log_prob, 0.0), axis=-1)
        surrogate = clipped_surrogate(batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where)
        of_group = jnp.mean(reduce.mean(surrogate, where=batch.where, axis=-1), axis=-1)
        alignment = group_alignment(
            whole(batch.log_prob), whole(batch.behavior_log_prob), batch.reward, temperature=temperature
        )
        of_solution = -reduce.mean(batch.log_prob[:, 0], where=batch.where[:, 0], axis=-1)
        mid = alpha * of_group + (1 - alpha) * alignment
        return jnp.mean(jnp.where(hard, demonstration_coefficient * of_solution, jnp.where(mixed, mid, 0.0)))

    return Method(uses=frozenset({"solution"}), remember=taught_where_failed, loss=loss)


def critique_grpo(*, shaping: float = 0.1, entropy_coefficient: float = 0.001) -> Any:
    """One response of each group gives way to a refinement, whose rare tokens are raised most.

    The task's own solution stands for the refinement that a critique with the right answer leads to; the verifier
    judges it, and where it is wrong it is punished like any other response.
    """
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, with_solutions
    from rlx.losses.policy import mixed_policy
    from rlx.returns import group_relative

    def remember(batch: Responses) -> Responses:
        refined = jnp.broadcast_to(jnp.arange(batch.reward.shape[1]) == 0, batch.reward.shape)
        # The group keeps all but one of its responses.
        reward = jnp.where(refined, batch.solution_reward[:, None], batch.reward)
        advantage = jnp.broadcast_to(group_relative(reward, scale="none")[..., None], batch.token.shape)
        return with_solutions(batch, refined)._replace(reward=reward, advantage=advantage, extras=refined)

    def loss(batch: Responses):
        per_token = mixed_policy(
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            jnp.broadcast_to(batch.extras[..., None], batch.token.shape),
            shaping=shaping,
            where=batch.where,
        )
        bonus = entropy_coefficient * reduce.token_mean(batch.entropy, where=batch.where & ~batch.extras[..., None])
        return reduce.constant_length(per_token, length=float(batch.token.shape[-1]), where=batch.where) - bonus

    return Method(uses=frozenset({"solution"}), remember=remember, loss=loss)


METHODS = {
    "hpt": Entry(
        hpt,
        "demonstrations, loss",
        "Lv et al., 2025, arXiv:2509.04419",
        chosen(code="threshold demonstration_coefficient entropy_coefficient"),
        "TsinghuaC3I/Unify-Post-Training",
    ),
    "dypo": Entry(
        dypo,
        "demonstrations, loss",
        "Zhu et al., 2026, arXiv:2604.08926",
        chosen(paper="alpha temperature", code="demonstration_coefficient"),
        "Tocci-Zhu/DYPO",
    ),
    "critique_grpo": Entry(
        critique_grpo,
        "demonstrations, advantage, loss",
        "Zhang et al., 2025, arXiv:2506.03106",
        chosen(code="shaping entropy_coefficient"),
        "zhangxy-2019/critique-GRPO",
    ),
}
