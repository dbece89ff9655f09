"""Read the hand-written text bank: word lists, questions, things, relations and story schemas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

BANK = Path(__file__).parent / "bank"


@dataclass
class Topic:
    """Ways to ask for one thing and ways to answer."""

    questions: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


@dataclass
class Thing:
    """One idea: its names, what it is, facts, why it matters, examples."""

    names: list[str]
    what: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


@dataclass
class Table:
    """Rows of one relation, with the topics that ask for its cells."""

    columns: list[str]
    rows: list[dict[str, str]] = field(default_factory=list)
    topics: list[Topic] = field(default_factory=list)


@dataclass
class Schema:
    """A story plan: its themes, and for each sentence the ways to tell it."""

    themes: list[str]
    steps: dict[str, list[str]] = field(default_factory=dict)


def lines(name: str) -> list[str]:
    """Return the lines of a bank file that hold text."""
    text = (BANK / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def lists() -> dict[str, list[str]]:
    """Return the word lists by name."""
    pairs = (line.split(":", 1) for line in lines("lists.txt"))
    return {name.strip(): [word.strip() for word in words.split(",")] for name, words in pairs}


def phrases() -> dict[str, list[str]]:
    """Return the sets of phrases by name."""
    found: dict[str, list[str]] = {}
    for line in lines("phrases.txt"):
        if line.startswith("= "):
            current = found[line[2:]] = []
        else:
            current.append("" if line == "-" else line)
    return found


def _add_to_topics(found: list[Topic], line: str) -> None:
    mark, text = line.split(" ", 1)
    if mark == "Q" and (not found or found[-1].answers):
        found.append(Topic())
    (found[-1].questions if mark == "Q" else found[-1].answers).append(text)


def topics(name: str) -> list[Topic]:
    """Return the question and answer blocks of a file; a question after an answer starts a block."""
    found: list[Topic] = []
    for line in lines(name):
        _add_to_topics(found, line)
    return found


def things(name: str) -> list[Thing]:
    """Return the things that a file describes."""
    found: list[Thing] = []
    for line in lines(name):
        mark, text = line.split(" ", 1)
        if mark == "N":
            found.append(Thing([part.strip() for part in text.split(";")]))
        else:
            thing = found[-1]
            {"S": thing.what, "F": thing.facts, "Y": thing.why, "E": thing.examples}[mark].append(text)
    return found


def tables() -> dict[str, Table]:
    """Return the relations by name."""
    found: dict[str, Table] = {}
    current = Table([])
    for line in lines("tables.txt"):
        if line.startswith("@ "):
            name, columns = line[2:].split(":", 1)
            current = found[name.strip()] = Table([part.strip() for part in columns.split(";")])
        elif line.startswith(("Q ", "A ")) and " ; " not in line:
            _add_to_topics(current.topics, line)
        else:
            cells = [part.strip() for part in line.split(" ; ")]
            current.rows.append(dict(zip(current.columns, cells, strict=True)))
    return found


def schemas() -> list[Schema]:
    """Return the story schemas, their steps in the order in which they are told."""
    found: list[Schema] = []
    for line in lines("stories.txt"):
        mark, text = line.split(" ", 1)
        if mark == "=":
            found.append(Schema([part.strip() for part in text.split("|")]))
        else:
            found[-1].steps.setdefault(mark, []).append(text)
    return found
