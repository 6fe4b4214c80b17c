"""Parquet holds what JSONL holds: the same columns give the same problems, and what is wrong is one line."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from rlx.envs.language import pairs, text
from rlx.recipes import SettingError, grpo, language_tasks

CHAT = [{"role": "system", "content": "add"}, {"role": "user", "content": "1 + 2"}]
QUESTIONS = [
    {"question": "1 + 1", "answer": "#### 2", "id": 7},
    {"question": "ü\u2028?", "answer": 3, "id": 8},
    {"question": CHAT, "answer": -0.5, "id": 9},
]


def in_json(path, rows):
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def in_parquet(path, columns, **options):
    pyarrow.parquet.write_table(pa.table(columns), path, **options)
    return path


def test_the_same_columns_are_the_same_problems(tmp_path):
    of = lambda rows, key: [row[key] for row in rows]
    texts, chats = QUESTIONS[:2], QUESTIONS[2:] * 3
    columns = {
        "question": pa.array(of(texts, "question"), pa.large_string()),
        "answer": pa.array(["#### 2", "3"]).dictionary_encode(),
        "id": of(texts, "id"),
    }
    path = in_parquet(tmp_path / "texts.parquet", columns)
    assert text.read_file(path) == text.read_file(in_json(tmp_path / "texts.jsonl", texts)) != []
    numbers = in_parquet(tmp_path / "numbers.parquet", {"q": ["a", "b"], "a": [4, 5]})
    assert text.read_file(numbers, prompt="q", answer="a") == [("a", "4"), ("b", "5")]
    # Several row groups, and messages whose fields are there in every row, null where JSON would leave them out.
    messages = [[message | {"tool_calls": None} for message in CHAT]] * 3
    columns = {"question": messages, "answer": [-0.5] * 3, "id": [9] * 3}
    path = in_parquet(tmp_path / "chats.parquet", columns, row_group_size=2)
    assert text.read_file(path) == text.read_file(in_json(tmp_path / "chats.jsonl", chats)) == [(CHAT, "-0.5")] * 3


def test_an_answer_may_lie_in_an_object(tmp_path):
    """As in files of verl: a chat, and the answer among what a reward needs."""
    rows = [{"prompt": CHAT, "reward_model": {"ground_truth": str(n), "style": "rule"}, "a.b": n} for n in (2, 3)]
    table = in_parquet(tmp_path / "verl.parquet", {key: [row[key] for row in rows] for key in rows[0]})
    for path in (table, in_json(tmp_path / "verl.jsonl", rows)):
        read = lambda answer, path=path: text.read_file(path, prompt="prompt", answer=answer)
        # A column's own name comes first.
        assert read("reward_model.ground_truth") == read("a.b") == [(CHAT, "2"), (CHAT, "3")]
        with pytest.raises(ValueError, match="1: no 'truth'; it has|1: no 'truth'; did you mean ground_truth"):
            read("reward_model.truth")
        with pytest.raises(ValueError, match="1: 'reward_model' must be a text or a number, got {'ground_truth': '2'"):
            read("reward_model")


def test_pairs_are_read_alike(tmp_path):
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "d", "chosen": "e", "rejected": "f"}]
    path = in_parquet(tmp_path / "pairs.parquet", {key: [row[key] for row in rows] for key in rows[0]})
    assert pairs.read_file(path) == pairs.read_file(in_json(tmp_path / "pairs.jsonl", rows)) != []


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"questions": ["a"], "answer": ["b"]}, "bad.parquet, row 1: no 'question'; did you mean questions"),
        ({"question": ["a", None], "answer": ["b", "c"]}, "bad.parquet, row 2: no 'question'; choose from answer"),
        ({"question": [b"\xff"], "answer": ["b"]}, r"bad.parquet, row 1: 'question' must be a text, got b'\\xff'"),
        ({"question": ["a"], "answer": [True]}, "bad.parquet, row 1: 'answer' must be a text or a number, got True"),
        (
            {"question": ["a"], "answer": [float("nan")]},
            "bad.parquet, row 1: 'answer' must be a text or a number, got nan",
        ),
        ({"question": [[1, 2]], "answer": ["b"]}, "row 1: each message of 'question' must be an object with the texts"),
        ({"question": [[]], "answer": ["b"]}, "row 1: 'question' must hold at least one message"),
        (
            {"question": pa.array([], pa.string()), "answer": pa.array([], pa.string())},
            "bad.parquet is empty; each of its rows must have 'question' and 'answer'",
        ),
    ],
)
def test_what_a_file_lacks_is_one_line(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message) as error:
        text.read_file(in_parquet(tmp_path / "bad.parquet", columns))
    assert "\n" not in str(error.value)


def test_what_is_no_parquet_is_one_line(tmp_path):
    whole = in_parquet(tmp_path / "whole.parquet", {"question": ["a"] * 99, "answer": ["b"] * 99}).read_bytes()
    path = tmp_path / "bad.parquet"
    invalid = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    in_parquet(tmp_path / "letters.parquet", {"question": invalid, "answer": ["b"]})
    letters = (tmp_path / "letters.parquet").read_bytes()
    for content in (
        b"",
        b'{"question": "a", "answer": "b"}',
        whole[:-9],
        whole[:4] + b"\xff" * 99 + whole[99:],
        letters,
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="bad.parquet must be a file of Parquet, and whole: ") as error:
            text.read_file(path)
        assert "\n" not in str(error.value)
    for name, found in (("nowhere.parquet", "there is none"), (".", "it is a folder")):
        with pytest.raises(ValueError, match=f"must be a file, but {found}"):
            text.read_file(tmp_path / name)


def test_a_task_may_be_a_file_of_parquet(tmp_path):
    path = str(in_parquet(tmp_path / "sums.parquet", {"question": ["a"], "answer": ["b"]}))
    with pytest.raises(SettingError, match="pretrained must name a folder of weights whose tokenizer reads"):
        grpo.Config(task=path)
    with pytest.raises(SettingError, match="there is no file 'nowhere.parquet'"):
        language_tasks.check_task("nowhere.parquet", "")
