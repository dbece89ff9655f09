"""One figure into one file, of the kind that its name says."""

from __future__ import annotations

from pathlib import Path

from headway.core.errors import ConfigError
from headway.plots.chart import Figure
from headway.plots.page import Page
from headway.plots.palette import Palette
from headway.plots.render_image import IMAGE_SUFFIXES, write_image

SUFFIXES = (*IMAGE_SUFFIXES, ".html")


def save(figure: Figure, path: Path | str, palette: Palette | None = None) -> None:
    """Write a figure: an image, or a page that zooms.

    Parameters
    ----------
    figure : Chart or Panels
        What to draw.
    path : Path
        Where to, ending in one of `SUFFIXES`; its folder must exist.
    palette : Palette or None
        Who has which colour; share one among figures that belong together.

    Raises
    ------
    ConfigError
        When the suffix is another one, or the folder does not exist.
    MissingExtra
        When what draws it is not installed.
    """
    path = Path(path)
    if path.suffix.lower() == ".html":
        Page(figure.title, palette=palette).section("Figure", figure).write(path)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        write_image(figure, path, palette)
    else:
        raise ConfigError(
            f"{path}: must end in one of {', '.join(SUFFIXES)}, got {path.suffix!r}. Name it {path.stem}.png."
        )
