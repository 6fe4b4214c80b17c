"""Every claim runs, verdicts follow from the numbers, and page and pictures are made of the records."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.claims import history, verdicts
from experiments.claims.__main__ import main
from rlx import catalog
from rlx.cli import run

pytestmark = pytest.mark.long(minutes=0.4)

PAGE = Path(__file__).parents[3] / "docs" / "claims.md"
SEEDS = np.arange(16.0)


def finding(method, baseline, direction="higher", **options):
    return verdicts.Finding("it is so", "number", method, baseline, direction, source="paper", **options)


@pytest.mark.parametrize(
    ("method", "baseline", "direction", "verdict"),
    [
        (SEEDS + 1, SEEDS, "higher", "shown"),
        (SEEDS + 1, SEEDS, "lower", "contradicted"),
        (SEEDS[::-1], SEEDS, "higher", "open"),
        (SEEDS - 1, SEEDS, "lower", "shown"),
        (SEEDS + 1, 0.5, "higher", "shown"),
        (SEEDS, SEEDS, "higher", "open"),
        # A diverged run is as bad as the worst that is finite, whatever the direction.
        (np.where(SEEDS < 12, np.nan, 5.0), np.full(16, 1.0), "higher", "open"),
        (np.where(SEEDS < 2, np.inf, 0.0), np.full(16, 1.0), "lower", "shown"),
    ],
)
def test_verdicts(method, baseline, direction, verdict):
    (judged,) = verdicts.with_verdicts([verdicts.judge(finding(method, baseline, direction))])
    assert judged["verdict"] == verdict and judged["p_holm"] == judged["p"]
    low, high = judged["interval"]
    assert low <= judged["difference"] <= high
    # The interval and p say the same of zero.
    assert (low <= 0 <= high) == (judged["p"] > 0.05)


def test_the_mean_sees_what_an_interquartile_mean_leaves_out():
    # Three of sixteen runs keep something: the middle half does not, and no run keeps less.
    kept = np.where(SEEDS < 3, 4.0, 0.0)
    trimmed, whole = (
        verdicts.judge(finding(kept, 0.0, statistic=statistic)) for statistic in ("interquartile_mean", "mean")
    )
    assert trimmed["difference"] == 0 and trimmed["p"] > 0.05
    np.testing.assert_allclose([whole["difference"], whole["method"]], 0.75)
    # One in thirty of the resamples has none of the three; with so few seeds there is no more to know.
    np.testing.assert_allclose(whole["p"], 2 * (13 / 16) ** 16, rtol=0.15)
    six = verdicts.judge(finding(np.where(SEEDS < 6, 4.0, 0.0), 0.0, statistic="mean"))
    assert verdicts.with_verdicts([six])[0]["verdict"] == "shown"


def holm(p):
    """Adjusted p-values as Holm (1979) steps down: with the k-th smallest for k = 0, 1, ..., stop at the first kept."""
    adjusted = np.empty(len(p))
    for i, own in enumerate(p):
        # The lowest level at which the step-down procedure rejects this hypothesis.
        smaller = [other for j, other in enumerate(p) if (other, j) <= (own, i)]
        adjusted[i] = max((len(p) - rank) * other for rank, other in enumerate(sorted(smaller)))
    return np.minimum(adjusted, 1)


@pytest.mark.parametrize("seed", range(4))
def test_p_values_are_multiplied_as_holm_does(seed):
    rng = np.random.default_rng(seed)
    p = rng.choice([0.0002, 0.004, 0.011, 0.012, 0.02, 0.04, 0.3], size=6)
    side = rng.choice([-1.0, 1.0], size=6)
    judged = [{"p": float(x), "difference": d, "direction": "higher"} for x, d in zip(p, side, strict=True)]
    found = verdicts.with_verdicts(judged)
    np.testing.assert_allclose([of["p_holm"] for of in found], holm(p))
    expected = np.where(holm(p) >= 0.05, "open", np.where(side > 0, "shown", "contradicted"))
    assert [of["verdict"] for of in found] == expected.tolist()


def test_more_statements_need_stronger_evidence():
    noise = np.random.default_rng(0).normal(size=16)
    # The mean is 2.4 times its standard error.
    near = verdicts.judge(finding((noise - noise.mean()) / noise.std() + 0.6, 0.0, statistic="mean"))
    assert 0.01 < near["p"] < 0.05
    alone = verdicts.with_verdicts([near])
    among = verdicts.with_verdicts([near] * 8)
    assert alone[0]["verdict"] == "shown" and {of["verdict"] for of in among} == {"open"}


@pytest.mark.slow
@pytest.mark.parametrize("name", verdicts.claims())
def test_a_claim_runs(name):
    claim = verdicts.claims()[name]
    record = verdicts.record(name, claim, claim.quick)
    json.dumps(record)
    assert record["findings"] and all(len(finding["interval"]) == 2 for finding in record["findings"])
    assert {finding["source"] for finding in record["findings"]} <= verdicts.EXPECTED_BY.keys()
    assert claim.bench in verdicts.BENCHES
    if claim.bench == "datasets":
        assert all(finding["data"] for finding in record["findings"])
    if record["curves"] is not None:
        points = len(record["curves"]["x"])
        lines = [values for panel in record["curves"]["panels"].values() for values in panel.values()]
        assert lines and all(np.shape(values) == (claim.quick.num_seeds, points) for values in lines)
    known = catalog.public_functions()
    assert [function for function in claim.functions if function not in known] == []


def made_up(size):
    rng = np.random.default_rng(0)
    better = rng.normal(1, 0.1, size=(size.num_seeds, 3))
    worse = np.where(np.arange(3) < 2, better - 1, np.nan)
    curves = verdicts.Curves(np.arange(3), "updates", "score", {"score": {"method": better, "baseline": worse}})
    findings = [
        finding(better[:, 0], worse[:, 0], data="a log of 100 rows"),
        verdicts.Finding("control: so it is", "number", better[:, 0], 0.0, "lower", source="prediction"),
    ]
    return findings, {"rate": 0.1}, curves


CLAIM = verdicts.Claim(
    "Some", "(Body, 2026)", (), made_up, verdicts.Size(8, 5), data="nothing", right_bench="It takes a bigger one"
)


def test_records_hold_all_that_page_and_picture_show(tmp_path, monkeypatch):
    record = verdicts.record("some", CLAIM, CLAIM.size)
    path = verdicts.save(record, tmp_path)
    assert (tmp_path / "some.png").stat().st_size > 1000
    (restored,) = verdicts.results(tmp_path)
    assert restored == json.loads(path.read_text()) == record
    first, second = restored["findings"]
    assert first["data"] == "a log of 100 rows" and second["data"] == "nothing"
    # One value for each seed: the numbers of the page can be had from them again.
    values = first["per_seed"]
    assert len(values["method"]) == len(values["baseline"]) == 8
    again = verdicts.judge(finding(np.array(values["method"]), np.array(values["baseline"])))
    np.testing.assert_allclose(again["difference"], first["difference"], rtol=1e-4)
    np.testing.assert_allclose(again["interval"], first["interval"], rtol=1e-4)
    monkeypatch.setattr(verdicts, "claims", lambda: {"some": CLAIM})
    page = verdicts.markdown([restored])
    assert "| a log of 100 rows | number |" in page and "claims/some.png" in page
    assert page.count("It takes a bigger one.") == 1
    assert "Of 2 statements 1 are shown, 0 are open and 1 are contradicted. 1 of them are" in page

    # Pictures are drawn of records alone: nothing runs, and no claim of that name needs to exist.
    monkeypatch.setattr(verdicts, "RESULTS", tmp_path)
    monkeypatch.setattr(verdicts, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(verdicts, "claims", lambda: pytest.fail("claims were looked up"))
    assert run(main, ["--pictures"]) == 0
    assert (tmp_path / "pictures" / "some.png").read_bytes() == (tmp_path / "some.png").read_bytes()


def test_records_are_those_of_claims_and_the_page_shows_them():
    records = verdicts.results()
    assert {record["name"] for record in records} <= verdicts.claims().keys()
    assert history.EARLIER_DESIGNS.keys() <= verdicts.claims().keys()
    for record in records:
        seeds = {finding["num_seeds"] for finding in record["findings"]}
        assert min(seeds) >= 8, record["name"]
        assert record["has_picture"] == (PAGE.parent / "claims" / f"{record['name']}.png").exists(), record["name"]
    assert PAGE.read_text() == verdicts.markdown(records), "docs/claims.md is stale: run make docs"


def test_the_command(tmp_path, capsys):
    name = min(verdicts.claims())
    assert run(main, []) == 0
    assert name in capsys.readouterr().out
    assert run(main, ["qqq"]) == 2
    assert "no claim 'qqq'" in capsys.readouterr().err
