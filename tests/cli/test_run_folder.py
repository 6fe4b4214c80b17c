"""The life of a run folder from the command line: never over an old run, and one line for what goes wrong."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rlx import cli
from rlx.cli import artifacts, errors, options, train
from rlx.cli.errors import CommandError
from rlx.recipes import recipe
from rlx.recipes.ppo import Config
from rlx.training import lock, runs, stopping
from rlx.training.disk import DiskError

pytestmark = pytest.mark.long(minutes=0.5)

ROOT = Path(__file__).parents[2]
QUICK = [
    *("train", "ppo", "--env", "rlx:pendulum", "--seeds", "1", "--num-envs", "4", "--unroll-length", "8"),
    *("--num-minibatches", "1", "--update-epochs", "1", "--total-steps", "128", "--reports", "2", "--evaluations", "1"),
    *("--eval-episodes", "1", "--hidden-sizes", "8", "--max-episode-steps", "10", "--no-report", "--no-rollout"),
]


def one_error(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("rlx: warning: ")]
    assert len(lines) == 1 and lines[0].startswith("rlx: error: "), lines
    return lines[0]


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """What looks like a run that was started, and a `fit` that never comes to train."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "prepare_jax", lambda *arguments: None)
    calls = []

    def fit(*arguments, run_dir, **named):
        calls.append({"run_dir": run_dir} | named)
        raise DiskError("No space left on device: it cannot be written; make room")

    monkeypatch.setattr("rlx.training.fit.fit", fit)
    found, config, run_options, _ = train.read_arguments(recipe("ppo"), [*QUICK[2:], "--run-dir", "run"])
    plan = train.make_plan(config, run_options, {}, None)
    folder = runs.RunFolder("run")
    record = {"format": runs.FORMAT, "algorithm": "ppo", "env": config.env, "config": plan}
    runs.write_json(folder.config, record | {"options": {"checkpoints": 1, "keep_checkpoints": 3}})
    return folder, calls


def test_resume_of_a_mistyped_folder_starts_nothing(pretended, capsys):
    folder, calls = pretended
    assert cli.main(["train", "ppo", "--resume", "--run-dir", "runn"]) == 2
    message = one_error(capsys)
    assert "no run folder 'runn'; did you mean run" in message and "where the command says what to train on" in message
    assert not calls and not Path("runn").exists()
    # A job that is retried says what to train, and may find that it never began.
    assert cli.main([*QUICK, "--resume", "--run-dir", "runn"]) == 2
    assert len(calls) == 1 and not Path("runn").exists()
    assert one_error(capsys).endswith("make room, then repeat the command")


def test_resume_remembers_how_many_checkpoints(pretended):
    folder, calls = pretended
    words = ["--resume", "--run-dir", "run"]
    assert [getattr(train.read_arguments(recipe("ppo"), words)[2], name) for name in options.REMEMBERED] == [1, 3]
    given = train.read_arguments(recipe("ppo"), [*words, "--checkpoints", "2"])[2]
    assert (given.checkpoints, given.keep_checkpoints) == (2, 3)


def test_restart_moves_the_old_run_aside_and_back_where_nothing_was_trained(pretended, capsys, monkeypatch):
    folder, calls = pretended
    before = folder.config.read_bytes()
    assert cli.main(["train", "ppo", "--restart", "--run-dir", "run"]) == 2
    assert calls[0]["num_envs"] == 4 and not calls[0]["resume"]  # its own settings
    assert [path.name for path in Path().iterdir()] == ["run"] and folder.config.read_bytes() == before

    def fit(*arguments, run_dir, **named):
        (run_dir / "metrics.parquet").touch()
        raise DiskError("No space left on device: it cannot be written; make room")

    monkeypatch.setattr("rlx.training.fit.fit", fit)
    capsys.readouterr()
    assert cli.main(["train", "ppo", "--restart", "--run-dir", "run"]) == 2
    output = capsys.readouterr()
    assert "the run of before is in " in output.out
    assert output.err.endswith("make room, then go on with: rlx train ppo --resume --run-dir run\n")
    assert Path("run.old/config.json").read_bytes() == before and Path("run/metrics.parquet").exists()


def test_a_damaged_record_is_begun_anew_where_the_command_says_what(pretended, capsys):
    folder, calls = pretended
    folder.config.write_text("{")
    for words in (["train", "ppo", "--restart", "--run-dir", "run"], [*QUICK, "--resume", "--run-dir", "run"]):
        assert cli.main(words) == 2
        assert "config.json" in one_error(capsys)
    assert not calls
    assert cli.main([*QUICK, "--restart", "--run-dir", "run"]) == 2
    assert len(calls) == 1 and folder.config.read_text() == "{"


