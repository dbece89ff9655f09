"""Writes the three parts of a new mechanism from templates, into Headway itself or into somebody's own project."""

from __future__ import annotations

import json
import keyword
import re
from datetime import date
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from msgspec import Struct

from headway.app.cli.project import Project, find_project
from headway.core import catalogue
from headway.core.errors import ConfigError, unknown_name

SEATS = {
    "serving": ("batch", "route", "admit", "order", "evict", "predict", "migrate"),
    "shop": ("dispatch", "construct"),
}
"""Seats for which there is a template, by family; the first when none is named."""
IMPORTS = re.compile(r"(?:^from \S+ import [^(\n]+\n)+", re.MULTILINE)
"""Blocks of imports, whose order depends on the name of the new module."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class Draft(Struct, frozen=True, kw_only=True):
    """A mechanism to be.

    Parameters
    ----------
    family, name, seat : str
        Where it belongs; the name is that of its file.
    title, authors : str
        Of the publication.
    year : int
        Of the publication.
    arxiv : str
        Its arXiv id; empty when it has none.
    """

    family: str
    name: str
    seat: str
    title: str
    authors: str
    year: int
    arxiv: str

    @staticmethod
    def of(id: str, *, seat: str, title: str, authors: str, year: int | None, arxiv: str) -> Draft:
        """Check what was asked for and fill in what was left out.

        Raises
        ------
        ConfigError
            When the id is malformed or taken.
        UnknownName
            When there is no such family or seat.
        """
        family, _, name = id.partition("/")
        if keyword.iskeyword(name):
            raise ConfigError(f"new: a name must not be a word of Python, got {name!r}. Try {name}_policy.")
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"new: an id must be FAMILY/NAME in small letters, digits and _, got {id!r}. Try serving/mine."
            )
        if family not in SEATS:
            raise unknown_name("new: family with templates", family, SEATS)
        seat = seat or SEATS[family][0]
        if seat not in SEATS[family]:
            raise unknown_name(f"new: seat of {family}", seat, SEATS[family])
        if any(row.id == id for row in catalogue.rows()):
            raise ConfigError(f"new: {id} must be a new id, but it is in the catalogue. Choose another name.")
        return Draft(
            family=family,
            name=name,
            seat=seat,
            title=title or name.replace("_", " ").capitalize(),
            authors=authors or "unpublished",
            year=year or date.today().year,
            arxiv=arxiv,
        )

    @property
    def id(self) -> str:
        """Its id."""
        return f"{self.family}/{self.name}"

    @property
    def cls(self) -> str:
        """Its class."""
        return "".join(part.capitalize() for part in self.name.split("_"))

    def fill(self, template: str, **more: str) -> str:
        """Fill in one of the templates."""
        text = (files("headway.app.cli") / "templates" / template).read_text(encoding="utf-8")
        source = f'{self.authors}, "{self.title}", {self.year}' + (f", arXiv {self.arxiv}" if self.arxiv else "")
        source = source.replace("\\", "\\\\").replace('"""', "'''")  # it goes into a docstring
        words = {"id": self.id, "name": self.name, "cls": self.cls, "family": self.family, "source": source}
        filled = Template(text).substitute(words, **more)
        return IMPORTS.sub(lambda block: "".join(sorted(block[0].splitlines(keepends=True))), filled)

    def row(self, module: str) -> str:
        """Write its catalogue row."""
        facts: dict[str, Any] = {
            "id": self.id, "class": f"{module}:{self.cls}", "seat": self.seat, "title": self.title,
            "authors": self.authors, "year": self.year, "arxiv": self.arxiv, "level": "draft", "needs": [], "tags": [],
        }  # fmt: skip
        return "\n[[mechanism]]\n" + "".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in facts.items()
        )


class Written(Struct, frozen=True):
    """What was written, and what to do next."""

    files: list[Path]
    next: list[str]


def write(draft: Draft, directory: Path) -> Written:
    """Write file, test and row; nothing at all when one of the files is there already.

    Raises
    ------
    ConfigError
        When there is no project around `directory`, or a file exists.
    """
    project = find_project(directory)
    module = f"{project.package(draft.family)}.{draft.name}"
    code, test = project.code(draft.family) / f"{draft.name}.py", project.test(draft.family, draft.name)
    for path in (code, test):
        if path.exists():
            raise ConfigError(f"new: {path} must not exist yet, but it does. Choose another name, or remove it.")
    _put(code, draft.fill(f"{draft.family}_{draft.seat}.py.txt"))
    _put(test, draft.fill(f"test_{draft.family}_{draft.seat}.py.txt", module=module))
    rows = _add_row(draft, project, module)
    more = project.announce(draft.family)
    catalogue.forget()
    steps = [*more.steps, f"edit {code}", f"headway check {draft.id}", f"pytest {test}"]
    return Written([code, test, rows, *more.files], steps)


def _add_row(draft: Draft, project: Project, module: str) -> Path:
    path = project.code(draft.family) / "catalogue.toml"
    if not path.exists():
        about = catalogue.families()[draft.family].about
        _put(path, f"[family]\nname = {json.dumps(draft.family)}\nabout = {json.dumps(about)}\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(draft.row(module))
    return path


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
