"""Off-screen pictures of MuJoCo models."""

import copy
import importlib
import os
import sys
from typing import Any

import numpy as np

from rlx.envs.protocol import RenderingUnavailable

SKY = (214, 226, 240)
# The dark squares of a checkered floor, 0 to 255, and the color of floors, 0 to 1.
DARK_SQUARE, FLOOR = 225, 0.85
LIGHTEN = 0.55
MARGIN = 1.25

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
    **fields: np.ndarray,
) -> np.ndarray:
    """Draws a sequence of configurations of a MuJoCo model, seen by its first camera or else whole.

    Args:
        model: A `mujoco.MjModel`.
        qpos: Positions `[T, nq]`.
        qvel: Velocities `[T, nv]`.
        width: In pixels.
        height: In pixels.
        **fields: Further fields of `mujoco.MjData` with a leading time axis, such as `mocap_pos`.

    Returns:
        Pictures, uint8 `[T, height, width, 3]`.

    Raises:
        RenderingUnavailable: If no OpenGL context can be made.
    """
    import mujoco

    _prefer_egl_without_display()
    model = copy.copy(model)
    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    # Without a GPU most of a picture's time goes into its shadows, 4096 pixels square by default.
    model.vis.quality.shadowsize = 1024
    # Each OpenGL binding fails in its own way, from ImportError to AttributeError, so all are caught.
    try:
        renderer = mujoco.Renderer(model, height=height, width=width)
    except Exception as error:
        raise RenderingUnavailable(_HELP.format(error=f"{type(error).__name__}: {error}")) from error

    data = mujoco.MjData(model)
    camera = None
    has_sky = bool((model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX).any())
    frames = np.empty((len(qpos), height, width, 3), np.uint8)
    with renderer:
        for t, frame in enumerate(frames):
            data.qpos, data.qvel = qpos[t], qvel[t]
            for field, values in fields.items():
                setattr(data, field, values[t])
            mujoco.mj_forward(model, data)
            if camera is None:
                camera = 0 if model.ncam else _overview(model, data, width / height)
            renderer.update_scene(data, camera=camera)
            if not has_sky:
                _add_backdrop(renderer.scene)
            renderer.render(out=frame)
    return frames


def brighten(model: Any) -> Any:
    """Returns a copy of a MuJoCo model in daylight: soft light, light colors, a pale sky and floor.

    Brax's models are dark bodies, weakly lit, on floors of black and white or of nothing.
    """
    import mujoco

    model = copy.copy(model)
    model.vis.headlight.ambient[:] = 0.4
    model.vis.headlight.diffuse[:] = 0.4
    model.vis.headlight.specular[:] = 0.1
    model.light_diffuse[:] = 0.35
    model.light_specular[:] = 0.1

    plane = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    floors = np.unique(model.geom_matid[plane & (model.geom_matid >= 0)])
    # A power below one makes dark colors lighter and keeps white white.
    for colors in (model.geom_rgba, model.mat_rgba):
        colors[:, :3] **= LIGHTEN
    model.geom_rgba[plane, :3] = model.mat_rgba[floors, :3] = FLOOR
    model.mat_reflectance[:] = 0.0
    for texture, start in enumerate(model.tex_adr):
        size = model.tex_height[texture] * model.tex_width[texture] * model.tex_nchannel[texture]
        pixels = model.tex_data[start : start + size]
        if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            pixels[:] = np.resize(SKY, size)
        elif texture in model.mat_texid[floors]:
            pixels[:] = DARK_SQUARE + pixels * ((255 - DARK_SQUARE) / 255)
        else:
            pixels[:] = 255 * (pixels / 255) ** LIGHTEN
    return model


def _overview(model: Any, data: Any, aspect: float) -> Any:
    """Returns a free camera that has all bodies in view, for a model that has no camera of its own.

    It looks along y, and the more from above the flatter the bodies lie.
    """
    import mujoco

    bounded = model.geom_rbound > 0
    rotation, box = data.geom_xmat[bounded].reshape(-1, 3, 3), model.geom_aabb[bounded]
    centers = data.geom_xpos[bounded] + np.einsum("gij,gj->gi", rotation, box[:, :3])
    halves = np.einsum("gij,gj->gi", np.abs(rotation), box[:, 3:])
    low, high = (centers - halves).min(axis=0), (centers + halves).max(axis=0)
    x, y, z = (high - low) / 2

    camera = mujoco.MjvCamera()
    camera.lookat[:] = (low + high) / 2
    camera.azimuth, camera.elevation = 90, -np.clip(np.rad2deg(np.arctan2(y, z)), 15, 75)
    half_angle = np.deg2rad(model.vis.global_.fovy) / 2
    camera.distance = MARGIN * max(x / aspect, np.hypot(y, z)) / np.tan(half_angle)
    return camera


def _add_backdrop(scene: Any) -> None:
    """Hangs a pale wall behind everything: MuJoCo draws black where a model has no sky."""
    import mujoco

    eye, wall = scene.camera[0], scene.geoms[scene.ngeom]
    distance = 0.9 * eye.frustum_far
    mujoco.mjv_initGeom(
        wall,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=np.array([distance, distance, 0.001 * distance]),
        pos=(eye.pos + distance * eye.forward).astype(float),
        mat=np.stack([np.cross(eye.forward, eye.up), eye.up, -eye.forward], axis=1).astype(float).ravel(),
        rgba=np.array([*SKY, 255], np.float32) / 255,
    )
    wall.emission, wall.specular = 0.15, 0.0
    scene.ngeom += 1
    scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False


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
