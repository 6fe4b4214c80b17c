"""Answers of mathematics: found in a text, written in one way, and compared.

Whether two are equal is decided here rather than by math-verify. That calls x²=-1 and x²=-2 equal, since neither has
real solutions, and also 4=5 and 5, blue and bleu, 1011 of base two and of base ten, √2·10⁻²⁰ and √3·10⁻²⁰; its time
limits work in the main thread alone; and its parser takes exponential time for x^x^x^…, as a policy may well repeat.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from rlx.envs.language import expressions

MAX_LENGTH = 200
"""Characters of the longest answer that is read as mathematics; longer ones are equal where their texts are."""

MAX_TEXT = 10_000
"""Characters of the longest answer that is written in one way at all."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_MARK = "####"

_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
# A minus behind an operand is not a sign; commas group thousands, or else stand between numbers.
_IN_PROSE = re.compile(rf"(?P<minus>(?<![\w)])[-−])?\$?(?P<digits>{_DECIMAL})")
_MONEY = "$€£¥₹"
_NUMBER = re.compile(
    rf"(?P<sign>[-−+]?)\s*[{_MONEY}]?(?P<inner>[-−]?)(?P<digits>{_DECIMAL}|[0-9]+\.)(?:[eE](?P<power>[-+]?[0-9]{{1,3}}))?"
)
_TIMES_POWER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<digits>{_DECIMAL})\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*\{{?\s*(?P<power>-?[0-9]{{1,3}})\s*\}}?"
)
_SPACED = re.compile(r"[-+]?[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]+)?")
_PART = r"\s*([-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+))\s*"
_FRACTION = re.compile(
    rf"(?P<sign>[-+]?)\s*(?:(?P<whole>[0-9]+)\s*(?=\\frac)|(?P<first>[0-9]+)\s+(?=[0-9]))?"
    rf"(?:\\frac\s*\{{{_PART}\}}\s*\{{{_PART}\}}|{_PART}/{_PART})"
)

# One way to write what Unicode and LaTeX can write in several.
_SIGNS = str.maketrans(
    dict.fromkeys("−–‐‑", "-")
    | dict.fromkeys("\u00a0\u2009\u202f\u2062", " ")
    | {"×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "\\div ", "±": "\\pm ", "√": "\\sqrt ", "∞": "\\infty "}
    | {"≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "∪": "\\cup ", "∈": "\\in ", "°": "^\\circ ", "∅": "\\emptyset "}
    | {"π": "\\pi ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "λ": "\\lambda ", "φ": "\\phi ", "ω": "\\omega "}
)
_RAISED = {raised: digit for raised, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True)}
_SUPERSCRIPT = re.compile(f"[{''.join(_RAISED)}]+")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_WORD = r"(?![a-zA-Z])"
_SAME = [
    (re.compile(r"(?<=[0-9])(?:\\[,!]|\{,\}|,\\!)(?=[0-9]{3}(?![0-9]))"), ""),  # thousands
    (re.compile(rf"\\(?:left|right|displaystyle|textstyle|[bB]igg?[lr]?){_WORD}|(?<!\\)\\[!()\[\]]|\\?\$|[€£¥₹]"), ""),
    (re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree"), ""),
    (re.compile(rf"(?:(?<!\\)\\[,;:>\s~]|\\q?quad{_WORD}|~|\s)+"), " "),
    (re.compile(rf"\\[dtc](frac|binom){_WORD}"), r"\\\1"),
    (re.compile(r"\{([^{}]*)\\choose([^{}a-zA-Z][^{}]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<![0-9a-zA-Z)}])\+ ?(?=\\infty)"), ""),
    (re.compile(rf"\\(?:leqslant|leq){_WORD}|<=|\\le{_WORD}"), r"\\le "),
    (re.compile(rf"\\(?:geqslant|geq){_WORD}|>=|\\ge{_WORD}"), r"\\ge "),
    (re.compile(rf"\\neq{_WORD}|!="), r"\\ne "),
    (re.compile(rf"\\lt{_WORD}"), "<"),
    (re.compile(rf"\\gt{_WORD}"), ">"),
    (re.compile(r"\\[lr]vert"), "|"),
    (re.compile(rf"\\\{{\s*\\\}}|\\varnothing{_WORD}"), r"\\emptyset "),
    (re.compile(r"\\text ?\{ ?(?:and|or) ?\}|,? (?:and|or) "), ", "),
    (re.compile(r"\\(?:text|mathrm) ?\{ ?([ei]) ?\}"), r"\1"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"_\{([0-9a-zA-Z])\}(?![0-9a-zA-Z])"), r"_\1"),
    (re.compile(r"\\sqrt ?([0-9a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\frac ?([0-9a-zA-Z]) ?([0-9a-zA-Z])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac ?([0-9a-zA-Z]) ?\{"), r"\\frac{\1}{"),
    (re.compile(r"\\frac ?(\{[^{}]*\}) ?([0-9a-zA-Z])"), r"\\frac\1{\2}"),
]
_TEXT = r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*)\}"
_ONLY_TEXT = re.compile(_TEXT)
_UNIT = re.compile(
    rf"(?P<value>.*(?:[0-9]|\\pi).*?)\s*(?:{_TEXT}|(?<=[0-9}})])\s+(?!(?:{expressions.FUNCTIONS}|pi|mod|choose)\b)([a-zA-Z]{{2,}}"
    r"[a-zA-Z .]*))(?P<power>\s*\^\s*(?:[23]|\{[23]\}))?\s*",
    re.DOTALL,
)


