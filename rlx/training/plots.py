"""Pictures of runs: learning curves with bootstrap bands over seeds, and small multiples of the diagnostics.

Figures are made with Matplotlib's object-oriented interface and touch no global state, so that they can be
drawn inside a training process, a notebook or a test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from rlx.training.metrics import (
    TIME_COLUMNS,
    Curve,
    MetricsTable,
    curves,
    hyperparameter_names,
    setting_label,
    time_column,
)
from rlx.training.statistics import Band, learning_curve_band
from rlx.training.style import (
    TITLES,
    Theme,
    as_written,
    decorate,
    new_figure,
    palette_of,
    save,
    shortened,
    theme_of,
    title_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A picture is a few hundred points wide: more reports than that only cost time in the bootstrap.
MAX_REPORTS = 250
# Beyond this a number is as good as infinite, and the arithmetic of axes overflows.
LARGEST = 1e100
# A name of more characters at the end of its line would squeeze the curves; of more than these it is shortened.
MAX_LABEL, MAX_NAME = 28, 80


class Line(NamedTuple):
    """One curve ready to be drawn: a setting of a run, its name, the metric it shows and its band."""

    label: str
    metric: str
    curve: Curve
    band: Band


def learning_curve(
    tables: Mapping[str, MetricsTable | str | os.PathLike],
    *,
    y: str = "eval_return_mean",
    x: str | None = None,
    out: str | os.PathLike | None = None,
    title: str | None = None,
    confidence: float = 0.95,
    theme: str = "light",
) -> Figure:
    """Draw a metric against time: interquartile mean and bootstrap band, one line per run and setting.

    With one line in the picture its seeds are drawn too, thin, and a cross marks where a seed stopped having
    a finite value. The labels and the line below the title say how many seeds there are, and how many of them
    diverged.

    Args:
        tables: label → metrics, or the path of a `metrics.parquet`. A sweep gives one line per setting.
        y: the metric. Where a run has none of `eval_return_mean`, its `return_mean` is drawn and labeled as
            such.
        x: the column along the horizontal axis; None takes the steps of the first run.
        out: where to save the picture (PNG, SVG or PDF by its suffix); not saved by default.
        title: title of the picture.
        confidence: probability mass of the band.
        theme: `"light"` or `"dark"`.

    Returns:
        The figure, which a notebook shows as the value of its cell.

    Raises:
        ValueError: if there is nothing to draw, a column is missing, or the theme is unknown.
    """
    return learning_curves({"": tables}, y=y, x=x, out=out, title=title, confidence=confidence, theme=theme)


def learning_curves(
    groups: Mapping[str, Mapping[str, MetricsTable | str | os.PathLike]],
    *,
    y: str = "eval_return_mean",
    x: str | None = None,
    out: str | os.PathLike | None = None,
    title: str | None = None,
    confidence: float = 0.95,
    theme: str = "light",
) -> Figure:
    """Draw the learning curves of several groups of runs, such as those of an environment, each on axes of its own.

    Args:
        groups: title of the axes → label → metrics, or the path of a `metrics.parquet`. A label has one color on all
            axes. Of one group the title is not drawn.
        y: as of `learning_curve`.
        x: as of `learning_curve`; None takes the steps of the first run on each axes.
        out: as of `learning_curve`.
        title: of the whole picture.
        confidence: as of `learning_curve`.
        theme: as of `learning_curve`.

    Returns:
        The figure.

    Raises:
        ValueError: as of `learning_curve`.
    """
    colors = theme_of(theme)
    panels, times = {}, {}
    for name, tables in groups.items():
        named = len(tables) > 1 or len(groups) > 1
        panels[name], times[name] = _panel(tables, y, x=x, named=named, confidence=confidence)
    if not panels:
        raise ValueError(f"nothing to draw: no run has a finite {y!r} yet")
    names = list(dict.fromkeys(line.label for lines in panels.values() for line in lines))
    color_of = dict(zip(names, palette_of(colors, len(names))))
    # Names go to the ends of the lines, if they are few and short, and otherwise below the axes.
    at_ends = len(panels) == 1 and len(names) <= 8 and max(map(len, names)) <= MAX_LABEL
    below = len(names) > 1 and not at_ends

    num_columns = min(3, len(panels))
    num_rows = -(-len(panels) // num_columns)
    size = (7.6, 4.5) if len(panels) == 1 else (max(7.6, 4.2 * num_columns), 3.4 * num_rows + 0.4)
    figure = new_figure((size[0], size[1] + (0.2 * min(len(names), 60) if below else 0)), colors)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes, (name, lines) in zip(grid.flat, panels.items()):
        decorate(axes, colors, x=times[name])
        axes.set_xlabel(TITLES.get(times[name], times[name]), color=colors.text, labelpad=7)
        shown = y if y in {line.metric for line in lines} else lines[0].metric
        axes.set_ylabel(title_of(shown), color=colors.text, labelpad=7)
        for line in lines:
            _draw(axes, line, color_of[line.label], seeds=len(lines) == 1)
        heading = name if len(panels) > 1 else title or ""
        axes.set_title(
            shortened(heading, MAX_NAME if len(panels) == 1 else MAX_LABEL + 12),
            loc="left",
            color=colors.text,
            fontsize=12.5 if len(panels) == 1 else 10.5,
            fontweight="bold",
            pad=24 if heading else 8,
        )
        axes.annotate(
            _subtitle(lines, confidence, brief=len(panels) > 1),
            (0, 1),
            (0, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            color=colors.muted,
            fontsize=9 if len(panels) == 1 else 8,
        )
        if at_ends and len(lines) > 1:
            _label(axes, lines, [color_of[line.label] for line in lines])
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    if len(panels) > 1 and title:
        figure.suptitle(
            shortened(title, MAX_NAME), x=0.01, ha="left", color=colors.text, fontsize=12.5, fontweight="bold"
        )
    if below:
        _legend(figure, colors, {name: color_of[name] for name in names})
    return save(figure, out)


def diagnostics(
    table: MetricsTable | str | os.PathLike,
    *,
    names: Sequence[str] | None = None,
    out: str | os.PathLike | None = None,
    confidence: float = 0.95,
    theme: str = "light",
) -> Figure:
    """Draw small multiples of a run's metrics: interquartile mean and bootstrap band, one line per setting.

    Args:
        table: metrics, or the path of a `metrics.parquet`.
        names: the metrics, in order; those that the run has not measured are left out. By default all but the
            evaluations, in the order of the table.
        out: where to save the picture; not saved by default.
        confidence: probability mass of the bands.
        theme: `"light"` or `"dark"`.

    Returns:
        The figure.

    Raises:
        ValueError: if the run has measured none of them, or the theme is unknown.
    """
    colors = theme_of(theme)
    table = table if isinstance(table, MetricsTable) else MetricsTable.read(table)
    if names is None:
        known = {"seed", "update", *TIME_COLUMNS, "wall_time", *hyperparameter_names(table)}
        names = [name for name in table.columns if name not in known and not name.startswith("eval_")]
    x = time_column(table)
    panels = {name: _lines(table, name, x=x, label="", confidence=confidence) for name in names if name in table}
    panels = {name: lines for name, lines in panels.items() if _drawable(lines)}
    if not panels:
        raise ValueError(f"nothing to draw: the run has no finite value of {', '.join(names) or 'any metric'}")
    num_columns = min(3, len(panels))
    num_rows = -(-len(panels) // num_columns)
    figure = new_figure((3.3 * num_columns, 2.15 * num_rows + 0.35), colors)
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True)
    for axes, (name, lines) in zip(grid.flat, panels.items()):
        decorate(axes, colors, x=x)
        title = f"{x.replace('_', ' ')} per second" if name == "sps" and x in TIME_COLUMNS[1:] else title_of(name)
        axes.set_title(title, loc="left", color=colors.text, fontsize=10, fontweight="bold", pad=6)
        for line, color in zip(lines, palette_of(colors, len(lines))):
            _draw(axes, line, color, seeds=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, len(panels) - num_columns) : len(panels)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(TITLES[x], color=colors.muted, fontsize=10)
    lines = next(iter(panels.values()))
    if len(lines) > 1:
        handles = grid.flat[0].get_lines()[: len(lines)]
        figure.legend(
            handles,
            [line.label for line in lines],
            loc="outside upper left",
            ncols=min(5, len(lines)),
            frameon=False,
            fontsize=9,
            labelcolor=colors.text,
            columnspacing=1.4,
        )
    return save(figure, out)


def panels(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "run point"]]],
    x: Float[np.ndarray, " point"],
    *,
    x_label: str,
    y_label: str,
    out: str | os.PathLike | None = None,
    title: str | None = None,
    confidence: float = 0.95,
    theme: str = "light",
) -> Figure:
    """Draw arrays side by side, such as methods on several tasks: interquartile mean and bootstrap band over runs.

    Args:
        panels: title of a panel → name of a line → its values. A name has one color in all panels.
        x: along the horizontal axis.
        x_label: what that is.
        y_label: what the values are.
        out: where to save the picture; not saved by default.
        title: title of the picture.
        confidence: probability mass of the bands.
        theme: `"light"` or `"dark"`.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no panel, or the theme is unknown.
    """
    colors = theme_of(theme)
    names = _names(panels)
    color_of = dict(zip(names, palette_of(colors, len(names))))
    figure = new_figure((max(4.6, 3.3 * len(panels)), 3.1), colors)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (heading, lines) in zip(grid, panels.items()):
        decorate(axes, colors, x=x_label)
        axes.set_title(heading, loc="left", color=colors.text, fontsize=10, fontweight="bold", pad=6)
        axes.set_xlabel(x_label, color=colors.muted, fontsize=9)
        for name, values in lines.items():
            band = learning_curve_band(values, confidence=confidence)
            if len(values) > 1:
                axes.fill_between(x, band.low, band.high, color=color_of[name], alpha=0.18, linewidth=0, zorder=1)
            axes.plot(x, band.center, color=color_of[name], linewidth=2.0, label=name, zorder=3)
    grid[0].set_ylabel(y_label, color=colors.text, labelpad=7)
    handles = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels())}
    # As many names side by side as the figure is wide.
    for ncols in range(min(6, len(names)), 0, -1):
        legend = figure.legend(
            [handles[name] for name in names],
            names,
            loc="outside upper left",
            ncols=ncols,
            frameon=False,
            fontsize=9,
            labelcolor=colors.text,
            title=title,
            title_fontproperties={"weight": "bold", "size": 11},
            alignment="left",
        )
        as_written(figure)
        if ncols == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    return save(figure, out)


def intervals(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, " run"]]],
    *,
    out: str | os.PathLike | None = None,
    title: str | None = None,
    confidence: float = 0.95,
    theme: str = "light",
) -> Figure:
    """Draw what many methods reached, a row for each: interquartile mean and bootstrap interval over runs.

    Args:
        panels: what is measured → name of a row → its values; side by side. A broken line goes through the first row.
        out: where to save the picture; not saved by default.
        title: title of the picture.
        confidence: probability mass of the intervals.
        theme: `"light"` or `"dark"`.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no panel, or the theme is unknown.
    """
    from matplotlib.ticker import MaxNLocator

    colors = theme_of(theme)
    names = _names(panels)
    figure = new_figure((2.0 + 2.2 * len(panels), 1.0 + 0.24 * len(names)), colors)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    first, other = colors.palette[1], colors.palette[0]
    for axes, (heading, rows) in zip(grid, panels.items()):
        decorate(axes, colors, x=heading)
        axes.grid(axis="x", color=colors.grid, linewidth=0.8)
        axes.grid(visible=False, axis="y")
        axes.set_title(heading, loc="left", color=colors.text, fontsize=9.5, fontweight="bold", pad=6)
        for row, name in enumerate(names):
            band = learning_curve_band(np.asarray(rows.get(name, [np.nan]), float)[:, None], confidence=confidence)
            if not band.count[0]:
                continue
            color = first if row == 0 else other
            axes.plot([band.low[0], band.high[0]], [row, row], color=color, linewidth=2.0, solid_capstyle="round")
            axes.plot(band.center[0], row, "o", color=color, markersize=4.5)
            if row == 0:
                axes.axvline(band.center[0], color=colors.muted, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
        axes.margins(x=0.06)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}".replace("-", "−"))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    grid[0].set_yticks(range(len(names)), names)
    grid[0].set_ylim(len(names) - 0.4, -0.6)
    grid[0].tick_params(axis="y", labelcolor=colors.text)
    if title is not None:
        figure.suptitle(title, x=0.01, ha="left", color=colors.text, fontsize=11, fontweight="bold")
    return save(figure, out)


def _names(panels: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """What lines or rows are called, each once, in the order of the panels."""
    if not panels:
        raise ValueError("panels must hold at least one panel")
    return list(dict.fromkeys(name for of_panel in panels.values() for name in of_panel))


def spread(positions: Float[np.ndarray, " n"], gap: float) -> Float[np.ndarray, " n"]:
    """Move positions apart until neighbors are at least `gap` apart, as little as possible and in order.

    Args:
        positions: positions `[n]` along a line.
        gap: smallest distance between two of them.

    Returns:
        The new positions, in the order given. This is the least-squares answer: isotonic regression of the
        positions after the gaps are taken out.
    """
    order = np.argsort(positions, kind="stable")
    offsets = gap * np.arange(len(order))
    clusters: list[list[float]] = []
    for position in positions[order] - offsets:
        clusters.append([position])
        while len(clusters) > 1 and np.mean(clusters[-2]) >= np.mean(clusters[-1]):
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    result = np.empty(len(order))
    result[order] = np.concatenate([np.full(len(c), np.mean(c)) for c in clusters] or [np.empty(0)]) + offsets
    return result


def _measured(table: MetricsTable, name: str) -> str:
    evaluated = name in table and table[name].count() > 0
    return "return_mean" if name == "eval_return_mean" and not evaluated else name


def _lines(table: MetricsTable, y: str, *, x: str, label: str, confidence: float) -> list[Line]:
    lines = []
    for curve in curves(table, y, x=x):
        if not len(curve.x):
            continue
        # The first and the last report are always among those kept.
        keep = np.unique(np.linspace(0, len(curve.x) - 1, min(len(curve.x), MAX_REPORTS)).round().astype(int))
        values = np.ma.where(np.abs(curve.values) < LARGEST, curve.values, np.nan)
        curve = curve._replace(x=curve.x[keep], values=values[:, keep])
        name = ", ".join(filter(None, (label, setting_label(curve.hyperparameters, table.choices))))
        lines.append(Line(name, y, curve, learning_curve_band(curve.values, confidence=confidence)))
    return lines


def _drawable(lines: Sequence[Line]) -> bool:
    return any(line.band.count.any() for line in lines)


def _draw(axes: Axes, line: Line, color: str, *, seeds: bool) -> None:
    x, band = line.curve.x, line.band
    many = len(line.curve.seeds) > 1
    if seeds and many:
        for values in line.curve.values.filled(np.nan):
            finite = np.flatnonzero(np.isfinite(values))
            axes.plot(x, values, color=color, linewidth=0.8, alpha=0.35, zorder=2)
            if finite.size and finite[-1] < len(x) - 1:
                axes.plot(
                    x[finite[-1]],
                    values[finite[-1]],
                    "x",
                    color=color,
                    markersize=7,
                    markeredgewidth=1.8,
                    zorder=4,
                )
    if many:
        axes.fill_between(x, band.low, band.high, color=color, alpha=0.18, linewidth=0, zorder=1)
    marker = "o" if len(x) == 1 else None
    axes.plot(x, band.center, color=color, linewidth=2.0, marker=marker, solid_capstyle="round", zorder=3)
    axes.set_xlim(left=0)


def _panel(
    tables: Mapping[str, MetricsTable | str | os.PathLike], y: str, *, x: str | None, named: bool, confidence: float
) -> tuple[list[Line], str]:
    """The lines of runs on one axes, and the column along it."""
    lines = []
    for label, table in tables.items():
        table = table if isinstance(table, MetricsTable) else MetricsTable.read(table)
        x = time_column(table) if x is None else x
        lines += _lines(table, _measured(table, y), x=x, label=label if named else "", confidence=confidence)
    if not _drawable(lines):
        raise ValueError(f"nothing to draw: no run has a finite {y!r} yet")
    if len({line.metric for line in lines}) > 1:
        lines = [line if line.metric == y else line._replace(label=f"{line.label} (training)") for line in lines]
    return lines, x


def _legend(figure: Figure, colors: Theme, color_of: Mapping[str, str]) -> None:
    """Names of lines below the axes, as many side by side as the figure is wide."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, linewidth=2.0) for color in color_of.values()]
    names = [shortened(name, MAX_NAME) for name in color_of]
    for ncols in range(min(5, len(names)), 0, -1):
        legend = figure.legend(
            handles,
            names,
            loc="outside lower left",
            ncols=ncols,
            frameon=False,
            labelcolor=colors.text,
            fontsize=9,
        )
        as_written(figure)
        if ncols == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()


