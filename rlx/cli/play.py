"""`rlx play`: from a run folder to a video of what its policy does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro

from rlx.cli import records
from rlx.cli.errors import CommandError
from rlx.cli.parsing import number, parse, whole_number
from rlx.training.metrics import MetricsTable, hyperparameter_names, setting_label

DESCRIPTION = """\
Let a trained policy act, print return and length of its episodes, and write a video. A policy over tokens shows its
responses to held-out prompts.

examples:
  rlx play runs/NAME                                the best seed at its best checkpoint
  rlx play runs/NAME --seed 3 --checkpoint latest
  rlx play runs/NAME --episodes 3 --out ant.mp4 --width 640 --height 480
  rlx play runs/NAME --episodes 16                  prompts of a run of rlx train grpo
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of a run's policies."""

    seed: Annotated[int | None, tyro.conf.arg(help="Which seed; None takes the best.")] = None
    setting: Annotated[
        str | None,
        tyro.conf.arg(help="Which setting of a sweep, such as learning_rate=1e-3,clip=0.1; None takes the best."),
    ] = None
    checkpoint: Annotated[
        str, tyro.conf.arg(help="best (of this seed, among those kept), latest, or the number of an update.")
    ] = "best"


@dataclasses.dataclass(frozen=True)
class Options(Choice):
    """What to play and how to show it."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="Folder of the run.", metavar="RUN")] = ""
    episodes: Annotated[int, tyro.conf.arg(help="How many episodes, or prompts, shown one after the other.")] = 1
    out: Annotated[
        str | None,
        tyro.conf.arg(help="Where to write, .gif or .mp4; None writes play.gif into the run's folder."),
    ] = None
    stochastic: Annotated[
        bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Act with the exploring policy, not its mode.")
    ] = False
    width: Annotated[int, tyro.conf.arg(help="Pixels.")] = 320
    height: Annotated[int, tyro.conf.arg(help="Pixels.")] = 240
    fps: Annotated[float, tyro.conf.arg(help="Frames per second at most; shown in the simulator's own time.")] = 25.0
    max_steps: Annotated[
        int | None, tyro.conf.arg(help="Cut episodes here; None takes the environment's time limit.")
    ] = None
    random_seed: Annotated[int, tyro.conf.arg(help="Where the initial states come from.")] = 0


class Member(NamedTuple):
    """One of the runs that a run folder holds side by side."""

    index: int
    seed: int
    setting: dict[str, float]


def main(arguments: Sequence[str]) -> int:
    """`rlx play RUN …`."""
    options = parse(Options, arguments, prog="rlx play", description=DESCRIPTION)
    _check(options)
    record = records.read(options.run)
    table = MetricsTable.read(record.folder.metrics)
    member = choose_member(table, seed=options.seed, setting=read_setting(options.setting))

    if record.algorithm == "grpo":
        return _play_tokens(record, table, member, options)

    import jax

    from rlx import envs
    from rlx.recipes import rollouts

    environment = rollouts.drawable(record.module.make_environment(record.config))
    limit = (
        environment.max_episode_steps or record.config.max_eval_steps
        if options.max_steps is None
        else options.max_steps
    )
    if limit is None:
        raise CommandError(f"{record.config.env} has no time limit: add --max-steps")
    learner_state, update = restore(record, table, member, options.checkpoint)
    learner = record.module.make_learner(record.config, environment)
    played = jax.jit(
        lambda learner_state, key: rollouts.rollout(
            environment,
            learner,
            learner_state,
            key,
            num_steps=limit,
            num_episodes=options.episodes,
            stochastic=options.stochastic,
        )
    )(learner_state, jax.random.key(options.random_seed))
    print(heading(record, table, member, update, options))
    for episode, (total, length) in enumerate(zip(rollouts.returns(played), rollouts.lengths(played.done))):
        print(f"  episode {episode}: return {total:,.4g}, {length} steps", flush=True)

    out = Path(options.out) if options.out is not None else record.folder.path / "play.gif"
    try:
        frames, seconds = rollouts.pictures(
            environment, played, width=options.width, height=options.height, fps=options.fps
        )
    except envs.RenderingUnavailable as error:
        raise CommandError(str(error)) from error
    rollouts.write_video(out, frames, seconds)
    print(f"  wrote {out}: {len(frames)} frames, {len(frames) * seconds:.1f} s")
    return 0


def restore(record: records.Record, table: MetricsTable, member: Member, checkpoint: str) -> tuple[Any, int]:
    """A member's learner as a checkpoint has it, and the number of the checkpoint's update."""
    import jax

    from rlx.training import checkpoints

    manager = checkpoints.open_manager(record.folder.checkpoints, read_only=True)
    update = choose_checkpoint(manager.all_steps(), table, member, checkpoint)
    state, update = checkpoints.restore(manager, records.state_template(record), update=update)
    return jax.tree.map(lambda x: x[member.index], state.learner), update


def heading(record: records.Record, table: MetricsTable, member: Member, update: int, options: Options) -> str:
    """What is played."""
    policy = "stochastic" if options.stochastic else "deterministic"
    label = ", ".join(filter(None, (f"seed {member.seed}", setting_label(member.setting, table.choices))))
    return f"{record.config.env} · {label} · checkpoint {update} · {policy} policy"


def _play_tokens(record: records.Record, table: MetricsTable, member: Member, options: Options) -> int:
    import jax

    from rlx.cli.play_tokens import respond

    learner_state, update = restore(record, table, member, options.checkpoint)
    print(heading(record, table, member, update, options))
    key = jax.random.key(options.random_seed)
    params = record.module.make_model(record.config)(learner_state.params["policy"])
    lines = respond(record, params, key, num_prompts=options.episodes, stochastic=options.stochastic)
    print("\n".join(lines))
    return 0


def choose_member(table: MetricsTable, *, seed: int | None, setting: Mapping[str, float]) -> Member:
    """The run with this seed and this setting; where they leave a choice, the one that ended best.

    Raises:
        CommandError: there is none.
    """
    swept = hyperparameter_names(table)
    first = np.asarray(table["update"]) == np.min(table["update"])
    members = [
        Member(index, int(row[0]), dict(zip(swept, map(float, row[1:]))))
        for index, row in enumerate(zip(*(table[name][first] for name in ("seed", *swept))))
    ]
    for name in setting:
        if name not in swept:
            raise CommandError(f"--setting: {name} was not swept in this run; {', '.join(swept) or 'nothing'} was")
    matching = [
        member
        for member in members
        if seed in (None, member.seed) and all(np.isclose(member.setting[name], setting[name]) for name in setting)
    ]
    if not matching:
        seeds = sorted({member.seed for member in members})
        settings = dict.fromkeys(setting_label(member.setting, table.choices) for member in members if member.setting)
        known = f"its seeds are {', '.join(map(str, seeds))}" + (
            f"; its settings {'; '.join(settings)}" if settings else ""
        )
        wanted = ", ".join(
            filter(None, (f"seed {seed}" if seed is not None else "", setting_label(setting, table.choices)))
        )
        raise CommandError(f"no {wanted} in this run; {known}")
    scores = np.array([_last_return(table, member.index, len(members)) for member in matching])
    return matching[int(np.argmax(np.where(np.isfinite(scores), scores, -np.inf)))]


def choose_checkpoint(steps: Sequence[int], table: MetricsTable, member: Member, wanted: str) -> int:
    """The number of the checkpoint that `wanted` means: `best`, `latest` or a number.

    Raises:
        CommandError: there is no such checkpoint.
    """
    steps = sorted(steps)
    if not steps:
        raise CommandError("this run has no checkpoint yet")
    if wanted == "latest":
        return steps[-1]
    if wanted == "best":
        scores = [_return_at(table, member, step) for step in steps]
        # The newest of equals: argmax takes the first.
        return steps[::-1][int(np.argmax(scores[::-1]))]
    known = f"there are best, latest, {', '.join(map(str, steps))}"
    try:
        update = whole_number(wanted)
    except ValueError:
        raise CommandError(f"no checkpoint {wanted!r}; {known}") from None
    if update not in steps:
        raise CommandError(f"no checkpoint {wanted}; {known}")
    return update


def read_setting(text: str | None) -> dict[str, float]:
    """`"learning_rate=1e-3,clip=0.1"` as a dict.

    Raises:
        CommandError: not of that form.
    """
    setting = {}
    for word in text.split(",") if text else ():
        name, equals, value = word.partition("=")
        if not equals:
            raise CommandError(f"--setting takes NAME=VALUE,…, got {text!r}")
        try:
            setting[name.strip().replace("-", "_")] = number(value)
        except ValueError as error:
            raise CommandError(f"--setting {name}: {error}") from None
    return setting


def _last_return(table: MetricsTable, index: int, count: int) -> float:
    """A run's newest evaluation return, or its newest training return where nothing was evaluated."""
    for name in ("eval_return_mean", "return_mean"):
        if name in table:
            values = np.ma.masked_invalid(table[name][index::count]).compressed()
            if values.size:
                return float(values[-1])
    return np.nan


def _return_at(table: MetricsTable, member: Member, update: int) -> float:
    """What a run's evaluation at an update gave; −∞ where there was none."""
    if "eval_return_mean" not in table:
        return -np.inf
    rows = np.flatnonzero(np.asarray(table["update"]) == update)
    if member.index >= len(rows):
        return -np.inf
    value = np.ma.filled(table["eval_return_mean"].astype(float), np.nan)[rows[member.index]]
    return float(value) if np.isfinite(value) else -np.inf


def _check(options: Options) -> None:
    if not options.run:
        newest = records.newest_runs()
        raise CommandError("rlx play needs a run folder" + (f": the newest is {newest[0]}" if newest else ""))
    for name in ("episodes", "width", "height", "fps"):
        if not getattr(options, name) > 0:
            raise CommandError(f"--{name} must be positive, got {getattr(options, name)}")
    if options.max_steps is not None and options.max_steps < 1:
        raise CommandError(f"--max-steps must be at least 1, got {options.max_steps}")
    if options.out is not None and Path(options.out).suffix.lower() not in (".gif", ".mp4"):
        raise CommandError(f"--out must end in .gif or .mp4, got {options.out!r}")
