"""`rlx play`: from a run folder to a video of what its policy does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from rlx import envs
from rlx.cli.errors import CommandError
from rlx.cli.outputs import check_out
from rlx.cli.parsing import number, parse
from rlx.recipes import trained
from rlx.recipes.settings import contains
from rlx.training.metrics import MetricsTable, setting_label
from rlx.training.progress import bytes_in_words

DESCRIPTION = """\
Let a trained policy act, print return and length of its episodes, and write a video. A language model shows its
responses to held-out prompts.

examples:
  rlx play runs/NAME                                the best seed at its best checkpoint
  rlx play runs/NAME --seed 3 --checkpoint latest
  rlx play runs/NAME --episodes 3 --out ant.mp4 --width 640 --height 480
  rlx play runs/NAME --episodes 16                  prompts of a language model
"""


VIDEOS = (".gif", ".mp4")
RANGES = {
    "episodes": "[1, 1000000]",
    "width": "[1, 16384]",
    "height": "[1, 16384]",
    "fps": "[0.01, 1000]",
    "max_steps": "[1, 100000000]",
    "random_seed": "[0, 4294967295]",
}
"""What numbers of the command line may be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of a run's policies, and which code of one's own it may import."""

    seed: Annotated[int | None, tyro.conf.arg(help="Which seed; None takes the best.")] = None
    setting: Annotated[
        str | None,
        tyro.conf.arg(help="Which setting of a sweep, such as learning_rate=1e-3,clip=0.1; None takes the best."),
    ] = None
    checkpoint: Annotated[
        str, tyro.conf.arg(help="best (of this seed, among those kept), latest, or the number of an update.")
    ] = "best"
    env: Annotated[
        str | None, tyro.conf.arg(help="module:function of a run in an environment of your own, to import it.")
    ] = None
    reward: Annotated[
        str | None, tyro.conf.arg(help="module:function of a run with a reward of your own, to import it.")
    ] = None
    turn: Annotated[
        str | None, tyro.conf.arg(help="module:function of a run whose turns are replied to by your own, to import it.")
    ] = None
    trust_config: Annotated[
        bool,
        tyro.conf.FlagCreatePairsOff,
        tyro.conf.arg(
            help="Import whatever code the run's config names. It runs with your rights: only for a run that you trust."
        ),
    ] = False


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


def main(arguments: Sequence[str]) -> int:
    """`rlx play RUN …`."""
    options = parse(Options, arguments, prog="rlx play", description=DESCRIPTION)
    _check(options)
    record = read(options)
    shows = {"episodes": _episodes, "responses": _responses}
    if record.recipe.watch not in shows:
        raise CommandError(f"a run of {record.algorithm} has nothing to play")
    if record.recipe.watch == "episodes":
        check_out(_video(record, options), VIDEOS)
    table = trained.read_metrics(record)
    member = trained.choose_member(table, seed=options.seed, setting=read_setting(options.setting))

    learner_state, update = trained.restore(record, table, member, options.checkpoint)
    print(heading(record, table, member, update, options))
    shows[record.recipe.watch](record, learner_state, options)
    return 0


def read(options: Choice) -> trained.Record:
    """The record of a run, whose code of one's own may be imported where the command line names it."""
    envs.trust(options.env or "", options.reward or "", options.turn or "")
    return trained.read(options.run, trust_config=options.trust_config)


def _episodes(record: trained.Record, learner_state: Any, options: Options) -> None:
    """Episodes in the environment: returns, lengths and a video."""
    import jax

    from rlx import memory
    from rlx.recipes import watching

    environment = watching.drawable(record.recipe.make_environment(record.config))
    own = environment.max_episode_steps or record.config.max_eval_steps
    limit = own if options.max_steps is None else options.max_steps
    if limit is None:
        raise CommandError(f"{record.config.env_name} has no time limit: add --max-steps")
    learner = trained.make_learner(record, environment)
    play = lambda learner_state, key: watching.rollout(
        environment,
        learner,
        learner_state,
        key,
        num_steps=limit,
        num_episodes=options.episodes,
        stochastic=options.stochastic,
    )
    key = jax.random.key(options.random_seed)
    size = dict(width=options.width, height=options.height, fps=options.fps)
    needed = watching.memory_needed(environment, jax.eval_shape(play, learner_state, key), **size)
    if needed > (there_is := memory.of_devices(jax.devices())):
        raise CommandError(
            f"episodes of up to {limit} steps, {options.episodes} of them, and pictures of {options.width}×"
            f"{options.height} need {bytes_in_words(needed)}, this machine has {bytes_in_words(there_is)}: lower "
            "--episodes, --max-steps, --width or --height"
        )
    played = jax.jit(play)(learner_state, key)
    for episode, (total, length) in enumerate(zip(watching.returns(played), watching.lengths(played.done))):
        print(f"  episode {episode}: return {total:,.4g}, {length} steps", flush=True)

    out = _video(record, options)
    try:
        frames, seconds = watching.pictures(environment, played, **size)
    except envs.RenderingUnavailable as error:
        raise CommandError(str(error)) from error
    watching.write_video(out, frames, seconds)
    print(f"  wrote {out}: {len(frames)} frames, {len(frames) * seconds:.1f} s")


def _responses(record: trained.Record, learner_state: Any, options: Options) -> None:
    """Responses of a language model to held-out prompts."""
    import jax

    from rlx.recipes import language

    lines = language.respond(
        record.config,
        record.recipe.make_environment(record.config),
        learner_state,
        jax.random.key(options.random_seed),
        num_prompts=options.episodes,
        stochastic=options.stochastic,
    )
    print("\n".join(lines))


def heading(record: trained.Record, table: MetricsTable, member: trained.Member, update: int, options: Options) -> str:
    """What is played."""
    policy = "stochastic" if options.stochastic else "deterministic"
    label = ", ".join(filter(None, (f"seed {member.seed}", setting_label(member.setting, table.choices))))
    return f"{record.config.env_name} · {label} · checkpoint {update} · {policy} policy"


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


def _check(options: Options) -> None:
    if not options.run:
        newest = trained.newest_runs()
        raise CommandError("rlx play needs a run folder" + (f": the newest is {newest[0]}" if newest else ""))
    for name, within in RANGES.items():
        value = getattr(options, name)
        if value is not None and not contains(within, value):
            raise CommandError(f"--{name.replace('_', '-')} must be in {within}, got {value}")
    if options.out is not None:
        check_out(options.out, VIDEOS)


def _video(record: trained.Record, options: Options) -> Path:
    """Where the video goes."""
    return Path(options.out) if options.out is not None else record.folder.path / "play.gif"
