"""Expressions of mathematics, read from LaTeX or plain text and equal where their values are.

Values at some points of the variables, rather than a simplification: it cannot fail, and takes a time that is known.
They are exact where they are rational, and have 600 digits else. What would have more is not compared, so that no
expression, whoever wrote it, takes long: 10^{10^{10}}, a factorial of a factorial, brackets without end.
"""

from __future__ import annotations

import functools
import math
import re
import threading
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath

FUNCTIONS = "sqrt|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|log|ln|exp"
"""Names of functions, with or without a backslash, as a regular expression."""

MAX_DEPTH = 20
"""Deepest brackets within brackets that are read."""

MAX_BITS = 2**16
"""Most bits of the numerator and the denominator of an exact value: 20000 digits."""

MAX_EXPONENT = 512
"""Largest power of two of a value that is not rational, and largest number of which there is a sine or the like."""

MAX_COUNT = 5000
"""Largest whole number of a factorial or a binomial coefficient."""

_OPERATORS = {r"\cdot": "*", r"\times": "*", r"\div": "/", "**": "^"}
_GROUPS = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_LEXER = re.compile(r" *([0-9]+(?:\.[0-9]+)?|\.[0-9]+|\\?[a-zA-Z]+|\*\*|[-+*/^_(){}\[\]|!])")
_FUNCTION = re.compile(rf"\\(?:{FUNCTIONS})")
_VARIABLE = re.compile(
    r"[a-zA-Z]|\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi"
    r"|varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega)"
)

_MANY = mpmath.mp.clone()  # its precision is nobody else's
# What is left of a difference of equal values, up to 2^512, is below 2^-1024, and so told from all others.
_MANY.prec = 4 * MAX_EXPONENT
_LOCK = threading.Lock()

# One for each bit of a letter, so that any two letters have different signs somewhere, and two where all have the same.
_NUM_POINTS = 9


def are_equal(one: str, other: str) -> bool:
    """Whether both can be read and have the same values: where both are real, or, if that is nowhere, anywhere."""
    elsewhere, is_real = [], False
    for point in _points(one, other):
        pair = _value_at(one, point), _value_at(other, point)
        if None in pair:
            continue
        if pair[0].imag or pair[1].imag:
            elsewhere.append(pair)
        elif not _near(*pair):
            return False
        else:
            is_real = True
    return is_real or (bool(elsewhere) and all(_near(*pair) for pair in elsewhere))


def are_multiples(one: tuple[str, str], other: tuple[str, str], *, positive: bool) -> bool:
    """Whether the difference of two expressions is that of two others times a number, as those of x=5 and 2x=10 are.

    Args:
        one: two expressions.
        other: two others.
        positive: only times a positive number, as those of x<5 and 2x<10 are.
    """
    values = []
    for point in _points(*one, *other):
        sides = [_value_at(side, point) for side in one + other]
        if None not in sides:
            left, right, other_left, other_right = _alike(*sides)
            values += [left - right, other_left - other_right]
    values = _alike(*values)
    (first, second), *others = zip(values[::2], values[1::2], strict=True) if values else [(0, 0)]
    if not others or any(_near(value, Fraction(0)) for value in values):
        return False
    if positive and not (first / second).real > 0:
        return False
    return all(_near(above * second, below * first) for above, below in others)


def _points(*texts: str) -> range:
    """The points to compare expressions at: one where no variable is in them, none where one cannot be read."""
    trees = [_tree(text) for text in texts]
    if None in trees:
        return range(0)
    return range(_NUM_POINTS if any("name" in _operations(tree) for tree in trees) else 1)


class _Unreadable(ValueError):
    """A text is no expression, or may be several."""


class _NoValue(ArithmeticError):
    """An expression has no value here, or one that would take long to find."""


