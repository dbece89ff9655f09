"""How a page draws its figures: with plotly.js where plotly is installed, else as pictures by matplotlib."""

from __future__ import annotations

from typing import Protocol

from headway.core.errors import missing_extra
from headway.plots.chart import Figure
from headway.plots.libraries import has, plotly_script
from headway.plots.palette import Palette
from headway.plots.render_html import encode, specification
from headway.plots.render_image import svg_of


class Drawing(Protocol):
    """Draws the figures of one page."""

    def element(self, figure: Figure, name: str) -> str:
        """Return the HTML that stands where the figure is; `name` is its own on the page."""

    def script(self) -> str:
        """Return what the page needs once, however many figures it has."""


class InteractiveDrawing:
    """Leaves the drawing to plotly.js, which the page carries along.

    Parameters
    ----------
    palette : Palette
        Who has which colour.
    """

    def __init__(self, palette: Palette) -> None:
        self._palette = palette

    def element(self, figure: Figure, name: str) -> str:
        """Return an empty place and the data that fill it."""
        spec = specification(figure, self._palette)
        height = spec["layout"]["height"]
        return (
            f'<div class="plot" id="{name}" style="height:{height}px"></div>'
            f'<script type="application/json" data-for="{name}">{encode(spec)}</script>'
            "<noscript><p>The figure needs scripts; its numbers are below.</p></noscript>"
        )

    def script(self) -> str:
        """Return plotly.js."""
        return plotly_script()


class StillDrawing:
    """Puts pictures into the page.

    Parameters
    ----------
    palette : Palette
        Who has which colour.
    """

    def __init__(self, palette: Palette) -> None:
        self._palette = palette

    def element(self, figure: Figure, name: str) -> str:
        """Return the figure as SVG, whose ink follows the page's."""
        return svg_of(figure, self._palette, name)

    def script(self) -> str:
        """Return nothing."""
        return ""


def drawing_for(palette: Palette) -> Drawing:
    """Choose the best drawing that is installed.

    Raises
    ------
    MissingExtra
        When there is none.
    """
    if has("plotly"):
        return InteractiveDrawing(palette)
    if has("matplotlib"):
        return StillDrawing(palette)
    raise missing_extra("plotly", "plan", "to draw the figures of a page")