def marked(text: str) -> str:
    """The answer that a text marks: what the last `\\boxed{…}` or `\\fbox{…}` that is closed holds, or else what
    follows the last `####` in its line, as in GSM8K; "" where there is neither."""
    begin, end, open_braces = -1, -1, []
    for token in _BOX.finditer(text) if r"\boxed" in text or r"\fbox" in text else ():
        if token[0] == "}" and open_braces:
            opened = open_braces.pop()
            if opened > begin:  # of boxes within boxes the inner one
                begin, end = opened, token.start()
        elif token[0] == "{":
            open_braces.append(-1)
        elif token[0].endswith("{") and token[0] != r"\{":
            open_braces.append(token.end())
    if begin >= 0 and (boxed := text[begin:end].strip()):
        return boxed
    return text.rpartition(_MARK)[2].strip().partition("\n")[0].strip() if _MARK in text else ""


def last_number(text: str) -> str:
    """The last number of a text, or ""."""
    last = deque(_IN_PROSE.finditer(text), maxlen=1)
    return ("-" if last[0]["minus"] else "") + last[0]["digits"] if last else ""


def is_prose(text: str) -> bool:
    """Whether a text is a sentence rather than an answer alone: there are words before its end."""
    return re.search(r"(?:^|\s)[a-zA-Z]{2,}[\s,.:]", text) is not None


def normal(text: str) -> str:
    """An answer, written in one way: a rational number as 7, -7 or 1/2, without its unit; else without what spaces,
    sizes of brackets and the like do not change."""
    number = _number(text.strip().rstrip(".%"))
    if number is None:
        text = _clean(text)
        number = _number(_split_unit(text)[0].rstrip("% "))
    return _squeezed(text) if number is None else number


def equal(answer: str, right: str) -> bool:
    """Whether an answer is the right one.

    Rational numbers are equal where they are exactly, whatever their size: 0.5, ½, 1/2 and \\frac12, but not 0.333 and
    1/3. Other expressions are equal where their values are: at points where both are real, where there are such.

    - (1,2), [1,2] and [1,2) differ, and have an order. {1,2} is a set, and so is 1,2 without brackets, or 1 and 2.
    - A unit in words counts where both name one; signs of money and degrees never do.
    - A percentage equals its hundredth, as in math-verify, and its own number where that is at least 1: 50% is 0.5 and
      50, but 0.5% is not 0.5.
    - x=5 equals 5, but not y=5; equations and inequalities are equal where one is the other times a number.
    - Words are equal whatever the case, letters are not.
    - What cannot be read, or would take long to, is equal where the texts are, spaces and the like aside.
    """
    first, second = _number(answer), _number(right)
    if first is not None and second is not None:
        return first == second
    first, second = _clean(answer), _clean(right)
    if not first or not second:
        return False
    if _squeezed(first) == _squeezed(second):
        return True
    (first, one_unit), (second, other_unit) = _split_unit(first), _split_unit(second)
    if one_unit and other_unit and one_unit != other_unit:
        return False
    percent = first.endswith("%"), second.endswith("%")
    first, second = first.rstrip("% "), second.rstrip("% ")
    one, other = _number(first), _number(second)
    if one is not None and other is not None:
        if percent[0] == percent[1]:
            return one == other
        share, plain = (one, other) if percent[0] else (other, one)
        share, plain = _fraction(share), _fraction(plain)
        return share is not None and plain is not None and (share == 100 * plain or share == plain >= 1)
    if max(len(first), len(second)) > MAX_LENGTH or max(map(_depth, (first, second))) > expressions.MAX_DEPTH:
        return _squeezed(first) == _squeezed(second)
    if _same(_form(first), _form(second)):
        return True
    # 120,240 may also be two numbers.
    apart = tuple(re.sub(r"(?<=[0-9]),(?=[1-9])", ", ", text) for text in (first, second))
    return apart != (first, second) and _same(_form(apart[0]), _form(apart[1]))


