"""Tables and figures of records of what trained policies reach."""

from __future__ import annotations

import statistics

import numpy as np

from experiments.results.markdown import Content, Table, listed, number, value
from experiments.results.tables import Record, percent, span
from rlx.training.statistics import aggregate, probability_of_improvement


def brax_sac(record: Record) -> Content:
    """Returns of SAC and TD3 beside Brax's SAC."""
    long = 500
    results = record["results"]
    runs = {name: of["runs"] for name, of in results.items()}
    returns = {name: np.asarray(of["eval_return_mean"]) for name, of in runs.items()}
    far = {name: np.asarray(of["eval_episode_length"]) > long for name, of in runs.items()}
    running = np.concatenate([returns[name][far[name]] for name in returns])
    figures = {name: number(of["interquartile_mean"]) for name, of in results.items()}
    figures |= {f"{name}_interval": span(of["interval"]) for name, of in results.items()}
    figures |= {f"{name}_far": str(int(of.sum())) for name, of in far.items()}
    settings = record["settings"]["sac"]
    figures |= {
        "long": str(long),
        "least": number(running.min()),
        "most": number(running.max()),
        "seeds": str(results["brax"]["num_runs"]),
        "steps": f"{settings['total_steps']:,}",
        "env": settings["env"],
        "reach": listed([f"`{name}`" for name, of in results.items() if of.get("reaches_brax")]),
        "reach_not": listed([f"`{name}`" for name, of in results.items() if of.get("reaches_brax") is False]),
        "td3_steps": f"{record['gradient_steps']['td3']:,}",
        "sac_steps": f"{record['gradient_steps']['sac']:,}",
    }
    rows = [
        (
            name,
            number(of["interquartile_mean"]),
            span(of["interval"]),
            number(aggregate(runs[name]["eval_stochastic_return_mean"])["interquartile_mean"]),
            f"{int(far[name].sum())} of {of['num_runs']}",
            {True: "yes", False: "no", None: "–"}[of.get("reaches_brax")],
        )
        for name, of in results.items()
    ]
    columns = (
        "trainer",
        "return, interquartile mean",
        "95 % interval",
        "with exploration",
        f"seeds with episodes beyond {long} steps",
        "reaches Brax's interval",
    )
    count = max(of["num_runs"] for of in results.values())
    each = [(name, *(number(x) for x in values)) for name, values in returns.items()]
    return Content(
        figures,
        [
            Table("Returns of the deterministic policies", columns, rows),
            Table("Return of each seed", ("trainer", *map(str, range(count))), each),
        ],
        record["settings"],
    )


def value_based(record: Record) -> Content:
    """Returns of DQN and PQN, and of PQN beside its authors' code."""
    results, settings = record["results"], record["settings"]
    figures = {name: number(of["interquartile_mean"]) for name, of in results.items()}
    figures |= {f"{name}_interval": span(of["interval"]) for name, of in results.items()}
    figures |= {f"{name}_seeds": str(of["num_runs"]) for name, of in results.items()}
    figures |= {f"{name}_steps": f"{of['curve']['env_steps'][-1]:,}" for name, of in results.items()}
    figures |= {f"{name}_solved": str(_solved(of)) for name, of in results.items()}
    figures["peer"] = record["breakout_purejaxql_is"]
    rows = [
        (
            name,
            f"{of['curve']['env_steps'][-1]:,}",
            number(of["interquartile_mean"]),
            span(of["interval"]),
            number(aggregate(of["runs"]["eval_stochastic_return_mean"])["interquartile_mean"]),
        )
        for name, of in results.items()
    ]
    columns = ("trainer", "environment steps", "return, interquartile mean", "95 % interval", "with exploration")
    count = max(of["num_runs"] for of in results.values())
    blank = lambda values: [*values, *[""] * (count - len(values))]
    each = [(name, *blank([number(x) for x in of["runs"]["eval_return_mean"]])) for name, of in results.items()]
    return Content(
        figures,
        [
            Table("Returns of the deterministic policies", columns, rows),
            Table("Return of each seed", ("trainer", *map(str, range(count))), each),
        ],
        settings,
    )


def _solved(result: Record) -> int:
    """Seeds whose deterministic policy holds CartPole's pole for at least 475 of 500 steps."""
    return sum(x >= 475 for x in result["runs"]["eval_return_mean"])


