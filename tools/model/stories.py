"""Stories from schemas, and the talks in which a user asks for one."""

from __future__ import annotations

from asking import as_typed
from bank import Schema
from grammar import Grammar, capital, with_article

Exchange = tuple[str, str]
Cast = dict[str, str]

_PRONOUNS = {"girl": ("she", "her", "her"), "boy": ("he", "his", "him"), "pet": ("it", "its", "it")}
_REFLEXIVE = {"he": "himself", "she": "herself", "it": "itself"}
_WOMEN = {"girl", "queen", "old woman"}
_MEN = {"boy", "king", "old man", "postman", "fisherman", "knight", "young wizard"}


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

    def _say(self, phrases: str, cast: Cast | None = None) -> str:
        return as_typed(self.grammar.say(phrases, cast), self.rng)

    def _hero(self) -> tuple[str, str, tuple[str, str, str]]:
        kind = self.grammar.draw(self.rng.choice(["beast", "beast", "machine", "person"]))
        sex = "girl" if kind in _WOMEN else "boy" if kind in _MEN else self.rng.choice(["girl", "boy"])
        if kind in self.grammar.lists["person"]:
            return kind, self.grammar.draw(sex), _PRONOUNS[sex]
        pronouns = _PRONOUNS[self.rng.choice(["girl", "boy", "pet", "pet"])]
        return kind, self.grammar.draw("pet"), pronouns

    def _two(self, schema: Schema) -> Cast:
        kind, name, (he, his, him) = self._hero()
        fixed = schema.themes[0].removeprefix("a ")
        if fixed in self.grammar.lists["machine"]:
            kind, name, (he, his, him) = fixed, self.grammar.draw("pet"), _PRONOUNS["pet"]
        friend_kind, friend, (_, friend_his, _) = self._hero()
        while friend == name or friend_kind == kind:
            friend_kind, friend, (_, friend_his, _) = self._hero()
        hero = {"k": kind, "n": name, "he": he, "his": his, "him": him, "himself": _REFLEXIVE[he]}
        return hero | {"mk": friend_kind, "m": friend, "his2": friend_his}

    def cast(self, schema: Schema) -> Cast:
        """Return the words for a hero, a friend and the things around them; some schemas say what the hero is."""
        words, draw = self._two(schema), self.grammar.draw
        words |= {"adj": draw("smalladj"), "adj2": draw("smalladj"), "t": draw("thing"), "w": draw("wherelost")}
        words |= {"f": draw("food"), "j": draw("goodadj"), "time": draw("time"), "time2": draw("time").lower()}
        words |= {"mood": draw("mood"), "fruit": draw("fruit")}
        words["p"], _, words["p3"] = self.rng.sample(self.grammar.lists["place"], 3)
        return words | {"p2": "the village"}

    def tell(self, schema: Schema, cast: Cast) -> str:
        """Return one telling of a schema with a cast."""
        steps = [step for mark, step in schema.steps.items() if mark in "1230" or self.rng.random() < 0.93]
        sentences = (capital(self.grammar.expand(self.rng.choice(ways), cast)) for ways in steps)
        return " ".join(text if text[-1] in '.!?"' else text + "." for text in sentences)

    def _request(self, schema: Schema, cast: Cast) -> str:
        if self.rng.random() < 0.3:
            return self._say("story ask")
        kind, name, adjective = cast["k"], cast["n"], cast["adj"]
        about = [with_article(kind)] * 3
        about += [f"{with_article(adjective)} {kind}", f"{with_article(kind)} named {name}", name, cast["p"]]
        about += [self.rng.choice(schema.themes), f"{with_article(kind)} and {with_article(cast['mk'])}"]
        about += [f"{kind}s", f"{name} the {kind}"]
        template = self.grammar.pick("story about")
        return as_typed(self.grammar.expand(template, {"x": self.rng.choice(about)}), self.rng)

    def _open(self) -> str:
        if self.rng.random() < 0.75:
            return ""
        return self.grammar.say("story open", {"end": self.rng.choice([".", "!"])}) + " "

    def _follow(self, cast: Cast) -> list[Exchange]:
        ask, answer = self.grammar.pick("story questions").split(" => ")
        found = [(as_typed(self.grammar.expand(ask, cast), self.rng), self.grammar.expand(answer, cast))]
        if "another one" in found[0][1] and self.rng.random() < 0.6:
            found.append((self._say("yes story"), self.passage()))
        return found

    def offered(self) -> list[Exchange]:
        """Return a talk in which the model offers a story and the user takes it."""
        ask = self._say("in need of a story")
        heard = self.grammar.say("offer a story")
        return [(ask, heard), (self._say("take a story"), self.passage())]

    def talk(self) -> list[Exchange]:
        """Return a wish for a story, the story, and sometimes a question about it."""
        schema = self.rng.choice(self.schemas)
        cast = self.cast(schema)
        found = [(self._request(schema, cast), self._open() + self.tell(schema, cast))]
        return found + (self._follow(cast) if self.rng.random() < 0.3 else [])

    def passage(self) -> str:
        """Return a story alone."""
        schema = self.rng.choice(self.schemas)
        return self.tell(schema, self.cast(schema))
