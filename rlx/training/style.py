"""How pictures look: colors, axes, names of metrics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rlx.training.metrics import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "eval_return_mean": "return, deterministic policy",
    "eval_stochastic_return_mean": "return, exploring policy",
    "return_mean": "return of training episodes",
    "episode_length": "episode length (steps)",
    "eval_episode_length": "episode length, deterministic policy (steps)",
    "env_steps": "environment steps per seed",
    "gradient_steps": "gradient steps per seed",
    "responses": "sampled responses per seed",
    "pairs": "pairs of responses per seed",
    "update": "updates",
    "wall_time": "wall time (s)",
    "sps": "environment steps per second",
    "approximate_kl": "approximate KL (nats)",
    "entropy": "entropy (nats)",
}


class Theme(NamedTuple):
    """Colors of a figure; the palette is Okabe and Ito's, safe for color-blind readers."""

    background: str
    text: str
    muted: str
    grid: str
    palette: tuple[str, ...]


THEMES = {
    "light": Theme(
        background="#ffffff",
        text="#1f2328",
        muted="#656d76",
        grid="#e6e8eb",
        palette=("#0072b2", "#d55e00", "#009e73", "#b8589a", "#c28400", "#3fa0dc", "#3d444d"),
    ),
    "dark": Theme(
        background="#161b22",
        text="#e6edf3",
        muted="#9198a1",
        grid="#2a313a",
        palette=("#58a6e8", "#ff8a4c", "#2ec49b", "#dd94bf", "#e9b13b", "#9ad4f7", "#c9d1d9"),
    ),
}


def decorate(axes: Axes, colors: Theme, *, x: str) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, StrMethodFormatter

    axes.set_facecolor(colors.background)
    axes.grid(axis="y", color=colors.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(colors.grid)
    axes.tick_params(colors=colors.muted, labelsize=9, length=0, pad=5)
    axes.tick_params(axis="x", length=3, color=colors.grid)
    axes.margins(x=0.01, y=0.06)
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if x != "wall_time" else StrMethodFormatter("{x:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(_tick)


def _tick(value: float, _: int) -> str:
    decimals = 0 if abs(value) >= 1000 else 8
    return (
        np.format_float_positional(round(value, decimals), trim="-").replace("-", "−")
        if abs(value) < 1000
        else f"{value:,.0f}".replace("-", "−")
    )


def new_figure(size: tuple[float, float], colors: Theme) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=160, layout="constrained", facecolor=colors.background)
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.09, wspace=0.03, hspace=0.04)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, out: str | os.PathLike | None) -> Figure:
    as_written(figure)
    if out is not None:
        with atomic_path(Path(out)) as temporary:
            figure.savefig(temporary)
    return figure


def as_written(figure: Figure) -> None:
    """Show the texts of a figure as they are: names of runs and titles hold `$` and `_`, and no formulas."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(
            "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text.get_text())
        )


def shortened(name: str, length: int) -> str:
    """A name of at most so many characters: its middle is left out, since ends tell runs apart."""
    half = length // 2
    return name if len(name) <= length else f"{name[: length - half - 1]}…{name[-half:]}"


def palette_of(colors: Theme, count: int) -> list[str]:
    if count <= len(colors.palette):
        return list(colors.palette[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    # Too many for distinct hues: an even ramp in the order of the settings, without its end nearest the page.
    ramp = (0.0, 0.88) if colors is THEMES["light"] else (0.2, 1.0)
    return [to_hex(color) for color in colormaps["viridis"](np.linspace(*ramp, count))]


def theme_of(name: str) -> Theme:
    if name not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}; got {name!r}")
    return THEMES[name]


def title_of(name: str) -> str:
    return TITLES.get(name, name.replace("_", " "))
