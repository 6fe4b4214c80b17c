"""Which tokens learn, and from whom: claims about credit along a sequence and about the help of an expert."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from experiments.claims import problems
from experiments.claims.exploration import early_success, updates_until
from experiments.claims.findings import Result, final, no_loss_of_success
from experiments.claims.problems import Problem
from experiments.claims.training import TabularBatch, TabularMethod, Tuned, make_train, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce, returns
from rlx.algorithms.grpo import group_advantage
from rlx.losses import policy
from rlx.losses.preference import group_alignment
from rlx.regularizers.entropy import categorical_entropy
from rlx.weighting import first_error_mask, mixed_outcome, performance_gate


def decision_chain(steps: int = 8, decisive: int = 2, *, actions: int = 3, num_prompts: int = 4) -> Problem:
    """Steps in a row of which a few must be right and the others do not matter, from a policy that is not uniform."""
    rng = np.random.default_rng(0)
    states = steps * num_prompts
    step = np.arange(states)
    solutions = []
    for _ in range(num_prompts):
        where = rng.choice(steps, decisive, replace=False)
        right = rng.integers(actions, size=decisive)
        every = np.array(list(itertools.product(range(actions), repeat=steps)))
        solutions.append(every[np.all(every[:, where] == right, axis=1)])
    return Problem(
        start=jnp.asarray(steps * np.arange(num_prompts)),
        next_state=jnp.asarray(np.tile(np.minimum(step + 1, states - 1)[:, None], (1, actions))),
        solutions=jnp.asarray(np.stack(solutions)),
        reward=jnp.ones((num_prompts, len(solutions[0]))),
        logits=jnp.asarray(rng.normal(size=(states, actions)), jnp.float32),
    )


def empg(size: Size) -> Result:
    """A chain of eight decisions of which two matter, a decision being a step of one token."""
    problem = decision_chain()

    def modulated(batch: TabularBatch):
        entropy = categorical_entropy(batch.behavior_logits)
        return returns.entropy_modulated(returns.group_relative(batch.reward), entropy, where=batch.where)

    def trained(advantage: Any) -> Tuned:
        train = make_train(problem, TabularMethod(advantage=advantage), num_updates=size.num_updates)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates, score=early_success)

    def coupling(key: Array) -> Float[Array, ""]:
        """Correlation between a softmax's entropy and E‖∇log π‖, over softmaxes of all temperatures."""
        scale_key, logit_key = jax.random.split(key)
        scale = jnp.exp(jax.random.uniform(scale_key, (256, 1), minval=-2.0, maxval=2.0))
        logits = scale * jax.random.normal(logit_key, (256, problem.logits.shape[-1]))
        probability = jax.nn.softmax(logits)
        score = jnp.eye(logits.shape[-1]) - probability[:, None]
        norm = jnp.sum(probability * jnp.linalg.norm(score, axis=-1), axis=-1)
        return jnp.corrcoef(categorical_entropy(logits), norm)[0, 1]

    uniform, by_entropy = trained(group_advantage), trained(modulated)
    solved = lambda tuned: updates_until(tuned.curves["success"] >= 0.9)
    findings = [
        Finding(
            "fewer updates than with uniform credit",
            "updates until success is 90 %",
            solved(by_entropy),
            solved(uniform),
            "lower",
            source="paper",
        ),
        Finding(
            "gradients of uncertain tokens are larger",
            "correlation of entropy and E‖∇log π‖ over softmaxes, against 0",
            np.asarray(jax.vmap(coupling)(jax.random.split(jax.random.key(0), size.num_seeds))),
            0.0,
            source="paper",
        ),
        no_loss_of_success(by_entropy, uniform),
    ]
    return findings, {"learning rate of GRPO": uniform.learning_rate, "of EMPG": by_entropy.learning_rate}


