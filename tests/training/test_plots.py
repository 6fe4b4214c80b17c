import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlx.training.metrics import MetricsTable
from rlx.training.plots import (
    MAX_NAME,
    MAX_REPORTS,
    diagnostics,
    intervals,
    learning_curve,
    learning_curves,
    panels,
    spread,
)
from rlx.training.statistics import learning_curve_band


def run(returns, *, evaluated=True, **columns):
    """A table of the given returns `[runs, reports]`."""
    table = MetricsTable()
    for i, column in enumerate(np.asarray(returns, float).T):
        rows = {"seed": np.arange(len(column)), **columns, "update": i + 1, "env_steps": 1000 * (i + 1)}
        rows |= {"return_mean": column - 1, "eval_return_mean": column if evaluated else None, "sps": 10.0}
        table.append({**rows, "wall_time": float(i), "policy_loss": -column, "entropy": None})
    return table


RETURNS = np.random.default_rng(0).normal(size=(5, 6)).cumsum(axis=1)


def thick(axes):
    return [line for line in axes.get_lines() if line.get_linewidth() == 2.0]


def words(figure):
    named = [text for legend in figure.legends for text in legend.get_texts()]
    return [text.get_text() for text in [*figure.axes[0].texts, *named]]


def test_one_run_shows_its_center_its_band_and_its_seeds(tmp_path):
    figure = learning_curve({"ppo": run(RETURNS)}, out=tmp_path / "curve.png", title="PPO")
    (axes,) = figure.axes
    (center,) = thick(axes)
    band = learning_curve_band(RETURNS)
    np.testing.assert_array_equal(center.get_xdata(), 1000 * np.arange(1, 7))
    np.testing.assert_allclose(center.get_ydata(), band.center)
    seeds = [line.get_ydata() for line in axes.get_lines() if line.get_linewidth() == 0.8]
    np.testing.assert_array_equal(seeds, RETURNS)
    outline = axes.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([outline.min(), outline.max()], [band.low.min(), band.high.max()])
    assert axes.get_xlabel() == "environment steps per seed"
    assert axes.get_ylabel() == "return, deterministic policy"
    assert words(figure) == ["interquartile mean over 5 seeds, 95 % bootstrap band"]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_diverged_seed_is_counted_and_marked():
    returns = RETURNS.copy()
    returns[2, 3:] = np.nan
    figure = learning_curve({"ppo": run(returns)})
    assert "1 of 5 runs diverged, left out of the mean" in words(figure)[0]
    (cross,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (3000, returns[2, 2])


def test_several_runs_and_paths_share_the_axes(tmp_path):
    run(RETURNS).write(tmp_path / "metrics.parquet")
    figure = learning_curve({"a": tmp_path / "metrics.parquet", "b": run(RETURNS + 1)})
    assert len(thick(figure.axes[0])) == 2
    assert words(figure)[1:] == ["a", "b"]


def test_a_sweep_gives_a_line_per_setting_even_where_every_seed_diverged():
    returns = np.vstack([RETURNS[:4], np.full((2, 6), np.nan)])
    table = run(returns, clip=np.repeat([0.1, 0.2, 0.3], 2))
    figure = learning_curve({"ppo": table})
    assert words(figure)[1:] == ["clip=0.1", "clip=0.2", "clip=0.3 (diverged)"]
    assert "2 of 6 runs diverged" in words(figure)[0]


def test_many_settings_get_a_legend():
    figure = learning_curve({"ppo": run(np.tile(RETURNS, (2, 1)), clip=np.arange(10.0))})
    assert words(figure)[1:] == [f"clip={i}" for i in range(10)]


@pytest.mark.parametrize("name", ["a" * 400, "runs/" + "a long name " * 9], ids=["one word", "many"])
def test_long_names_stand_below_and_leave_the_curves_their_room(name, tmp_path):
    short, long = (
        learning_curve({label: run(RETURNS), "b": run(RETURNS + 1)}, out=tmp_path / "curve.png")
        for label in ("a", name)
    )
    width = lambda figure: figure.axes[0].get_position().width
    assert width(long) > 0.95 * width(short)
    (legend,) = long.legends
    room = long.bbox
    assert all(room.x0 <= text.get_window_extent().x0 < text.get_window_extent().x1 <= room.x1 for text in legend.texts)
    assert all(len(text.get_text()) <= MAX_NAME for text in legend.texts)


@pytest.mark.parametrize("text", [r"$\frac$", "$", "a_b^", "\x01\x7f", "\udcff", "two\nlines"])
def test_titles_and_names_are_no_formulas(text, tmp_path):
    figure = learning_curves({"e": {text: run(RETURNS), "b": run(RETURNS)}}, title=text, out=tmp_path / "curve.svg")
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)
    assert figure.axes[0].get_title(loc="left") == shown and shown in words(figure)