def _number(text: str) -> str | None:
    """A rational number in one way, or None."""
    found = _NUMBER.fullmatch(text)
    if found:
        minus = (found["sign"] in ("-", "−")) != (found["inner"] != "")
        return _decimal(minus, found["digits"], int(found["power"] or 0))
    if found := _TIMES_POWER.fullmatch(text):
        return _decimal(found["sign"] == "-", found["digits"], int(found["power"]))
    if _SPACED.fullmatch(text):
        return _number(text.replace(" ", ""))
    found = _FRACTION.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if not found:
        return None
    above, below = (Fraction(part) for part in found.groups()[3:] if part is not None)
    if below == 0:
        return None
    value = Fraction(found["whole"] or found["first"] or 0) + above / below
    return str(-value if found["sign"] == "-" else value)


def _decimal(minus: bool, digits: str, power: int) -> str:
    """A decimal number as a fraction in lowest terms. One that is whole, or long, remains digits: a model may write
    millions of them."""
    whole, _, part = digits.replace(",", "").partition(".")
    part = part.rstrip("0")
    if power or (part and len(whole) + len(part) <= MAX_LENGTH):
        if len(whole) + len(part) > MAX_LENGTH:
            return f"{whole}.{part}e{power}"
        value = Fraction(int(whole + part or "0"), 10 ** len(part)) * Fraction(10) ** power
        return str(-value if minus else value)
    number = f"{whole.lstrip('0') or '0'}.{part}".removesuffix(".")
    return f"-{number}" if minus and number != "0" else number


def _fraction(number: str) -> Fraction | None:
    return Fraction(number) if len(number) <= 4 * MAX_LENGTH else None


def _clean(text: str) -> str:
    """A text without what changes nothing, in ASCII where there is one; its words and spaces remain."""
    if len(text) > MAX_TEXT:
        return text.strip()
    if not text.isascii():
        text = _VULGAR.sub(_fraction_of_one_sign, text)
        text = _SUPERSCRIPT.sub(lambda found: "^{" + "".join(map(_RAISED.get, found[0])) + "}", text).translate(_SIGNS)
    text = text.strip().strip("*")
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    text = text.strip(" ").rstrip(".,;: ")
    while found := _ONLY_TEXT.fullmatch(text):
        text = found[1].strip()
    return text


def _fraction_of_one_sign(found: re.Match) -> str:
    above, below = unicodedata.normalize("NFKC", found[0]).split("⁄")
    return f"\\frac{{{above}}}{{{below}}}"


def _squeezed(text: str) -> str:
    """A text without spaces, but between digits, where they mean something."""
    return re.sub(r"(?<![0-9]) +| +(?![0-9])", "", text)


def _split_unit(text: str) -> tuple[str, str]:
    """An answer with something to count, and its unit or ""."""
    found = _UNIT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if not found:
        return text, ""
    unit = (found[2] or found[3] or "").casefold().replace(".", "").strip()
    return found["value"], unit.removesuffix("s") + (found["power"] or "").strip(" ^{}")


# An answer's parts, and how they stand together.


class _Parts(NamedTuple):
    """Several parts: those of kind "set" and "union" in any order, others in theirs. A matrix has parts of rows."""

    kind: str
    parts: tuple[Any, ...]


class _Relation(NamedTuple):
    """Sides with signs between them."""

    signs: tuple[str, ...]
    sides: tuple[Any, ...]


