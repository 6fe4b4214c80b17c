"""Hyperparameters of language models that suit a task, or weights that are loaded."""

from collections.abc import Mapping

from rlx.recipes.presets.preset import Preset


def _pretrained(source: str, learning_rate: float) -> Preset:
    # What is loaded needs no warm-up on a task's own solutions, and one run of it is what a machine has room for. A
    # file has so many test prompts that 16 responses to each, in every evaluation, would take longer than the training.
    overrides = dict(warmup_steps=0, learning_rate=learning_rate, measure_drift=False, eval_samples=4)
    return Preset(source, overrides, options={"seeds": 1})


_PRETRAINED = {
    "pretrained weights": _pretrained("the defaults of TRL's GRPO and DPO trainers", 1e-6),
    "adapters to pretrained weights": _pretrained("ten times the rate of whole weights, as adapters are given", 1e-5),
}

_MEASURED = dict(learning_rate=2e-4, total_steps=15_360)
GRPO: Mapping[str, Preset] = _PRETRAINED | {
    # Of the 8 seeds of each record none ended below its start.
    "addition": Preset("measured here: docs/results/language_methods_addition.md", _MEASURED),
    "countdown": Preset("measured here: docs/results/language_methods_countdown.md", _MEASURED),
}
"""Task, or kind of weights → hyperparameters of GRPO."""

DPO: Mapping[str, Preset] = _PRETRAINED | {
    # At the default of 1e-4 policies end far below their start. At this rate one of 8 seeds does.
    "addition": Preset(
        "measured here: docs/results/preference_methods_addition.md", dict(learning_rate=1e-5, total_steps=8192)
    ),
}
"""Task, or kind of weights → hyperparameters of DPO."""
