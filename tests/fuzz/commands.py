"""Wrong command lines, and what each of them does: some made of the fields of configs, the others by hand.

python -m tests.fuzz.commands       tries them all and prints those that are answered badly
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import os
import pickle
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from rlx.recipes import RECIPES, recipe
from rlx.recipes.settings import Setting, bounds, range_of, settings, type_hints

NEVER_TAKES = 60
"""Seconds after which a command counts as one that hangs."""


class Outcome(NamedTuple):
    """What a command did.

    Attributes:
        code: exit code; None where it hung, began to compile, or ended with an exception.
        errors: what it wrote to standard error, with the traceback of an exception.
        changed: paths that it made, changed or removed.
    """

    code: int | None
    errors: str
    changed: tuple[str, ...]

    @property
    def is_well_answered(self) -> bool:
        """Whether it ended with exit code 2 and one line, and changed nothing."""
        lines = self.errors.splitlines()
        return self.code == 2 and len(lines) == 1 and lines[0].startswith("rlx: error:") and not self.changed


class Accepted(BaseException):
    """A command was taken for a right one: it began to compile its program."""


class Hung(BaseException):
    """A command came to no end."""


def attempt(command: str, folder: Path) -> Outcome:
    """Run one command in this process, in a folder that `prepare` filled, up to its first compilation."""
    from jax.stages import Lowered

    from rlx import cli

    def stop(*_: Any) -> None:
        raise Hung

    before, out, errors, code = snapshot(folder), io.StringIO(), io.StringIO(), None
    started = mock.Mock(side_effect=Accepted)
    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(NEVER_TAKES)
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
            mock.patch.object(Lowered, "compile", started),
        ):
            code = cli.main(shlex.split(command)[1:])
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        errors.write("".join(traceback.format_exception(error)))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
    after = snapshot(folder)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return Outcome(code, errors.getvalue(), tuple(changed))


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file in a folder, by path."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns)
    return found


def below_and_above(hint: type, known: Setting) -> tuple[float, float]:
    """A number below a field's range and one above it, of the field's type."""
    interval = range_of(hint, known) or "(-inf, inf)"
    low, high = bounds(interval)
    if hint is int:
        return int(low) - 1, int(high) + 1
    below = -1e39 if low == -float("inf") else (low if interval[0] == "(" else low - 1.0)
    above = 1e39 if high == float("inf") else (high if interval[-1] == ")" else high + 1.0)
    return below, above


def numeric_fields(config: type) -> Iterator[tuple[str, type, bool]]:
    """Fields of numbers: their names, `int` or `float`, and whether they hold several."""
    for name, hint in type_hints(config).items():
        if name not in settings(config):
            continue
        text = hint.__name__ if isinstance(hint, type) else str(hint)
        for kind in (int, float):
            if text.replace(" | None", "") in (kind.__name__, f"tuple[{kind.__name__}, ...]"):
                yield name, kind, text.startswith("tuple")


def generated() -> Iterator[str]:
    """Every field of every recipe once with a wrong value, another kind of wrong each time, and in a sweep."""
    kinds, seen = itertools.cycle(("nan", "inf", "below", "above", "word")), set()
    for algorithm in RECIPES:
        config = recipe(algorithm).config
        for name, kind, _ in numeric_fields(config):
            known = settings(config)[name]
            if (name, known) in seen or known.group == "":
                continue
            seen.add((name, known))
            below, above = below_and_above(kind, known)
            wrong = next(kinds)
            value = {"below": below, "above": above, "word": "much"}.get(wrong, wrong)
            yield f"rlx train {algorithm} --{name.strip('_').replace('_', '-')}={value}"
            if known.swept:
                yield f"rlx train {algorithm} --sweep {name}=nan,{above if wrong == 'above' else below}"


# What makes a run small, where a wrong value is met only once the program is traced.
TINY = "--env rlx:pendulum --seeds 1 --hidden-sizes 8 --quiet --no-report --no-rollout"
PPO = f"rlx train ppo {TINY} --num-envs 4 --unroll-length 8 --num-minibatches 1 --total-steps 128"
SAC = f"rlx train sac {TINY} --num-envs 4 --warmup-steps 8 --buffer-size 100 --batch-size 4 --total-steps 128"

BY_HAND = f"""
rlx tran
rlx --versoin
rlx train pppo
rlx train ppo stray
rlx train ppo --num-env 8
rlx train ppo --no-quite
rlx train ppo --seeds
rlx train ppo --env
rlx train ppo --env brax:ants
rlx train ppo --env ant
rlx train ppo --env brux:ant
rlx train ppo --env gym:Walker-v9
rlx train ppo --env gym:../../etc-v0
rlx train ppo --env=
rlx train ppo --env /etc/passwd
rlx train ppo --env nosuch_module:make
rlx train ppo --env os:nosuch
rlx train ppo --env rlx:pendulum --backend mjx --quiet
rlx train ppo --env brax:inverted_pendulum --backend sprong --quiet
rlx train ppo --env rlx:bandit --quiet
rlx train ppo --num-envs many
rlx train ppo --num-envs 1.5
rlx train ppo --num-envs 0
rlx train ppo --num-envs -8
rlx train ppo --num-envs 1e30
rlx train ppo --num-envs 1e400
rlx train ppo --num-envs 99999999999999999999999999999999
rlx train ppo --num-envs 0x10
rlx train ppo --num-envs=
rlx train ppo --total-steps 1e30
rlx train ppo --total-steps 1e16
rlx train ppo --total-steps 0
rlx train ppo --total-steps 1e15 --num-envs 1 --unroll-length 1
rlx train ppo --unroll-length 1e12
rlx train ppo --seeds 0
rlx train ppo --seeds -1
rlx train ppo --seeds 1e9
rlx train ppo --seeds 1e30
rlx train ppo --seeds 1e5 --sweep clip=0.1,0.2
rlx train ppo --first-seed -1
rlx train ppo --first-seed 2147483648
rlx train ppo --first-seed 4294967296
rlx train ppo --first-seed 2147483647 --seeds 2
rlx train ppo --eval-episodes 0
rlx train ppo --eval-episodes 1e9
rlx train ppo --evaluations 0
rlx train ppo --evaluations 30 --reports 20
rlx train ppo --reports 0
rlx train ppo --reports 1e30
rlx train ppo --checkpoints 0
rlx train ppo --checkpoints 30 --reports 20
rlx train ppo --keep-checkpoints 0
rlx train ppo --max-episode-steps 0
rlx train ppo --action-repeat 0
rlx train ppo --hidden-sizes
rlx train ppo --hidden-sizes=
rlx train ppo --hidden-sizes 64,big
rlx train ppo --hidden-sizes 64,0
rlx train ppo --hidden-sizes 64 -64
rlx train ppo --critic-hidden-sizes 64,0
rlx train ppo --policy-sees
rlx train ppo --distribution gausian
rlx train ppo --activation tahn
rlx train ppo --learning-rate-schedule cubic
rlx train ppo --learning-rate fast
rlx train ppo --learning-rate nan
rlx train ppo --learning-rate inf
rlx train ppo --learning-rate -1e-3
rlx train ppo --learning-rate 1e300
rlx train ppo --learning-rate 1e-60
rlx train ppo --discount 2
rlx train ppo --gae-lambda 5
rlx train ppo --clip -0.2
rlx train ppo --max-grad-norm -1
rlx train ppo --adam-epsilon -1e-5
rlx train ppo --target-kl small
rlx train ppo --target-kl 0
rlx train ppo --layer-norm maybe
rlx train ppo --sweep
rlx train ppo --sweep=
rlx train ppo --sweep clip
rlx train ppo --sweep clip=
rlx train ppo --sweep =0.1
rlx train ppo --sweep clip=0.1,x
rlx train ppo --sweep clip=0.1,nan
rlx train ppo --sweep clip=0.1,0.1
rlx train ppo --sweep clip=0.1,1e-1
rlx train ppo --sweep clip=0.1,0.10000000001
rlx train ppo --sweep clip=0.1 --sweep clip=0.2
rlx train ppo --sweep learning_rat=1e-3
rlx train ppo --sweep num_envs=8,16
rlx train ppo --sweep discount=0.9,1.5
rlx train ppo --sweep env=rlx:pendulum
rlx train ppo --mesh seeds=4
rlx train ppo --mesh=
rlx train ppo --mesh seed=0
rlx train ppo --mesh seed=1,seed=1
rlx train ppo --mesh seed=²
rlx train ppo --mesh seed=99999999999999999999
{PPO} --mesh seed=3
rlx train ppo --batching both
rlx train ppo --distributed
rlx train ppo --num-processes 2
rlx train ppo --process-id 0
rlx train ppo --coordinator nowhere:1
rlx train ppo --wandb
{PPO} --num-envs 1e9
{PPO} --unroll-length 2147483647
{PPO} --hidden-sizes 1000000000
{PPO} --hidden-sizes 100000 1000000
{PPO} --seeds 1e5 --hidden-sizes 256 256
{PPO} --num-minibatches 7
{PPO} --num-minibatches 1e9
{PPO} --policy-sees state
{PPO} --distribution categorical
{SAC} --buffer-size 1e10
{SAC} --buffer-size 2e9
{SAC} --buffer-size 4
{SAC} --batch-size 101
{SAC} --num-critics 1e9
{SAC} --warmup-steps 1e12
{SAC} --tau 0
{SAC} --tau 1.5
{SAC} --env gymnax:CartPole-v1
{SAC.replace("sac", "td3")} --updates-per-step 3
{SAC.replace("sac", "dqn")}
rlx train dqn --epsilon-start 2
rlx train dqn --exploration-fraction 0
rlx train dqn --channels 0
rlx train recurrent_ppo --num-envs 8 --num-minibatches 7 --env rlx:pendulum_without_velocity --quiet
rlx train recurrent_ppo --cell lstm
rlx train iql --expectile 1 --dataset text.hdf5
rlx train bc --quiet --top-fraction 7 --dataset text.hdf5
rlx train bc --quiet --weighting best
rlx train decision_transformer --attention-dropout 1
rlx ablate nothing
rlx ablate ppo --methods clipped_surrogate
rlx ablate ppo --methods clipped_surrogate,clipped_surrogate
rlx ablate ppo --methods clipped_surrogate,nothing
rlx ablate ppo --methods=
rlx ablate ppo --methods clipped_surrogate,clipped_surrogate@clip_low=-3
rlx ablate ppo --methods clipped_surrogate,clipped_surrogate@clip_low=nan
rlx ablate ppo --methods clipped_surrogate,clipped_surrogate@clip_low
rlx ablate ppo --methods clipped_surrogate,clipped_surrogate@gamma=1
rlx ablate ppo --methods clip_cov,clip_cov@fraction=2
rlx ablate ppo --methods ratio_variance,ratio_variance@coefficient=inf
rlx ablate ppo --methods advantage_regression,advantage_regression@axis=0
rlx ablate ppo --sweep method=0,1
rlx ablate ppo --sweep clip=0.1,nan
rlx ablate ppo --seeds 0
rlx ablate offline
rlx ablate offline --dataset text.hdf5 --evaluations 0
rlx ablate offline --dataset text.hdf5 --seeds 0
rlx ablate offline --dataset text.hdf5 --updates -1
rlx ablate offline --dataset text.hdf5 --updates-per-step 0
rlx ablate offline --dataset text.hdf5 --eval-episodes 0
rlx ablate offline --dataset text.hdf5 --first-seed -1
rlx ablate offline --dataset text.hdf5 --learners bc,sac
rlx ablate offline --dataset text.hdf5 --learners bc,bc
rlx ablate offline --dataset text.hdf5 --learners bc@
rlx ablate offline --dataset text.hdf5 --learners bc@weighting
rlx ablate offline --dataset text.hdf5 --learners bc@top_fraction=7
rlx ablate offline --dataset text.hdf5 --learners bc@run_dir=elsewhere
rlx ablate offline --dataset text.hdf5 --learners bc@seeds=3
rlx ablate offline --dataset text.hdf5 --resume
rlx ablate grpo --methods nothing
rlx ablate grpo --methods grpo,grpo
rlx ablate grpo --methods grpo@beta=nan
rlx ablate grpo --methods grpo@nothing=1
rlx ablate grpo --methods grpo@beta
rlx ablate grpo --sweep learning_rate=1e-4
rlx ablate dpo --methods dpo@beta=-1
rlx train ppo --resume
rlx train ppo --resume --run-dir nowhere
rlx train ppo --resume --run_dir nowhere
rlx train ppo --resume --run-dir empty
rlx train ppo --resume --run-dir file.txt
rlx train ppo --resume --run-dir run_config_folder
rlx train ppo --resume --run-dir run_deep
rlx train ppo --resume --run-dir run_list
rlx train ppo --resume --run-dir run_types
rlx train ppo --resume --run-dir run_old
rlx train sac --resume --run-dir run_bare
rlx train ppo --run-dir file.txt
rlx train ppo --run-dir file.txt/inside
rlx train ppo --run-dir /dev/null
rlx train ppo --run-dir /dev/null/run
rlx train ppo --run-dir /proc/run
rlx train ppo --run-dir=
rlx train ppo --run-dir run_bare
rlx train ppo --compilation-cache file.txt --run-dir new --env rlx:pendulum --num-minibatches 7 --quiet
rlx play
rlx play nowhere
rlx play empty
rlx play file.txt
rlx play run_config_folder
rlx play run_deep
rlx play run_list
rlx play run_types
rlx play run_old
rlx play run_evil
rlx play run_bare
rlx play run_metrics
rlx play run_bare --width 1e8
rlx play run_bare --width 0
rlx play run_bare --height -3
rlx play run_bare --fps nan
rlx play run_bare --fps 0
rlx play run_bare --episodes 0
rlx play run_bare --episodes 1e12
rlx play run_bare --max-steps 0
rlx play run_bare --random-seed -1
rlx play run_bare --random-seed 1e30
rlx play run_bare --seed 77
rlx play run_bare --checkpoint newest
rlx play run_bare --setting clip
rlx play run_bare --out empty
rlx play run_bare --out play.txt
rlx plot
rlx plot nowhere
rlx plot empty
rlx plot file.txt
rlx plot run_config_folder
rlx plot run_deep
rlx plot run_list
rlx plot run_bare
rlx plot run_metrics
rlx plot run_metrics --out empty
rlx plot run_metrics --out /proc/plot.png
rlx plot run_metrics --out plot.exe
rlx plot run_metrics --theme pink
rlx plot run_metrics --labels a b c
rlx export
rlx export nowhere weights
rlx export empty weights
rlx export run_bare weights
rlx export run_deep weights
rlx envs cheetoo
rlx envs --suite brx
rlx envs brax:ants
rlx methods nothing
rlx methods --nothing
rlx functions nothing_of_the_kind
rlx functions --paper
rlx train bc --quiet
rlx train bc --quiet --dataset=
rlx train bc --quiet --dataset nowhere
rlx train bc --quiet --dataset nowhere.hdf5
rlx train bc --quiet --dataset empty
rlx train bc --quiet --dataset file.txt
rlx train bc --quiet --dataset text.hdf5
rlx train bc --quiet --dataset pipe.hdf5
rlx train bc --quiet --dataset /dev/zero
rlx train bc --quiet --dataset minari
rlx train bc --quiet --dataset pickled.npz
rlx train td3_bc --dataset zeros.hdf5
rlx dataset nothing
rlx dataset info
rlx dataset info nowhere
rlx dataset info empty
rlx dataset info text.hdf5
rlx dataset info zeros.hdf5
rlx dataset info pipe.hdf5
rlx dataset info minari
rlx dataset info pickled.npz
rlx dataset convert text.hdf5 new
rlx dataset convert nowhere new
rlx dataset convert
rlx dataset make
rlx dataset make --steps 0
rlx dataset make --steps nan
rlx dataset make --env nowhere:ant
rlx train grpo --quiet --task nothing
rlx train grpo --quiet --task additoin
rlx train grpo --quiet --task=
rlx train grpo --quiet --task addition@digits=abc
rlx train grpo --quiet --task addition@digits=0
rlx train grpo --quiet --task addition@digits=nan
rlx train grpo --quiet --task addition@digits=1e30
rlx train grpo --quiet --task addition@nothing=1
rlx train grpo --quiet --task addition@digits
rlx train grpo --quiet --task countdown@timeout=nan
rlx train grpo --quiet --task nowhere.jsonl
rlx train grpo --quiet --task bad.jsonl
rlx train grpo --quiet --task deep.jsonl
rlx train grpo --quiet --task bad.jsonl --pretrained hf_empty
rlx train grpo --quiet --task bad.jsonl@reward=nosuch:f --pretrained hf_empty
rlx train grpo --quiet --method nothing
rlx train grpo --quiet --method grpo@beta=nan
rlx train grpo --quiet --method grpo@beta=-1
rlx train grpo --quiet --method grpo@nothing=1
rlx train grpo --quiet --pretrained nowhere
rlx train grpo --quiet --pretrained hf_empty
rlx train grpo --quiet --pretrained hf_text
rlx train grpo --quiet --pretrained hf_types
rlx train grpo --quiet --pretrained hf_vocabulary
rlx train grpo --quiet --pretrained hf_index
rlx train grpo --quiet --pretrained file.txt
rlx train grpo --quiet --warm-start nowhere
rlx train grpo --quiet --warm-start pickled.npz
rlx train grpo --quiet --warm-start empty
rlx train grpo --quiet --dtype float16
rlx train grpo --quiet --num-heads 3
rlx train grpo --quiet --num-prompts 7 --minibatches 3
rlx train grpo --quiet --replayed 99
rlx train grpo --quiet --hidden-size 1e9
rlx train grpo --quiet --temperature 0
rlx train grpo --quiet --temperature nan
rlx train dpo --quiet --method nothing
rlx train dpo --quiet --method dpo@beta=nan
rlx train dpo --quiet --samples 1
rlx train dpo --quiet --task nothing
rlx train dpo --quiet --pretrained nowhere
"""
"""One command a line; the order is that of the product's parts."""