class _Reader:
    """Reads an expression as a tree: an operation and what it is of, which may be trees.

    What people read in two ways is not read: 1/2x, 2 3, x^2^3, \\sin(x)^2, words as products of letters.
    """

    def __init__(self, text: str):
        self.tokens, self.place, self.depth, self.bars = [], 0, 0, 0
        end = 0
        while end < len(text.rstrip()):
            found = _LEXER.match(text, end)
            if not found:
                raise _Unreadable
            token, end = found[1], found.end()
            if _FUNCTION.fullmatch("\\" + token) or token == "pi":
                self.tokens.append("\\" + token)
            elif token.isalpha() and len(token) > 2:
                raise _Unreadable
            else:
                self.tokens.extend(token if token.isalpha() else [_OPERATORS.get(token, token)])

    def whole(self) -> tuple:
        tree = self.sum()
        if self.next():
            raise _Unreadable
        return tree

    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, *tokens: str) -> str:
        """The next token, if it is one of these, else ""."""
        found = self.next() if self.next() in tokens else ""
        self.place += bool(found)
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise _Unreadable

    def sum(self) -> tuple:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Unreadable
        tree = self.product()
        while sign := self.take("+", "-"):
            right = self.product()
            tree = ("+", tree, right if sign == "+" else ("-", right))
        self.depth -= 1
        return tree

    def product(self) -> tuple:
        if sign := self.take("+", "-"):
            return ("-", self.product()) if sign == "-" else self.product()
        tree, is_divided = self.power(), False
        while True:
            if operation := self.take("*", "/"):
                tree, is_divided = (operation, tree, self.signed()), operation == "/"
            elif not self.is_factor():
                return tree
            elif is_divided or self.is_number():
                raise _Unreadable
            else:
                tree = ("*", tree, self.power())

    def signed(self) -> tuple:
        return ("-", self.signed()) if self.take("-") else self.power()

    def is_number(self) -> bool:
        return self.next()[:1].isdigit() or self.next()[:1] == "."

    def is_factor(self) -> bool:
        """Whether a factor begins here, with no sign before it."""
        token = self.next()
        if token == "|":
            return not self.bars
        return bool(
            self.is_number()
            or token in _GROUPS
            or token in (r"\frac", r"\sqrt", r"\binom", r"\pi")
            or _VARIABLE.fullmatch(token)
            or _FUNCTION.fullmatch(token)
        )

    def power(self) -> tuple:
        tree = self.atom()
        if self.take("!"):
            tree = ("!", tree)
        if self.take("^"):
            tree = ("^", tree, self.script())
        if self.next() in ("^", "!"):
            raise _Unreadable
        return tree

    def script(self) -> tuple:
        """What is raised or lowered: a group, or one sign."""
        return ("-", self.script()) if self.take("-") else self.atom()

    def group(self, *openings: str) -> tuple:
        opening = self.take(*openings)
        if not opening:
            raise _Unreadable
        bars, self.bars = self.bars, 0
        tree = self.sum()
        self.bars = bars
        self.expect(_GROUPS[opening])
        return tree

    def atom(self) -> tuple:
        if self.is_number():
            return self.number()
        if self.next() in (r"\lfloor", r"\lceil"):
            name = "floor" if self.next() == r"\lfloor" else "ceil"
            return (name, self.group(r"\lfloor", r"\lceil"))
        if self.next() in _GROUPS:
            return self.group(*_GROUPS)
        token = self.next()
        self.place += 1
        if token == "|":
            self.bars += 1
            tree = self.sum()
            self.bars -= 1
            self.expect("|")
            return ("abs", tree)
        if token == r"\frac":
            return ("/", self.group("{"), self.group("{"))
        if token == r"\binom":
            return ("binom", self.group("{"), self.group("{"))
        if token == r"\sqrt":
            root = self.group("[") if self.next() == "[" else ("number", Fraction(2))
            return ("^", self.group("{", "("), ("/", ("number", Fraction(1)), root))
        if _FUNCTION.fullmatch(token):
            return self.function(token[1:])
        if token == r"\pi":
            return ("pi",)
        if not _VARIABLE.fullmatch(token) or (token in "fghFGHP" and self.next() == "("):
            raise _Unreadable
        begin = self.place
        if self.take("_"):
            self.script()
        name = token + "".join(self.tokens[begin : self.place])
        return (name,) if name in ("e", "i") else ("name", name)

    def number(self) -> tuple:
        whole, self.place = Fraction(self.next()), self.place + 1
        if self.next() == "_":
            raise _Unreadable
        if self.next() == r"\frac" and whole.denominator == 1:
            # 3\\frac{1}{2} is a mixed number.
            begin = self.place
            part = self.atom()
            if part[1][0] == part[2][0] == "number":
                return ("+", ("number", whole), part)
            self.place = begin
        return ("number", whole)

    def function(self, name: str) -> tuple:
        base = self.script() if name == "log" and self.take("_") else ("number", Fraction(10))
        power = self.script() if self.take("^") else None
        if self.next() in ("(", "[", "{", "|"):
            of = self.atom()
            if self.next() in ("^", "!"):
                raise _Unreadable
        else:
            of = self.power()
            while self.is_factor() and not _FUNCTION.fullmatch(self.next()):
                if self.next() in ("(", "[", "|") or self.is_number():
                    raise _Unreadable
                of = ("*", of, self.power())
        if name == "exp":
            tree = ("^", ("e",), of)
        elif name in ("log", "ln"):
            tree = ("/", ("log", of), ("log", base)) if name == "log" else ("log", of)
        elif power == ("-", ("number", Fraction(1))):
            return ("arc" + name, of)
        else:
            tree = (name, of)
        return ("^", tree, power) if power else tree


