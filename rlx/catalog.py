"""Which public functions there are, read off the modules and their docstrings.

`rlx functions` prints it and `docs/functions.md` is made of it, so that neither can miss a function.
"""

import importlib
import inspect
import pkgutil
import re
import unicodedata
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

import rlx

SLOTS = (
    "reduce",
    "returns",
    "rewards",
    "weighting",
    "losses",
    "regularizers",
    "controllers",
    "transforms",
    "diagnostics",
    "policies",
    "data",
    "curriculum",
    "tabular",
    "bandits",
)
"""The modules of `rlx` that hold functions on arrays; the others train with them."""

MAKERS = (
    "rlx.policies.decision_transformer",
    "rlx.policies.encoders",
    "rlx.policies.networks",
    "rlx.policies.q_networks",
    "rlx.policies.transformer.generation",
    "rlx.policies.transformer.hf_config",
    "rlx.policies.transformer.lora",
    "rlx.policies.transformer.memory",
    "rlx.policies.transformer.model",
    "rlx.policies.transformer.partition",
    "rlx.policies.transformer.pretrained",
    "rlx.policies.transformer.refilling",
    "rlx.policies.transformer.scoring",
    "rlx.policies.distributions",
    "rlx.policies.recurrent",
    "rlx.policies.initializers",
    "rlx.policies.variational",
    "rlx.policies.views",
    "rlx.data.dataset",
    "rlx.data.files",
    "rlx.data.minari",
    "rlx.data.reference_scores",
    "rlx.data.reweighting",
    "rlx.data.sampling",
)
"""Modules of the slots that make networks and distributions or handle datasets, and have no function on arrays."""

# "Schulman et al., 2017, "Proximal …", arXiv:1707.06347": the title ends where the next quotation mark does.
REFERENCE = re.compile(r"(?:^|\s)([^\s\"(\d][^\":();\d]*?, (?:19|20)\d\d)[a-z]?,\s+(?:\"[^\"]*\"|arXiv)")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


class Entry(NamedTuple):
    """One public function.

    name: as users import it, such as "rlx.losses.policy.clipped_surrogate".
    slot: the module that it belongs to, such as "losses.policy".
    summary: first line of the docstring, without formula.
    papers: arXiv identifiers that its References name.
    sources: authors, year and arXiv identifier of each of its References.
    reconstruction: whether no exact formula was published, so that the function is a reading of its source.
    """

    name: str
    slot: str
    summary: str
    papers: tuple[str, ...]
    sources: tuple[str, ...]
    reconstruction: bool


def _modules() -> Iterator[ModuleType]:
    """All modules of the slots, a package before its parts."""
    present = {module.name for module in pkgutil.iter_modules(rlx.__path__)}
    for name in (f"rlx.{slot}" for slot in SLOTS if slot in present):
        module = importlib.import_module(name)
        yield module
        for inner in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
            yield importlib.import_module(inner.name)


def public_functions() -> dict[str, Callable]:
    """Every public function of the slots, found by walking the modules.

    Returns:
        The functions by the shortest name under which each can be imported, sorted.
    """
    names: dict[Callable, str] = {}
    for module in _modules():
        for name, function in vars(module).items():
            if not inspect.isfunction(function) or name.startswith("_"):
                continue
            if not function.__module__.startswith(f"{module.__name__}.") and function.__module__ != module.__name__:
                continue  # imported from another slot, for use
            if function.__module__ not in MAKERS:
                names.setdefault(function, f"{module.__name__}.{name}")
    return {name: function for function, name in sorted(names.items(), key=lambda item: item[1])}


def _section(doc: str, title: str) -> str:
    found = re.search(rf"^{title}:\n(.*?)(?:\n\s*\n(?=\S)|\Z)", doc, re.S | re.M)
    return found[1] if found else ""


def _entry(name: str, function: Callable) -> Entry:
    doc = inspect.getdoc(function) or ""
    references = " ".join(_section(doc, "References").split())
    return Entry(
        name=name,
        slot=name.removeprefix("rlx.").rpartition(".")[0],
        summary=doc.partition("\n")[0],
        papers=tuple(dict.fromkeys(ARXIV.findall(references))),
        sources=tuple(_sources(references)),
        reconstruction=bool(re.search(r"^\s*Reconstruction:", doc, re.M)),
    )


def _sources(references: str) -> Iterator[str]:
    starts = list(REFERENCE.finditer(references))
    for start, following in zip(starts, [*starts[1:], None]):
        papers = ARXIV.findall(references[start.start() : following.start() if following else None])
        authors = start[1].removeprefix(". ")
        yield f"{authors} ({papers[0]})" if papers else authors


def entries(*, search: str = "", paper: str = "") -> list[Entry]:
    """The public functions with what their docstrings say.

    Args:
        search: keep functions in whose name or docstring these words occur, in any case, with hyphens or without.
        paper: keep functions that refer to this arXiv identifier.

    Returns:
        One entry per function, sorted by name.
    """
    words, identifier = _plain(search), paper.lower().removeprefix("arxiv:")
    found = []
    for name, function in public_functions().items():
        if words in _plain(f"{name}\n{inspect.getdoc(function) or ''}"):
            entry = _entry(name, function)
            if not paper or identifier in entry.papers:
                found.append(entry)
    return found


def _plain(text: str) -> str:
    """The text as people type it: R²VPO is r2vpo, and Clip-Cov is clip cov as is `clip_cov`, wherever a line breaks."""
    return " ".join(re.sub(r"[-‑–_`]", " ", unicodedata.normalize("NFKC", text).casefold()).split())


PAGE = """\
# The functions of rlx

Generated from the docstrings by `make docs`; `rlx functions --search WORD` and `rlx functions --paper ARXIV` look
things up in the same list. {count} functions; the {reconstructions} marked † are reconstructions: no exact formula was
published, and the docstring says what the function rests on.
"""


def markdown(found: list[Entry]) -> str:
    """The catalog as one page, a table for each slot.

    Args:
        found: entries, as `entries` returns them.

    Returns:
        Markdown text.
    """
    lines = [PAGE.format(count=len(found), reconstructions=sum(entry.reconstruction for entry in found))]
    slots = sorted({entry.slot for entry in found})
    lines += [f"- [`rlx.{slot}`](#rlx{slot.replace('.', '')}): {_about(slot)}" for slot in slots]
    for slot in slots:
        lines += ["", f"## rlx.{slot}", "", _about(slot), ""]
        lines += ["| function | what it computes | source |", "| --- | --- | --- |"]
        for entry in found:
            if entry.slot == slot:
                name = f"`{entry.name.rpartition('.')[2]}`" + (" †" if entry.reconstruction else "")
                lines.append(f"| {name} | {entry.summary} | {'; '.join(entry.sources)} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _about(slot: str) -> str:
    return (importlib.import_module(f"rlx.{slot}").__doc__ or "").partition("\n")[0]
