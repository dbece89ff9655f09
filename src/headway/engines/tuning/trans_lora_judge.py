"""The discriminator: an adapter that says whether a text is from a data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from headway.core.errors import ConfigError
from headway.engines.tuning.trans_lora_fit import Fit, Row
from headway.engines.tuning.trans_lora_speaker import Speaker
from headway.engines.tuning.trans_lora_spec import Lesson, Wording


def invent(
    speaker: Speaker, seeds: Sequence[str], num: int, wording: Wording, most_tokens: int, temperature: float, seed: int
) -> list[str]:
    """Let a base write new texts after the seeds, without an adapter; some may be empty."""
    tokens = speaker.prompt(wording.lead + "".join(one + wording.between for one in seeds))
    dice = torch.Generator().manual_seed(seed)
    with speaker.using(""):
        texts = speaker.write([tokens] * num, most_tokens, stop=wording.between, temperature=temperature, dice=dice)
    return [text.strip() for text in texts]


def judge(speaker: Speaker, adapter: str, name: str, texts: Sequence[str], wording: Wording) -> list[bool]:
    """Say of each text whether the discriminator holds yes for more likely than no; of empty ones it is no."""
    yes, no = _sides(speaker, wording)
    asked = [place for place, text in enumerate(texts) if text]
    out = [False] * len(texts)
    if asked:
        prompts = [question(speaker, name, texts[place], wording) for place in asked]
        with speaker.using(adapter):
            logits = speaker.last_logits(prompts)
        for place, holds in zip(asked, (logits[:, yes] > logits[:, no]).tolist(), strict=True):
            out[place] = holds
    return out


def question(speaker: Speaker, name: str, text: str, wording: Wording) -> list[int]:
    """The tokens of what the discriminator is asked."""
    return speaker.prompt(wording.question.format(text=text, name=name), wording.chat)


def train_discriminator(
    speaker: Speaker,
    name: str,
    inputs: Sequence[str],
    seeds: Sequence[str],
    folder: str,
    *,
    lesson: Lesson | None = None,
    wording: Wording | None = None,
    text_tokens: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
) -> str:
    """Train the discriminator of a data set beside its adapter, once, while the data is still there.

    Parameters
    ----------
    speaker : Speaker
        The base of the adapter.
    name : str
        Of the data set.
    inputs : sequence of str
        Real inputs, for which the answer is yes, >= 1.
    seeds : sequence of str
        Those that transfers will have; the base writes as many texts after them as there are inputs, for which the
        answer is no.
    folder : str
        Where the adapter goes, in peft format.
    lesson, wording : Lesson, Wording
        How; as for a transfer. The paper says nothing of the discriminator's own training, so it is the adapter's.
    text_tokens : int
        The most tokens of a text written, >= 1; 128.
    temperature : float
        Of the texts written, > 0; 1.
    seed : int
        Of all dice, >= 0; 0.

    Returns
    -------
    str
        The folder.

    Raises
    ------
    ConfigError
        When there are no inputs, or yes and no begin with one token.
    """
    lesson, wording = lesson or Lesson(), wording or Wording()
    if not inputs:
        raise ConfigError(f"discriminator {name!r}: inputs must be texts, got none. Give the data of the adapter.")
    _sides(speaker, wording)
    made = [text for text in invent(speaker, seeds, len(inputs), wording, text_tokens, temperature, seed) if text]
    rows = [_row(speaker, name, text, wording, wording.yes) for text in inputs]
    rows += [_row(speaker, name, text, wording, wording.no) for text in made]
    adapter = f"discriminator-{name}"
    speaker.grow(adapter, lesson, seed)
    Fit(speaker, adapter, rows, lesson, seed).run(lesson.num_epochs)
    speaker.save(adapter, folder)
    speaker.drop(adapter)
    return folder


def _row(speaker: Speaker, name: str, text: str, wording: Wording, side: str) -> Row:
    first = speaker.answer(side)[:1]
    return Row(question(speaker, name, text, wording), first)


def _sides(speaker: Speaker, wording: Wording) -> tuple[int, int]:
    """The first tokens of yes and no."""
    yes, no = speaker.answer(wording.yes)[0], speaker.answer(wording.no)[0]
    if yes == no:
        raise ConfigError(
            f"wording: yes and no must begin with different tokens, got {wording.yes!r} and {wording.no!r}. Change one."
        )
    return yes, no
