"""The one-page HTML report of a run folder: self-contained, readable offline, on paper and in the dark."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rlx.training import reading
from rlx.training.metrics import MetricsTable, atomic_path, curves, setting_label, time_column
from rlx.training.plots import diagnostics, learning_curve
from rlx.training.progress import duration, engineering, number
from rlx.training.runs import RunError, RunFolder
from rlx.training.statistics import aggregate, probability_of_improvement

Run = Mapping[str, Any]

CONFIG = {
    "algorithm?": (str, None),
    "env?": (str, None),
    "config?": dict,
    "git?": ({"commit": str, "dirty": bool}, None),
    "python?": str,
    "platform?": str,
    "devices?": [str],
    "versions?": {"*": str},
    "command?": [str],
}
"""What a page shows of `config.json`, as a shape of `reading.check_shape`."""

SUMMARY = {
    "algorithm?": (str, None),
    "env?": (str, None),
    **dict.fromkeys(("total_steps?", "steps_per_second?", "wall_time?", "compile_time?"), (reading.NUMBER, None)),
    "runs?": [
        {
            "seed": reading.NUMBER,
            "hyperparameters?": ({"*": reading.NUMBER}, None),
            "label?": str,
            "final_return?": (reading.NUMBER, None),
            "final_return_stochastic?": (reading.NUMBER, None),
            "normalized_score?": (reading.NUMBER, None),
            "params_sha256?": (str, None),
            "diverged?": ({"metric": str, "update": reading.NUMBER}, None),
        }
    ],
}
"""What a page shows of `summary.json`."""

TIMES = {
    "env_steps": "Environment steps",
    "gradient_steps": "Gradient steps",
    "responses": "Sampled responses",
    "pairs": "Pairs of responses",
}


def write_report(run_dir: str | os.PathLike) -> Path:
    """Write `report.html` into a run folder from whatever the folder holds.

    Reads `config.json`, `metrics.parquet`, `summary.json` and `rollout.gif`; each may be missing. Without a
    summary the run counts as unfinished and the final returns are those of its latest evaluation.

    Args:
        run_dir: a run folder.

    Returns:
        The path of the report.

    Raises:
        RunError: if the folder does not exist, or a file in it cannot be read, or holds what no run writes.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunError(f"run_dir must be a run folder; {str(run_dir)!r} is not a folder")
    folder = RunFolder(run_dir)
    html = render(
        config=_read_json(folder.config, CONFIG),
        summary=_read_json(folder.summary, SUMMARY),
        table=reading.metrics(folder.metrics) if folder.metrics.exists() else None,
        rollout=reading.raw(folder.rollout) if folder.rollout.exists() else None,
    )
    with atomic_path(run_dir / "report.html") as temporary:
        temporary.write_text(html, encoding="utf-8")
    return run_dir / "report.html"


def render(
    *,
    config: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    table: MetricsTable | None = None,
    rollout: bytes | None = None,
) -> str:
    """The report as one HTML document.

    Args:
        config: contents of `config.json`.
        summary: contents of `summary.json`; None while the run has not ended.
        table: the run's metrics.
        rollout: a GIF of the trained policy.

    Returns:
        HTML with inline styles and images, and no reference to anything outside it.
    """
    config, finished = config or {}, summary is not None
    summary = summary or {}
    runs = list(summary["runs"] if "runs" in summary else _latest_runs(table))
    algorithm = str(summary.get("algorithm") or config.get("algorithm") or "run").upper()
    env = str(summary.get("env") or config.get("env") or config.get("config", {}).get("env") or "unknown environment")
    settings = _by_setting(runs)
    measured = table is not None and len(table) > 0
    sections = [
        _warnings(runs, finished),
        _tiles(runs, summary, table),
        _section(
            "Learning curve",
            _picture(lambda theme: learning_curve({"": table}, theme=theme), "Learning curve"),
        )
        if measured
        else "",
        _section("Settings compared", _settings(settings)) if len(settings) > 1 else "",
        _section("Final return of each run", _runs(runs)) if runs else "",
        _section(
            "Rollout of the trained policy",
            f'<img class="rollout" alt="Rollout" src="{_data_uri(rollout, "gif")}">',
        )
        if rollout
        else "",
        _section("Diagnostics", _picture(lambda theme: diagnostics(table, theme=theme), "Diagnostics"))
        if measured
        else "",
        _section("Repeat this run", _repeat(config)) if config else "",
        _section("Configuration", _pairs(config["config"])) if config.get("config") else "",
    ]
    return _PAGE.format(
        title=escape(f"{algorithm} on {env}"),
        algorithm=escape(algorithm),
        env=escape(env),
        style=_STYLE,
        body="\n".join(section for section in sections if section),
    )


