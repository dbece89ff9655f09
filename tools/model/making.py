"""Small works on demand: lists, single words, sentences, poems, and which of two things is larger."""

from __future__ import annotations

from asking import as_typed
from grammar import Grammar, capital, with_article

Exchange = tuple[str, str]

# How the members of a word list are called together.
_PLURAL = {
    "beast": "animals",
    "colour": "colours",
    "food": "foods",
    "fruit": "fruits",
    "vegetable": "vegetables",
    "drink": "drinks",
    "hobby": "hobbies",
    "city": "cities",
    "job": "jobs",
    "subject": "school subjects",
    "weekday": "days",
    "month": "months",
    "tree": "trees",
    "flower": "flowers",
    "instrument": "instruments",
    "sport": "sports",
    "vehicle": "vehicles",
    "clothes": "clothes",
    "furniture": "pieces of furniture",
}
_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "4": 4, "5": 5, "some": 4, "a few": 3}


def joined(words: list[str]) -> str:
    """Return the words as a list in a sentence."""
    return f"{', '.join(words[:-1])} and {words[-1]}"


class MakingTalk:
    """Make exchanges in which the user wants a small work.

    Parameters
    ----------
    grammar
        Templates, word lists and dice.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.rng = grammar.rng

    def listing(self) -> list[Exchange]:
        """Return a wish for some words of a kind."""
        kind, count = self.rng.choice(list(_PLURAL)), self.rng.choice(list(_COUNTS))
        words = self.rng.sample(self.grammar.lists[kind], _COUNTS[count])
        ask = self.grammar.say("ask list", {"c": count, "p": _PLURAL[kind]})
        listed = f"Here are {count} {_PLURAL[kind]}: {joined(words)}."
        answer = self.rng.choice([capital(joined(words)) + ".", listed, capital(", ".join(words)) + "."])
        if self.rng.random() < 0.25:
            answer = "\n".join(f"- {word}" for word in words)
        return [(as_typed(ask, self.rng), answer)]

    def single(self) -> list[Exchange]:
        """Return a wish for one word of a kind."""
        kind = self.rng.choice(list(_PLURAL)[:-2])
        one = _PLURAL[kind].removesuffix("s") if kind not in ("hobby", "city") else kind
        ask = as_typed(self.grammar.say("ask single", {"x": with_article(one)}), self.rng)
        return [(ask, self.grammar.say("answer single", {"x": self.grammar.draw(kind)}))]

    def larger(self) -> list[Exchange]:
        """Return a question which of two things is larger."""
        order = self.grammar.lists["bysize"]
        low, high = sorted(self.rng.sample(range(len(order)), 2))
        one, two = self.rng.sample([order[low], order[high]], 2)
        ask, answer = self.grammar.pick("larger").split(" => ")
        bound = {"x": one, "y": two, "small": order[low], "big": order[high]}
        return [(as_typed(self.grammar.expand(ask, bound), self.rng), self.grammar.expand(answer, bound))]

    def sentence(self) -> list[Exchange]:
        """Return a wish for a sentence with a given word."""
        beast, thing, place = self.grammar.draw("beast"), self.grammar.draw("thing"), self.grammar.draw("place")
        bound = {"b": beast, "t": thing, "p": place, "x": self.rng.choice([beast, thing])}
        ask = self.grammar.say("ask sentence", bound)
        answer = self.grammar.say("answer sentence", bound)
        return [(as_typed(ask, self.rng), answer)]

    def poem(self) -> list[Exchange]:
        """Return a wish for a poem, with four short lines."""
        draw = self.grammar.draw
        bound = {"x": self.rng.choice([draw("beast"), draw("machine"), draw("thing"), draw("flower")])}
        ask = self.grammar.say("ask poem", bound)
        lines = self.grammar.pick("poem").split(" / ")
        ask = as_typed(ask, self.rng)
        return [(ask, "\n".join(capital(self.grammar.expand(line, bound)) for line in lines))]
