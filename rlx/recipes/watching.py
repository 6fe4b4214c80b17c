"""Watching a policy: episodes in one compiled scan, and the pictures made of them."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree, UInt8

from rlx import envs
from rlx.algorithms.learner import Learner, policy_of
from rlx.envs.history import WithHistory
from rlx.envs.observations import FlatObservations
from rlx.training.interaction import Acting, begin, interaction
from rlx.training.metrics import atomic_path

DEFAULT_TIME_STEP = 0.05


class Rollout(NamedTuple):
    """What happened, leading axes `[time, episode]`; after the end of an episode the next one follows.

    Attributes:
        states: environment states that were acted in.
        reward: reward of each step.
        done: where an episode ended.
    """

    states: PyTree[Array]
    reward: Float[Array, "time episode"]
    done: Bool[Array, "time episode"]


def rollout(
    environment: envs.Environment,
    learner: Learner,
    learner_state: PyTree,
    key: Key[Array, ""],
    *,
    num_steps: int,
    num_episodes: int = 1,
    stochastic: bool = False,
) -> Rollout:
    """Let a policy act.

    Args:
        environment: one environment; it is vmapped here.
        learner: whose policy.
        learner_state: the learner's state.
        key: random key.
        num_steps: steps of each episode, ended or not.
        num_episodes: parallel environments.
        stochastic: act with the exploring policy instead of the deterministic one.
    """
    policy = policy_of(learner)

    def act(observation: PyTree, key: Key[Array, ""], memory: PyTree):
        if stochastic:
            return policy.act(learner_state, observation, key, memory)
        action, memory = policy.mode(learner_state, observation, memory)
        return action, {}, memory

    interact = interaction(environment, act, policy.begin)

    def watch(acting: Acting, key: Key[Array, ""]):
        following, transition = interact(acting, key)
        return following, Rollout(acting.environment, transition.reward, transition.terminated | transition.truncated)

    reset_key, key = jax.random.split(key)
    start = begin(environment, reset_key, num_episodes, policy.begin)
    return jax.lax.scan(watch, start, jax.random.split(key, num_steps))[1]


def lengths(done: Bool[Array, "time episode"]) -> np.ndarray:
    """Steps of each column's first episode `[episode]`; all steps where it did not end."""
    done = np.asarray(done)
    return np.where(done.any(axis=0), done.argmax(axis=0) + 1, len(done))


def returns(played: Rollout) -> np.ndarray:
    """Return of each column's first episode `[episode]`."""
    reward = np.asarray(played.reward)
    counts = np.arange(len(reward))[:, None] < lengths(played.done)
    return np.sum(reward, axis=0, where=counts)


def pictures(
    environment: envs.Environment,
    played: Rollout,
    *,
    width: int = 320,
    height: int = 240,
    fps: float = 25.0,
    max_frames: int | None = None,
) -> tuple[UInt8[np.ndarray, "frame height width 3"], float]:
    """Draw the first episode of each column, one after the other, in the simulator's time where it is known.

    Args:
        environment: where it was played.
        played: from `rollout`.
        width: in pixels.
        height: in pixels.
        fps: frames per second at most; steps in between are left out.
        max_frames: draw no more than this many.

    Returns:
        The frames and the seconds that each is to be shown.

    Raises:
        envs.RenderingUnavailable: the task or this machine cannot draw.
        ValueError: `fps` is not positive.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    stride, time_step = _stride(environment, fps)
    # The epsilon of a float must not cost the last frame.
    steps = [(t, episode) for episode, end in enumerate(lengths(played.done)) for t in range(0, end, stride)]
    time, episode = np.array(steps[:max_frames]).T
    states = jax.tree.map(lambda x: np.asarray(x)[time, episode], played.states)
    return environment.render(states, width=width, height=height), stride * time_step


def memory_needed(
    environment: envs.Environment, played: Rollout, *, width: int = 320, height: int = 240, fps: float = 25.0
) -> int:
    """Bytes that a rollout and the pictures of all its steps take up at most.

    Args:
        environment: where it is played.
        played: shapes of the rollout.
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
        fps: frames per second at most.
    """
    sizes = (math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(played))
    steps, episodes = played.reward.shape
    # The simulator's pictures, and those of which a video is made.
    return sum(sizes) + 2 * 3 * width * height * episodes * -(-steps // _stride(environment, fps)[0])


def _stride(environment: envs.Environment, fps: float) -> tuple[int, float]:
    """Every how many steps there is a picture, and the seconds of a step."""
    time_step = getattr(environment, "time_step", None) or DEFAULT_TIME_STEP
    return max(1, round(1 / (fps * time_step))), time_step


def drawable(environment: envs.Environment) -> envs.Environment:
    """The same environment, made so that its states can be drawn afterwards.

    A simulator on the host cannot go back to a state, so it takes its pictures while it runs.
    """
    if not environment.name.startswith("gym:"):
        return environment
    pictured = envs.make(
        environment.name,
        max_episode_steps=environment.max_episode_steps,
        action_repeat=environment.action_repeat,
        pictures=True,
    )
    if isinstance(environment, WithHistory):
        return envs.with_history(drawable(environment.environment), environment.length)
    return envs.flatten_observations(pictured) if isinstance(environment, FlatObservations) else pictured


def write_video(path: str | os.PathLike, frames: UInt8[np.ndarray, "frame height width 3"], seconds: float) -> None:
    """Write a GIF or an MP4, by the suffix of `path`.

    Args:
        path: `.gif` or `.mp4`.
        frames: the pictures.
        seconds: how long each is shown.

    Raises:
        ValueError: another suffix.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _WRITERS:
        raise ValueError(f"path must end in {' or '.join(_WRITERS)}, got {os.fspath(path)!r}")
    with atomic_path(path) as temporary:
        _WRITERS[suffix](temporary, frames, seconds)


def _write_gif(path: Any, frames: np.ndarray, seconds: float) -> None:
    from PIL import Image

    # One palette for all frames: a palette for each flickers and makes the file larger.
    sample = frames[:: max(1, len(frames) // 8)]
    palette = Image.fromarray(sample.reshape(-1, *frames.shape[2:])).quantize(128)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    # A GIF counts in hundredths of a second; rounding the times, not the durations, keeps the whole in step.
    times = np.round(100 * seconds * np.arange(len(images) + 1))
    milliseconds = (10 * np.diff(times)).astype(int).tolist()
    images[0].save(path, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=False)


def _write_mp4(path: Any, frames: np.ndarray, seconds: float) -> None:
    import imageio.v3 as imageio

    # Video codecs want even sides.
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    with warnings.catch_warnings():
        # imageio forks to start ffmpeg, which JAX warns of; the child runs nothing of JAX.
        warnings.simplefilter("ignore", RuntimeWarning)
        imageio.imwrite(path, even, fps=1 / seconds, codec="libx264", macro_block_size=1)


_WRITERS = {".gif": _write_gif, ".mp4": _write_mp4}
