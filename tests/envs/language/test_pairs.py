"""Chats in a file of pairs become the text that their folder's template writes, once and in full."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from tokenizers import processors

import rlx
from rlx import recipes
from rlx.envs.language import chat, pairs
from rlx.policies import transformer

GOLDEN = Path(__file__).parents[2] / "policies" / "transformer" / "golden" / "qwen2"

TEMPLATE = """{{ bos_token }}
{%- for message in messages %}
    {%- if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}
    {%- if message.content == '' %}{% continue %}{% endif %}
    {{- '<start>' + message['role'] + '\n' + message['content'] + eos_token + '\n' }}
{%- endfor %}
    {% if add_generation_prompt %}
{{ '<start>assistant\n' }}
{%- endif %}
"""
SPECIAL = {"bos_token": "<bos>", "eos_token": {"content": "<end>", "special": True}, "pad_token": "<pad>"}


def said(role, content):
    return {"role": role, "content": content}


ASKED, RIGHT, WRONG = said("user", "1 + 2 ="), said("assistant", "sum 3"), said("assistant", "4")
EXPLICIT = {"prompt": [ASKED], "chosen": [RIGHT], "rejected": [WRONG]}
IMPLICIT = {"chosen": [ASKED, RIGHT], "rejected": [ASKED, WRONG]}
REPEATED = {"prompt": [ASKED], "chosen": [ASKED, RIGHT], "rejected": [ASKED, WRONG]}
TEXTS = ("<bos><start>user\n1 + 2 =<end>\n<start>assistant\n", "sum 3<end>\n", "4<end>\n")


def configure(folder, **content):
    (folder / "tokenizer_config.json").write_text(json.dumps(SPECIAL | content))


@pytest.fixture
def folder(tmp_path):
    """The golden model, whose tokenizer learns the template's tokens and puts the first in front of every text."""
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN, folder)
    tokenizer = transformer.load_tokenizer(folder)
    tokenizer.add_special_tokens(["<bos>", "<end>", "<start>"])
    tokenizer.add_tokens(["user", "assistant", "\n"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    configure(folder, chat_template=TEMPLATE)
    return folder


def write(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("row", [EXPLICIT, IMPLICIT, REPEATED])
def test_each_form_of_a_chat_is_the_same_text(folder, tmp_path, row):
    text = {"prompt": "<bos>1", "chosen": "2", "rejected": "3"}
    path = write(tmp_path / "chats.jsonl", row, text)
    assert pairs.read_file(path, folder=folder) == [(*TEXTS, True), ("<bos>1", "2", "3", False)]


def test_turns_before_the_last_are_the_prompt(folder, tmp_path):
    begin = [said("system", "sum"), ASKED, RIGHT, said("user", "+ 1 =")]
    same = {"chosen": [ASKED, RIGHT], "rejected": [ASKED, RIGHT]}
    longer = {"prompt": [ASKED], "chosen": [WRONG, RIGHT], "rejected": [WRONG]}
    row = {"chosen": [*begin, WRONG], "rejected": [*begin, RIGHT]}
    first, second, third = pairs.read_file(write(tmp_path / "chats.jsonl", row, same, longer), folder=folder)
    prompt = (
        "<bos><start>system\nsum<end>\n<start>user\n1 + 2 =<end>\n<start>assistant\nsum 3<end>\n"
        "<start>user\n+ 1 =<end>\n<start>assistant\n"
    )
    assert first == (prompt, "4<end>\n", "sum 3<end>\n", True)
    assert second == (TEXTS[0], "sum 3<end>\n", "sum 3<end>\n", True)
    assert third == (TEXTS[0], "4<end>\n<start>assistant\nsum 3<end>\n", "4<end>\n", True)


def test_the_template_is_found_where_transformers_puts_it(folder):
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "default {{ unk_token }}."}]
    configure(folder, chat_template=named)
    assert chat.template(folder)([ASKED]) == "default ."
    # A file of its own counts before the configuration.
    (folder / chat.FILE).write_text("{% generation %}{{ messages | tojson }}{% endgeneration %}{{ pad_token }}")
    assert chat.template(folder)([said("user", "<ü>")]) == '[{"role": "user", "content": "<ü>"}]<pad>'
    (folder / "tokenizer_config.json").unlink()
    assert chat.template(folder)([said("user", "a")]) == '[{"role": "user", "content": "a"}]'


def test_a_run_reads_chats_by_the_template_of_its_folder(folder, tmp_path):
    texts = [{"prompt": prompt, "chosen": "5", "rejected": "6<end> \n"} for prompt in ("<bos>1", "1")]
    path, test = write(tmp_path / "chats.jsonl", EXPLICIT, *texts), write(tmp_path / "test.jsonl", IMPLICIT)
    recipe = recipes.recipe("dpo")
    make = lambda **options: recipe.make_environment(
        recipe.configure(pairs=f"{path}@prompt_length=16@response_length=4", pretrained=str(folder), **options)
    )
    task = make()
    tokenizer = transformer.load_tokenizer(folder)
    ids = lambda *tokens: [tokenizer.token_to_id(token) for token in tokens]
    assert [task.end_token] == ids("<end>")

    train, held_out = task.pairs_of("train"), task.pairs_of("test")
    asked = lambda of: [tokens[where].tolist() for tokens, where in zip(of.prompt, of.prompt_where, strict=True)]
    response = lambda of, row, which: of.token[row, which][of.where[row, which]].tolist()
    turn = ids("<start>", "user", "\n", "1", "+", "2", "=", "<end>", "\n")
    chat_prompt = [*ids("<bos>"), *turn, *ids("<start>", "assistant", "\n")]
    # The first token of all is there once, whether the template, the file or the tokenizer writes it.
    assert asked(train) == [chat_prompt, ids("<bos>", "1")] and asked(held_out) == [ids("<bos>", "1")]
    # The line's end behind a turn is no part of a response, and there is one end.
    assert response(train, 0, 0) == ids("sum", "3", "<end>") and response(train, 0, 1) == ids("4", "<end>")
    assert response(held_out, 0, 0) == ids("5", "<end>") and response(held_out, 0, 1) == ids("6", "<end>")
    # A template that writes no first token wants none, whatever the tokenizer adds to texts.
    configure(folder, chat_template=TEMPLATE.removeprefix("{{ bos_token }}\n"))
    assert asked(make(test_pairs=str(test)).pairs_of("test")) == [chat_prompt[1:]]


@pytest.mark.parametrize(
    "row, message",
    [
        ({**EXPLICIT, "prompt": "1 + 2 ="}, "'prompt' must be a list of messages, since another of the row is, got '1"),
        ({**EXPLICIT, "rejected": "4"}, "'rejected' must be a list of messages, since another of the row is, got '4'"),
        ({**EXPLICIT, "chosen": [{"content": "3"}]}, "each message of 'chosen' must be an object with the texts"),
        ({**EXPLICIT, "prompt": [said("user", ["1"])]}, "each message of 'prompt' must be an object with the texts"),
        ({**EXPLICIT, "prompt": ["1"]}, "each message of 'prompt' must be an object with the texts"),
        ({**EXPLICIT, "rejected": []}, "'rejected' must hold at least one message, got []"),
        ({"prompt": [ASKED], "chosen": [RIGHT], "reject": [WRONG]}, "no 'rejected'; did you mean reject"),
        ({"chosen": [RIGHT], "rejected": [WRONG]}, "no 'prompt'; without it 'chosen' and 'rejected' must begin with"),
        ({**EXPLICIT, "chosen": [said("user", "5"), RIGHT]}, "'chosen' must hold the assistant's turns"),
        ({**EXPLICIT, "prompt": [said("tool", "5")]}, "fails: TemplateError: no tools here; give a chat that it can"),
        # The template leaves empty messages out, and with them what announces the response.
        ({**EXPLICIT, "rejected": [said("assistant", "")]}, "the chat template must write 'rejected' behind the"),
    ],
)  # fmt: skip
def test_a_chat_that_cannot_be_read_is_one_line(folder, tmp_path, row, message):
    path = write(tmp_path / "bad.jsonl", EXPLICIT, row)
    with pytest.raises(ValueError) as error:
        pairs.read_file(path, folder=folder)
    assert f"{path}, row 2: " in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        ({}, "has no chat template: it must hold chat_template.jinja, or tokenizer_config.json with 'chat_template'"),
        ({"chat_template": [{"name": "rag", "template": ""}, "default"]}, "has no chat template"),
        ({"chat_template": "{% for %}"}, "must be one of Jinja: TemplateSyntaxError: "),
        ({"chat_template": "{{ messages[0].content + 1 }}"}, "fails: TypeError: "),
        ({"chat_template": "{{ nothing.at_all }}"}, "fails: UndefinedError: 'nothing' is undefined"),
        ({"chat_template": "{{ messages.append(1) }}"}, "fails: SecurityError: "),
        ({"chat_template": "{{ raise_exception.__globals__['json'] }}"}, "fails: SecurityError: "),
    ],
)
def test_a_template_that_does_not_work_is_one_line(folder, tmp_path, content, message):
    configure(folder, **content)
    path = write(tmp_path / "chats.jsonl", EXPLICIT)
    with pytest.raises(ValueError) as error:
        rlx.make_train("dpo", pairs=str(path), pretrained=str(folder), warmup_steps=0)
    assert f"{path}, row 1: " in str(error.value) and message in str(error.value) and "\n" not in str(error.value)
    # Texts need no template.
    texts = write(tmp_path / "texts.jsonl", {"prompt": "1", "chosen": "2", "rejected": "3"})
    assert pairs.read_file(texts, folder=folder) == [("1", "2", "3", False)]


