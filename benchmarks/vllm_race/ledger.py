"""What was measured so far, kept line by line, so that a race can be broken off and taken up again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Ledger:
    """Rows by what they are of.

    Parameters
    ----------
    path : Path or None
        Where they are kept; in memory alone without.
    terms : dict
        What the rows were measured under; a file that was begun under others is not taken up.

    Raises
    ------
    SystemExit
        When the file was begun under other terms.
    """

    def __init__(self, path: Path | None, terms: Row) -> None:
        self._path = path
        self._rows: dict[str, Row] = {}
        if path is not None and path.exists():
            first, *rest = [json.loads(line) for line in path.read_text().splitlines()]
            if first != terms:
                raise SystemExit(f"--keep: {path} must be of the same terms, got {first} there and {terms} here.")
            self._rows = {line["key"]: line["row"] for line in rest}
        elif path is not None:
            path.write_text(json.dumps(terms) + "\n")

    def has(self, *key: object) -> bool:
        """Tell whether there is a row."""
        return json.dumps(key) in self._rows

    def get(self, key: tuple[object, ...], measure: Callable[[], Row]) -> Row:
        """Return a row, measured now if it is not there."""
        name = json.dumps(key)
        if name not in self._rows:
            self._rows[name] = row = measure()
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(json.dumps({"key": name, "row": row}) + "\n")
        return self._rows[name]

    def rows(self, *start: object) -> list[Row]:
        """Return all rows whose key begins so, in the order in which they were measured."""
        return [row for key, row in self._rows.items() if json.loads(key)[: len(start)] == list(start)]
