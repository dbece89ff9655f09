"""A report as one file: opens offline, sorts and zooms with scripts, reads without them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Self

from headway.core.writing import replacing
from headway.plots.chart import Chart, Figure, Panels
from headway.plots.describe import data_tables, words
from headway.plots.drawing import Drawing, drawing_for
from headway.plots.palette import Palette
from headway.plots.tables import Table, html_of

Content = str | Table | Chart | Panels
"""What stands in a section: a paragraph, a table or a figure."""

_HERE = Path(__file__).parent
# Nothing may be loaded from anywhere, whatever a library's script thinks of.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


class Page:
    """A report that is put together piece by piece and written once.

    Parameters
    ----------
    title : str
        What it is about.
    about : str
        One paragraph below the title.
    facts : dict of str to str
        What was run, when, with which seeds, versions and machine: a list at the top. See `provenance`.
    palette : Palette or None
        Who has which colour; None begins a new one. Names get theirs in the order they first appear.

    Examples
    --------
    >>> page = Page("Two policies", facts={"Seeds": "0, 1, 2"})
    >>> _ = page.section("Numbers", "Lower is better.", Table(["policy", "p99 TTFT (s)"], [["a", 1.25], ["b", 0.5]]))
    >>> "<h2>Numbers</h2>" in page.html()
    True
    """

    def __init__(
        self, title: str, *, about: str = "", facts: Mapping[str, str] | None = None, palette: Palette | None = None
    ) -> None:
        self._title = title
        self._about = about
        self._facts = dict(facts or {})
        self._palette = palette or Palette()
        self._drawing: Drawing | None = None
        self._num_figures = 0
        self._sections: list[tuple[str, list[str]]] = []

    def section(self, heading: str, *content: Content) -> Self:
        """Add a section.

        Parameters
        ----------
        heading : str
            What stands above it.
        *content : str, Table, Chart or Panels
            Paragraphs, tables and figures, in this order.

        Raises
        ------
        MissingExtra
            For a figure, when neither plotly nor matplotlib is installed.
        """
        self._sections.append((heading, [self._piece(piece) for piece in content]))
        return self

    def reproduce(self, command: str, recipe: str = "") -> Self:
        """Add the section that says how to get the same numbers again.

        Parameters
        ----------
        command : str
            What to type.
        recipe : str
            The text of the file that the command reads; empty for none.
        """
        pieces = [f'<pre class="copy"><code>{escape(command)}</code></pre>']
        if recipe:
            pieces.append(f'<p>with this recipe:</p><pre class="copy"><code>{escape(recipe)}</code></pre>')
        self._sections.append(("How to reproduce", pieces))
        return self

    def html(self) -> str:
        """Return the whole page."""
        body = [self._header(), *(self._section(*section) for section in self._sections)]
        scripts = [self._drawing.script()] if self._drawing else []
        scripts.append(_asset("page.js"))
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n"
            '<button id="theme" type="button" hidden>Light or dark</button>\n<main>\n'
            + "\n".join(body)
            + "\n</main>\n"
            + "".join(f"<script>{script}</script>\n" for script in scripts if script)
            + "</body>\n</html>\n"
        )

    def write(self, path: Path | str) -> None:
        """Write the page to a file: whole, or not at all.

        Parameters
        ----------
        path : Path
            Where to; its folder must exist.
        """
        text = self.html()
        with replacing(Path(path)) as beside:
            beside.write_text(text, encoding="utf-8")

    def _piece(self, piece: Content) -> str:
        if isinstance(piece, str):
            return f"<p>{escape(piece)}</p>"
        return html_of(piece) if isinstance(piece, Table) else self._figure(piece)

    def _figure(self, figure: Figure) -> str:
        self._drawing = self._drawing or drawing_for(self._palette)
        self._num_figures += 1
        drawn = self._drawing.element(figure, f"figure-{self._num_figures}")
        tables = "".join(html_of(table) for table in data_tables(figure))
        data = f"<details><summary>Data of this figure</summary>{tables}</details>" if tables else ""
        return (
            f"<figure><figcaption>{escape(figure.title)}</figcaption>"
            f'<div class="drawing" role="img" aria-label="{escape(words(figure))}">{drawn}</div>{data}</figure>'
        )

    def _header(self) -> str:
        about = f"<p>{escape(self._about)}</p>" if self._about else ""
        facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in self._facts.items())
        return f"<header><h1>{escape(self._title)}</h1>{about}{f'<dl>{facts}</dl>' if facts else ''}</header>"

    @staticmethod
    def _section(heading: str, pieces: list[str]) -> str:
        return f"<section><h2>{escape(heading)}</h2>\n" + "\n".join(pieces) + "\n</section>"


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
