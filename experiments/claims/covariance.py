"""What entropy falls by: claims about the covariance of log-probabilities and advantages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.claims import problems
from experiments.claims.findings import Result, final, no_loss_of_success
from experiments.claims.training import TabularBatch, TabularMethod, Tuned, make_train, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce
from rlx.diagnostics import advantage_covariance, entropy_law, fit_entropy_law
from rlx.losses import policy

PROBLEM = dict(likelihood=3.0, confidence=1.0)


def covariance(after: TabularBatch, logits: Array) -> dict[str, Array]:
    """The batch's covariance before the first step on it."""
    return {"covariance": jnp.mean(advantage_covariance(after.behavior_log_prob, after.advantage, where=after.where))}


def trained(size: Size, method: TabularMethod) -> Tuned:
    """GRPO with some slots filled, tuned, on the problem of all claims here."""
    train = make_train(problems.language(**PROBLEM), method, num_updates=size.num_updates, measures=covariance)
    return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates)


def over_mixed(tuned: Tuned, statistic: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
    """A statistic of (covariance, fall of entropy) `[seed]` over the updates that had something to learn from."""
    problem = problems.language(**PROBLEM)
    before = float(problems.token_entropy(problem, problem.logits))
    fall = -np.diff(tuned.curves["entropy"], axis=1, prepend=before)
    # Without a group of unequal rewards every advantage is 0: counting such updates would make agreement cheap.
    mixed = tuned.curves["mixed_groups"] > 0
    rows = zip(tuned.curves["covariance"], fall, mixed, strict=True)
    # A short run may have too few of them.
    return np.array([statistic(c[m], f[m]) if np.sum(m) > 2 else np.nan for c, f, m in rows])


def entropy_mechanism(size: Size) -> Result:
    """GRPO's entropy falls by the covariance, and success is bought with it along an exponential."""
    grpo = trained(size, TabularMethod())
    success, entropy = jnp.asarray(grpo.curves["success"]), jnp.asarray(grpo.curves["entropy"])
    a, b = fit_entropy_law(entropy, success)
    error = success - entropy_law(entropy, a[:, None], b[:, None])
    explained = 1 - jnp.var(error, axis=1) / jnp.var(success, axis=1)
    ceiling = entropy_law(jnp.zeros_like(a), a, b)
    reached = final(grpo.curves["success"])
    findings = [
        Finding(
            "the covariance stays positive",
            "share of the updates with mixed groups that have a positive covariance, against 0.9",
            over_mixed(grpo, lambda covariance, fall: np.mean(covariance > 0)),
            0.9,
            source="paper",
        ),
        Finding(
            "the covariance predicts how much entropy an update costs",
            "correlation of the two over the updates with mixed groups, against 0.5",
            over_mixed(grpo, lambda covariance, fall: np.corrcoef(covariance, fall)[0, 1]),
            0.5,
            source="paper",
        ),
        Finding(
            "success follows b − a·exp(entropy)",
            "R² of the fit to a run, against 0.9",
            np.asarray(explained),
            0.9,
            source="paper",
        ),
        Finding(
            "the fit predicts the success at entropy 0",
            "distance of its ceiling b − a from the final success, relative, against 0.05",
            np.abs(np.asarray(ceiling) - reached) / reached,
            0.05,
            "lower",
            source="paper",
        ),
    ]
    return findings, {
        "learning rate": grpo.learning_rate,
        "a": round(float(a.mean()), 3),
        "b": round(float(b.mean()), 3),
        "final entropy": round(float(final(grpo.curves["entropy"]).mean()), 4),
    }


def kl_cov(size: Size) -> Result:
    """A penalty on the steps of the few tokens with the highest covariance."""

    def loss(coefficient: float, batch: TabularBatch):
        per_token = policy.kl_cov(
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            # These carry the covariance of a batch of the initial policy, as 0.2 % do in the paper's models.
            fraction=0.05,
            coefficient=coefficient,
            where=batch.where,
        )
        return reduce.token_mean(per_token, where=batch.where)

    grpo = trained(size, TabularMethod())
    penalized, unclipped = (trained(size, TabularMethod(loss=partial(loss, weight))) for weight in (1.0, 0.0))
    findings = [
        Finding(
            "entropy is at least twice that of GRPO",
            "entropy (nats), mean over updates; the baseline is twice GRPO's",
            penalized.curves["entropy"].mean(1),
            2 * grpo.curves["entropy"].mean(1),
            source="paper",
            statistic="mean",
        ),
        Finding(
            "entropy at the end is at least twice that of GRPO",
            "final entropy (nats); the baseline is twice GRPO's",
            final(penalized.curves["entropy"]),
            2 * final(grpo.curves["entropy"]),
            source="paper",
            statistic="mean",
        ),
        # KL-Cov differs from GRPO in having no clipping, too.
        Finding(
            "the penalty as such raises entropy",
            "entropy (nats), mean over updates; the baseline is KL-Cov with coefficient 0",
            penalized.curves["entropy"].mean(1),
            unclipped.curves["entropy"].mean(1),
            source="prediction",
            statistic="mean",
        ),
        no_loss_of_success(penalized, grpo),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of KL-Cov": penalized.learning_rate,
        "of KL-Cov with coefficient 0": unclipped.learning_rate,
    }


def clip_cov(size: Size) -> Result:
    """Dropping a random few of the tokens with a high covariance."""

    def loss(batch: TabularBatch):
        score = advantage_covariance(batch.log_prob, batch.advantage, where=batch.where)
        # The paper's band [1, 5] fits language models. Here it is the upper tenth; two of its tokens hold about as
        # much of the covariance of a batch, a seventh, as those that the paper drops.
        per_token = policy.clip_cov(
            batch.key,
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            fraction=0.011,
            lower=jnp.quantile(score, 0.9),
            upper=jnp.inf,
            where=batch.where,
        )
        return reduce.token_mean(per_token, where=batch.where)

    grpo, dropped = trained(size, TabularMethod()), trained(size, TabularMethod(loss=loss))
    findings = [
        Finding(
            "entropy stays higher",
            "entropy (nats), mean over updates",
            dropped.curves["entropy"].mean(1),
            grpo.curves["entropy"].mean(1),
            source="paper",
            statistic="mean",
        ),
        Finding(
            "entropy at the end is higher",
            "final entropy (nats)",
            final(dropped.curves["entropy"]),
            final(grpo.curves["entropy"]),
            source="paper",
            statistic="mean",
        ),
        no_loss_of_success(dropped, grpo),
    ]
    return findings, {"learning rate of GRPO": grpo.learning_rate, "of Clip-Cov": dropped.learning_rate}


PAPER = "(Cui et al., 2025, arXiv 2505.22617)"
CLAIMS = {
    "clip_cov": Claim(
        "Clip-Cov", PAPER, ("rlx.losses.policy.clip_cov", "rlx.diagnostics.advantage_covariance"), clip_cov
    ),
    "entropy_law": Claim(
        "entropy mechanism",
        PAPER,
        ("rlx.diagnostics.advantage_covariance", "rlx.diagnostics.fit_entropy_law", "rlx.diagnostics.entropy_law"),
        entropy_mechanism,
    ),
    "kl_cov": Claim("KL-Cov", PAPER, ("rlx.losses.policy.kl_cov",), kl_cov),
}
