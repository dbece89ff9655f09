"""Talks in which the answer lies in the talk itself: names, likes, and words to repeat."""

from __future__ import annotations

from collections.abc import Callable

from asking import as_typed
from grammar import Grammar, capital

Exchange = tuple[str, str]

_KINDS = ["name", "food", "colour", "city", "hobby", "pet"]
_PETS = ["cat", "dog", "rabbit", "horse", "parrot"]
_SYLLABLES = (
    "ba be bo da de do fa fi ka ke ki ko la le li lo lu ma me mi mo na ne ni no ra re ri ro sa se si so ta te ti to va "
    "ve vi za zo"
)


class MemoryTalk:
    """Make exchanges whose answers repeat words of the talk.

    Parameters
    ----------
    grammar
        Templates, word lists and dice.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.rng = grammar.rng

    def made_up_name(self) -> str:
        """Return a name that stands in no list."""
        syllables = self.rng.choices(_SYLLABLES.split(), k=self.rng.randint(2, 3))
        return capital("".join(syllables) + self.rng.choice(["", "", "n", "s", "r", "l"]))

    def _word(self, kind: str) -> str:
        if kind in ("name", "pet"):
            known = self.grammar.draw(self.rng.choice(["girl", "boy", "pet"]))
            return self.made_up_name() if self.rng.random() < 0.5 else known
        return self.grammar.draw(kind)

    def _told(self, kind: str, bound: dict[str, str]) -> Exchange:
        ask = as_typed(self.grammar.say(f"tell {kind}", bound), self.rng, exact=True)
        return ask, self.grammar.say(f"heard {kind}", bound)

    def _asked(self, kind: str, bound: dict[str, str]) -> Exchange:
        ask = as_typed(self.grammar.say(f"ask {kind}", bound), self.rng)
        return ask, self.grammar.say(f"answer {kind}", bound)

    def tell_and_ask(self, between: Callable[[], list[Exchange]]) -> list[Exchange]:
        """Return a talk in which the user tells something and asks for it later.

        Parameters
        ----------
        between
            Gives exchanges about something else.
        """
        kinds = self.rng.sample(_KINDS, self.rng.choice([1, 1, 2]))
        bounds = {kind: {"x": self._word(kind), "animal": self.rng.choice(_PETS)} for kind in kinds}
        found = [self._told(kind, bounds[kind]) for kind in kinds]
        if self.rng.random() < 0.4:
            found += between()
        num_asked = self.rng.randint(0, len(kinds)) if len(found) > 1 else 1
        return found + [self._asked(kind, bounds[kind]) for kind in self.rng.sample(kinds, num_asked)]

    def never_told(self) -> list[Exchange]:
        """Return a question for something that the user never told."""
        question = self.grammar.pick(f"ask {self.rng.choice(_KINDS)}")
        ask = self.grammar.expand(question, {"animal": self.rng.choice(["cat", "dog"])})
        return [(as_typed(ask, self.rng), self.grammar.say("never told"))]

    def repeat(self) -> list[Exchange]:
        """Return a wish to repeat some words."""
        draw = self.grammar.draw
        options = [draw("beast"), draw("thing"), self.made_up_name(), f"the {draw('smalladj')} {draw('beast')}"]
        options += [f"i like {draw('food')}", f"{draw('colour')} {draw('thing')}"]
        words = self.rng.choice(options)
        ask = self.grammar.say("repeat", {"x": self.rng.choice([words, f'"{words}"'])})
        return [(as_typed(ask, self.rng, exact=True), capital(words) + ".")]

    def drill(self) -> list[Exchange]:
        """Return a long row of unrelated words to repeat, from which a model learns to copy at all."""
        lists = list(self.grammar.lists)
        words = [self.grammar.draw(self.rng.choice(lists)) for _ in range(self.rng.choice([3, 6, 12, 25, 40]))]
        words += [self.made_up_name() for _ in range(len(words) // 5)]
        self.rng.shuffle(words)
        row = " ".join(words)
        return [(self.grammar.say("repeat", {"x": row}), row)]
