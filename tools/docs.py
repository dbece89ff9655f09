"""Write the pages of the documentation that follow from the code: `docs/catalogue.md`.

Run it after a change of a catalogue; a test compares the pages with what it would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from headway.core import catalogue

DOCS = Path(__file__).parents[1] / "docs"

INTRO = """# Catalogue

One section per mechanism, written by `python tools/docs.py` from the catalogue rows and the docstrings.

Levels: *draft* passes the contract; *faithful* was checked line by line against its specification; *reproduced* has its
headline comparison as a golden test.
"""


def catalogue_page() -> str:
    """Return the catalogue as a page of Markdown."""
    parts = [INTRO]
    for family in catalogue.families().values():
        parts.append(f"## {family.name}\n\n{family.about}\n")
        parts += [_section(row) for row in catalogue.rows(family.name)]
    return "\n".join(parts)


def _section(row: catalogue.Row) -> str:
    where = f"arXiv {row.arxiv}" if row.arxiv else "no arXiv id"
    facts = [
        f'- Source: {row.authors}, "{row.title}", {row.year}, {where}',
        f"- Seat: {row.seat}; level: {row.level}; needs: {', '.join(row.needs) or 'nothing special'}",
        f"- Tags: {', '.join(row.tags) or 'none'}",
        f"- Class: `{row.cls}`",
    ]
    doc = inspect.getdoc(catalogue.load(row.id)) or ""
    return f"### `{row.id}`\n\n" + "\n".join(facts) + f"\n\n```text\n{doc}\n```\n"


def pages() -> dict[Path, str]:
    """Return every generated page, by file."""
    return {DOCS / "catalogue.md": catalogue_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(DOCS.parent)}")
