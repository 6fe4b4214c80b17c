"""Tasks of tokens by what a command line calls them: a name with options, or a file of texts."""

from __future__ import annotations

import ast
import functools
import os
from typing import Any

from rlx.recipes.settings import SettingError


def named(text: str) -> tuple[str, dict[str, Any]]:
    """`"addition@digits=4"` as `("addition", {"digits": 4})`.

    Raises:
        ValueError: an option without a value, or one that is given twice.
    """
    name, *options = text.split("@")
    values = {}
    for option in options:
        key, equals, value = option.partition("=")
        key = key.strip()
        if not equals:
            raise ValueError(f"options are NAME@OPTION=VALUE, got {text!r:.200}")
        if key in values:
            raise ValueError(f"{name} is given {key!r} twice, in {text!r:.200}")
        try:
            values[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values[key] = value  # a word
    return name, values


def check_task(text: str, pretrained: str) -> None:
    """Check the name of a task, without JAX; its options are checked where it is made.

    Args:
        text: the task, as on the command line.
        pretrained: the folder of weights, whose tokenizer reads a file of texts.

    Raises:
        ValueError: there is no such task.
        SettingError: the file is missing, or there is no tokenizer to read it.
    """
    from rlx.envs import language
    from rlx.envs.language import files

    name, _ = named(text)
    if not files.is_table(name):
        language.check_name(name)
    elif not pretrained:
        if not os.path.isfile(name):
            raise SettingError(
                "task", f"must be a task or a file of questions and answers; there is no file {name!r:.200}"
            )
        raise SettingError("pretrained", f"must name a folder of weights whose tokenizer reads {name!r:.200}")


def make_environment(config: Any) -> Any:
    """The task of a config, a `rlx.recipes.language.Language`.

    Raises:
        ValueError: there is no such task or option, or a file of texts or its tokenizer cannot be read.
    """
    from rlx.envs import language
    from rlx.envs.language import files

    name, options = named(config.task)
    if files.is_table(name):
        return _texts(config.task, config.pretrained, config.chat_template)
    return language.make(name, **options)


@functools.lru_cache(maxsize=1)
def _texts(task: str, pretrained: str, chat_template: str) -> Any:
    import jax

    from rlx.envs import check_trusted
    from rlx.envs.language import text, tokens
    from rlx.policies import transformer

    path, given = named(task)
    for option in ("reward", "turn"):
        if isinstance(name := given.get(option), str):
            check_trusted(name, f"--{option} {name}, of rlx train --task {path}@{option}={name}")
    if "end_token" not in given:
        given["end_token"] = tokens.ends_of(pretrained)
    given = {"folder": pretrained, "chat_template": chat_template} | given
    # What is remembered must outlive the trace that asks for it.
    with jax.ensure_compile_time_eval():
        return text.from_file(path, transformer.load_tokenizer(pretrained), **given)
