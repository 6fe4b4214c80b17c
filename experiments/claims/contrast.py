"""Right answers against wrong ones: claims about what learning from the latter does to the former."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from experiments.claims import problems
from experiments.claims.findings import MARGIN, Result, final, no_loss_of_success
from experiments.claims.problems import Problem
from experiments.claims.training import TabularBatch, TabularMethod, Train, Tuned, make_train, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce, returns
from rlx.losses import policy
from rlx.regularizers.behavior import likelihood_displacement
from rlx.regularizers.divergence import kl_categorical, squared_hinge


def shared_language(*, likelihood: float = 3.0, confidence: float = 1.0) -> Problem:
    """A language whose prompts have a first state each and all later states in common."""
    apart = problems.language(likelihood=likelihood)
    prompts = len(apart.start)
    states, vocabulary = len(apart.logits) // prompts, apart.logits.shape[1]
    # Likely is what is right for any prompt.
    favored = jnp.tile(jnp.max(apart.logits.reshape(prompts, states, vocabulary), axis=0), (prompts, 1))
    favored = favored.at[apart.start].set(apart.logits[apart.start])
    noise = np.random.default_rng(0).normal(size=favored.shape)
    return apart._replace(
        next_state=apart.next_state % states, logits=favored + confidence * jnp.asarray(noise, jnp.float32)
    )


def llds(size: Size) -> Result:
    """A penalty on correct rollouts that lose likelihood, with eight steps on each batch.

    Prompts share all states but the first, so that what is right for one shares its prefixes with what is wrong for
    another. With tables of their own the ascent hardly ever lowers a correct rollout (we tried): for one prompt the
    expected gradient is along that of the correct rollouts' mean log-likelihood, and there is nothing to prevent. A
    network, in which wrong rollouts move right ones by more than common states, is out of reach here.
    """
    problem = shared_language()

    def loss(batch: TabularBatch):
        surrogate = policy.clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where
        )
        penalty = likelihood_displacement(
            batch.log_prob, batch.behavior_log_prob, batch.advantage[..., 0], where=batch.where
        )
        return reduce.token_mean(surrogate + 0.1 * penalty, where=batch.where)

    def measures(after: TabularBatch, logits: Array):
        correct = after.reward > 0
        change = jnp.sum(after.log_prob - after.behavior_log_prob, axis=-1)
        over = lambda x: jnp.mean(x, where=correct)  # NaN, and not counted, where no rollout is correct
        return {"change": over(change), "fell": over(change < 0)}

    def trained(method: TabularMethod) -> Tuned:
        train = make_train(problem, method, num_updates=size.num_updates, inner_steps=8, measures=measures)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates)

    grpo, penalized = trained(TabularMethod()), trained(TabularMethod(loss=loss))
    mean = lambda tuned, name: np.nanmean(tuned.curves[name], axis=1)
    norms = grpo.curves["gradient_norm"]
    findings = [
        Finding(
            "GRPO makes correct rollouts less likely",
            "GRPO's change of their log-likelihood by the steps on their batch (nats), against 0",
            mean(grpo, "change"),
            0.0,
            "lower",
            source="paper",
        ),
        Finding(
            "GRPO's gradient grows",
            "GRPO's largest gradient norm in the second half of training, against that in the first",
            norms[:, norms.shape[1] // 2 :].max(1),
            norms[:, : max(1, norms.shape[1] // 2)].max(1),
            source="paper",
            statistic="mean",
        ),
        Finding(
            "with the penalty correct rollouts do not become less likely",
            "change of their log-likelihood by the steps on their batch (nats), against 0",
            mean(penalized, "change"),
            0.0,
            source="paper",
        ),
        Finding(
            "fewer correct rollouts become less likely",
            "share of the correct rollouts that the steps on their batch made less likely",
            mean(penalized, "fell"),
            mean(grpo, "fell"),
            "lower",
            source="paper",
        ),
        Finding(
            "the largest gradient is smaller",
            "largest gradient norm",
            penalized.curves["gradient_norm"].max(1),
            norms.max(1),
            "lower",
            source="paper",
            statistic="mean",
        ),
        no_loss_of_success(penalized, grpo),
    ]
    return findings, {"learning rate of GRPO": grpo.learning_rate, "of LLDS": penalized.learning_rate}


def question_weights(key: PRNGKeyArray) -> dict[str, Array]:
    """Absolute gradients on the rollouts of questions that are from nearly always to nearly never answered right."""
    chance = jnp.linspace(0.02, 0.98, 64)
    reward_key, token_key = jax.random.split(key)
    reward = jax.random.bernoulli(reward_key, chance[:, None], (64, 8)).astype(float)
    # Rollouts of six tokens, some of them likelier than others.
    log_prob = jax.nn.log_sigmoid(jax.random.normal(token_key, (64, 8, 6)))
    advantage = returns.group_relative(reward)[..., None]
    contrast = lambda temperature: lambda x: policy.discriminative(x, log_prob, reward, temperature=temperature)
    losses = {
        "grpo": lambda x: policy.clipped_surrogate(x, log_prob, advantage),
        "disco": contrast(10.0),
        "basic": contrast(jnp.inf),
    }
    size = {name: jnp.sum(jnp.abs(jax.grad(lambda x: jnp.sum(loss(x)))(log_prob)), -1) for name, loss in losses.items()}
    wrong = reward <= 0
    alone = jnp.sum(reward, -1) == 1
    mixed = jnp.any(wrong, -1) & jnp.any(~wrong, -1)
    hardest = jnp.argmax(jnp.where(wrong, jnp.mean(log_prob, -1), -jnp.inf), -1)
    measures = {}
    for name, of_rollout in size.items():
        of_question = jnp.sum(of_rollout, -1)
        spread = jnp.std(of_question, where=mixed) / jnp.mean(of_question, where=mixed)
        on_hardest = jnp.take_along_axis(of_rollout, hardest[:, None], -1)[:, 0] / jnp.sum(of_rollout * wrong, -1)
        measures[name] = jnp.stack([spread, jnp.mean(on_hardest, where=alone)])
    return measures


def at_each_rate(train: Train, size: Size) -> dict[str, np.ndarray]:
    """Curves `[seed, rate, update]` at the learning rates that tuning begins with."""
    program = jax.jit(jax.vmap(jax.vmap(train, in_axes=(None, 0)), in_axes=(0, None)))
    # Seeds come in portions of as many runs as tuning takes.
    rates, portion = jnp.asarray(size.learning_rates), max(1, size.num_seeds // len(size.learning_rates))
    seeds = [first + jnp.arange(portion) for first in range(0, size.num_seeds, portion)]
    portions = [jax.tree.map(np.asarray, program(jax.vmap(jax.random.key)(some), rates)) for some in seeds]
    return {name: np.concatenate([of[name] for of in portions])[: size.num_seeds] for name in portions[0]}


def disco(size: Size) -> Result:
    """A contrast of right with wrong rollouts, held to the last policy by a constraint, against clipping."""
    problem = problems.language(likelihood=3.0, confidence=1.0)

    def contrast(batch: TabularBatch):
        of_question = policy.discriminative(batch.log_prob, batch.behavior_log_prob, batch.reward, where=batch.where)
        drift = reduce.token_mean(batch.behavior_log_prob - batch.log_prob, where=batch.where)
        return reduce.mean(of_question) + squared_hinge(drift)

    def measures(after: TabularBatch, logits: Array):
        return {"divergence": jnp.mean(kl_categorical(after.behavior_logits, after.logits))}

    trains = {
        name: make_train(problem, method, num_updates=size.num_updates, measures=measures)
        for name, method in (("grpo", TabularMethod()), ("disco", TabularMethod(loss=contrast)))
    }
    grpo, contrasted = (
        tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates) for train in trains.values()
    )
    swept = {name: at_each_rate(train, size) for name, train in trains.items()}
    weights = jax.vmap(question_weights)(jax.vmap(jax.random.key)(jnp.arange(size.num_seeds)))
    of_question, on_hardest = ({name: np.asarray(w[:, i]) for name, w in weights.items()} for i in range(2))
    last = lambda tuned, name: final(tuned.curves[name])

    def sensitivity(name: str) -> np.ndarray:
        reached = np.stack([final(swept[name]["success"][:, i]) for i in range(len(size.learning_rates))])
        return reached.max(0) - reached.min(0)

    fastest = lambda name: final(swept[name]["entropy"][:, -1])
    findings = [
        Finding(
            "easy and hard questions weigh the same",
            "standard deviation over mean of the gradient's weight, over questions answered right from 2 to 98 %",
            of_question["disco"],
            of_question["grpo"],
            "lower",
            source="paper",
        ),
        Finding(
            "among seven wrong rollouts the likeliest weighs more",
            "its share of their weight; the baseline has an infinite temperature",
            on_hardest["disco"],
            on_hardest["basic"],
            source="paper",
        ),
        Finding(
            "entropy ends higher",
            "final entropy (nats)",
            last(contrasted, "entropy"),
            last(grpo, "entropy"),
            source="paper",
            statistic="mean",
        ),
        Finding(
            "entropy ends higher at the largest learning rate",
            "final entropy (nats) at the largest learning rate of the grid, for both",
            fastest("disco"),
            fastest("grpo"),
            source="prediction",
            statistic="mean",
        ),
        Finding(
            "entropy does not collapse",
            "final entropy (nats), against a tenth of the initial one",
            last(contrasted, "entropy"),
            float(problems.token_entropy(problem, problem.logits)) / 10,
            source="paper",
            statistic="mean",
        ),
        Finding(
            "a batch moves the policy less",
            "largest KL(π_b ‖ π) after the steps on a batch (nats)",
            contrasted.curves["divergence"].max(1),
            grpo.curves["divergence"].max(1),
            "lower",
            source="paper",
        ),
        Finding(
            "the learning rate matters less",
            "largest less smallest final success over the grid of learning rates",
            sensitivity("disco"),
            sensitivity("grpo"),
            "lower",
            source="prediction",
        ),
        Finding(
            f"success does not fall by {MARGIN} or more",
            f"final success; the baseline is that of GRPO less {MARGIN}",
            last(contrasted, "success"),
            last(grpo, "success") - MARGIN,
            source="prediction",
        ),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of DisCO": contrasted.learning_rate,
        "final success of DisCO by learning rate": [
            round(float(x), 3) for x in swept["disco"]["success"][..., -1].mean(0)
        ],
        "of GRPO": [round(float(x), 3) for x in swept["grpo"]["success"][..., -1].mean(0)],
    }


CLAIMS = {
    "disco": Claim(
        "DisCO",
        "(Li et al., 2025, arXiv 2505.12366)",
        ("rlx.losses.policy.discriminative", "rlx.regularizers.divergence.squared_hinge"),
        disco,
    ),
    "llds": Claim(
        "LLDS",
        "(Deng et al., 2025, arXiv 2512.04220)",
        ("rlx.regularizers.behavior.likelihood_displacement",),
        llds,
    ),
}
