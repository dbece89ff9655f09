"""Remember finished jobs in a folder, so that an interrupted sweep goes on where it was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO, Any

import msgspec

from headway.app.studies.job import Job, Result
from headway.core.errors import ConfigError
from headway.core.report import Report

FILE = "finished.jsonl"


class Cache:
    """Results of finished jobs, one JSON line each.

    Parameters
    ----------
    folder : path
        Made when it is not there. A line cut short, as a killed process leaves it, is passed over.

    Raises
    ------
    ConfigError
        When the folder cannot be used.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = (self.folder / FILE).open("a+b")
        except OSError as error:
            raise ConfigError(f"--resume: {folder} must be a folder to write in, got: {error.strerror}.") from error
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        self._found = dict(found for line in lines[:-1] if (found := _read(line)) is not None)
        if lines[-1]:
            self._file.write(b"\n")

    def __len__(self) -> int:
        return len(self._found)

    def get(self, job: Job) -> Result | None:
        """Return the result of a job, or None when it is not here."""
        return self._found.get(job.key)

    def put(self, job: Job, result: Result) -> None:
        """Keep the result of a job, at once."""
        plain = {"key": job.key, "job": job.label, "wall_s": result.wall_s, "quantiles": result.quantiles}
        line = msgspec.json.encode({**plain, "report": msgspec.Raw(result.report.to_json().encode())})
        self._file.write(line + b"\n")
        self._file.flush()
        self._found[job.key] = result

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(line: bytes) -> tuple[str, Result] | None:
    try:
        plain: dict[str, Any] = msgspec.json.decode(line)
        report = Report.from_json(msgspec.json.encode(plain["report"]))
        wanted = dict[str, list[float | None]]
        curves = msgspec.convert(plain["quantiles"], wanted)
        wall_s = msgspec.convert(plain["wall_s"], float)
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, AttributeError):
        return None
    numbers = {name: [math.nan if value is None else value for value in curve] for name, curve in curves.items()}
    return str(plain["key"]), Result(report=report, quantiles=numbers, wall_s=wall_s)
