"""Off-screen pictures of MuJoCo models."""

import importlib
import os
import sys
from typing import Any

import numpy as np

from envs.protocol import RenderingUnavailable

_HELP = (
    "MuJoCo cannot draw off-screen here ({error}). It needs an OpenGL: before Python starts, "
    "set MUJOCO_GL=egl (with libegl1 installed; no display needed) or MUJOCO_GL=osmesa (with libosmesa6)"
)


def draw_mujoco(
    model: Any,
    qpos: np.ndarray,
    qvel: np.ndarray,
    width: int,
    height: int,
    camera: int | str = -1,
    **fields: np.ndarray,
) -> np.ndarray:
    """Draws a sequence of configurations of a MuJoCo model.

    Args:
        model: A `mujoco.MjModel`.
        qpos: Positions `[T, nq]`.
        qvel: Velocities `[T, nv]`.
        width: In pixels.
        height: In pixels.
        camera: Name or number of the model's camera; -1 is the free one.
        **fields: Further fields of `mujoco.MjData` with a leading time axis, such as `mocap_pos`.

    Returns:
        Pictures, uint8 `[T, height, width, 3]`.

    Raises:
        RenderingUnavailable: If no OpenGL context can be made.
    """
    import mujoco

    _prefer_egl_without_display()
    # Each OpenGL binding fails in its own way, from ImportError to AttributeError, so all are caught.
    try:
        renderer = mujoco.Renderer(model, height=height, width=width)
    except Exception as error:
        raise RenderingUnavailable(_HELP.format(error=f"{type(error).__name__}: {error}")) from error

    data = mujoco.MjData(model)
    frames = np.empty((len(qpos), height, width, 3), np.uint8)
    with renderer:
        for t, frame in enumerate(frames):
            data.qpos, data.qvel = qpos[t], qvel[t]
            for field, values in fields.items():
                setattr(data, field, values[t])
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera=camera)
            renderer.render(out=frame)
    return frames


def _prefer_egl_without_display() -> None:
    """Lets MuJoCo draw with EGL where it would look for a display that is not there.

    MuJoCo chooses its OpenGL when it is imported. Choosing EGL that early would make the import itself fail
    on a machine without it.
    """
    asked = {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if asked or not sys.platform.startswith("linux"):
        return
    os.environ["MUJOCO_GL"] = "egl"
    try:
        # Where the module lies differs between releases of MuJoCo.
        for name in [n for n in sys.modules if n.startswith("mujoco.") and n.endswith(".gl_context")]:
            importlib.reload(sys.modules[name])
    except Exception as error:
        os.environ["MUJOCO_GL"] = ""
        raise RenderingUnavailable(_HELP.format(error=f"{type(error).__name__}: {error}")) from error
