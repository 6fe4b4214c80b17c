import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.envs import resets

pytestmark = pytest.mark.optimized


def reset(key):
    """Transcendental functions and a matrix product: a change in the order of operations would show."""
    a, b = jax.random.split(key)
    x = jax.random.normal(a, (5,))
    return {
        "x": jnp.tanh(x @ jnp.outer(x, jnp.arange(5.0))),
        "n": jax.random.randint(b, (), 0, 1000),
        "key": b,
    }


def case(seed, shape, fraction):
    key = jax.random.key(seed)
    done = jax.random.bernoulli(key, fraction, shape)
    current = {
        "x": jax.random.normal(key, (*shape, 5)),
        "n": jax.random.randint(key, shape, 0, 9),
        "key": jax.random.split(key, shape),
    }
    return done, jax.random.split(jax.random.fold_in(key, 1), shape), current


def assert_equal(a, b):
    plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(plain(x), plain(y)), a, b)


def batched(renew, depth):
    function = lambda done, key, current: renew(reset, done, key, current)
    for _ in range(depth):
        function = jax.vmap(function)
    return jax.jit(function)


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(), (1,), (37,), (3, 16), (2, 3, 8)])
def test_chunks_equal_the_plain_select_bit_for_bit(shape, fraction):
    arguments = case(len(shape), shape, fraction)
    assert_equal(batched(resets.in_chunks, len(shape))(*arguments), batched(resets.select, len(shape))(*arguments))


def test_a_result_does_not_depend_on_the_others():
    done, key, current = case(0, (32,), 0.5)
    alone = batched(resets.in_chunks, 1)(done & (jnp.arange(32) == jnp.argmax(done)), key, current)
    among = batched(resets.in_chunks, 1)(done, key, current)
    pick = lambda tree: jax.tree.map(lambda x: x[jnp.argmax(done)], tree)
    assert_equal(pick(alone), pick(among))


@pytest.mark.parametrize("waiting", [0, 1, 4, 5, 64])
def test_only_as_many_chunks_run_as_are_needed(waiting):
    sizes = []

    def counted(key):
        jax.debug.callback(lambda _: sizes.append(1), key)
        return jax.random.uniform(key)

    renew = jax.vmap(lambda done, key, x: resets.in_chunks(counted, done, key, x, chunks=16))
    jax.block_until_ready(renew(jnp.arange(64) < waiting, jax.random.split(jax.random.key(0), 64), jnp.zeros(64)))
    jax.effects_barrier()
    # 64 environments in 16 chunks: 4 resets a chunk.
    assert len(sizes) == 4 * -(-waiting // 4)


def test_what_is_not_batched_is_broadcast():
    done = jnp.array([True, False, True])
    result = jax.vmap(lambda done: resets.in_chunks(jax.random.uniform, done, jax.random.key(3), 2.0))(done)
    np.testing.assert_array_equal(result, jnp.where(done, jax.random.uniform(jax.random.key(3)), 2.0))


def test_it_works_in_a_scan_under_jit():
    def body(x, key):
        keys = jax.random.split(key, 8)
        return jax.vmap(lambda x, k: resets.in_chunks(jax.random.uniform, x > 1.0, k, x))(x + 0.3, keys), None

    keys = jax.random.split(jax.random.key(0), 50)
    x, _ = jax.jit(lambda: jax.lax.scan(body, jnp.zeros(8), keys))()
    expected = np.zeros(8, np.float32)
    for key in keys:
        expected = expected + np.float32(0.3)
        fresh = np.asarray(jax.vmap(jax.random.uniform)(jax.random.split(key, 8)))
        expected = np.where(expected > 1.0, fresh, expected)
    np.testing.assert_array_equal(x, expected)


def test_sharded_over_devices_each_resets_its_own():
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec
        from rlx.envs import resets

        mesh = jax.make_mesh((2, 4), ("seed", "env"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
        place = NamedSharding(mesh, PartitionSpec("seed", "env"))
        reset = lambda key: jax.random.normal(key, (3,))
        nested = lambda renew: jax.jit(jax.vmap(jax.vmap(lambda d, k, x: renew(reset, d, k, x))))
        done = jax.random.bernoulli(jax.random.key(0), 0.4, (4, 64))
        key, x = jax.random.split(jax.random.key(1), (4, 64)), jnp.zeros((4, 64, 3))
        expected = nested(resets.select)(done, key, x)
        arguments = jax.device_put((done, key, x), place)
        program = nested(resets.in_chunks).lower(*arguments).compile()
        result = program(*arguments)
        np.testing.assert_array_equal(result, expected)
        assert result.sharding.is_equivalent_to(place, 3), result.sharding
        text = program.as_text()
        print(*[text.count(name) for name in ("all-gather(", "all-to-all(", "collective-permute(")])
    """
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env={**os.environ, **flags}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "0"]