def memory(record: Record) -> Content:
    """Recurrent PPO beside PPO on single and on stacked observations."""
    figures, rows, each = {}, [], []
    for task, methods in record["results"].items():
        for name, of in methods.items():
            figures[f"{task}_{name}"] = number(of["interquartile_mean"])
            figures[f"{task}_{name}_interval"] = span(of["interval"])
            row = f"{task}: {name}"
            inside = "yes" if of["best_inside_grid"] else "no"
            rate = f"{of['learning_rate']:g}"
            rows.append((row, rate, inside, number(of["interquartile_mean"]), span(of["interval"])))
            each.append((row, *(number(x) for x in of["returns"])))
    columns = ("task and method", "learning rate", "inside the grid", "return, interquartile mean", "95 % interval")
    return Content(
        figures,
        [
            Table("Returns of the deterministic policies", columns, rows),
            Table("Return of each seed", ("task and method", *map(str, range(len(each[0]) - 1))), each),
        ],
        record["settings"],
    )


MEASURES = {
    "accuracy": "greedy accuracy",
    "pass_at_1": "pass@1",
    "pass_at_k": "pass@{k}",
    "majority_at_k": "majority of {k}",
    "entropy": "entropy, nats",
    "length": "length, tokens",
    "kl_to_start": "KL to start, nats",
    "pair_accuracy": "pairs told apart",
    "margin": "margin, nats",
    "chosen_log_prob": "log π(chosen)",
    "rejected_log_prob": "log π(rejected)",
}
"""Measure of a record -> column; what a record does not hold is left out."""
SETTINGS = (
    "learning_rate",
    "warmup_steps",
    "warmup_batch_size",
    "warmup_learning_rate",
    "hidden_size",
    "num_layers",
    "num_prompts",
    "group_size",
    "minibatches",
    "sampled_prompts",
    "samples",
    "batch_size",
    "eval_prompts",
)
"""Settings of language models that their pages show; what a record does not hold is left out."""


def language_methods(record: Record) -> Content:
    """What methods reach that go on from the same warmed-up language models."""
    start, methods, k = record["warm_up"], record["methods"], record["k"]
    first, unit = next(iter(methods)), record.get("steps_name", "responses")
    measured = {"warm-up": start} | {name: of["measures"] for name, of in methods.items()}
    reached = lambda name, measure="accuracy": measured[name][measure]["interquartile_mean"]
    count = len(start["accuracy"]["per_seed"])
    figures = {
        f"{measure}_{name.replace('-', '_')}": percent(of[measure]["interquartile_mean"])
        for name, of in measured.items()
        for measure in ("accuracy", "pass_at_1", "pass_at_k")
    }
    for name in measured:
        low, high = measured[name]["accuracy"]["interval"]
        figures[f"interval_{name.replace('-', '_')}"] = f"{percent(low)} to {percent(high)}"
    fallen = {
        name: sum(end < begin for end, begin in zip(of["accuracy"]["per_seed"], start["accuracy"]["per_seed"]))
        for name, of in measured.items()
        if name != "warm-up"
    }
    worse = [f"{fell} of {count} seeds of {name}" for name, fell in fallen.items() if fell]
    figures["worse"] = listed(worse) if worse else "no seeds"
    figures["below"] = f"{listed(worse) if worse else 'No seed'} ended below {'their' if worse else 'its'} start."
    near = [name for name in methods if abs(reached(name) - reached(first)) <= 0.02]
    narrower = [name for name in methods if reached(name, "pass_at_k") < reached("warm-up", "pass_at_k")]
    seconds = [record[unit] * count / of[f"{unit}_per_second"] for of in methods.values()]
    figures |= {
        "count": str(len(methods)),
        "seeds": str(count),
        "k": str(k),
        unit: f"{record[unit]:,}",
        "far": str(len(methods) - len(near)),
        "narrower": str(len(narrower)),
        "minutes": number(statistics.median(seconds) / 60, 1),
    }
    shown = [measure for measure in MEASURES if measure in methods[first]["measures"]]
    compared, rows = measured[first]["accuracy"]["per_seed"], []
    for name, of in measured.items():
        cells = [number(of[measure]["interquartile_mean"]) if measure in of else "–" for measure in shown]
        better = "–" if name == first else f"{probability_of_improvement(of['accuracy']['per_seed'], compared):.2f}"
        low, high = of["accuracy"]["interval"]
        rows.append((name, cells[0], f"{low:.3f} to {high:.3f}", *cells[1:], better))
    greedy, *others = (MEASURES[measure].format(k=k) for measure in shown)
    columns = ("method", greedy, "95 % interval", *others, f"P(beats {first})")
    each = [(name, *(f"{x:.3f}" for x in of["accuracy"]["per_seed"])) for name, of in measured.items()]
    papers = [(name, of["paper"], number(of[f"{unit}_per_second"])) for name, of in methods.items()]
    return Content(
        figures,
        [
            Table("Interquartile means over seeds", columns, rows),
            Table("Greedy accuracy of each seed", ("method", *map(str, range(count))), each),
            Table("Papers and speed", ("method", "paper", f"{unit}/s, of all seeds"), papers),
        ],
        {
            "task": record["task"],
            "seeds": count,
            f"{unit} of each seed": record[unit],
            "samples of a problem (k)": k,
        }
        | {name: record["settings"][name] for name in SETTINGS if name in record.get("settings", {})},
    )


