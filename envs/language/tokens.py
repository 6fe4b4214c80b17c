"""Any tokenizer as three functions: of a text without and with what it puts around a whole one, and of tokens.

And by which tokens a model ends its turn, as its folder says.
"""

from __future__ import annotations

import inspect
import numbers
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rlx.envs.language import files

CONFIG, GENERATION = "tokenizer_config.json", "generation_config.json"

MAX_LENGTH = 2**20
"""Most tokens of a prompt, of a response and of a reply: more than any model was made for."""


class Tokens:
    """A tokenizer of the library `tokenizers`, of transformers, or of one's own.

    Attributes:
        size: number of its tokens.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.size = tokenizer.get_vocab_size() if hasattr(tokenizer, "get_vocab_size") else len(tokenizer)
        has_choice = "add_special_tokens" in inspect.signature(tokenizer.encode).parameters
        self._bare = {"add_special_tokens": False} if has_choice else {}

    def bare(self, text: str) -> list[int]:
        """Tokens of a text, without those that the tokenizer puts around a whole one."""
        return _ids(_ask(text, self.tokenizer.encode, text, **self._bare))

    def whole(self, text: str) -> list[int]:
        """Tokens of a text, with those, unless it begins with them already, as one may that a chat template wrote."""
        own, full = self.bare(text), _ids(_ask(text, self.tokenizer.encode, text))
        added = next((n for n in range(len(full)) if full[n : n + len(own)] == own), 0)
        return full[added:] if own[:added] == full[:added] else full

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens. Models may have more tokens than their tokenizers, for the sake of round numbers."""
        known = [token for token in tokens if token < self.size]
        return _ask(known, self.tokenizer.decode, known)

    def ends(self, token: str | int | Sequence[str | int]) -> tuple[int, ...]:
        """Numbers of the tokens that end a response, each once, in their order.

        Args:
            token: text or number of one, or several of them.

        Raises:
            ValueError: there is none, or one is not one of the tokens.
        """
        several = [token] if isinstance(token, (str, numbers.Integral)) else list(token)
        if not several:
            raise ValueError(f"end_token must be a token, or several of them, got {token!r:.80}")
        return tuple(dict.fromkeys(map(self._end, several)))

    def unused(self, *texts: Iterable[int]) -> int:
        """A token that is in none of these, to fill up with: masks tell what is real, and the last are least common.

        Raises:
            ValueError: all occur.
        """
        used = {token for text in texts for token in text}
        token = next((token for token in reversed(range(self.size)) if token not in used), None)
        if token is None:
            raise ValueError(
                f"all of the tokenizer's {self.size} tokens occur in the texts; it needs one more for padding"
            )
        return token

    def _end(self, token: str | int) -> int:
        found = self.bare(token) if isinstance(token, str) else [token]
        if len(found) != 1 or not isinstance(found[0], numbers.Integral) or not 0 <= found[0] < self.size:
            raise ValueError(
                f"end_token must be one of the tokenizer's {self.size} tokens, got {token!r:.80}, which is "
                f"{found!s:.80}"
            )
        return int(found[0])


def ends_of(folder: str | os.PathLike) -> list[str | int]:
    """The tokens by which a model in Hugging Face's format ends its turn.

    Args:
        folder: it holds tokenizer_config.json with `eos_token`, generation_config.json with `eos_token_id`, one number
            or a list of them, or both.

    Returns:
        The tokenizer's, which is written behind texts to imitate, and after it those by which generation stops; one
        may be there twice, as a text and as a number.

    Raises:
        ValueError: neither file says, or one is damaged.
    """
    further = _generation_ends(Path(folder) / GENERATION)
    file = Path(folder) / CONFIG
    if further and not os.path.isfile(file):
        return further
    token = files.read_object(file).get("eos_token")
    token = token.get("content") if isinstance(token, dict) else token
    own = [token] if isinstance(token, str) and token else []
    if not (own or further):
        raise ValueError(
            f"{file} names no eos_token, and there is no {GENERATION} with eos_token_id; say by which token a response "
            "ends: end_token=…"
        )
    return own + further


def _generation_ends(file: Path) -> list[int]:
    if not os.path.isfile(file):
        return []
    found = files.read_object(file).get("eos_token_id")
    ends = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(end) is int for end in ends):
        raise ValueError(f"{file}: eos_token_id must be a whole number or a list of them, got {found!r:.80}")
    return ends


def _ask(about: Any, function: Callable, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except (KeyboardInterrupt, SystemExit):
        raise
    # A tokenizer is a program of someone else; panics of the library `tokenizers` are no `Exception`.
    except BaseException as error:
        raise ValueError(f"the tokenizer fails at {about!r:.80}: {' '.join(str(error).split())}") from error


def _ids(encoded: Any) -> list[int]:
    return list(getattr(encoded, "ids", encoded))
