"""Conversations: a user's Python function answers the policy's turns, as a tool, an opponent or a user would.

def turn(messages):                      # [{"role": "user", "content": …}, {"role": "assistant", "content": …}, …]
    return "too low" if int(messages[-1]["content"]) < 42 else None      # None ends the conversation

The function is called on the host from inside a compiled program, with the conversation so far, whose last message is
the policy's.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from rlx.envs.language import chat
from rlx.envs.language.calls import Calls, check_function, check_limits, of_arrays
from rlx.envs.language.tokens import MAX_LENGTH, Tokens

Turn = Callable[[chat.Chat], str | None]
"""`messages -> reply`; None ends the conversation."""

MAX_TURNS = 64
"""Most turns of the policy: each is compiled apart."""


@dataclasses.dataclass(frozen=True, eq=False)
class Conversation:
    """How a conversation lies in the tokens of a response: turns of the policy, and between two of them a reply.

    Attributes:
        turn_length: most tokens of a turn, which is padded on the right.
        reply_length: most tokens of a reply, which is padded on the left: what the policy says next follows a real
            token.
        ends: tokens that end a turn.
        around: tokens that a chat template writes before and behind the content of a reply.
        role: of who replies.
        pad: what fills replies up.
        tokens: of texts, and back.
    """

    turn_length: int
    reply_length: int
    ends: Sequence[int]
    around: tuple[Sequence[int], Sequence[int]]
    role: str
    pad: int
    tokens: Tokens

    def read(
        self, prompt: Any, tokens: Int[np.ndarray, " time"], where: Bool[np.ndarray, " time"]
    ) -> tuple[chat.Chat, list[int]]:
        """The messages before the policy's last turn, and the tokens of that turn.

        Args:
            prompt: a text, which is the first message of the user, or a chat.
            tokens: of the response.
            where: True at real tokens.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [*prompt]
        before, behind = map(len, self._around(prompt))
        last, begin = [], 0
        while begin < len(tokens):
            end, stop = begin + self.turn_length, begin + self.turn_length + self.reply_length
            turn, reply = (tokens[a:b][where[a:b]].tolist() for a, b in ((begin, end), (end, stop)))
            if not turn:
                break
            last = turn
            if reply and where[stop : stop + self.turn_length].any():
                messages.append(self._said(turn))
                content = self.tokens.text(reply[before : len(reply) - behind])
                messages.append({"role": self.role, "content": content})
            begin = stop
        return messages, last

    def ask(self, prompt: Any, tokens: Int[np.ndarray, " time"], where: Bool[np.ndarray, " time"]) -> chat.Chat | None:
        """What is told to who replies to the last turn of these tokens; None where that turn has not ended.

        Args:
            prompt: as of `read`.
            tokens: of the response, up to the end of a turn.
            where: True at real tokens.
        """
        messages, last = self.read(prompt, tokens, where)
        is_last = where[-self.turn_length :].any()
        return [*messages, self._said(last)] if is_last and last[-1] in self.ends else None

    def write(self, prompt: Any, reply: str) -> list[int]:
        """Tokens of a reply, whose content is cut to what there is room for."""
        before, behind = self._around(prompt)
        content = self.tokens.bare(reply)
        room = self.reply_length - len(before) - len(behind)
        if len(content) > room:
            warnings.warn(
                f"replies of more than {room} tokens are cut to these, as reply_length={self.reply_length} says",
                stacklevel=2,
            )
        return [*before, *content[:room], *behind]

    def _around(self, prompt: Any) -> tuple[Sequence[int], Sequence[int]]:
        return ((), ()) if isinstance(prompt, str) else self.around

    def _said(self, turn: Sequence[int]) -> dict[str, str]:
        own = turn[:-1] if turn[-1] in self.ends else turn
        return {"role": "assistant", "content": self.tokens.text(own)}


