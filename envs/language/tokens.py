"""Any tokenizer as three functions: of a text without and with what it puts around a whole one, and of tokens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any


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
        """Tokens of a text, with those."""
        return _ids(_ask(text, self.tokenizer.encode, text))

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens. Models may have more tokens than their tokenizers, for the sake of round numbers."""
        known = [token for token in tokens if token < self.size]
        return _ask(known, self.tokenizer.decode, known)

    def end(self, token: str | int) -> int:
        """Number of the token that ends a response.

        Raises:
            ValueError: it is not one of the tokens.
        """
        found = self.bare(token) if isinstance(token, str) else [token]
        if len(found) != 1 or not 0 <= found[0] < self.size:
            raise ValueError(
                f"end_token must be one of the tokenizer's {self.size} tokens, got {token!r:.80}, which is "
                f"{found!s:.80}"
            )
        return found[0]


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
