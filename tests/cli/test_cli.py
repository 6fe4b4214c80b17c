"""The command line: help, errors of one line, and runs that survive being killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rlx import cli, envs
from rlx.cli import artifacts, catalog, environments, options, parsing, train
from rlx.envs import registry
from rlx.recipes import recipe
from rlx.recipes.ppo import RECIPE, Config
from rlx.recipes.presets.preset import Preset
from rlx.recipes.settings import settings
from rlx.training.metrics import MetricsTable

pytestmark = [pytest.mark.long(minutes=1.5), pytest.mark.optimized]

ROOT = Path(__file__).parents[2]
TINY = [
    *("train", "ppo", "--env", "rlx:pendulum", "--seeds", "2", "--num-envs", "8", "--unroll-length", "8"),
    *("--num-minibatches", "2", "--update-epochs", "1", "--hidden-sizes", "8", "--eval-episodes", "2"),
    *("--total-steps", "25600", "--reports", "200", "--checkpoints", "20", "--evaluations", "200"),
    *("--no-report", "--no-rollout"),
]


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "rlx.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def run(*arguments: str) -> subprocess.CompletedProcess:
    process = start(*arguments)
    output, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def wait_for_checkpoints(process: subprocess.Popen, run_dir: Path, count: int) -> None:
    """Returns once `count` checkpoints are complete."""
    while len([path for path in (run_dir / "checkpoints").glob("*") if path.name.isdigit()]) < count:
        if process.poll() is not None:
            pytest.fail(f"the run ended before it had {count} checkpoints: {process.communicate()}")
        time.sleep(0.005)


def hashes(run_dir: Path) -> list[str]:
    return [run["params_sha256"] for run in json.loads((run_dir / "summary.json").read_text())["runs"]]


def assert_same_metrics(run_dir: Path, other: Path) -> None:
    """Every column equal bit for bit, nulls included, but for those that hold time."""
    ours, theirs = (MetricsTable.read(path / "metrics.parquet").columns for path in (run_dir, other))
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - {"sps", "wall_time"}:
        np.testing.assert_array_equal(np.ma.getmaskarray(ours[name]), np.ma.getmaskarray(theirs[name]), name)
        np.testing.assert_array_equal(ours[name].compressed(), theirs[name].compressed(), name)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    result = run(*TINY, "--run-dir", str(run_dir))
    assert result.returncode == 0, result.stderr
    return run_dir


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "killed"
    process = start(*TINY, "--run-dir", str(run_dir))
    wait_for_checkpoints(process, run_dir, 2)
    process.kill()
    process.communicate()
    assert not (run_dir / "summary.json").exists()
    return run_dir


class TestKilledRuns:
    @pytest.mark.slow
    def test_resume_after_kill_is_exact(self, uninterrupted, killed, tmp_path):
        run_dir = shutil.copytree(killed, tmp_path / "run")
        result = run(*TINY, "--run-dir", str(run_dir), "--resume")
        assert result.returncode == 0, result.stderr
        assert "cannot be read" not in result.stderr and "resumed at update" in result.stdout
        assert hashes(run_dir) == hashes(uninterrupted)
        assert_same_metrics(run_dir, uninterrupted)

    @pytest.mark.slow
    def test_sigterm_saves_and_the_folder_is_enough_to_resume(self, uninterrupted, tmp_path):
        run_dir = tmp_path / "run"
        process = start(*TINY, "--run-dir", str(run_dir))
        wait_for_checkpoints(process, run_dir, 1)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, errors
        command = f"rlx train ppo --resume --run-dir {run_dir}"
        assert command in output
        reported = int(np.max(MetricsTable.read(run_dir / "metrics.parquet")["update"]))
        assert (run_dir / "checkpoints" / str(reported)).is_dir()

        result = run(*command.split()[1:], "--no-report", "--no-rollout")
        assert result.returncode == 0, result.stderr
        assert hashes(run_dir) == hashes(uninterrupted)

    def test_changed_config_says_what_differs(self, killed, capsys):
        assert cli.main([*TINY, "--run-dir", str(killed), "--resume", "--clip", "0.3", "--num-envs", "16"]) == 2
        message = one_error(capsys)
        assert "clip: 0.2 -> 0.3" in message and "num_envs: 8 -> 16" in message and "--allow-changes" in message

    def test_occupied_folder_is_left_alone(self, uninterrupted, capsys):
        before = (uninterrupted / "metrics.parquet").read_bytes()
        assert cli.main([*TINY, "--run-dir", str(uninterrupted)]) == 2
        assert "--resume" in one_error(capsys)
        assert (uninterrupted / "metrics.parquet").read_bytes() == before

    def test_resume_of_a_finished_run_changes_nothing(self, uninterrupted, capsys):
        before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
        assert cli.main([*TINY, "--run-dir", str(uninterrupted), "--resume"]) == 0
        assert "finished: nothing to resume" in capsys.readouterr().out
        assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == before


def one_error(capsys) -> str:
    """The single line on standard error."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("rlx: error: "), lines
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["tran"], ["'tran'", "train"]),
        (["--versoin"], ["'--versoin'"]),
        (["train", "pppo"], ["'pppo'", "ppo"]),
        (["train", "ppo", "--env", "brax:ants"], ["'brax:ants'", "brax:ant"]),
        (["train", "ppo", "--env", "ant"], ["'ant'", "brax:ant"]),
        (["train", "ppo", "--env", "brux:ant"], ["'brux:ant'", "brax:ant"]),
        (["train", "ppo", "--env", "gym:Walker-v9"], ["gym:Walker-v9", "Walker2d"]),
        (["train", "ppo", "--env"], ["--env"]),
        (["train", "ppo", "--num-env", "8"], ["--num-env;", "--num-envs"]),
        (["train", "ppo", "--no-quite"], ["--no-quite"]),
        (["train", "ppo", "stray"], ["'stray'"]),
        (["train", "ppo", "--num-envs", "many"], ["--num-envs", "'many'", "4096"]),
        (["train", "ppo", "--num-envs", "1.5"], ["--num-envs", "'1.5'"]),
        (["train", "ppo", "--num-envs", "0"], ["--num-envs", "0"]),
        (["train", "ppo", "--learning-rate", "fast"], ["--learning-rate", "'fast'"]),
        (["train", "ppo", "--target-kl", "small"], ["--target-kl", "'small'"]),
        (["train", "ppo", "--hidden-sizes", "64,big"], ["--hidden-sizes", "'big'"]),
        (["train", "ppo", "--distribution", "gausian"], ["--distribution", "gaussian"]),
        (["train", "ppo", "--discount", "2"], ["--discount must be in [0, 1], got 2"]),
        (["train", "ppo", "--learning-rate", "nan"], ["--learning-rate must be in (0, inf), got nan"]),
        (["train", "ppo", "--learning-rate", "inf"], ["--learning-rate must be in (0, inf), got inf"]),
        (["train", "ppo", "--sweep", "discount=0.9,1.5"], ["--discount must be in [0, 1], got 1.5"]),
        (["train", "ppo", "--sweep", "clip=0.1,0.1"], ["names a value twice"]),
        (["train", "ppo", "--run-dir", "/dev/null"], ["/dev/null is a file"]),
        (["train", "ppo", "--first-seed", "-1"], ["--first-seed", "-1"]),
        (["train", "ppo", "--sweep", "learning_rat=1e-3"], ["learning_rat", "learning_rate"]),
        (["train", "ppo", "--sweep", "num_envs=8,16"], ["num_envs", "learning_rate"]),
        (["train", "ppo", "--sweep", "clip"], ["NAME=VALUE", "'clip'"]),
        (["train", "ppo", "--sweep", "clip=0.1,x"], ["clip", "'x'"]),
        (["train", "ppo", "--sweep", "clip=0.1", "--sweep", "clip=0.2"], ["clip twice"]),
        (["train", "ppo", "--mesh", "seeds=4"], ["--mesh", "seed=N,env=M"]),
        (["train", "ppo", "--env", "rlx:pendulum", "--mesh", "seed=3", "--run-dir", "unused"], ["seed=3"]),
        (["train", "ppo", "--env", "rlx:pendulum", "--backend", "mjx", "--run-dir", "unused"], ["backend"]),
        (["train", "ppo", "--env", "brax:ant", "--backend", "sprong", "--run-dir", "unused"], ["spring"]),
        (
            [
                "train",
                "ppo",
                "--env",
                "rlx:pendulum",
                "--num-minibatches",
                "7",
                "--quiet",
                "--run-dir",
                "unused",
            ],
            ["num_minibatches"],
        ),
        (["train", "ppo", "--env", "rlx:bandit", "--quiet", "--run-dir", "unused"], ["max_eval_steps"]),
        (["train", "ppo", "--resume"], ["--run-dir"]),
        (["train", "ppo", "--distributed"], ["--run-dir"]),
        (["train", "ppo", "--num-processes", "2"], ["--distributed"]),
        (["envs", "cheetoo"], ["CheetahRun"]),
        (["envs", "--suite", "brx"], ["'brx'", "brax"]),
        (["play"], ["run folder"]),
        (["play", "nowhere/at-all"], ["nowhere/at-all"]),
        (["plot"], ["run folder"]),
        (["plot", "nowhere/at-all"], ["nowhere/at-all"]),
    ],
    ids=lambda value: " ".join(value[:4]) if value and "rlx" not in value else None,
)
def test_wrong_requests_get_one_line(arguments, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    message = one_error(capsys)
    assert all(part in message for part in parts), message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["train", "ppo", "--env", "brax:ant", "--help"],
        ["train", "ppo", "--num-envz", "3"],
        ["envs"],
        ["play", "--help"],
        ["evaluate", "--help"],
        ["export", "--help"],
        ["plot", "--help"],
        ["ablate", "--help"],
        ["train", "sac", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_errors_import_no_simulator(arguments):
    script = (
        "import sys; from rlx.cli import main; code = main(sys.argv[1:]); "
        "print([name for name in ('jax', 'brax', 'mujoco', 'matplotlib') if name in sys.modules], code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert result.stdout.splitlines()[-1] == ("[] 2" if "--num-envz" in arguments else "[] 0"), result.stderr


def test_help_shows_every_option_and_the_presets_values(capsys, monkeypatch):
    monkeypatch.setitem(RECIPE.presets, "brax:ant", Preset("a test", {"num_envs": 12_345}))
    assert cli.main(["train", "ppo", "--env", "brax:ant", "--help"]) == 0
    text = capsys.readouterr().out
    for name in (*settings(Config), "seeds", "first_seed", "sweep", "run_dir", "resume", "mesh"):
        assert f"--{name.replace('_', '-')} " in text or f"--{name.replace('_', '-')}," in text, name
    assert "12_345" in text


class TestReadingArguments:
    def read(self, *arguments):
        _, config, run_options, _ = train.read_arguments(recipe("ppo"), arguments)
        return config, run_options

    def test_flags_beat_the_preset_and_the_preset_beats_the_defaults(self, monkeypatch):
        preset = Preset("a test", {"num_envs": 64, "clip": 0.1, "hidden_sizes": (8,)})
        monkeypatch.setitem(RECIPE.presets, "brax:ant", preset)
        config, _ = self.read("--env", "brax:ant", "--clip", "0.4")
        assert config == Config(env="brax:ant", num_envs=64, clip=0.4, hidden_sizes=(8,))

    @pytest.mark.parametrize("word", ["10000000", "10_000_000", "1e7", "1.0e+7"])
    def test_whole_numbers(self, word):
        assert self.read("--total-steps", word)[0].total_steps == 10_000_000

    @pytest.mark.parametrize("words", [["64", "32"], ["64,32"], ["64,", "32"]])
    def test_sizes(self, words):
        assert self.read("--hidden-sizes", *words)[0].hidden_sizes == (64, 32)

    @pytest.mark.parametrize(("words", "expected"), [(["None"], None), (["8"], (8,)), (["8", "4", "2"], (8, 4, 2))])
    def test_sizes_or_none(self, words, expected):
        assert self.read("--critic-hidden-sizes", *words)[0].critic_hidden_sizes == expected

    def test_equals_sign_and_optional_numbers(self):
        config, run_options = self.read(
            "--env=gymnax:CartPole-v1", "--target-kl=0.02", "--no-report", "--normalize-reward"
        )
        assert (config.env, config.target_kl, config.normalize_reward) == ("gymnax:CartPole-v1", 0.02, True)
        assert run_options.no_report and not run_options.no_rollout

    def test_sweeps_multiply(self):
        _, run_options = self.read("--sweep", "learning-rate=1e-4,1e-3", "--sweep", "clip=0.1,0.2,0.3")
        sweep = options.read_sweep(run_options.sweep, Config)
        assert sweep == {"learning_rate": [1e-4, 1e-3], "clip": [0.1, 0.2, 0.3]}

    def test_mesh(self):
        assert options.read_mesh("seed=4,env=2") == {"seed": 4, "env": 2}
        assert options.read_mesh(None) == {}


@pytest.mark.parametrize(("total_steps", "reports", "updates_per_report", "num_updates"), [
    (1000, 20, 5, 100), (1000, 30, 3, 102), (1000, 1000, 1, 100), (5, 20, 1, 1),
])  # fmt: skip
def test_plan_divides_updates_into_whole_reports(total_steps, reports, updates_per_report, num_updates):
    config = Config(total_steps=total_steps, num_envs=2, unroll_length=5)
    plan = train.make_plan(config, options.Options(reports=reports), {}, None)
    assert (plan["updates_per_report"], plan["num_updates"]) == (updates_per_report, num_updates)


def test_compilation_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert options.compilation_cache("auto") == tmp_path / "rlx" / "xla"
    assert options.compilation_cache(None) is None
    assert options.compilation_cache("here") == Path("here")


def test_failed_pictures_are_warnings(tmp_path):
    def fail():
        raise OSError("disk full")

    with pytest.warns(UserWarning, match="no rollout.gif: disk full"):
        artifacts._try("rollout.gif", fail)


class TestEnvironments:
    @pytest.mark.parametrize("name", [*envs.names("rlx"), *envs.names("gymnax"), "brax:inverted_pendulum"])
    def test_catalog_tells_the_truth(self, name):
        assert catalog.ENVIRONMENTS[name] == environments.summarize(envs.make(name))

    def test_catalog_knows_no_other_names(self):
        assert set(catalog.ENVIRONMENTS) <= set(envs.names())

    def test_words_filter(self, capsys):
        assert cli.main(["envs", "cheetah"]) == 0
        names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
        assert names == [name for name in envs.names() if "cheetah" in name.lower()]

    def test_one_environment_in_full(self, capsys):
        assert cli.main(["envs", "rlx:pendulum"]) == 0
        text = capsys.readouterr().out
        assert "[-1. -1. -8.]" in text and "200 decisions" in text


def test_flags_of_a_dataclass():
    flags = parsing.flags(options.Options)
    assert {"--seeds", "--resume", "--no-report", "--sweep"} <= set(flags)
    assert not {"--no-resume", "--report"} & set(flags)
    assert {"--layer-norm", "--no-layer-norm"} <= set(parsing.flags(Config))


OWN_TASK = """
from rlx.envs.tasks import load

def make():
    return load("pendulum")
"""


@pytest.mark.slow
def test_a_task_of_ones_own_trains_and_no_record_imports_it(tmp_path, capsys, monkeypatch):
    """`--env module:function` on the command line is what runs it; a folder that names it does not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_TRUSTED", set())
    (tmp_path / "my_task.py").write_text(OWN_TASK)
    size = ["--seeds", "1", "--num-envs", "4", "--unroll-length", "8", "--num-minibatches", "1", "--hidden-sizes", "8"]
    short = ["--total-steps", "64", "--reports", "1", "--eval-episodes", "1", "--max-episode-steps", "6", "--no-report"]
    words = ["train", "ppo", "--run-dir", "run", "--no-rollout"]
    assert cli.main([*words, "--env", "my_task:make", *size, *short]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["env"] == "my_task:make"

    monkeypatch.setattr(registry, "_TRUSTED", set())
    monkeypatch.delitem(sys.modules, "my_task")
    capsys.readouterr()
    for command in ([*words, "--resume", "--total-steps", "128", "--allow-changes"], ["play", "run"]):
        assert cli.main(command) == 2
        assert "my_task:make" in one_error(capsys) and "my_task" not in sys.modules
    assert (
        cli.main(["play", "run", "--env", "my_task:make", "--max-steps", "3", "--width", "32", "--height", "24"]) == 0
    )
