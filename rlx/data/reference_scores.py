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
    "minigrid-fourrooms": (0.01442, 2.89685),
    "flow-ring": (-165.22, 24.42),
    "flow-merge": (118.67993, 330.03179),
    "carla-lane": (-0.8503839912, 1023.5784385),
    "carla-town": (-114.815795, 2440.1772022),
    "bullet-halfcheetah": (-1275.766996, 2381.6725),
    "bullet-hopper": (20.058972, 1441.8059624),
    "bullet-ant": (373.705955, 2650.495),
    "bullet-walker2d": (16.523877, 1623.6476303),
    "bullet-maze2d-open": (8.75, 64.15),
    "bullet-maze2d-umaze": (32.46, 153.99),
    "bullet-maze2d-medium": (14.87, 238.05),
    "bullet-maze2d-large": (1.82, 285.92),
}
"""D4RL's references, alike for all datasets of a task (Fu et al., 2020, arXiv:2004.07219; `infos.py` of its code)."""

FILES: tuple[tuple[str, str], ...] = (
    (r"ant-maze-u-maze-noisy-multistart-\w+-multigoal-false-sparse.*", "antmaze-umaze"),
    (r"ant-maze-u-maze-noisy-multistart-\w+-multigoal-true-sparse.*", "antmaze-umaze-diverse"),
    (r"ant-maze-big-maze-noisy-multistart-\w+-multigoal-false-sparse.*", "antmaze-medium-play"),
    (r"ant-maze-big-maze-noisy-multistart-\w+-multigoal-true-sparse.*", "antmaze-medium-diverse"),
    (r"ant-maze-hardest-maze-noisy-multistart-\w+-multigoal-false-sparse.*", "antmaze-large-play"),
    (r"ant-maze-hardest-maze-noisy-multistart-\w+-multigoal-true-sparse.*", "antmaze-large-diverse"),
    (r"mini-kitchen-microwave-kettle-light-slider.*", "kitchen-complete"),
    (r"kitchen-microwave-kettle-light-slider.*", "kitchen-partial"),
    (r"kitchen-microwave-kettle-bottomburner-light.*", "kitchen-mixed"),
    (r"(pen|hammer|door|relocate)-v0-demos-clipped", r"\1-human"),
    (r"(pen|hammer|door|relocate)-demos-v0-bc-combined", r"\1-cloned"),
    (r"(pen|hammer|door|relocate)-v0-expert-clipped", r"\1-expert"),
    (r"(hopper|halfcheetah|ant)-mixed", r"\1-medium-replay"),
    (r"walker-mixed", "walker2d-medium-replay"),
)
"""What the files that D4RL offers are called, where not as the datasets are; `infos.py` of its code."""


def d4rl_name(name: str) -> str | None:
    """D4RL's name of a dataset without its version, from what D4RL, its files or Minari call it.

    Args:
        name: such as "hopper_medium-v2", "D4RL/antmaze/large-play-v1", or the file's
            "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse_fixed".

    Returns:
        Such as "antmaze-large-play"; None where it is none of D4RL's.

    Examples:
        >>> from rlx.data.reference_scores import d4rl_name
        >>> d4rl_name("D4RL/pen/human-v2"), d4rl_name("mine")
        ('pen-human', None)
    """
    plain = re.sub(r"[_/]", "-", name.lower().removeprefix("d4rl/"))
    for pattern, known in FILES:
        if re.fullmatch(pattern, plain):
            return re.sub(pattern, known, plain)
    plain = re.sub(r"-v\d+$", "", plain)
    return plain if _task(plain) is not None else None


def _task(name: str) -> str | None:
    """The longest of D4RL's tasks that a name begins with."""
    return max((task for task in D4RL if f"{name}-".startswith(f"{task}-")), key=len, default=None)


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
    name = None if "env" in metadata else d4rl_name(str(metadata.get("dataset_id", "")))
    if name is None:
        return None
    task = _task(name)
    return ReferenceScores(*D4RL[task], f"D4RL's for {task}")