def _tiles(runs: Sequence[Run], summary: Run, table: MetricsTable | None) -> str:
    # A mean over the settings of a sweep would describe none of them.
    best = max((aggregate(_returns(group)) for group in _by_setting(runs).values()), key=_score, default=None)
    name = "Final return (IQM)" if len(_by_setting(runs)) <= 1 else "Best setting (IQM)"
    steps = summary.get("total_steps")
    if steps is None and table is not None and len(table):
        steps = int(table[time_column(table)].max())
    unit = "env_steps" if table is None else time_column(table)
    tiles = [
        (name, number(best["interquartile_mean"]), _interval(best)) if best else None,
        _score_tile(runs),
        ("Runs", str(len(runs)), "from one compilation") if runs else None,
        (TIMES[unit], engineering(steps), "per run") if steps is not None else None,
        ("Speed", engineering(summary["steps_per_second"]), "steps/s, all runs")
        if summary.get("steps_per_second")
        else None,
        (
            "Wall time",
            duration(summary["wall_time"]),
            f"of which {duration(summary['compile_time'])} compilation"
            if summary.get("compile_time") is not None
            else "",
        )
        if summary.get("wall_time") is not None
        else None,
    ]
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in filter(None, tiles)
    )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _score_tile(runs: Sequence[Run]) -> tuple[str, str, str] | None:
    """The normalized score of the best setting at its end, where runs are scored."""
    if not any("normalized_score" in run for run in runs):
        return None
    groups = ([run.get("normalized_score") for run in group] for group in _by_setting(runs).values())
    best = max((aggregate(np.array(group, float)) for group in groups), key=_score)
    return "Normalized score (IQM)", number(best["interquartile_mean"]), f"last evaluations, {_interval(best)}"


def _warnings(runs: Sequence[Run], finished: bool) -> str:
    diverged = [run for run in runs if run.get("diverged")]
    notes = (
        []
        if finished
        else ["This run has not ended: there is no summary.json yet. Returns are those of the latest report."]
    )
    if diverged:
        notes.append(f"{len(diverged)} of {len(runs)} runs diverged. Means and intervals are over the others.")
    notes += [
        "{}: {metric} stopped being finite at update {update}.".format(_run_label(run), **run["diverged"])
        for run in diverged
    ]
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="warnings" role="alert">{items}</ul>' if notes else ""


def _runs(runs: Sequence[Run]) -> str:
    swept = any(map(_setting, runs))
    returns = _returns(runs)
    finite = returns[np.isfinite(returns)]
    low, high = (min(0.0, finite.min()), max(0.0, finite.max())) if finite.size else (0.0, 0.0)
    rows = [
        [
            escape(str(run["seed"])),
            *([escape(_setting(run))] if swept else []),
            f'<span class="number">{escape(number(value))}</span>{_bar(value, low, high)}',
            escape(number(run.get("final_return_stochastic"))),
            _hash(run.get("params_sha256")),
            '<b class="bad">diverged</b>' if run.get("diverged") else "finite",
        ]
        for run, value in zip(runs, returns)
    ]
    header = [
        "Seed",
        *(["Setting"] if swept else []),
        "Deterministic policy",
        "Exploring policy",
        "Parameters (SHA-256)",
        "State",
    ]
    return _table(header, rows)


