"""Templates: `[a|b]` picks one, `{list}` draws a word, `{A list}` and `{List}` set articles and capitals."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([^{}]+)\}")
_CONSONANT_VOWELS = ("uni", "one", "eu", "use")


def with_article(words: str) -> str:
    """Return the words after *a* or *an*."""
    first = words.lower()
    an = first[:1] in "aeiou" and not first.startswith(_CONSONANT_VOWELS)
    return f"{'an' if an or first.startswith(('hour', 'honest')) else 'a'} {words}"


def capital(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def tidy(text: str) -> str:
    """Return the text with single spaces, and none before a mark."""
    return re.sub(r" ([.,!?;:])", r"\1", re.sub(r"\s+", " ", text)).strip()


class Grammar:
    """Expand templates with named word lists and one stream of dice.

    Parameters
    ----------
    lists
        Words that an unbound slot may draw from, by name.
    phrases
        Sets of templates, by name.
    rng
        The dice; the same seed gives the same texts.
    """

    def __init__(
        self, lists: Mapping[str, Sequence[str]], phrases: Mapping[str, Sequence[str]], rng: random.Random
    ) -> None:
        self.lists = lists
        self.phrases = phrases
        self.rng = rng

    def draw(self, name: str) -> str:
        """Return one word of a list."""
        return self.rng.choice(self.lists[name])

    def pick(self, name: str) -> str:
        """Return one template of a set of phrases."""
        found = self.phrases[name]
        return found[0] if len(found) == 1 else self.rng.choice(found)

    def say(self, name: str, bound: Mapping[str, str] | None = None) -> str:
        """Return one text that a set of phrases can say."""
        return self.expand(self.pick(name), bound)

    def shared(self, one: str, two: str) -> dict[str, str]:
        """Return one drawn word for each list that two templates both name, so that they speak of the same thing."""
        names = [{slot.replace(":", " ").split()[-1].lower() for slot in _SLOT.findall(text)} for text in (one, two)]
        return {name: self.draw(name) for name in sorted(names[0] & names[1]) if name in self.lists}

    def expand(self, template: str, bound: Mapping[str, str] | None = None) -> str:
        """Return one text that the template can say; bound slots keep their given words."""
        text = template
        while _CHOICE.search(text):
            text = _CHOICE.sub(lambda match: self.rng.choice(match.group(1).split("|")), text)
        return tidy(_SLOT.sub(lambda match: self._slot(match.group(1), bound or {}), text))

    def _slot(self, slot: str, bound: Mapping[str, str]) -> str:
        article, _, name = slot.replace(":", " ").rpartition(" ")
        key = name if name in bound or name in self.lists else name.lower()
        words = bound[key] if key in bound else self.draw(key)
        if article:
            words = with_article(words)
        return capital(words) if slot[0].isupper() else words
