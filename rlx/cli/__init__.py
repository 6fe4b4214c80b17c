"""The console command `rlx`: train, watch, compare."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from rlx.cli.errors import CommandError, is_for_the_user, one_line
from rlx.envs.registry import nearest

COMMANDS = {
    "train": ("rlx.cli.train", "train an algorithm in an environment, many seeds in one program"),
    "ablate": ("rlx.cli.ablate", "train variants of an algorithm side by side, everything else equal"),
    "dataset": ("rlx.cli.dataset", "look at datasets of transitions, convert them, make them"),
    "envs": (
        "rlx.cli.environments",
        "list what can be trained on, with observation and action spaces",
    ),
    "methods": ("rlx.cli.methods", "list what language models can be trained by, and on which tasks"),
    "functions": ("rlx.cli.functions", "list the losses, regularizers and estimators, by word or by paper"),
    "play": ("rlx.cli.play", "render episodes of a trained policy to GIF or MP4"),
    "export": ("rlx.cli.export", "write a trained language model in Hugging Face's format"),
    "plot": ("rlx.cli.plot", "draw learning curves of one or several runs"),
}

HELP = """\
rlx: functional reinforcement learning in JAX

usage: rlx COMMAND [OPTIONS]

{commands}

Every command answers to --help. To begin with:

  rlx train ppo                              eight seeds of the inverted pendulum, a minute or two on a laptop
  rlx train ppo --env brax:ant --seeds 4     another body
  rlx envs brax                              the others there are
  rlx play runs/NAME                         what the best seed learned, as a video
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after `rlx`; those of this process if None.

    Returns:
        The exit code: 0 done, 1 training failed, 2 the request was wrong, 128 + n stopped by signal n.
    """
    return run(_dispatch, list(sys.argv[1:] if argv is None else argv))


def run(command: Callable[[list[str]], int], arguments: Sequence[str]) -> int:
    """Run a command of ours: what it raises on purpose becomes one line, warnings too.

    Args:
        command: from its arguments to an exit code.
        arguments: words of the command line.

    Returns:
        The exit code, as of `main`.
    """
    with warnings.catch_warnings():
        # What other libraries deprecate is no news to whoever trains.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = _show_warning
        try:
            code = command(list(arguments))
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # `rlx envs | head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            if not is_for_the_user(error):
                raise
            print(f"rlx: error: {one_line(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("rlx: interrupted", file=sys.stderr)
            return 130
        except SystemExit as exit:  # tyro's way to end a --help
            return int(exit.code or 0)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        commands = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
        print(HELP.format(commands=commands), end="")
        return 0
    if arguments[0] == "--version":
        import rlx

        print(rlx.__version__)
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        kind = "flag" if command.startswith("-") else "command"
        raise CommandError(f"no {kind} {command!r}; {nearest(command, COMMANDS)}")
    module, _ = COMMANDS[command]
    return importlib.import_module(module).main(rest)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"rlx: warning: {one_line(message)}", file=sys.stderr, flush=True)
