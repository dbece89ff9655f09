"""Stories from schemas, and the talks in which a user asks for one."""

from __future__ import annotations

from dataclasses import dataclass, field

from asking import as_typed
from bank import Schema
from grammar import Grammar, capital, with_article

Exchange = tuple[str, str]

_PRONOUNS = {"girl": ("she", "her", "her"), "boy": ("he", "his", "him"), "pet": ("it", "its", "it")}
_WOMEN = {"girl", "queen", "old woman"}
_MEN = {"boy", "king", "old man", "postman", "fisherman", "knight", "young wizard"}
_ASK = [
    "tell me a [|short |little |nice |funny |long |bedtime ]story", "[a|another] story please", "[can|could] you tell [me |]a story",
    "i [want|would like] to hear a story", "do you know a story", "story", "write a [short|] story", "a bedtime story please",
    "tell a story", "make up a story", "write me a story", "once upon a time", "i want a story", "please tell me one of your stories",
]
_ABOUT = [
    "tell me a [|short |little |nice |bedtime ]story about {x}", "[write|make up] a [|short ]story about {x}", "[a|] story about {x}",
    "[can|could] you tell [me|us] a story about {x}", "i want [a story|to hear a story] about {x}", "do you know a story about {x}",
    "i would love a story [with|about] {x}", "[a|one] story with {x} please", "how about a story with {x}", "do you have a story about {x}", "can i hear about {x}",
    "something about {x}, as a story", "let me hear a tale of {x}", "and now a story about {x}", "pls tell a story about {x}",
    "a tale about {x} please", "story about {x}", "tell my [son|daughter|child] a story about {x}", "make it about {x}",
]


@dataclass
class Cast:
    """Who and what a story is about: the words for its slots."""

    words: dict[str, str] = field(default_factory=dict)


