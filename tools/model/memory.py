"""Talks in which the answer lies in the talk itself: names, likes, lists, and words to repeat."""

from __future__ import annotations

from collections.abc import Callable

from asking import as_typed
from grammar import Grammar, capital, with_article

Exchange = tuple[str, str]

_SYLLABLES = "ba be bo da de do fa fi ka ke ki ko la le li lo lu ma me mi mo na ne ni no ra re ri ro sa se si so ta te ti to va ve vi za zo".split()
_TELLS = {
    "name": ["my name is {x}", "[i am|i'm|im] {x}", "call me {x}", "you can call me {x}", "[hi|hello|hey], [i am|i'm|my name is] {x}", "the name is {x}"],
    "food": ["i like {x}", "i love {x}", "my favourite food is {x}", "i really like [to eat |]{x}"],
    "colour": ["my favourite colour is {x}", "i like the colour {x}", "the colour i like best is {x}"],
    "city": ["i live in {x}", "i am from {x}", "i come from {x}", "my home is in {x}"],
    "hobby": ["my hobby is {x}", "i like {x}", "i enjoy {x}", "in my free time i like {x}"],
    "pet": ["i have {a:animal} named {x}", "my {animal} is called {x}", "my {animal}'s name is {x}"],
}
_HEARD = {
    "name": ["Nice to meet you, {x}! [How can I help you?|What would you like to talk about?|]", "Hello, {x}! [What can I do for you?|It is good to meet you.]", "[Hi|Hello] {x}! I am Headway Mini."],
    "food": ["{X}! That sounds good. [Do you make it yourself?|I cannot eat, but I understand.|]", "Many people like {x}. [What else do you like?|]"],
    "colour": ["{X} is a lovely colour. [It makes me think of {flower}s.|]", "A good choice! {X} looks nice on many things."],
    "city": ["{X} must be a nice place. [Do you like it there?|]", "I have never been to {x}, because I am a program. [How is it there?|]"],
    "hobby": ["{X} is a fine hobby. [How often do you do it?|How did you start?|]", "That is nice! {X} is good for body and mind."],
    "pet": ["{X} is a lovely name for {a:animal}. [How old is {x}?|]", "[How nice!|Lovely!] I hope {x} is well."],
}
_ASKS = {
    "name": (["what is my name", "what's my name", "do you remember my name", "who am i", "do you know my name", "say my name", "can you tell me my name"], "[Your name is {x}.|You are {x}.|You told me that your name is {x}.]"),
    "food": (["what do i like to eat", "what is my favourite food", "which food do i like", "what food did i tell you about"], "[You like {x}.|You told me that you like {x}.]"),
    "colour": (["what is my favourite colour", "which colour do i like", "what colour do i like best"], "[Your favourite colour is {x}.|You told me that you like {x}.]"),
    "city": (["where do i live", "where am i from", "what city am i from", "where is my home"], "[You told me that it is {x}.|It is {x}.]"),
    "hobby": (["what is my hobby", "what do i like to do", "what do i do in my free time", "which hobby do i have"], "[You like {x}.|Your hobby is {x}.]"),
    "pet": (["what is my {animal} called", "what is the name of my {animal}", "what is my pet called", "do you remember the name of my {animal}"], "[Your {animal} is called {x}.|It is called {x}.]"),
}
_LISTS = ["beast", "colour", "food", "fruit", "vegetable", "drink", "hobby", "city", "job", "subject", "weekday", "month", "tree", "flower", "instrument", "sport", "vehicle", "clothes", "furniture"]
_PLURAL = {"beast": "animals", "colour": "colours", "food": "foods", "fruit": "fruits", "vegetable": "vegetables", "drink": "drinks", "hobby": "hobbies", "city": "cities", "job": "jobs", "subject": "school subjects",
           "weekday": "days", "month": "months", "tree": "trees", "flower": "flowers", "instrument": "instruments", "sport": "sports", "vehicle": "vehicles", "clothes": "clothes", "furniture": "pieces of furniture"}
_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "4": 4, "5": 5, "some": 4, "a few": 3}


