"""Values that cannot be right are refused before anything is compiled or written, by a line that names the flag."""

import contextlib
import io

import jax
import numpy as np
import pytest

import rlx
from rlx import cli, recipes
from rlx.cli import options, parsing
from rlx.cli.errors import one_line
from rlx.recipes import memory
from rlx.recipes.ppo import Config
from rlx.recipes.settings import SettingError
from rlx.recipes.wiring import make_program

TINY = dict(env="rlx:pendulum", max_episode_steps=6, eval_episodes=1, hidden_sizes=(8,))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "ppo", "--num-envs", "1e30"], ["--num-envs must be in [1, 2147483647], got 1"]),
        (["train", "ppo", "--total-steps", "1e30"], ["--total-steps must be in [1, 1e15]"]),
        (
            ["train", "ppo", "--total-steps", "1e15", "--num-envs", "1", "--unroll-length", "1"],
            ["--total-steps must be at most 2.15e+09"],
        ),
        (["train", "ppo", "--unroll-length", "1e12"], ["--unroll-length must be in [1, 2147483647]"]),
        (["train", "ppo", "--learning-rate", "1e300"], ["--learning-rate must be in (0, inf)", "is inf in 32 bits"]),
        (["train", "ppo", "--learning-rate", "1e-60"], ["--learning-rate must be in (0, inf)", "is 0.0 in 32 bits"]),
        (["train", "ppo", "--entropy-coefficient", "nan"], ["--entropy-coefficient must be finite, got nan"]),
        (["train", "ppo", "--seeds", "1e9"], ["--seeds must be in [1, 1e5]"]),
        (["train", "ppo", "--seeds", "1e5", "--sweep", "clip=0.1,0.2"], ["--sweep", "100000 runs, not 200000"]),
        (["train", "ppo", "--run-dir="], ["--run-dir must name a folder"]),
        (["train", "ppo", "--evaluations", "30", "--reports", "20"], ["--evaluations must be at most --reports 20"]),
        (["train", "ppo", "--checkpoints", "30", "--reports", "20"], ["--checkpoints must be at most --reports 20"]),
        (["train", "ppo", "--eval-episodes", "0"], ["--eval-episodes must be in [1, 1e6], got 0"]),
        (["train", "ppo", "--hidden-sizes"], ["--hidden-sizes: expected at least one value"]),
        (["train", "ppo", "--policy-sees"], ["--policy-sees must name a part of the observation"]),
        (["train", "ppo", "--sweep", "clip=0.1,0.10000000001"], ["names a value twice"]),
        (["train", "ppo", "--sweep", "clip=0.1,nan"], ["--clip must be in (0, inf), got nan"]),
        (["train", "ppo", "--mesh", "seed=1,seed=1"], ["--mesh takes seed=N,env=M", "each axis once"]),
        (["train", "ppo", "--mesh", "seed=²"], ["--mesh takes seed=N,env=M"]),
        (["train", "ppo", "--mesh="], ["--mesh takes seed=N,env=M"]),
        (["train", "ppo", "--num_envs", "0"], ["--num-envs must be in [1, inf), got 0"]),
        (["train", "sac", "--buffer-size", "1e10"], ["--buffer-size must be in [1, 2147483647]"]),
        (["train", "sac", "--tau", "0"], ["--tau must be in (0, 1], got 0"]),
        (["train", "bc", "--top-fraction", "7"], ["--top-fraction must be in (0, 1], got 7"]),
        (["ablate", "ppo", "--sweep", "method=0,1"], ["--methods"]),
        (
            ["ablate", "ppo", "--methods", "clipped_surrogate,clipped_surrogate@clip_low=-3"],
            ["clip_low of clipped_surrogate must be in [0, inf], got -3"],
        ),
        (["ablate", "ppo", "--methods", "clip_cov,clip_cov@fraction=2"], ["fraction of clip_cov must be in [0, 1]"]),
        (["ablate", "ppo", "--methods", "kl_penalty,kl_penalty@coefficient=nan"], ["coefficient of kl_penalty"]),
        (["ablate", "offline", "--dataset", "x", "--updates", "-1"], ["--updates must be in [1, inf), got -1"]),
        (["ablate", "offline", "--dataset", "x", "--learners", "bc@run_dir=y"], ["bc has no setting 'run_dir'"]),
        (["ablate", "offline", "--dataset", "x", "--learners", "bc@seeds=3"], ["bc has no setting 'seeds'"]),
    ],
    ids=lambda value: " ".join(value[-2:]) if "train" in value or "ablate" in value else None,
)
def test_one_line_names_the_flag_and_what_is_right(arguments, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("rlx: error: "), lines
    assert all(part in lines[0] for part in parts), lines[0]
    assert not list(tmp_path.iterdir())


def test_fewer_reports_than_usual_leave_evaluations_to_them():
    assert options.Options(reports=2).evaluations == 10


@pytest.mark.parametrize("words", [["--seeds", "x"], ["--seeds"]])
def test_errors_are_the_same_where_there_is_no_unicode(words):
    """Under another locale the parser draws its boxes with hyphens."""
    said = []
    for out in (io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
        with contextlib.redirect_stdout(out), pytest.raises(cli.CommandError) as error:
            parsing.preview(parsing.grouped((options.Options,), "ppo", {}), words, prog="rlx train ppo")
        said.append(one_line(error.value))
    assert said[0] == said[1] and "---" not in said[0] and "--seeds" in said[0]


class TestFromPython:
    @pytest.mark.parametrize(
        ("algorithm", "arguments", "message"),
        [
            ("ppo", {"learning_rate": float("nan")}, r"learning_rate must be in \(0, inf\), got nan"),
            ("ppo", {"lambda_": float("nan")}, "lambda_ must be finite, got nan"),
            ("ppo", {"num_envs": 10**10}, r"num_envs must be in \[1, 2147483647\]"),
            ("ppo", {"total_steps": 10**400}, "total_steps must be below 1e308"),
            ("ppo", {"clip": 10**400}, "clip must be below 1e308"),
            ("dqn", {"epsilon": float("inf")}, "epsilon must be finite"),
        ],
    )
    def test_values(self, algorithm, arguments, message):
        with pytest.raises(SettingError, match=message):
            rlx.make_train(algorithm, **TINY, **arguments)

    @pytest.mark.parametrize(
        ("algorithm", "slot", "value"),
        [
            ("ppo", "surrogate", 3),
            ("ppo", "advantage_estimator", "gae"),
            ("ppo", "regularizers", 0.5),
            ("ppo", "optimizer", 1e-3),
            ("ppo", "environment", "rlx:pendulum"),
            ("ppo", "policy", np.zeros(3)),
            ("sac", "added", 2.0),
            ("iql", "weight", 1.0),
            ("dqn", "q_network", 64),
        ],
    )
    def test_what_computes_is_no_number(self, algorithm, slot, value):
        with pytest.raises(TypeError, match=f"{slot} of {algorithm} takes no {type(value).__name__}"):
            rlx.make_train(algorithm, **{slot: value})


class TestMemory:
    @pytest.mark.parametrize(
        ("name", "arguments", "num_runs", "message"),
        [
            ("ppo", {"num_envs": 10**9}, 1, "num_envs is too large at 1000000000: the state of a run takes"),
            ("ppo", {"hidden_sizes": (8, 10**9)}, 1, "hidden_sizes is too large at 1000000000"),
            ("ppo", {"unroll_length": 2**31 - 1}, 1, "unroll_length is too large at 2147483647: what is collected"),
            ("ppo", {}, 10**8, "seeds and --sweep make 100000000 runs, and the state of each takes"),
            ("sac", {"buffer_size": 2**31 - 1}, 1, "buffer_size is too large at 2147483647"),
            ("sac", {"batch_size": 2**30, "buffer_size": 2**31 - 1}, 1, "buffer_size is too large"),
            ("sac", {"num_critics": 10**9}, 1, "num_critics is too large at 1000000000"),
        ],
    )
    def test_a_run_that_cannot_fit_is_refused_while_it_is_traced(self, name, arguments, num_runs, message, monkeypatch):
        from rlx import memory as machine

        monkeypatch.setattr(machine, "of_devices", lambda devices: 2**34)
        recipe = recipes.recipe(name)
        program = make_program(recipe, recipe.configure(**TINY | arguments), num_runs=num_runs)
        with pytest.raises(SettingError, match=message):
            jax.eval_shape(program.step, jax.eval_shape(program.init, jax.random.key(0)))

    def test_a_run_that_fits_is_traced(self):
        recipe = recipes.recipe("ppo")
        config = recipe.configure(**TINY, num_envs=4, unroll_length=8, num_minibatches=1)
        program = make_program(recipe, config, num_runs=8)
        state = jax.eval_shape(program.init, jax.random.key(0))
        stepped, _ = jax.eval_shape(program.step, state)
        assert stepped == state

    def test_without_a_size_that_fits_the_largest_is_named(self):
        config = Config(num_envs=4096, unroll_length=3)
        assert memory.largest(config, (3, 5)) == ("unroll_length", 3)
        assert memory.largest(config, (12288,)) == ("num_envs", 4096)