def _settings(settings: Mapping[str, Sequence[Run]]) -> str:
    returns = {label: _returns(runs) for label, runs in settings.items()}
    results = {label: aggregate(values) for label, values in returns.items()}
    best = max(results, key=lambda label: _score(results[label]))
    ends = [end for result in results.values() for end in result["interval"] if end is not None]
    scale = (min(ends), max(ends)) if ends else (0.0, 0.0)
    rows = [
        [
            f"<b>{escape(label)}</b>" if label == best else escape(label),
            escape(number(result["interquartile_mean"])),
            escape(_interval(result, bare=True)),
            _whisker(result, *scale),
            f"{result['num_finite']} of {result['num_runs']}",
            "–" if label == best else f"{probability_of_improvement(returns[label], returns[best]):.2f}",
        ]
        for label, result in sorted(results.items(), key=lambda item: -_score(item[1]))
    ]
    header = ["Setting", "IQM of final return", "95 % interval", "", "Finite runs", "P(beats best)"]
    note = (
        "Ordered by the interquartile mean of the final return. P(beats best) is the probability that a run "
        "of the setting scores above a run of the best one, 0.5 being a tie; a diverged run loses."
    )
    return _table(header, rows) + f'<p class="note">{escape(note)}</p>'


def _repeat(config: Run) -> str:
    git = config.get("git")
    source = (
        f"{git['commit']}{' with uncommitted changes' if git['dirty'] else ''}" if git else "not from a git checkout"
    )
    facts = {
        "Source": source,
        "Python": config.get("python", "–"),
        "Platform": config.get("platform", "–"),
        "Devices": ", ".join(map(str, config.get("devices", []))) or "–",
        "Packages": ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items()) or "–",
    }
    command = (
        f"<pre><code>{escape(shlex.join(map(str, config['command'])))}</code></pre>" if config.get("command") else ""
    )
    return command + _pairs(facts)


def _latest_runs(table: MetricsTable | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    for name in ("eval_return_mean", "return_mean"):
        found = curves(table, name) if name in table else []
        if any(len(curve.x) for curve in found):
            return [
                {
                    "seed": int(seed),
                    "hyperparameters": curve.hyperparameters,
                    "label": setting_label(curve.hyperparameters, table.choices),
                    "final_return": float(value),
                }
                for curve in found
                for seed, value in zip(curve.seeds, curve.values[:, -1].filled(np.nan))
            ]
    return []


def _by_setting(runs: Iterable[Run]) -> dict[str, list[Run]]:
    settings: dict[str, list[Run]] = {}
    for run in runs:
        settings.setdefault(_setting(run), []).append(run)
    return settings


def _returns(runs: Iterable[Run]) -> np.ndarray:
    # JSON has no NaN: a run without a return has null there. What a diverged policy collects is no result.
    measured = lambda run: run.get("final_return") is not None and not run.get("diverged")
    return np.array([run["final_return"] if measured(run) else np.nan for run in runs], np.float64)


def _setting(run: Run) -> str:
    """The run's hyperparameters in words; what was written without a label has no choices among them."""
    return run["label"] if "label" in run else setting_label(run.get("hyperparameters") or {})


def _run_label(run: Run) -> str:
    return ", ".join(filter(None, (_setting(run), f"seed {run['seed']}")))


def _interval(result: Run, *, bare: bool = False) -> str:
    low, high = result["interval"]
    if low is None:
        return "no finite run"
    ends = f"{number(low)} to {number(high)}"
    return ends if bare else f"{100 * result['confidence']:g} % interval {ends}"


def _score(result: Run) -> float:
    return -math.inf if result["interquartile_mean"] is None else result["interquartile_mean"]


def _hash(value: str | None) -> str:
    return f'<code title="{escape(str(value))}">{escape(str(value)[:12])}</code>' if value else "–"


def _bar(value: float, low: float, high: float) -> str:
    if not (math.isfinite(value) and high > low):
        return ""
    left, right = sorted((_percent(value, low, high), _percent(0.0, low, high)))
    return f'<span class="bar" style="--left:{left:.1f}%;--width:{right - left:.1f}%"></span>'


def _whisker(result: Run, low: float, high: float) -> str:
    if result["interquartile_mean"] is None or not high > low:
        return ""
    start, center, end = (
        _percent(v, low, high) for v in (result["interval"][0], result["interquartile_mean"], result["interval"][1])
    )
    return (
        f'<span class="whisker"><i style="left:{start:.1f}%;width:{end - start:.1f}%"></i>'
        f'<b style="left:{center:.1f}%"></b></span>'
    )


def _percent(value: float, low: float, high: float) -> float:
    return 100 * (value - low) / (high - low)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>" if body else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _pairs(values: Mapping[str, Any]) -> str:
    text = lambda value: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    rows = "\n".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(text(value))}</td></tr>" for name, value in values.items()
    )
    return f'<div class="scroll"><table class="pairs"><tbody>\n{rows}\n</tbody></table></div>'