def test_each_environment_gets_axes_of_its_own_and_each_label_one_color():
    groups = {"ant": {"ppo": run(RETURNS), "sac": run(RETURNS + 1)}, "hopper": {"sac": run(100 * RETURNS)}}
    figure = learning_curves(groups, title="Two")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ant", "hopper"]
    assert [len(thick(axes)) for axes in figure.axes] == [2, 1]
    assert thick(figure.axes[0])[1].get_color() == thick(figure.axes[1])[0].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ppo", "sac"]


@pytest.mark.parametrize("value", [1e308, -1e308, 1e200])
def test_enormous_values_count_as_infinite(value):
    returns = RETURNS.copy()
    returns[0, -1] = value
    assert "1 of 5 runs diverged" in words(learning_curve({"ppo": run(returns)}))[0]


def test_a_run_without_evaluation_shows_its_training_return():
    figure = learning_curve({"ppo": run(RETURNS, evaluated=False)})
    assert figure.axes[0].get_ylabel() == "return of training episodes"
    np.testing.assert_allclose(thick(figure.axes[0])[0].get_ydata(), learning_curve_band(RETURNS - 1).center)
    mixed = learning_curve({"a": run(RETURNS), "b": run(RETURNS, evaluated=False)})
    assert words(mixed)[1:] == ["a", "b (training)"]


def test_long_runs_are_thinned_and_keep_their_ends():
    (center,) = thick(learning_curve({"ppo": run(np.arange(600.0)[None])}).axes[0])
    assert len(center.get_xdata()) == MAX_REPORTS
    assert (center.get_ydata()[0], center.get_ydata()[-1]) == (0, 599)


def test_panels_show_the_name_of_every_line(tmp_path):
    names = ["a name that is long", "another that is longer still", "a third", "the last"]
    values = {name: np.arange(6.0).reshape(2, 3) + place for place, name in enumerate(names)}
    axes = dict(x_label="updates", y_label="accuracy", title="Names")
    figure = panels({"one": values}, np.arange(3.0), out=tmp_path / "panels.png", **axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    room = figure.bbox
    assert all(room.x0 <= text.get_window_extent().x0 < text.get_window_extent().x1 <= room.x1 for text in legend.texts)


def test_intervals_show_every_method_and_leave_out_what_diverged(tmp_path):
    values = {"grpo": np.array([0.1, 0.2, 0.3, 0.4]), "other": np.full(4, np.nan)}
    figure = intervals({"accuracy": values}, out=tmp_path / "intervals.png", title="task")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["grpo", "other"]
    assert (tmp_path / "intervals.png").stat().st_size > 0


def test_nothing_to_draw_is_said():
    with pytest.raises(ValueError, match="nothing to draw"):
        learning_curve({})
    with pytest.raises(ValueError, match="nothing to draw.*finite"):
        learning_curve({"ppo": run(np.full((2, 3), np.nan))})
    with pytest.raises(ValueError, match="did you mean"):
        learning_curve({"ppo": run(RETURNS)}, y="policy_los")
    with pytest.raises(ValueError, match="theme must be one of light, dark"):
        learning_curve({"ppo": run(RETURNS)}, theme="solarized")
    with pytest.raises(ValueError, match="nothing to draw"):
        diagnostics(run(RETURNS), names=["entropy"])


def test_diagnostics_draw_what_was_measured():
    figure = diagnostics(run(RETURNS[:4], clip=np.repeat([0.1, 0.2], 2)), theme="dark")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    titles = [axes.get_title(loc="left") for axes in shown]
    assert titles == ["return of training episodes", "environment steps per second", "policy loss"]
    assert [len(thick(axes)) for axes in shown] == [2, 2, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["clip=0.1", "clip=0.2"]


@given(st.lists(st.floats(-10, 10), max_size=8), st.floats(0.01, 2))
@settings(max_examples=100, deadline=None)
def test_spread_keeps_distance_order_and_mean(positions, gap):
    positions = np.array(positions)
    moved = spread(positions, gap)
    assert (np.diff(np.sort(moved)) >= gap - 1e-9).all()
    order = np.argsort(positions, kind="stable")
    assert (np.diff(moved[order]) > 0).all()
    if len(positions):
        np.testing.assert_allclose(moved.mean(), positions.mean(), atol=1e-9)


def test_spread_leaves_room_alone():
    np.testing.assert_array_equal(spread(np.array([3.0, 0.0, 1.0]), 0.5), [3.0, 0.0, 1.0])
    np.testing.assert_allclose(spread(np.array([0.0, 0.0, 5.0]), 1.0), [-0.5, 0.5, 5.0])


def test_pyplot_is_never_imported():
    code = (
        "import sys, numpy as np; from rlx.training.metrics import MetricsTable;"
        "from rlx.training.plots import learning_curve;"
        "t = MetricsTable({'seed': [0], 'update': [1], 'env_steps': [1], 'eval_return_mean': [1.0]});"
        "learning_curve({'a': t}); print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
