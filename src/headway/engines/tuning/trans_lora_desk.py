"""Where one transfer is worked on: its texts, their answers, and the new adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headway.core.errors import ConfigError
from headway.engines.tuning.trans_lora_fit import Fit, Row, with_probabilities
from headway.engines.tuning.trans_lora_judge import invent, judge
from headway.engines.tuning.trans_lora_speaker import Speaker
from headway.engines.tuning.trans_lora_spec import TransferSpec
from headway.engines.tuning.trans_lora_toys import noisy_lines
from headway.policies.tuning.trans_lora_nouns import Stage


@dataclass
class Moved:
    """What became of a transfer.

    Attributes
    ----------
    folder : Path or None
        The new adapter, in peft format; None where the transfer was given up.
    why : str
        Why it was given up.
    num_drawn, num_judged, num_kept : int
        Texts generated, judged and kept.
    texts, answers : list of str
        What it was trained on.
    losses : list of float
        Of every step.
    """

    folder: Path | None = None
    why: str = ""
    num_drawn: int = 0
    num_judged: int = 0
    num_kept: int = 0
    texts: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def accept_frac(self) -> float:
        """Share of the texts judged that the discriminator kept."""
        return self.num_kept / self.num_judged if self.num_judged else 0.0


class Desk:
    """Does the four stages of one transfer.

    Parameters
    ----------
    spec : TransferSpec
        The transfer.
    speaker : callable of (folder) -> Speaker
        Where bases come from.
    """

    def __init__(self, spec: TransferSpec, speaker: Callable[[str], Speaker]) -> None:
        self.spec = spec
        self.moved = Moved()
        self.rows: list[Row] = []
        self._speaker = speaker
        self._unjudged: list[str] = []
        self._kept: list[str] = []
        self._fit: Fit | None = None
        self._grafted: set[tuple[str, str]] = set()  # base and adapter

    def do(self, stage: Stage, num: int) -> int:
        """Do a stage for `num` texts (or epochs); returns how many go on."""
        work = {"generate": self._generate, "filter": self._filter, "label": self._label, "train": self._train}
        return work[stage](num)

    def keep(self, texts: Sequence[str]) -> None:
        """Take texts as if they had been generated and kept."""
        self._kept += texts
        self.moved.num_kept += len(texts)

    def deliver(self) -> None:
        """Write the new adapter down."""
        target = self._speaker(self.spec.target)
        self.moved.folder = target.save(self._new, self.spec.folder)
        if self._fit is not None:
            self.moved.losses = self._fit.losses
        target.drop(self._new)
        self.clear()

    def clear(self) -> None:
        """Take the old adapters off the bases again."""
        for base, name in self._grafted:
            self._speaker(base).drop(name)
        self._grafted.clear()

    @property
    def _new(self) -> str:
        return f"new-{self.spec.name}"

    def _generate(self, num: int) -> int:
        spec, seed = self.spec, self.spec.seed * 1_000_003 + self.moved.num_drawn
        if spec.grammar:
            texts = noisy_lines(spec.seeds, num, np.random.default_rng([11, seed]))
        else:
            target = self._speaker(spec.target)
            texts = invent(target, spec.seeds, num, spec.wording, spec.text_tokens, spec.temperature, seed)
        self._unjudged += texts
        self.moved.num_drawn += num
        return num

    def _filter(self, num: int) -> int:
        texts, self._unjudged = self._unjudged[:num], self._unjudged[num:]
        kept = [text for text, held in zip(texts, self._holds(texts), strict=True) if held]
        self.keep(kept)
        self.moved.num_judged += num
        return len(kept)

    def _holds(self, texts: list[str]) -> list[bool]:
        spec = self.spec
        if not spec.discriminator:
            return [bool(text) for text in texts]
        speaker, adapter = self._with(spec.judge or spec.source, "discriminator", spec.discriminator)
        return judge(speaker, adapter, spec.name, texts, spec.wording)

    def _label(self, num: int) -> int:
        done, spec = len(self.moved.texts), self.spec
        texts = self._kept[done : done + num]
        source, adapter = self._with(spec.source, "adapter", spec.adapter)
        prompts = [source.prompt(spec.wording.task.format(text=text), spec.wording.chat) for text in texts]
        with source.using(adapter):
            answers = source.write(prompts, spec.answer_tokens)
            if spec.labels == "logits":
                self._check_vocabularies()
                rows = [Row(prompt, source.answer(one)) for prompt, one in zip(prompts, answers, strict=True)]
                self.rows += [with_probabilities(source, row) for row in rows]
        if spec.labels == "text":
            self.rows += [self._row(text, answer) for text, answer in zip(texts, answers, strict=True)]
        self.moved.texts += texts
        self.moved.answers += answers
        return num

    def _train(self, num_epochs: int) -> int:
        if self._fit is None:
            target = self._speaker(self.spec.target)
            target.grow(self._new, self.spec.lesson, self.spec.seed)
            self._fit = Fit(target, self._new, self.rows, self.spec.lesson, self.spec.seed)
        self._fit.run(num_epochs)
        return num_epochs

    def _row(self, text: str, answer: str) -> Row:
        """An example in the words of the new base: its tokenizer may be another."""
        target, wording = self._speaker(self.spec.target), self.spec.wording
        return Row(target.prompt(wording.task.format(text=text), wording.chat), target.answer(answer))

    def _with(self, base: str, what: str, folder: str) -> tuple[Speaker, str]:
        """Return a base with an adapter taken on, and the adapter's name there."""
        speaker, name = self._speaker(base), f"{what}-{self.spec.name}"
        if (base, name) not in self._grafted:
            speaker.graft(name, folder)
            self._grafted.add((base, name))
        return speaker, name

    def _check_vocabularies(self) -> None:
        source, target = self._speaker(self.spec.source), self._speaker(self.spec.target)
        if source.tokenizer.get_vocab() != target.tokenizer.get_vocab():
            raise ConfigError(
                f"transfer {self.spec.name!r}: labels can be logits where both bases have one vocabulary, got two. "
                "Use labels = 'text'."
            )
