"""Flags from dataclasses by tyro, with numbers as people write them and errors of one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from rlx.cli.errors import CommandError
from rlx.envs.registry import nearest
from rlx.recipes.settings import COUNT, GROUPS, Setting, settings

T = TypeVar("T")


def parse(kind: type[T], arguments: Sequence[str], *, prog: str, description: str, default: T | None = None) -> T:
    """Fill a dataclass from command-line arguments.

    Args:
        kind: the dataclass; nested ones become groups of flags without a prefix.
        arguments: words of the command line.
        prog: the command as typed, for the usage line.
        description: what the help starts with.
        default: where unnamed flags take their values from; the dataclass's own defaults if None.

    Raises:
        CommandError: a flag or value is wrong; the message names the nearest right ones.
    """
    box = io.StringIO()
    options = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(box):
            value, unknown = tyro.cli(
                kind,
                prog=prog,
                description=description,
                args=list(arguments),
                registry=_REGISTRY,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
                return_unknown_args=True,
                **options,
            )
    except SystemExit as exit:
        if exit.code in (None, 0):
            raise
        raise CommandError(_first_paragraph(box.getvalue())) from None
    if unknown:
        word = unknown[0]
        if not word.startswith("-"):
            raise CommandError(f"unexpected argument {word!r}; see {prog} --help")
        flag = word.partition("=")[0]
        raise CommandError(f"unknown flag {flag}; {_nearest_flag(flag, flags(kind), prog)}")
    return value


def flags(kind: type) -> list[str]:
    """The flags that `parse` makes of a dataclass."""
    hints = typing.get_type_hints(kind, include_extras=True)
    known = []
    for field in dataclasses.fields(kind):
        bare, *markers = (
            typing.get_args(hints[field.name]) if _is_annotated(hints[field.name]) else (hints[field.name],)
        )
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(bare):
            known += flags(bare)
        elif bare is bool:
            known += [f"--{name}"] + ([] if tyro.conf.FlagCreatePairsOff in markers else [f"--no-{name}"])
        elif tyro.conf.Positional not in markers:
            known.append(f"--{name}")
    return known


def preview(kind: type[T], arguments: Sequence[str], *, prog: str) -> T:
    """What arguments say for themselves, before anything else decides what the others default to.

    `--help` and unknown flags are passed over; `parse` deals with them.

    Args:
        kind: the dataclass, with its own defaults.
        arguments: words of the command line.
        prog: the command as typed.

    Raises:
        CommandError: a value is wrong.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            value, _ = tyro.cli(
                kind,
                prog=prog,
                args=list(arguments),
                registry=_REGISTRY,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
                return_unknown_args=True,
                add_help=False,
            )
    except SystemExit:
        raise CommandError(_first_paragraph(box.getvalue())) from None
    return value


def grouped(kinds: Sequence[type], title: str, defaults: Mapping[str, Any]) -> type:
    """A dataclass whose fields are those of several configs, sorted into the groups that the fields name.

    Args:
        kinds: configs, whose fields are made by `rlx.recipes.settings.setting`.
        title: what the help calls the group of the algorithm.
        defaults: field -> value, where it differs from the field's own.
    """
    hints, known, values = {}, {}, {}
    for kind in kinds:
        hints |= typing.get_type_hints(kind, include_extras=True)
        known |= settings(kind)
        values |= {field.name: field.default for field in dataclasses.fields(kind)}
    values |= defaults
    parts = []
    for group in GROUPS:
        members = [
            (
                name,
                typing.Annotated[hints[name], tyro.conf.arg(help=_help(said))],
                dataclasses.field(default=values[name]),
            )
            for name, said in known.items()
            if said.group == group
        ]
        if members:
            shown = title if group == "algorithm" else group
            part = dataclasses.make_dataclass(shown, members, frozen=True, namespace={"__doc__": ""})
            parts.append((shown, part, dataclasses.field(default_factory=part)))
    return dataclasses.make_dataclass("options", parts, frozen=True, namespace={"__doc__": ""})


