"""Chats as the text that a model sees, by the template that its folder holds, or by another.

write = template("Qwen2.5-0.5B-Instruct")
write([{"role": "user", "content": "1 + 1 ="}], add_generation_prompt=True)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlx.envs.language import files
from rlx.envs.registry import nearest

CONFIG, FILE, NAMED = "tokenizer_config.json", "chat_template.jinja", "additional_chat_templates"

NONE = "{{ messages | map(attribute='content') | join('\n') }}{% if add_generation_prompt %}{{ '\n' }}{% endif %}"
"""What stands for no template: the messages' contents, each on a line of its own."""

Chat = list[dict[str, Any]]
"""Messages, each with the texts `role` and `content`."""


def template(folder: str | os.PathLike, name: str = "") -> Callable[..., str]:
    """A chat template in Hugging Face's format, as transformers renders it.

    The template runs in Jinja's sandbox: it reads the messages and writes a text, and reaches nothing else. There is
    no `strftime_now`, so that a run sees the same text on each day; templates that ask whether it exists write a date
    of their own.

    Args:
        folder: it holds chat_template.jinja, or tokenizer_config.json with `chat_template`, a template or a list of
            named ones of which "default" counts. Special tokens are those of tokenizer_config.json.
        name: another template: a file, one that the folder names (in that list, or as a file of the folder
            additional_chat_templates), or "none" for the messages' contents, each on a line of its own.

    Returns:
        `write(messages, *, add_generation_prompt=False) -> text`; it raises ValueError where the template fails.

    Raises:
        ImportError: the library jinja2 is not installed.
        ValueError: there is no such template, or it is no Jinja.
    """
    try:
        import jinja2
        import jinja2.ext
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ImportError("chats need the library jinja2: pip install 'rlx[tokenizers]'") from error

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks what the assistant writes, which changes nothing about the text."""

        tags = {"generation"}

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str):
        raise jinja2.TemplateError(message)

    def to_json(value: Any, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
        # Jinja's own filter escapes for HTML.
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    source, special = _found(Path(folder), name)
    called = f"the chat template {name}" if name else f"the chat template of {folder}"
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.filters["tojson"] = to_json
    try:
        compiled = environment.from_string(source)
    except jinja2.TemplateError as error:
        raise ValueError(f"{called} must be one of Jinja: {_line(error)}") from error

    def write(messages: Chat, *, add_generation_prompt: bool = False) -> str:
        try:
            return compiled.render(
                messages=messages, add_generation_prompt=add_generation_prompt, tools=None, documents=None, **special
            )
        # A template is a program of someone else, which may fail in any way.
        except Exception as error:
            raise ValueError(f"{called} fails: {_line(error)}; give a chat that it can write, or texts") from error

    return write


def texts(row: dict[str, Any], write: Callable[..., str]) -> tuple[str, str, str]:
    """Prompt, chosen response and rejected response of a row of chats.

    Args:
        row: `prompt`, `chosen` and `rejected`, each a chat. `chosen` and `rejected` hold the assistant's turns, and may
            repeat the prompt's messages before them. Without `prompt`, the messages that they share are the prompt.
        write: of `template`.

    Raises:
        ValueError: the row is another, or the template does not write a response behind what it writes of its prompt.
    """
    chats = {key: messages_of(key, row[key]) for key in ("prompt", "chosen", "rejected") if key in row}
    for key in ("chosen", "rejected"):
        if key not in chats:
            raise ValueError(f"no {key!r}; {nearest(key, row)}")
    chosen, rejected = chats["chosen"], chats["rejected"]
    if "prompt" in chats:
        prompt = chats["prompt"]
    else:
        # The last message is a response, be it the same in both.
        most = min(len(chosen), len(rejected)) - 1
        shared = next((place for place in range(most) if chosen[place] != rejected[place]), most)
        prompt = chosen[:shared]
        if not prompt:
            raise ValueError("no 'prompt'; without it 'chosen' and 'rejected' must begin with the same messages")

    asked = write(prompt, add_generation_prompt=True)
    found = [asked]
    for key in ("chosen", "rejected"):
        chat = chats[key]
        repeats = len(chat) > len(prompt) and chat[: len(prompt)] == prompt
        response = chat[len(prompt) :] if repeats else chat
        for message in response:
            if message["role"] != "assistant":
                raise ValueError(
                    f"{key!r} must hold the assistant's turns, with nothing but the prompt's messages before them, got "
                    f"a message of the role {message['role']!r}"
                )
        whole = write(prompt + response)
        if not whole.startswith(asked):
            raise ValueError(
                f"the chat template must write {key!r} behind the prompt, whose text ends with {asked[-30:]!r}, but "
                f"it writes a text that ends with {whole[-60:]!r}; write the row as texts instead"
            )
        found.append(whole[len(asked) :])
    return tuple(found)


def messages_of(key: str, chat: Any) -> Chat:
    """A chat, once it is known to be one.

    Args:
        key: of the row that it is of.
        chat: the value.

    Raises:
        ValueError: it is no list of messages, each with the texts `role` and `content`.
    """
    if not isinstance(chat, list):
        advice = "; leave it out where 'chosen' and 'rejected' repeat it" if key == "prompt" else ""
        raise ValueError(f"{key!r} must be a list of messages, since another of the row is, got {chat!r:.80}{advice}")
    if not chat:
        raise ValueError(f"{key!r} must hold at least one message, got []")
    for message in chat:
        if not isinstance(message, dict) or not all(isinstance(message.get(of), str) for of in ("role", "content")):
            raise ValueError(
                f"each message of {key!r} must be an object with the texts 'role' and 'content', got {message!r:.80}"
            )
    return chat


def around(write: Callable[..., str], role: str) -> tuple[str, str]:
    """What a template writes between a turn of the assistant and the content of a reply, and behind it up to the next.

    Args:
        write: of `template`.
        role: of who replies.

    Raises:
        ValueError: the template does not write the two one behind the other.
    """
    turn, content = "TURN-OF-THE-ASSISTANT", "CONTENT-OF-THE-REPLY"
    chat = [("user", "QUESTION"), ("assistant", turn), (role, content)]
    whole = write([{"role": of, "content": text} for of, text in chat], add_generation_prompt=True)
    _, found, rest = whole.partition(turn)
    before, replied, behind = rest.partition(content)
    if not (found and replied):
        raise ValueError(
            f"the chat template must write a turn of the assistant and, behind it, a message of the role {role!r}; "
            "give another reply_role or chat template"
        )
    return before, behind


def _found(folder: Path, name: str) -> tuple[str, dict[str, str]]:
    """The template's source, and the special tokens by their names."""
    config = files.read_object(folder / CONFIG) if os.path.isfile(folder / CONFIG) else {}
    special = {}
    for key, token in config.items():
        text = token.get("content") if isinstance(token, dict) else token
        if key.endswith("_token") and isinstance(text, str):
            special[key] = text
    if name == "none":
        return NONE, special
    if os.path.isfile(name):
        return files.read_text(name), special
    own = config.get("chat_template")
    entries = own if isinstance(own, list) else [{"name": "default", "template": own}]
    sources = {
        one["name"]: one["template"]
        for one in entries
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("template"), str)
    }
    # Files of their own count before the configuration.
    further = [("default", folder / FILE), *((file.stem, file) for file in sorted((folder / NAMED).glob("*.jinja")))]
    sources |= {key: files.read_text(file) for key, file in further if os.path.isfile(file)}
    if (wanted := name or "default") in sources:
        return sources[wanted], special
    if name:
        raise ValueError(
            f"chat_template must be none, a file, or a template of {folder}: there is no file {name!r:.200}, and as "
            f"names of templates {nearest(name, sources) if sources else 'there are none'}"
        )
    raise ValueError(
        f"{folder} has no chat template: it must hold {FILE}, or {CONFIG} with 'chat_template', a template or a "
        "list with one named 'default'; or write the row as texts"
    )


def _line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
