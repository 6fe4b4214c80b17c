"""Runs begin with the warmed-up policies of their seeds; seeds without one are refused before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import cli
from rlx.recipes import SettingError, grpo, language, make_build, make_program, recipe, warm_start

TINY = dict(
    task="sorting@length=2@symbols=3",
    hidden_size=8,
    num_layers=1,
    num_heads=1,
    num_prompts=2,
    group_size=2,
    minibatches=1,
    warmup_steps=2,
    warmup_batch_size=4,
    eval_prompts=2,
    eval_samples=2,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file of the policies of seeds 3 and 5, and what was measured of them."""
    path = tmp_path_factory.mktemp("warm") / "warmup.npz"
    return str(path), warm_start.save(grpo.Config(**TINY), [3, 5], path)


@pytest.mark.slow
def test_a_run_begins_with_the_policy_that_its_own_warm_up_would_give(saved):
    path, measured = saved
    own = make_program(recipe("grpo"), grpo.Config(**TINY))
    build = make_build(recipe("grpo"), grpo.Config(**TINY, warm_start=path))

    @jax.jit
    def both(data, seed):
        key = jax.random.key(seed)
        state = own.init(key)
        return state.params, build.make({}, data).init(key).params, own.evaluate(state, key)

    for number, seed in enumerate((3, 5)):
        expected, params, evaluated = both(build.data, seed)
        # Two programs, which add up in different orders.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), params, expected)
        # A policy is measured as an evaluation of its run would.
        for name, values in measured.items():
            np.testing.assert_allclose(values[number], evaluated[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_seeds_without_a_policy_are_refused(saved):
    path, _ = saved
    config = grpo.Config(**TINY, warm_start=path)
    language.check_seeds(config, [3, 5])
    language.check_seeds(grpo.Config(**TINY), [0])
    with pytest.raises(
        SettingError, match=r"warm_start must have a policy of each seed; .*has none of 4, 6, but of 3, 5"
    ):
        language.check_seeds(config, range(3, 7))
    # Whoever builds a run without asking is told too, unless it is traced.
    with pytest.raises(
        ValueError, match="warm_start has no policy for this key; it has those of the runs of seeds 3, 5"
    ):
        make_program(recipe("grpo"), config).init(jax.random.key(0))


def test_the_command_refuses_them_in_a_line(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rlx.training.compiled.compile_runs", None)  # nothing is compiled
    path, _ = saved
    words = [
        "train",
        "grpo",
        "--warm-start",
        path,
        "--first-seed",
        "3",
        "--seeds",
        "2",
        "--run-dir",
        str(tmp_path / "run"),
    ]
    for name, value in TINY.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "must have a policy of each seed" in line and "has none of 4, but of 3, 5" in line
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_none_or_of_another_shape_is_refused(saved, tmp_path):
    path, _ = saved
    with pytest.raises(SettingError, match="warm_start must be a file that rlx ablate grpo wrote"):
        language.load(grpo.Config(**TINY, warm_start=str(tmp_path / "none.npz")))
    with pytest.raises(SettingError, match="warm_start must hold policies of the config's shape"):
        language.load(grpo.Config(**TINY | {"hidden_size": 16}, warm_start=path))


def test_what_is_read_is_data_of_the_compiled_program(saved):
    """Data of another file gives other policies by the same program."""
    path, _ = saved
    build = make_build(recipe("grpo"), grpo.Config(**TINY, warm_start=path))
    assert build.data.weights is None and build.data.policies.seed.tolist() == [3, 5]
    init = jax.jit(lambda data, seed: build.make({}, data).init(jax.random.key(seed)).params["policy"])
    policies = build.data.policies
    zero = policies._replace(params=jax.tree.map(jnp.zeros_like, policies.params))
    other = build.data._replace(policies=zero)
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(init(other, 3)))
    assert any(jnp.any(leaf) for leaf in jax.tree.leaves(init(build.data, 3)))
