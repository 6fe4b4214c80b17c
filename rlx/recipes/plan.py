"""What a run's `config.json` says beside its algorithm's config: how many seeds and updates, and what is swept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rlx.recipes.settings import COUNT, SettingError, check, checked, setting, settings, type_hints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The numbers of a plan that readers of a run count on."""

    seeds: int = setting(None, "How many seeds.", within=COUNT)
    num_updates: int = setting(None, "Updates of the whole run.", within=COUNT)
    updates_per_report: int = setting(1, "Updates between two rows of metrics.", within=COUNT)
    reports: int = setting(1, "Rows of metrics that were asked for.", within=COUNT)
    evaluations: int = setting(1, "Evaluations that were asked for.", within=COUNT)
    first_seed: int = setting(0, "The first seed.", within="[0, 2147483647]")
    replay_in_checkpoints: bool = setting(True, "Whether checkpoints hold the replay.")

    def __post_init__(self):
        check(self)


def check_plan(values: Mapping[str, Any], config: type) -> None:
    """Check what `config.json` holds under `config`, apart from the fields of the algorithm's config.

    Args:
        values: all of it.
        config: class of the algorithm's config.

    Raises:
        SettingError: a value is missing or cannot be.
    """
    Plan(**{name: values[name] for name in settings(Plan) if name in values})
    sweep = values.get("sweep")
    if not isinstance(sweep, dict):
        raise SettingError("sweep", f"must be an object of lists, got {sweep!r:.60}")
    known = settings(config)
    for name, points in sweep.items():
        if name not in known or not known[name].swept:
            raise SettingError("sweep", f"names {name!r:.60}, which cannot be swept")
        if not isinstance(points, list) or not points:
            raise SettingError("sweep", f"must hold a list of values of {name}, got {points!r:.60}")
        for point in points:
            checked(name, point, type_hints(config)[name], known[name])
