"""Tables and figures of records of speed. What is recorded is shown as it is; intervals are added where repetitions are
recorded one by one."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.results.markdown import ROOT, Content, Table, listed, number
from rlx.training.statistics import aggregate, bootstrap_interval

Record = Mapping[str, Any]


def constant(module: str, name: str) -> Any:
    """A literal of a module, which is not imported."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    found = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    ]
    return ast.literal_eval(found[0])


def percent(x: float) -> str:
    """A share in percent, without the sign."""
    return f"{100 * x:.0f}"


def span(interval: Sequence[float], form: str = "{}") -> str:
    """An interval in words."""
    return " to ".join(form.format(number(end)) for end in interval)


def ratio_row(numerator: Sequence[float], denominator: Sequence[float]) -> str:
    """The 95 % bootstrap interval of the median of ratios pair by pair, as benchmarks take it."""
    pairs = np.asarray(numerator) / np.asarray(denominator)
    return span([float(end) for end in bootstrap_interval(pairs, statistic=np.median)])


def times(title: str, seconds: Mapping[str, Sequence[float]]) -> Table:
    """Programs that were timed in turn."""
    rows = []
    for name, values in seconds.items():
        of = aggregate(values)
        interval = span([1e3 * end for end in of["interval"]])
        rows.append((name, number(1e3 * of["interquartile_mean"]), interval, str(len(values))))
    return Table(title, ("program", "milliseconds, interquartile mean", "95 % interval", "repetitions"), rows)


def efficiency(record: Record) -> Content:
    """Share of physics and gradients in an update of PPO."""
    targets = constant("experiments.benchmarks.efficiency", "TARGETS")
    figures, rows, tables = {}, [], []
    for task, of in record["results"].items():
        seconds = of["seconds"]
        bare = np.add(seconds["environment"], seconds["gradients"])
        resets = np.median(np.divide(seconds["environment"], seconds["environment_without_reset"])) - 1
        figures |= {
            f"{task}_share": f"{of['efficiency']:.2f}",
            f"{task}_speed": number(of["steps_per_second"]),
            f"{task}_target": f"{targets[task]}",
            f"{task}_resets": f"{100 * resets:+.1f}",
        }
        share = f"{of['efficiency']:.2f}"
        speed = number(of["steps_per_second"])
        rows.append((task, speed, share, ratio_row(bare, seconds["training"]), f"{targets[task]}"))
        tables.append(times(f"Times: {task}", seconds))
    columns = ("task", "environment steps/s", "(environment + gradients) / training", "95 % interval", "target")
    settings = {task: of["settings"] for task, of in record["results"].items()}
    return Content(figures, [Table("Share of physics and gradients", columns, rows), *tables], settings)


def peers(record: Record) -> Content:
    """Training speed beside Brax's PPO and a PureJaxRL-style loop."""
    target = constant("experiments.benchmarks.peers", "TARGET")
    names = {"brax": "Brax's PPO", "purejaxrl": "PureJaxRL-style loop"}
    figures, rows, tables = {"target": f"{target}"}, [], []
    reached = []
    for task, of in record["results"].items():
        for peer, name in names.items():
            faster = of["rlx_is_faster_by"][peer]
            figures[f"{task}_{peer}"] = f"{faster:.2f}"
            rows.append(
                (
                    f"{task}, {name}",
                    number(of["steps_per_second"]["rlx"]),
                    number(of["steps_per_second"][peer]),
                    f"{faster:.2f}",
                    ratio_row(of["seconds"][peer], of["seconds"]["rlx"]),
                )
            )
            if faster >= target:
                reached.append(f"{name} on `{of['settings']['env']}`")
        tables.append(times(f"Times: {task}", of["seconds"]))
    figures["reached"] = listed(reached)
    columns = ("task and peer", "rlx, steps/s", "peer, steps/s", "rlx is faster by", "95 % interval")
    settings = {task: of["settings"] for task, of in record["results"].items()}
    return Content(figures, [Table("Speed of training", columns, rows), *tables], settings)