def test_a_configuration_that_is_no_object_is_named(folder, tmp_path):
    for text, message in (("{", "must be JSON: "), ("[]", r"must be a JSON object, got \[\]")):
        (folder / "tokenizer_config.json").write_text(text)
        with pytest.raises(ValueError, match=f"row 1: .*tokenizer_config.json {message}"):
            pairs.read_file(write(tmp_path / "chats.jsonl", EXPLICIT), folder=folder)


def test_without_jinja_the_line_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"chats need the library jinja2: pip install 'rlx\[tokenizers\]'"):
        pairs.read_file(write(tmp_path / "chats.jsonl", EXPLICIT), folder=folder)


def test_another_template_writes_the_chats(folder, tmp_path):
    path = write(tmp_path / "chats.jsonl", EXPLICIT)
    assert pairs.read_file(path, folder=folder, chat_template="none") == [("1 + 2 =\n", "sum 3", "4", True)]
    recipe, task = (
        recipes.recipe("dpo"),
        f"{write(tmp_path / 'pairs.jsonl', *[EXPLICIT] * 2, IMPLICIT)}@prompt_length=16",
    )
    config = recipe.configure(pairs=task, pretrained=str(folder), chat_template="nowhere.jinja")
    with pytest.raises(ValueError, match="pairs.jsonl, row 1: chat_template must be none, a file, or a template of"):
        recipe.make_environment(config)
