import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest

from rlx import envs

PROGRAM = """
    import jax, numpy as np
    from rlx import envs
    env = envs.make("brax:inverted_pendulum")
    state, _ = env.reset(jax.random.key(0))
    q = np.array([[0.0, 0.0], [0.5, 0.1]])
    states = jax.tree.map(lambda x: np.stack([x, x]), state)
    states.task["[0].q"][:] = q
    try:
        frames = env.render(states, width=64, height=48)
        assert frames.shape == (2, 48, 64, 3) and frames.dtype == np.uint8 and (frames[0] != frames[1]).any()
        # In daylight: dark bodies in the middle, all in view, and no black behind them.
        border = np.concatenate([frames[:, [0, -1]].reshape(-1), frames[:, :, [0, -1]].reshape(-1)])
        assert frames.mean() > 150 and border.min() > 180 and frames[:, 12:36, 16:48].min() < 130
        print("drawn")
    except envs.RenderingUnavailable as error:
        assert "\\n" not in str(error), error
        print(error)
"""


def draw(**settings: str) -> str:
    chosen = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")}
    environment = {**chosen, **settings}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_without_a_display_mujoco_models_are_drawn_or_the_message_says_what_is_missing():
    result = draw()
    assert result == "drawn" or "MUJOCO_GL=egl" in result


@pytest.mark.slow
def test_without_opengl_the_message_says_what_is_missing():
    assert "set MUJOCO_GL=egl" in draw(MUJOCO_GL="disable")


def test_a_task_without_physics_has_no_picture():
    env = envs.make("brax:fast")
    states = jax.tree.map(lambda x: jnp.zeros((1, *x.shape)), jax.eval_shape(env.reset, jax.random.key(0))[0])
    with pytest.raises(envs.RenderingUnavailable, match="brax:fast has no picture"):
        env.render(states)