@functools.lru_cache(maxsize=4096)
def _tree(text: str) -> tuple | None:
    """An expression as a tree, or None for what is none."""
    try:
        return _Reader(text).whole()
    except (_Unreadable, RecursionError):
        return None


@functools.lru_cache(maxsize=4096)
def _value_at(text: str, point: int) -> Any:
    """Value of an expression at a point, or None where it has none."""
    try:
        # What mpmath remembers is not made for several threads.
        with _LOCK:
            return _value(_tree(text), point)
    except (ArithmeticError, ValueError):
        return None


def _operations(tree: tuple) -> set[str]:
    return {tree[0]}.union(*(_operations(part) for part in tree[1:] if isinstance(part, tuple)))


def _value(tree: tuple, point: int) -> Any:
    """Value of a tree at a point: a `Fraction` where it is rational, else a number of many digits."""
    match tree:
        case ("number", value):
            return value
        case ("name", name):
            return _coordinate(name, point)
        case ("e" | "pi" as name,):
            return +getattr(_MANY, name)
        case ("i",):
            return _MANY.mpc(0, 1)
    operation, *values = tree[0], *(_value(part, point) for part in tree[1:])
    is_real = not any(value.imag for value in values)
    match operation, values:
        case "-", [of]:
            result = -of
        case "+", _:
            one, other = _alike(*values)
            result = one + other
        case "*", _:
            one, other = _alike(*values)
            result = one * other
        case "/", _:
            one, other = _alike(*values)
            result = one / other
        case "^", [base, exponent]:
            result = _power(base, exponent)
        case "abs", [of]:
            result = abs(of)
        case "!", [of] if is_real:
            result = _factorial(of)
        case "binom", [above, below] if is_real:
            result = _binomial(above, below)
        case "floor" | "ceil", [of] if is_real:
            result = _rounded(of, operation)
        case _, [of]:
            result = _function(operation, of)
        case _:
            raise _NoValue(operation)
    return _bounded(result)