def scope(size: Size) -> Result:
    """An expert that completes a failed rollout from its first error, or writes one anew, in a tree of passwords.

    Each tree has four passwords: with one, a splice would be the same sequence as the expert's own, and there would
    be no diversity to lose. The expert always prefers the first password that fits what it continues.
    """
    tree = problems.password_tree(8, num_prompts=4)
    rng = np.random.default_rng(0)
    leaves = np.stack([rng.choice(2**8, 4, replace=False) for _ in range(4)])
    passwords = (leaves[..., None] >> np.arange(8)) & 1
    problem = tree._replace(solutions=jnp.asarray(passwords), reward=jnp.ones(passwords.shape[:2]))

    def helped(batch: TabularBatch, *, splice: bool) -> TabularBatch:
        own = batch.token[:, :, None] == problem.solutions[:, None]
        fits = jnp.cumprod(own, axis=-1).astype(bool)  # [prompt, group, password, time]
        prefix = first_error_mask(jnp.any(fits, axis=2).astype(jnp.float32), where=batch.where)
        prefix = prefix & splice
        # The first password that agrees with the kept prefix; every password agrees with an empty one.
        agrees = jnp.all(fits | ~prefix[:, :, None], axis=-1)
        expert = jnp.take_along_axis(problem.solutions, jnp.argmax(agrees, axis=-1)[..., None], axis=1)
        # One failure of a group is replaced, the one that came furthest, where another remains for contrast.
        failed = batch.reward == 0
        furthest = jnp.argmax(jnp.where(failed, jnp.sum(prefix, axis=-1), -1), axis=-1)
        chosen = jnp.arange(batch.reward.shape[1]) == furthest[:, None]
        chosen = chosen & (jnp.sum(failed, axis=1, keepdims=True) > 1)
        token = jnp.where(chosen[..., None], expert, batch.token)
        reward = problems.verify(problem, token)
        return batch._replace(
            token=token,
            state=problems.visited(problem, token),
            reward=reward,
            advantage=jnp.broadcast_to(returns.group_relative(reward)[..., None], token.shape),
            memory=chosen[..., None] & ~prefix,
        )

    def mixed_loss(batch: TabularBatch):
        per_token = policy.mixed_policy(
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            batch.memory,
            clip_low=0.2,
            clip_high=0.2,
            where=batch.where,
        )
        return reduce.token_mean(per_token, where=batch.where)

    def trained(**slots: Any) -> Tuned:
        # Which tokens are the expert's is the memory, of one batch only; GRPO has none.
        own: Bool[Array, "prompt group time"] = jnp.zeros((4, 8, 8), bool)
        method = TabularMethod(loss=mixed_loss, memory=lambda problem: own, **slots)
        train = make_train(problem, method, num_updates=size.num_updates)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates, score=early_success)

    grpo = trained()
    replaced = trained(remember=lambda batch: helped(batch, splice=False))
    spliced = trained(remember=lambda batch: helped(batch, splice=True))
    mean = lambda tuned: tuned.curves["success"].mean(1)
    distinct = lambda tuned: final(tuned.curves["distinct_in_64"])
    findings = [
        Finding(
            "replacing a failure by the expert's sequence helps",
            "success, mean over updates; of replacement against GRPO",
            mean(replaced),
            mean(grpo),
            source="prediction",
        ),
        Finding(
            "splicing at the first error helps",
            "success, mean over updates; of the splice against GRPO",
            mean(spliced),
            mean(grpo),
            source="paper",
        ),
        Finding(
            "splicing is not worse than replacing by 0.05 or more",
            "success, mean over updates; the baseline is replacement less 0.05",
            mean(spliced),
            mean(replaced) - 0.05,
            source="prediction",
        ),
        Finding(
            "splicing finds more passwords than replacing",
            "distinct solutions in 64 samples at the end, of 4; against replacement",
            distinct(spliced),
            distinct(replaced),
            source="paper",
        ),
        Finding(
            "splicing keeps more entropy than replacing",
            "entropy of a token given its prefix (nats), mean over updates; against replacement",
            spliced.curves["entropy"].mean(1),
            replaced.curves["entropy"].mean(1),
            source="prediction",
        ),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of replacement": replaced.learning_rate,
        "of SCOPE": spliced.learning_rate,
    }


