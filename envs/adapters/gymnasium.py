"""Gymnasium: environments that run on the host, seen from JAX as if they were pure.

Each environment is a Python object kept here under an integer handle; the handle is the state that JAX
carries. A batch, however many `vmap`s deep, costs one call to the host per step. What purity promises
therefore holds only along a trajectory: step every state once, and do not expect a saved state to outlive the
process.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import io_callback
from jaxtyping import Array, Bool, Int, Key, PyTree, UInt32

from envs.batching import whole_batch
from envs.episodes import Task, Transition
from envs.protocol import RenderingUnavailable
from envs.registry import UnknownEnvironment, nearest


class HostState(NamedTuple):
    """Which host environment this is, and its picture if pictures are taken."""

    handle: Int[Array, ""]
    picture: Array | None


def load(task: str, *, pictures: bool = False, **options: Any) -> Task:
    """Loads a Gymnasium environment without its time limit.

    Args:
        task: An id registered with Gymnasium, such as `"HalfCheetah-v5"`.
        pictures: Whether states carry a picture of themselves. A host environment cannot be drawn afterwards,
            so `render` needs this. It is slow.
        **options: Arguments of `gymnasium.make`.

    Raises:
        UnknownEnvironment: If there is no such id.
        ValueError: If Gymnasium cannot make it with these options, or its spaces are not made of Box,
            Discrete, MultiBinary, MultiDiscrete, Dict and Tuple.
        RenderingUnavailable: If `pictures` is set and Gymnasium cannot take any here.
    """
    name = f"gym:{task}"
    if task not in gymnasium.registry:
        raise UnknownEnvironment(f"no environment {name!r}; {nearest(task, gymnasium.registry)}")
    if pictures:
        options = {**options, "render_mode": "rgb_array"}

    def make() -> gymnasium.Env:
        return gymnasium.make(task, max_episode_steps=-1, disable_env_checker=True, **options)

    try:
        probe = make()
    except (TypeError, ValueError, gymnasium.error.Error) as error:
        raise ValueError(f"Gymnasium cannot make {name} with {options}: {error}") from error

    observation_space = _in_jax(probe.observation_space)
    shape = HostState(jax.ShapeDtypeStruct((), jnp.int32), _picture_shape(name, probe) if pictures else None)
    hosts = Hosts(make, probe, observation_space, pictures)
    start, move, restart = _callbacks(hosts, (shape, _shapes(observation_space)))

    def reset(key: Key[Array, ""]) -> tuple[HostState, PyTree[Array]]:
        return start(jax.random.bits(key))

    def step(state: HostState, action: Array, key: Key[Array, ""]) -> Transition:
        (state, observation), reward, terminated, truncated = move(state.handle, action)
        return Transition(state, observation, reward, terminated, truncated, info={})

    def renew(reset, done, key, current):
        return restart(done, jax.random.bits(key), current)

    return Task(
        name=name,
        observation_space=observation_space,
        action_space=_in_jax(probe.action_space),
        reset=reset,
        step=step,
        max_episode_steps=gymnasium.spec(task).max_episode_steps,
        draw=_draw,
        renew=renew,
    )


class Hosts:
    """The host environments of one task, by handle.

    Nothing tells when the last copy of a handle is gone, so the least recently used environments are closed
    once there are more than four times as many as the largest batch ever started (at least `spare`).
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env],
        probe: gymnasium.Env,
        observation_space: gymnasium.Space,
        pictures: bool,
        spare: int = 256,
    ):
        self.make, self.idle, self.space, self.pictures, self.room = (
            make,
            [probe],
            observation_space,
            pictures,
            spare,
        )
        self.live: OrderedDict[int, gymnasium.Env] = OrderedDict()
        self.over: set[int] = set()
        self.handles = itertools.count()

    def start(self, seeds: UInt32[np.ndarray, "*batch"]) -> tuple:
        """Starts one environment per seed; returns their states and first observations."""
        seeds = np.asarray(seeds)
        self.room = max(self.room, 4 * seeds.size)
        while self.live and len(self.live) + seeds.size > self.room:
            handle, env = self.live.popitem(last=False)
            self.over.discard(handle)
            self.idle.append(env)
        for env in self.idle[seeds.size :]:
            env.close()
        del self.idle[seeds.size :]

        handles = np.empty(seeds.shape, np.int32)
        for index in np.ndindex(seeds.shape):
            handles[index] = next(self.handles)
            self.live[int(handles[index])] = self.idle.pop() if self.idle else self.make()
        observations = [self._reset(int(h), int(s)) for h, s in zip(handles.flat, seeds.flat, strict=True)]
        return self._state(handles), self._stack(observations, handles.shape)

    def move(self, handles: Int[np.ndarray, "*batch"], actions: np.ndarray) -> tuple:
        """Steps each environment; one whose episode is over stays as it is until it is restarted."""
        handles, actions = np.asarray(handles), np.asarray(actions)
        space = self._get(int(handles.flat[0])).action_space if handles.size else None
        actions = actions.reshape(handles.size, *actions.shape[handles.ndim :])
        results = [self._move(int(h), _to_host(space, a)) for h, a in zip(handles.flat, actions, strict=True)]
        observations, rewards, terminated, truncated = zip(*results, strict=True)
        scalars = [
            np.array(values, dtype).reshape(handles.shape)
            for values, dtype in ((rewards, np.float32), (terminated, bool), (truncated, bool))
        ]
        return (self._state(handles), self._stack(observations, handles.shape)), *scalars

    def restart(
        self, done: Bool[np.ndarray, "*batch"], seeds: UInt32[np.ndarray, "*batch"], current: tuple
    ) -> tuple:
        """Resets the environments that are done; returns all states and observations."""
        state, observations = jax.tree.map(np.array, current)
        handles = state.handle
        for index in map(tuple, np.argwhere(done)):
            observation = self._reset(int(handles[index]), int(np.asarray(seeds)[index]))
            jax.tree.map(lambda all, one: all.__setitem__(index, one), observations, observation)
        return self._state(handles), observations

    def _reset(self, handle: int, seed: int) -> Any:
        self.over.discard(handle)
        observation, _ = self._get(handle).reset(seed=seed)
        return _to_jax(self.space, observation)

    def _move(self, handle: int, action: Any) -> tuple:
        if handle in self.over:
            zero = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), _shapes(self.space))
            return zero, 0.0, True, False
        observation, reward, terminated, truncated, _ = self._get(handle).step(action)
        if terminated or truncated:
            self.over.add(handle)
        return _to_jax(self.space, observation), reward, terminated, truncated and not terminated

    def _get(self, handle: int) -> gymnasium.Env:
        if handle not in self.live:
            raise RuntimeError(
                f"host environment {handle} is gone: its state is of another process, or too old"
            )
        self.live.move_to_end(handle)
        return self.live[handle]

    def _state(self, handles: np.ndarray) -> HostState:
        if not self.pictures:
            return HostState(handles, None)
        pictures = [self._get(int(handle)).render() for handle in handles.flat]
        return HostState(handles, np.stack(pictures).reshape(*handles.shape, *pictures[0].shape))

    def _stack(self, observations: list, shape: tuple[int, ...]) -> Any:
        return jax.tree.map(lambda *parts: np.stack(parts).reshape(*shape, *parts[0].shape), *observations)


