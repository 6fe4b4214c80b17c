"""How a policy keeps exploring: methods that hold the entropy, protect rare tokens, or reward what differs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rlx.recipes.language_methods.table import Entry, chosen

if TYPE_CHECKING:
    from rlx.algorithms.responses import Responses


def entropy_bonus(*, coefficient: float = 0.01) -> Any:
    """GRPO with the mean entropy of the tokens as a bonus."""
    from rlx import reduce
    from rlx.algorithms.grpo import Method, clipped_loss

    def loss(batch: Responses):
        return clipped_loss(batch) - coefficient * reduce.token_mean(batch.entropy, where=batch.where)

    return Method(loss=loss)


def siren(*, top_p: float = 0.8, quantile: float = 0.8, coefficient: float = 0.005, clip: float = 0.28) -> Any:
    """Holds the entropy of the likely tokens, where it is high, to what it was at first."""
    from rlx import reduce, weighting
    from rlx.algorithms.grpo import Method, group_advantage, token_loss
    from rlx.controllers import first_value
    from rlx.regularizers.entropy import anchored_entropy, nucleus_entropy

    anchor = first_value()

    def peaks(batch: Responses):
        entropy = nucleus_entropy(batch.logits, top_p=top_p)
        return entropy, weighting.quantile_mask(entropy, quantile=quantile, where=batch.where)

    def remember(batch: Responses) -> Responses:
        entropy, peak = peaks(batch)
        peak_entropy = reduce.sequence_mean(entropy, where=peak, empty="count")
        return batch._replace(memory=anchor.update(batch.memory, peak_entropy)[1])

    def loss(batch: Responses):
        entropy, peak = peaks(batch)
        penalty = anchored_entropy(entropy, batch.memory.value, coefficient=coefficient, where=peak)
        return token_loss(batch, clip_low=clip, clip_high=clip) + penalty

    return Method(
        uses=frozenset({"distribution"}),
        advantage=partial(group_advantage, scale="none"),
        remember=remember,
        loss=loss,
        memory=lambda num_prompts, group_size: anchor.init(0.0),
    )


def lp_reg(*, fraction: float = 0.01, coefficient: float = 1.0, threshold: float = 0.02, minimum: int = 2) -> Any:
    """Pulls punished rare tokens up to a proxy, which is the sampling policy without its noise.

    Candidates are the rarest `fraction` of the punished tokens, which in the reference code are none at all where fewer
    than two hundred are punished; here the `minimum` rarest ones that the proxy favors are protected however few there
    are.
    """
    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import low_probability_surrogate
    from rlx.policies import filtered_log_prob

    def loss(batch: Responses):
        per_token = low_probability_surrogate(
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            filtered_log_prob(batch.behavior_logits, batch.token, threshold=threshold),
            fraction=fraction,
            coefficient=coefficient,
            minimum=minimum,
            where=batch.where,
        )
        return reduce.token_mean(per_token, where=batch.where)

    return Method(uses=frozenset({"distribution"}), loss=loss)


def clip_b(*, threshold: float = 2.5) -> Any:
    """Leaves out punished tokens that would change the entropy by far more than the others."""
    from rlx.algorithms.grpo import Method
    from rlx.weighting import entropy_discriminator_mask

    def without_outliers(batch: Responses) -> Responses:
        keep = entropy_discriminator_mask(
            batch.log_prob, batch.entropy, batch.advantage, threshold=threshold, where=batch.where
        )
        return batch._replace(where=keep)

    return Method(remember=without_outliers)


def dsdr(*, coefficient: float = 0.001, temperature: float = 5.0, clip_high: float = 0.28) -> Any:
    """A bonus for right responses unlike the others of their group, and entropy on them.

    Counts of tokens stand for the embedding of a text, and a token at its place for a formula in it.
    """
    import jax
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, group_advantage, token_loss
    from rlx.regularizers.entropy import sampled_negentropy
    from rlx.rewards import embedding_novelty, gated_bonus, unique_feature_rate
    from rlx.weighting import diversity_softmax

    def diversity(batch: Responses):
        vocabulary = batch.logits.shape[-1]
        present = jax.nn.one_hot(batch.token, vocabulary) * batch.where[..., None]
        unique = unique_feature_rate(present.reshape(*present.shape[:-2], -1) > 0)
        return (embedding_novelty(present.sum(-2)) + unique) / 2

    def reward(batch: Responses):
        return gated_bonus(batch.reward, diversity(batch), batch.correct, coefficient=coefficient)

    def loss(batch: Responses):
        weight = diversity_softmax(diversity(batch), batch.correct, temperature=temperature)
        negentropy = sampled_negentropy(batch.log_prob, batch.behavior_log_prob, where=batch.where)
        local = jnp.sum(weight * reduce.mean(negentropy, where=batch.where, axis=-1), axis=-1)
        return token_loss(batch, clip_high=clip_high) + coefficient * jnp.mean(local)

    return Method(uses=frozenset({"distribution"}), reward=reward, advantage=group_advantage, loss=loss)


def epo(
    *,
    coefficient: float = 0.001,
    low: float = 0.0,
    high: float = 2.0,
    penalty: float = 0.1,
    kind: str = "hinge",
    num_turns: int = 1,
    total_updates: int = 150,
) -> Any:
    """An entropy bonus, and a band around the mean entropy of past rollouts that is left at a price, turn by turn.

    The band is for turns in the second half of an episode. `kind="indicator"` is the official code's, whose band has
    no gradient.
    """
    import jax
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, token_loss
    from rlx.controllers import running_mean, two_phase_decay
    from rlx.regularizers.entropy import entropy_band_penalty

    past = running_mean()

    def turn(batch: Responses):
        before = jnp.pad(batch.where[..., :-1], [(0, 0), (0, 0), (1, 0)])
        return jnp.clip(jnp.cumsum(batch.where & ~before, axis=-1) - 1, 0, num_turns - 1)

    def remember(batch: Responses) -> Responses:
        of_turn = jax.nn.one_hot(turn(batch), num_turns, dtype=bool) & batch.where[..., None]
        mean = jax.vmap(lambda where: reduce.token_mean(batch.entropy, where=where), -1)(of_turn)
        state, _ = batch.memory
        _, state = past.update(state, mean, where=jnp.any(of_turn, axis=(0, 1, 2)))
        return batch._replace(memory=(state, batch.memory[0].mean))

    def loss(batch: Responses):
        _, history = batch.memory
        late = batch.where & (turn(batch) >= num_turns // 2)
        outside = entropy_band_penalty(
            batch.entropy[..., None],
            history[turn(batch)],
            low=low,
            high=high,
            penalty=penalty,
            kind=kind,
            where=late[..., None],
        )[..., 0]
        weight = two_phase_decay(batch.update, total_steps=total_updates)
        mean = lambda x: reduce.token_mean(x, where=batch.where)
        return token_loss(batch, dual_clip=3.0) - coefficient * (mean(batch.entropy) - weight * mean(outside))

    def memory(num_prompts: int, group_size: int):
        none = jnp.zeros(num_turns)
        return past.init(none), none

    return Method(remember=remember, loss=loss, memory=memory)


def dcpo(*, target_entropy: float = 0.5, max_coefficient: float = 0.1, low: float = 0.8, high: float = 1.2) -> Any:
    """Successes imitated as a hotter or a colder policy would have had them, without sampling from it."""
    import jax
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.controllers import entropy_temperature
    from rlx.returns import group_relative, target_distribution_advantage

    def advantage(batch: Responses):
        temperature = entropy_temperature(batch.memory, target=target_entropy, low=low, high=high)
        tempered = jax.nn.log_softmax(batch.behavior_logits / temperature)
        return target_distribution_advantage(
            group_relative(batch.reward),
            batch.correct,
            batch.behavior_log_prob,
            jnp.take_along_axis(tempered, batch.token[..., None], axis=-1)[..., 0],
            batch.memory,
            target_entropy=target_entropy,
            max_coefficient=max_coefficient,
            where=batch.where,
        )

    def remember(batch: Responses) -> Responses:
        return batch._replace(memory=-reduce.token_mean(batch.behavior_log_prob, where=batch.where))

    return Method(
        uses=frozenset({"distribution"}),
        advantage=advantage,
        remember=remember,
        # At its target it changes nothing: there is no estimate before the first update.
        memory=lambda num_prompts, group_size: jnp.asarray(target_entropy, jnp.float32),
    )


METHODS = {
    "entropy_bonus": Entry(
        entropy_bonus, "regularizer", "Mnih et al., 2016, arXiv:1602.01783", chosen(paper="coefficient")
    ),
    "siren": Entry(
        siren,
        "advantage, clip, regularizer, memory",
        "Jiang et al., 2025, arXiv:2509.25133",
        chosen(code="top_p quantile coefficient clip"),
        "Linn3a/siren",
    ),
    "lp_reg": Entry(
        lp_reg,
        "surrogate, proxy",
        "Huang et al., 2025, arXiv:2510.03222",
        chosen(code="fraction coefficient threshold", ours="minimum"),
        "CarlanLark/Lp-Reg-dev",
    ),
    "clip_b": Entry(
        clip_b,
        "mask",
        "Wang et al., 2026, arXiv:2602.03392",
        chosen(code="threshold"),
        "agentscope-ai/Trinity-RFT",
    ),
    "epo": Entry(
        epo,
        "clip, regularizer, memory",
        "Xu et al., 2025, arXiv:2509.22576",
        chosen(code="coefficient low high penalty total_updates", ours="kind num_turns"),
        "WujiangXu/EPO",
    ),
    "dcpo": Entry(
        dcpo,
        "advantage, memory",
        "Li et al., 2026, arXiv:2601.12730",
        chosen(code="target_entropy max_coefficient low high"),
        "597358816/DCPO",
    ),
    "dsdr": Entry(
        dsdr,
        "reward, clip, regularizer",
        "Wan et al., 2026, arXiv:2602.19895",
        chosen(paper="coefficient temperature clip_high"),
    ),
}