_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)
_OPENING, _CLOSING = {"(", "[", "{", r"\{"}, {")", "]", "}", r"\}"}
_MIRRORED = {"=": "=", r"\ne": r"\ne", "<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_RELATIONS = {*_MIRRORED, r"\in"}
_MATRIX = re.compile(r"\\begin\{([pbBv]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_INDEX = re.compile(r"_[0-9a-zA-Z]|_\{[^{}]*\}|(?<=[a-zA-Z}])\([^()]*\)")
_NAME = re.compile(r"(?!e$|i$|.*\\(?:frac|sqrt|pi|infty|emptyset)(?![a-zA-Z]))[^0-9+\-*/^,!]*[a-zA-Z][^0-9+\-*/^,!]*")
_WORDS = re.compile(rf"(?!(?:{expressions.FUNCTIONS})\b)(?=.*[a-zA-Z]{{3}})[a-zA-Z]+(?:[ '-]+[a-zA-Z]+)*")


def _depth(text: str) -> int:
    """How deep brackets stand within brackets."""
    depth = deepest = 0
    for token in _TOKEN.findall(text):
        depth += (token in _OPENING) - (token in _CLOSING)
        deepest = max(deepest, depth)
    return deepest


def _split(text: str, at: set[str]) -> tuple[list[str], list[str]]:
    """A text in pieces, and the signs between them, of those that stand in no brackets."""
    pieces, signs, depth = [""], [], 0
    for token in _TOKEN.findall(text):
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0 and token in at:
            pieces.append("")
            signs.append(token)
        else:
            pieces[-1] += token
    return [piece.strip() for piece in pieces], signs


def _enclosed(text: str) -> tuple[str, str] | None:
    """The kind of the brackets around all of a text, and what they hold."""
    tokens = _TOKEN.findall(text)
    if len(tokens) < 2 or tokens[0] not in _OPENING or tokens[-1] not in _CLOSING:
        return None
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0 and place < len(tokens) - 1:
            return None
    return (tokens[0] + tokens[-1]).replace("\\", ""), "".join(tokens[1:-1]).strip()


def _form(text: str) -> Any:
    """An answer in parts; what has none is its text."""
    text = text.strip(" .")
    if (number := _number(text)) is not None:
        return number
    if found := _MATRIX.fullmatch(text):
        rows = found[2].strip().removesuffix(r"\\").split(r"\\")
        kind = "matrix" if found[1][0] in "pb" else found[1]
        return _Parts(kind, tuple(_Parts("row", tuple(map(_form, _split(row, {"&"})[0]))) for row in rows))
    pieces, commas = _split(text, {",", ";"})
    related = [bool(_split(piece, _RELATIONS)[1]) for piece in pieces]
    if commas and related != [True] + [False] * len(commas):
        return _Parts("set", tuple(map(_form, filter(None, pieces))))
    # The commas of x=1,2 stand on one side of its only relation.
    sides, signs = _split(text, _RELATIONS)
    if signs:
        return _Relation(tuple(signs), tuple(map(_form, sides)))
    sets, joined = _split(text, {r"\cup"})
    if joined:
        return _Parts("union", tuple(map(_form, sets)))
    if around := _enclosed(text):
        kind, inside = around
        pieces, commas = _split(inside, {",", ";"})
        if kind == "{}" and (commas or text[0] == "\\"):
            return _Parts("set", tuple(map(_form, pieces)))
        if commas or kind not in ("()", "{}"):
            return _Parts(kind, tuple(map(_form, pieces)))
        return _form(inside)
    if r"\pm" in _TOKEN.findall(text):
        return _Parts("set", (_form(text.replace(r"\pm", "+")), _form(text.replace(r"\pm", "-"))))
    return text


def _same(one: Any, other: Any) -> bool:
    """Whether two answers in parts are equal."""
    if one == other:
        return True
    if isinstance(one, _Relation) and isinstance(other, _Relation):
        return _same_relation(one, other)
    if isinstance(one, _Relation) or isinstance(other, _Relation):
        relation, plain = (one, other) if isinstance(one, _Relation) else (other, one)
        sides = _named(relation)
        return bool(sides) and all(_same(side, plain) for side in sides)
    if isinstance(one, _Parts) and isinstance(other, _Parts):
        if one.kind != other.kind or len(one.parts) != len(other.parts):
            return False
        if one.kind not in ("set", "union"):
            return all(map(_same, one.parts, other.parts))
        left = list(other.parts)
        for part in one.parts:
            place = next((place for place, match in enumerate(left) if _same(part, match)), None)
            if place is None:
                return False
            del left[place]
        return True
    if isinstance(one, _Parts) or isinstance(other, _Parts):
        return False
    if _squeezed(one) == _squeezed(other):
        return True
    if _WORDS.fullmatch(one) or _WORDS.fullmatch(other):
        return _squeezed(one).casefold() == _squeezed(other).casefold()
    return expressions.are_equal(one, other)


def _named(relation: _Relation) -> Sequence[Any]:
    """The sides of an equation that a name is given to."""
    if not {"=", r"\in"}.issuperset(relation.signs):
        return ()
    return [side for side in relation.sides if not _is_name(side)] or relation.sides[1:]


def _is_name(side: Any) -> bool:
    if isinstance(side, _Parts):  # (x,y)=(1,2)
        return all(map(_is_name, side.parts))
    return isinstance(side, str) and _NAME.fullmatch(_INDEX.sub("", side)) is not None


def _same_relation(one: _Relation, other: _Relation) -> bool:
    if len(one.signs) != len(other.signs):
        return False
    turned = _Relation(tuple(_MIRRORED.get(sign, "") for sign in other.signs[::-1]), other.sides[::-1])
    if any(one.signs == way.signs and all(map(_same, one.sides, way.sides)) for way in (other, turned)):
        return True
    if len(one.signs) > 1 or not all(isinstance(side, str) for side in one.sides + other.sides):
        return False
    positive = one.signs[0] not in ("=", r"\ne")
    return any(
        one.signs == way.signs and expressions.are_multiples(one.sides, way.sides, positive=positive)
        for way in (other, turned)
    )
