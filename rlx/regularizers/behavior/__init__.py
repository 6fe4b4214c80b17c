"""Staying near data: support, dataset and density constraints."""

from rlx.regularizers.behavior.dataset import dataset_constraint
from rlx.regularizers.behavior.density import kernel_log_density, out_of_distribution_cost
from rlx.regularizers.behavior.displacement import likelihood_displacement
from rlx.regularizers.behavior.distance import action_distance, advantage_guided