def _picture(draw: Callable[[str], Any], alt: str) -> str:
    try:
        light, dark = (_png(draw(theme)) for theme in ("light", "dark"))
    except ValueError as error:
        # A run killed before its first evaluation has nothing to draw, and the rest is still worth a page.
        return f'<p class="note">{escape(str(error))}</p>'
    return (
        f'<picture><source srcset="{_data_uri(dark, "png")}" media="(prefers-color-scheme: dark)">'
        f'<img alt="{escape(alt)}" src="{_data_uri(light, "png")}"></picture>'
    )


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _read_json(path: Path, shape: Mapping[str, Any]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    value = reading.json_object(path)
    reading.check_shape(path, value, shape)
    return value


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header><p>{algorithm}</p><h1>{env}</h1></header>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { --page:#f6f7f9; --card:#ffffff; --text:#1f2328; --muted:#656d76; --line:#e2e5e9; --accent:#0072b2;
  --warn:#fff4e5; --warn-line:#d55e00; }
@media (prefers-color-scheme: dark) { :root { --page:#0d1117; --card:#161b22; --text:#e6edf3; --muted:#9198a1;
  --line:#2a313a; --accent:#58a6e8; --warn:#2b1d12; --warn-line:#ff8a4c; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--text); line-height:1.5;
  font:15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width:960px; margin:0 auto; padding:40px 20px 64px; }
header p { margin:0; color:var(--accent); font-weight:600; letter-spacing:.06em; font-size:13px; }
h1 { margin:2px 0 24px; font-size:32px; line-height:1.2; letter-spacing:-.015em; overflow-wrap:anywhere; }
h2 { margin:0 0 14px; font-size:17px; }
section, .tiles, .warnings { background:var(--card); border:1px solid var(--line); border-radius:10px;
  margin:0 0 18px; }
section { padding:20px 22px; }
.tiles { display:grid; grid-template-columns:repeat(auto-fit, minmax(150px, 1fr)); padding:18px 22px;
  gap:16px 24px; }
.tiles dt { color:var(--muted); font-size:13px; }
.tiles dd { margin:0; font-size:26px; font-weight:650; letter-spacing:-.01em; line-height:1.25;
  font-variant-numeric:tabular-nums; }
.tiles small { display:block; font-size:12.5px; font-weight:400; letter-spacing:0; color:var(--muted); }
.warnings { background:var(--warn); border-color:var(--warn-line); padding:12px 16px 12px 34px; }
img { display:block; width:100%; height:auto; }
img.rollout { width:auto; max-width:100%; border-radius:6px; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:14px; font-variant-numeric:tabular-nums; }
th { text-align:left; font-weight:500; color:var(--muted); white-space:nowrap; }
th, td { padding:6px 18px 6px 0; border-bottom:1px solid var(--line); vertical-align:middle; }
tbody tr:last-child > * { border-bottom:0; }
.pairs th { width:1%; padding-right:28px; vertical-align:top; }
td { white-space:nowrap; }
.pairs td { white-space:normal; overflow-wrap:anywhere; }
code, pre { font:13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { margin:0 0 12px; padding:12px 14px; background:var(--page); border:1px solid var(--line);
  border-radius:6px; white-space:pre-wrap; overflow-wrap:anywhere; }
.note { margin:12px 0 0; color:var(--muted); font-size:13.5px; }
.bad { color:var(--warn-line); }
.number { display:inline-block; min-width:64px; }
.bar { display:inline-block; position:relative; width:120px; height:8px; border-radius:4px;
  background:var(--page); overflow:hidden; }
.bar::before { content:""; position:absolute; inset:0 auto 0 var(--left); width:var(--width);
  background:var(--accent); }
.whisker { display:block; position:relative; width:180px; height:14px; }
.whisker i { position:absolute; top:6px; height:2px; background:var(--accent); }
.whisker b { position:absolute; top:2px; width:10px; height:10px; margin-left:-5px; border-radius:50%;
  background:var(--accent); }
@media print { body { background:none; } section { break-inside:avoid; } }
"""
