"""So many clients, each sending its next request when the last is answered, against one server priced by Headway.

A small loop of its own, with requests all alike: it takes milliseconds, so that engine constants can be fitted through
it. Runs of decodes between two events are taken in closed form.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

from headway.sim.serving.price import BatchShape, Chunk, StepPrice


@dataclass(frozen=True)
class Setting:
    """What the clients do and how the server batches.

    Parameters
    ----------
    clients, prompt_tokens, output_tokens : int
        Concurrency, and the lengths of every request, > 0.
    kv_tokens : int
        What the server can hold.
    budget_tokens : int
        Of one step.
    mixed : bool
        Prompts and decodes share steps; otherwise prompts go first, alone.
    front_s : float
        What the server's front takes per request, one after the other, before the scheduler sees it; 2 ms.
    rounds : int
        Requests per client; 10: the first come all at once, the later ones drift apart.
    """

    clients: int
    prompt_tokens: int
    output_tokens: int
    kv_tokens: int
    budget_tokens: int = 8192
    mixed: bool = True
    front_s: float = 2e-3
    rounds: int = 10


class ClosedLoop:
    """The state of one run."""

    def __init__(self, setting: Setting, price: StepPrice) -> None:
        self.setting, self.price = setting, price
        self.now_s, self.front_free_s = 0.0, 0.0
        self.to_send = setting.clients * (setting.rounds - 1)
        self.arriving: deque[tuple[float, float]] = deque()  # (the scheduler sees it, it was sent)
        self.waiting: deque[float] = deque()
        self.prefilling: deque[list[float]] = deque()  # [sent, tokens done]
        self.decoding: list[tuple[int, float, float]] = []  # (ends at this decode step, sent, first token)
        self.decode_steps, self.context_tokens = 0, 0
        self.ttfts_s: list[float] = []
        self.tpots_s: list[float] = []
        for _ in range(setting.clients):
            self._send(0.0)

    def run(self) -> tuple[float, float]:
        """Return the mean TTFT and TPOT, in seconds."""
        while self.arriving or self.waiting or self.prefilling or self.decoding:
            self._see()
            if self.prefilling:
                self._prefill()
            elif self.decoding:
                self._decode()
            else:
                self.now_s = max(self.now_s, self.arriving[0][0])
        return sum(self.ttfts_s) / len(self.ttfts_s), sum(self.tpots_s) / max(1, len(self.tpots_s))

    def _send(self, at_s: float) -> None:
        self.front_free_s = max(self.front_free_s, at_s) + self.setting.front_s
        self.arriving.append((self.front_free_s, at_s))

    def _see(self) -> None:
        while self.arriving and self.arriving[0][0] <= self.now_s:
            self.waiting.append(self.arriving.popleft()[1])
        room = self.setting.kv_tokens // (self.setting.prompt_tokens + self.setting.output_tokens)
        while self.waiting and (len(self.decoding) + len(self.prefilling) < room or not self._busy()):
            self.prefilling.append([self.waiting.popleft(), 0])

    def _busy(self) -> bool:
        return bool(self.decoding or self.prefilling)

    def _prefill(self) -> None:
        decodes = len(self.decoding) if self.setting.mixed else 0
        left, chunks = max(self.setting.budget_tokens - decodes, 1), []
        for one in self.prefilling:
            tokens = int(min(left, self.setting.prompt_tokens - one[1]))
            if tokens <= 0:
                break
            chunks.append(Chunk(tokens, int(one[1])))
            one[1] += tokens
            left -= tokens
        context = self.context_tokens if decodes else 0
        self.now_s += self.price.step_s(BatchShape(decodes, context, tuple(chunks)))
        if decodes:
            self._advance(1)
        while self.prefilling and self.prefilling[0][1] >= self.setting.prompt_tokens:
            self._first_token(self.prefilling.popleft()[0])

    def _first_token(self, sent_s: float) -> None:
        self.ttfts_s.append(self.now_s - sent_s)
        if self.setting.output_tokens == 1:
            self._ended()
            return
        heapq.heappush(self.decoding, (self.decode_steps + self.setting.output_tokens - 1, sent_s, self.now_s))
        self.context_tokens += self.setting.prompt_tokens

    def _decode(self) -> None:
        """Run decodes until one ends or another request is seen."""
        count, steps = len(self.decoding), self.decoding[0][0] - self.decode_steps
        base_s, token_s = self.price.decode_line(count)
        step_s = base_s + token_s * self.context_tokens
        room = self.setting.kv_tokens // (self.setting.prompt_tokens + self.setting.output_tokens)
        if self.arriving and count < room:
            steps = max(1, min(steps, int((self.arriving[0][0] - self.now_s) / step_s) + 1))
        self.now_s += steps * step_s + token_s * count * steps * (steps - 1) / 2
        self._advance(steps)

    def _advance(self, steps: int) -> None:
        self.decode_steps += steps
        self.context_tokens += steps * len(self.decoding)
        while self.decoding and self.decoding[0][0] <= self.decode_steps:
            _, _, first_s = heapq.heappop(self.decoding)
            self.context_tokens -= self.setting.prompt_tokens + self.setting.output_tokens - 1
            self.tpots_s.append((self.now_s - first_s) / (self.setting.output_tokens - 1))
            self._ended()

    def _ended(self) -> None:
        if self.to_send:
            self.to_send -= 1
            self._send(self.now_s)
