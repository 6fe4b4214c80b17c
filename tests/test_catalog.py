"""The catalog finds every function, reads the docstrings right, and its page is the one in the repository."""

from pathlib import Path

import pytest

from rlx import catalog
from rlx.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "functions.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == catalog.markdown(catalog.entries()), "docs/functions.md is stale: run make docs"


def test_an_entry_says_what_the_docstring_says() -> None:
    (entry,) = (entry for entry in catalog.entries() if entry.name == "rlx.losses.policy.clipped_surrogate")
    assert entry.slot == "losses.policy"
    assert entry.summary.startswith("PPO's clipped surrogate")
    assert entry.papers == ("1707.06347", "1912.09729", "2503.14476")
    assert entry.sources == (
        "Schulman et al., 2017 (1707.06347)",
        "Ye et al., 2019 (1912.09729)",
        "Yu et al., 2025 (2503.14476)",
    )
    assert not entry.reconstruction


def test_every_paper_is_cited_once_with_its_authors() -> None:
    for entry in catalog.entries():
        assert entry.sources, f"no reference of {entry.name} reads: Authors, year, title, arXiv"
        cited = [source.rpartition("(")[2].rstrip(")") for source in entry.sources if source.endswith(")")]
        assert set(cited) == set(entry.papers), f"{entry.name}: a reference is not of the form of the others"


def test_search_by_word_and_by_paper() -> None:
    names = {entry.name for entry in catalog.entries(paper="arXiv:2402.03300")}
    assert "rlx.returns.group_relative" in names and "rlx.returns.gae" not in names
    assert catalog.entries(search="no function says this") == []


METHODS = {
    "AEPO": ("sampling temperature", "controllers.entropy_temperature"),
    "AWR": ("weighted behavior cloning", "weighting.advantage_weight"),
    "BAPO": ("clip bounds", "controllers.balanced_clip"),
    "CDSA": ("corrected by the score", "policies.score_corrected_action"),
    "COCOA": ("anchor", "policies.seek_anchor"),
    "CREAM": ("best and the worst", "data.best_worst_pair"),
    "Clip-Cov": ("covariance", "diagnostics.advantage_covariance"),
    "DPO": ("preference", "losses.preference.dpo"),
    "DR-PO": ("prefix mask", "data.prefix_mask"),
    "EDM": ("sampler", "policies.edm_sample"),
    "GAE": ("advantage", "returns.gae"),
    "GRPO": ("group relative", "returns.group_relative"),
    "HAPO": ("correct response", "controllers.best_length"),
    "IQL": ("expectile", "losses.value.expectile"),
    "ODICE": ("orthogonal", "transforms.orthogonalize"),
    "PA-RL": ("gradient ascent", "policies.refine_actions"),
    "PPO": ("adaptive coefficient", "controllers.adaptive_kl"),
    "PRDC": ("nearest", "data.nearest_neighbor"),
    "R2VPO": ("Lagrange multiplier", "controllers.lagrange_multiplier"),
    "SAC": ("entropy temperature", "controllers.entropy_temperature_loss"),
    "SACo": ("coverage", "diagnostics.state_action_coverage"),
    "SALSA": ("average", "transforms.average_parameters"),
    "TD3": ("policy smoothing", "policies.target_policy_smoothing"),
    "maj@k": ("majority", "diagnostics.majority_at_k"),
    "min-p": ("improbable", "policies.filtered_log_prob"),
    "pass@k": ("at least one", "diagnostics.pass_at_k"),
}
"""Words of the idea and the function of each name that people search for."""


@pytest.mark.parametrize("method", METHODS)
def test_search_finds_the_acronym_and_the_idea(method) -> None:
    idea, function = METHODS[method]
    for words in (method, method.lower(), method.replace("-", "_"), idea):
        assert f"rlx.{function}" in {entry.name for entry in catalog.entries(search=words)}, words


def test_search_reads_over_the_end_of_a_line() -> None:
    doc = catalog.public_functions()["rlx.controllers.balanced_clip"].__doc__
    assert "its logarithm bounded" in doc and "bounds (lower, upper) are\n" in doc
    assert "rlx.controllers.balanced_clip" in {e.name for e in catalog.entries(search="(lower, upper) are P")}


def test_the_command_lists_finds_and_explains(capsys) -> None:
    assert main(["functions", "--search", "clip", "--paper", "1707.06347"]) == 0
    assert "clipped_surrogate" in capsys.readouterr().out
    assert main(["functions", "clipped_surrogate"]) == 0
    assert "L = max(−A·r" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["clipped_surogate"], "clipped_surrogate"), (["--search", "qqq"], "no function matches 'qqq'")],
)
def test_what_is_not_there_is_said(capsys, arguments, message) -> None:
    assert main(["functions", *arguments]) == 2
    assert message in capsys.readouterr().err