def commands() -> list[str]:
    """All wrong command lines, each once."""
    return list(dict.fromkeys([*generated(), *(line for line in BY_HAND.splitlines() if line)]))


def prepare(folder: Path) -> None:
    """Make the damaged files and folders that commands name."""
    (folder / "empty").mkdir()
    (folder / "file.txt").write_text("text\n")
    (folder / "text.hdf5").write_text("text\n")
    (folder / "zeros.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(4096))
    (folder / "pickled.npz").write_bytes(pickle.dumps({"params": [1, 2, 3]}))
    os.mkfifo(folder / "pipe.hdf5")
    (folder / "minari" / "data").mkdir(parents=True)
    (folder / "minari" / "data" / "metadata.json").write_text("[]")
    (folder / "minari" / "data" / "main_data.hdf5").write_bytes(b"")
    (folder / "bad.jsonl").write_text('{"prompt": 3}\n[]\nnothing\n')
    (folder / "deep.jsonl").write_text("[" * 100_000 + "\n")
    for name, config, weights in (
        ("hf_empty", None, None),
        ("hf_text", "text", None),
        ("hf_types", {"model_type": "llama", "hidden_size": "16"}, None),
        ("hf_vocabulary", {"model_type": "llama", "hidden_size": 16, "vocab_size": 10**12}, None),
        ("hf_index", {"model_type": "llama", "hidden_size": 16, "vocab_size": 16}, {"metadata": {}}),
    ):
        (folder / name).mkdir()
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            (folder / name / "config.json").write_text(text)
        if weights is not None:
            (folder / name / "model.safetensors.index.json").write_text(json.dumps(weights))
    right = dataclasses.asdict(recipe("ppo").configure(env="rlx:pendulum", hidden_sizes=(8,), num_envs=4)) | {
        **{"seeds": 1, "first_seed": 0, "sweep": {}, "reports": 2, "evaluations": 1, "replay_in_checkpoints": True},
        **{"num_updates": 2, "updates_per_report": 1},
    }
    of_run = {"format": 2, "algorithm": "ppo", "env": "rlx:pendulum", "config": right}
    for name, config in {
        "run_deep": "[" * 100_000,
        "run_list": "[]",
        "run_types": json.dumps(of_run | {"config": right | {"num_envs": "many", "sweep": 3}}),
        "run_old": json.dumps(of_run | {"format": 1}),
        "run_evil": json.dumps(of_run | {"env": "cProfile:run", "config": right | {"env": "cProfile:run"}}),
        "run_bare": json.dumps(of_run),
        "run_metrics": json.dumps(of_run),
    }.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(config)
    (folder / "run_metrics" / "metrics.parquet").write_text("text")
    (folder / "run_config_folder" / "config.json").mkdir(parents=True)


def main() -> int:
    """Try them all; print those that are answered badly, and how many are not."""
    import time

    all_commands, bad, start = commands(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for command in all_commands:
            tick = time.monotonic()
            outcome = attempt(command, folder)
            if not outcome.is_well_answered:
                bad += 1
                last = (outcome.errors.splitlines() or [""])[-1]
                seconds = time.monotonic() - tick
                print(f"{command}\n    {seconds:.1f} s, {outcome.code} {outcome.changed} {last:.300}", flush=True)
    print(f"{len(all_commands) - bad} of {len(all_commands)} answered well, {time.monotonic() - start:.0f} s")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
