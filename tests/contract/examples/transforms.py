"""Examples of the edits of gradients and parameters."""

from tests.contract.example import Example, real, uniform

PYTREE = "its arguments are pytrees, of any dtype"

EXAMPLES: dict[str, Example] = {
    "rlx.transforms.average_parameters": Example({"params": real, "other_params": real}, skips={"errors": PYTREE}),
    "rlx.transforms.orthogonalize": Example({"forward": real, "backward": real}),
    "rlx.transforms.soup": Example(
        {"params_stack": real, "weight": uniform(4, low=0.5, high=2)}, skips={"errors": PYTREE}
    ),
}
