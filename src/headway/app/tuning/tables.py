"""The tables of the books: records as JSON beside the few columns by which they are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from headway.app.tuning.database import Database
from headway.app.tuning.records import (
    LIVE,
    CheckpointRecord,
    EventRecord,
    FileRecord,
    JobRecord,
    ModelRecord,
    StepRecord,
)
from headway.app.tuning.troubles import NameTaken, UnknownCursor

encode = msgspec.json.Encoder().encode

R = TypeVar("R", bound=Struct)


class Page(Struct, frozen=True, kw_only=True):
    """Which part of a list is wanted: at most `limit` of what comes after the record with the id `after`."""

    limit: int
    after: str = ""
    ascending: bool = False


class Listing(Struct, Generic[R], frozen=True):
    """A part of a list, and whether there is more."""

    records: list[R]
    has_more: bool = False


class Table(Generic[R]):
    """What the lists have in common; a table's `name` and `owner` column are set by each.

    Parameters
    ----------
    database : Database
        Where it is.
    kind : type
        Of its records.
    """

    name = ""
    owner_column = "owner"

    def __init__(self, database: Database, kind: type[R]) -> None:
        self._database = database
        self._decoder = msgspec.json.Decoder(kind)

    def get(self, id: str, owner: str | None = None) -> R | None:
        """The record with this id, if it is that owner's; None for the owner leaves it open."""
        where, values = "id = ?", [id]
        if owner is not None:
            where, values = f"{where} AND {self.owner_column} = ?", [id, owner]
        found = self._all(f"SELECT record FROM {self.name} WHERE {where}", *values)
        return found[0] if found else None

    def listing(self, owner: str, page: Page, where: Sequence[str] = (), values: Sequence[object] = ()) -> Listing[R]:
        """A part of what is `owner`'s and meets all conditions, newest first unless the page is ascending.

        Raises
        ------
        UnknownCursor
            When `page.after` is not among what is `owner`'s.
        """
        conditions, given = [f"{self.owner_column} = ?", *where], [owner, *values]
        if page.after:
            conditions.append(f"seq {'>' if page.ascending else '<'} ?")
            given.append(self._seq(page.after, owner))
        records = self._all(
            f"SELECT record FROM {self.name} WHERE {' AND '.join(conditions)} "
            f"ORDER BY seq {'ASC' if page.ascending else 'DESC'} LIMIT ?",
            *given, page.limit + 1,
        )  # fmt: skip
        return Listing(records[: page.limit], len(records) > page.limit)

    def _seq(self, id: str, owner: str) -> int:
        query = f"SELECT seq FROM {self.name} WHERE id = ? AND {self.owner_column} = ?"
        row = self._database.execute(query, id, owner).fetchone()
        if row is None:
            raise UnknownCursor(f"There is nothing with the id '{id}' in this list.")
        return int(row[0])

    def _all(self, query: str, *values: object) -> list[R]:
        return [self._decoder.decode(row[0]) for row in self._database.execute(query, *values)]


class Files(Table[FileRecord]):
    """Uploaded and produced files."""

    name = "files"

    def __init__(self, database: Database) -> None:
        super().__init__(database, FileRecord)

    def add(self, file: FileRecord) -> None:
        """Enter a new file."""
        self._database.execute(
            "INSERT INTO files (id, owner, purpose, expires_at, record) VALUES (?, ?, ?, ?, ?)",
            file.id, file.owner, file.purpose, file.expires_at, encode(file),
        )  # fmt: skip

    def drop(self, id: str) -> None:
        """Strike a file out."""
        self._database.execute("DELETE FROM files WHERE id = ?", id)

    def every_id(self) -> set[str]:
        """The ids of all files, whoever's they are."""
        return {row[0] for row in self._database.execute("SELECT id FROM files")}

    def expired(self, now_s: float) -> list[FileRecord]:
        """The files whose time is over."""
        return self._all("SELECT record FROM files WHERE expires_at <= ?", now_s)


