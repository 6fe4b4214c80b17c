"""Answers are equal where they are in mathematics, however they are written, and hostile ones take no time."""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.envs.language import answers, expressions
from rlx.envs.language.rewards import math_answer, text_reward

EQUAL = [
    # Numbers.
    ("72", "72.0"), ("1,000", "1000"), ("1{,}000", "1000"), (r"1,\!000", "1000"), (r"12\,345", "12,345"),
    ("1 000 000", "1000000"), ("$1,000", "1000"), (r"\$1,000.00", "1000"), ("€5", "5 euros"), ("72.", "72"),
    ("**72**", "72"), ("$72$", "72"), (r"\(72\)", "72"), ("−3", "-3"), ("+3", "3"), ("-0", "0"), ("007", "7"),
    (".5", "0.50"), ("1.5e3", "1500"), (r"1.5\times10^3", "1500"), (r"1.5 \cdot 10^{-3}", "0.0015"), ("10^3", "1000"),
    ("9" * 5000, "9" * 5000 + ".0"),
    # Fractions.
    (r"\frac12", "1/2"), (r"\frac12", "0.5"), (r"\frac12", "½"), ("0.5", "½"), (r"\frac{1}{2}", r"\dfrac{2}{4}"),
    (r"\tfrac12", r"\frac1{2}"), (r"\frac{1}2", "1/2"), (r"-\frac{1}{2}", r"\frac{-1}{2}"), (r"-\frac{1}{2}", "-.5"),
    (r"3\frac{1}{2}", "7/2"), ("3 1/2", "3.5"), ("3½", "3.5"), (r"-3\frac12", "-3.5"), (r"\frac{0.5}{2}", "1/4"),
    # Percentages and units.
    ("50%", "0.5"), (r"50\%", "50"), ("50%", r"\frac12"), ("50%", "50.0%"), (r"5\text{ cm}", "5"),
    (r"5\text{ cm}", r"5\,\mathrm{cm}"), ("5 cm", r"5\text{ cm}"), (r"10\text{ cm}^2", "10"), ("72 apples", "72"),
    (r"90^\circ", "90"), ("90°", r"90^{\circ}"), (r"\frac{1}{2}\text{ hours}", "0.5"), (r"4\pi\text{ m}^2", r"4\pi"),
    # Roots, powers and constants.
    (r"\sqrt{8}", r"2\sqrt2"), (r"\sqrt 8", "2√2"), (r"\sqrt{4}", "2"), ("sqrt(8)", r"2\sqrt{2}"), ("2^{10}", "1024"),
    ("2**10", "1024"), (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"), (r"\sqrt[3]{-8}", "-2"), ("5!", "120"),
    (r"\binom{10}{3}", "120"), (r"\dbinom{5}{2}", r"{5 \choose 2}"), (r"2\pi", "2π"), ("pi/2", r"\frac{\pi}{2}"),
    (r"\cos\frac{\pi}{3}", "1/2"), (r"\log_2 8", "3"), (r"\ln e^2", "2"), ("(1+i)^2", "2i"), (r"e^{i\pi}", "-1"),
    ("3+4i", "4i+3"), (r"3(\frac12)", "3/2"), (r"\left(\frac{1}{2}\right)", "1/2"), (r"\lfloor\sqrt{2}^2\rfloor", "2"),
    ("2^{600}", str(2**600)), (r"\infty", "∞"), (r"|-3|", "3"), (r"100\cdot2\frac12", "250"),
    # Expressions.
    ("x²+1", "1+x^2"), ("x^{2}+1", "x^2 + 1"), ("x¹⁰", "x^10"), ("(x+1)^2", "x^2+2x+1"), (r"\frac{x^2-1}{x-1}", "x+1"),
    ("0.1x", r"\frac{x}{10}"), (r"\sin^2 x+\cos^2 x", "1"), ("|x|", r"\sqrt{x^2}"), (r"\frac{n(n+1)}{2}", "n(n+1)/2"),
    (r"2\ln x", r"\ln x^2"), ("ab", "ba"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"), (r"\theta r", r"r\theta"),
    (r"e^{2x}", r"(e^x)^2"), ("x(x+1)", "x^2+x"), (r"(-1)^{n+1}", "-(-1)^n"),
    # Equations and inequalities.
    ("x=5", "5"), ("5", "x = 5"), (r"x=\frac12", "x=0.5"), ("y=2x+1", "2x+1"), ("y=2x+1", "2y=4x+2"),
    ("f(x)=x+1", "1+x"), ("x=2+3=5", "5"), (r"x\leq 5", "5 ≥ x"), ("x<5", "2x<10"), ("x<5", "-x>-5"),
    ("1<x<5", "5>x>1"), ("x=1,2", "2,1"), ("x=1, y=2", "y=2, x=1"), (r"x\in(1,2)", "(1,2)"), (r"x \ne 3", "x!=3"),
    # Several parts.
    ("(1,2)", "(1, 2)"), (r"(\frac12,2)", "(0.5,2)"), (r"(\sqrt8,1)", r"(2\sqrt2,1)"), ("[1,2)", r"\left[1,2\right)"),
    ("1,2", "2,1"), ("1,2", "2 and 1"), (r"1\text{ or }2", r"\{2,1\}"), ("{1,2}", r"\{1,2\}"), (r"\pm2", "2,-2"),
    (r"1\pm\sqrt2", r"1+\sqrt{2}, 1-\sqrt{2}"), (r"(1,2)\cup(3,4)", r"(3,4)\cup(1,2)"), (r"(-\infty, 3)", "(−∞,3)"),
    (r"(3,\infty)", r"(3, +\infty)"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & \sqrt{16} \end{bmatrix}"),
    (r"\emptyset", r"\varnothing"), ("120,240", "120, 240"), ("((1,2),3)", "((1,2), 3)"),
    # Words.
    (r"\text{Monday}", "monday"), ("(A)", "A"), (r"\text{(C)}", "C"), ("New York", r"\text{New York}"),
    ("1011_2", "1011_{2}"),
]  # fmt: skip

UNEQUAL = [
    ("71", "72"), ("1", "-1"), ("1,000", "1"), ("9" * 400 + "8", "9" * 401), ("0.333", "1/3"),
    ("1000000.0000001", "1000000"), (r"\frac12", r"\frac32"), (r"\frac12", r"\frac21"), (r"\frac12", "12"),
    ("1/0", "2/0"), ("1/0", "1"), ("3 1/2", "31/2"), ("2 3", "23"), ("2 3", "5"), ("0.5%", "0.5"), ("50%", "5"),
    ("50%", "5000"), ("50%", "50.5%"), ("0.0000001", "0"), (r"5\text{ cm}", r"5\text{ km}"), (r"5\text{ cm}", "6"),
    ("10 cm^2", "10 cm^3"), ("90°", "91"), ("72 apples", "71 apples"), (r"\sqrt8", r"\sqrt2"),
    (r"\sqrt2", "1.41421356237"), (r"\pi", "3.14159265358979"), (r"\sqrt{2}\cdot10^{-20}", r"\sqrt{3}\cdot10^{-20}"),
    (r"2^{600}", str(2**600 + 1)), ("5!", "5"), (r"3(\frac12)", "3.5"), ("x²+1", "x³+1"), ("x^2+1", "x^3+1"),
    ("x^2+1", "y^2+1"), ("x", "X"), ("x", "|x|"), ("xy", "|xy|"), (r"\sqrt{x^2}", "x"), (r"\frac{x^2-1}{x-1}", "x-1"),
    ("x+y", "x-y"), ("2x", "x^2"), ("e", "E"), ("i", "-i"), (r"\sin x", r"\cos x"), ("f(x)", "f(y)"), ("x=5", "y=5"),
    ("x=5", "6"), ("4=5", "5"), ("x^2=-1", "x^2=-2"), ("y=2x+1", "y=2x+2"), ("x<5", "x>5"), ("x<5", r"x\le5"),
    ("x<5", "-x<-5"), ("x<5", "x=5"), ("1<x<5", r"1<x\le5"), ("x=1, y=2", "x=2, y=1"), ("x<5", "5"), (r"x \ne 3", "3"),
    ("(1,2)", "(3,2)"), ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"), ("(1,2)", "[1,2)"), ("(1,2)", "1,2"),
    ("(1,2)", r"\{1,2\}"), ("(1,2)", "(1,2,3)"), ("1,2", "1,3"), ("1,2", "1,2,3"), ("1,1,2", "1,2,2"), ("1,2", "1"),
    (r"\pm2", "2"), ("(1,2)", "12"), (r"(1,2)\cup(3,4)", r"(1,2)\cup(3,5)"), (r"(-\infty,3)", r"(\infty,3)"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\3\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"\begin{pmatrix}1\end{pmatrix}", r"\begin{vmatrix}1\end{vmatrix}"), (r"\emptyset", "0"), ("blue", "bleu"),
    ("blue", "red"), (r"\text{yes}", "no"), ("A", "B"), ("A", "a"), ("1011_2", "1011"), ("12_5", "12_6"),
    ("3:45", "3:46"), ("", ""), ("", "5"), ("undefined", "0"),
]  # fmt: skip


@pytest.mark.parametrize("one, other", EQUAL)
def test_equal_answers_are_equal(one, other):
    assert answers.equal(one, other) and answers.equal(other, one)
    assert math_answer("", rf"So 1+1=2, and \boxed{{{one}}}.", other) == 1


@pytest.mark.parametrize("one, other", UNEQUAL)
def test_wrong_answers_are_not(one, other):
    assert not answers.equal(one, other) and not answers.equal(other, one)
    assert math_answer("", f"as before\n#### {one}\n", other) == 0


@pytest.mark.parametrize(
    "text, answer",
    [
        (r"\boxed{5}", "5"), (r"\fbox{5}", "5"), (r"\boxed {5}", "5"),
        (r"$\boxed{\frac{1}{2}}$, thus.", r"\frac{1}{2}"), (r"\boxed{4}, no: \boxed{5}", "5"),
        (r"\boxed{4} and \boxed{5", "4"), (r"\boxed{x=\boxed{5}}", "5"), (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"{ \boxed{5} }} \boxed", "5"), (r"\boxed{} #### 5", "5"), ("\\boxed{5}\n#### 6", "5"), ("#### 5", "5"),
        ("####5 \nand 6", "5"), ("#### 4\n#### 5", "5"), ("####\n5", "5"), ("5", ""), ("is 5.", ""), ("", ""),
        ("boxed{5}", ""), ("# 5", ""),
    ],
)  # fmt: skip
def test_marked_answers_are_found(text, answer):
    assert answers.marked(text) == answer


def test_equal_answers_are_written_in_one_way():
    for same in (
        ["0.5", "1/2", r"\frac12", "½", r"\dfrac{2}{4}", "$0.50", r"\frac{1}{2}\text{ cm}", "5e-1"],
        ["1,000", "1000.0", r"1{,}000", r"\$1000", "1000 apples", "1e3", "1000%"],
        ["x^2+1", "x^2 + 1", "x^2+1."],
        [r"\left(1,\,2\right)", "(1, 2)"],
    ):
        assert len({answers.normal(text) for text in same}) == 1, same
    different = ["1/2", "3/2", "12", "3 1/2", "31/2", "x^2", "x^3", "(1,2)", "(2,1)", "[1,2]", "2 3", "23", "-1", "1"]
    assert len({answers.normal(text) for text in different}) == len(different)


SHORT = [
    "10^{10^{10}}", "10**10**10", "10^{10^{10^{10}}}", "99999999!", "((9!)!)!", "9!!!!", r"\binom{99999999}{9999999}",
    r"e^{e^{e^{e^{9}}}}", "x^{65000}", "((x+1)^{60000})^{60000}", "1e999", "1e-999", "1e99999999", r"\frac{1}{0}",
    "0^{-1}", r"\ln 0", r"\operatorname{zeros}(99999,99999)", r"\int_0^1 e^{x^x} dx", r"\sum_{n=1}^{10^9} n",
    "__import__('os')", r"\tan\frac{\pi}{2}", r"e^{10^{6}}", r"\sin(10^{100})", "(-8)^{1/3}", r"\log_1 2",
    r"\sqrt[0]{2}", "x_", r"\frac", "^", "(", "|", r"\begin{pmatrix}", "∞/∞",
]  # fmt: skip
REPEATED = [
    "x^", "x^x^", "y^d", "d_", r"\sin d", r"\sin ", r"\ln x^", "(", "{", "((x))", "|", "|x|", r"\sqrt{", r"\frac{1}{1+",
    "-", "1+", "2^{", "x!+", "x^{999}+", "1,", r"\pm", "x=", "a b ", "2(3)", "f(", "½", "²", r"\cup", "1 a", " ab",
    r"\text{", " and ", r"\ ", "####", r"\boxed{", r"\boxed{1}", "9", "123,", "% ", "$", "*", " 000", "1<", "&", r"\\",
    "\\", "\n", r"\{", ",(", "10^{", r"\lfloor x", "٣", "e^i",
]  # fmt: skip


def judge_in_little_time(*texts):
    begin = time.process_time()
    for text in texts:
        assert math_answer("", rf"\boxed{{{text}}}", "x+1") == 0
        assert math_answer("", f"#### {text}", r"\sqrt{2}", last_number=True) == 0
        assert answers.equal(text, text) in (True, False) and isinstance(answers.normal(text), str)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("answer", SHORT)
def test_hostile_answers_take_little_time(answer):
    judge_in_little_time(answer)


@pytest.mark.parametrize("part", REPEATED)
def test_repetitions_take_little_time(part):
    judge_in_little_time(*((part * 300)[:length] + end for length in (40, 190, 199) for end in ("", "x")))
    judge_in_little_time(part * (200_000 // len(part)))


def test_rewards_in_threads_are_those_of_one():
    expressions._tree.cache_clear()
    expressions._value_at.cache_clear()
    texts = [rf"\boxed{{{one}}}" for one, _ in EQUAL + UNEQUAL]
    right = [other for _, other in EQUAL + UNEQUAL]
    score = text_reward(
        math_answer, [("", other) for other in right], decode=lambda tokens: texts[tokens[0]], end_token=1000, workers=8
    )
    index = jnp.arange(len(texts))
    tokens = jnp.stack([index, jnp.full_like(index, 1000)], axis=1)
    reward, _ = jax.vmap(score)(index, tokens, jnp.full(tokens.shape, True))
    np.testing.assert_array_equal(reward, [1] * len(EQUAL) + [0] * len(UNEQUAL))


def test_answers_need_no_algebra_system():
    code = "from rlx.envs.language.rewards import math_answer; import sys; print(math_answer('', '#### 72', '72.0')); "
    code += "print(math_answer('', r'\\boxed{\\sqrt8}', r'2\\sqrt2'), 'sympy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1.0", "1.0", "False"]
