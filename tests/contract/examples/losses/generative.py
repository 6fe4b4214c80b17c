"""Examples of the losses of generative policies."""

from tests.contract.example import ACTION, BOTH, ROWS, SHAPE, TAKES_NO_FLOATS, Example, normal, positive, real, uniform

positive_per_row = uniform(ROWS, low=0.5, high=2)

EXAMPLES: dict[str, Example] = {
    "rlx.losses.generative.conditional_vae": Example(
        {
            "reconstruction": normal(*ACTION),
            "target": normal(*ACTION),
            "mean": normal(*SHAPE, 4),
            "log_std": normal(*SHAPE, 4, scale=0.5),
            "weight": positive,
        }
    ),
    "rlx.losses.generative.denoising_loss": Example(
        {"prediction": real, "target": real, "weight": positive_per_row},
        variants=({}, {"reduce": "sum"}),
        mask=(ROWS,),
    ),
    "rlx.losses.generative.denoising_score_matching": Example(
        {"score": real, "noise": real, "sigma": positive_per_row, "weight": positive_per_row}, mask=(ROWS,)
    ),
    "rlx.losses.generative.edm_denoised_loss": Example(
        {"denoised": real, "clean": real, "sigma": positive_per_row, "weight": positive_per_row}, mask=(ROWS,)
    ),
    "rlx.losses.generative.edm_scalings": Example({"sigma": positive}),
    "rlx.losses.generative.flow_matching_loss": Example(
        {"velocity": real, "clean": real, "noise": real, "time": uniform(ROWS)},
        variants=({}, {"target": "noise"}, {"target": "clean"}),
        mask=(ROWS,),
    ),
    "rlx.losses.generative.interpolate": Example({"clean": real, "noise": real, "time": uniform(ROWS)}),
    "rlx.losses.generative.karras_sigmas": Example(
        {}, {"num_steps": 5}, skips={"vmap": "takes no data"} | TAKES_NO_FLOATS
    ),
    "rlx.losses.generative.normalized_log_ratio": Example(
        {**BOTH, "mean": normal(*SHAPE, 3), "behavior_mean": normal(*SHAPE, 3), "scale": positive},
    ),
}
