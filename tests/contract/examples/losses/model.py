"""Examples of the model losses."""

from tests.contract.example import ROWS, Example, real, uniform

unit_per_row = uniform(ROWS)

EXAMPLES: dict[str, Example] = {
    "rlx.losses.model.implied_reward": Example(
        {"feature": real, "z": real},
        {"ridge": 0.5},
        mask=(ROWS,),
    ),
    "rlx.losses.model.successor_measure": Example(
        {
            "forward": real,
            "backward": real,
            "target_forward": real,
            "target_backward": real,
            "discount": unit_per_row,
        },
        mask=(ROWS,),
    ),
    "rlx.losses.model.td_latent_prediction": Example(
        {"prediction": real, "next_feature": real, "next_prediction": real, "discount": unit_per_row}, mask=(ROWS,)
    ),
}
