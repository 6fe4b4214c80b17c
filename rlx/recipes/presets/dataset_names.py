"""Which presets are those of a dataset, by the names that D4RL, its files and Minari have for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from rlx.recipes.presets.preset import Preset


def named_in(presets: Mapping[str, Preset]) -> Callable[[Mapping[str, Any]], str | None]:
    """For `rlx.recipes.Recipe.subject`: which of the presets are those of the dataset that values of fields name.

    Args:
        presets: by D4RL's names, or what several of them begin with; of those that fit, the longest counts.
    """

    def subject(values: Mapping[str, Any]) -> str | None:
        if not (path := values.get("dataset")):
            return None
        name = dataset_name(str(path))
        fitting = (key for key in presets if f"{name}-".startswith(f"{key}-"))
        return max(fitting, key=len, default=None)

    return subject


def dataset_name(path: str) -> str | None:
    """D4RL's name of the dataset in a file, or in a folder of Minari's such as `D4RL/antmaze/large-play-v1`.

    Args:
        path: of the file or folder, which need not exist.

    Returns:
        The name as of `rlx.data.reference_scores.d4rl_name`; None where the path has none of D4RL's.
    """
    from rlx.data.reference_scores import d4rl_name

    where = PurePath(path)
    is_file = where.suffix.lower() in (".hdf5", ".h5")
    folders = where.parts[-3:] if len(where.parts) >= 3 and where.parts[-3].lower() == "d4rl" else where.parts[-1:]
    return d4rl_name(where.stem if is_file else "/".join(folders))
