"""Training an adapter on prompts and answers: on the words of the answers, or on a teacher's probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import cross_entropy, log_softmax

from headway.core.errors import TuneError
from headway.engines.tuning.trans_lora_spec import Lesson

if TYPE_CHECKING:
    from torch import Tensor

    from headway.engines.tuning.trans_lora_speaker import Speaker

NUM_KEPT = 64
"""Of a teacher's probabilities so many are kept per token, the largest ones; they are made to add up to 1."""


@dataclass(frozen=True)
class Row:
    """One example: tokens of its prompt and of its answer, and what a teacher thought of each answer token.

    `words` and `probs` are `[answer tokens, kept]`, the teacher's most likely tokens there and how likely they were.
    """

    prompt: list[int]
    answer: list[int]
    words: Tensor | None = None
    probs: Tensor | None = None


@torch.inference_mode()
def with_probabilities(speaker: Speaker, row: Row) -> Row:
    """Add what a teacher thinks of every answer token."""
    ids = torch.tensor([row.prompt + row.answer], device=speaker.device)
    logits = speaker.model(input_ids=ids).logits[0, len(row.prompt) - 1 : -1]
    probs, words = torch.softmax(logits.float(), -1).topk(min(NUM_KEPT, logits.shape[-1]))
    return Row(row.prompt, row.answer, words.clone(), (probs / probs.sum(-1, keepdim=True)).clone())


class Fit:
    """The training of one adapter, a few epochs at a time.

    AdamW without weight decay; the learning rate goes down a line to 0 without a warm-up.

    Parameters
    ----------
    speaker : Speaker
        Whose adapter it is.
    name : str
        Of the adapter, which is there already.
    rows : sequence of Row
        The examples, >= 1; with probabilities, or all without.
    lesson : Lesson
        How.
    seed : int
        Of the order of examples.
    """

    def __init__(self, speaker: Speaker, name: str, rows: Sequence[Row], lesson: Lesson, seed: int) -> None:
        self.losses: list[float] = []
        self._speaker, self._name, self._rows, self._lesson = speaker, name, list(rows), lesson
        with speaker.using(name):
            self._params = [one for one in speaker.model.parameters() if one.requires_grad]
        self._optimizer = torch.optim.AdamW(self._params, lr=lesson.learning_rate, weight_decay=0.0)
        self._rng = np.random.default_rng([9, seed])
        self._step = 0
        self._num_steps = -(-len(self._rows) // lesson.batch_size) * lesson.num_epochs

    def run(self, num_epochs: int) -> None:
        """Train so many epochs more.

        Raises
        ------
        TuneError
            When the loss is no number.
        """
        size = self._lesson.batch_size
        with self._speaker.using(self._name):
            self._speaker.model.train()
            for _ in range(num_epochs):
                order = self._rng.permutation(len(self._rows))
                for first in range(0, len(order), size):
                    self._one([self._rows[place] for place in order[first : first + size]])
            self._speaker.model.eval()

    def _one(self, rows: list[Row]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._lesson.learning_rate * (1 - self._step / self._num_steps)
        loss = self._loss(rows)
        if not torch.isfinite(loss):
            raise TuneError(f"step {self._step}: the loss must be a number, got {loss.item()}. Try a lower rate.")
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.losses.append(loss.item())
        self._step += 1

    def _loss(self, rows: list[Row]) -> Tensor:
        """Mean cross-entropy per answer token."""
        longest = max(len(row.prompt) + len(row.answer) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        trained = torch.zeros(len(rows), longest - 1, dtype=torch.bool)
        for place, row in enumerate(rows):
            end = len(row.prompt) + len(row.answer)
            ids[place, :end] = torch.tensor(row.prompt + row.answer)
            mask[place, :end] = 1
            trained[place, len(row.prompt) - 1 : end - 1] = True
        device = self._speaker.device
        logits = self._speaker.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits[:, :-1]
        said = logits[trained.to(device)]  # [answer tokens, vocabulary]
        if rows[0].words is None:
            return cross_entropy(said, ids[:, 1:][trained].to(device))
        words = torch.cat([row.words for row in rows if row.words is not None])
        probs = torch.cat([row.probs for row in rows if row.probs is not None])
        return -(log_softmax(said, -1).gather(-1, words) * probs).sum(-1).mean()