def seeds(record: Record) -> Content:
    """What seeds and environments cost."""
    figures, tables, settings = {}, [], {"small runs": record["small"]["settings"]}

    def costs(row: dict[str, Any]) -> tuple[str, ...]:
        names = ("cost_in_one_program", "cost_as_trained", "one_program_over_as_trained")
        one = aggregate(row["seconds"]["one"])["interval"]
        return (*(f"{row[name]:.2f}" for name in names), number(row["steps_per_second"]), span([1e3 * x for x in one]))

    columns = (
        "seeds",
        "cost in one program / one seed",
        "cost as trained / one seed",
        "one program / as trained",
        "steps/s as trained",
        "one seed in the same minutes, ms, 95 % interval",
    )
    for network, of in record["results"].items():
        settings[network] = of["settings"]
        for row in of["seeds"]:
            figures[f"together_{network}_{row['seeds']}"] = number(row["cost_in_one_program"], 2)
            figures[f"trained_{network}_{row['seeds']}"] = number(row["cost_as_trained"], 2)
        rows = [(str(row["seeds"]), *costs(row)) for row in of["seeds"]]
        tables.append(Table(f"Seeds, networks {network}", columns, rows))
        rows = [
            (
                f"{row['num_envs']:,}",
                number(row["steps_per_second"]),
                number(1e3 * aggregate(row["seconds"])["interquartile_mean"]),
                span([1e3 * end for end in aggregate(row["seconds"])["interval"]]),
            )
            for row in of["environments"]
        ]
        of_environments = ("environments", "steps/s", "update, ms, interquartile mean", "95 % interval")
        tables.append(Table(f"Environments of one seed, networks {network}", of_environments, rows))
    small = record["small"]["seeds"]
    for row in small:
        figures[f"small_{row['num_envs']}_{row['seeds']}"] = f"{1 / row['one_program_over_as_trained']:.2f}"
    rows = [(f"{row['num_envs']} environments, {row['seeds']} seeds", *costs(row)) for row in small]
    tables.append(Table("Small runs", ("run", *columns[1:]), rows))
    return Content(figures, tables, settings)


def language_memory(record: Record) -> Content:
    """Temporaries of a gradient step on a language model."""
    settings = record["settings"]
    whole = settings["prompts"] * settings["group"] // settings["minibatches"]
    at_once = lambda row: row["microbatch_size"] or whole
    figures = {
        "responses": str(settings["prompts"] * settings["group"]),
        "minibatch": str(whole),
        "state": f"{record['results'][0]['argument_bytes'] / 2**30:.1f}",
    }
    for row in record["results"]:
        figures[f"gib_{at_once(row)}_{row['length']}"] = f"{row['temporary_bytes'] / 2**30:.1f}"
    columns = ("responses at a time, tokens of a response", "temporaries, GiB", "state and batch, GiB")
    rows = [
        (
            f"{at_once(row)}, {row['length']:,}",
            f"{row['temporary_bytes'] / 2**30:.2f}",
            f"{row['argument_bytes'] / 2**30:.2f}",
        )
        for row in record["results"]
    ]
    return Content(figures, [Table("Memory of an update", columns, rows)], settings)


def startup(record: Record) -> Content:
    """Time to the first finished update."""
    figures, rows = {}, []
    for task, of in record["results"].items():
        for cache, runs in of.items():
            median = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
            figures[f"{task}_{cache}"] = f"{median['total']:.0f}"
            each = ", ".join(f"{run['total']:.1f}" for run in runs)
            stages = (f"{median[stage]:.1f}" for stage in ("imports", "init", "update", "total"))
            rows.append((f"{task}, {cache} cache", *stages, each))
    columns = (
        "task",
        "imports, s",
        "initialization, s",
        "first update, s",
        "total, s, median",
        "total of each start, s",
    )
    return Content(
        figures, [Table("Seconds to the first finished update", columns, rows)], {"tasks": list(record["results"])}
    )


def offline(record: Record) -> Content:
    """Speed of learning from a dataset."""
    program, search = record["program"], record["search"]
    cost, speed = program["cost_in_seeds"], program["updates_per_second"]
    seconds = program["seconds"]
    figures = {
        "over_bare": f"{program['program_over_bare']:.2f}",
        "floor": f"{constant('experiments.benchmarks.offline', 'FLOOR')}",
        "seeds": str(program["seeds"]),
        "devices": str(program["seeds_over_devices"]),
        "trained": number(cost["seeds_as_trained"], 2),
        "vmap": number(cost["seeds_in_one_program"], 2),
        "rows": f"{search['rows']:,}",
        "batch": str(record["settings"]["batch_size"]),
        "search": number(1e3 * search["seconds_per_search"]["search"]),
        "tree": number(1e3 * search["seconds_per_search"]["tree"]),
        "prdc": number(1e3 * search["seconds_per_update"]["prdc"]),
        "td3_bc": number(1e3 * search["seconds_per_update"]["td3_bc"]),
    }
    rows = [
        (
            name,
            number(speed[name]),
            f"{cost[name]:.2f}" if name in cost else "–",
            ratio_row(seconds[name], seconds["program"]) if name in cost else "–",
        )
        for name in speed
    ]
    columns = ("program", "updates/s, of all seeds", "cost / one seed's program", "95 % interval")
    of_search = [
        (name, number(1e3 * x))
        for kind in ("seconds_per_update", "seconds_per_search")
        for name, x in search[kind].items()
    ]
    return Content(
        figures,
        [
            Table("Updates per second", columns, rows),
            times("Times of the programs", seconds),
            Table("PRDC: an update, and a search for a minibatch", ("", "milliseconds, median"), of_search),
            times("Times of PRDC", search["seconds"]),
        ],
        record["settings"],
    )


