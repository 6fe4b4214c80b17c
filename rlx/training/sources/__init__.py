"""Sources of experience: rollouts, a replay, a dataset, both mixed, a language model's responses, pairs of them."""

from rlx.training.sources.dataset import dataset
from rlx.training.sources.mixed import Mixed, mixed
from rlx.training.sources.pairs import pairs
from rlx.training.sources.replay import Replay, replay
from rlx.training.sources.responses import responses, solutions
from rlx.training.sources.rollouts import rollouts

__all__ = ["Mixed", "Replay", "dataset", "mixed", "pairs", "replay", "responses", "rollouts", "solutions"]
