"""Put exchanges together to conversations with an optional system prompt."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

import bank
from asking import as_typed
from grammar import Grammar
from making import MakingTalk
from memory import MemoryTalk
from stories import StoryTalk
from things import ThingTalk

Exchange = tuple[str, str]
Message = dict[str, str]

_SIGNS = ["+", "-", "*", "plus", "times", "minus", "x", "/", "divided by"]
_LANGUAGES = [
    "German", "French", "Spanish", "Italian", "Russian", "Chinese", "Japanese", "Latin", "Arabic", "Dutch",
]  # fmt: skip


def _sum(rng: random.Random) -> str:
    one, two = rng.randint(1, 99), rng.randint(1, 99)
    return f"{one} {rng.choice(_SIGNS)} {two}"


def _gibberish(rng: random.Random) -> str:
    return " ".join("".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 9))) for _ in range(rng.randint(1, 3)))


class ChatMaker:
    """Make whole conversations from the text bank.

    Parameters
    ----------
    rng
        The dice; the same seed gives the same conversations.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.grammar = Grammar(bank.lists(), bank.phrases(), rng)
        self.terms = ThingTalk(self.grammar, bank.things("terms.txt"))
        self.things = ThingTalk(self.grammar, bank.things("things.txt"))
        self.stories = StoryTalk(self.grammar, bank.schemas())
        self.memory, self.making = MemoryTalk(self.grammar), MakingTalk(self.grammar)
        self.small_talk, self.project = bank.topics("talk.txt"), bank.topics("headway.txt")
        self.facts, self.unknown = bank.topics("facts.txt"), bank.topics("unknown.txt")
        self.tables = list(bank.tables().values())
        self.weights, self.sources = zip(*self._sources(), strict=True)

    def _from(self, topic: bank.Topic, bound: dict[str, str], *, exact: bool = False) -> list[Exchange]:
        question, answer = self.rng.choice(topic.questions), self.rng.choice(topic.answers)
        bound = self.grammar.shared(question, answer) | bound
        ask = self.grammar.expand(question, bound)
        return [(as_typed(ask, self.rng, exact=exact), self.grammar.expand(answer, bound))]

    def fact(self) -> list[Exchange]:
        """Return an answer about the world."""
        return self._from(self.rng.choice(self.facts), {})

    def about_project(self) -> list[Exchange]:
        """Return an answer about the project."""
        return self._from(self.rng.choice(self.project), {})

    def chatter(self) -> list[Exchange]:
        """Return one exchange of small talk; the first topics of the bank are the common ones."""
        return self._from(self.rng.choice(self.small_talk[:12] if self.rng.random() < 0.3 else self.small_talk), {})

    def relation(self) -> list[Exchange]:
        """Return one cell of a table."""
        weights = [len(table.topics) ** 0.5 * len(table.rows) for table in self.tables]
        table = self.rng.choices(self.tables, weights=weights)[0]
        return self._from(self.rng.choice(table.topics), self.rng.choice(table.rows))

    def _strangers(self) -> dict[str, str]:
        draw, made_up = self.grammar.draw, self.memory.made_up_name
        first, second = draw(self.rng.choice(["girl", "boy"])), draw("surname")
        who = self.rng.choice([f"{first} {second}", f"{made_up()} {draw('surname')}", f"{made_up()} {made_up()}"])
        strange = [draw("alien"), draw("rareword"), draw("rareword"), made_up(), made_up().lower(), who]
        return {"who": who, "x": self.rng.choice(strange)}

    def refusal(self) -> list[Exchange]:
        """Return a question that a very small model cannot answer."""
        bound = self._strangers()
        bound |= {"sum": _sum(self.rng), "language": self.rng.choice(_LANGUAGES), "gibberish": _gibberish(self.rng)}
        index = self.rng.choice([0, 1, 1, 1, 2, *range(3, len(self.unknown))])
        return self._from(self.unknown[index], bound, exact=True)

    def _sources(self) -> list[tuple[int, Callable[[], list[Exchange]]]]:
        memory, making = self.memory, self.making
        return [
            (16, self.terms.talk),
            (3, lambda: [self.terms.why()]),
            (3, lambda: [self.terms.example()]),
            (4, lambda: [self.terms.difference()]),
            (13, self.things.talk),
            (1, lambda: [self.things.difference()]),
            (18, self.chatter),
            (6, self.about_project),
            (6, self.fact),
            (14, self.relation),
            (11, self.refusal),
            (7, self.stories.talk),
            (6, lambda: memory.tell_and_ask(self._aside_source())),
            (1, memory.never_told),
            (2, memory.repeat),
            (3, making.listing),
            (1, self.stories.offered),
            (1, making.larger),
            (1, making.single),
            (1, making.sentence),
            (1, making.poem),
        ]

    def _aside_source(self) -> Callable[[], list[Exchange]]:
        return self.rng.choice([self.chatter, self.relation, self.fact])

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges of one subject."""
        source: Callable[[], list[Exchange]] = self.rng.choices(self.sources, weights=self.weights)[0]
        return source()

    def _named(self) -> tuple[str, list[Exchange]]:
        name = self.grammar.draw("bot") if self.rng.random() < 0.5 else self.memory.made_up_name()
        ask = self.grammar.say("ask bot name")
        answer = self.grammar.say("answer bot name", {"bot": name})
        return self.grammar.say("named system", {"bot": name}), [(as_typed(ask, self.rng), answer)]

    def _brief(self) -> tuple[str, list[Exchange]]:
        talk = self.rng.choice([self.terms, self.things])
        system = self.grammar.say("brief system")
        return system, [talk.first(self.rng.choice(talk.things), brief=True) for _ in range(self.rng.randint(1, 3))]

    def _opening(self) -> tuple[str, list[Exchange]]:
        dice = self.rng.random()
        if dice < 0.09:
            return self._named() if dice < 0.04 else self._brief()
        system = self.grammar.say("plain system") if dice < 0.25 else ""
        greeting = self._from(self.small_talk[0], {}) if self.rng.random() < 0.08 else []
        return system, greeting + self.exchanges()

    def drill(self) -> list[Message]:
        """Return a conversation in which the user wants a row of words repeated."""
        ask, answer = self.memory.drill()[0]
        return [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]

    def conversation(self, num_subjects: int | None = None) -> list[Message]:
        """Return the messages of one conversation.

        Parameters
        ----------
        num_subjects
            How many subjects it touches, >= 1; None draws a small number. Default None.
        """
        system, found = self._opening()
        for _ in range((num_subjects or self.rng.choice([1, 1, 1, 2, 2, 3, 4])) - 1):
            found += self.exchanges()
        messages = [{"role": "system", "content": system}] if system else []
        for ask, answer in found:
            messages += [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
        return messages

    def passage(self) -> str:
        """Return a plain text that is not a conversation."""
        return self.rng.choice([self.stories.passage, self.stories.passage, self.terms.passage, self.things.passage])()