def reliability(record: Record) -> Content:
    """Kills, wrong commands, damaged files and full disks, and how they are answered."""
    of, figures, tables = record["results"], {}, []
    tried = {name: run["tried_and_survived"] for name, run in of["kills"].items()}
    total = lambda counts, index: sum(count[index] for count in counts.values())
    kills = [
        (
            name,
            *(f"{survived} of {count}" for count, survived in counts.values()),
            f"{total(counts, 1)} of {total(counts, 0)}",
        )
        for name, counts in tried.items()
    ]
    moments = next(iter(tried.values()))
    tables.append(Table("Kills that the run survived bit for bit", ("run", *moments, "in all"), kills))
    figures |= {
        "kills": str(sum(total(counts, 0) for counts in tried.values())),
        "survived": str(sum(total(counts, 1) for counts in tried.values())),
        "killed": listed(list(tried)),
    }
    answered = {"wrong commands": of["commands"]} | {f"damaged {name}": one for name, one in of["files"].items()}
    rows = [(name, str(one["tried"]), str(one["answered_well"])) for name, one in answered.items()]
    tables.append(Table("Answered in one line", ("what", "tried", "answered well"), rows))
    figures |= {
        "commands": str(of["commands"]["tried"]),
        "commands_well": str(of["commands"]["answered_well"]),
        "files": str(sum(one["tried"] for one in of["files"].values())),
        "files_well": str(sum(one["answered_well"] for one in of["files"].values())),
    }
    rows = [
        (
            name,
            *(number(f(one["seconds"]), 1) for f in (statistics.median, max)),
            f"{one['same_end']} of {len(one['seconds'])}",
        )
        for name, one in of["signals"].items()
    ]
    tables.append(
        Table("From a signal to the end of the process", ("signal", "seconds, median", "most", "same end"), rows)
    )
    seconds = [x for one in of["signals"].values() for x in one["seconds"]]
    figures |= {"signal_median": number(statistics.median(seconds), 1), "signal_most": number(max(seconds), 1)}
    same = sum(one["same_end"] for one in of["signals"].values())
    figures |= {"signals": str(len(seconds)), "signals_same": str(same)}
    failed = {name: one for name, one in of["disks"].items() if name != "not_tried"}
    figures |= {
        "disks": str(sum(len(one["codes"]) for one in failed.values())),
        "disks_same": str(sum(one["same_end"] for one in failed.values())),
    }
    rows = [
        (
            name,
            ", ".join(map(str, sorted({*one["codes"]}))),
            f"{max(one['lines'])}",
            one["errors"][-1],
            f"{one['same_end']} of {len(one['codes'])}",
        )
        for name, one in failed.items()
    ]
    columns = ("disk", "exit codes", "lines said, most", "the last of them", "same end when mended")
    tables.append(Table("Disks that fail in the middle of a run", columns, rows))
    rows = [
        (name, number(one["memory_bytes"] / 2**30, 2), number(one["disk_bytes"] / 2**20, 1), f"`{one['command']}`")
        for name, one in of["sizes"].items()
    ]
    tables.append(Table("Memory and disk", ("run", "memory, GiB", "disk, MiB", "command"), rows))
    second = of["company"]
    figures |= {"second_code": str(second["second_code"]), "first": value(second["first_unharmed"])}
    return Content(figures, tables, {name: f"rlx train {words}" for name, words in record["jobs"].items()})


def policy_losses(record: Record) -> Content:
    """Final returns of PPO with one policy loss after another, as `rlx ablate ppo` leaves them in `summary.json`."""
    from rlx.cli.ablate_in_one_program import chosen_settings

    shown = chosen_settings(record)
    returns = {members[0]["label"]: np.array([run["final_return"] for run in members], float) for members in shown}
    first = next(iter(returns.values()))
    rows = []
    for name, values in returns.items():
        of = aggregate(values)
        better = "–" if values is first else f"{probability_of_improvement(values, first):.2f}"
        finite = of["num_finite"] > 0
        shown = (number(of["interquartile_mean"]), span(of["interval"])) if finite else ("diverged", "–")
        rows.append((name, *shown, f"{of['num_finite']} of {of['num_runs']}", better))
    columns = ("method", "final return", "95 % interval", "finite seeds", "P(beats the first)")
    return Content(
        {"count": str(len(returns)), "runs": str(len(record["runs"]))}, [Table("Final returns", columns, rows)], {}
    )
