"""Weeks of NASA's Deep Space Network as link problems: requests, view periods, setups, maintenance.

A week is a set of lines of JSON, one for each request: its mission (``subject``), its duration and the least one
(hours), the antennas or arrays of antennas that may serve it with the periods in which they see the spacecraft
(``TRX ON`` to ``TRX OFF``), and setup and teardown (minutes). Maintenance is a table of antenna, start and end.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from headway.core.errors import ConfigError
from headway.policies.shop.ffeea_nouns import LinkProblem, LinkTask, Taken, Window

HOUR_S, MINUTE_S = 3600, 60


def read_satnet(requests: Path, maintenance: Path | None = None) -> dict[str, LinkProblem]:
    """Read all weeks of a file.

    Parameters
    ----------
    requests : Path
        Lines of JSON, packed by gzip where the name ends in ``.gz``.
    maintenance : Path or None
        A table with columns week, year, starttime, endtime, antenna.

    Returns
    -------
    dict of str to LinkProblem
        By week, such as ``"W10_2018"``. Time 0 is when the first request or maintenance of the week begins.

    Raises
    ------
    ConfigError
        When a file is not as described.
    """
    weeks: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(_lines(requests), start=1):
        try:
            row = json.loads(line)
            weeks.setdefault(row["problem"], []).append(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _wrong(requests, number, error) from error
    away = _maintenance(maintenance) if maintenance else {}
    return {week: _problem(requests, week, rows, away) for week, rows in weeks.items()}


def _problem(
    where: Path, week: str, rows: list[dict[str, Any]], away: Mapping[tuple[int, int], list[tuple[str, int, int]]]
) -> LinkProblem:
    try:
        mine = away.get((int(rows[0]["week"]), int(rows[0]["year"])), [])
        begin_s = min([int(row["time_window_start"]) for row in rows])
        tasks = [_task(row, begin_s) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong(where, week, error) from error
    usable = tuple(task for task in tasks if task.windows)
    seen = {antenna for task in usable for window in task.windows for antenna in window.antennas}
    taken = [Taken(antenna, start - begin_s, end - begin_s) for antenna, start, end in mine if antenna in seen]
    return LinkProblem(tasks=usable, antennas=tuple(sorted(seen)), taken=tuple(taken), now_s=-HOUR_S * 24, name=week)


def _task(row: Mapping[str, Any], begin_s: int) -> LinkTask:
    """Return a request; periods in sight that are shorter than its least duration are left out."""
    least, most = round(HOUR_S * row["duration_min"]), round(HOUR_S * row["duration"])
    windows = []
    for antennas, periods in row["resource_vp_dict"].items():
        for period in periods:
            start = max(int(period["TRX ON"]), int(row["time_window_start"])) - begin_s
            end = min(int(period["TRX OFF"]), int(row["time_window_end"])) - begin_s
            if end - start >= least:
                windows.append(Window(tuple(antennas.split("_")), start, end))
    return LinkTask(
        id=str(row["track_id"]),
        kind="track",
        arrival_s=0.0,
        satellite=str(row["subject"]),
        windows=tuple(sorted(windows, key=lambda window: (window.start_s, window.antennas))),
        min_s=least,
        max_s=most,
        setup_s=MINUTE_S * int(row["setup_time"]),
        teardown_s=MINUTE_S * int(row["teardown_time"]),
    )


def _maintenance(path: Path) -> dict[tuple[int, int], list[tuple[str, int, int]]]:
    found: dict[tuple[int, int], list[tuple[str, int, int]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                key = int(float(row["week"])), int(float(row["year"]))
                found.setdefault(key, []).append((row["antenna"], int(row["starttime"]), int(row["endtime"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong(path, "a row", error) from error
    return found


def _lines(path: Path) -> Iterable[str]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line for line in text.decode().splitlines() if line.strip()]


def _wrong(path: Path, where: int | str, error: Exception) -> ConfigError:
    what = f"{type(error).__name__}: {error}"
    return ConfigError(f"{path}: {where} must be as in the Deep Space Network's weeks, got {what}. Mend the file.")
