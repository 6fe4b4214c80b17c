"""Brax: rigid-body locomotion and control on any of its physics backends."""

import functools
import inspect
import types
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from brax import envs as brax_envs
from brax import fluid
from jaxtyping import Array, Float, Key

from rlx.envs import carry, resets
from rlx.envs.adapters import spaces
from rlx.envs.adapters.drawing import brighten, draw_mujoco
from rlx.envs.adapters.quiet import silenced
from rlx.envs.episodes import Outcome, Task
from rlx.envs.registry import check_choice, check_options

# Brax's fluid forces, which the swimmer swims in, call `clip` with keywords that JAX 0.10 removed.
fluid.jp = types.SimpleNamespace(**{**vars(jnp), "clip": lambda x, a_min=None, a_max=None: jnp.clip(x, a_min, a_max)})

BACKENDS = ("generalized", "positional", "spring", "mjx")
DEFAULT_MAX_EPISODE_STEPS = 1000


def default_backend(task: str) -> str:
    """Returns the backend that a task runs on unless told otherwise.

    `mjx` is MuJoCo's own physics, what published results on these bodies mean, and on bodies with contacts no
    slower than the others. The pendulums have no contacts: there `spring` moves the same way and is faster.
    The swimmer's medium exists in `generalized` only.
    """
    special = {"inverted_pendulum": "spring", "inverted_double_pendulum": "spring", "swimmer": "generalized"}
    return special.get(task, "mjx")


def load(task: str, *, backend: str | None = None, **options: Any) -> Task:
    """Loads a Brax environment without any of its wrappers.

    Args:
        task: One of Brax's environments, such as `"ant"`.
        backend: `generalized`, `positional`, `spring` or `mjx`; by default `default_backend(task)`.
        **options: Arguments of the environment's class, such as `terminate_when_unhealthy`.

    Raises:
        ValueError: If the backend or an option does not exist.
    """
    name = f"brax:{task}"
    if backend is None:
        backend = default_backend(task)
    check_choice("backend", backend, BACKENDS)
    check_options(name, options, _options(task))
    # Its constants are numbers even where it is made within a trace, as in a sweep: its time step is read below.
    with silenced(), jax.ensure_compile_time_eval():
        simulator = brax_envs.get_environment(task, backend=backend, **options)
        time_step = float(simulator.dt) if hasattr(simulator, "sys") else None

    # Brax's step reads the physics and the info of the state it is given; the rest it overwrites.
    blank = jax.tree.map(
        lambda x: np.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda key: simulator.reset(key).replace(pipeline_state=None, info={}), jax.random.key(0)),
    )

    def reset(key: Key[Array, ""]) -> tuple[Any, Any]:
        start = simulator.reset(key)
        return (start.pipeline_state, start.info), start.obs

    def step(state: Any, action: Float[Array, " actions"], key: Key[Array, ""]) -> Outcome:
        pipeline_state, info = state
        # Brax writes its metrics into the dict it is given.
        before = blank.replace(pipeline_state=pipeline_state, info=dict(info), metrics=dict(blank.metrics))
        after = simulator.step(before, action)
        return Outcome(
            state=(after.pipeline_state, after.info),
            observation=after.obs,
            reward=jnp.asarray(after.reward, jnp.float32),
            terminated=jnp.asarray(after.done, bool),
            truncated=jnp.zeros((), bool),
            info=dict(after.metrics),
        )

    action = jax.ShapeDtypeStruct((simulator.action_size,), jnp.float32)
    slim_reset, slim_step = carry.slim(reset, step, action, keep=("[0].q", "[0].qd"))
    return Task(
        name=name,
        observation_space=spaces.unbounded(blank.obs),
        action_space=gymnasium.spaces.Box(-1.0, 1.0, action.shape, np.float32),
        reset=slim_reset,
        step=slim_step,
        max_episode_steps=DEFAULT_MAX_EPISODE_STEPS,
        draw=functools.partial(_draw, simulator) if hasattr(simulator, "sys") else None,
        renew=resets.in_chunks,
        time_step=time_step,
    )


def _draw(simulator: Any, states: Any, width: int, height: int) -> np.ndarray:
    return draw_mujoco(brighten(simulator.sys.mj_model), states["[0].q"], states["[0].qd"], width, height)


def _options(task: str) -> list[str]:
    own = inspect.signature(brax_envs._envs[task].__init__).parameters.values()
    return [p.name for p in own if p.kind is not p.VAR_KEYWORD and p.name not in ("self", "backend")] + ["n_frames"]
