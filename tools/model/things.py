"""Talks about one idea: what it is, why it matters, an example, and how two ideas differ."""

from __future__ import annotations

from asking import as_typed
from bank import Thing
from grammar import Grammar, capital

Exchange = tuple[str, str]

_ASK = [
    "what [is|'s] {x}", "what is {x}", "what does {x} mean", "what is meant by {x}", "explain {x}", "define {x}",
    "tell me [about|something about|more about] {x}", "what do you know about {x}", "describe {x}", "{x}",
    "[can|could] you [explain|describe] {x}", "explain {x} [to me|in simple words|to a child|briefly|]",
    "i [do not|don't|dont] understand {x}", "i want to [learn|know] about {x}", "what are your thoughts on {x}",
    "[give me|write] [a definition of|a short text about|a sentence about|an explanation of] {x}", "how does {x} work",
    "what [exactly|really] is {x}", "whats {x}", "have you heard of {x}", "do you know what {x} is", "who or what is {x}",
    "let us talk about {x}", "i have heard about {x}. what is it", "teach me about {x}", "help me understand {x}",
    "meaning of {x}", "the meaning of the word {x}", "what can you tell me about {x}", "is {x} important",
    "[what|tell me what|i need to know what|could you say what|please tell me what] {x} [is|means]", "[pls|please|just|now] explain {x}",
    "what [do|would] people mean by {x}", "what's {x} [about|good for|all about]", "the idea of {x}", "how would you [explain|describe] {x}",
    "what should i know about {x}", "in simple words, what is {x}", "so {x} is what", "{x} is what exactly", "{x} explained", "what about {x}",
    "and what is {x}", "why is {x} a thing", "some words [about|on] {x} please", "say something about {x}", "i never heard of {x}",
]
_WHAT = ["{N} is {s}.", "{N} is {s}.", "{N} is {s}.", "In short, {n} is {s}.", "[Put simply|In simple words], {n} is {s}."]
_OPEN = ["", "", "", "", "[Sure|Of course|Gladly]! ", "Good question! ", "I can explain that. "]
_OFFER_EXAMPLE, _OFFER_MORE = "Would you like an example?", "Do you want to know more?"
_YES = "[yes|yes please|sure|ok|please|yeah|yes, tell me|of course|gladly]"
_MORE = ["tell me more", "[what else|more|go on|and|continue]", "more about [that|it|this]", "[can you|please] say more",
         "is there more to know", "what else do you know about it", "any other facts", "i want to know more"]
_NO_MORE = "That is all that I know about it. I am a very small model."
_WHY = ["why [is it important|does it matter|is that important|does that matter|should i care|is it useful]", "why",
        "what is it good for", "so what", "why do people care about it", "what is the use of it", "is it important"]
_EXAMPLE = ["[can you|could you|please] give [me|] an example", "[for example|an example please|example]", "show me an example",
            "do you have an example", "yes, an example please", "what would be an example", "such as"]
_SIMPLER = ["i do not understand", "[can you|please] say [it|that] [in simple words|more simply|again]", "what does that mean",
            "simpler please", "that is too hard", "explain it again", "in one sentence please", "shorter please"]
_DIFFER = ["what is the difference between {x} and {y}", "how [do|are] {x} and {y} [differ|different]", "{x} or {y}", "{x} vs {y}",
           "compare {x} and {y}", "is {x} the same as {y}", "how is {x} different from {y}", "{x} and {y}: what is the difference"]


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

    def _ask(self, templates: list[str], **bound: str) -> str:
        return as_typed(self.grammar.expand(self.rng.choice(templates), bound), self.rng)

    def _what(self, thing: Thing) -> str:
        bound = {"n": thing.names[0], "N": capital(thing.names[0]), "s": self.rng.choice(thing.what)}
        return self.grammar.expand(self.rng.choice(_WHAT), bound)

    def _rest(self, thing: Thing) -> list[str]:
        facts = self.rng.sample(thing.facts, len(thing.facts))
        facts += [text for text in thing.examples if self.rng.random() < 0.4]
        return facts + [text for text in thing.why if self.rng.random() < 0.5]

    def first(self, thing: Thing, *, brief: bool = False) -> Exchange:
        """Return the question what something is, with its answer."""
        ask = self._ask(_ASK, x=self.rng.choice(thing.names))
        if brief:
            return ask, self._what(thing)
        rest = " ".join(self._rest(thing)[: self.rng.choice([0, 1, 1, 2, 2, 3])])
        close = self.rng.choice(["", "", "", "", self._close(thing)])
        return ask, self.grammar.expand(f"{self.rng.choice(_OPEN)} {self._what(thing)} {rest} {close}")

    def _close(self, thing: Thing) -> str:
        offers = [_OFFER_EXAMPLE] if thing.examples else []
        return self.rng.choice([*offers, *offers, _OFFER_MORE, "Does that help?", "I hope this helps."])

    def _accept(self, thing: Thing, said: str) -> list[Exchange]:
        more = [text for text in thing.facts + thing.why if text not in said] or [_NO_MORE]
        texts = thing.examples if said.endswith(_OFFER_EXAMPLE) else more
        return [(as_typed(self.grammar.expand(_YES), self.rng), self.rng.choice(texts))]

    def _follow(self, thing: Thing, said: str) -> list[Exchange]:
        more = [text for text in thing.facts + thing.why if text not in said]
        options = [(_MORE, more or [_NO_MORE]), (_WHY, thing.why), (_EXAMPLE, thing.examples)]
        found = [(self._ask(ask), self.rng.choice(texts)) for ask, texts in options if texts]
        found.append((self._ask(_SIMPLER), f"{capital(thing.names[0])} is {self.rng.choice(thing.what)}."))
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
        name = self.rng.choice(thing.names)
        ask = self._ask(["why is {x} [important|useful|good]", "why does {x} matter", "why do we need {x}", "what is {x} good for",
                         "why should i care about {x}", "what is the use of {x}", "why {x}"], x=name)
        return ask, self.rng.choice(thing.why)

    def example(self) -> Exchange:
        """Return the wish for an example of something, by its name."""
        thing = self.rng.choice([thing for thing in self.things if thing.examples])
        ask = self._ask(["give me an example of {x}", "[can you|please] give an example of {x}", "example of {x}", "show me an example for {x}",
                         "what is an example of {x}", "explain {x} with an example"], x=self.rng.choice(thing.names))
        return ask, self.rng.choice(thing.examples)

    def difference(self) -> Exchange:
        """Return a comparison of two ideas."""
        one, two = self.rng.sample(self.things, 2)
        ask = self._ask(_DIFFER, x=self.rng.choice(one.names), y=self.rng.choice(two.names))
        first, second = (f"{thing.names[0]} is {self.rng.choice(thing.what)}" for thing in (one, two))
        if self.rng.random() < 0.5:
            return ask, f"{capital(first)}. {capital(second)}."
        return ask, f"They are not the same. {capital(first)}. {self.rng.choice(['But ', 'And '])}{second}."

    def passage(self) -> str:
        """Return a plain text about one idea, without a question."""
        thing = self.rng.choice(self.things)
        rest = thing.facts + thing.why + thing.examples
        return " ".join([self._what(thing), *self.rng.sample(rest, min(len(rest), self.rng.randint(1, 5)))])
