import base64
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from rlx.training.metrics import MetricsTable
from rlx.training.report import render, write_report
from rlx.training.runs import RunError

VOID = {"meta", "img", "source", "br"}
HOSTILE = '<script>alert("x")</script>&'


class Page(HTMLParser):
    """Tags, text and addresses of a document; fails on a tag that closes what is not open."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.addresses, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def metrics(num_runs=4, reports=4, **columns):
    table = MetricsTable()
    rng = np.random.default_rng(0)
    for i in range(1, reports + 1):
        y = 100.0 * i + rng.normal(size=num_runs)
        rows = {
            "seed": np.arange(num_runs),
            **columns,
            "update": i,
            "env_steps": 1000 * i,
            "return_mean": y - 5,
        }
        table.append({**rows, "eval_return_mean": y, "policy_loss": -y, "sps": 10.0, "wall_time": float(i)})
    return table


def summary(returns, **options):
    runs = [
        {
            "seed": seed,
            "hyperparameters": {},
            "final_return": value,
            "final_return_stochastic": value,
            "params_sha256": "ab" * 32,
            "diverged": None if value is not None else {"metric": "value_loss", "update": 34},
        }
        for seed, value in enumerate(returns)
    ]
    times = {"wall_time": 412.0, "compile_time": 14.2, "steps_per_second": 21_034.2}
    return {"algorithm": "ppo", "env": "brax:ant", "total_steps": 4000, "runs": runs, **times, **options}


CONFIG = {
    "algorithm": "ppo",
    "config": {"env": "brax:ant", "note": HOSTILE, "hidden_sizes": [256, 256]},
    "versions": {"jax": "0.10.2"},
    "python": "3.11.7",
    "platform": "Linux",
    "devices": ["cpu:0 cpu"],
    "git": {"commit": "c0ffee", "dirty": True},
    "command": ["rlx", "train", "ppo", "--env", "brax:ant", "--note", "two words"],
}


def test_a_full_run_folder_gives_one_self_contained_page(tmp_path):
    metrics().write(tmp_path / "metrics.parquet")
    (tmp_path / "summary.json").write_text(json.dumps(summary([400.0, 401.0, 402.0, 403.0])))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "rollout.gif").write_bytes(b"GIF89a")
    path = write_report(tmp_path)
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert path == tmp_path / "report.html"
    assert page.addresses and all(address.startswith("data:image/") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "url(" not in html and "@import" not in html
    assert f"data:image/gif;base64,{base64.b64encode(b'GIF89a').decode()}" in page.addresses
    # Light and dark pictures of the learning curve and of the diagnostics, and the rollout.
    assert len(page.addresses) == 5
    for part in (
        *(
            "brax:ant",
            "402",
            "95 % interval",
            "6 min 52 s",
            "of which 14 s compilation",
            "21.0k",
            "cpu:0 cpu",
        ),
        *("c0ffee with uncommitted changes", "rlx train ppo --env brax:ant --note 'two words'"),
        *("jax 0.10.2", "[256, 256]", " ".join(HOSTILE.split()), "abababababab"),
    ):
        assert part in page.text, part


def test_diverged_seeds_are_named():
    page = Page(render(summary=summary([400.0, None, 402.0])))
    assert "1 of 3 runs diverged. Means and intervals are over the others." in page.text
    assert "seed 1: value_loss stopped being finite at update 34." in page.text


def test_what_a_diverged_run_still_collects_does_not_count():
    facts = summary([400.0, None, 400.0])
    facts["runs"][1]["final_return"] = 9999.0
    assert "9,999" not in Page(render(summary=facts)).text


def test_the_page_survives_when_every_seed_diverged():
    table = metrics(2)
    spoiled = MetricsTable(
        {
            name: c * np.nan if name in ("return_mean", "eval_return_mean", "policy_loss") else c
            for name, c in table.columns.items()
        }
    )
    page = Page(render(summary=summary([None, None]), table=spoiled))
    assert "nothing to draw" in page.text
    assert "no finite run" in page.text


def test_settings_of_a_sweep_are_ranked():
    runs = [
        {"seed": seed, "hyperparameters": {"clip": clip}, "final_return": value}
        for clip, values in {0.1: (1.0, 2.0), 0.2: (5.0, 6.0), 0.3: (None, 5.5)}.items()
        for seed, value in enumerate(values)
    ]
    page = Page(render(summary=summary([]) | {"runs": runs}))
    table = page.text[page.text.index("Settings compared") :]
    # Both 0.2 and 0.3 have mean 5.5. The one finite run of 0.3 beats one run of 0.2 and loses to the other.
    assert table.index("clip=0.2") < table.index("clip=0.3") < table.index("clip=0.1")
    assert "1 of 2" in table
    assert "0.25" in table
    assert "0.00" in table


def test_an_unfinished_run_reports_its_latest_evaluation():
    table = metrics(2, clip=np.array([0.1, 0.2]))
    page = Page(render(config={"algorithm": "ppo", "config": {"env": "chain"}}, table=table))
    assert "This run has not ended" in page.text
    assert "chain" in page.text
    assert f"{table['eval_return_mean'][-1]:.0f}" in page.text
    assert "Settings compared" in page.text


def test_an_empty_folder_still_gives_a_page(tmp_path):
    assert "This run has not ended" in Page(write_report(tmp_path).read_text(encoding="utf-8")).text


def test_wrong_folders_and_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        write_report(tmp_path / "missing")
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(RunError, match="summary.json must be a file"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", "{half", "summary.json is not readable as JSON"),
        ("summary.json", "[]", "must hold a JSON object, got list"),
        ("summary.json", '{"a":' * 100_000, "summary.json is not readable as JSON"),
        ("summary.json", '{"algorithm": "\\ud800"}', "summary.json is not readable as JSON"),
        ("summary.json", '{"runs": 3}', "summary.json: runs must be a list, got 3"),
        ("summary.json", '{"runs": [{}]}', r"summary.json: runs\[0\].seed is missing"),
        ("summary.json", '{"runs": [{"seed": "a"}]}', r"runs\[0\].seed must be a number, got 'a'"),
        ("summary.json", '{"wall_time": "a"}', "wall_time must be a number or null, got 'a'"),
        ("summary.json", f'{{"wall_time": {10**400}}}', "wall_time must be a number or null"),
        ("config.json", '{"config": []}', "config.json: config must be an object"),
        ("config.json", '{"git": {"commit": "a"}}', "config.json: git.dirty is missing"),
        ("config.json", '{"versions": {"jax": 1}}', "versions.jax must be a text, got 1"),
        ("config.json", '{"command": "rlx"}', "command must be a list, got 'rlx'"),
        ("metrics.parquet", "PAR1", "metrics.parquet"),
    ],
)
def test_a_file_that_no_run_wrote_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=message) as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert [path.name for path in tmp_path.iterdir()] == [name]
