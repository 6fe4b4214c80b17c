"""What a run leaves for people: pictures, a page, and a few lines at its end."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlx.cli.errors import one_line
from rlx.cli.options import Options
from rlx.recipes.simulatorless import NONE
from rlx.recipes.wiring import Config, Recipe
from rlx.training import lock, runs
from rlx.training.disk import writing
from rlx.training.stopping import undo

# A GIF that report.html can carry: ten seconds, or what the simulator makes of that many steps.
ROLLOUT_FRAMES = 250
ROLLOUT_STEPS = 1000

SOLVED = 0.95
"""Share of right answers from which on a task counts as solved."""


def opening(recipe: Recipe, config: Config, plan: dict[str, Any], num_settings: int, folder: runs.RunFolder) -> str:
    """What will be trained, and what a person should know before."""
    from rlx.training.progress import engineering

    seeds = f"{plan['seeds']} seeds" if plan["seeds"] != 1 else "1 seed"
    settings = f" × {num_settings} settings" if num_settings > 1 else ""
    steps = engineering(config.initial_steps + plan["num_updates"] * config.steps_per_update)
    unit = config.steps_name.replace("env_steps", "steps").replace("_", " ")
    head = f"{recipe.title} on {config.env_name}: {seeds}{settings} × {steps} {unit} → {folder.path}"
    return "\n".join([head, *(f"  {note}" for note in [*_rounding(config, plan), *recipe.notes(config)])])


def _rounding(config: Config, plan: dict[str, Any]) -> list[str]:
    """A line where rounding up to whole updates and reports makes a run more than a hundredth longer."""
    steps, asked = config.initial_steps + plan["num_updates"] * config.steps_per_update, config.asked_steps
    if steps <= 1.01 * asked:
        return []
    why = f"one update takes {config.steps_per_update:,}"
    if (each := plan["updates_per_report"]) > 1:
        why += f", a report {each:,} updates"
    if config.initial_steps:
        why += f", and {config.initial_steps:,} come before the first"
    return [f"total_steps {asked:,} is rounded up to {steps:,}: {why}"]


@contextlib.contextmanager
def claimed(folder: runs.RunFolder, *, restart: bool) -> Iterator[Path | None]:
    """Hold a run's folder; an error or a signal before anything was trained takes back what was begun there.

    Args:
        folder: the run's.
        restart: whether to move the run that it holds aside.

    Yields:
        Where that run is now.
    """
    aside = None
    if restart and folder.path.exists():
        with lock.held(folder.path), writing(folder.path):
            aside = runs.move_aside(folder)
    is_new = not folder.config.exists()

    def discard() -> None:
        if is_new and not folder.metrics.exists():
            _discard(folder)

    def move_back() -> None:
        if aside is not None and not folder.path.exists():
            aside.rename(folder.path)

    with undo(lambda: (discard(), lock.let_go(), move_back())):
        try:
            with lock.held(folder.path):
                try:
                    yield aside
                except BaseException:
                    discard()
                    raise
        except BaseException:
            move_back()
            raise


def _discard(folder: runs.RunFolder) -> None:
    """Take back a folder in which nothing was trained, so that the corrected command can use it."""
    for path in (folder.config, folder.path / lock.NAME):
        path.unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.tensorboard, folder.path):
        with contextlib.suppress(OSError):  # what holds a file stays
            path.rmdir()


def write_artifacts(recipe: Recipe, config: Config, folder: runs.RunFolder, options: Options, fitted: Any) -> None:
    """Draw the best seed and write the pages; every process calls it, the first one writes.

    What fails is a warning: the run itself is safe by now.
    """
    import jax

    if not options.no_rollout and recipe.watch == "episodes" and config.env_name != NONE:
        _try("rollout.gif", lambda: write_rollout(recipe, config, folder, fitted))
    if not options.no_report and jax.process_index() == 0:
        write_pages(folder)


def write_rollout(recipe: Recipe, config: Config, folder: runs.RunFolder, fitted: Any) -> None:
    """Render the first seconds of an episode of the best run to `rollout.gif`."""
    import jax
    import numpy as np

    from rlx.recipes import watching
    from rlx.training.sharding import fetch

    learner_state = fetch(fitted.state.learner)
    if jax.process_index() > 0:
        return
    scores = [run["final_return"] for run in fitted.summary["runs"]]
    best = int(np.argmax([-np.inf if score is None else score for score in scores]))
    environment = watching.drawable(recipe.make_environment(config))
    data = recipe.load(config)
    learner = recipe.make_learner(config, environment, num_updates=config.num_updates, data=data)
    num_steps = min(environment.max_episode_steps or config.max_eval_steps, ROLLOUT_STEPS)
    act = jax.jit(lambda state, key: watching.rollout(environment, learner, state, key, num_steps=num_steps))
    played = act(jax.tree.map(lambda x: x[best], learner_state), jax.random.key(0))
    frames, seconds = watching.pictures(environment, played, max_frames=ROLLOUT_FRAMES)
    watching.write_video(folder.rollout, frames, seconds)


def write_pages(folder: runs.RunFolder) -> None:
    """Write `curve.png` and `report.html` from what the folder holds."""
    from rlx.training import plots, report

    title = runs.read_json(folder.config)["env"]
    if title != NONE:
        curve = lambda: plots.learning_curve({folder.path.name: folder.metrics}, out=folder.curve, title=title)
        _try("curve.png", curve)
    _try("report.html", lambda: report.write_report(folder.path))


def conclusion(recipe: Recipe, folder: runs.RunFolder, summary: dict[str, Any]) -> str:
    """What a run reached, what it wrote, and what to try next."""
    from rlx.training.progress import duration, engineering, number

    def result(aggregate: dict[str, Any]) -> str:
        low, high = aggregate["interval"]
        if low is None:
            return "none: every seed diverged"
        count, finite = aggregate["num_runs"], aggregate["num_finite"]
        spread = f" ({aggregate['confidence']:.0%} interval {number(low)} to {number(high)})" if finite > 1 else ""
        seeds = f"{count} seeds" if count != 1 else "1 seed"
        counted = seeds if finite == count else f"{finite} of {seeds}"
        return f"{number(aggregate['interquartile_mean'])}{spread} over {counted}"

    path = folder.path
    lines = []
    if summary["settings"]:
        ranked = sorted(
            summary["settings"],
            key=lambda setting: -math.inf if setting["interquartile_mean"] is None else setting["interquartile_mean"],
            reverse=True,
        )
        labels = [setting["label"] for setting in ranked]
        lines += [
            ("final return" if i == 0 else "", f"{label:<{max(map(len, labels))}}  {result(setting)}")
            for i, (label, setting) in enumerate(zip(labels, ranked))
        ]
    elif summary["env"] == NONE:
        lines += [("final return", "not measured without a simulator")]
    else:
        lines += [("final return", result(summary["final_return"]))]
    if (score := summary.get("normalized_score")) and not summary["settings"]:
        averaged = score["evaluations_averaged"]
        note = "the last evaluation" if averaged == 1 else f"mean of the last {averaged} evaluations"
        lines += [("score", f"{result(score)}, {note}")]
    if recipe.evaluate_start and "start_return" in summary:
        lines += [("start return", result(summary["start_return"])), *against_the_start(summary)]
    rate = summary["steps_per_second"]
    speed = f"{engineering(rate)} steps/s · " if rate else ""
    took, compiling = duration(summary["wall_time"]), duration(summary["compile_time"])
    lines += [
        ("speed", f"{speed}{took}, of which {compiling} compilation"),
        ("wrote", f"{path}/"),
        ("", " ".join(sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(".")))),
        *_next(recipe, path, simulated=summary["env"] != NONE),
        ("", f"open {folder.report}") if folder.report.exists() else None,
    ]
    return "\n".join(f"  {name:<13} {text}" for name, text in filter(None, lines))


def _next(recipe: Recipe, path: Path, *, simulated: bool) -> list[tuple[str, str]]:
    """Commands that show what a run learned."""
    if not simulated:
        return [("next", f"rlx evaluate {path}")]
    return [("next", f"rlx plot {path}"), *([("", f"rlx play {path}")] if recipe.watch else [])]


def against_the_start(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Where a policy solved its task before it was trained, or was made worse: what to do about it."""
    start, below = summary["start_return"]["interquartile_mean"], summary["evaluations_below_start"]
    lines = []
    if start is not None and start >= SOLVED:
        lines += [("", f"{start:.0%} at the start leave little to learn: try fewer --warmup-steps, or a harder --task")]
    if below:
        count = f"{below} of {summary['evaluations']} evaluations lie"
        lines += [("", f"{count} below the start: try a smaller --learning-rate")]
    return lines


def _try(name: str, make: Callable[[], Any]) -> None:
    try:
        make()
    except Exception as error:  # the run is done and saved: no picture of it may take it away
        warnings.warn(f"no {name}: {one_line(error) or type(error).__name__}", stacklevel=2)
