"""Examples of the algorithms on finite sets."""

from tests.contract.example import SHAPE, Example, integers, log_prob, positive, real, uniform

EXAMPLES: dict[str, Example] = {
    "rlx.tabular.inpo_step": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "preference": uniform(4, 6, 6)},
        {"eta": 2.0, "tau": 0.5},
    ),
    "rlx.tabular.length_penalized_prior": Example(
        {"log_prob_sum": uniform(*SHAPE, low=-5, high=-0.1), "length": integers(*SHAPE, low=1, high=6)}
    ),
    "rlx.tabular.nash_md_step": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "preference": uniform(*SHAPE, SHAPE[1])},
        {"eta": 0.5, "tau": 0.3},
    ),
    "rlx.tabular.puct": Example(
        {
            "value": real,
            "visits": integers(*SHAPE, low=1, high=6),
            "parent_visits": integers(*SHAPE, low=1, high=6),
            "prior": uniform(*SHAPE),
        }
    ),
    "rlx.tabular.regularized_nash": Example(
        {"preference": uniform(*SHAPE, SHAPE[1]), "reference_log_prob": log_prob}, {"tau": 0.5, "iterations": 20}
    ),
    "rlx.tabular.soft_policy_stability_bound": Example({"reward_gap": positive}, {"temperature": 0.5, "discount": 0.7}),
}