class Jobs(Table[JobRecord]):
    """Fine-tuning jobs."""

    name = "jobs"

    def __init__(self, database: Database) -> None:
        super().__init__(database, JobRecord)

    def add(self, job: JobRecord) -> None:
        """Enter a new job.

        Raises
        ------
        NameTaken
            When a live job makes a model of that name already.
        """
        taken = self._all(f"SELECT record FROM jobs WHERE name = ? AND status IN {LIVE}", job.name)
        if taken:
            raise NameTaken(f"The job {taken[0].id} is making a model named '{job.name}' already.")
        self._database.execute(
            "INSERT INTO jobs (id, owner, status, name, record) VALUES (?, ?, ?, ?, ?)",
            job.id, job.owner, job.status, job.name, encode(job).decode(),
        )  # fmt: skip

    def put(self, job: JobRecord) -> None:
        """Write down what has become of a job."""
        self._database.execute(
            "UPDATE jobs SET status = ?, record = ? WHERE id = ?", job.status, encode(job).decode(), job.id
        )

    def live(self) -> list[JobRecord]:
        """All jobs that are not over, oldest first."""
        return self._all(f"SELECT record FROM jobs WHERE status IN {LIVE} ORDER BY seq")

    def counts(self) -> dict[str, int]:
        """How many jobs there are of each status."""
        return dict(self._database.execute("SELECT status, COUNT(*) FROM jobs GROUP BY status").fetchall())

    def page(self, owner: str, page: Page, metadata: Mapping[str, str] | None = None) -> Listing[JobRecord]:
        """A part of an owner's jobs; those with all of these notes, or for None whatever their notes are."""
        has = (
            "EXISTS (SELECT 1 FROM json_each(jobs.record, '$.metadata') AS note WHERE note.key = ? AND note.value = ?)"
        )
        pairs = list((metadata or {}).items())
        return self.listing(owner, page, [has] * len(pairs), [part for pair in pairs for part in pair])

    def without_metadata(self, owner: str, page: Page) -> Listing[JobRecord]:
        """A part of an owner's jobs that have no notes."""
        return self.listing(owner, page, ["json_extract(record, '$.metadata') IS NULL"])


class Events(Table[EventRecord]):
    """What happened to jobs."""

    name = "events"
    owner_column = "job"

    def __init__(self, database: Database) -> None:
        super().__init__(database, EventRecord)

    def add(self, job: str, *events: EventRecord) -> None:
        """Enter events of a job."""
        for event in events:
            self._database.execute(
                "INSERT INTO events (id, job, record) VALUES (?, ?, ?)", event.id, job, encode(event)
            )


class Checkpoints(Table[CheckpointRecord]):
    """From where jobs can go on."""

    name = "checkpoints"
    owner_column = "job"

    def __init__(self, database: Database) -> None:
        super().__init__(database, CheckpointRecord)

    def add(self, checkpoint: CheckpointRecord) -> bool:
        """Enter a checkpoint, once per step; says whether it is new."""
        made = self._database.execute(
            "INSERT OR IGNORE INTO checkpoints (id, job, step, record) VALUES (?, ?, ?, ?)",
            checkpoint.id, checkpoint.job, checkpoint.step, encode(checkpoint),
        )  # fmt: skip
        return made.rowcount > 0


class Steps:
    """The learning curves of jobs.

    Parameters
    ----------
    database : Database
        Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, job: str, step: StepRecord) -> bool:
        """Add what was measured at a step to what is known of it; says whether there was anything new."""
        (before,) = self.at(job, [step.step]) or [StepRecord(step=step.step)]
        known = {name: value for name, value in _measured(before).items() if value is not None}
        merged = StepRecord(**{**_measured(step), **known})
        if merged == before:
            return False
        self._database.execute(
            "INSERT OR REPLACE INTO steps (job, step, record) VALUES (?, ?, ?)", job, step.step, encode(merged)
        )
        return True

    def of(self, job: str) -> list[StepRecord]:
        """All that was measured of a job, in order."""
        rows = self._database.execute("SELECT record FROM steps WHERE job = ? ORDER BY step", job)
        return [msgspec.json.decode(row[0], type=StepRecord) for row in rows]

    def at(self, job: str, steps: Sequence[int]) -> list[StepRecord]:
        """What was measured at some steps of a job."""
        marks = ", ".join("?" * len(steps))
        rows = self._database.execute(f"SELECT record FROM steps WHERE job = ? AND step IN ({marks})", job, *steps)
        return [msgspec.json.decode(row[0], type=StepRecord) for row in rows]


class Models:
    """Tuned models that are offered.

    Parameters
    ----------
    database : Database
        Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, model: ModelRecord) -> None:
        """Offer a model from now on."""
        self._database.execute(
            "INSERT OR REPLACE INTO models (name, owner, record) VALUES (?, ?, ?)",
            model.name, model.owner, encode(model),
        )  # fmt: skip

    def drop(self, name: str) -> None:
        """Offer a model no longer."""
        self._database.execute("DELETE FROM models WHERE name = ?", name)

    def get(self, name: str) -> ModelRecord | None:
        """The model of this name, if there is one."""
        row = self._database.execute("SELECT record FROM models WHERE name = ?", name).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=ModelRecord)

    def every(self) -> list[ModelRecord]:
        """All tuned models, by name."""
        rows = self._database.execute("SELECT record FROM models ORDER BY name")
        return [msgspec.json.decode(row[0], type=ModelRecord) for row in rows]


def _measured(step: StepRecord) -> dict[str, Any]:
    return {name: getattr(step, name) for name in StepRecord.__struct_fields__}
