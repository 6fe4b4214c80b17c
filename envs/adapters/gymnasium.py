"""Gymnasium: environments that run on the host, seen from JAX as if they were pure.

Each environment is a Python object kept here under an integer handle; the handle is the state that JAX
carries. A batch, however many `vmap`s deep, costs one call to the host per step. What purity promises
therefore holds only along a trajectory: step every state once. A saved state outlives its process, but not its
episode: its next step stays where it was, with reward 0 and truncated, and a fresh episode follows.
"""

import secrets
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

from rlx.envs.adapters.quiet import silenced
from rlx.envs.batching import whole_batch
from rlx.envs.episodes import Outcome, Task
from rlx.envs.protocol import RenderingUnavailable
from rlx.envs.registry import UnknownEnvironment, nearest


class HostState(NamedTuple):
    """Which host environment this is, what it shows, and its picture if pictures are taken."""

    handle: Int[Array, ""]
    observation: PyTree[Array]
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
        with silenced():
            return gymnasium.make(task, max_episode_steps=-1, disable_env_checker=True, **options)

    try:
        probe = make()
    except (TypeError, ValueError, gymnasium.error.Error) as error:
        raise ValueError(f"Gymnasium cannot make {name} with {options}: {error}") from error

    observation_space = _in_jax(probe.observation_space)
    shape = HostState(
        jax.ShapeDtypeStruct((), jnp.int32),
        _shapes(observation_space),
        _picture_shape(name, probe) if pictures else None,
    )
    hosts = Hosts(make, probe, observation_space, pictures)
    start, move, restart = _callbacks(hosts, shape)

    def reset(key: Key[Array, ""]) -> tuple[HostState, PyTree[Array]]:
        state = start(jax.random.bits(key))
        return state, state.observation

    def step(state: HostState, action: Array, key: Key[Array, ""]) -> Outcome:
        state, reward, terminated, truncated = move(state.handle, state.observation, action)
        return Outcome(state, state.observation, reward, terminated, truncated, info={})

    def renew(reset, done, key, current):
        state = restart(done, jax.random.bits(key), current[0])
        return state, state.observation

    # The one or the other name, in the tasks that integrate over time.
    simulator = probe.unwrapped
    time_step = getattr(simulator, "dt", getattr(simulator, "tau", None))
    return Task(
        name=name,
        observation_space=observation_space,
        action_space=_in_jax(probe.action_space),
        reset=reset,
        step=step,
        max_episode_steps=gymnasium.spec(task).max_episode_steps,
        draw=_draw,
        renew=renew,
        time_step=None if time_step is None else float(time_step),
        host=True,
    )


