"""Make questions look as people type them: small letters, missing marks, typing slips, polite words."""

from __future__ import annotations

import random

from grammar import capital

_BEFORE = (
    "hey, ",
    "ok, ",
    "so, ",
    "please, ",
    "um, ",
    "hello, ",
    "hi, ",
    "hi! ",
    "well, ",
    "and ",
    "now ",
    "headway, ",
    "good morning! ",
    "good morning, ",
    "good evening. ",
    "hi there! ",
    "hello there, ",
    "hello! ",
    "excuse me, ",
    "one more thing: ",
    "thanks! ",
    "great, ",
)
_AFTER = (" please", " thanks", ", please", " for me", " again", " now")
_ASKING = (
    "can you tell me ",
    "do you know ",
    "i want to know ",
    "tell me, ",
    "could you tell me ",
    "i wonder ",
    "i have a question: ",
    "quick question: ",
    "my question is: ",
    "does anyone know ",
    "please say ",
    "pls tell me ",
    "i would like to know ",
    "just tell me ",
    "could someone say ",
)
_QUESTION_WORDS = (
    "what",
    "why",
    "how",
    "where",
    "who",
    "when",
    "which",
    "is ",
    "are ",
    "can ",
    "do ",
    "does ",
    "should ",
)


def _slip(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )


def with_slips(text: str, rng: random.Random) -> str:
    """Return the text with one or two letters wrong in its longer words."""
    words = text.split(" ")
    long_at = [i for i, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    for i in rng.sample(long_at, min(len(long_at), rng.choice([1, 1, 2]))):
        words[i] = _slip(words[i], rng)
    return " ".join(words)


def _framed(text: str, rng: random.Random) -> str:
    if rng.random() < 0.08 and text.lower().startswith(_QUESTION_WORDS):
        text = rng.choice(_ASKING) + text
    if rng.random() < 0.14:
        text = rng.choice(_BEFORE) + text
    return text + rng.choice(_AFTER) if rng.random() < 0.04 else text


def _marked(text: str, rng: random.Random) -> str:
    if text[-1] in ".!?":
        return text if rng.random() < 0.7 else text[:-1]
    question = any(word in text.lower() for word in _QUESTION_WORDS[:7]) or text.lower().startswith(_QUESTION_WORDS)
    return text + ("?" if question else rng.choice([".", ".", "!"]))


def as_typed(text: str, rng: random.Random, *, exact: bool = False) -> str:
    """Return a question as a person might type it.

    Parameters
    ----------
    text
        The clean question.
    rng
        The dice.
    exact
        True keeps the letters as they are, for questions whose words the answer repeats. Default False.
    """
    text = _framed(text, rng)
    if not exact and rng.random() < 0.10:
        text = with_slips(text, rng)
    if rng.random() < 0.55:
        text = _marked(text, rng)
    style = rng.random()
    if style < 0.45:
        return capital(text)
    if style < 0.47:
        return text.upper() if not exact else text
    return text if exact else text.lower()
