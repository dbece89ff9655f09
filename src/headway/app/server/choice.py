"""One output on its way to the client: tokens become text, and stop strings end it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from headway.app.server.detokenise import TokenStream
from headway.app.server.stops import StopScan
from headway.engines.llm.messages import Output, TokenLogprob

Scored = tuple[TokenLogprob, int]
"""A token with its log-probabilities, and where in the text it begins."""


class Delta(Struct, gc=False):
    """What one wake-up adds to one output: text, scored tokens, and why it ended if it did."""

    index: int
    text: str
    scored: Sequence[Scored] = ()
    finish: str = ""


class Choice:
    """One output.

    Parameters
    ----------
    index : int
        Its number in the answer.
    id : str
        Its id at the engine.
    tokens : TokenStream
        Turns its tokens into text.
    scan : StopScan
        Looks for stop strings.
    min_tokens : int
        Stop strings do not count before so many tokens.
    prefix : str
        Text that is shown before the first token.

    Attributes
    ----------
    num_tokens : int
        Tokens so far, up to the one that completed a stop string.
    cached_tokens : int
        Prompt tokens found in the prefix cache.
    queue_s : float
        From the engine's receipt to its first step.
    finish : str
        Why it ended; empty while it goes on.
    """

    def __init__(
        self,
        index: int,
        id: str,
        tokens: TokenStream,
        scan: StopScan,
        min_tokens: int = 0,
        prefix: str = "",
    ) -> None:
        self.index = index
        self.id = id
        self.num_tokens = 0
        self.cached_tokens = 0
        self.queue_s = 0.0
        self.finish = ""
        self._tokens = tokens
        self._scan = scan
        self._min_tokens = min_tokens
        self._prefix = prefix
        self._seen_chars = self._shown_chars = 0
        self._scored: deque[Scored] = deque()

    @property
    def stopped(self) -> bool:
        """Whether a stop string ended it, of which the engine does not know."""
        return bool(self._scan.found)

    def take(self, output: Output) -> Delta:
        """Take the engine's news and say what they add for the client."""
        text, self._prefix = self._prefix, ""
        prefix_chars = len(text)
        text += self._plain(output.tokens) if not (self._scan.stops or output.logprobs) else self._careful(output)
        self.cached_tokens = output.cached_tokens or self.cached_tokens
        self.queue_s = output.queue_s or self.queue_s
        self.finish = "stop" if self._scan.found else output.finish
        if self.finish and not self._scan.found:
            text += self._scan.rest()
        self._shown_chars += len(text) - prefix_chars
        return Delta(self.index, text, self._released(), self.finish)

    def _plain(self, tokens: list[int]) -> str:
        self.num_tokens += len(tokens)
        step = self._tokens.step
        return step(tokens[0]) if len(tokens) == 1 else "".join([step(token) for token in tokens])

    def _careful(self, output: Output) -> str:
        """Token by token, up to the one that completes a stop string."""
        shown = ""
        for number, token in enumerate(output.tokens):
            self.num_tokens += 1
            if output.logprobs:
                self._scored.append((output.logprobs[number], self._seen_chars))
            text = self._tokens.step(token)
            self._seen_chars += len(text)
            counts = self.num_tokens >= self._min_tokens
            shown += self._scan.push(text) if counts else self._scan.pass_by(text)
            if self._scan.found:
                break
        return shown

    def _released(self) -> Sequence[Scored]:
        """The scored tokens whose text is shown now; at a natural end all that are left."""
        if not self._scored:
            return ()
        found = []
        everything = bool(self.finish) and not self._scan.found
        while self._scored and (everything or self._scored[0][1] < self._shown_chars):
            found.append(self._scored.popleft())
        return found
