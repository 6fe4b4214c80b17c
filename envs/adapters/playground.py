"""MuJoCo Playground: the DeepMind Control Suite on MJX."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from mujoco_playground._src import dm_control_suite

from rlx.envs import carry, resets
from rlx.envs.adapters import spaces
from rlx.envs.adapters.drawing import draw_mujoco
from rlx.envs.adapters.quiet import silenced
from rlx.envs.episodes import Outcome, Task
from rlx.envs.registry import check_choice, check_options

IMPLEMENTATIONS = ("jax", "warp")


def load(task: str, *, impl: str = "jax", **options: Any) -> Task:
    """Loads a task of the control suite without any of Playground's wrappers.

    Args:
        task: One of Playground's control-suite tasks, such as `"CartpoleBalance"`.
        impl: MJX in `jax`, which runs everywhere, or in `warp`, which needs an NVIDIA GPU.
        **options: Overrides of the task's configuration, such as `ctrl_dt=0.02`.

    Raises:
        ValueError: If an option does not exist.
    """
    name = f"playground:{task}"
    config = dm_control_suite.get_default_config(task)
    check_choice("impl", impl, IMPLEMENTATIONS)
    # Episodes are the business of `envs.episodes`.
    check_options(name, options, set(config) - {"impl", "episode_length", "action_repeat"})
    with silenced():
        simulator = dm_control_suite.load(task, config=config, config_overrides={"impl": impl, **options})

    # The simulator's step reads the physics and the info of the state it is given; the rest it overwrites.
    blank = jax.tree.map(
        lambda x: np.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda key: simulator.reset(key).replace(data=None, info={}), jax.random.key(0)),
    )

    def reset(key: Key[Array, ""]) -> tuple[Any, Any]:
        start = simulator.reset(key)
        return (start.data, start.info), start.obs

    def step(state: Any, action: Float[Array, " actions"], key: Key[Array, ""]) -> Outcome:
        data, info = state
        # The simulator writes its metrics and info into the dicts it is given.
        before = blank.replace(data=data, info=dict(info), metrics=dict(blank.metrics))
        after = simulator.step(before, action)
        return Outcome(
            state=(after.data, after.info),
            observation=after.obs,
            reward=jnp.asarray(after.reward, jnp.float32),
            terminated=jnp.asarray(after.done, bool),
            truncated=jnp.zeros((), bool),
            info=dict(after.metrics),
        )

    model = simulator.mj_model
    drawn = ("qpos", "qvel", *(("mocap_pos", "mocap_quat") if model.nmocap else ()))
    action = jax.ShapeDtypeStruct((simulator.action_size,), jnp.float32)
    slim_reset, slim_step = carry.slim(reset, step, action, keep=tuple(f"[0].{field}" for field in drawn))

    def draw(states: Any, width: int, height: int) -> np.ndarray:
        fields = {field: states[f"[0].{field}"] for field in drawn}
        return draw_mujoco(model, **fields, width=width, height=height)

    return Task(
        name=name,
        observation_space=spaces.unbounded(blank.obs),
        action_space=gymnasium.spaces.Box(-1.0, 1.0, action.shape, np.float32),
        reset=slim_reset,
        step=slim_step,
        max_episode_steps=config.episode_length,
        draw=draw,
        renew=resets.in_chunks,
        time_step=float(simulator.dt),
    )
