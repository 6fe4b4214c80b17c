"""Returns of a random and of an expert policy, between which scores are normalized."""

import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from rlx.data.dataset import DatasetError

MINIMUM, MAXIMUM = "ref_min_score", "ref_max_score"
"""The names under which a file's metadata hold them, those that Minari gave them."""


class ReferenceScores(NamedTuple):
    """Arguments of `rlx.diagnostics.normalized_score`.

    Attributes:
        minimum: return of a uniformly random policy.
        maximum: return of an expert.
        source: where the two come from.
    """

    minimum: float
    maximum: float
    source: str


D4RL: Mapping[str, tuple[float, float]] = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
    "maze2d-open": (0.01, 20.66),
    "maze2d-umaze": (23.85, 161.86),
    "maze2d-medium": (13.13, 277.39),
    "maze2d-large": (6.7, 273.99),
    "maze2d-open-dense": (11.17817, 27.166539),
    "maze2d-umaze-dense": (68.537689, 193.662856),
    "maze2d-medium-dense": (44.264742, 297.455255),
    "maze2d-large-dense": (30.569041, 303.485738),
    "antmaze": (0.0, 1.0),
    "kitchen": (0.0, 4.0),
    "pen": (96.262799, 3076.8331),
    "hammer": (-274.856578, 12794.1348),
    "door": (-56.512833, 2880.5693),
    "relocate": (-6.425911, 4233.8778),
}
"""D4RL's references, alike for all datasets of a task (Fu et al., 2020, arXiv:2004.07219; `infos.py` of its code)."""


def reference_scores(metadata: Mapping[str, Any]) -> ReferenceScores | None:
    """The reference scores of a dataset: its own, or else D4RL's where its name is one of D4RL's.

    Args:
        metadata: of the dataset; `ref_min_score` and `ref_max_score`, or `dataset_id`, such as "hopper_medium-v2"
            or "D4RL/pen/human-v2".

    Returns:
        The scores, or None where none are known.

    Raises:
        DatasetError: the metadata's own are not two finite numbers, the first the smaller one.
    """
    own = metadata.get(MINIMUM), metadata.get(MAXIMUM)
    if None not in own:
        numbers = all(
            isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) <= sys.float_info.max for x in own
        )
        if not numbers or not own[0] < own[1]:
            raise DatasetError(
                f"{MINIMUM} and {MAXIMUM} of the metadata must be finite numbers, the first the smaller one, got "
                f"{own[0]!r:.40} and {own[1]!r:.40}"
            )
        return ReferenceScores(float(own[0]), float(own[1]), "the file's own")
    # A task of another simulator may have D4RL's name for it, but not its returns.
    name = re.sub(r"[_/]", "-", str(metadata.get("dataset_id", "")).lower().removeprefix("d4rl/"))
    tasks = [task for task in D4RL if "env" not in metadata and f"{name}-".startswith(f"{task}-")]
    if not tasks:
        return None
    task = max(tasks, key=len)
    return ReferenceScores(*D4RL[task], f"D4RL's for {task}")
