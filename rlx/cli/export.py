"""`rlx export`: from a run of a language model to a folder of weights that other tools read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from rlx.cli import play
from rlx.cli.errors import CommandError
from rlx.cli.parsing import parse
from rlx.recipes import trained
from rlx.training.disk import writing

DESCRIPTION = """\
Write the policy of a run of a language model in Hugging Face's format (config.json and safetensors), with the tokenizer
of the weights that it began with; adapters are merged into these. `--pretrained FOLDER` of another run begins with it.

examples:
  rlx export runs/NAME weights                      the best seed at its best checkpoint
  rlx export runs/NAME weights --seed 3 --checkpoint latest
"""


@dataclasses.dataclass(frozen=True)
class Options(play.Choice):
    """What to write, and where."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="Folder of the run.", metavar="RUN")]
    out: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="Folder to write.", metavar="FOLDER")]


def main(arguments: Sequence[str]) -> int:
    """`rlx export RUN FOLDER …`."""
    options = parse(Options, arguments, prog="rlx export", description=DESCRIPTION)
    record = play.read(options)
    if record.recipe.watch != "responses":
        raise CommandError(f"rlx export writes language models; {options.run} is a run of {record.algorithm}")
    table = trained.read_metrics(record)
    member = trained.choose_member(table, seed=options.seed, setting=play.read_setting(options.setting))
    learner_state, update = trained.restore(record, table, member, options.checkpoint)

    from rlx.policies import transformer
    from rlx.recipes import language

    task = record.recipe.make_environment(record.config)
    structure, params = language.merged_policy(record.config, task, learner_state)
    try:
        with writing(options.out):
            transformer.save_pretrained(options.out, structure, params, source=record.config.pretrained or None)
    except FileExistsError as error:
        raise CommandError(str(error)) from error
    print(f"wrote {options.out}: the policy of seed {member.seed} at checkpoint {update}")
    return 0
