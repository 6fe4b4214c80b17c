"""What several claims measure alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.claims.training import Tuned
from experiments.claims.verdicts import Finding

Result = tuple[Sequence[Finding], Mapping[str, Any]]
MARGIN = 0.05


def final(curve: np.ndarray) -> np.ndarray:
    """Mean of the last tenth of a curve `[seed, update]`."""
    return curve[:, -max(1, curve.shape[1] // 10) :].mean(axis=1)


def no_loss_of_success(method: Tuned, baseline: Tuned, name: str = "GRPO") -> Finding:
    """That the method's success at the end is at most `MARGIN` below the baseline's."""
    return Finding(
        f"success does not fall by {MARGIN} or more",
        f"final success; the baseline is that of {name} less {MARGIN}",
        final(method.curves["success"]),
        final(baseline.curves["success"]) - MARGIN,
        source="prediction",
    )