def _label(axes: Axes, lines: Sequence[Line], palette: Sequence[str]) -> None:
    """Write each line's name at its end."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    # A setting of which every run diverged has no line; its name stands at the foot and says so.
    ends = np.array([line.band.center[line.band.count > 0][-1] if _drawable([line]) else low for line in lines])
    for line, color, y in zip(lines, palette, spread((ends - low) / (high - low), gap=0.055)):
        axes.annotate(
            line.label if _drawable([line]) else f"{line.label} (diverged)",
            (1, y),
            (8, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=color,
            va="center",
            fontsize=9.5,
            fontweight="bold",
            annotation_clip=False,
        )


def _subtitle(lines: Sequence[Line], confidence: float, *, brief: bool) -> str:
    sizes = sorted({len(line.curve.seeds) for line in lines})
    seeds = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    diverged = sum(int((~np.isfinite(line.curve.values.filled(0.0)[:, -1])).sum()) for line in lines)
    warning = (
        f" · {diverged} of {sum(len(line.curve.seeds) for line in lines)} runs diverged, left out of the mean"
        if diverged
        else ""
    )
    if sizes == [1]:
        return f"one seed{warning}"
    each = " each" if len(lines) > 1 else ""
    if brief:
        return f"{seeds} seeds{each}, {100 * confidence:g} % band{warning.partition(',')[0]}"
    return f"interquartile mean over {seeds} seeds{each}, {100 * confidence:g} % bootstrap band{warning}"