def conversation(
    tokens: Tokens,
    ends: Sequence[int],
    pad: int,
    *,
    turn_length: int,
    reply_length: int,
    role: str,
    write: Callable[..., str] | None,
) -> Conversation:
    """How conversations lie in tokens, with replies to chats as a chat template writes them.

    Args:
        tokens: of texts, and back.
        ends: tokens that end a turn.
        pad: what fills replies up.
        turn_length: most tokens of a turn.
        reply_length: most tokens of a reply, with what the template writes around it.
        role: of who replies.
        write: the template; None where no prompt is a chat, and replies are put in as they stand.

    Raises:
        ValueError: the template does not write such messages, or leaves no room for what they say.
    """
    if write is None:
        return Conversation(turn_length, reply_length, ends, ((), ()), role, pad, tokens)
    before, behind = map(tokens.bare, chat.around(write, role))
    # The end of the turn is the policy's own.
    ended = next((place for place, token in enumerate(before) if token in ends), -1)
    around = (before[ended + 1 :], behind)
    if reply_length <= (own := sum(map(len, around))):
        raise ValueError(
            f"reply_length must be above {own}, the tokens that the chat template writes around a reply, got "
            f"{reply_length}"
        )
    return Conversation(turn_length, reply_length, ends, around, role, pad, tokens)


def check_turns(function: Any, num_turns: int, reply_length: int) -> None:
    """Check what makes a task of one turn one of several.

    Raises:
        ValueError: `function` is none of a conversation, or a count is out of range.
    """
    check_function(function, "turn", ("messages",))
    if not 2 <= num_turns <= MAX_TURNS:
        raise ValueError(f"num_turns must lie between 2 and {MAX_TURNS}, got {num_turns}")
    if not 1 <= reply_length <= MAX_LENGTH:
        raise ValueError(f"reply_length must lie between 1 and {MAX_LENGTH}, got {reply_length}")


def text_replies(
    function: Turn,
    prompts: Sequence[Any],
    conversation: Conversation,
    *,
    timeout: float = 5.0,
    workers: int = 1,
) -> Callable[..., tuple[Int[Array, " reply"], Bool[Array, " reply"]]]:
    """A function of conversations as one of arrays, to be jitted and vmapped; a batch is one call of the host.

    An exception, a time-out, or a result that is neither a text nor None ends the conversation and is warned of, each
    kind once; the run goes on. A turn that has not ended is not replied to. How calls are made, and ended after their
    time, is told at the head of `rlx.envs.language.calls`.

    Args:
        function: `messages -> reply`. It is taken to be pure: whoever asks it again gets the same answer.
        prompts: of each problem, a text or a chat.
        conversation: how it lies in tokens.
        timeout: seconds that a call may take.
        workers: calls at the same time.

    Returns:
        `(index of the prompt, tokens, where) -> (tokens [reply], where [reply])`, from a response up to the end of a
        turn; a conversation that is over gets no token.

    Raises:
        ValueError: as `check_function` and `check_limits`.
    """
    check_function(function, "turn", ("messages",))
    check_limits(timeout, workers)

    def replied(messages: Chat) -> str | None:
        # It may change what it is given.
        reply = function(copy.deepcopy(messages))
        if not (reply is None or isinstance(reply, str)):
            raise ValueError(f"turn must return a text, or None to end the conversation, got {reply!r:.80}")
        return reply

    calls = Calls(
        replied,
        otherwise=None,
        failure="the turn function failed, which ends the conversation",
        about=lambda messages: messages[-1]["content"],
        timeout=timeout,
        workers=workers,
    )

    def on_rows(index, tokens, where):
        rows = zip(index, tokens, where, strict=True)
        asked = [conversation.ask(prompts[at], row, real) for at, row, real in rows]
        going = [row for row, messages in enumerate(asked) if messages is not None]
        token = np.full((index.size, conversation.reply_length), conversation.pad, np.int32)
        real = np.zeros(token.shape, bool)
        for row, reply in zip(going, calls((asked[row],) for row in going), strict=True):
            own = [] if reply is None else conversation.write(prompts[index[row]], reply)
            if own:
                token[row, -len(own) :], real[row, -len(own) :] = own, True
        return token, real

    shape = (conversation.reply_length,)
    return of_arrays(on_rows, jax.ShapeDtypeStruct(shape, jnp.int32), jax.ShapeDtypeStruct(shape, jnp.bool_))
