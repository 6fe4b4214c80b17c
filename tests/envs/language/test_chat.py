"""Prompts that are lists of messages become what a model's own chat template writes, or another's."""

import json

import jax
import numpy as np
import pytest

from rlx.envs.language import chat, text
from rlx.recipes import SettingError, grpo, language_tasks
from tests.text_policy import tokenizer

# In the manner of Qwen2.5: a system message of its own, and a line's end behind each turn.
QWEN = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nBe useful.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "user" or message.role == "assistant" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# In the manner of Llama 3: the first token of all, contents trimmed, headers.
LLAMA = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim"
    " + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ASKED = [{"role": "system", "content": "Add."}, {"role": "user", "content": " 1 + 2 = "}]
TURNS = [*ASKED[1:], {"role": "assistant", "content": "4"}, {"role": "user", "content": "more"}]


def folder(path, **config):
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>", "bos_token": "<bos>"} | config))
    return path


@pytest.mark.parametrize(
    "source, messages, expected",
    [
        (QWEN, ASKED, "<|im_start|>system\nAdd.<|im_end|>\n<|im_start|>user\n 1 + 2 = <|im_end|>\n"),
        (
            QWEN,
            TURNS,
            "<|im_start|>system\nBe useful.<|im_end|>\n<|im_start|>user\n 1 + 2 = <|im_end|>\n"
            "<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\nmore<|im_end|>\n",
        ),
        (
            LLAMA,
            ASKED,
            "<bos><|start_header_id|>system<|end_header_id|>\n\nAdd.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n1 + 2 =<|eot_id|>",
        ),
    ],
    ids=["qwen", "qwen with turns", "llama"],
)
def test_templates_write_what_their_models_were_trained_on(tmp_path, source, messages, expected):
    write = chat.template(folder(tmp_path, chat_template=source))
    begins = {QWEN: "<|im_start|>assistant\n", LLAMA: "<|start_header_id|>assistant<|end_header_id|>\n\n"}[source]
    assert write(messages) == expected
    assert write(messages, add_generation_prompt=True) == expected + begins


def test_another_template_is_named(tmp_path):
    named = [{"name": "default", "template": "default"}, {"name": "tools", "template": "with tools"}]
    folder(tmp_path, chat_template=named)
    (tmp_path / "own.jinja").write_text("of a file {{ bos_token }}")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("with documents")
    names = ("", "tools", "rag", str(tmp_path / "own.jinja"))
    written = [chat.template(tmp_path, name)(ASKED) for name in names]
    assert written == ["default", "with tools", "with documents", "of a file <bos>"]
    plain = chat.template(tmp_path, "none")
    assert plain(TURNS) == " 1 + 2 = \n4\nmore" and plain(ASKED, add_generation_prompt=True) == "Add.\n 1 + 2 = \n"
    with pytest.raises(ValueError, match="there is no file 'tool', and as names of templates did you mean tools"):
        chat.template(tmp_path, "tool")
    folder(tmp_path)
    assert chat.template(tmp_path, "none")(ASKED) == "Add.\n 1 + 2 = "


def test_what_is_written_around_a_reply(tmp_path):
    write = chat.template(folder(tmp_path, chat_template=QWEN))
    begins = "<|im_end|>\n<|im_start|>assistant\n"
    assert chat.around(write, "user") == ("<|im_end|>\n<|im_start|>user\n", begins)
    tool = "<|im_end|>\n<|im_start|>user\n<tool_response>\n", "\n</tool_response>" + begins
    assert chat.around(write, "tool") == tool
    assert chat.around(chat.template(tmp_path, "none"), "user") == ("\n", "\n")
    with pytest.raises(ValueError, match="must write .* a message of the role 'ipython'; give another reply_role"):
        chat.around(write, "ipython")


PLAIN = "{% for message in messages %}{{ message.content }} {% endfor %}{% if add_generation_prompt %}= {% endif %}"


def test_prompts_of_a_task_may_be_chats(tmp_path):
    folder(tmp_path, chat_template=PLAIN)
    asked = lambda a, b: [{"role": "user", "content": f"{a} + {b}"}]
    rows = [{"question": asked(a, b), "answer": f"#### {a + b}"} for a in range(4) for b in range(4)]
    # A text among chats stays as it is.
    rows.append({"question": "9 + 9", "answer": "#### 18"})
    for name, of in (("train", rows), ("test", rows[:3])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, of)))
    told = []

    def reward(prompt, response, answer):
        told.append(prompt)
        return 1.0

    path = tmp_path / "train.jsonl"
    options = dict(end_token="<end>", prompt_length=6, response_length=4, test=tmp_path / "test.jsonl")
    task = text.from_file(path, tokenizer(), folder=tmp_path, reward=reward, **options)
    # Equal chats are equal prompts: what is tested on is not trained on.
    assert task.counts == {"train": 14, "test": 3} and task.pairs[-3:] == [(asked(0, b), f"#### {b}") for b in range(3)]
    problem = task.problem(1, "test")
    assert task.decode(problem.prompt) == "0 + 1 =" and not np.asarray(problem.where)[:2].any()
    assert task.decode(task.problem(13, "train").prompt) == "9 + 9"
    solution = task.solve(problem)
    assert bool(jax.jit(task.verify)(problem, solution, solution != task.pad_token).correct)
    assert told == [asked(0, 1)]

    plain = text.from_file(path, tokenizer(), folder=tmp_path, chat_template="none", **options)
    assert plain.decode(plain.problem(1, "test").prompt) == "0 + 1"
    with pytest.raises(ValueError, match="a prompt is a chat; name the folder whose chat template writes it: folder="):
        text.from_file(path, tokenizer(), **options)
    (tmp_path / "texts.jsonl").write_text(json.dumps(rows[-1]) + "\n")
    with pytest.raises(
        ValueError, match="chat_template='none' is for prompts that are lists of messages, and .*texts.js"
    ):
        text.from_file(tmp_path / "texts.jsonl", tokenizer(), folder=tmp_path, chat_template="none", end_token=1)


def test_a_run_names_a_template(tmp_path):
    folder(tmp_path, chat_template="{{ messages[0].content }}")
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    rows = [{"question": [{"role": "user", "content": f"{a} + {b}"}], "answer": "#### 1"} for a in "123" for b in "456"]
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "other.jinja").write_text(PLAIN)
    shown = {}
    for template in ("", "none", str(tmp_path / "other.jinja")):
        config = grpo.Config(
            task=f"{path}@prompt_length=5@test_share=0.5", pretrained=str(tmp_path), chat_template=template
        )
        task = language_tasks.make_environment(config)
        shown[template] = task.decode(task.problem(0, "train").prompt).split()[3:]
    assert list(shown.values()) == [[], [], ["="]]
    with pytest.raises(SettingError, match="chat_template is for files of texts, which need pretrained weights"):
        grpo.Config(chat_template="none")
