"""Levels, tasks and the order in which they are practiced. Results are constants."""

from rlx.curriculum.difficulty import relative_difficulty
from rlx.curriculum.guidance import guided_mode
