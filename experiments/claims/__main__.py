"""`python -m experiments.claims`: try what papers claim, on small problems."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from rlx.cli import run
from rlx.cli.errors import CommandError
from rlx.cli.options import Switch, compilation_cache
from rlx.cli.parsing import parse
from rlx.envs.registry import nearest

DESCRIPTION = """\
Try what papers claim of their methods: on tabular softmax policies whose entropies and success rates are exact, on
datasets made here, and on small language models. Method and baseline get the same seeds, samples and gradient
steps, and are tuned alike.

examples:
  python -m experiments.claims                     list them
  python -m experiments.claims kl_cov mhpo         try two
  python -m experiments.claims all                 try all, for hours; the records go to experiments/claims/results
  python -m experiments.claims --markdown          the page docs/claims.md, from the records
  python -m experiments.claims --pictures          its pictures, from the records
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to try."""

    names: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(help="Claims, or all.", metavar="[NAME ...]")
    ] = ()
    seeds: int | None = None
    """Seeds of the comparison; None takes the claim's own."""
    updates: int | None = None
    """Updates, or gradient steps, of each run; None takes the claim's own."""
    out: str | None = None
    """Folder of the records; None keeps those of the project."""
    quick: Switch = False
    """Two seeds and a few updates, to see that it runs; writes no record unless --out is given."""
    markdown: Switch = False
    """Print docs/claims.md."""
    pictures: Switch = False
    """Draw the pictures of docs/claims.md again."""


def main(arguments: Sequence[str]) -> int:
    """`python -m experiments.claims [NAME …]`."""
    options = parse(Options, arguments, prog="python -m experiments.claims", description=DESCRIPTION)
    from experiments.claims import verdicts

    if options.markdown:
        print(verdicts.markdown(verdicts.results()), end="")
        return 0
    if options.pictures:
        for result in verdicts.results(verdicts.RESULTS):
            verdicts.draw(result, verdicts.PICTURES)
        return 0
    known = verdicts.claims()
    if not options.names:
        width = max(map(len, known))
        print("\n".join(f"  {name:<{width}}  {claim.method}, {claim.paper}" for name, claim in known.items()))
        return 0
    names = list(known) if options.names == ("all",) else options.names
    for name in names:
        if name not in known:
            raise CommandError(f"no claim {name!r}; {nearest(name, [*known, 'all'])}")
    for flag, value in (("--seeds", options.seeds), ("--updates", options.updates)):
        if value is not None and value < 1:
            raise CommandError(f"{flag} must be at least 1, got {value}")
    import jax

    cache = compilation_cache("auto")
    jax.config.update("jax_compilation_cache_dir", str(cache))
    for name in names:
        own = known[name].quick if options.quick else known[name].size
        size = verdicts.Size(options.seeds or own.num_seeds, options.updates or own.num_updates)
        record = verdicts.record(name, known[name], size)
        print(summary(record), flush=True)
        if options.out is not None or not options.quick:
            folder = Path(options.out) if options.out is not None else verdicts.RESULTS
            folder.mkdir(parents=True, exist_ok=True)
            verdicts.save(record, folder)
    return 0


def summary(record: dict) -> str:
    """A record in a few lines."""
    lines = [f"{record['method']}, {record['paper']}"]
    for finding in record["findings"]:
        low, high = finding["interval"]
        numbers = (
            f"{finding['method']:.3g} against {finding['baseline']:.3g}, "
            f"difference {finding['difference']:+.3g} [{low:+.3g}, {high:+.3g}]"
        )
        lines.append(f"  {finding['verdict']:<12} {finding['statement']} ({finding['measure']}): {numbers}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
