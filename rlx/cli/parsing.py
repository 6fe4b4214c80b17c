"""Flags from dataclasses by tyro, with numbers as people write them and errors of one line."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import textwrap
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from rlx.cli.errors import CommandError
from rlx.envs.registry import nearest

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


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value that a flag has in arguments that are not parsed yet; the last one wins."""
    found = None
    for word, following in itertools.zip_longest(arguments, arguments[1:]):
        if word == flag:
            found = following
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found


def grouped(
    name: str,
    kinds: Sequence[type],
    groups: Mapping[str, Sequence[str]],
    rest: str,
    defaults: Mapping[str, Any],
) -> tuple[type, Any]:
    """A dataclass whose fields are those of `kinds` sorted into nested groups, and its default instance.

    Args:
        name: name of the new dataclass.
        kinds: flat dataclasses with a docstring under each field.
        groups: group -> names of its fields, in the order of the help; names that no kind has are passed over.
        rest: the group, one of `groups`, that also gets every field which no group names.
        defaults: field -> value, where it differs from the dataclass's own.
    """
    hints, docs, values = {}, {}, {}
    for kind in kinds:
        hints |= typing.get_type_hints(kind, include_extras=True)
        docs |= field_docs(kind)
        values |= {field.name: field.default for field in dataclasses.fields(kind)}
    values |= defaults
    taken = {field for fields in groups.values() for field in fields}
    groups = {**groups, rest: [*groups[rest], *(field for field in hints if field not in taken)]}
    parts = []
    for group, fields in groups.items():
        members = [
            (
                field,
                typing.Annotated[hints[field], tyro.conf.arg(help=docs[field])],
                dataclasses.field(default=values[field]),
            )
            for field in fields
            if field in hints
        ]
        part = dataclasses.make_dataclass(group, members, frozen=True, namespace={"__doc__": ""})
        parts.append((group, part, dataclasses.field(default_factory=part)))
    whole = dataclasses.make_dataclass(name, parts, frozen=True, namespace={"__doc__": ""})
    return whole, whole()


def ungrouped(value: Any) -> dict[str, Any]:
    """The fields of the nested dataclasses that `grouped` made, as one dict."""
    return {
        field.name: getattr(part, field.name)
        for group in dataclasses.fields(value)
        for part in [getattr(value, group.name)]
        for field in dataclasses.fields(part)
    }


def field_docs(kind: type) -> dict[str, str]:
    """The string literals under the fields of a dataclass and of those it inherits from."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    inherited = [field_docs(base) for base in kind.__bases__ if dataclasses.is_dataclass(base)]
    return {name: doc for docs in inherited for name, doc in docs.items()} | {
        field.target.id: " ".join(doc.value.value.split())
        for field, doc in itertools.pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
        and isinstance(doc.value.value, str)
    }


def whole_number(word: str) -> int:
    """An integer written as `10000000`, `10_000_000` or `1e7`."""
    with contextlib.suppress(ValueError):
        return int(word)
    with contextlib.suppress(ValueError, OverflowError):
        if float(word) == int(float(word)):
            return int(float(word))
    raise ValueError(f"expected a whole number such as 4096 or 1e7, got {word!r}")


def number(word: str) -> float:
    """A number written as `0.001` or `1e-3`."""
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"expected a number such as 0.001 or 3e-4, got {word!r}") from None


def _is_annotated(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Annotated


def _first_paragraph(box: str) -> str:
    """The message inside the box that tyro draws around an error."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    message = []
    for line in lines[1:]:
        if not line or not line.strip("─"):
            break
        message.append(line)
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
        return read([part for word in words for part in word.split(",") if part])

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