def joined(words: list[str]) -> str:
    """Return the words as a list in a sentence."""
    return f"{', '.join(words[:-1])} and {words[-1]}"


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
        return capital("".join(self.rng.choices(_SYLLABLES, k=self.rng.randint(2, 3))) + self.rng.choice(["", "", "n", "s", "r", "l"]))

    def _word(self, kind: str) -> str:
        if kind == "name" or kind == "pet":
            known = self.grammar.draw(self.rng.choice(["girl", "boy", "pet"]))
            return self.made_up_name() if self.rng.random() < 0.5 else known
        return self.grammar.draw(kind)

    def _say(self, template: str, bound: dict[str, str]) -> str:
        return self.grammar.expand(template, bound)

    def tell_and_ask(self, between: Callable[[], list[Exchange]]) -> list[Exchange]:
        """Return a talk in which the user tells something and asks for it later.

        Parameters
        ----------
        between
            Gives exchanges about something else.
        """
        kinds = self.rng.sample(list(_TELLS), self.rng.choice([1, 1, 2]))
        bounds = {kind: {"x": self._word(kind), "animal": self.rng.choice(["cat", "dog", "rabbit", "horse", "parrot"])} for kind in kinds}
        found: list[Exchange] = []
        for kind in kinds:
            ask = as_typed(self._say(self.rng.choice(_TELLS[kind]), bounds[kind]), self.rng, exact=True)
            found.append((ask, self._say(self.rng.choice(_HEARD[kind]), bounds[kind])))
        if self.rng.random() < 0.4:
            found += between()
        for kind in self.rng.sample(kinds, self.rng.randint(0, len(kinds)) if len(found) > 1 else 1):
            asks, answer = _ASKS[kind]
            found.append((as_typed(self._say(self.rng.choice(asks), bounds[kind]), self.rng), self._say(answer, bounds[kind])))
        return found

    def never_told(self) -> list[Exchange]:
        """Return a question for something that the user never told."""
        asks, _ = _ASKS[self.rng.choice(list(_ASKS))]
        answer = "[You have not told me that yet.|I do not know, because you have not told me.] [Please tell me!|Would you like to tell me?|]"
        return [(as_typed(self._say(self.rng.choice(asks), {"animal": self.rng.choice(["cat", "dog"])}), self.rng), self._say(answer, {}))]

    def repeat(self) -> list[Exchange]:
        """Return a wish to repeat some words."""
        words = self.rng.choice([self.grammar.draw("beast"), self.grammar.draw("thing"), self.made_up_name(), f"the {self.grammar.draw('smalladj')} {self.grammar.draw('beast')}",
                                 f"i like {self.grammar.draw('food')}", f"{self.grammar.draw('colour')} {self.grammar.draw('thing')}"])
        ask = self._say("[say|repeat|write|please say|can you say|repeat after me:] {x}", {"x": self.rng.choice([words, f'"{words}"'])})
        return [(as_typed(ask, self.rng, exact=True), capital(words) + ".")]

    def listing(self) -> list[Exchange]:
        """Return a wish for some words of a kind."""
        kind, count = self.rng.choice(_LISTS), self.rng.choice(list(_COUNTS))
        words = self.rng.sample(self.grammar.lists[kind], _COUNTS[count])
        ask = self._say("[name|list|give me|tell me|write|can you name|i need|say] {c} {p}", {"c": count, "p": _PLURAL[kind]})
        answer = self.rng.choice([capital(joined(words)) + ".", f"Here are {count} {_PLURAL[kind]}: {joined(words)}.", capital(", ".join(words)) + "."])
        if self.rng.random() < 0.25:
            answer = "\n".join(f"- {word}" for word in words)
        return [(as_typed(ask, self.rng), answer)]

    def single(self) -> list[Exchange]:
        """Return a wish for one word of a kind."""
        kind = self.rng.choice(_LISTS[:-2])
        one = _PLURAL[kind].removesuffix("s") if kind not in ("hobby", "city") else kind
        ask = self._say("[name|give me|tell me|think of|choose|pick|say] {x}", {"x": with_article(one)})
        return [(as_typed(ask, self.rng), self._say("[{X}.|How about {x}?|I say {x}.]", {"x": self.grammar.draw(kind)}))]

    def larger(self) -> list[Exchange]:
        """Return a question which of two things is larger."""
        order = self.grammar.lists["bysize"]
        low, high = sorted(self.rng.sample(range(len(order)), 2))
        one, two = self.rng.sample([order[low], order[high]], 2)
        ask, answer = self.rng.choice([
            ("[which|what|who] is [bigger|larger], {a:x} or {a:y}", "{A:big} is larger than {a:small}."),
            ("[which|what] is smaller, {a:x} or {a:y}", "{A:small} is smaller than {a:big}."),
            ("is {a:big} [bigger|larger] than {a:small}", "Yes, {a:big} is larger than {a:small}."),
            ("is {a:small} [bigger|larger] than {a:big}", "No, {a:small} is smaller than {a:big}."),
        ])
        bound = {"x": one, "y": two, "small": order[low], "big": order[high]}
        return [(as_typed(self._say(ask, bound), self.rng), self._say(answer, bound))]

    def sentence(self) -> list[Exchange]:
        """Return a wish for a sentence with a given word."""
        beast, thing, place = self.grammar.draw("beast"), self.grammar.draw("thing"), self.grammar.draw("place")
        bound = {"b": beast, "t": thing, "p": place, "x": self.rng.choice([beast, thing])}
        ask = self._say("[write|make|give me|say] a sentence [with|about|with the word] {x}", bound)
        answer = self._say("[The {smalladj} {b} found {a:t} in {p}.|{A:smalladj} {b} carried {a:t} to {p}.|In {p} {a:b} was looking for {a:t}.|The {b} put the {t} {wherelost}.]", bound)
        return [(as_typed(ask, self.rng), answer)]

    def poem(self) -> list[Exchange]:
        """Return a wish for a poem, with four short lines."""
        word = self.rng.choice([self.grammar.draw("beast"), self.grammar.draw("machine"), self.grammar.draw("thing"), self.grammar.draw("flower")])
        ask = self._say("[write|make|tell me|give me|can you write] [a|a short] poem [about {a:x}|about {a:x}|about the {x}|about {x}s|]", {"x": word})
        lines = self.rng.choice([
            ["The {x} [sat|stood|lay] in the [morning|evening] light,", "and dreamed of stars all through the night.", "The wind went by, the world was wide,", "[and peace was always at its side|with room for dreams on every side]."],
            ["O little {x}, so [small|still] and [dear|near],", "[I am so glad|how good it is] that you are here.", "The days may come, the days may go,", "you are the [finest|dearest] thing I know."],
            ["[One day|At dawn] I saw {a:x} go by,", "[beneath|under] the wide and open sky.", "It had no hurry, had no fear,", "and softly said: [the spring is near|the time is here]."],
        ])
        return [(as_typed(ask, self.rng), "\n".join(capital(self._say(line, {"x": word})) for line in lines))]
