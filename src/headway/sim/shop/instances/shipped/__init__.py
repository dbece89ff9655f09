"""Small instances that come with Headway, to try things on."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """Return the files by name.

    Examples
    --------
    >>> sorted(shipped())
    ['flexible', 'ft06', 'ft10', 'project']
    """
    return {path.stem: path for path in sorted(FOLDER.iterdir()) if path.suffix in (".txt", ".fjs", ".sm")}
