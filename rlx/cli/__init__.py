"""The console command `rlx`: train, watch, compare."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence

from rlx.cli.errors import CommandError, is_for_the_user, one_line, unforeseen
from rlx.envs.registry import nearest
from rlx.training.stopping import Stopped, early_stops

COMMANDS = {
    "train": ("rlx.cli.train", "train an algorithm in an environment, many seeds at once"),
    "ablate": ("rlx.cli.ablate", "train variants of an algorithm side by side, everything else equal"),
    "dataset": ("rlx.cli.dataset", "look at datasets of transitions, convert them, make them"),
    "envs": (
        "rlx.cli.environments",
        "list what can be trained on, with observation and action spaces",
    ),
    "methods": ("rlx.cli.methods", "list what language models can be trained by, and on which tasks"),
    "functions": ("rlx.cli.functions", "list the losses, regularizers and estimators, by word or by paper"),
    "play": ("rlx.cli.play", "render episodes of a trained policy to GIF or MP4"),
    "evaluate": ("rlx.cli.evaluate", "estimate what a trained policy is worth from a dataset, without a simulator"),
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
        The exit code: 0 done, 1 training failed, 2 the request was wrong or the disk is full, 128 + n stopped by
        signal n.
    """
    code = run(_dispatch, list(sys.argv[1:] if argv is None else argv))
    if argv is None and code:
        # The interpreter would wait for threads that nobody waits for any more: those of a compiler, or, for five
        # minutes, those of a checkpoint whose folder cannot be made.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def run(command: Callable[[list[str]], int], arguments: Sequence[str]) -> int:
    """Run a command of ours: what it raises on purpose becomes one line, warnings too.

    Args:
        command: from its arguments to an exit code.
        arguments: words of the command line.

    Returns:
        The exit code, as of `main`.
    """
    with warnings.catch_warnings(), early_stops(), _quiet_threads():
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
            known = is_for_the_user(error)
            print(f"rlx: error: {one_line(error) if known else unforeseen(error)}", file=sys.stderr)
            return 2 if known else 1
        except KeyboardInterrupt as interrupt:
            print("rlx: interrupted", file=sys.stderr)
            return 128 + (interrupt.number if isinstance(interrupt, Stopped) else 2)
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


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keep the tracebacks of threads off the terminal: what ends the command is told by the main thread, once."""
    before, threading.excepthook = threading.excepthook, lambda arguments: None
    try:
        yield
    finally:
        threading.excepthook = before


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"rlx: warning: {one_line(message)}", file=sys.stderr, flush=True)
