import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import partial_eval

from rlx.envs.carry import leaves_read, slim
from rlx.envs.episodes import Outcome

NOW, LATER, NEVER = True, True, False


def transition(state, observation):
    zero = jnp.zeros(())
    return Outcome(state, observation, zero, zero > 0, zero > 0, {})


def read(step, **state):
    program = lambda state, key: step(state)
    return dict(zip(sorted(state), leaves_read(program, state, jax.random.key(0)), strict=True))


def test_a_leaf_counts_if_it_reaches_an_observation_now_or_later():
    def step(s):
        # `far` reaches the observation in two steps, by way of `near`; `memo` only ever reaches itself.
        new = {
            "seen": s["seen"] + s["near"],
            "near": s["far"],
            "far": s["far"],
            "memo": s["memo"] + s["seen"],
            "out": s["seen"],
        }
        return transition(new, jnp.sin(s["seen"]))

    one = jnp.ones(())
    found = read(step, seen=one, near=one, far=one, memo=one, out=one)
    assert found == {"seen": NOW, "near": LATER, "far": LATER, "memo": NEVER, "out": NEVER}


LOOPS = {
    "scan": lambda f, c: jax.lax.scan(lambda c, _: (f(c), None), c, length=3)[0],
    "while": lambda f, c: jax.lax.while_loop(lambda c: c["stop"] > 0, f, c),
    "cond": lambda f, c: jax.lax.cond(c["stop"] > 0, f, lambda c: c, c),
    "jit": lambda f, c: jax.jit(f)(c),
    "checkpoint": lambda f, c: jax.checkpoint(f)(c),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_it_looks_into_calls_and_loops(loop):
    def turn(c):
        return {"a": c["a"] + c["b"], "b": c["b"] * 2, "junk": c["junk"] + c["a"], "stop": c["stop"] - 1}

    def step(s):
        new = LOOPS[loop](turn, s)
        return transition(new, new["a"])

    one = jnp.ones(())
    found = read(step, a=one, b=one, junk=one, stop=one)
    # JAX takes a `while` loop as a whole, so that there the junk is kept, which is slower but no less right.
    assert found == {"a": True, "b": True, "junk": loop == "while", "stop": loop in ("while", "cond")}


def test_a_custom_derivative_counts_as_a_whole():
    @jax.custom_jvp
    def first(x, y):
        return x

    first.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    one = jnp.ones(())
    # The derivative may need what the function does not, so JAX keeps it; a result that nobody reads keeps nothing.
    unread = lambda s: transition({**s, "z": first(s["y"], s["z"])}, first(s["x"], s["x"]))
    assert read(lambda s: transition(s, first(s["x"], s["y"])), x=one, y=one) == {"x": True, "y": True}
    assert read(unread, x=one, y=one, z=one) == {"x": True, "y": False, "z": False}


def test_what_a_callback_shows_is_carried():
    shown = []

    def step(s):
        jax.debug.callback(lambda x: shown.append(x), s["told"])
        return transition(s, s["seen"])

    one = jnp.ones(())
    assert read(step, seen=one, told=one, other=one) == {"seen": True, "told": True, "other": False}
    assert shown == []


def _fails(program, wanted):
    raise TypeError("another signature")


@pytest.mark.parametrize("elimination", [None, _fails, lambda program, wanted: (program, [False])])
def test_where_jax_does_not_tell_every_leaf_is_carried(elimination, monkeypatch):
    if elimination is None:
        monkeypatch.delattr(partial_eval, "dce_jaxpr")
    else:
        monkeypatch.setattr(partial_eval, "dce_jaxpr", elimination)
    one = jnp.ones(())
    with pytest.warns(RuntimeWarning, match=f"JAX {jax.__version__} does not tell .* whole state is carried"):
        assert read(lambda s: transition(s, s["x"]), x=one, y=one) == {"x": True, "y": True}


def test_the_slim_task_behaves_like_the_full_one():
    def reset(key):
        x = jax.random.normal(key, (3,))
        return {"x": x, "cache": jnp.outer(x, x), "drawn": x[0]}, x

    def step(state, action, key):
        x = state["x"] + action
        return transition({"x": x, "cache": jnp.outer(x, x) + state["cache"], "drawn": x[1]}, x)

    action = gymnasium.spaces.Box(-1, 1, (3,))
    slim_reset, slim_step = slim(reset, step, jax.ShapeDtypeStruct(action.shape, jnp.float32), keep=("['drawn']",))
    key = jax.random.key(0)
    (full, first), (small, same) = reset(key), slim_reset(key)
    np.testing.assert_array_equal(first, same)
    assert set(small) == {"['x']", "['drawn']"}
    for _ in range(3):
        a, b = step(full, 0.5, key), jax.jit(slim_step)(small, 0.5, key)
        full, small = a.state, b.state
        np.testing.assert_array_equal(a.observation, b.observation)
        np.testing.assert_array_equal(full["drawn"], small["['drawn']"])
