"""Hyperparameters of learners from a dataset that suit one of D4RL's, by what the names of such datasets begin with.

Where sources disagree, the preset says which it follows; the defaults of a recipe suit D4RL's locomotion.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlx.recipes.presets.preset import Preset

_CONSERVATIVE = dict(
    weight=5.0,
    gap_target=0.8,
    max_target_backup=True,
    hidden_sizes=(256, 256),
    critic_hidden_sizes=(256, 256, 256, 256),
    initialization="orthogonal",
    learning_rate=1e-4,
    critic_learning_rate=3e-4,
    reward_scale=10.0,
    reward_shift=-5.0,
    normalize_observation=False,
    mixing_ratio=0.5,
    updates_per_online_step=1.0,
    num_envs=1,
    eval_episodes=20,
)

CAL_QL: Mapping[str, Preset] = {
    "antmaze": Preset(
        "scripts/run_antmaze.sh of nakamotoo/Cal-QL; its online phase is --online-steps 1e6", _CONSERVATIVE
    )
}
"""D4RL's name → hyperparameters of Cal-QL."""

CQL: Mapping[str, Preset] = {
    "antmaze": Preset(
        "scripts/run_antmaze.sh of nakamotoo/Cal-QL without calibration: weight 5 with a multiplier, and no start by "
        "behavior cloning",
        _CONSERVATIVE,
    )
}
"""D4RL's name → hyperparameters of CQL."""

IQL: Mapping[str, Preset] = {
    "antmaze": Preset(
        "configs/antmaze_config.py of ikostrikov/implicit_q_learning, in the order of CORL; online, as its "
        "train_finetune.py, all transitions are drawn alike",
        dict(
            expectile=0.9,
            beta=10.0,
            reward_scaling="none",
            reward_shift=-1.0,
            normalize_observation=False,
            mixing_ratio=None,
            eval_episodes=100,
        ),
    )
}
"""D4RL's name → hyperparameters of IQL."""

PRDC: Mapping[str, Preset] = {
    "antmaze": Preset(
        "README.md of LAMDA-RL/PRDC: beta 7.5, where its command line has 1 by default and its class 2",
        dict(alpha=7.5, beta=7.5, reward_scale=10_000.0, reward_shift=-1.0, eval_episodes=100),
    )
}
"""D4RL's name → hyperparameters of PRDC."""
