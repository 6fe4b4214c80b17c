"""How far an update may go: claims about clipping, damping and weighting the probability ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.claims import problems
from experiments.claims.training import Batch, Method, make_train, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce
from rlx.losses import policy

Result = tuple[Sequence[Finding], Mapping[str, Any]]


def final(curve: np.ndarray) -> np.ndarray:
    """Mean of the last tenth of a curve ``[seed, update]``."""
    return curve[:, -max(1, curve.shape[1] // 10) :].mean(axis=1)


def mhpo(size: Size) -> Result:
    """Damped ratios against clipped ones, eight steps on each batch, at learning rates that go too far."""
    problem = problems.language(likelihood=2.5, confidence=1.0)
    # At ratio 1 the damping leaves e^(−ζ(0)) of the gradient; with it undone both methods start with equal steps.
    rescale = math.exp(math.log(2) ** 1.5 + (math.log(2) / 0.8) ** 2)

    def loss(batch: Batch):
        damped = policy.hazard_modulated_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where
        )
        return rescale * reduce.sequence_mean(damped, where=batch.where)

    train = lambda method: make_train(problem, method, num_updates=size.num_updates, inner_steps=8)
    options = dict(num_seeds=size.num_seeds, learning_rates=size.learning_rates)
    grpo, damped = (tune_and_train(train(method), **options) for method in (Method(), Method(loss=loss)))
    quantile = lambda tuned: np.quantile(tuned.curves["gradient_norm"], 0.99, axis=1)
    largest = lambda tuned: tuned.curves["log_ratio_max"].max(axis=1)
    findings = [
        Finding(
            "rare gradients are smaller",
            "99 % quantile of the gradient norm",
            quantile(damped),
            quantile(grpo),
            "lower",
        ),
        Finding("the ratio stays closer to 1", "largest |log ratio| (nats)", largest(damped), largest(grpo), "lower"),
        Finding(
            "success does not fall by 0.05 or more",
            "final success; the baseline is GRPO's less 0.05",
            final(damped.curves["success"]),
            final(grpo.curves["success"]) - 0.05,
        ),
    ]
    return findings, {"learning rate of GRPO": grpo.learning_rate, "of MHPO": damped.learning_rate}


CLAIMS = {
    "mhpo": Claim(
        "MHPO",
        "(Wang et al., 2026, arXiv 2603.16929)",
        ("rlx.losses.policy.hazard_modulated_surrogate", "rlx.reduce.sequence_mean"),
        mhpo,
    ),
}
