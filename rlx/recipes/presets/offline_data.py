"""What D4RL's datasets ask of a learner that the defaults, which suit its locomotion, are not: rewards above all.

Presets go by D4RL's name of a dataset, or what it begins with, so that AntMaze's sizes may differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlx.recipes.presets import offline
from rlx.recipes.presets.preset import Preset

ADROIT = ("pen", "hammer", "door", "relocate")
"""D4RL's tasks of a hand."""


_AS_THEY_ARE = dict(reward_scaling="none")

_ODICE = "main_odice_rl.py of maoliyuan/ODICE-Pytorch"
_ODICE_ANTMAZE = dict(
    reward_scaling="none",
    # Rewards of 0 and 1 become -3 and 0.
    reward_scale=3.0,
    reward_shift=-3.0,
    value_layer_norm=False,
    eval_episodes=50,
)

ODICE: Mapping[str, Preset] = {
    "antmaze": Preset(f"{_ODICE}; lambda and eta are those of locomotion, tune them", _ODICE_ANTMAZE),
    **{
        name: Preset(f"{_ODICE}, with a single value; lambda and eta are those of locomotion, tune them", values)
        for name, values in dict.fromkeys(
            ("antmaze-large", "antmaze-umaze-diverse"), _ODICE_ANTMAZE | {"num_values": 1}
        ).items()
    },
    **{name: Preset(f"{_ODICE}: rewards as they are", _AS_THEY_ARE) for name in ("kitchen", *ADROIT)},
}
"""D4RL's name -> hyperparameters of O-DICE."""

IQL: Mapping[str, Preset] = {
    "antmaze": offline.IQL["antmaze"],
    **{
        name: Preset(
            "configs/kitchen_config.py of ikostrikov/implicit_q_learning, without dropout, in the order of CORL",
            dict(beta=0.5, reward_scaling="none", normalize_observation=False),
        )
        for name in ("kitchen", *ADROIT)
    },
}
"""D4RL's name -> hyperparameters of IQL."""

_REBRAC = dict(
    batch_size=256,
    learning_rate=3e-4,
    critic_learning_rate=5e-5,
    discount=0.999,
    reward_scale=100.0,
    eval_episodes=100,
)

REBRAC: Mapping[str, Preset] = {
    f"antmaze-{name}": Preset(
        f"configs/offline/rebrac/antmaze/{name.replace('-', '_')}_v2.yaml of tinkoff-ai/CORL",
        _REBRAC | dict(actor_beta=actor_beta, critic_beta=critic_beta),
    )
    for name, actor_beta, critic_beta in (
        ("umaze", 0.003, 0.002),
        ("umaze-diverse", 0.003, 0.001),
        ("medium-play", 0.001, 0.0005),
        ("medium-diverse", 0.001, 0.0),
        ("large-play", 0.002, 0.001),
        ("large-diverse", 0.002, 0.002),
    )
}
"""D4RL's name -> hyperparameters of ReBRAC."""
