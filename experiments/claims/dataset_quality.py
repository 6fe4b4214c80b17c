"""What a dataset is worth before anything is trained on it: quality of its trajectories, coverage of its pairs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Key

from experiments.claims import logged, offline_training
from experiments.claims.logged import Logged
from experiments.claims.offline_training import QUICK, SIZE, Trained
from experiments.claims.verdicts import Claim, Curves, Finding, Size
from rlx import envs
from rlx.data import Dataset
from rlx.diagnostics import rank_consistency, state_action_coverage, trajectory_quality
from rlx.recipes.datasets import collect, count_pairs, coverage_reference
from rlx.training.interaction import uniform_actions

EXPLORATION = {
    "random": lambda share: np.ones_like(share),
    "expert": lambda share: np.zeros_like(share),
    "mixed": lambda share: np.where(share < 0.8, 1.0, 0.0),
    "noisy": lambda share: np.full_like(share, 0.2),
    "replay": lambda share: 1.0 - share,
}
"""How much of each episode is random, from how many of the episodes came before it: the paper's five datasets."""

TOLERANCE = 0.05
OFF_POLICY = 1e6
"""α of TD3+BC at which nothing but the value counts, and it is TD3."""


def dataset_perspective(size: Size) -> tuple:
    """Five datasets of the pendulum that one knob makes, how often a swing-up acts at random; rank correlations.

    Quality and coverage are measured on a dataset of each kind for every seed, learners are trained on the first.
    Nothing is tuned, since nothing is compared: TQ and SACo are to foretell scores of learners as they are. Nor are
    observations normalized by each dataset, so that all are seen alike. "Replay" is of a behavior that gets better
    episode by episode, not of a learner's run.
    """
    is_quick = size.num_seeds <= QUICK.num_seeds
    learned = ("random", "expert") if is_quick else tuple(EXPLORATION)
    num_episodes = 10 if is_quick else 100
    environment = envs.make("rlx:pendulum")
    minimum = logged.mean_return(environment, uniform_actions(environment.action_space))
    maximum = logged.mean_return(environment, logged.swing_up)

    def make(kind: str, seed: int) -> Dataset:
        share = np.arange(num_episodes) / (num_episodes - 1)
        acting = Partial(_partly_random, jnp.asarray(EXPLORATION[kind](share), jnp.float32))
        # The same kind with another seed, and another kind with the same seed, have nothing in common.
        key = jax.random.fold_in(jax.random.key(seed), list(EXPLORATION).index(kind))
        return collect(environment, acting, key, num_episodes * environment.max_episode_steps, num_episodes)

    datasets = {kind: [make(kind, seed) for seed in range(size.num_seeds)] for kind in {*learned, "replay"}}
    references = [coverage_reference(dataset) for dataset in datasets["replay"]]

    def quality(dataset: Dataset) -> float:
        return float(trajectory_quality(dataset.episode_return, minimum=minimum, maximum=maximum))

    def coverage(dataset: Dataset, reference: dict[str, Any]) -> float:
        unique = count_pairs(dataset, reference["saco_low"], reference["saco_high"])
        return float(state_action_coverage(unique, reference=reference["saco_unique"]))

    tq = {kind: np.array([quality(dataset) for dataset in of]) for kind, of in datasets.items()}
    saco = {kind: np.array(list(map(coverage, of, references))) for kind, of in datasets.items()}

    def trained(name: str, **setting: float) -> dict[str, Trained]:
        return {
            kind: offline_training.train(
                name,
                Logged(environment, datasets[kind][0], minimum, maximum, kind),
                setting,
                num_seeds=size.num_seeds,
                num_steps=size.num_updates,
                normalize_observation=False,
            )
            for kind in learned
        }

    runs = {"BC": trained("bc"), "TD3": trained("td3_bc", alpha=OFF_POLICY)}
    measured = {
        name: np.array([of[kind][0] for kind in learned], np.float32) for name, of in (("TQ", tq), ("SACo", saco))
    }
    scores = {name: np.stack([of[kind].last for kind in learned], axis=-1) for name, of in runs.items()}
    findings = [
        Finding("TQ of random data is about 0", "|TQ|", np.abs(tq["random"]), TOLERANCE, "lower", source="prediction"),
        Finding(
            "TQ of expert data is about 1",
            "|TQ − 1|",
            np.abs(tq["expert"] - 1),
            TOLERANCE,
            "lower",
            source="prediction",
        ),
        Finding("random data cover more than expert data", "SACo", saco["random"], saco["expert"], source="paper"),
        Finding("replay data cover more than expert data", "SACo", saco["replay"], saco["expert"], source="paper"),
    ]
    findings += [
        Finding(
            f"{learner}'s score follows {measure}",
            f"Spearman's correlation of the score with {measure} over {len(learned)} datasets",
            _correlation(scores[learner], measured[measure]),
            0.0,
            source="paper",
        )
        for learner, measure in (("BC", "TQ"), ("TD3", "SACo"))
    ]
    settings = {
        f"{kind} data": f"TQ {tq[kind][0]:.2f}, SACo {saco[kind][0]:.2f}, "
        + ", ".join(f"{learner} {of[kind].last.mean():.0f}" for learner, of in runs.items())
        for kind in learned
    }
    # Where this is -1, the two orders are each other's reverse, and a learner that follows one turns from the other.
    settings["correlation of TQ with SACo"] = f"{_correlation(measured['TQ'], measured['SACo']):.2f}"
    steps = runs["BC"]["expert"].steps
    panels = {learner: {kind: run.score for kind, run in of.items()} for learner, of in runs.items()}
    return findings, settings, Curves(steps, "gradient steps", "normalized score", panels)


def _correlation(
    score: Float[np.ndarray, "*batch dataset"], other_score: Float[np.ndarray, " dataset"]
) -> Float[np.ndarray, "*batch"]:
    """Spearman's."""
    return 2 * np.asarray(rank_consistency(jnp.asarray(score), jnp.asarray(other_score), kind="spearman")) - 1


def _partly_random(
    share: Float[Array, " env"], observation: Float[Array, "env 3"], key: Key[Array, ""]
) -> Float[Array, "env 1"]:
    """Swings up, but for a share of the steps, in which any action is as likely."""
    which_key, action_key, own_key = jax.random.split(key, 3)
    anything = jax.random.uniform(action_key, (len(observation), 1), minval=-2.0, maxval=2.0)
    is_random = jax.random.uniform(which_key, share.shape) < share
    return jnp.where(is_random[:, None], anything, logged.swing_up(observation, own_key))


CLAIMS = {
    "dataset_perspective": Claim(
        "TQ and SACo",
        "(Schweighofer et al., 2021, arXiv 2111.04714)",
        (
            "rlx.diagnostics.trajectory_quality",
            "rlx.diagnostics.unique_state_action",
            "rlx.diagnostics.state_action_coverage",
        ),
        dataset_perspective,
        SIZE,
        QUICK,
        "datasets",
        "rlx:pendulum, 100 episodes (20,000 rows) of each kind: a swing-up that acts at random always (random), never "
        "(expert), in the first 80 % of the episodes (mixed), in a fifth of the steps (noisy), less and less (replay)",
    ),
}