class StoryTalk:
    """Make stories and exchanges about them.

    Parameters
    ----------
    grammar
        Templates, word lists and dice.
    schemas
        The plans from which stories are told.
    """

    def __init__(self, grammar: Grammar, schemas: list[Schema]) -> None:
        self.grammar = grammar
        self.rng = grammar.rng
        self.schemas = schemas

    def _hero(self) -> tuple[str, str, tuple[str, str, str]]:
        kind = self.grammar.draw(self.rng.choice(["beast", "beast", "machine", "person"]))
        sex = "girl" if kind in _WOMEN else "boy" if kind in _MEN else self.rng.choice(["girl", "boy"])
        if kind in self.grammar.lists["person"]:
            return kind, self.grammar.draw(sex), _PRONOUNS[sex]
        pronouns = _PRONOUNS[self.rng.choice(["girl", "boy", "pet", "pet"])]
        return kind, self.grammar.draw("pet"), pronouns

    def cast(self, schema: Schema) -> Cast:
        """Return a hero, a friend and the things around them; some schemas say what the hero is."""
        draw = self.grammar.draw
        kind, name, (he, his, him) = self._hero()
        fixed = schema.themes[0].removeprefix("a ")
        if fixed in self.grammar.lists["machine"]:
            kind, name, (he, his, him) = fixed, draw("pet"), _PRONOUNS["pet"]
        friend_kind, friend, (_, friend_his, _) = self._hero()
        while friend == name or friend_kind == kind:
            friend_kind, friend, (_, friend_his, _) = self._hero()
        himself = {"he": "himself", "she": "herself", "it": "itself"}[he]
        words = {"k": kind, "n": name, "he": he, "his": his, "him": him, "himself": himself, "mk": friend_kind,
                 "m": friend, "his2": friend_his, "adj": draw("smalladj"), "adj2": draw("smalladj"), "t": draw("thing"),
                 "w": draw("wherelost"), "f": draw("food"), "j": draw("goodadj"), "time": draw("time"),
                 "time2": draw("time").lower(), "mood": draw("mood"), "fruit": draw("fruit")}
        words["p"], words["p2"], words["p3"] = self.rng.sample(self.grammar.lists["place"], 3)
        words["p2"] = "the village"
        return Cast(words)

    def tell(self, schema: Schema, cast: Cast) -> str:
        """Return one telling of a schema with a cast."""
        steps = [step for mark, step in schema.steps.items() if mark in "1230" or self.rng.random() < 0.93]
        sentences = (capital(self.grammar.expand(self.rng.choice(ways), cast.words)) for ways in steps)
        return " ".join(text if text[-1] in '.!?"' else text + "." for text in sentences)

    def _request(self, schema: Schema, cast: Cast) -> str:
        if self.rng.random() < 0.3:
            return as_typed(self.grammar.expand(self.rng.choice(_ASK)), self.rng)
        word = cast.words
        about = [with_article(word["k"])] * 3 + [
            f"{with_article(word['adj'])} {word['k']}", f"{with_article(word['k'])} named {word['n']}", word["n"], word["p"], self.rng.choice(schema.themes),
            f"{with_article(word['k'])} and {with_article(word['mk'])}", f"{word['k']}s", f"{word['n']} the {word['k']}"]
        return as_typed(self.grammar.expand(self.rng.choice(_ABOUT), {"x": self.rng.choice(about)}), self.rng)

    def _open(self, cast: Cast) -> str:
        if self.rng.random() < 0.75:
            return ""
        return self.grammar.expand("[Here is a story|Gladly|Here is one|Of course|Listen]{end} ", {"end": self.rng.choice([".", "!"])}) + " "

    def _follow(self, cast: Cast) -> list[Exchange]:
        word = cast.words
        asks = [
            ("what [was the name of the {k}|was the {k} called|was the name of the hero]", "The {k} was called {n}."),
            ("who was {n}", "{N} was the {k} in the story."),
            ("who was {m}", "{M} was the {mk} in the story."),
            ("[who helped {n}|who was the other one|who else was in the story]", "It was {m} the {mk}."),
            ("[i like that story|nice story|that was lovely|good story|wow]", "[Thank you!|I am glad that you like it.] [Would you like another one?|Shall I tell another one?]"),
            ("[is this story true|is that true|did this really happen]", "No, I made it up. [There is no real {k} named {n}, as far as I know.|]"),
        ]
        ask, answer = self.rng.choice(asks)
        found = [(as_typed(self.grammar.expand(ask, word), self.rng), self.grammar.expand(answer, word))]
        if "another one" in found[0][1] and self.rng.random() < 0.6:
            found.append((as_typed(self.grammar.expand("[yes|yes please|sure|another one|please|ok|yes, another one]"), self.rng), self.passage()))
        return found

    def offered(self) -> list[Exchange]:
        """Return a talk in which the model offers a story and the user takes it."""
        offer = "[Would you like to hear a story?|Shall I tell you a story?|Do you want a short story?|I can tell you a story. Would you like that?]"
        ask = as_typed(self.grammar.expand("[i am bored|i am sad|what can you do|i have nothing to do|i cannot sleep|entertain me|i am tired|surprise me]"), self.rng)
        heard = self.grammar.expand(f"[I see.|All right.|Let me help.|] {offer}")
        accept = as_typed(self.grammar.expand("[yes|yes please|sure|ok|please|yeah|gladly|of course|a story|a story please|tell me]"), self.rng)
        return [(ask, heard), (accept, self.passage())]

    def talk(self) -> list[Exchange]:
        """Return a wish for a story, the story, and sometimes a question about it."""
        schema = self.rng.choice(self.schemas)
        cast = self.cast(schema)
        found = [(self._request(schema, cast), self._open(cast) + self.tell(schema, cast))]
        return found + (self._follow(cast) if self.rng.random() < 0.3 else [])

    def passage(self) -> str:
        """Return a story alone."""
        schema = self.rng.choice(self.schemas)
        return self.tell(schema, self.cast(schema))