def dypo(size: Size) -> Result:
    """The variance of the gradient of mixed groups, and what a teacher does for groups that fail as a whole."""
    share = 0.5

    def policy_loss(batch: TabularBatch):
        surrogate = policy.clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where
        )
        pairs = group_alignment(batch.log_prob.sum(-1), batch.reference_log_prob.sum(-1), batch.reward)
        mixed = mixed_outcome(batch.reward)
        return share * reduce.token_mean(surrogate, where=batch.where) + (1 - share) * jnp.mean(pairs * mixed)

    # Uniform over binary strings, one of 64 is right: of the groups of eight seven in eight fail as a whole.
    task = problems.language(2, 6, num_solutions=1)

    def taught(batch: TabularBatch) -> TabularBatch:
        """Failed groups with the teacher's sequence in every place, so that their mean is its likelihood."""
        failed = performance_gate(batch.reward)[:, None, None]
        token = jnp.where(failed, task.solutions, batch.token)
        return batch._replace(token=token, state=problems.visited(task, token))

    def routed_loss(batch: TabularBatch):
        failed = performance_gate(batch.reward)[:, None, None]
        return policy_loss(batch) - reduce.token_mean(jnp.where(failed, batch.log_prob, 0), where=batch.where)

    def trained(**slots: Any) -> Tuned:
        train = make_train(task, TabularMethod(**slots), num_updates=size.num_updates)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates, score=early_success)

    unrouted, routed = trained(loss=policy_loss), trained(loss=routed_loss, remember=taught)
    escape = lambda tuned: updates_until(tuned.curves["pass_at_8"] >= 0.5)
    keys = jax.random.split(jax.random.key(1), 2 * size.num_seeds)
    lags = (0.0, 0.5, 1.0)
    surrogate, *mixtures = jax.tree.map(
        np.asarray, jax.jit(jax.vmap(lambda key: gradient_moments(key, lags, share)))(keys)
    )
    near, middle, far = mixtures
    nats = [abs(round(float(mixture["margin"].mean()), 1)) for mixture in mixtures]
    findings = [
        *(
            Finding(
                f"the gradient varies less, {place} the reference",
                f"variance of a mixed group's gradient, summed over logits, d = {d} nats",
                mixture["variance"],
                surrogate["variance"],
                "lower",
                source="paper",
            )
            for place, d, mixture in (("at", nats[0], near), ("away from", nats[2], far))
        ),
        Finding(
            "the variance falls as d grows",
            f"the same at d = {nats[2]} nats against {nats[1]}",
            far["variance"],
            middle["variance"],
            "lower",
            source="prediction",
        ),
        Finding(
            "the gradient varies less for its size",
            f"variance over the squared norm of the mean, d = {nats[2]} nats",
            far["relative"],
            surrogate["relative"],
            "lower",
            source="prediction",
        ),
        Finding(
            "routed to a teacher, failing groups are escaped sooner",
            "updates until a group of 8 has a success with 50 %; against no routing",
            escape(routed),
            escape(unrouted),
            "lower",
            source="prediction",
        ),
    ]
    return findings, {
        "learning rate without routing": unrouted.learning_rate,
        "with": routed.learning_rate,
        "seeds of the variances": len(keys),
    }


def gradient_moments(key: Array, lags: Sequence[float], share: float) -> list[dict[str, Float[Array, ""]]]:
    """How much the gradient of a mixed group varies: that of GRPO, then that of its mixture with group alignment.

    The reference lags behind in the tokens of the right string, by each lag, while policy and samples stay: GRPO's
    gradient is the same at all, and the margin d between right and wrong strings is all that differs.

    Returns:
        For each of them `variance`, summed over logits; `relative`, over the squared norm of the mean gradient;
        `margin`, the mean d.
    """
    problem = problems.language(2, 6, num_solutions=1, num_prompts=1, likelihood=1.2)
    states = problems.visited(problem, problem.solutions)
    many = problem._replace(start=jnp.broadcast_to(problem.start, 512))
    state, token, reward = problems.sample(many, problem.logits, key, 8)
    mixed = mixed_outcome(reward)
    log_prob = lambda logits, state, token: jnp.sum(jax.nn.log_softmax(logits)[state, token], axis=-1)

    # On the sampling policy the ratio is 1. Of whole sequences, as the pairs are: over tokens it would be smaller.
    def surrogate(own: Array, reference: Array, reward: Array):
        return jnp.mean(policy.policy_gradient(own, returns.group_relative(reward)))

    def mixture(own: Array, reference: Array, reward: Array):
        return share * surrogate(own, reference, reward) + (1 - share) * group_alignment(own, reference, reward)

    def moments(loss: Any, lag: float):
        reference = log_prob(problem.logits.at[states, problem.solutions].add(-lag), state, token)
        of_group = lambda logits, state, token, *rest: loss(log_prob(logits, state, token), *rest)
        gradient = jax.vmap(jax.grad(of_group), (None, 0, 0, 0, 0))(problem.logits, state, token, reference, reward)
        where = mixed[:, None, None]
        mean = jnp.mean(gradient, axis=0, where=where)
        variance = jnp.sum(jnp.var(gradient, axis=0, where=where, ddof=1))
        ahead = log_prob(problem.logits, state, token) - reference
        margin = jnp.mean(ahead, where=reward > 0) - jnp.mean(ahead, where=reward == 0)
        return {"variance": variance, "relative": variance / jnp.sum(jnp.square(mean)), "margin": margin}

    return [moments(surrogate, 0.0), *(moments(mixture, lag) for lag in lags)]


CLAIMS = {
    "empg": Claim(
        "EMPG",
        "(Wang et al., 2025, arXiv 2509.09265)",
        ("rlx.returns.entropy_modulated", "rlx.regularizers.entropy.categorical_entropy"),
        empg,
    ),
    "scope": Claim(
        "SCOPE",
        "(Ren et al., 2026, arXiv 2602.24110)",
        ("rlx.weighting.first_error_mask", "rlx.losses.policy.mixed_policy"),
        scope,
    ),
    "dypo": Claim(
        "DYPO",
        "(Zhu et al., 2026, arXiv 2604.08926)",
        (
            "rlx.losses.preference.group_alignment",
            "rlx.weighting.mixed_outcome",
            "rlx.weighting.performance_gate",
        ),
        dypo,
    ),
}
