"""Talks about one idea: what it is, why it matters, an example, and how two ideas differ."""

from __future__ import annotations

from asking import as_typed
from bank import Thing
from grammar import Grammar, capital

Exchange = tuple[str, str]

_OFFER_EXAMPLE, _OFFER_MORE = "Would you like an example?", "Do you want to know more?"
_NO_MORE = "That is all that I know about it. I am a very small model."


class ThingTalk:
    """Make exchanges about one idea.

    Parameters
    ----------
    grammar
        Templates and dice.
    things
        The ideas that can be talked about.
    """

    def __init__(self, grammar: Grammar, things: list[Thing]) -> None:
        self.grammar = grammar
        self.rng = grammar.rng
        self.things = things

    def _ask(self, phrases: str, **bound: str) -> str:
        return as_typed(self.grammar.say(phrases, bound), self.rng)

    def _what(self, thing: Thing) -> str:
        bound = {"n": thing.names[0], "N": capital(thing.names[0]), "s": self.rng.choice(thing.what)}
        return self.grammar.say("thing what", bound)

    def _rest(self, thing: Thing) -> list[str]:
        facts = self.rng.sample(thing.facts, len(thing.facts))
        facts += [text for text in thing.examples if self.rng.random() < 0.4]
        return facts + [text for text in thing.why if self.rng.random() < 0.5]

    def first(self, thing: Thing, *, brief: bool = False) -> Exchange:
        """Return the question what something is, with its answer."""
        ask = self._ask("thing ask", x=self.rng.choice(thing.names))
        if brief:
            return ask, self._what(thing)
        rest = " ".join(self._rest(thing)[: self.rng.choice([0, 1, 1, 2, 2, 3])])
        close = self.rng.choice(["", "", "", "", self._close(thing)])
        return ask, self.grammar.expand(f"{self.grammar.pick('thing open')} {self._what(thing)} {rest} {close}")

    def _close(self, thing: Thing) -> str:
        offers = [_OFFER_EXAMPLE] if thing.examples else []
        return self.rng.choice([*offers, *offers, _OFFER_MORE, "Does that help?", "I hope this helps."])

    def _unsaid(self, thing: Thing, said: str) -> list[str]:
        return [text for text in thing.facts + thing.why if text not in said] or [_NO_MORE]

    def _accept(self, thing: Thing, said: str) -> list[Exchange]:
        texts = thing.examples if said.endswith(_OFFER_EXAMPLE) else self._unsaid(thing, said)
        return [(self._ask("yes"), self.rng.choice(texts))]

    def _follow(self, thing: Thing, said: str) -> list[Exchange]:
        options = [("more", self._unsaid(thing, said)), ("why", thing.why), ("example", thing.examples)]
        found = [(self._ask(f"thing {ask}"), self.rng.choice(texts)) for ask, texts in options if texts]
        found.append((self._ask("thing simpler"), f"{capital(thing.names[0])} is {self.rng.choice(thing.what)}."))
        return self.rng.sample(found, self.rng.randint(1, min(3, len(found))))

    def talk(self, *, brief: bool = False) -> list[Exchange]:
        """Return one question with answer, sometimes with follow-up turns."""
        thing = self.rng.choice(self.things)
        found = [self.first(thing, brief=brief)]
        said = found[0][1]
        if said.endswith((_OFFER_EXAMPLE, _OFFER_MORE)) and self.rng.random() < 0.6:
            return found + self._accept(thing, said)
        return found + (self._follow(thing, said) if self.rng.random() < 0.35 and not brief else [])

    def why(self) -> Exchange:
        """Return the question why something matters, by its name."""
        thing = self.rng.choice([thing for thing in self.things if thing.why])
        return self._ask("ask why", x=self.rng.choice(thing.names)), self.rng.choice(thing.why)

    def example(self) -> Exchange:
        """Return the wish for an example of something, by its name."""
        thing = self.rng.choice([thing for thing in self.things if thing.examples])
        return self._ask("ask example", x=self.rng.choice(thing.names)), self.rng.choice(thing.examples)

    def difference(self) -> Exchange:
        """Return a comparison of two ideas."""
        one, two = self.rng.sample(self.things, 2)
        ask = self._ask("thing differ", x=self.rng.choice(one.names), y=self.rng.choice(two.names))
        first, second = (f"{thing.names[0]} is {self.rng.choice(thing.what)}" for thing in (one, two))
        if self.rng.random() < 0.5:
            return ask, f"{capital(first)}. {capital(second)}."
        return ask, f"They are not the same. {capital(first)}. {self.rng.choice(['But ', 'And '])}{second}."

    def passage(self) -> str:
        """Return a plain text about one idea, without a question."""
        thing = self.rng.choice(self.things)
        rest = thing.facts + thing.why + thing.examples
        return " ".join([self._what(thing), *self.rng.sample(rest, min(len(rest), self.rng.randint(1, 5)))])