def test_a_folder_that_another_process_trains_in_is_refused(pretended, capsys):
    folder, calls = pretended
    path = folder.path / lock.NAME
    path.write_text('{"host": "here", "pid": 7}')
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process would have it
        for words in (["--resume"], ["--restart"]):
            assert cli.main(["train", "ppo", *words, "--run-dir", "run"]) == 2
            assert "process 7 on here trains in" in one_error(capsys)
    assert not calls


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--first-seed", str(2**32)], ["--first-seed", "4294967296"]),
        (["--first-seed", str(2**31 - 1), "--seeds", "2"], ["--first-seed", "2147483648"]),
        (["--run-dir", "/dev/null/run"], ["/dev/null is a file, so /dev/null/run cannot be made"]),
        (["--run-dir", "file/run"], ["file is a file, so file/run cannot be made"]),
        (["--restart"], ["--restart needs --run-dir"]),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_wrong_folders_and_seeds_get_one_line(arguments, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert cli.main(["train", "ppo", *arguments]) == 2
    message = one_error(capsys)
    assert all(part in message for part in parts), message
    assert os.listdir() == ["file"]


def test_a_run_that_rounding_makes_longer_says_so():
    config = Config(total_steps=20_000, num_envs=1024, unroll_length=32)
    plan = train.make_plan(config, options.Options(), {}, None)
    (line,) = artifacts._rounding(config, plan)
    assert line == "total_steps 20,000 is rounded up to 32,768: one update takes 32,768"
    config = Config(total_steps=20_000, num_envs=10, unroll_length=10)
    assert not artifacts._rounding(config, train.make_plan(config, options.Options(), {}, None))


def test_what_nobody_foresaw_is_one_line_and_a_file(monkeypatch, capsys, tmp_path):
    def fail(arguments):
        with errors.traceback_in(tmp_path):
            np.zeros(2) @ np.zeros(3)

    monkeypatch.setattr(train, "main", fail)
    assert cli.main(["train"]) == 1
    message = one_error(capsys)
    (file,) = tmp_path.iterdir()
    assert "unforeseen ValueError: matmul" in message and str(file) in message and "please report" in message
    assert "np.zeros(2) @ np.zeros(3)" in file.read_text()


@pytest.mark.parametrize("number", [28, 30, 13])
def test_what_the_system_says_of_a_file_is_one_line(monkeypatch, capsys, number):
    def fail(arguments):
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(train, "main", fail)
    assert cli.main(["train"]) == 2
    assert one_error(capsys) == f"rlx: error: {os.strerror(number)}: somewhere"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_training_ends_at_once(monkeypatch, capsys, number):
    def be_busy(arguments):
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr(train, "main", be_busy)
    assert cli.main(["train"]) == 128 + number
    assert capsys.readouterr().err == "rlx: interrupted\n"


SWALLOWS = """
import os, signal, sys, time
from pathlib import Path
from rlx import cli
from rlx.cli import train
from rlx.training import lock, stopping

def be_busy(arguments):
    with stopping.undo(lock.let_go), lock.held("run"):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        except BaseException:
            print(Path("run").exists(), flush=True)
            time.sleep(60)

train.main = be_busy
sys.exit(cli.main(["train"]))
"""


def test_a_signal_that_a_library_swallows_ends_the_process_and_takes_back_what_was_begun(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", SWALLOWS], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "True\n", "rlx: interrupted\n")
    assert time.monotonic() - started < 50 and not list(tmp_path.iterdir())


def test_claims_end_with_what_they_began(tmp_path):
    folder = runs.RunFolder(tmp_path / "runs" / "new")
    with pytest.raises(stopping.Stopped), artifacts.claimed(folder, restart=False):
        folder.config.write_text("{}")
        folder.checkpoints.mkdir()
        raise stopping.Stopped(signal.SIGINT)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CommandError), artifacts.claimed(folder, restart=False):
        folder.metrics.touch()
        raise CommandError
    assert folder.metrics.exists()


def test_a_record_lists_its_starts(tmp_path):
    folder = runs.RunFolder(tmp_path)
    assert runs.starts(folder) == []
    folder.config.write_text(json.dumps({"starts": [{"numerics": {"x64": False}, "update": 0}]}))
    assert runs.starts(folder)[0]["numerics"] == {"x64": False}
    folder.config.write_text(json.dumps({"starts": ["yesterday"]}))
    with pytest.raises(runs.RunError, match="--restart"):
        runs.starts(folder)


@pytest.mark.parametrize(
    "start, below, said",
    [(0.4, 0, []), (0.99, 0, ["99% at the start leave"]), (0.4, 2, ["2 of 5 evaluations lie below the start"])],
)
def test_a_policy_that_has_nothing_to_learn_or_gets_worse_is_told(start, below, said):
    summary = {"start_return": {"interquartile_mean": start}, "evaluations": 5, "evaluations_below_start": below}
    lines = [text for _, text in artifacts.against_the_start(summary)]
    assert len(lines) == len(said) and all(line.startswith(words) for line, words in zip(lines, said))