def _callbacks(hosts: Hosts, current: PyTree) -> tuple[Callable, Callable, Callable]:
    """Returns the methods of `hosts` as JAX functions that take any leading axes in one call."""
    flag, number = jax.ShapeDtypeStruct((), bool), jax.ShapeDtypeStruct((), jnp.float32)

    def batch_of(shapes: PyTree, lead: Array) -> PyTree:
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct((*lead.shape, *s.shape), s.dtype), shapes)

    @whole_batch
    def start(seed):
        return io_callback(hosts.start, batch_of(current, seed), seed)

    @whole_batch
    def move(handle, action):
        return io_callback(hosts.move, batch_of((current, number, flag, flag), handle), handle, action)

    @whole_batch
    def restart(done, seed, now):
        call = lambda: io_callback(hosts.restart, batch_of(current, done), done, seed, now)
        return lax.cond(jnp.any(done), call, lambda: now)

    return start, move, restart


def _in_jax(space: gymnasium.Space) -> gymnasium.Space:
    """Returns the space of the same values in the dtypes that JAX has."""
    spaces = gymnasium.spaces
    match space:
        case spaces.Box():
            dtype = jax.dtypes.canonicalize_dtype(space.dtype)
            return spaces.Box(space.low.astype(dtype), space.high.astype(dtype), dtype=dtype)
        case spaces.Dict():
            return spaces.Dict({name: _in_jax(part) for name, part in space.spaces.items()})
        case spaces.Tuple():
            return spaces.Tuple([_in_jax(part) for part in space.spaces])
        case spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary():
            return space
    raise ValueError(f"observations and actions must be arrays of fixed shape, got the space {space}")


def _shapes(space: gymnasium.Space) -> PyTree:
    match space:
        case gymnasium.spaces.Dict():
            return {name: _shapes(part) for name, part in space.spaces.items()}
        case gymnasium.spaces.Tuple():
            return tuple(_shapes(part) for part in space.spaces)
    return jax.ShapeDtypeStruct(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))


def _to_jax(space: gymnasium.Space, value: Any) -> Any:
    return jax.tree.map(lambda shape, part: np.asarray(part, shape.dtype), _shapes(space), _plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def _to_host(space: gymnasium.Space, action: np.ndarray) -> Any:
    return int(action) if isinstance(space, gymnasium.spaces.Discrete) else np.asarray(action, space.dtype)


def _picture_shape(name: str, probe: gymnasium.Env) -> jax.ShapeDtypeStruct:
    try:
        probe.reset(seed=0)
        return jax.ShapeDtypeStruct(probe.render().shape, jnp.uint8)
    except Exception as error:  # Every Gymnasium environment draws, and fails to, in its own way.
        raise RenderingUnavailable(
            f"Gymnasium cannot draw {name} here: {type(error).__name__}: {error}"
        ) from error


def _draw(states: HostState, width: int, height: int) -> np.ndarray:
    if states.picture is None:
        raise RenderingUnavailable("a host environment is drawn while it runs: make it with pictures=True")
    _, rows, columns, _ = states.picture.shape
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    return states.picture[:, y[:, None], x[None, :]]