def tokens(record: Record) -> Content:
    """Speed of sampling from language models and of learning."""
    figures, tables = {}, []
    bounds = {
        "sampling": ("bare_decode", "sampling"),
        "decode": ("bare_decode", "decode"),
        "learning": ("bare_gradient", "gradient_step"),
        "learning_with_step": ("bare_step", "gradient_step"),
    }
    for size, of in record["results"].items():
        seconds = of["seconds"]
        figures |= {f"{size}_{name}": f"{x:.2f}" for name, x in of["ratios"].items()}
        figures |= {f"{size}_share_{name}": percent(x) for name, x in of["shares"].items()}
        figures[f"{size}_millions"] = number(of["parameters"] / 1e6, 2)
        figures[f"{size}_sequences"] = str(of["settings"]["num_prompts"] * of["settings"]["group_size"])
        rows = [
            (
                name,
                f"{of['ratios'][name]:.2f}",
                ratio_row(*(seconds[part] for part in parts)),
                str(record["targets"].get(name, "–")),
            )
            for name, parts in bounds.items()
        ]
        title = f"{size}: {of['parameters']:,} parameters, speed over that of bare steps"
        tables.append(Table(title, ("", "ratio", "95 % interval", "target"), rows))
        rows = [(name, f"{percent(x)} %") for name, x in of["shares"].items()]
        tables.append(Table(f"{size}: shares of an update", ("part", "share"), rows))
        rows = [(name, number(x)) for name, x in of["new_tokens_per_second"].items()]
        tables.append(Table(f"{size}: new tokens per second", ("program", "tokens/s"), rows))
        tables.append(times(f"{size}: times", seconds))
    figures |= {f"target_{name}": f"{x}" for name, x in record["targets"].items()}
    return Content(figures, tables, {size: of["settings"] for size, of in record["results"].items()})


def functions(record: Record) -> Content:
    """Cost of functions over a copy of the same bytes."""
    limit = constant("experiments.benchmarks.functions", "LIMIT")
    ordered = sorted(record["elementwise"].items(), key=lambda item: -item[1]["ratio"])
    above = [(name, of) for name, of in ordered if of["ratio"] > limit]
    logits = record["vocabulary"]
    figures = {
        "count": str(len(ordered)),
        "limit": number(limit, 1),
        "within": str(len(ordered) - len(above)),
        "median": f"{statistics.median(of['ratio'] for _, of in ordered):.1f}",
        "dearest": ", ".join(f"`{name}` ({number(of['ratio'], 2)})" for name, of in ordered[:3]),
        "memory": number(max(of["temporary_over_logits"] for of in logits.values()), 2),
        "elements": f"{record['elements']:,}",
        "shape": " × ".join(map(str, record["vocabulary_shape"])),
    }
    rows = [
        (
            f"`{name}`",
            str(len(of["inputs"])),
            str(len(of["gradients"])),
            f"{1e3 * of['seconds']:.1f}",
            f"{1e3 * of['copy_seconds']:.1f}",
            f"{of['ratio']:.2f}",
            f"{of['bytes_ratio']:.2f}",
        )
        for name, of in ordered
    ]
    columns = ("function", "arrays in", "gradients", "ms", "copy, ms", "time / copy", "bytes / least")
    of_logits = [
        (f"`{name}`", f"{of['seconds']:.2f}", f"{of['temporary_over_logits']:.2f}", f"{of['bytes_over_logits']:.1f}")
        for name, of in logits.items()
    ]
    return Content(
        figures,
        [
            Table(f"Value and gradient of {record['elements']:,} elements", columns, rows),
            Table(
                f"Value and gradient at {figures['shape']} logits; memory in units of the logits",
                ("function", "s", "temporary memory", "bytes accessed"),
                of_logits,
            ),
        ],
        {"elements": record["elements"], "logits": record["vocabulary_shape"]},
    )


def gpu(record: Record) -> Content:
    """Training speed on an accelerator."""
    speed = lambda row: number(row["steps_per_second"]) if "error" not in row else "out of memory"
    columns = ("task", "environments", "seeds", "steps/s")
    tables = [
        Table(title, columns, [(r["env"], f"{r['num_envs']:,}", str(r["seeds"]), speed(r)) for r in record[kind]])
        for title, kind in (("Training", "training"), ("The most environments of one seed", "environments"))
    ]
    best = max((row for row in record["training"] if "error" not in row), key=lambda row: row["steps_per_second"])
    figures = {
        "fastest": number(best["steps_per_second"]),
        "env": best["env"],
        "seeds": str(best["seeds"]),
        "most": f"{record['most_environments']:,}",
    }
    return Content(figures, tables, record["settings"])