class Hosts:
    """The host environments of one task, by handle.

    Nothing tells when the last copy of a handle is gone, so the least recently used environments are closed
    once there are more than four times as many as the largest batch ever started (at least `spare`).

    A handle that was never given out here is of another process: its episode cannot go on, so it counts as
    truncated where it was, and a restart gives it an environment.
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env],
        probe: gymnasium.Env,
        observation_space: gymnasium.Space,
        pictures: bool,
        spare: int = 256,
    ):
        self.make, self.idle, self.room = make, [probe], spare
        self.observation_space, self.action_space = observation_space, probe.action_space
        self.pictures = pictures
        self.live: OrderedDict[int, gymnasium.Env] = OrderedDict()
        self.over: set[int] = set()
        # Handles start anywhere, so that those of another process are known as such.
        self.first = self.following = secrets.randbelow(2**30)

    def start(self, seeds: UInt32[np.ndarray, "*batch"]) -> HostState:
        """Starts one environment per seed; returns their states."""
        seeds = np.asarray(seeds)
        handles = self._open(seeds.size)
        observations = [self._reset(h, int(s)) for h, s in zip(handles, seeds.flat, strict=True)]
        handles = np.array(handles, np.int32).reshape(seeds.shape)
        return self._state(handles, self._stack(observations, seeds.shape))

    def move(self, handles: Int[np.ndarray, "*batch"], observations: Any, actions: np.ndarray) -> tuple:
        """Steps each environment; one whose episode is over stays as it is until it is restarted."""
        handles, actions, observations = jax.tree.map(np.asarray, (handles, actions, observations))
        results = [
            self._move(
                int(handles[index]),
                jax.tree.map(lambda x: x[index], observations),
                _to_host(self.action_space, actions[index]),
            )
            for index in np.ndindex(handles.shape)
        ]
        observations, rewards, terminated, truncated = zip(*results, strict=True)
        scalars = [
            np.array(values, dtype).reshape(handles.shape)
            for values, dtype in ((rewards, np.float32), (terminated, bool), (truncated, bool))
        ]
        return self._state(handles, self._stack(observations, handles.shape)), *scalars

    def restart(
        self, done: Bool[np.ndarray, "*batch"], seeds: UInt32[np.ndarray, "*batch"], states: HostState
    ) -> HostState:
        """Resets the environments that are done; returns all states."""
        handles, observations, _ = jax.tree.map(np.array, states)
        indices = list(map(tuple, np.argwhere(done)))
        foreign = [index for index in indices if not self._is_own(int(handles[index]))]
        for index, handle in zip(foreign, self._open(len(foreign)), strict=True):
            handles[index] = handle
        for index in indices:
            observation = self._reset(int(handles[index]), int(np.asarray(seeds)[index]))
            jax.tree.map(lambda all, one: all.__setitem__(index, one), observations, observation)
        return self._state(handles, observations)

    def _open(self, count: int) -> list[int]:
        """Provides `count` environments to be reset; returns their new handles."""
        self.room = max(self.room, 4 * count)
        while self.live and len(self.live) + count > self.room:
            handle, env = self.live.popitem(last=False)
            self.over.discard(handle)
            self.idle.append(env)
        handles = list(range(self.following, self.following + count))
        self.following += count
        for handle in handles:
            self.live[handle] = self.idle.pop() if self.idle else self.make()
        while self.idle:
            self.idle.pop().close()
        return handles

    def _reset(self, handle: int, seed: int) -> Any:
        self.over.discard(handle)
        observation, _ = self._get(handle).reset(seed=seed)
        return _to_jax(self.observation_space, observation)

    def _move(self, handle: int, observation: Any, action: Any) -> tuple:
        if not self._is_own(handle):
            return observation, 0.0, False, True
        if handle in self.over:
            return observation, 0.0, True, False
        observation, reward, terminated, truncated, _ = self._get(handle).step(action)
        if terminated or truncated:
            self.over.add(handle)
        return _to_jax(self.observation_space, observation), reward, terminated, truncated and not terminated

    def _is_own(self, handle: int) -> bool:
        return self.first <= handle < self.following

    def _get(self, handle: int) -> gymnasium.Env:
        if handle not in self.live:
            owner = f"the least recently used of {self.room}" if self._is_own(handle) else "of another process"
            raise RuntimeError(f"host environment {handle} is gone: it was {owner}")
        self.live.move_to_end(handle)
        return self.live[handle]

    def _state(self, handles: np.ndarray, observations: Any) -> HostState:
        if not self.pictures:
            return HostState(handles, observations, None)
        pictures = [self._get(int(handle)).render() for handle in handles.flat]
        return HostState(handles, observations, np.stack(pictures).reshape(*handles.shape, *pictures[0].shape))

    def _stack(self, observations: list, shape: tuple[int, ...]) -> Any:
        return jax.tree.map(lambda *parts: np.stack(parts).reshape(*shape, *parts[0].shape), *observations)


def _callbacks(hosts: Hosts, state: HostState) -> tuple[Callable, Callable, Callable]:
    """Returns the methods of `hosts` as JAX functions that take any leading axes in one call."""
    flag, number = jax.ShapeDtypeStruct((), bool), jax.ShapeDtypeStruct((), jnp.float32)

    def batch_of(shapes: PyTree, lead: Array) -> PyTree:
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct((*lead.shape, *s.shape), s.dtype), shapes)

    @whole_batch
    def start(seed):
        return io_callback(hosts.start, batch_of(state, seed), seed)

    @whole_batch
    def move(handle, observation, action):
        results = batch_of((state, number, flag, flag), handle)
        return io_callback(hosts.move, results, handle, observation, action)

    @whole_batch
    def restart(done, seed, now):
        call = lambda: io_callback(hosts.restart, batch_of(state, done), done, seed, now)
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
        raise RenderingUnavailable(f"Gymnasium cannot draw {name} here: {type(error).__name__}: {error}") from error


def _draw(states: HostState, width: int, height: int) -> np.ndarray:
    if states.picture is None:
        raise RenderingUnavailable("a host environment is drawn while it runs: make it with pictures=True")
    _, rows, columns, _ = states.picture.shape
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    return states.picture[:, y[:, None], x[None, :]]
