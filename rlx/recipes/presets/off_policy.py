"""Hyperparameters of SAC and TD3 that suit an environment."""

from collections.abc import Mapping
from typing import Any

from rlx.recipes.presets.preset import Preset

# Brax's SAC where its callers say nothing or all the same. Its loss is a quarter of ours, which Adam does not feel.
_BRAX_TRAINER = dict(
    unroll_length=1,
    std="softplus",
    initial_std=0.694,
    target_entropy=-0.5,
    temperature_learning_rate=3e-4,
    hidden_sizes=(256, 256),
    activation="relu",
    normalize_observation=True,
    initialization="lecun_uniform",
    warmup_policy="untrained",
    tau=0.005,
)


def _brax(
    *,
    num_timesteps: int,
    reward_scaling: float,
    discounting: float,
    learning_rate: float,
    num_envs: int,
    batch_size: int,
    grad_updates_per_step: int,
    max_replay_size: int,
    min_replay_size: int,
    q_network_layer_norm: bool = False,
    action_repeat: int = 1,
) -> dict[str, Any]:
    """Arguments of Brax's SAC as ours."""
    overrides = dict(
        total_steps=num_timesteps // action_repeat,
        reward_scale=reward_scaling,
        discount=discounting,
        learning_rate=learning_rate,
        num_envs=num_envs,
        batch_size=batch_size,
        updates_per_step=grad_updates_per_step,
        buffer_size=max_replay_size,
        warmup_steps=min_replay_size,
        critic_layer_norm="after" if q_network_layer_norm else "none",
        **_BRAX_TRAINER,
    )
    if action_repeat > 1:
        overrides |= dict(action_repeat=action_repeat, max_episode_steps=1000 // action_repeat)
    return overrides


def _playground(*, num_timesteps: int = 5_000_000, action_repeat: int = 1) -> Preset:
    overrides = _brax(
        num_timesteps=num_timesteps,
        reward_scaling=1.0,
        discounting=0.99,
        learning_rate=1e-3,
        num_envs=128,
        batch_size=512,
        grad_updates_per_step=8,
        max_replay_size=4 * 1_048_576,
        min_replay_size=8192,
        q_network_layer_norm=True,
        action_repeat=action_repeat,
    )
    return Preset("MuJoCo Playground, config/dm_control_suite_params.py, brax_sac_config", overrides)


_BRAX_NOTEBOOK = "Brax, notebooks/training.ipynb, sac.train"

_BRAX_WALKER = _brax(
    num_timesteps=7_864_320,
    reward_scaling=5,
    discounting=0.997,
    learning_rate=6e-4,
    num_envs=128,
    batch_size=128,
    grad_updates_per_step=32,
    max_replay_size=1_048_576,
    min_replay_size=8192,
)

_PENDULUM = dict(
    total_steps=15_000,
    num_envs=4,
    unroll_length=1,
    updates_per_step=4,
    batch_size=128,
    buffer_size=15_000,
    warmup_steps=1000,
    learning_rate=1e-3,
    discount=0.98,
    tau=0.02,
    hidden_sizes=(64, 64),
)

_SMALL = dict(num_envs=16, updates_per_step=16, batch_size=256, warmup_steps=5000, buffer_size=200_000)

_SAC_TASKS: Mapping[str, Preset] = {
    "brax:hopper": Preset(
        _BRAX_NOTEBOOK,
        _brax(
            num_timesteps=6_553_600,
            reward_scaling=30,
            discounting=0.997,
            learning_rate=6e-4,
            num_envs=128,
            batch_size=512,
            grad_updates_per_step=64,
            max_replay_size=1_048_576,
            min_replay_size=8192,
        ),
    ),
    "brax:walker2d": Preset(_BRAX_NOTEBOOK, _BRAX_WALKER),
    **{
        f"playground:{task}": _playground(num_timesteps=10_000_000)
        for task in (
            "AcrobotSwingup",
            "AcrobotSwingupSparse",
            "CheetahRun",
            "FingerSpin",
            "FingerTurnEasy",
            "FingerTurnHard",
            "HopperHop",
            "HopperStand",
            "HumanoidWalk",
            "SwimmerSwimmer6",
            "WalkerRun",
        )
    },
    "playground:PendulumSwingup": _playground(),
    "gymnax:Pendulum-v1": Preset("as for rlx:pendulum, which is the same task", _PENDULUM),
    "rlx:pendulum": Preset(
        "tuned here: final return -155 (interquartile mean over seeds 0-7, the worst -194)", _PENDULUM
    ),
}

_SAC_SUITES: Mapping[str, Preset] = {
    "brax": Preset("as for brax:walker2d", _BRAX_WALKER),
    "playground": _playground(),
    "gymnax": Preset("the paper's, in 16 environments", _SMALL),
    "gym": Preset(
        "CleanRL, sac_continuous_action.py",
        dict(
            total_steps=1_000_000,
            num_envs=1,
            unroll_length=1,
            updates_per_step=1,
            warmup_steps=5000,
            critic_learning_rate=1e-3,
            temperature_learning_rate=1e-3,
        ),
    ),
    "rlx": Preset("the paper's, in 16 environments", _SMALL),
}

_MANY = Preset(
    "the paper's, in 128 environments, with a gradient step for every second step of one",
    dict(num_envs=128, updates_per_step=64, warmup_steps=25_600),
)

_TD3_TASKS: Mapping[str, Preset] = {
    "brax:hopper": Preset(
        "the paper's gradient step per environment step, in 64 environments; rlx bench brax_sac: 1183 (interquartile "
        "mean over seeds 0-7) after 200,000 steps",
        dict(
            backend="mjx",
            num_envs=64,
            updates_per_step=64,
            batch_size=128,
            warmup_steps=8192,
            learning_rate=3e-4,
            hidden_sizes=(128, 128),
            normalize_observation=True,
        ),
    ),
    "gymnax:Pendulum-v1": Preset("as for rlx:pendulum, which is the same task", _PENDULUM),
    "rlx:pendulum": Preset(
        "tuned here: final return -153 (interquartile mean over seeds 0-7, the worst -195)", _PENDULUM
    ),
}

_TD3_SUITES: Mapping[str, Preset] = {
    "brax": _MANY,
    "playground": _MANY,
    "gymnax": Preset("the paper's, in 16 environments", _SMALL),
    "gym": Preset(
        "CleanRL, td3_continuous_action.py",
        dict(total_steps=1_000_000, num_envs=1, unroll_length=2, updates_per_step=2, warmup_steps=25_000),
    ),
    "rlx": Preset("the paper's, in 16 environments", _SMALL),
}

SAC: Mapping[str, Preset] = {**_SAC_TASKS, **_SAC_SUITES}
"""Presets of SAC by environment; those of a suite are for its environments without one of their own."""

TD3: Mapping[str, Preset] = {**_TD3_TASKS, **_TD3_SUITES}
"""Presets of TD3, likewise."""