def ungrouped(value: Any) -> dict[str, Any]:
    """The fields of the nested dataclasses that `grouped` made, as one dict."""
    return {
        field.name: getattr(part, field.name)
        for group in dataclasses.fields(value)
        for part in [getattr(value, group.name)]
        for field in dataclasses.fields(part)
    }


def _help(said: Setting) -> str:
    """A field's help, with its range where that says something."""
    shown = said.within if said.within not in (None, COUNT) else None
    return f"{said.help} In {shown}." if shown else said.help


def whole_number(word: str) -> int:
    """An integer written as `10000000`, `10_000_000` or `1e7`."""
    with contextlib.suppress(ValueError):
        return int(word)
    with contextlib.suppress(ValueError, OverflowError):
        if float(word) == int(float(word)):
            return int(float(word))
    raise ValueError(f"expected a whole number such as 4096 or 1e7, got {word!r:.60}")


def number(word: str) -> float:
    """A number written as `0.001` or `1e-3`."""
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"expected a number such as 0.001 or 3e-4, got {word!r:.60}") from None


def _is_annotated(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Annotated


def _first_paragraph(box: str) -> str:
    """The message inside the box that tyro draws around an error, with hyphens where there is no Unicode."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    is_rule = lambda line: not line.strip("─-")
    inside = itertools.dropwhile(is_rule, lines[1:])
    message = list(itertools.takewhile(lambda line: not is_rule(line), inside))
    return " ".join(message).removeprefix("Error parsing ").rstrip(".") or " ".join(" ".join(lines).split())


def _nearest_flag(flag: str, known: Sequence[str], prog: str) -> str:
    suggestion = nearest(flag, known)
    return suggestion if suggestion.startswith("did") else f"see {prog} --help"


_REGISTRY = ConstructorRegistry()


@_REGISTRY.primitive_rule
def _plain_values(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    reader = _reader(info.type)
    if reader is None:
        return None
    read, metavar, is_sequence = reader

    def from_words(words: list[str]) -> Any:
        if not is_sequence:
            return read(words[0])
        parts = [part for word in words for part in word.split(",") if part]
        if not parts:
            raise ValueError("expected at least one value, got none")
        return read(parts)

    return PrimitiveConstructorSpec(
        nargs="*" if is_sequence else 1,
        metavar=metavar,
        instance_from_str=from_words,
        is_instance=lambda value: True,
        str_from_instance=lambda value: (
            [_shown(part) for part in value] if isinstance(value, (tuple, list)) else [_shown(value)]
        ),
    )


def _reader(kind: Any) -> tuple[Callable[[Any], Any], str, bool] | None:
    """How a type's values are read: function, metavar, whether of several words; None for tyro's own way."""
    if kind is int:
        return whole_number, "INT", False
    if kind is float:
        return number, "FLOAT", False
    if kind is str:
        return str, "STR", False
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        return lambda word: _choice(word, choices), "{" + ",".join(choices) + "}", False
    # tyro narrows tuple[int, ...] by the default that it has, to tuple[int, int] for a pair.
    if typing.get_origin(kind) is tuple and set(typing.get_args(kind)) <= {int, ...}:
        return lambda words: tuple(map(whole_number, words)), "[INT ...]", True
    if typing.get_origin(kind) in (typing.Union, types.UnionType) and types.NoneType in typing.get_args(kind):
        inner = [_reader(part) for part in typing.get_args(kind) if part is not types.NoneType]
        if len(inner) == 1 and inner[0] is not None:
            read, metavar, is_sequence = inner[0]
            is_none = lambda value: value in (["None"], ["none"], "None", "none")
            return lambda value: None if is_none(value) else read(value), f"{metavar}|None", is_sequence
    return None


def _choice(word: str, choices: Sequence[str]) -> str:
    if word not in choices:
        raise ValueError(f"no choice {word!r}; {nearest(word, choices)}")
    return word


def _shown(value: Any) -> str:
    """A number as a person writes it: 10000000 rather than 1e+07, 0.0003 rather than 3e-04."""
    return f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else str(value)
