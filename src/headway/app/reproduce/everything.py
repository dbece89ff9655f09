"""All published comparisons of a family, one after the other, in a way that can be interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headway.app.reproduce.find import claims_of, rows_with_claims
from headway.app.reproduce.running import OnProgress, reproduce, told
from headway.app.studies.result import versions
from headway.core import catalogue
from headway.core.catalogue import Row
from headway.core.errors import ConfigError
from headway.core.writing import replacing
from headway.plots.quantities import number
from headway.plots.tables import Cell, Column, Table

YES, NO = "✓", "✗"


def rows_of(family: str) -> list[Row]:
    """Return the mechanisms of a family whose claims are written down.

    Raises
    ------
    UnknownName
        When there is no such family.
    ConfigError
        When none of it has claims.
    """
    catalogue.rows(family)
    found = [row for row in rows_with_claims() if row.family == family]
    if not found:
        raise ConfigError(f"--all: {family} must have mechanisms with claims, got none. See `headway reproduce`.")
    return found


def reproduce_all(
    rows: Sequence[Row],
    *,
    seeds: Sequence[int],
    quick: bool,
    num_workers: int = 0,
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield what `told` tells of every mechanism, as soon as it is known.

    Parameters
    ----------
    rows : sequence of Row
        Of the mechanisms.
    seeds : sequence of int
        One or more.
    quick : bool
        Whether seconds matter more than accuracy.
    num_workers : int
        How many processes; see `reproduce`.
    folder : Path or None
        Where what is finished is kept, and taken from when it was found with the same seeds, pace and versions.
    on_progress : callable or None
        Told how many (claim, seed) pairs of all mechanisms are done, and of how many.
    """
    sizes = [len(claims_of(row.id)) * len(seeds) for row in rows]
    before = 0
    for row, size in zip(rows, sizes, strict=True):
        found = _kept(folder, row.id, seeds, quick)
        if found is None:
            tell = _shifted(on_progress, before, sum(sizes))
            made = reproduce(row.id, seeds=seeds, quick=quick, num_workers=num_workers, on_progress=tell)
            found = msgspec.json.decode(msgspec.json.encode(told(made)))  # as it is read back, whoever made it
            _keep(folder, found)
        before += size
        if on_progress is not None:
            on_progress(before, sum(sizes))
        yield found


def headline_table(found: Sequence[dict[str, Any]]) -> Table:
    """Return one row per mechanism: its headline's first number, claimed and here, and how many claims agree."""
    heads = ["mechanism", "headline", "claimed", "here", "directions", "sizes"]
    columns = [Column(head, "right" if head in ("claimed", "here") else "left") for head in heads]
    return Table(columns, [_headline(one) for one in found])


def markdown(table: Table) -> str:
    """Return a table as markdown."""
    lines = [" | ".join(table.titles), " | ".join("---" for _ in table.titles)]
    lines += [" | ".join("" if cell is None else str(cell) for cell in row) for row in table.rows]
    return "".join(f"| {line} |\n" for line in lines)


def _headline(one: dict[str, Any]) -> list[Cell]:
    sizes = one["sizes"]
    directions = f"{one['num_agree_direction']} of {one['num_claims']}"
    agree = f"{one['num_agree_magnitude']} of {one['num_with_magnitude']}" if one["num_with_magnitude"] else ""
    if not sizes:
        return [one["id"], one["claim_id"], "", _mark(one["agrees_direction"]), directions, agree]
    first = sizes[0]
    ends = "" if first["low"] is None else _ends(first)
    return [one["id"], first["name"], number(first["claimed"]), number(first["mean"]) + ends, directions, agree]


def _ends(size: dict[str, Any]) -> str:
    return f" [{number(size['low'])}, {number(size['high'])}]"


def _mark(agrees: bool) -> str:
    return YES if agrees else NO


def _shifted(on_progress: OnProgress | None, before: int, num_all: int) -> OnProgress | None:
    if on_progress is None:
        return None
    return lambda done, _: on_progress(before + done, num_all)


def _file(folder: Path, id: str) -> Path:
    return folder / f"{id.replace('/', '-')}.json"


def _kept(folder: Path | None, id: str, seeds: Sequence[int], quick: bool) -> dict[str, Any] | None:
    if folder is None or not _file(folder, id).is_file():
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(_file(folder, id).read_bytes())
    except msgspec.DecodeError:
        return None
    same = {"id": id, "seeds": list(seeds), "quick": quick, "versions": msgspec.to_builtins(versions())}
    return found if all(found.get(key) == value for key, value in same.items()) else None


def _keep(folder: Path | None, found: dict[str, Any]) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(_file(folder, found["id"])) as path:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    except OSError as error:
        raise ConfigError(f"--resume: {folder} must be a folder to write in, got: {error.strerror}.") from error