def _power(base: Any, exponent: Any) -> Any:
    if base == 0:
        if exponent.imag or exponent <= 0:
            raise _NoValue("a power of zero")
        return Fraction(0)
    if isinstance(exponent, Fraction):
        if exponent.denominator == 1 and isinstance(base, Fraction):
            if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > MAX_BITS:
                raise _NoValue("too large")
            return base ** int(exponent)
        if exponent.denominator % 2 and not base.imag and base < 0:
            # The real root, as at school.
            return (-1) ** exponent.numerator * _power(-base, exponent)
        if exponent == Fraction(1, 2):
            return _MANY.sqrt(base)
    exponent, logarithm = _alike(exponent, _MANY.log(base))
    return _function("exp", exponent * logarithm)


def _factorial(of: Any) -> Any:
    """x!, where x is no whole number that of a number between 0 and 1, which is made up, times what lies between."""
    if not isinstance(of, Fraction) or abs(of) > MAX_COUNT:
        raise _NoValue("a factorial")
    if of.denominator == 1:
        if of < 0:
            raise _NoValue("the factorial of a negative number")
        return Fraction(math.factorial(int(of)))
    whole = math.floor(of)
    if abs(whole) > 50:
        raise _NoValue("a factorial")
    between = math.prod(of - step for step in (range(whole) if whole > 0 else range(whole, 0)))
    part = _coordinate(f"{of - whole}!", 0)
    return part * between if whole > 0 else part / between


def _binomial(above: Any, below: Any) -> Any:
    if isinstance(above, Fraction) and isinstance(below, Fraction) and below.denominator == 1 and 0 <= below <= 50:
        return math.prod((above - step for step in range(int(below))), start=Fraction(1)) / math.factorial(int(below))
    return _factorial(above) / (_factorial(below) * _factorial(above - below))


def _rounded(of: Any, operation: str) -> Fraction:
    if not isinstance(of, Fraction):
        whole = Fraction(int(_MANY.nint(of)))
        of = whole if _near(of, whole) else of
    return Fraction(int(_MANY.floor(of) if operation == "floor" else _MANY.ceil(of)))


def _function(name: str, of: Any) -> Any:
    if abs(of) > MAX_EXPONENT or (name == "log" and of == 0):
        raise _NoValue("too large")
    turned = {"cot": "tan", "sec": "cos", "csc": "sin"}.get(name)
    function = getattr(_MANY, turned or name.replace("arc", "a"), None)
    if function is None:
        raise _NoValue(name)
    return 1 / function(of) if turned else function(of)


def _bounded(value: Any) -> Any:
    """A value that can be told from all others which are not equal to it.

    Raises:
        _NoValue: it is too large, or too close to zero.
    """
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            raise _NoValue("too large")
        return value
    largest = 2**MAX_EXPONENT
    parts = [0 if abs(part) * largest**2 < 1 else part for part in (value.real, value.imag)]
    if not all(part == 0 or 1 <= abs(part) * largest <= largest**2 for part in parts):
        raise _NoValue("too large or too small")
    if parts[1] == 0:
        return parts[0] or Fraction(0)
    return type(value)(*parts)


def _coordinate(name: str, point: int) -> Fraction:
    """A variable at a point, the same in every run: first all are positive, then all negative, then as it comes."""
    share = Fraction(zlib.crc32(f"{name} {point}".encode()) % 9973 + 13, 10007)
    size = (share, 1 + 2 * share, 5 + 7 * share)[point % 3]
    code = ord(name) if len(name) == 1 else zlib.crc32(name.encode())
    is_negative = point == 1 if point < 2 else code >> (point - 2) & 1
    return -size if is_negative else size


def _near(one: Any, other: Any) -> bool:
    one, other = _alike(one, other)
    if isinstance(one, Fraction):
        return one == other
    return abs(one - other) * 2 ** (MAX_EXPONENT - 64) <= 1 + max(abs(one), abs(other))


def _alike(*values: Any) -> Sequence[Any]:
    """Values that can be added and so on: exact ones beside others get as many digits as those."""
    return values if all(isinstance(value, Fraction) for value in values) else [*map(_MANY.convert, values)]
