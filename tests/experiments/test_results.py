"""The pages of measurements are those that the records give, every record has one, and their arithmetic is right."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks.__main__ import benchmarks
from experiments.results import markdown, outcomes, tables
from experiments.results.__main__ import main
from experiments.results.pages import PAGES, written

PAGES_FOLDER = markdown.ROOT / "docs" / "results"
MACHINE = {
    "device": "Example 9000",
    "platform": "gpu",
    "processor": "A processor",
    "cores": 4,
    "load_average": [0.5, 0.4, 0.3],
    "python": "3.11.7",
    "versions": {"jax": "0.10.2"},
}


def test_pages_are_those_of_the_records():
    pages = written()
    assert {path.name for path in PAGES_FOLDER.iterdir()} == pages.keys()
    for name, text in pages.items():
        assert (PAGES_FOLDER / name).read_text(encoding="utf-8") == text, f"docs/results/{name} is stale: run make docs"


def test_the_command_writes_them(tmp_path):
    assert main(["--out", str(tmp_path / "pages")]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "pages").iterdir()} == written()


def test_every_record_and_every_benchmark_has_a_page():
    shown = [path for page in PAGES.values() for path, _ in markdown.records_of(page).values()]
    folders = (markdown.EXPERIMENTS / "benchmarks" / "results", markdown.EXPERIMENTS / "results")
    assert sorted(shown) == sorted(path for folder in folders for path in folder.rglob("*.json"))
    assert benchmarks().keys() <= PAGES.keys()


def test_every_reading_and_picture_is_of_a_record_or_of_a_file():
    for name, page in PAGES.items():
        known = markdown.records_of(page).keys()
        assert page.readings.keys() <= known, name
        for picture, _ in page.pictures.values():
            assert (markdown.ROOT / "docs" / picture).exists(), picture


def efficiency(share):
    """A record in which physics and gradients take a share of each of five updates."""
    seconds = {"training": [2.0] * 5, "environment": [share] * 5, "gradients": [share] * 5}
    of = {
        "settings": {"env": "rlx:pendulum", "num_envs": 1024, "hidden_sizes": [8, 8]},
        "efficiency": share,
        "steps_per_second": 12345.6,
        "seconds": seconds | {"environment_without_reset": [share / 2] * 5},
    }
    return {"machine": MACHINE, "results": {"inverted_pendulum": of, "ant": of | {"settings": {"env": "brax:ant"}}}}


def test_a_page_shows_the_numbers_of_its_record():
    content = tables.efficiency(efficiency(0.75))
    assert content.figures["ant_share"] == "0.75" and content.figures["ant_speed"] == "12,346"
    assert content.figures["ant_resets"] == "+100.0"  # a step without resets takes half the time
    assert content.tables[0].rows[0][:4] == ("inverted_pendulum", "12,346", "0.75", "0.750 to 0.750")
    assert content.tables[1].rows[0] == ("training", "2,000", "2,000 to 2,000", "5")


def test_a_record_of_another_device_has_its_own_part_without_the_text_of_this_one(tmp_path):
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    for device, share in (("cpu-2-cores", 0.5), ("example-9000", 0.25)):
        (folder / f"efficiency-{device}.json").write_text(json.dumps(efficiency(share)))
    page = PAGES["efficiency"]
    records = markdown.records_of(page, tmp_path)
    assert list(records) == ["cpu-2-cores", "example-9000"]
    # Links are those of files in the repository.
    records = {end: (markdown.ROOT / path.name, record) for end, (path, record) in records.items()}
    first, second = markdown.render(page, records).split("## Example 9000 (A processor, 4 cores)\n")[1:]
    assert "make up 0.50" in first and "make up" not in second
    assert "| ant | 12,346 | 0.25 | 0.250 to 0.250 | 0.9 |" in second
    assert "- Python 3.11.7, jax 0.10.2" in second


def test_settings_that_differ_are_a_table():
    lines = markdown.settings(
        {"a": {"n": 1000, "deep": {"x": True}}, "b": {"n": 1000, "deep": {"x": None}, "own": [2, 3]}}
    )
    assert lines == [
        "- n: 1,000",
        "",
        "| what differs | a | b |",
        "| --- | --- | --- |",
        "| deep.x | yes | none |",
        "| own | – | 2 × 3 |",
    ]


@pytest.mark.parametrize(
    ("x", "shown"), [(0.0, "0.00"), (0.8637, "0.864"), (12.34, "12.3"), (-169.4, "-169"), (54995.4, "54,995")]
)
def test_numbers_have_three_digits(x, shown):
    assert markdown.number(x) == shown


def test_methods_of_language_models_are_counted_by_their_distance_from_grpo():
    def measures(accuracy, k):
        of = lambda x: {"per_seed": [x] * 4, "interquartile_mean": x, "interval": [x, x]}
        return {name: of(accuracy) for name in outcomes.MEASURES} | {"pass_at_k": of(k)}

    method = lambda *reached: {"paper": "Us, 2026", "responses_per_second": 10.0, "measures": measures(*reached)}
    record = {
        "task": "sorting",
        "k": 16,
        "responses": 300,
        "warm_up": measures(0.25, 0.9),
        "methods": {"grpo": method(0.5, 0.8), "near": method(0.515, 0.95), "far": method(0.4, 0.5)},
    }
    content = outcomes.language_methods(record)
    figures = content.figures
    assert (figures["count"], figures["far"], figures["narrower"], figures["minutes"]) == ("3", "1", "2", "2")
    assert (figures["accuracy_warm_up"], figures["interval_grpo"], figures["pass_at_k_near"]) == (
        "25",
        "50 to 50",
        "95",
    )
    rows = {row[0]: row for row in content.tables[0].rows}
    assert [rows[name][-1] for name in ("warm-up", "grpo", "near", "far")] == ["0.00", "–", "1.00", "0.00"]


def test_an_ablation_shows_the_seeds_that_its_setting_was_not_chosen_on():
    def run(method, label, seed, final):
        return {"hyperparameters": {"method": method}, "label": label, "seed": seed, "final_return": final}

    runs = [run(0, "clipped", seed, 1.0) for seed in range(4)]
    runs += [run(1, "rate=1", seed, final) for seed, final in enumerate([9.0, 9.0, 2.0, 4.0])]
    runs += [run(1, "rate=2", seed, final) for seed, final in enumerate([8.0, 8.0, 50.0, 50.0])]
    runs += [run(2, "unclipped", seed, None) for seed in range(4)]
    [table] = outcomes.policy_losses({"runs": runs}).tables
    assert [row[:2] for row in table.rows] == [("clipped", "1.00"), ("rate=1", "3.00"), ("unclipped", "diverged")]
    assert [row[3] for row in table.rows] == ["4 of 4", "2 of 2", "0 of 4"]


def test_an_accelerator_that_is_full_says_so():
    row = {"env": "brax:ant", "num_envs": 4096, "seeds": 1}
    record = {
        "training": [row | {"steps_per_second": 1e6}, row | {"seeds": 32, "error": "RESOURCE_EXHAUSTED"}],
        "environments": [row | {"steps_per_second": 2e6}],
        "most_environments": 4096,
        "settings": {},
    }
    content = tables.gpu(record)
    assert [cells[-1] for cells in content.tables[0].rows] == ["1,000,000", "out of memory"]
    assert content.figures["fastest"] == "1,000,000" and content.figures["most"] == "4,096"


def test_intervals_of_ratios_are_of_pairs():
    # The machine was twice as slow in half of the pairs, which changes none of the ratios.
    load = np.array([1.0, 2.0] * 4)
    assert tables.ratio_row(3 * load, 4 * load) == "0.750 to 0.750"


def test_a_picture_without_a_record_says_so():
    text = markdown.render(PAGES["policy_losses"], {})
    assert "There is no record" in text and "whose record was not kept" in text
    assert Path(PAGES["policy_losses"].pictures[""][0]).name in text
