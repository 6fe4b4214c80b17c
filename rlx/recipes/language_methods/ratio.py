"""How far an update may go: methods that change the surrogate of GRPO, or what holds it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rlx.recipes.language_methods.table import Entry, chosen

if TYPE_CHECKING:
    from rlx.algorithms.responses import Responses


def of_tokens(surrogate: Callable, **options: Any) -> Any:
    """GRPO with another surrogate of each token, averaged over all tokens."""
    from functools import partial

    from rlx.algorithms.grpo import Method, token_loss

    return Method(loss=partial(token_loss, surrogate=surrogate, **options))


def gspo(*, clip_low: float = 3e-4, clip_high: float = 4e-4) -> Any:
    """One ratio for each sequence, its geometric mean over tokens, clipped very tightly."""
    from functools import partial

    from rlx.algorithms.grpo import Method, clipped_loss

    return Method(loss=partial(clipped_loss, level="sequence_mean", clip_low=clip_low, clip_high=clip_high))


def mhpo(*, bound: float = 1.5) -> Any:
    """A bounded log-ratio, damped by hazards of both directions, in place of clipping; averages of sequences."""
    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import hazard_modulated_surrogate

    def loss(batch: Responses):
        per_token = hazard_modulated_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, bound=bound, where=batch.where
        )
        return reduce.sequence_mean(per_token, where=batch.where)

    return Method(loss=loss)


def bapo(*, target: float = 1.0) -> Any:
    """Clip bounds that are searched until positive advantages contribute enough; target is their ratio to negative."""
    from rlx.losses.policy import balanced_surrogate

    return of_tokens(balanced_surrogate, target=target)


def r2vpo(*, budget: float = 0.04, step: float = 0.1, first_multiplier: float = 0.04, upper: float = 1.0) -> Any:
    """A penalty on the variance of the ratio, whose multiplier holds it to a budget. None of the four is published."""
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, token_loss
    from rlx.controllers import lagrange_multiplier
    from rlx.losses.policy import ratio_variance
    from rlx.weighting import importance_log_ratio

    multiplier = lagrange_multiplier(step=step, upper=upper)

    def dual_step(batch: Responses):
        log_ratio = importance_log_ratio(batch.log_prob, batch.behavior_log_prob, where=batch.where)
        variance = reduce.token_mean(jnp.square(jnp.expm1(log_ratio)), where=batch.where)
        return multiplier.update(batch.memory, variance - budget)[1]

    def loss(batch: Responses):
        return token_loss(batch, ratio_variance, coefficient=batch.memory.multiplier)

    return Method(
        loss=loss, conclude=dual_step, memory=lambda num_prompts, group_size: multiplier.init(first_multiplier)
    )


def clip_cov(
    *,
    fraction: float = 2e-4,
    lower: float = 1.0,
    upper: float = 5.0,
    clip_low: float = 1.0,
    clip_high: float = 1.0,
    max_rounds: int = 1,
) -> Any:
    """Drops the gradient of a few tokens of high covariance between log-probability and advantage.

    Ratios are clipped at 0 and 2 alone, as in the published runs. These also sample prompts in up to 10 rounds until
    all groups have answers of different reward (`max_rounds=10`), which takes more responses.
    """
    from functools import partial

    from rlx.algorithms.grpo import Method, token_loss
    from rlx.losses import policy

    def loss(batch: Responses):
        surrogate = partial(policy.clip_cov, batch.key, clip_low=clip_low, clip_high=clip_high)
        return token_loss(batch, surrogate, fraction=fraction, lower=lower, upper=upper)

    return Method(loss=loss, max_rounds=max_rounds)


def kl_cov(*, fraction: float = 2e-3, coefficient: float = 1.0, max_rounds: int = 1) -> Any:
    """Penalizes the change of a few tokens of high covariance between log-probability and advantage.

    The published runs also sample prompts in up to 10 rounds until all groups have answers of different reward
    (`max_rounds=10`), which takes more responses.
    """
    from rlx.losses import policy

    return of_tokens(policy.kl_cov, fraction=fraction, coefficient=coefficient)._replace(max_rounds=max_rounds)


def disco(*, temperature: float = 10.0, threshold: float = 1e-4, coefficient: float = 1000.0) -> Any:
    """Right responses score above wrong ones, within a trust region instead of clipping."""
    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import discriminative
    from rlx.regularizers.divergence import squared_hinge

    def loss(batch: Responses):
        of_question = discriminative(
            batch.log_prob, batch.behavior_log_prob, batch.reward, temperature=temperature, where=batch.where
        )
        drift = reduce.token_mean(batch.behavior_log_prob - batch.log_prob, where=batch.where)
        return reduce.mean(of_question) + squared_hinge(drift, threshold=threshold, coefficient=coefficient)

    return Method(loss=loss)


def llds(*, coefficient: float = 0.1) -> Any:
    """A penalty on tokens of good responses that have become less likely."""
    from rlx import reduce
    from rlx.algorithms.grpo import Method, clipped_loss
    from rlx.regularizers.behavior import likelihood_displacement

    def loss(batch: Responses):
        penalty = likelihood_displacement(
            batch.log_prob, batch.behavior_log_prob, batch.advantage[..., 0], where=batch.where
        )
        return clipped_loss(batch) + coefficient * reduce.token_mean(penalty, where=batch.where)

    return Method(loss=loss)


def pacs(*, temperature: float = 1.0) -> Any:
    """The log-ratio of a response foretells whether it is right: a cross-entropy balanced between both kinds."""
    import jax.numpy as jnp

    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import implicit_actor_critic

    def loss(batch: Responses):
        correct = batch.correct.astype(batch.log_prob.dtype)
        of_response = implicit_actor_critic(
            batch.log_prob, batch.behavior_log_prob, correct, temperature=temperature, where=batch.where
        )
        return jnp.mean(of_response)

    return Method(loss=loss)


def reg_grpo(*, beta: float = 0.0, eps: float = 1e-3) -> Any:
    """Regression of the standardized log-ratio on the standardized reward, and a penalty k3 to the reference.

    Without the paper's difficulty-aware noise and hints, which are of videos; it gives neither beta nor eps.
    """
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import advantage_regression
    from rlx.regularizers.divergence import kl_estimate
    from rlx.weighting import mixed_outcome

    def loss(batch: Responses):
        whole = lambda log_prob: jnp.sum(jnp.where(batch.where, log_prob, 0.0), axis=-1)
        mixed = jnp.broadcast_to(mixed_outcome(batch.reward)[:, None], batch.reward.shape)
        error = advantage_regression(
            whole(batch.log_prob),
            whole(batch.behavior_log_prob),
            batch.advantage[..., 0],
            standardize=True,
            where=mixed,
            eps=eps,
        )
        regression = 2 * reduce.mean(error)
        if batch.reference_log_prob is None:
            return regression
        penalty = kl_estimate(batch.log_prob, batch.reference_log_prob, kind="k3", where=batch.where)
        return regression + beta * reduce.sequence_mean(penalty, where=batch.where)

    return Method(uses=frozenset({"reference"} if beta else ()), loss=loss)


METHODS = {
    "gspo": Entry(gspo, "ratio", "Zheng et al., 2025, arXiv:2507.18071", chosen(paper="clip_low clip_high")),
    "mhpo": Entry(mhpo, "surrogate", "Wang et al., 2026, arXiv:2603.16929", chosen(paper="bound")),
    "bapo": Entry(bapo, "clip", "Xi et al., 2025, arXiv:2510.18927", chosen(paper="target"), "WooooDyy/BAPO"),
    "r2vpo": Entry(
        r2vpo,
        "surrogate, controller",
        "Luo et al., 2026, arXiv:2601.03320",
        chosen(ours="budget step first_multiplier upper"),
    ),
    "clip_cov": Entry(
        clip_cov,
        "surrogate",
        "Cui et al., 2025, arXiv:2505.22617",
        chosen(code="fraction lower upper clip_low clip_high", ours="max_rounds"),
        "PRIME-RL/Entropy-Mechanism-of-RL",
    ),
    "kl_cov": Entry(
        kl_cov,
        "surrogate",
        "Cui et al., 2025, arXiv:2505.22617",
        chosen(code="fraction coefficient", ours="max_rounds"),
        "PRIME-RL/Entropy-Mechanism-of-RL",
    ),
    "disco": Entry(
        disco,
        "loss, constraint",
        "Li et al., 2025, arXiv:2505.12366",
        chosen(code="temperature threshold coefficient"),
        "Optimization-AI/DisCO",
    ),
    "pacs": Entry(pacs, "loss", "Li et al., 2025, arXiv:2509.02522", chosen(code="temperature"), "ritzz-ai/PACS"),
    "reg_grpo": Entry(reg_grpo, "loss", "Park et al., 2025, arXiv:2506.07464", chosen(ours="beta eps")),
    "llds": Entry(llds, "regularizer", "Deng et al., 2025, arXiv:2512.04220", chosen(ours="coefficient")),
}
