"""Write what a run came to as files that other programs read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError
from headway.core.scenario import Columns, Outcome
from headway.core.writing import replacing


def write_run(outcome: Outcome, result: dict[str, Any], folder: Path) -> None:
    """Write ``result.json``, ``works.csv``, ``samples.csv`` and ``spans.csv`` into a folder, made if need be.

    Raises
    ------
    ConfigError
        When the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out: {folder} must be a folder to write in, got: {error.strerror}.") from error
    with replacing(folder / "result.json") as path:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    for name in ("works", "samples", "spans"):
        columns: Columns = getattr(outcome, name)
        if columns:
            with replacing(folder / f"{name}.csv") as path:
                write_columns(columns, path)


def write_columns(columns: Columns, path: Path) -> None:
    """Write columns as CSV; numbers that do not exist are empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            writer.writerow("" if value != value else value for value in row)
